//! Rules that change while the witness works, and ledgers of groups.

use puente_audit_log::witness::monitoring_name;
use puente_audit_log::{Checkpoint, empty_root};
use puente_charter::{Charter, Part};
use puente_ledger::LedgerOrigin;
use puente_model::TreeSize;

use super::*;
use crate::config::{Config, ConfigError, Folder, Rulebook};

/// The federation of the ledger's own tests.
#[path = "../../../../crates/ledger/tests/world/mod.rs"]
mod federation;

fn rule(log: &ToyLog) -> (String, LogRule) {
    let origin = log.key().name().to_owned();
    (origin.clone(), LogRule::new(&origin, vec![log.key()]).unwrap().first_use(true))
}

fn rules(logs: &[&ToyLog]) -> Rulebook {
    Rulebook::from(logs.iter().map(|log| rule(log)).collect::<BTreeMap<_, _>>())
}

#[test]
fn logs_come_and_go_and_nothing_that_was_signed_is_forgotten() {
    let (mut a, mut b) = (ToyLog::new(ORIGIN, "a"), ToyLog::new("example.org/log2", "b"));
    let bench = Bench::of(&[&a]);
    let desk = bench.open();
    assert_eq!(submit(&desk, &a.submission(0, 3)).status, 200);
    assert_eq!(submit(&desk, &b.submission(0, 2)).status, 404);
    desk.serve(&rules(&[&a, &b])).unwrap();
    assert_eq!(submit(&desk, &b.submission(0, 2)).status, 200);
    assert_eq!(submit(&desk, &a.submission(3, 4)).status, 200);
    desk.serve(&rules(&[&b])).unwrap();
    assert_eq!(submit(&desk, &a.submission(4, 5)).status, 404);
    assert_eq!(desk.checkpoint(&monitoring_name(ORIGIN)).status, 404);
    desk.serve(&rules(&[&a, &b])).unwrap();
    let stale = submit(&desk, &a.submission(0, 9));
    assert_eq!((stale.status, stale.body.as_slice()), (409, &b"4\n"[..]));
    assert_eq!(submit(&desk, &ToyLog::new(ORIGIN, "fork").submission(4, 4)).status, 422);
    assert_eq!(submit(&desk, &a.submission(4, 9)).status, 200);
    drop(desk);
    assert_eq!(bench.open().logs(), 1, "the bench's own rules again");
    bench.notary.is_honest();
}

#[test]
fn rules_that_do_not_hold_change_nothing() {
    let (mut a, mut b) = (ToyLog::new(ORIGIN, "a"), ToyLog::new("example.org/log2", "b"));
    let bench = Bench::of(&[&a]);
    let desk = bench.open();
    assert_eq!(submit(&desk, &a.submission(0, 3)).status, 200);
    // A record that cannot be read, of a log that is new; a pin that contradicts what was signed, or is beyond it.
    let damaged = bench.state().join(format!("{}.head", monitoring_name("example.org/log2")));
    std::fs::write(&damaged, b"torn").unwrap();
    assert!(matches!(desk.serve(&rules(&[&a, &b])), Err(OpenError::Record { .. })));
    std::fs::remove_file(&damaged).unwrap();
    for pin in [ToyLog::new(ORIGIN, "fork").head(3), a.head(5)] {
        let (origin, rule) = rule(&a);
        let pinned = rule.pinned(pin.checkpoint().clone()).unwrap();
        let book = Rulebook::from(BTreeMap::from([(origin, pinned), self::rule(&b)]));
        assert!(matches!(desk.serve(&book), Err(OpenError::Record { .. })));
    }
    assert_eq!(submit(&desk, &b.submission(0, 1)).status, 404, "nothing of what was refused is in force");
    assert_eq!(submit(&desk, &a.submission(3, 4)).status, 200);
    desk.serve(&rules(&[&a, &b])).unwrap();
    assert_eq!(submit(&desk, &b.submission(0, 1)).status, 200);
    bench.notary.is_honest();
}

#[test]
fn forks_are_cosigned_once_while_rules_change_all_the_time() {
    let (mut a, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "fork"));
    let bench = Bench::of(&[&a]);
    let desk = bench.open();
    let bodies: Vec<Vec<Vec<u8>>> =
        [&mut a, &mut fork].into_iter().map(|log| (1..40).map(|n| log.submission(n - 1, n)).collect()).collect();
    let (with, without) = (rules(&[&a]), Rulebook::default());
    std::thread::scope(|threads| {
        for bodies in &bodies {
            let desk = &desk;
            threads.spawn(move || bodies.iter().for_each(|body| drop(submit(desk, body))));
        }
        let desk = &desk;
        threads.spawn(move || {
            for _ in 0..200 {
                desk.serve(&without).unwrap();
                desk.serve(&with).unwrap();
            }
        });
    });
    bench.notary.is_honest();
}

/// A charter's parts as people keep them.
fn write(charter: &Charter, dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for part in charter.parts() {
        let name = part.id().file();
        let text = match part.part() {
            Part::Common(part) => part.to_toml().unwrap(),
            Part::Annex(part) => part.to_toml().unwrap(),
        };
        let lines: String = part.signatures().iter().map(|signature| format!("{signature}\n")).collect();
        std::fs::write(dir.join(&name), text).unwrap();
        std::fs::write(dir.join(format!("{name}.sig")), lines).unwrap();
    }
}

