//! Two agencies of one nation: everything between them is veiled, and their nation's auditors alone can compare it.

use puente_model::*;
use puente_wire::{Entry, Header, PairBody, PairKind, Veiled, proto};

use super::honest::assert_sound;
use super::world::*;
use crate::{Checker, Class, Conclusion, Verdict, check_bytes};

/// A veiled entry, and what opens it.
#[derive(Clone)]
struct Said {
    entry: Vec<u8>,
    header: Vec<u8>,
    salt: Secret32,
    escrow: proto::Escrow,
}

fn say(world: &mut World, from: &str, to: &str, escrow: proto::Escrow, body: PairBody) -> Said {
    let pair = world.entry(from, to, body);
    let (stage, minute) = (pair.stage(), pair.minute);
    let (header, salt) = (Header::Pair(pair).encode(), Secret32::new(world.bytes()));
    let commitment = Header::commit(&header, &salt);
    Said { entry: Entry::Veiled(Veiled { stage, minute, commitment }).encode(), header, salt, escrow }
}

fn record(world: &mut World, at: &str, said: &Said) -> Digest {
    let leaf = world.record_veiled(at, said.entry.clone(), &said.salt, &said.header);
    world.node(at).keep(&leaf, proto::aside::Body::Escrow(said.escrow.clone()));
    leaf
}

fn question(world: &mut World, asker: &str, holder: &str) -> (puente_wire::Terms, Said) {
    let (terms, commitment) = (world.terms(), Digest(world.bytes()));
    let (escrowed, escrow) = world.escrowed(asker, holder, terms.exchange, PairKind::Query, commitment);
    let due = Minute(world.now.minute().0 + 60);
    let body = PairBody::Query { terms: terms.clone(), due, commitment, escrow };
    (terms, say(world, asker, holder, escrowed, body))
}

fn no_hit(world: &mut World, asker: &str, holder: &str, terms: puente_wire::Terms, quoted: Digest) -> Said {
    let commitment = Digest(world.bytes());
    let (escrowed, escrow) = world.escrowed(holder, asker, terms.exchange, PairKind::Answer, commitment);
    let body = PairBody::Answer {
        terms,
        outcome: Outcome::NoHit,
        field_class: FieldClass::None,
        count: CountBand::Zero,
        commitment,
        escrow,
        quoted,
    };
    say(world, holder, asker, escrowed, body)
}

/// Recorded by its author, then by its receiver with the author's receipt; the receiver's goes back.
fn deliver(world: &mut World, from: &str, to: &str, said: &Said) -> Digest {
    let leaf = record(world, from, said);
    let receipt = world.nodes[from].receipt(&leaf);
    assert_eq!(record(world, to, said), leaf);
    world.node(to).keep_receipt(&leaf, receipt);
    let back = world.nodes[to].receipt(&leaf);
    world.node(from).keep_receipt(&leaf, back);
    world.tick();
    leaf
}

fn exchange(world: &mut World, asker: &str, holder: &str) {
    let (terms, query) = question(world, asker, holder);
    let leaf = deliver(world, asker, holder, &query);
    let answer = no_hit(world, asker, holder, terms, leaf);
    deliver(world, holder, asker, &answer);
}

fn two_each_way() -> World {
    let mut world = World::new();
    for _ in 0..2 {
        exchange(&mut world, MX, MX2);
        exchange(&mut world, MX2, MX);
    }
    world
}

/// MX2's log as `from` holds it, in the place of the one that it shared.
fn presents(world: &mut World, mut from: World) {
    let node = from.nodes.remove(MX2).unwrap();
    world.nodes.insert(MX2, node);
}

/// Every fault is MX2's, and one of them is of this class.
fn convicts(verdict: &Verdict, class: Class) {
    let faults: Vec<_> = verdict.faults().map(|f| (f.class, f.attributed_to.as_str())).collect();
    assert_eq!(verdict.verdict, Conclusion::Unsound);
    let said = |f: &crate::Finding| format!("{} {}", f.en, f.detail);
    assert!(faults.contains(&(class, MX2)), "{:#?}", verdict.findings.iter().map(said).collect::<Vec<_>>());
    assert!(faults.iter().all(|(_, who)| [MX2, "unknown"].contains(who)), "{faults:?}");
}

