//! Charters change while nodes exchange: annexes, suspensions, blocks, vectors that cross, two parts with one number.

use std::sync::Arc;

use puente_charter::{Charter, ClaimedPart, Offer};
use puente_exchange::api::Alarm;
use puente_model::{EventKind, Outcome};
use puente_wire::fault::FaultCode;
use puente_wire::proto::{self, Message as _};

use crate::sim::check::{Read, read_log};
use crate::sim::plan::rest;
use crate::sim::world::{DOJ, DPS, FGE, FGR, START, World, next_annex, next_common, suspend, uri, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

/// An annex that changes nothing but an endpoint.
fn moved(charter: &Charter, nation: &str) -> ClaimedPart {
    next_annex(charter, nation, |annex| annex.members[0].endpoints = vec!["192.0.2.1:7400".to_owned()])
}

/// The charter with these parts on top.
fn with(charter: &Charter, parts: &[ClaimedPart]) -> Arc<Charter> {
    match charter.offer(parts, START).unwrap() {
        Offer::Next(next, _) => Arc::from(next),
        Offer::Same => panic!("nothing new"),
    }
}

fn adopt(sim: &mut Sim, node: usize, parts: Vec<ClaimedPart>) -> Ending {
    let ticket = sim.offer(node, parts);
    assert!(sim.run_until(5_000, |s| s.ending(node, ticket).is_some()), "{}", sim.story());
    sim.ending(node, ticket).cloned().unwrap()
}

fn events(sim: &Sim, node: usize, kind: EventKind) -> usize {
    read_log(node, &sim.nodes[node].disk.lock().unwrap()).events().filter(|e| e.kind == kind).count()
}

fn hit(sim: &mut Sim, from: usize, to: usize) -> Ending {
    let draft = hit_question(sim, from, to, &vin(1));
    sim.ask_and_wait(from, draft)
}

fn is_hit(ending: &Ending) -> bool {
    matches!(ending, Ending::Answered { outcome: Outcome::HitUnconfirmed, .. })
}

#[test]
fn an_annex_adopted_by_one_reaches_the_others_and_is_in_every_log_before_it_is_judged_by() {
    let mut sim = Sim::new(41, 3);
    assert!(is_hit(&hit(&mut sim, FGE, DPS)) && is_hit(&hit(&mut sim, FGR, DPS)));
    let part = moved(&sim.world.charter, "us");
    assert_eq!(adopt(&mut sim, DPS, vec![part.clone()]), Ending::InForce { changed: true });
    // Connections stand: whoever hears the new Ready fetches the part and adopts it, without being told by anybody.
    sim.run(2_000);
    for node in [FGE, DPS, FGR] {
        assert_eq!(sim.vector(node), "1.mx1.us2", "node {node}\n{}", sim.story());
        assert_eq!(events(&sim, node, EventKind::CharterAdopted), 1);
    }
    assert!(is_hit(&hit(&mut sim, FGE, DPS)) && is_hit(&hit(&mut sim, FGR, FGE)));
    // Again is not twice; an older folder takes nothing back.
    assert_eq!(adopt(&mut sim, DPS, vec![part]), Ending::InForce { changed: false });
    let old = sim.world.charter.parts().to_vec();
    assert_eq!(adopt(&mut sim, FGE, old), Ending::NotAdopted("goes-back"));
    // Entries of one log never go back, and no entry is under a charter that its log has not adopted.
    for node in [FGE, DPS, FGR] {
        let mut adopted = sim.world.charter.vector();
        for (_, read) in read_log(node, &sim.nodes[node].disk.lock().unwrap()).entries {
            match read {
                Read::Event(event) if event.kind == EventKind::CharterAdopted => adopted = event.charter,
                Read::Event(event) => assert_eq!(event.charter, adopted),
                Read::Pair(pair) if pair.from == uri(node) => assert_eq!(pair.charter, adopted),
                _ => {}
            }
        }
    }
    rest(&mut sim, &[]);
}

#[test]
fn an_annex_adopted_in_mid_exchange_leaves_the_answer_under_no_older_charter() {
    let mut sim = Sim::new(42, 2);
    assert!(is_hit(&hit(&mut sim, FGE, DPS)));
    // The asker adopts, and its question overtakes everything: the holder learns of the charter from the QUERY.
    let part = moved(&sim.world.charter, "mx");
    adopt(&mut sim, FGE, vec![part]);
    sim.sent = Some(Vec::new());
    let ending = hit(&mut sim, FGE, DPS);
    assert!(is_hit(&ending), "{ending:?}");
    assert_eq!(sim.vector(DPS), "1.mx2.us1");
    // The holder adopts while it looks up: the answer is above the question.
    sim.weather.lookup = (300, 300);
    let draft = hit_question(&sim, FGE, DPS, &vin(2));
    let ticket = sim.ask(FGE, draft);
    sim.run(100);
    let part = moved(sim.nodes[DPS].charter.as_ref().unwrap(), "us");
    adopt(&mut sim, DPS, vec![part]);
    sim.run_until(5_000, |s| s.ending(FGE, ticket).is_some());
    assert!(is_hit(sim.ending(FGE, ticket).unwrap()));
    let pairs: Vec<_> =
        read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap()).pairs().map(|(_, pair)| pair.clone()).collect();
    let quoted = |pair: &puente_wire::Pair| pairs.iter().find(|p| p.exchange() == pair.exchange()).unwrap().clone();
    for answer in pairs.iter().filter(|p| p.quoted().is_some()) {
        assert!(answer.charter.covers(&quoted(answer).charter));
    }
    rest(&mut sim, &[]);
}

