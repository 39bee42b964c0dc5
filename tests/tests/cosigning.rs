//! Heads gather cosignatures; without them nothing is disclosed for ever.

use std::collections::BTreeSet;

use puente_audit_log::{ClaimedCheckpoint, KeyKind, Signer as _, VerifierKey};
use puente_exchange::api::Alarm;
use puente_model::Outcome;
use puente_wire::proto::frame::Body;
use puente_wire::{decode_frame, encode_frame, proto};

use crate::sim::plan::rest;
use crate::sim::world::{BOUND_HOURS, DOJ, DPS, FGE, FGR, Witnessed, World, log_signer, next_common, uri, vin};
use crate::sim::{Ending, Sim, core_question, hit_question};

const HOUR: u64 = 3_600_000;

/// Step 1, a confirmation, step 2.
fn core(sim: &mut Sim, from: usize, to: usize) -> Ending {
    let draft = hit_question(sim, from, to, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(from, draft) else { panic!("{}", sim.story()) };
    let draft = core_question(sim, from, to, &vin(1), answer_leaf);
    sim.ask_and_wait(from, draft)
}

fn disclosed(ending: &Ending) -> bool {
    matches!(ending, Ending::Answered { outcome: Outcome::CoreData, fields, .. } if !fields.is_empty())
}

/// The witnesses whose cosignatures the node's newest cosigned head bears, and its size.
fn cosigners(sim: &Sim, node: usize) -> (BTreeSet<String>, u64) {
    let Some(note) = &sim.nodes[node].cosigned else { return Default::default() };
    let head = ClaimedCheckpoint::parse(note).unwrap().verify(log_signer(node).verifier()).unwrap();
    let keys: Vec<VerifierKey> =
        sim.world.charter.witness_policy().witnesses().iter().map(|w| w.vkey.parse().unwrap()).collect();
    assert!(keys.iter().all(|key| key.kind() == KeyKind::CosignatureV1));
    let by = head.cosignatures(&keys.iter().collect::<Vec<_>>()).unwrap();
    (by.into_iter().map(|line| line.name).collect(), head.size().0)
}

fn names(nodes: &[usize]) -> BTreeSet<String> {
    nodes.iter().map(|node| format!("node-{node}")).collect()
}

/// Nobody is told anything any more that a witness would have to cosign.
fn stop_witnesses(sim: &mut Sim, nodes: &[usize]) {
    for node in nodes {
        sim.crash(*node, false);
    }
}

#[test]
fn heads_are_cosigned_by_the_quorum_of_both_nations() {
    let mut sim = Sim::of(World::witnessed(Witnessed::ByNodes), 7, 4);
    assert!(disclosed(&core(&mut sim, FGE, DPS)));
    sim.run(30_000);
    for node in 0..4 {
        let engine = sim.nodes[node].engine.as_ref().unwrap();
        let cosigning = engine.cosigning(sim.clock(node)).unwrap();
        let (by, size) = cosigners(&sim, node);
        assert_eq!((cosigning.own, cosigning.pending_since), (engine.size(), None), "node {node}\n{}", sim.story());
        assert_eq!((size, engine.cosigned_head()), (engine.size(), sim.nodes[node].cosigned.as_deref()));
        assert_eq!(by, names(&[FGE, DPS, FGR, DOJ]));
        assert!(cosigning.witnesses.iter().all(|w| w.cosigned == Some(size) && w.at.is_some()), "{cosigning:?}");
        assert_eq!(cosigning.witnesses.iter().filter(|w| w.own).count(), 1);
    }
    // Partners hold what they were shown.
    let cosigning = |node: usize| sim.nodes[node].engine.as_ref().unwrap().cosigning(sim.clock(node)).unwrap();
    assert!((0..4).all(|node| cosigning(node).peers.is_empty()), "{:?}", cosigning(DPS));
    rest(&mut sim, &[]);
}

#[test]
fn past_the_bound_no_content_key_is_released_and_service_comes_back_by_itself() {
    let mut sim = Sim::of(World::witnessed(Witnessed::ByNodes), 8, 4);
    assert!(disclosed(&core(&mut sim, FGE, DPS)));
    // Without the other node of each nation no head of either is cosigned.
    stop_witnesses(&mut sim, &[FGR, DOJ]);
    assert!(disclosed(&core(&mut sim, FGE, DPS)), "within the bound entries are pending");
    sim.run(u64::from(BOUND_HOURS) * HOUR + 60_000);
    let peer = |sim: &Sim| {
        let cosigning = sim.nodes[DPS].engine.as_ref().unwrap().cosigning(sim.clock(DPS)).unwrap();
        cosigning.peers.into_iter().find(|peer| peer.peer == uri(FGE)).unwrap()
    };
    assert!(peer(&sim).held_back && peer(&sim).cosigned < peer(&sim).accepted, "{:?}", peer(&sim));
    // A hit is still told, as nothing is disclosed by it; core data is not.
    assert_eq!(core(&mut sim, FGE, DPS), Ending::Unreleased, "{}", sim.story());
    // A restart forgives nothing.
    sim.crash(DPS, true);
    sim.start(DPS);
    assert!(peer(&sim).held_back, "{:?}", peer(&sim));
    assert_eq!(core(&mut sim, FGE, DPS), Ending::Unreleased);
    // A question that waits is released as soon as witnesses are back.
    let draft = hit_question(&sim, FGE, DPS, &vin(2));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!("{}", sim.story()) };
    let draft = core_question(&sim, FGE, DPS, &vin(2), answer_leaf);
    let ticket = sim.ask(FGE, draft);
    sim.run(10_000);
    assert_eq!(sim.ending(FGE, ticket), None);
    sim.start(FGR);
    sim.start(DOJ);
    assert!(sim.run_until(45_000, |s| s.ending(FGE, ticket).is_some()), "{}", sim.story());
    assert!(disclosed(sim.ending(FGE, ticket).unwrap()), "{}", sim.story());
    rest(&mut sim, &[]);
}

