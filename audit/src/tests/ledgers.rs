//! Ledgers of groups among the files, against what members recorded; and witnesses against themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use puente_audit_log::witness::{ClaimedSubmission, LogRule, Witness, encode_submission};
use puente_audit_log::{Ed25519Signer, KeyKind, Log, MemoryFiles, SignedCheckpoint, Signer as _, leaf_hash};
use puente_ledger::{Body, Draft, LedgerOrigin, commit_hash, held_statement};
use puente_model::{CharterVector, Digest, Millis, NodeUri, Secret32};
use puente_wire::{GroupEvent, LedgerPlace};

use super::groups::{GROUP, entry};
use super::world::*;
use crate::{Auditor, Checked, Checker, Class, Conclusion, Verdict, check_bytes};

pub(super) const QUORUM: [&str; 4] = ["mx1", "mx3", "us1", "us2"];
const AT: Millis = Millis(1_795_000_000_000);

fn ledger(number: u32) -> LedgerOrigin {
    format!("group/{GROUP}/ledger{number}").parse().unwrap()
}

/// A seat's key in a ledger: that of its log, under the ledger's name.
fn seat(node: &str, origin: &LedgerOrigin) -> Ed25519Signer {
    let log = uri(node).origin(1).unwrap();
    let seed = Digest::of(format!("log {log}").as_bytes()).0;
    Ed25519Signer::new(&origin.to_string(), KeyKind::Ed25519, &Secret32::new(seed)).unwrap()
}

/// Cosigns a head as these witnesses, whatever they remember.
pub(super) fn cosigned(head: &SignedCheckpoint, by: &[&str], at: Millis) -> SignedCheckpoint {
    let keys = match head.origin().parse::<LedgerOrigin>() {
        Ok(origin) => [MX, US].map(|node| seat(node, &origin).verifier().clone()).to_vec(),
        Err(_) => vec![log_signer(head.origin()).verifier().clone()],
    };
    let rule = LogRule::new(head.origin(), keys).unwrap().pinned(head.checkpoint().clone()).unwrap();
    let submission = ClaimedSubmission::parse(&encode_submission(head.size(), &[], head).unwrap()).unwrap();
    let line = |name: &&str| {
        let signer = witness_signer(name);
        let core = Witness::new(signer.verifier().clone()).unwrap();
        let advance = core.submit(at, &submission, Some(&rule), None).unwrap();
        advance.persist(|_| Ok::<(), ()>(())).unwrap().cosign(&signer).unwrap()
    };
    head.with_signatures(&by.iter().map(line).collect::<Vec<_>>()).unwrap()
}

/// A group's ledger, as its proposers write it.
struct Book {
    origin: LedgerOrigin,
    log: Log,
    files: MemoryFiles,
    entries: Vec<Vec<u8>>,
}

impl Book {
    fn new(number: u32) -> Self {
        let origin = ledger(number);
        Self { log: Log::empty(&origin.to_string()).unwrap(), origin, files: MemoryFiles::new(), entries: Vec::new() }
    }

    fn add(&mut self, by: &str, entry: Vec<u8>) {
        let staged = self.log.stage(std::slice::from_ref(&entry)).unwrap().sign(&seat(by, &self.origin)).unwrap();
        let committed = self.log.commit(staged.persist(&mut Nowhere).unwrap()).unwrap();
        self.files.put(committed.files);
        self.files.put(self.log.publish().unwrap());
        self.entries.push(entry);
    }

    fn draft(&self, body: Body) -> Draft {
        let (ledger, index) = (self.origin.clone(), self.entries.len() as u64);
        Draft { ledger, index, charter: group_charter().vector(), body }
    }

    fn write(&mut self, by: &str, body: Body) {
        let entry = self.draft(body).sign(&seat(by, &self.origin)).unwrap();
        self.add(by, entry.as_bytes().to_vec());
    }

    fn head(&self) -> SignedCheckpoint {
        self.log.head().unwrap().clone()
    }

    fn export(&self, dir: &Path, by: &[&str]) -> PathBuf {
        let to = dir.join(format!("ledger{}-{}", self.origin.number(), self.entries.len()));
        for path in self.files.paths() {
            let to = to.join(path.to_string());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, self.files.get(path).unwrap()).unwrap();
        }
        fs::write(to.join("checkpoint"), cosigned(&self.head(), by, AT).note_bytes()).unwrap();
        to
    }
}

fn commit(epoch: u64) -> Digest {
    commit_hash(format!("commit {epoch}").as_bytes())
}

/// A group of MX and US with its ledgers, as honest nodes keep them.
struct Corridor {
    world: World,
    books: Vec<Book>,
    epoch: u64,
}

impl Corridor {
    fn new() -> Self {
        Self { world: World::busy(), books: vec![Book::new(1)], epoch: 0 }
    }

    /// After three commits.
    fn lived() -> Self {
        let mut corridor = Self::new();
        (0..3).for_each(|_| corridor.change(MX));
        corridor
    }

    fn book(&mut self) -> &mut Book {
        self.books.last_mut().unwrap()
    }