#[test]
fn honest_neighbours_are_sound() {
    let (verdict, _dir) = reconcile(&two_each_way(), &[MX, MX2]);
    assert_sound(&verdict);
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
    assert_eq!(verdict.pairs, 1);
    for log in &verdict.logs {
        let counts = &log.counts;
        assert_eq!((counts.veiled, counts.opened, counts.queries, counts.answers), (8, 8, 4, 4));
    }
}

/// Without the nation's key nothing can be said of veiled entries, and nobody is accused.
#[test]
fn a_foreign_auditor_sees_commitments() {
    let world = two_each_way();
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX, MX2]);
    let foreign = || crate::Auditor::new(charter(), now()).with_keys(vec![auditor_key("us-b")]);
    let verdict = foreign().reconcile(&[&copies[0], &copies[1]]).unwrap();
    assert_eq!(verdict.verdict, Conclusion::CouldNotTell);
    assert_eq!(verdict.findings.iter().map(|f| f.class).collect::<Vec<_>>(), [Class::HeaderUnread; 2]);
    assert_sound(&foreign().without_headers().reconcile(&[&copies[0], &copies[1]]).unwrap());
}

#[test]
fn an_omitted_exchange_is_its_holders_fault() {
    let mut world = two_each_way();
    let shared = world.nodes[MX2].entries.len();
    exchange(&mut world, MX, MX2);
    let mut entries = world.nodes[MX2].entries.clone();
    let gone: Vec<Digest> = (shared..entries.len()).map(|at| world.nodes[MX2].leaf(at)).collect();
    entries.truncate(shared);
    world.node(MX2).rewrite(entries);
    world.node(MX2).asides.retain(|a| !gone.iter().any(|leaf| leaf.0 == a.leaf_hash.as_slice()));
    let (verdict, _dir) = reconcile(&world, &[MX, MX2]);
    convicts(&verdict, Class::Omitted);
    convicts(&verdict, Class::Truncated);
}

/// MX2 answered MX, and presents a log with another answer under the same number.
#[test]
fn an_edited_answer_is_its_authors_fault() {
    let base = || {
        let mut world = two_each_way();
        let (terms, query) = question(&mut world, MX, MX2);
        let leaf = deliver(&mut world, MX, MX2, &query);
        (world, terms, leaf)
    };
    let (mut world, terms, leaf) = base();
    let said = no_hit(&mut world, MX, MX2, terms, leaf);
    deliver(&mut world, MX2, MX, &said);
    let (mut edited, terms, leaf) = base();
    edited.bytes::<32>();
    let other = no_hit(&mut edited, MX, MX2, terms, leaf);
    record(&mut edited, MX2, &other);
    presents(&mut world, edited);
    let (verdict, dir) = reconcile(&world, &[MX, MX2]);
    convicts(&verdict, Class::Equivocated);
    // Nobody but the nation's auditors can see that two veiled entries bear one number: a third party is not told so.
    let charter = charter();
    for finding in verdict.faults().filter(|f| f.class == Class::Equivocated) {
        let bytes = std::fs::read(finding.evidence.as_ref().unwrap()).unwrap();
        let checked = check_bytes(&bytes, None, &Checker::Charter(&charter)).unwrap();
        assert_eq!(checked.verdict, Conclusion::CouldNotTell, "{:#?}", checked.words);
    }
    drop(dir);
}

/// MX2 shows one history to MX and presents another.
#[test]
fn a_forked_log_is_its_writers_fault() {
    let mut world = two_each_way();
    exchange(&mut world, MX, MX2);
    let mut forked = two_each_way();
    forked.event(MX2);
    forked.event(MX2);
    forked.event(MX2);
    presents(&mut world, forked);
    let (verdict, dir) = reconcile(&world, &[MX, MX2]);
    convicts(&verdict, Class::Rewritten);
    // Two histories are signed in the clear: this convinces anybody.
    let charter = charter();
    let rewritten = verdict.faults().find(|f| f.class == Class::Rewritten).unwrap();
    let bytes = std::fs::read(rewritten.evidence.as_ref().unwrap()).unwrap();
    let checked = check_bytes(&bytes, None, &Checker::Charter(&charter)).unwrap();
    assert_eq!(checked.verdict, Conclusion::Sound, "{:#?}", checked.words);
    drop(dir);
}