#[test]
fn what_the_charter_marks_sensitive_waits_for_both_logs_to_be_cosigned() {
    let mut sim = Sim::of(World::witnessed(Witnessed::Sensitive), 9, 4);
    sim.run(30_000);
    let before = [FGE, DPS].map(|node| cosigners(&sim, node).1);
    assert!(disclosed(&core(&mut sim, FGE, DPS)), "{}", sim.story());
    let after = [FGE, DPS].map(|node| cosigners(&sim, node).1);
    assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    // The very entries of the answer were covered before the key left.
    sim.received = Some(Vec::new());
    assert!(disclosed(&core(&mut sim, FGE, DPS)), "{}", sim.story());
    let release = |frame: &crate::sim::Sent| matches!(decode_frame(&frame.bytes), Ok(Body::Release(_)));
    let frames = sim.received.take().unwrap();
    let at = frames.iter().position(release).unwrap();
    let cosigned_head = |frame: &&crate::sim::Sent| {
        let Ok(Body::Head(head)) = decode_frame(&frame.bytes) else { return false };
        ClaimedCheckpoint::parse(&head.checkpoint).unwrap().signatures().len() > 1
    };
    assert!(frames[..at].iter().filter(|f| (f.from, f.to) == (FGE, DPS)).any(|f| cosigned_head(&f)));
    // Without witnesses it never leaves.
    stop_witnesses(&mut sim, &[FGR, DOJ]);
    assert_eq!(core(&mut sim, FGE, DPS), Ending::Unreleased);
    sim.start(FGR);
    sim.start(DOJ);
    rest(&mut sim, &[]);
}

#[test]
fn a_witness_that_is_no_node_is_asked_over_http() {
    let mut sim = Sim::of(World::witnessed(Witnessed::ByServer), 10, 4);
    sim.server.unreachable = true;
    assert!(disclosed(&core(&mut sim, DPS, FGE)));
    sim.run(10_000);
    let standing = |sim: &Sim| {
        let cosigning = sim.nodes[DPS].engine.as_ref().unwrap().cosigning(sim.clock(DPS)).unwrap();
        (cosigning.own, cosigning.witnesses.into_iter().find(|w| w.name == "server").unwrap())
    };
    assert_eq!((standing(&sim).0, standing(&sim).1.trouble.as_deref()), (0, Some("connection refused")));
    sim.server.unreachable = false;
    sim.run(120_000);
    let (by, size) = cosigners(&sim, DPS);
    assert!(by.contains("server") && by.len() == 3, "{by:?}");
    assert_eq!((standing(&sim).0, standing(&sim).1.trouble), (size, None));
    // A server that lost its memory does not cosign what it cannot place: a new one begins from nothing.
    sim.server = Default::default();
    assert!(disclosed(&core(&mut sim, DPS, FGE)));
    sim.run(120_000);
    assert!(cosigners(&sim, DPS).1 > size, "{}", sim.story());
    rest(&mut sim, &[]);
}