    fn place(&self) -> LedgerPlace {
        let book = self.books.last().unwrap();
        LedgerPlace::new(book.origin.number(), book.entries.len() as u64).unwrap()
    }

    fn record(&mut self, at: &str, what: GroupEvent) -> Digest {
        let bytes = entry(&self.world, what);
        self.world.tick();
        self.world.node(at).append(vec![bytes])[0]
    }

    /// Holders record HELD; returns what the ledger quotes of them.
    fn held(&mut self) -> BTreeMap<NodeUri, Digest> {
        let body = Body::Commit { epoch: self.epoch, at: AT, commit: commit(self.epoch), held: BTreeMap::new() };
        let statement = held_statement(&self.books.last().unwrap().draft(body)).unwrap();
        let place = self.place();
        [MX, US].map(|at| (uri(at), self.record(at, GroupEvent::Held { place, statement }))).into()
    }

    /// One commit, held, ordered by `by`, merged by both.
    fn change(&mut self, by: &str) {
        let held = self.held();
        let place = self.place();
        let epoch = self.epoch;
        self.book().write(by, Body::Commit { epoch, at: AT, commit: commit(epoch), held });
        self.epoch += 1;
        [MX, US].iter().for_each(|at| self.merge(at, place));
    }

    fn merge(&mut self, at: &str, place: LedgerPlace) {
        let (epoch, commit) = (self.epoch, commit(self.epoch - 1));
        let hash = Digest::of(format!("epoch {epoch}").as_bytes());
        self.record(at, GroupEvent::Epoch { epoch, commit, hash, ordered: Some(place) });
    }

    fn close(&mut self, by: &str) {
        let number = self.book().origin.number();
        self.book().write(by, Body::Close { next: ledger(number + 1) });
        self.books.push(Book::new(number + 1));
    }

    fn audited(&self, by: &[&str]) -> (Verdict, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut folders = self.world.copies(dir.path(), &[MX, US]);
        folders
            .extend(self.books.iter().filter(|book| !book.entries.is_empty()).map(|book| book.export(dir.path(), by)));
        (audit(dir.path(), &folders), dir)
    }
}

fn audit(dir: &Path, folders: &[PathBuf]) -> Verdict {
    let paths: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let auditor = Auditor::new(group_charter(), now()).with_keys(all_keys());
    auditor.with_evidence(dir.join("evidence")).reconcile(&paths).unwrap()
}

fn classes(verdict: &Verdict) -> Vec<Class> {
    verdict.findings.iter().map(|finding| finding.class).collect()
}

fn check(bytes: &[u8]) -> Checked {
    check_bytes(bytes, None, &Checker::Charter(&group_charter())).unwrap()
}

fn evidence(verdict: &Verdict, class: Class) -> (serde_json::Value, Checked) {
    let finding = verdict.findings.iter().find(|finding| finding.class == class).unwrap();
    let bytes = fs::read(finding.evidence.as_ref().unwrap()).unwrap();
    (serde_json::from_slice(&bytes).unwrap(), check(&bytes))
}

fn checked(file: &serde_json::Value) -> Checked {
    check(&serde_json::to_vec(file).unwrap())
}

#[test]
fn a_group_and_its_ledgers_are_sound() {
    let mut corridor = Corridor::lived();
    // A successor takes over; what it does in the old ledger but close it counts for nothing.
    corridor.close(US);
    corridor.change(US);
    corridor.change(US);
    let (verdict, _dir) = corridor.audited(&QUORUM);
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:?}", verdict.findings);
    assert_eq!(verdict.findings.len(), 0, "{:?}", verdict.findings);
    let reports: Vec<_> =
        verdict.logs.iter().map(|log| (log.origin.as_str(), log.entries, log.counts.groups)).collect();
    assert!(reports.contains(&("group/frontera/otay/ledger1", 4, 3)), "{reports:?}");
    assert!(reports.contains(&("group/frontera/otay/ledger2", 2, 2)), "{reports:?}");
    // One ledger by itself.
    let dir = tempfile::tempdir().unwrap();
    let folder = corridor.books[0].export(dir.path(), &QUORUM);
    let alone = Auditor::new(group_charter(), now()).verify(&folder).unwrap();
    assert_eq!((alone.verdict, alone.findings.len()), (Conclusion::Sound, 0), "{:?}", alone.findings);
}

#[test]
fn a_ledger_is_shown_decoded() {
    let mut corridor = Corridor::lived();
    corridor.close(US);
    let dir = tempfile::tempdir().unwrap();
    let shown = crate::show(&corridor.books[0].export(dir.path(), &QUORUM), 0, 9).unwrap();
    let shown: Vec<_> = shown.iter().map(|entry| (entry.kind.as_str(), entry.says.as_str())).collect();
    assert_eq!(shown[0], ("COMMIT", "ends epoch 0 of frontera/otay, held by 2 members"));
    assert_eq!(shown[3], ("CLOSE", "frontera/otay goes on in group/frontera/otay/ledger2"));
}