#[test]
fn vectors_that_cross_meet_at_the_component_wise_maximum() {
    let mut sim = Sim::new(43, 2);
    let (mx, us) = (moved(&sim.world.charter, "mx"), moved(&sim.world.charter, "us"));
    sim.cut.extend([(FGE, DPS), (DPS, FGE)]);
    adopt(&mut sim, FGE, vec![mx]);
    adopt(&mut sim, DPS, vec![us]);
    assert_eq!((sim.vector(FGE), sim.vector(DPS)), ("1.mx2.us1".to_owned(), "1.mx1.us2".to_owned()));
    sim.run(20_000);
    sim.cut.clear();
    // After the partition each fetches what the other has.
    assert!(is_hit(&hit(&mut sim, FGE, DPS)) && is_hit(&hit(&mut sim, DPS, FGE)));
    assert_eq!((sim.vector(FGE), sim.vector(DPS)), ("1.mx2.us2".to_owned(), "1.mx2.us2".to_owned()));
    rest(&mut sim, &[]);
}

#[test]
fn a_node_that_was_away_catches_up_over_many_parts_and_a_new_common_part() {
    let mut sim = Sim::new(44, 2);
    sim.crash(DPS, false);
    let mut charter = Arc::clone(&sim.world.charter);
    for _ in 0..4 {
        charter = with(&charter, &[moved(&charter, "mx")]);
    }
    charter = with(&charter, &[next_common(&charter, |common| common.period_minutes = 30)]);
    charter = with(&charter, &[moved(&charter, "us"), moved(&charter, "mx")]);
    assert_eq!(adopt(&mut sim, FGE, charter.parts().to_vec()), Ending::InForce { changed: true });
    sim.start(DPS);
    assert!(is_hit(&hit(&mut sim, FGE, DPS)));
    assert_eq!((sim.vector(DPS).as_str(), sim.vector(FGE).as_str()), ("2.mx6.us2", "2.mx6.us2"));
    // A crash afterwards takes nothing back.
    sim.crash(DPS, false);
    sim.start(DPS);
    assert!(is_hit(&hit(&mut sim, DPS, FGE)));
    rest(&mut sim, &[]);
}