#[test]
fn a_witness_remembers_across_crashes_at_every_step_and_signs_no_second_history() {
    for step in 1..14 {
        for survives in [false, true] {
            let mut sim = Sim::of(World::witnessed(Witnessed::ByNodes), 100 + step, 4);
            sim.crash_at = Some((FGR, step, survives));
            assert!(disclosed(&core(&mut sim, FGE, DPS)), "{}", sim.story());
            sim.run(90_000);
            let size = sim.nodes[FGE].engine.as_ref().unwrap().size();
            assert_eq!(cosigners(&sim, FGE), (cosigners(&sim, FGE).0, size), "step {step}\n{}", sim.story());
            rest(&mut sim, &[]);
        }
    }
}

#[test]
fn a_fork_shown_to_a_witness_convicts_whoever_signed_it() {
    let mut sim = Sim::of(World::witnessed(Witnessed::ByNodes), 12, 4);
    sim.run(20_000);
    let (_, size) = cosigners(&sim, FGE);
    assert!(size > 0);
    // Another tree of the size that FGR cosigned, signed by the same key.
    let other = puente_audit_log::Log::empty(uri(FGE).origin(1).unwrap().as_str()).unwrap();
    let entries: Vec<Vec<u8>> = (0..size).map(|i| i.to_be_bytes().to_vec()).collect();
    let sealed = other.stage(&entries).unwrap().sign(&log_signer(FGE)).unwrap();
    let head = sealed.batch().head.clone();
    let body = puente_audit_log::witness::encode_submission(puente_model::TreeSize(size), &[], &head).unwrap();
    sim.alarms_fail = false;
    sim.received = Some(Vec::new());
    inject(&mut sim, FGE, DPS, Body::Submit(proto::Submit { submission: body.clone() }));
    sim.run(1_000);
    let judged: Vec<u32> = sim
        .received
        .take()
        .unwrap()
        .iter()
        .filter(|frame| (frame.from, frame.to) == (DPS, FGE))
        .filter_map(|frame| match decode_frame(&frame.bytes) {
            Ok(Body::Judged(judged)) if judged.submission == puente_model::Digest::of(&body).0 => Some(judged.status),
            _ => None,
        })
        .collect();
    assert!(judged.is_empty() || judged == [422], "{judged:?}");
    let forks = sim.nodes[DPS].alarms.iter().filter(|a| matches!(a, Alarm::Fork { peer, .. } if *peer == uri(FGE)));
    assert_eq!(forks.count(), 1, "{}", sim.story());
}

/// A frame that the engine of `from` never sent, on the newest connection between the two.
fn inject(sim: &mut Sim, from: usize, to: usize, body: Body) {
    let bytes = encode_frame(&proto::Frame { body: Some(body) }).unwrap()[4..].to_vec();
    sim.connect(from, to);
    sim.run(100);
    let connection = sim.nodes[to].last_connection();
    let stream = puente_exchange::api::StreamId::CONTROL;
    sim.input(to, puente_exchange::api::Input::Frame { connection, stream, bytes });
}

#[test]
fn submissions_that_do_not_hold_are_refused_by_the_statuses_of_the_protocol() {
    let mut sim = Sim::of(World::witnessed(Witnessed::ByNodes), 13, 4);
    sim.run(20_000);
    let judged = |sim: &mut Sim, submission: Vec<u8>| {
        sim.sent = Some(Vec::new());
        inject(sim, FGE, DPS, Body::Submit(proto::Submit { submission: submission.clone() }));
        sim.run(50);
        let id = puente_model::Digest::of(&submission);
        let frames = sim.sent.take().unwrap();
        let answer =
            frames.iter().filter(|f| (f.from, f.to) == (DPS, FGE)).find_map(|f| match decode_frame(&f.bytes) {
                Ok(Body::Judged(judged)) if judged.submission == id.0 => Some((judged.status, judged.body)),
                _ => None,
            });
        answer.unwrap_or_else(|| panic!("no answer\n{}", sim.story()))
    };
    let head = sim.nodes[FGE].engine.as_ref().unwrap().head().unwrap().to_vec();
    let size = sim.nodes[FGE].engine.as_ref().unwrap().size();
    let body = |old: u64, note: &[u8]| [format!("old {old}\n\n").as_bytes(), note].concat();
    assert_eq!(judged(&mut sim, b"nonsense".to_vec()).0, 400);
    assert_eq!(judged(&mut sim, body(size + 1, &head)).0, 400);
    assert_eq!(judged(&mut sim, body(0, &head)), (409, format!("{size}\n").into_bytes()));
    // A log that the charter does not name.
    let own = sim.nodes[DPS].engine.as_ref().unwrap().head().unwrap().to_vec();
    let stranger = String::from_utf8(own.clone()).unwrap().replace("us/tx-dps/n1/log1", "us/tx-dps/n1/log9");
    assert_eq!(judged(&mut sim, body(0, stranger.as_bytes())).0, 404);
    // Another key's signature.
    let text = String::from_utf8(head.clone()).unwrap();
    let line = String::from_utf8(own).unwrap().split_once("\n\n").unwrap().1.to_owned();
    let forged = format!("{}\n\n{line}", text.split_once("\n\n").unwrap().0);
    assert_eq!(judged(&mut sim, body(size, forged.as_bytes())).0, 403);
    // The same again is cosigned again.
    let (status, line) = judged(&mut sim, body(size, &head));
    assert_eq!((status, String::from_utf8(line).unwrap().starts_with("— node-1 ")), (200, true));
    // Whoever floods is told so. (One at a time they would not come within one minute.)
    sim.sent = Some(Vec::new());
    for n in 0..650 {
        let bytes = encode_frame(&proto::Frame {
            body: Some(Body::Submit(proto::Submit { submission: format!("nonsense {n}").into_bytes() })),
        })
        .unwrap()[4..]
            .to_vec();
        let connection = sim.nodes[DPS].last_connection();
        let stream = puente_exchange::api::StreamId::CONTROL;
        sim.input(DPS, puente_exchange::api::Input::Frame { connection, stream, bytes });
    }
    sim.run(50);
    let flood = sim.sent.take().unwrap();
    let flood = flood.iter().filter(|f| (f.from, f.to) == (DPS, FGE)).filter_map(|f| match decode_frame(&f.bytes) {
        Ok(Body::Judged(judged)) => Some(judged.status),
        _ => None,
    });
    let flood = flood.collect::<Vec<_>>();
    assert!(flood.contains(&429), "{flood:?}");
}