/// Whatever becomes of a piece of evidence on its way, it never panics, and proves nothing else than it did.
#[test]
fn evidence_that_was_changed_on_its_way_proves_nothing_else() {
    let (verdict, _dir) = kept_heads(&[(2, true, &["us2"], 0), (3, false, &["us2"], 5)]);
    let (file, _) = evidence(&verdict, Class::WitnessForked);
    let bytes = serde_json::to_vec(&file).unwrap();
    for (at, to) in (0..bytes.len()).flat_map(|at| [b'0', b'"', 0xff].map(|to| (at, to))) {
        let mut changed = bytes.clone();
        changed[at] = to;
        let Ok(checked) = check_bytes(&changed, None, &Checker::Charter(&group_charter())) else { continue };
        if checked.verdict == Conclusion::Sound {
            let mut read: serde_json::Value = serde_json::from_slice(&changed).unwrap();
            // What is only said has no part in the proof.
            ["detail", "en", "es", "log", "keys"].iter().for_each(|said| read[said] = file[said].clone());
            assert_eq!(read, file, "byte {at}");
        }
    }
}

/// Two members hand in the same ledger beside their logs: damage of one copy is not covered by the other.
#[test]
fn a_damaged_head_of_a_ledger_beside_a_log_is_seen() {
    let corridor = Corridor::lived();
    let dir = tempfile::tempdir().unwrap();
    let folders = corridor.world.copies(dir.path(), &[MX, US]);
    let book = corridor.books[0].export(dir.path(), &QUORUM);
    let beside = |log: &Path| log.join("ledgers/group/frontera/otay/ledger1");
    for log in &folders {
        fs::create_dir_all(beside(log).parent().unwrap()).unwrap();
        let copied = std::process::Command::new("cp").arg("-r").arg(&book).arg(beside(log)).status().unwrap();
        assert!(copied.success());
    }
    assert_eq!(audit(dir.path(), &folders).verdict, Conclusion::Sound);
    let head = beside(&folders[0]).join("checkpoint");
    let bytes = fs::read(&head).unwrap();
    // With their highest bit, which leaves no text, and with another.
    let places =
        (0..bytes.len()).step_by(11).map(|at| (at, 0x80)).chain((5..bytes.len()).step_by(23).map(|at| (at, 1)));
    for (at, bit) in places {
        let mut changed = bytes.clone();
        changed[at] ^= bit;
        fs::write(&head, changed).unwrap();
        assert_ne!(audit(dir.path(), &folders).verdict, Conclusion::Sound, "byte {at} by {bit}");
    }
}

#[test]
fn without_the_ledger_its_order_is_not_known() {
    let corridor = Corridor::lived();
    let dir = tempfile::tempdir().unwrap();
    let verdict = audit(dir.path(), &corridor.world.copies(dir.path(), &[MX, US]));
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::LedgerMissing]));

    // Nor with a copy that is older than what members recorded, or without the ledger before it.
    let mut older = Corridor::lived();
    let book = Corridor::lived().books.remove(0);
    older.change(MX);
    older.books = vec![book];
    let (verdict, _dir) = older.audited(&QUORUM);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::LedgerMissing]));

    let mut second = Corridor::lived();
    second.close(US);
    second.change(US);
    second.books.remove(0);
    let (verdict, _dir) = second.audited(&QUORUM);
    assert_eq!(verdict.verdict, Conclusion::CouldNotTell);
    assert!(classes(&verdict).contains(&Class::Unavailable), "{:?}", verdict.findings);
}

#[test]
fn each_entry_is_judged_under_the_charter_that_governs_it() {
    let (old, new) = (group_charter(), later_group_charter());
    let key = |k: u32| {
        let signer = log_signer(uri(MX).origin(k).unwrap().as_str());
        let seed = Digest::of(format!("log {}", uri(MX).origin(k).unwrap()).as_bytes()).0;
        let seat = Ed25519Signer::new(&ledger(1).to_string(), KeyKind::Ed25519, &Secret32::new(seed)).unwrap();
        assert_eq!(seat.verifier().public(), signer.verifier().public());
        seat
    };
    let mut book = Book::new(1);
    let held: BTreeMap<NodeUri, Digest> = [(uri(MX), Digest::of(b"held"))].into();
    // Which charter is named, and whose key signs: the second entry brings the new one, under the old one's key.
    let entries = [
        (old.vector(), 1, true),
        (new.vector(), 1, true),
        (new.vector(), 1, false),
        (new.vector(), 2, true),
        (old.vector(), 2, false),
    ];
    let mut epoch = 0;
    for (charter, k, counts) in entries.clone() {
        let draft =
            Draft { charter, ..book.draft(Body::Commit { epoch, at: AT, commit: commit(epoch), held: held.clone() }) };
        let entry = draft.sign(&key(k)).unwrap();
        book.add(MX, entry.as_bytes().to_vec());
        epoch += u64::from(counts);
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = book.export(dir.path(), &QUORUM);
    let verdict = Auditor::new(new, now()).verify(&folder).unwrap();
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:?}", verdict.findings);
    let skipped: Vec<_> = verdict.findings.iter().map(|finding| (finding.class, finding.index.unwrap())).collect();
    assert_eq!(skipped, [(Class::LedgerSkipped, 2), (Class::LedgerSkipped, 4)]);
    assert_eq!(verdict.logs[0].counts.groups, 3);
    // Who does not have the newer charter cannot tell from there on.
    let verdict = Auditor::new(old, now()).verify(&folder).unwrap();
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::CharterUnknown]));
    assert_eq!(verdict.findings[0].index, Some(1));
}

