//! What holds for every entry and every quorum.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use puente_audit_log::{KeyId, VerifiedSignature};
use puente_charter::{Need, Witness, WitnessGroup, WitnessPolicy};
use puente_ledger::*;
use puente_model::limits::ENTRY_BYTES_MAX;
use puente_model::{Digest, Millis, NodeUri};
use world::*;

fn drafts() -> impl Strategy<Value = Draft> {
    let held =
        proptest::collection::btree_map((0_u16..900).prop_map(|n| node(&format!("mx/a/n{n}"))), digests(), 0..40);
    let commit = (any::<u64>(), any::<u64>(), digests(), held);
    let commit = commit.prop_map(|(epoch, at, commit, held)| Body::Commit { epoch, at: Millis(at), commit, held });
    let close = (1..=LEDGER_NUMBER_MAX).prop_map(|number| Body::Close { next: ledger(number) });
    let charter = (1..5_u32, 1..90_u32).prop_map(|(common, mx)| vector(&format!("{common}.mx{mx}.us7")));
    (any::<u64>(), charter, prop_oneof![commit, close]).prop_map(|(index, charter, body)| Draft {
        ledger: ledger(3),
        index,
        charter,
        body,
    })
}

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn signed(draft: Draft) -> Entry {
    draft.sign(&proposer_signer(NODES[0], &ledger(3))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn an_entry_reads_as_it_was_written(draft in drafts()) {
        let entry = signed(draft.clone());
        let read = Entry::parse(entry.as_bytes()).unwrap();
        prop_assert_eq!(read.draft(), &draft);
        prop_assert_eq!(read.as_bytes(), entry.as_bytes());
        let keys = rules().keys(&ledger(3));
        prop_assert_eq!(read.signed_by(keys.iter().map(|(node, key)| (key, node))), Some(&node(NODES[0])));
    }

    /// Whatever is changed either does not parse, or is signed by nobody; what parses encodes to the same bytes.
    #[test]
    fn no_changed_entry_passes(draft in drafts(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = signed(draft).as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(entry) = Entry::parse(&bytes) {
            prop_assert_eq!(entry.as_bytes(), &bytes);
            let keys = rules().keys(&ledger(3));
            prop_assert_eq!(entry.signed_by(keys.iter().map(|(node, key)| (key, node))), None);
        }
    }

    #[test]
    fn arbitrary_text_is_no_entry(text in ".{0,300}") {
        prop_assert!(Entry::parse(text.as_bytes()).is_err());
    }

    /// More cosignatures never unmake a quorum.
    #[test]
    fn a_quorum_is_monotone(policy in policies(), some in any::<u32>(), more in any::<u32>()) {
        let (few, many) = (policy.names(some), policy.names(some | more));
        let quorum = policy.quorum();
        let met = |names: &BTreeSet<String>| quorum.met(&policy.signatures(names));
        match (met(&few), met(&many)) {
            (Ok(_), Err(missing)) => prop_assert!(false, "{missing}"),
            (Err(missing), _) => {
                // Those that are named would make it, and no one that is there is named.
                prop_assert!(!missing.names.is_empty() && missing.names.iter().all(|name| !few.contains(name)));
                let all = few.iter().chain(&missing.names).cloned().collect();
                prop_assert!(met(&all).is_ok());
            }
            (Ok(met), _) => prop_assert!(met.at.keys().eq(few.iter())),
        }
    }

    /// Any two quorums share more witnesses in each nation than may lie there.
    #[test]
    fn two_quorums_share_an_honest_witness(policy in policies(), one in any::<u32>(), other in any::<u32>()) {
        let quorum = policy.quorum();
        let (one, other) = (policy.names(one), policy.names(other));
        let both_met = [&one, &other].iter().all(|names| quorum.met(&policy.signatures(names)).is_ok());
        if both_met {
            for (nation, size) in ["mx", "us"].into_iter().zip(policy.0) {
                let shared = one.intersection(&other).filter(|name| name.starts_with(nation)).count();
                let tolerated = 2 * majority(size) - size - 1;
                prop_assert!(shared > tolerated, "{nation}: {shared} of {size}");
            }
        }
    }
}

const fn majority(of: usize) -> usize {
    of / 2 + 1
}

/// Two nations with so many witnesses, a majority in each.
#[derive(Debug, Clone, Copy)]
struct Policy([usize; 2]);

fn policies() -> impl Strategy<Value = Policy> {
    (1_usize..6, 1_usize..6).prop_map(|(mx, us)| Policy([mx, us]))
}

impl Policy {
    fn all(self) -> Vec<String> {
        let of = |nation: &'static str, size| (1..=size).map(move |n| format!("{nation}{n}"));
        of("mx", self.0[0]).chain(of("us", self.0[1])).collect()
    }

    fn names(self, bits: u32) -> BTreeSet<String> {
        self.all().into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| name).collect()
    }

    fn quorum(self) -> Quorum {
        let group = |nation: &str, size| WitnessGroup {
            name: nation.to_owned(),
            need: Need::AtLeast(majority(size) as u32),
            members: self.all().into_iter().filter(|name| name.starts_with(nation)).collect(),
        };
        let both = WitnessGroup { name: "both".to_owned(), need: Need::All, members: vec!["mx".into(), "us".into()] };
        let groups = [group("mx", self.0[0]), group("us", self.0[1]), both];
        let witnesses: Vec<Witness> = self.all().iter().map(|name| witness(name)).collect();
        Quorum::of(&WitnessPolicy::new(&witnesses, &groups, "both").unwrap()).unwrap()
    }

    fn signatures(self, names: &BTreeSet<String>) -> Vec<VerifiedSignature> {
        names.iter().map(|name| signature(name, 5)).collect()
    }
}

fn witness(name: &str) -> Witness {
    use puente_audit_log::Signer as _;
    let vkey = witness_signer(name).verifier().to_string();
    Witness { name: name.to_owned(), jurisdiction: name[..2].parse().unwrap(), vkey, url: None }
}

fn signature(name: &str, at: u64) -> VerifiedSignature {
    use puente_audit_log::Signer as _;
    VerifiedSignature { name: name.to_owned(), id: witness_signer(name).verifier().id(), at: Some(Millis(at)) }
}

/// Two proposers whose heads really race, each witness taking whichever comes first: in half of all outcomes the nations'
/// majorities differ, and the slot is wedged. So nothing but silence may start a race.
#[test]
fn half_of_all_races_at_the_witnesses_wedge() {
    let quorum = Policy([3, 3]).quorum();
    let all = Policy([3, 3]).all();
    let wins = |bits: u32| {
        quorum.is_met_by(all.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, w)| w.as_str()))
    };
    let wedged = (0..64_u32).filter(|bits| !wins(*bits) && !wins(!bits & 63)).count();
    assert_eq!(wedged, 32);
}