fn served(charter: &Charter, more: &str) -> Result<Rulebook, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    write(charter, &dir.path().join("charter"));
    let text = format!("[logs]\ncharter = \"charter\"\npin = \"{}\"\n{more}", charter.pin());
    std::fs::write(folder.config(), text).unwrap();
    Config::load(&folder)?.rules(&folder)
}

fn ledgers(book: &Rulebook) -> Vec<&LogRule> {
    let is_ledger = |rule: &&LogRule| rule.origin().parse::<LedgerOrigin>().is_ok();
    book.rules().values().filter(is_ledger).collect()
}

#[test]
fn ledgers_of_the_charters_corridors_are_served_from_their_empty_beginning() {
    let charter = federation::charter::charter(true);
    let book = served(&charter, "").unwrap();
    assert_eq!(ledgers(&book).len(), 64);
    for rule in ledgers(&book) {
        assert_eq!(rule.keys().len(), 3, "the convener and its successors");
        assert_eq!(rule.pin(), Some(&Checkpoint::new(rule.origin(), TreeSize(0), empty_root()).unwrap()));
        assert!(!rule.allows_first_use());
    }
    // As many as were said, both sides of the limit; none where nobody could cosign.
    for (most, found) in [(0, 0), (1, 1), (1_000, 1_000)] {
        assert_eq!(ledgers(&served(&charter, &format!("ledgers_per_corridor = {most}")).unwrap()).len(), found);
    }
    let beyond = served(&charter, "ledgers_per_corridor = 1001");
    assert!(matches!(beyond, Err(ConfigError::Ledgers(1_001))), "{beyond:?}");
    let without = served(&federation::charter::charter(false), "").unwrap();
    assert!(ledgers(&without).is_empty() && !without.rules().is_empty());

    // The first head extends the empty tree; from then on there is one tree.
    let bench = Bench { rules: book.rules().clone(), ..Bench::of(&[]) };
    let desk = bench.open();
    let members = desk.logs();
    let seat = |name: &str, number: u32| federation::proposer_signer(name, &federation::ledger(number));
    let [convener, successor, stranger] = [federation::NODES[0], federation::NODES[1], federation::NODES[3]];
    let mut first = ToyLog::of(seat(convener, 1), "a");
    assert_eq!(submit(&desk, &ToyLog::of(seat(stranger, 1), "x").submission(0, 1)).status, 403);
    assert_eq!(submit(&desk, &ToyLog::of(seat(convener, 65), "x").submission(0, 1)).status, 404);
    let early = submit(&desk, &first.submission(1, 2));
    assert_eq!((early.status, early.body.as_slice()), (409, &b"0\n"[..]));
    assert_eq!(submit(&desk, &first.submission(0, 2)).status, 200);
    let mut other = ToyLog::of(seat(successor, 1), "b");
    assert_eq!(submit(&desk, &other.submission(0, 2)).status, 409);
    assert_eq!(submit(&desk, &other.submission(2, 2)).status, 422);
    assert_eq!(submit(&desk, &other.submission(2, 3)).status, 422);
    // A successor goes on where the convener stopped: any seat's key signs the one tree.
    let mut taken = ToyLog::of(seat(successor, 1), "a");
    assert_eq!(submit(&desk, &taken.submission(2, 3)).status, 200);
    assert_eq!(desk.logs(), members + 1, "of ledgers, those that began");
    bench.notary.is_honest();
}

#[test]
fn a_ledger_is_remembered_when_its_signer_is_no_seat_any_more() {
    let origin = "group/frontera/otay/ledger1";
    let seat = |n: u8| Ed25519Signer::new(origin, KeyKind::Ed25519, &Secret32::new([n; 32])).unwrap();
    let book = |n: u8, members: &[u8]| {
        let rule = LogRule::new(origin, vec![seat(n).verifier().clone()]).unwrap().first_use(true);
        Rulebook::of(
            [(origin.to_owned(), rule)].into(),
            members.iter().map(|n| *seat(*n).verifier().public()).collect(),
        )
    };
    let bench = Bench::of(&[]);
    let open = |book: Rulebook| {
        Desk::open(Box::new(bench.notary.clone()), book, Store::open(&bench.state())?, bench.evidence(), 1_000)
    };
    let mut log = ToyLog::of(seat(1), "a");
    let desk = open(book(1, &[1])).unwrap();
    assert_eq!(submit(&desk, &log.submission(0, 2)).status, 200);
    // Whoever signs now, the record is still this witness's word.
    desk.serve(&book(2, &[1, 2])).unwrap();
    assert_eq!(submit(&desk, &log.submission(2, 3)).status, 403);
    // Evidence against both names both keys.
    assert_eq!(submit(&desk, &ToyLog::of(seat(2), "fork").submission(2, 2)).status, 422);
    let kept: serde_json::Value = serde_json::from_slice(snapshot(&bench.evidence()).values().next().unwrap()).unwrap();
    let keys: Vec<&str> = kept["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(keys, [2, 1].map(|n| seat(n).verifier().to_string()));
    let mut next = ToyLog::of(seat(2), "a");
    assert_eq!(submit(&desk, &next.submission(2, 3)).status, 200);
    drop(desk);
    assert!(matches!(open(book(1, &[1])), Err(OpenError::Record { .. })), "of a key that the charter never named");
    drop(open(book(1, &[1, 2])).unwrap());
    bench.notary.is_honest();
}