#[test]
fn an_auditor_remembers_ledgers_too() {
    let dir = tempfile::tempdir().unwrap();
    let pin = write_group_charter(&dir.path().join("charter"));
    let state = dir.path().join("state");
    crate::State::init(&state, &dir.path().join("charter"), pin).unwrap();
    let audit = |folder: &Path| Auditor::open(&state, now()).unwrap().verify(folder).unwrap();
    let corridor = Corridor::lived();
    let entries = &corridor.books[0].entries;
    let mut older = Book::new(1);
    entries[..2].iter().for_each(|entry| older.add(MX, entry.clone()));
    let older = older.export(dir.path(), &QUORUM);
    assert_eq!(audit(&older).verdict, Conclusion::Sound);
    assert_eq!(audit(&corridor.books[0].export(dir.path(), &QUORUM)).verdict, Conclusion::Sound);
    // A copy from before says less than is known; nothing is forgotten for it.
    for _ in 0..2 {
        let verdict = audit(&older);
        assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::LedgerMissing]));
    }
    // Another history, of which nobody brought the other copy: the memory convicts, the witnesses too.
    let mut fork = Book::new(1);
    let other = |epoch| Body::Commit {
        epoch,
        at: AT,
        commit: Digest::of(b"other"),
        held: [(uri(MX), Digest::of(b"h"))].into(),
    };
    (0..4).for_each(|epoch| fork.write(MX, other(epoch)));
    let verdict = audit(&fork.export(dir.path(), &["mx1", "mx2", "us2", "us3"]));
    assert_eq!(verdict.verdict, Conclusion::Unsound);
    assert!(classes(&verdict).contains(&Class::SplitView), "{:?}", verdict.findings);
    assert_eq!(
        of_witnesses(&verdict),
        [(Class::WitnessForked, "mx1".to_owned()), (Class::WitnessForked, "us2".to_owned())]
    );
}

#[test]
fn a_ledger_needs_the_quorum_of_both_nations() {
    let (verdict, _dir) = Corridor::lived().audited(&["mx1", "mx2", "mx3", "us1"]);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::LedgerUncosigned]));
    assert!(verdict.findings[0].detail.contains("us2"), "{}", verdict.findings[0].detail);
}

#[test]
fn a_ledger_of_no_corridor_or_no_seat_is_not_believed() {
    let corridor = Corridor::lived();
    let dir = tempfile::tempdir().unwrap();
    let mut folders = corridor.world.copies(dir.path(), &[MX, US]);
    folders.push(corridor.books[0].export(dir.path(), &QUORUM));
    let note = folders[2].join("checkpoint");
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replace("frontera/otay", "frontera/sanysidro")).unwrap();
    assert!(classes(&audit(dir.path(), &folders)).contains(&Class::UnknownLog));
    // Signed by a witness alone, by nobody; another root.
    let alone: String =
        text.lines().filter(|line| !line.starts_with("— group/")).map(|line| format!("{line}\n")).collect();
    fs::write(&note, &alone).unwrap();
    assert!(classes(&audit(dir.path(), &folders)).contains(&Class::BadHead));
    fs::write(&note, text.replacen("\n3\n", "\n2\n", 1)).unwrap();
    assert!(classes(&audit(dir.path(), &folders)).contains(&Class::BadHead));
    fs::write(&note, text).unwrap();
    let bundle = folders[2].join("tile/entries/000.p/3");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[40] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    assert!(classes(&audit(dir.path(), &folders)).contains(&Class::Corrupt));
}

#[test]
fn entries_that_count_for_nothing_are_named_and_convict_nobody() {
    let mut corridor = Corridor::lived();
    let elsewhere = Draft { ledger: ledger(7), ..corridor.book().draft(Body::Close { next: ledger(8) }) };
    let body =
        |epoch| Body::Commit { epoch, at: AT, commit: commit(epoch), held: [(uri(MX), Digest::of(b"held"))].into() };
    let back = Draft { charter: CharterVector::default(), ..corridor.book().draft(body(3)) };
    let book = corridor.book();
    book.add(MX, b"not an entry".to_vec());
    let signed = |draft: Draft, by: &str| draft.sign(&seat(by, &ledger(1))).unwrap().as_bytes().to_vec();
    book.add(MX, signed(elsewhere, MX));
    let early = book.draft(body(3));
    book.add(MX, signed(Draft { index: 2, ..early }, MX));
    book.add(MX, signed(Draft { index: 6, ..back }, MX));
    book.write(US, body(3));
    book.write(US2, body(3));
    book.write(MX, body(9));
    book.write(MX, Body::Close { next: ledger(3) });
    book.write(MX, Body::Commit { epoch: 3, at: AT, commit: commit(3), held: BTreeMap::new() });
    corridor.change(MX);
    let (verdict, _dir) = corridor.audited(&QUORUM);
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:?}", verdict.findings);
    let details: Vec<&str> = verdict.findings.iter().map(|finding| finding.detail.as_str()).collect();
    assert_eq!(classes(&verdict), vec![Class::LedgerSkipped; 9], "{details:?}");
    for said in [
        "not a signed note",
        "ledger group/frontera/otay/ledger7",
        "index 2",
        "goes behind",
        "us/sdpd/n1 does not convene",
        "no signature of one",
        "ends epoch 9",
        "does not follow",
        "it takes a majority",
    ] {
        assert!(details.iter().any(|detail| detail.contains(said)), "{said}: {details:?}");
    }
}