/// A question for core data up to the moment in which the Acknowledge is sent, or (if `arrived`) the holder's RELEASE
/// is on its way to its disk.
fn until_release(sim: &mut Sim, arrived: bool) -> puente_exchange::api::Ticket {
    let Ending::Answered { answer_leaf, .. } = hit(sim, FGE, DPS) else { panic!() };
    let draft = core_question(sim, FGE, DPS, &vin(1), answer_leaf);
    (sim.received, sim.sent) = (Some(Vec::new()), Some(Vec::new()));
    let ticket = sim.ask(FGE, draft);
    let acknowledged = move |s: &Sim| {
        use proto::frame::Body;
        let frames = if arrived { &s.received } else { &s.sent };
        let frames = frames.as_ref().unwrap().iter().map(|f| puente_wire::decode_frame(&f.bytes).unwrap());
        let mut rest = frames.skip_while(|f| {
            !matches!(f, Body::Reply(proto::Reply { content: Some(proto::reply::Content::Sealed(_)), .. }))
        });
        rest.any(|f| matches!(f, Body::Acknowledge(_)))
    };
    assert!(sim.run_until(5_000, acknowledged));
    ticket
}

fn releases(sim: &Sim) -> usize {
    let frames = sim.received.as_ref().unwrap().iter().map(|f| puente_wire::decode_frame(&f.bytes));
    frames.filter(|f| matches!(f, Ok(proto::frame::Body::Release(_)))).count()
}

#[test]
fn a_suspension_between_acknowledge_and_release_gets_no_key() {
    let mut sim = Sim::new(45, 2);
    sim.weather.delay = (100, 120);
    let ticket = until_release(&mut sim, false);
    let part = next_annex(&sim.world.charter, "mx", suspend(FGE));
    let offered = sim.now;
    assert_eq!(adopt(&mut sim, DPS, vec![part]), Ending::InForce { changed: true });
    assert!(sim.now - offered < 5_000);
    let gone = |s: &Sim| s.nodes[DPS].engine.as_ref().unwrap().ready_peers().count() == 0;
    assert!(gone(&sim), "the connection is closed at once\n{}", sim.story());
    sim.run(200_000);
    assert_eq!(releases(&sim), 0, "no key leaves for a suspended member");
    assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Unreleased), "the asker records that the key did not come");
    assert_eq!(events(&sim, FGE, EventKind::Unreleased), 1);
    // Nothing new either: the holder does not even connect.
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    assert!(!matches!(sim.ask_and_wait(FGE, draft), Ending::Answered { .. }));
}

#[test]
fn a_blocked_peer_is_cut_off_at_once_and_nobody_else_is() {
    let mut sim = Sim::new(47, 3);
    let ticket = until_release(&mut sim, true);
    let blocked = sim.bar(DPS, FGE, Some("stolen laptop"));
    sim.run(50);
    assert_eq!(sim.ending(DPS, blocked), Some(&Ending::Recorded));
    assert_eq!(sim.nodes[DPS].barred.get(&uri(FGE)).map(String::as_str), Some("stolen laptop"));
    sim.run(200_000);
    assert_eq!((releases(&sim), sim.ending(FGE, ticket)), (0, Some(&Ending::Unreleased)));
    assert!(is_hit(&hit(&mut sim, FGR, DPS)), "nobody else is cut off");
    let revoked = read_log(DPS, &sim.nodes[DPS].disk.lock().unwrap());
    assert!(revoked.events().any(|e| e.kind == EventKind::Revoke && e.peer == Some(uri(FGE))));
    // The block outlives a crash, and this node asks it nothing either.
    sim.crash(DPS, false);
    sim.start(DPS);
    assert_eq!(hit(&mut sim, DPS, FGE), Ending::Invalid);
    let ticket = sim.bar(DPS, FGE, None);
    sim.run(50);
    assert_eq!(sim.ending(DPS, ticket), Some(&Ending::Recorded));
    assert!(is_hit(&hit(&mut sim, DPS, FGE)) && is_hit(&hit(&mut sim, FGE, DPS)), "and ends when it ends");
    rest(&mut sim, &[]);
}

