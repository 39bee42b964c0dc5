//! A charter's corridor as a group's rules, and reboots that every nation signs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use puente_audit_log::Signer as _;
use puente_ledger::*;
use puente_model::{Digest, Millis};
use world::charter::{BOTH, charter, code, signatures};
use world::{NODES, ledger, node, proposer_signer, roster, rules};

const NOW: Millis = Millis(1_800_000_000_000);

#[test]
fn a_corridor_is_a_group_with_its_rules() {
    let (group, found) = Rules::of(&charter(true), "otay").unwrap();
    assert_eq!(group.as_str(), "frontera/otay");
    assert_eq!((found.vector(), found.seats()), (rules().vector(), rules().seats()));
    assert_eq!(found.silence(), SILENCE_MILLIS);
    let key = proposer_signer(NODES[1], &ledger(4)).verifier().clone();
    assert!(found.keys(&ledger(4)).contains(&(node(NODES[1]), key)), "a ledger's keys bear its name");
    assert_eq!(found.order(&node(NODES[2])), [NODES[2], NODES[0], NODES[1]].map(node));
    assert_eq!(Rules::of(&charter(true), "none").unwrap_err(), RulesError::NoCorridor("none".to_owned()));
    let without = Rules::of(&charter(false), "otay").unwrap_err();
    assert_eq!(without, RulesError::Quorum(QuorumError::NoWitnesses));
}

/// The two nodes of an exchange order their commits by the charter's witnesses, like a corridor.
#[test]
fn any_nodes_of_the_charter_can_propose() {
    let charter = charter(true);
    let pair = [node(NODES[4]), node(NODES[3])];
    let found = Rules::of_nodes(&charter, &pair, 60_000).unwrap();
    assert_eq!(found.seats().iter().map(|seat| seat.node.clone()).collect::<Vec<_>>(), pair);
    assert_eq!(found.keys(&ledger(1))[0].1, *proposer_signer(NODES[4], &ledger(1)).verifier());
    assert_eq!((found.vector(), found.silence()), (rules().vector(), 60_000));
    // A corridor's rules are made in the same way.
    let (_, of) = Rules::of(&charter, "otay").unwrap();
    let same = Rules::of_nodes(&charter, &[NODES[0], NODES[1], NODES[2]].map(node), SILENCE_MILLIS).unwrap();
    assert_eq!((of.seats(), of.silence()), (same.seats(), same.silence()));
    let stranger = node("mx/z/n1");
    assert_eq!(Rules::of_nodes(&charter, std::slice::from_ref(&stranger), 1).unwrap_err(), RulesError::NoKey(stranger));
    assert_eq!(Rules::of_nodes(&charter, &[], 1).unwrap_err(), RulesError::Seats);
    let twice = Rules::of_nodes(&charter, &[pair[0].clone(), pair[0].clone()], 1);
    assert_eq!(twice.unwrap_err(), RulesError::Seats);
}

fn terms(size: u64, root: Digest) -> RebootTerms {
    RebootTerms { ledger: ledger(1), size, root, next: ledger(2), convener: node(NODES[2]) }
}

#[test]
fn a_reboot_takes_both_nations() {
    let charter = charter(true);
    let terms = terms(0, puente_audit_log::empty_root());
    let verify = |terms: &RebootTerms, by: &[&str]| Reboot::verify(terms.clone(), &signatures(terms, by), &charter);
    assert_eq!(verify(&terms, &BOTH).unwrap().terms(), &terms);
    let nation = code("us");
    assert_eq!(verify(&terms, &BOTH[..3]), Err(RebootError::Threshold { nation: nation.clone(), found: 1, need: 2 }));
    let twice = ["mx-gov-1", "mx-gov-3", "us-gov-1", "us-gov-1"];
    assert_eq!(
        verify(&terms, &twice),
        Err(RebootError::Threshold { nation, found: 1, need: 2 }),
        "one key counts once"
    );
    let stranger = ["mx-gov-1", "mx-gov-3", "us-gov-1", "us-gov-9"];
    assert_eq!(verify(&terms, &stranger), Err(RebootError::BadSignature("us-gov-9".to_owned())));
    let mut other = terms.clone();
    other.size = 1;
    let moved = Reboot::verify(other, &signatures(&terms, &BOTH), &charter);
    assert!(matches!(moved, Err(RebootError::BadSignature(_))), "signatures are of these terms alone");
    let back = RebootTerms { next: ledger(1), ..terms.clone() };
    assert_eq!(verify(&back, &BOTH), Err(RebootError::Next));
    let nobody = RebootTerms { convener: node("mx/z/n1"), ..terms.clone() };
    assert_eq!(verify(&nobody, &BOTH), Err(RebootError::Convener(node("mx/z/n1"))));
    let many = vec![signatures(&terms, &["mx-gov-1"]).remove(0); REBOOT_SIGNATURES_MAX + 1];
    assert_eq!(Reboot::verify(terms, &many, &charter), Err(RebootError::TooManySignatures));
}

#[test]
fn a_wedged_group_goes_on_where_the_reboot_says() {
    let charter = charter(true);
    let (group, rules) = Rules::of(&charter, "otay").unwrap();
    let beginning = Beginning { group, rules, epoch: 0, roster: roster() };
    let open = |records: Vec<Record>| {
        Engine::open(node(NODES[3]), beginning.clone(), vec![], records, None, Tuning::default(), NOW).unwrap()
    };
    let mut engine = open(vec![]);
    let reboot = |size, root| {
        let terms = terms(size, root);
        Reboot::verify(terms.clone(), &signatures(&terms, &BOTH), &charter).unwrap()
    };
    // Signed for another state than this member's: nothing happens by itself.
    engine.handle(NOW, Input::Reboot(reboot(3, Digest::of(b"elsewhere"))));
    let Some(Effect::Fault { fault, .. }) = engine.poll_effect() else { panic!() };
    assert!(matches!(fault, Fault::Chain(ChainError::RebootElsewhere { size: 3, .. })), "{fault}");
    assert_eq!(engine.chain().ledger(), &ledger(1));

    engine.handle(NOW, Input::Reboot(reboot(0, puente_audit_log::empty_root())));
    let Some(Effect::Store { record, .. }) = engine.poll_effect() else { panic!() };
    for chain in [engine.chain(), open(vec![record]).chain()] {
        assert_eq!((chain.ledger(), chain.convener()), (&ledger(2), &node(NODES[2])));
    }
}