#[test]
fn an_epoch_that_the_ledger_does_not_order_convicts_its_member() {
    // Another commit; a place where something else stands; none at all.
    let forged: [fn(&mut Corridor); 4] = [
        |corridor| {
            let place = corridor.place();
            let held = corridor.held();
            corridor.book().write(MX, Body::Commit { epoch: 3, at: AT, commit: Digest::of(b"other"), held });
            corridor.epoch = 4;
            corridor.merge(US, place);
        },
        |corridor| {
            corridor.epoch = 4;
            corridor.merge(US, LedgerPlace::new(1, 1).unwrap());
        },
        |corridor| {
            corridor.close(MX);
            corridor.epoch = 4;
            corridor.merge(US, LedgerPlace::new(1, 3).unwrap());
        },
        |corridor| {
            let (commit, hash) = (commit(3), Digest::of(b"epoch 4"));
            corridor.record(US, GroupEvent::Epoch { epoch: 4, commit, hash, ordered: None });
        },
    ];
    for (nth, forge) in forged.iter().enumerate() {
        let mut corridor = Corridor::lived();
        forge(&mut corridor);
        let (verdict, _dir) = corridor.audited(&QUORUM);
        assert_eq!(verdict.verdict, Conclusion::Unsound, "{nth}");
        let faults: Vec<_> = verdict.faults().map(|f| (f.class, f.attributed_to.as_str().to_owned())).collect();
        // HELD of the commit that was not ordered is quoted by the entry that was: of another statement.
        assert!(faults.contains(&(Class::GroupUnordered, US.to_owned())), "{nth}: {faults:?}");

        let (file, found) = evidence(&verdict, Class::GroupUnordered);
        assert_eq!(found.verdict, Conclusion::Sound, "{nth}: {:?}", found.words);
        let mut alone = file.clone();
        let entries = alone["entries"].as_array_mut().unwrap();
        if entries.len() > 1 {
            entries.pop();
            let refused = checked(&alone);
            assert_eq!(refused.verdict, Conclusion::Unsound);
            assert!(refused.words.last().unwrap().contains("is not among them"), "{:?}", refused.words);
            // Without the quorum's cosignatures, a proposer alone says so.
            let mut bare = file.clone();
            let receipt = bare["entries"][1]["receipt"].as_str().unwrap();
            let lines = receipt.lines().filter(|line| !WITNESSES.iter().any(|w| line.starts_with(&format!("— {w} "))));
            bare["entries"][1]["receipt"] = lines.map(|line| format!("{line}\n")).collect::<String>().into();
            assert_eq!(checked(&bare).verdict, Conclusion::CouldNotTell);
        } else {
            let nobody = check_bytes(&serde_json::to_vec(&file).unwrap(), None, &Checker::Nobody).unwrap();
            assert_eq!(nobody.verdict, Conclusion::CouldNotTell);
        }
    }
    // An honest member's EPOCH with the entry that did order it proves nothing.
    let mut corridor = Corridor::lived();
    forged[0](&mut corridor);
    let (verdict, dir) = corridor.audited(&QUORUM);
    let (mut file, _) = evidence(&verdict, Class::GroupUnordered);
    let (log, book) = (dir.path().join("mx-fge-bc-n1"), dir.path().join("ledger1-4"));
    let last = corridor.world.nodes[MX].entries.len() - 2;
    let at = (0..=last)
        .rev()
        .find(|i| {
            matches!(
                puente_wire::Entry::decode(&corridor.world.nodes[MX].entries[*i]),
                Ok(puente_wire::Entry::Group(puente_wire::GroupEntry { what: GroupEvent::Epoch { .. }, .. }))
            )
        })
        .unwrap();
    let shown = |dir: &Path, index: u64, entry: &[u8]| {
        use base64::Engine as _;
        serde_json::json!({
            "entry": base64::engine::general_purpose::STANDARD.encode(entry),
            "receipt": String::from_utf8(crate::prove(dir, index).unwrap()).unwrap(),
        })
    };
    file["entries"][0] = shown(&log, at as u64, &corridor.world.nodes[MX].entries[at]);
    file["entries"][1] = shown(&book, 2, &corridor.books[0].entries[2]);
    let refused = checked(&file);
    assert_eq!(refused.verdict, Conclusion::CouldNotTell, "{:?}", refused.words);
    assert!(refused.words.last().unwrap().contains("stands at index 2"), "{:?}", refused.words);
}