#[test]
fn questions_to_a_peer_that_is_blocked_end_at_once_and_are_recorded_so() {
    let mut sim = Sim::new(48, 2);
    assert!(is_hit(&hit(&mut sim, FGE, DPS)));
    sim.weather.lookup = (3_000, 3_000);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let ticket = sim.ask(FGE, draft);
    sim.run(500);
    sim.bar(FGE, DPS, Some("no longer trusted"));
    sim.run(500);
    assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Faulted(FaultCode::NotAMember)));
    let log = read_log(FGE, &sim.nodes[FGE].disk.lock().unwrap());
    assert!(log.pairs().any(|(_, p)| matches!(p.body, puente_wire::PairBody::Void { .. })), "its number is voided");
    sim.run(20_000);
    sim.bar(FGE, DPS, None);
    sim.run(50);
    sim.weather.lookup = (1, 3);
    let ending = hit(&mut sim, FGE, DPS);
    assert!(is_hit(&ending), "{ending:?}");
    rest(&mut sim, &[]);
}

#[test]
fn two_annexes_with_one_number_convict_their_nation() {
    let mut sim = Sim::new(49, 3);
    sim.alarms_fail = false;
    let one = moved(&sim.world.charter, "us");
    let two = next_annex(&sim.world.charter, "us", suspend(DOJ));
    sim.cut.extend([(FGE, DPS), (DPS, FGE), (FGR, DPS), (DPS, FGR)]);
    adopt(&mut sim, FGE, vec![one.clone()]);
    adopt(&mut sim, DPS, vec![two.clone()]);
    sim.run(20_000);
    sim.cut.clear();
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    sim.ask_and_wait(FGE, draft);
    sim.run(20_000);
    let evidence = |sim: &Sim, node: usize| {
        let alarms = sim.nodes[node].alarms.iter();
        alarms.into_iter().find_map(|alarm| match alarm {
            Alarm::TwoParts { evidence, .. } => Some(proto::TwoParts::decode(evidence.as_slice()).unwrap()),
            _ => None,
        })
    };
    for node in [FGE, DPS] {
        let both = evidence(&sim, node).unwrap_or_else(|| panic!("node {node}\n{}", sim.story()));
        assert!(both.first.is_some() && both.second.is_some() && both.first != both.second);
        assert_eq!(events(&sim, node, EventKind::PeerFault).min(1), 1);
    }
    assert_eq!(
        (sim.vector(FGE), sim.vector(DPS)),
        ("1.mx1.us2".to_owned(), "1.mx1.us2".to_owned()),
        "each keeps its own"
    );
    // Nothing newer of that nation is adopted, after a restart neither; the other nation's annex is.
    sim.crash(FGE, false);
    sim.start(FGE);
    let charter = Arc::clone(sim.nodes[FGE].charter.as_ref().unwrap());
    let third = moved(&charter, "us");
    assert_eq!(adopt(&mut sim, FGE, vec![third.clone()]), Ending::NotAdopted("nation-stopped"));
    let other = moved(&charter, "mx");
    assert_eq!(adopt(&mut sim, FGE, vec![other]), Ending::InForce { changed: true });
    assert_eq!(adopt(&mut sim, FGE, vec![two]), Ending::NotAdopted("two-parts"));
    // Both nations agree on one of the two: a new common part that pins it.
    let charter = Arc::clone(sim.nodes[FGE].charter.as_ref().unwrap());
    let common = next_common(&charter, |_| ());
    assert_eq!(adopt(&mut sim, FGE, vec![common]), Ending::InForce { changed: true });
    let charter = Arc::clone(sim.nodes[FGE].charter.as_ref().unwrap());
    let next = moved(&charter, "us");
    assert_eq!(adopt(&mut sim, FGE, vec![next]), Ending::InForce { changed: true });
}