#[test]
fn what_does_not_count_makes_no_quorum() {
    let quorum = Policy([3, 3]).quorum();
    let good: Vec<VerifiedSignature> = ["mx1", "mx2", "us1", "us2"].iter().map(|name| signature(name, 5)).collect();
    assert!(quorum.met(&good).is_ok());
    let missing = |change: &dyn Fn(&mut VerifiedSignature)| {
        let mut lines = good.clone();
        change(&mut lines[0]);
        quorum.met(&lines).unwrap_err().names
    };
    // Another's key under a witness's name; a line without an instant; a stranger; one that signed twice.
    let wanted = ["mx1", "mx3"].map(String::from).to_vec();
    assert_eq!(missing(&|line| line.id = KeyId([0; 4])), wanted);
    assert_eq!(missing(&|line| line.at = None), wanted);
    assert_eq!(missing(&|line| line.name = "mx9".to_owned()), wanted);
    assert_eq!(missing(&|line| *line = signature("mx2", 9)), wanted);
    assert_eq!(quorum.met(&[]).unwrap_err().names.len(), 6);
    let twice = [good.clone(), vec![signature("mx2", 9)]].concat();
    assert_eq!(quorum.met(&twice).unwrap().at["mx2"], Millis(9), "its newest instant counts");
}

#[test]
fn a_charter_without_a_usable_quorum_orders_nothing() {
    let none = WitnessPolicy::new(&[], &[], "none").unwrap();
    assert_eq!(Quorum::of(&none).unwrap_err(), QuorumError::NoWitnesses);
    let seats = |n: usize| (0..n).map(|at| Seat { node: node(&format!("mx/a/n{at}")), public: public(at) }).collect();
    fn public(at: usize) -> [u8; 32] {
        use puente_audit_log::Signer as _;
        *proposer_signer(&format!("seat {at}"), &ledger(1)).verifier().public()
    }
    let rules = |seats: Vec<Seat>| Rules::new(vector("1.mx1.us1"), quorum(), seats, SILENCE).map(|_| ());
    assert_eq!(rules(seats(0)), Err(RulesError::Seats));
    assert_eq!(rules(seats(SEATS_MAX)), Ok(()));
    assert_eq!(rules(seats(SEATS_MAX + 1)), Err(RulesError::Seats));
    let mut twice: Vec<Seat> = seats(2);
    twice[1].public = twice[0].public;
    assert_eq!(rules(twice), Err(RulesError::Seats));
    let weak = vec![Seat { node: node("mx/a/n1"), public: [0; 32] }];
    assert!(matches!(rules(weak), Err(RulesError::Key { .. })));
}

#[test]
fn entries_have_limits_and_one_form() {
    let held = |count: usize| -> BTreeMap<NodeUri, Digest> {
        (0..count).map(|n| (node(&format!("mx/a/n{n}")), Digest::default())).collect()
    };
    let draft = |held| Draft {
        ledger: ledger(3),
        index: 0,
        charter: vector("1.mx1.us1"),
        body: Body::Commit { epoch: 0, at: Millis(0), commit: Digest::default(), held },
    };
    let signer = proposer_signer(NODES[0], &ledger(3));
    let most = draft(held(HOLDERS_MAX)).sign(&signer).unwrap();
    assert!(most.as_bytes().len() <= ENTRY_BYTES_MAX);
    assert_eq!(draft(held(HOLDERS_MAX + 1)).sign(&signer).unwrap_err(), EntryError::Holders);
    let text = String::from_utf8(signed(draft(held(2))).as_bytes().to_vec()).unwrap();
    let changed = |from: &str, to: &str| Entry::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert!(matches!(changed("ledger/commit\n", "ledger/other\n"), EntryError::Line { line: 1, .. }));
    assert!(matches!(changed("index 0", "index 00"), EntryError::Line { expected: "the end, in canonical form", .. }));
    assert!(matches!(changed("epoch 0", "epoch +0"), EntryError::Line { expected: "the end, in canonical form", .. }));
    assert!(matches!(changed("epoch 0\n", ""), EntryError::Line { line: 5, .. }));
    assert!(matches!(changed("held mx/a/n1 ", "held mx/a/n0 "), EntryError::Holders));
    assert!(matches!(changed("held mx/a/n1 ", "held mx/a "), EntryError::Line { line: 9, .. }));
    let line = text.lines().last().unwrap();
    assert_eq!(changed(line, &format!("{line}\n{line}")), EntryError::Signatures);
    let long = vec![b'a'; ENTRY_BYTES_MAX + 1];
    assert_eq!(Entry::parse(&long).unwrap_err(), EntryError::TooLong { found: ENTRY_BYTES_MAX + 1 });
}