#[test]
fn a_commit_that_stands_and_seems_not_to_count_convicts_nobody() {
    let mut corridor = Corridor::lived();
    // A successor's: whether the group's charter named it convener when the group began, a stranger cannot know.
    corridor.change(US);
    let (verdict, _dir) = corridor.audited(&QUORUM);
    assert_eq!(verdict.verdict, Conclusion::CouldNotTell, "{:?}", verdict.findings);
    assert_eq!(classes(&verdict), [Class::GroupDisputed, Class::LedgerSkipped]);
    assert!(verdict.findings[0].detail.contains("us/sdpd/n1 does not convene"), "{}", verdict.findings[0].detail);
}

#[test]
fn a_holder_that_a_ledger_quotes_says_so_in_its_own_log() {
    let mut corridor = Corridor::lived();
    let mut held = corridor.held();
    held.insert(uri(US), Digest::of(b"never recorded"));
    let place = corridor.place();
    corridor.book().write(MX, Body::Commit { epoch: 3, at: AT, commit: commit(3), held });
    // While nothing shows that the holder's copy reaches so far, nothing is said.
    let (verdict, _dir) = corridor.audited(&QUORUM);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Sound, vec![Class::HeldMissing]));
    corridor.epoch = 4;
    [MX, US].iter().for_each(|at| corridor.merge(at, place));
    corridor.change(MX);
    let (verdict, _dir) = corridor.audited(&QUORUM);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Unsound, vec![Class::HeldMissing]));
    let finding = &verdict.findings[0];
    assert!(finding.detail.ends_with("index 3: us/sdpd/n1"), "{}", finding.detail);
    let (mut file, found) = evidence(&verdict, Class::HeldMissing);
    assert_eq!(found.verdict, Conclusion::CouldNotTell, "only the holder's log shows what is not in it");
    file["entries"].as_array_mut().unwrap().clear();
    assert_eq!(checked(&file).verdict, Conclusion::Unsound);

    // HELD for another place does not do.
    let mut corridor = Corridor::lived();
    let held = corridor.held();
    corridor.book().add(MX, b"in between".to_vec());
    corridor.book().write(MX, Body::Commit { epoch: 3, at: AT, commit: commit(3), held });
    let (verdict, _dir) = corridor.audited(&QUORUM);
    assert_eq!(verdict.faults().map(|f| f.class).collect::<Vec<_>>(), vec![Class::HeldMissing; 2]);
}

/// A log of MX's whose heads the witnesses cosigned, kept by US.
fn kept_heads(heads: &[(usize, bool, &[&str], u64)]) -> (Verdict, tempfile::TempDir) {
    let mut world = World::new();
    world.event(MX);
    world.event(MX);
    for (size, other, by, at) in heads {
        let mut log = Log::empty("mx/fge-bc/n1/log1").unwrap();
        let mut entries = world.nodes[MX].entries[..*size].to_vec();
        if *other {
            entries[0] = vec![7; 9];
        }
        let sealed = log.stage(&entries).unwrap().sign(&log_signer("mx/fge-bc/n1/log1")).unwrap();
        log.commit(sealed.persist(&mut Nowhere).unwrap()).unwrap();
        let note = cosigned(log.head().unwrap(), by, Millis(AT.0 + at * 1000)).note_bytes().to_vec();
        let leaf = Digest::of(&note);
        world.node(US).keep(&leaf, puente_wire::proto::aside::Body::PeerHead(note));
    }
    world.event(US);
    let dir = tempfile::tempdir().unwrap();
    let folders = world.copies(dir.path(), &[MX, US]);
    (audit(dir.path(), &folders), dir)
}

fn of_witnesses(verdict: &Verdict) -> Vec<(Class, String)> {
    let found = verdict.findings.iter().filter(|f| f.class.as_str().starts_with("witness-"));
    found.map(|f| (f.class, f.attributed_to.as_str().to_owned())).collect()
}

#[test]
fn witnesses_that_sign_one_history_are_not_accused() {
    let all = QUORUM.as_slice();
    // Growing; the same again later; both of one second; a smaller head that others cosigned later.
    let (verdict, _dir) = kept_heads(&[
        (1, false, all, 0),
        (2, false, all, 5),
        (2, false, all, 9),
        (3, false, all, 9),
        (3, false, &["mx1"], 30),
        (2, false, &["mx2"], 31),
    ]);
    assert_eq!(of_witnesses(&verdict), []);
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:?}", verdict.findings);
}