#[test]
fn past_its_end_the_charter_carries_members_for_the_grace_and_then_nobody() {
    let world = World::ordinary();
    let mut sim = Sim::of(world, 50, 2);
    assert!(is_hit(&hit(&mut sim, FGE, DPS)));
    const DAY: i64 = 86_400_000;
    // The charter ends after 180 days; the grace is 14.
    for node in &mut sim.nodes {
        node.skew = 185 * DAY;
    }
    let asked = |sim: &Sim| {
        let mut draft = hit_question(sim, FGE, DPS, &vin(1));
        draft.officer.expires = START.plus(300 * DAY as u64);
        draft
    };
    let draft = asked(&sim);
    // The auditors' keys of the sample end with their quarter: what may not be escrowed is refused for that, not for
    // the charter.
    assert!(!matches!(sim.ask_and_wait(FGE, draft), Ending::Invalid));
    for node in &mut sim.nodes {
        node.skew = 195 * DAY;
    }
    let draft = asked(&sim);
    assert_eq!(sim.ask_and_wait(FGE, draft), Ending::Invalid);
}

#[test]
fn a_peer_that_is_cut_off_on_two_connections_ends_what_waits_for_it() {
    let mut sim = Sim::new(53, 2);
    for (from, to) in [(FGE, DPS), (DPS, FGE)] {
        sim.connect(from, to);
    }
    sim.run(1_000);
    // Nothing comes through any more: the question is under way when one line after the other is closed.
    sim.cut.extend([(FGE, DPS), (DPS, FGE)]);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let ticket = sim.ask(FGE, draft);
    sim.run(50);
    let part = next_annex(&sim.world.charter, "us", suspend(DPS));
    assert_eq!(adopt(&mut sim, FGE, vec![part]), Ending::InForce { changed: true });
    sim.run(1_000);
    assert!(sim.ending(FGE, ticket).is_some(), "{}", sim.story());
}

#[test]
fn parts_that_were_asked_for_on_a_line_that_died_are_asked_for_on_the_next() {
    let mut sim = Sim::new(54, 2);
    let part = moved(&sim.world.charter, "us");
    assert_eq!(adopt(&mut sim, DPS, vec![part]), Ending::InForce { changed: true });
    sim.connect(FGE, DPS);
    // Ready has come, and the answer to what was asked then does not.
    sim.run(25);
    sim.cut.insert((DPS, FGE));
    sim.run(100);
    assert_eq!(sim.vector(FGE), "1.mx1.us1");
    let line = sim.conns.len() - 1;
    sim.drop_conn(line);
    sim.run(4_000);
    sim.cut.clear();
    sim.connect(FGE, DPS);
    sim.run(1_000);
    assert_eq!(sim.vector(FGE), "1.mx1.us2", "{}", sim.story());
}

/// Nobody can call it, so that whoever wants to ask it waits until it calls: it does, without anything of its own to say.
#[test]
fn a_node_that_only_calls_stands_with_every_partner() {
    let mut sim = Sim::of(World::only_calling(DPS), 77, 3);
    let stands = |sim: &Sim| {
        (0..3).all(|n| n == DPS || sim.nodes[n].engine.as_ref().unwrap().ready_peers().any(|p| *p == uri(DPS)))
    };
    assert!(sim.run_until(5_000, stands), "not from the start\n{}", sim.story());
    assert!(is_hit(&hit(&mut sim, FGE, DPS)) && is_hit(&hit(&mut sim, FGR, DPS)));
    // A line breaks while nothing is under way; a partner dies, without a word, and is there again.
    for conn in 0..sim.conns.len() {
        sim.drop_conn(conn);
    }
    assert!(sim.run_until(5_000, stands), "not after the lines broke\n{}", sim.story());
    sim.crash(FGE, false);
    sim.run(20_000);
    sim.start(FGE);
    assert!(sim.run_until(10_000, stands), "not after a partner's crash\n{}", sim.story());
    assert!(is_hit(&hit(&mut sim, FGE, DPS)));
    // Whom the operator blocks is not called.
    let ticket = sim.bar(DPS, FGE, Some("stolen laptop"));
    assert!(sim.run_until(5_000, |s| s.ending(DPS, ticket).is_some()));
    let before = sim.conns.len();
    sim.run(60_000);
    assert_eq!(sim.conns.len(), before, "{}", sim.story());
}