#[test]
fn a_charter_that_names_witnesses_is_adopted_while_running() {
    let mut sim = Sim::new(14, 4);
    sim.run(5_000);
    assert!(sim.nodes[FGE].engine.as_ref().unwrap().cosigning(sim.clock(FGE)).is_none());
    let witnessed = World::witnessed(Witnessed::ByNodes);
    let common = witnessed.charter.common().clone();
    let part = next_common(&sim.world.charter, |next| {
        (next.witnesses, next.witness_groups) = (common.witnesses.clone(), common.witness_groups.clone());
        next.quorum.clone_from(&common.quorum);
    });
    let ticket = sim.offer(DPS, vec![part]);
    assert!(sim.run_until(5_000, |s| s.ending(DPS, ticket).is_some()));
    assert_eq!(sim.ending(DPS, ticket), Some(&Ending::InForce { changed: true }));
    sim.world = std::sync::Arc::new(World {
        charter: std::sync::Arc::clone(&witnessed.charter),
        policies: sim.world.policies.clone(),
        grouped: false,
    });
    sim.run(30_000);
    assert!(disclosed(&core(&mut sim, FGE, DPS)), "{}", sim.story());
    sim.run(30_000);
    assert!((0..4).all(|node| cosigners(&sim, node).1 > 0), "{}", sim.story());
}

#[test]
fn partners_of_an_older_minor_version_exchange_and_are_no_witnesses() {
    let mut sim = Sim::speaking(World::witnessed(Witnessed::ByEither), 15, 4, &[2, 1, 2, 2]);
    assert!(disclosed(&core(&mut sim, FGE, DOJ)));
    assert!(disclosed(&core(&mut sim, FGE, DPS)));
    sim.run(60_000);
    assert!(!cosigners(&sim, FGE).0.contains("node-1") && cosigners(&sim, FGE).1 > 0, "{:?}", cosigners(&sim, FGE));
    let cosigning = sim.nodes[FGR].engine.as_ref().unwrap().cosigning(sim.clock(FGR)).unwrap();
    assert!(cosigning.own > 0, "{cosigning:?}");
    rest(&mut sim, &[]);
}

#[test]
fn a_node_whose_key_the_charter_does_not_name_cosigns_nothing() {
    let mut sim = Sim::of(World::witnessed(Witnessed::ByNodes), 16, 4);
    sim.alarms_fail = false;
    sim.nodes[FGR].cosigns = false;
    sim.crash(FGR, true);
    sim.start(FGR);
    assert!(disclosed(&core(&mut sim, FGE, DPS)));
    sim.run(60_000);
    let refused = |alarm: &Alarm| matches!(alarm, Alarm::WitnessRefuses { witness, .. } if witness == "node-2");
    assert_eq!(sim.nodes[FGE].alarms.iter().filter(|a| refused(a)).count(), 1, "{}", sim.story());
}