#[test]
fn a_witness_that_cosigned_two_histories_is_found_and_convicted() {
    for sizes in [(3, 3), (2, 3), (1, 3)] {
        let (verdict, _dir) = kept_heads(&[(sizes.0, true, &["mx1", "us2"], 0), (sizes.1, false, &["us2", "us3"], 5)]);
        assert_eq!(
            of_witnesses(&verdict),
            [(Class::WitnessForked, "us2".to_owned())],
            "{sizes:?} {:?}",
            verdict.findings
        );
        let (file, found) = evidence(&verdict, Class::WitnessForked);
        assert_eq!(found.verdict, Conclusion::Sound, "{:?}", found.words);
        assert!(found.words.last().unwrap().starts_with("us2 cosigned both"), "{:?}", found.words);
        assert!(file["keys"].as_array().unwrap().iter().any(|key| key.as_str().unwrap().starts_with("us2+")));

        let expect = |file: &serde_json::Value, said: &str| {
            let refused = checked(file);
            assert_eq!(refused.verdict, Conclusion::Unsound, "{:?}", refused.words);
            assert!(refused.words.last().unwrap().contains(said), "{said}: {:?}", refused.words);
        };
        let with = |key: &str, value: serde_json::Value| {
            let mut file = file.clone();
            file[key] = value;
            file
        };
        expect(&with("attributed_to", "mx1".into()), "mx1 did not cosign both heads");
        expect(&with("attributed_to", "nobody".into()), "names no witness nobody");
        let heads = file["heads"].clone();
        expect(&with("heads", serde_json::json!([heads[0]])), "two heads");
        expect(&with("heads", serde_json::json!([heads[0], heads[0]])), "do not contradict");
        expect(&with("class", "witness-went-back".into()), "was not cosigned before");
        if sizes.0 != sizes.1 {
            expect(&with("prefix", serde_json::Value::Null), "do not contradict");
        }
    }
}

#[test]
fn a_witness_that_went_back_is_found_and_convicted() {
    let (verdict, _dir) =
        kept_heads(&[(2, false, &["mx1", "us2"], 5), (3, false, &["mx1", "us2"], 5), (2, false, &["us2"], 6)]);
    assert_eq!(of_witnesses(&verdict), [(Class::WitnessBack, "us2".to_owned())]);
    let (file, found) = evidence(&verdict, Class::WitnessBack);
    assert_eq!(found.verdict, Conclusion::Sound, "{:?}", found.words);
    let mut turned = file.clone();
    turned["class"] = "witness-double-signed".into();
    assert_eq!(checked(&turned).verdict, Conclusion::Unsound, "one history, whatever the order");
}

#[test]
fn a_ledger_that_was_shown_twice_convicts_the_witnesses_of_both() {
    let mut corridor = Corridor::lived();
    let dir = tempfile::tempdir().unwrap();
    let mut folders = corridor.world.copies(dir.path(), &[MX, US]);
    folders.push(corridor.books[0].export(dir.path(), &QUORUM));
    let mut other = Book::new(1);
    let entries = corridor.books[0].entries.clone();
    entries[..2].iter().for_each(|entry| other.add(MX, entry.clone()));
    let held = corridor.held();
    other.write(MX, Body::Commit { epoch: 2, at: AT, commit: Digest::of(b"another"), held: held.clone() });
    other.write(MX, Body::Commit { epoch: 3, at: AT, commit: Digest::of(b"another"), held });
    folders.push(other.export(dir.path(), &["mx2", "mx3", "us1", "us3"]));
    let verdict = audit(dir.path(), &folders);
    assert_eq!(verdict.verdict, Conclusion::Unsound);
    assert!(classes(&verdict).contains(&Class::SplitView), "{:?}", verdict.findings);
    assert_eq!(
        of_witnesses(&verdict),
        [(Class::WitnessForked, "mx3".to_owned()), (Class::WitnessForked, "us1".to_owned())]
    );
    assert_eq!(evidence(&verdict, Class::WitnessForked).1.verdict, Conclusion::Sound);
    assert_eq!(evidence(&verdict, Class::SplitView).1.verdict, Conclusion::Sound);
    assert_ne!(leaf_hash(&entries[2]), leaf_hash(&other.entries[2]));
}

/// One entry that somebody tries to get into the ledger.
#[derive(Debug, Clone, Copy)]
enum Try {
    Commit,
    Epoch(u64),
    Successor,
    Stranger,
    Index,
    Ledger,
    Charter,
    Junk,
    CloseElsewhere,
    Close(bool),
}

fn tries() -> impl proptest::strategy::Strategy<Value = Vec<Try>> {
    use proptest::prelude::*;
    let one = prop_oneof![
        6 => Just(Try::Commit),
        2 => (1..9_u64).prop_map(Try::Epoch),
        1 => Just(Try::Successor),
        1 => Just(Try::Stranger),
        1 => Just(Try::Index),
        1 => Just(Try::Ledger),
        1 => Just(Try::Charter),
        1 => Just(Try::Junk),
        1 => Just(Try::CloseElsewhere),
        1 => any::<bool>().prop_map(Try::Close),
    ];
    prop::collection::vec(one, 1..14)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    /// A stranger to the group judges each entry as a member's own engine does: same verdict, same words.
    #[test]
    fn entries_are_judged_as_members_judge_them(tries in tries()) {
        use puente_ledger::{Beginning, Engine, Input, Message, Rules, Tuning, Verdict as Judged};
        let (group, rules) = Rules::of(&group_charter(), "otay").unwrap();
        let roster: std::collections::BTreeSet<NodeUri> = [uri(MX), uri(US)].into();
        let beginning = Beginning { group, rules: rules.clone(), epoch: 0, roster: roster.clone() };
        let mut engine = Engine::open(uri(US2), beginning, vec![], vec![], None, Tuning::default(), AT).unwrap();
        let mut book = Book::new(1);
        let (mut epoch, mut expected) = (0, Vec::new());
        let held: BTreeMap<NodeUri, Digest> = [MX, US].map(|at| (uri(at), Digest::of(at.as_bytes()))).into();
        for one in tries {
            // With which epoch and charter a group began, a stranger learns from its first commit.
            let one = if epoch == 0 && matches!(one, Try::Epoch(_) | Try::Charter) { Try::Commit } else { one };
            let body = |epoch| Body::Commit { epoch, at: AT, commit: commit(epoch), held: held.clone() };
            let draft = book.draft(body(epoch));
            let next = |number| Body::Close { next: ledger(number) };
            let (by, draft) = match one {
                // A commit of the epoch that ended last is one that a stranger cannot tell from its like.
                Try::Commit => (MX, draft),
                Try::Epoch(beyond) => (MX, book.draft(body(epoch + beyond))),
                Try::Successor => (US, draft),
                Try::Stranger => (US2, draft),
                Try::Index => (MX, Draft { index: draft.index + 1, ..draft }),
                Try::Ledger => (MX, Draft { ledger: ledger(2), ..draft }),
                Try::Charter => (MX, Draft { charter: CharterVector::default(), ..draft }),
                Try::Junk => (MX, draft),
                Try::CloseElsewhere => (US, book.draft(next(3))),
                Try::Close(convener) => (if convener { MX } else { US }, book.draft(next(2))),
            };
            let key = seat(by, &ledger(1));
            let bytes = match one {
                Try::Junk => b"junk".to_vec(),
                _ => draft.sign(&key).unwrap().as_bytes().to_vec(),
            };
            let verdict = engine.chain().judge(&bytes, &rules);
            book.add(MX, bytes.clone());
            let head = cosigned(&book.head(), &QUORUM, AT).note_bytes().to_vec();
            let index = book.entries.len() as u64 - 1;
            let message = Message::Entries { ledger: ledger(1), from: index, entries: vec![bytes], head };
            engine.handle(AT, Input::Message { from: uri(MX), message });
            if let Judged::Commit { .. } = verdict {
                engine.handle(AT, Input::Settled { index, roster: Some(roster.clone()) });
                epoch += 1;
            }
            let closed = matches!(verdict, Judged::Close { .. });
            expected.push(verdict);
            if closed {
                break;
            }
            proptest::prop_assert_eq!((engine.chain().size(), engine.chain().epoch()), (index + 1, epoch));
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = book.export(dir.path(), &QUORUM);
        let charter = group_charter();
        let roster = crate::roster::Roster::new(&charter);
        let judged = crate::ledgers::verify_all(&roster, &[(folder.as_path(), ledger(1))], &|_| None).remove(0);
        let rulings = judged.ledger.unwrap().rulings;
        proptest::prop_assert_eq!(rulings.len(), expected.len());
        for (ruling, verdict) in rulings.iter().zip(&expected) {
            use crate::ledgers::Ruling;
            let same = match (ruling, verdict) {
                (Ruling::Commit { epoch, commit, .. }, Judged::Commit { epoch: of, commit: is, .. }) => (epoch, commit) == (of, is),
                (Ruling::Close, Judged::Close { .. }) => true,
                (Ruling::Skip(why), Judged::Skip(skip)) => *why == skip.to_string(),
                _ => false,
            };
            proptest::prop_assert!(same, "{:?} and {:?}", ruling, verdict);
        }
    }
}

proptest::proptest! {
    /// Entries name groups and places as ledgers do.
    #[test]
    fn a_group_has_one_name_in_entries_and_in_its_ledger(
        name in "[a-z0-9/-]{0,8}|[a-zA-Z0-9/ +-]{0,12}|[a-z]{1,3}/[a-z]{195,201}",
        number in proptest::prelude::prop_oneof![0..4_u32, 999_998..1_000_002_u32],
    ) {
        use puente_wire::GroupName;
        let (in_entries, in_ledgers) = (name.parse::<GroupName>(), name.parse::<puente_ledger::GroupId>());
        proptest::prop_assert_eq!(in_entries.is_ok(), in_ledgers.is_ok(), "{}", name);
        let place = LedgerPlace::new(number, 7);
        let origin = format!("group/{name}/ledger{number}").parse::<LedgerOrigin>();
        proptest::prop_assert_eq!(origin.is_ok(), in_entries.is_ok() && place.is_some());
        if let (Ok(name), Some(place), Ok(origin)) = (in_entries, place, origin) {
            proptest::prop_assert_eq!(place.origin(&name), origin.to_string());
        }
    }
}
