//! The sharpest test of each promise.

use prost::Message;
use puente_audit_log::{ClaimedCheckpoint, ClaimedReceipt, Signer as _, leaf_hash, root_of_entries};
use puente_evidence::{CheckedSealed, ReplyKey, sealing};
use puente_exchange::api::Draft;
use puente_model::{Digest, ExchangeId, Mode, Outcome, Secret32};
use puente_wire::{Entry, Pair, PairBody, SeedUse, decode_frame, proto};

use crate::sim::disk::Disk;
use crate::sim::plan::rest;
use crate::sim::world::{self, DPS, FGE, FGR, uri, vehicle, vin};
use crate::sim::{Ending, Sim, check, core_question, hit_question};

/// A hit, its core data, a miss; `adapt` may change what is asked.
fn exchange(sim: &mut Sim, from: usize, to: usize, serial: u32, adapt: impl Fn(Draft) -> Draft) {
    let draft = adapt(hit_question(sim, from, to, &vin(serial)));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(from, draft) else { panic!("no hit") };
    let draft = adapt(core_question(sim, from, to, &vin(serial), answer_leaf));
    let ending = sim.ask_and_wait(from, draft);
    assert!(matches!(ending, Ending::Answered { outcome: Outcome::CoreData, .. }), "{ending:?}");
    let draft = adapt(hit_question(sim, from, to, &vin(70 + serial)));
    sim.ask_and_wait(from, draft);
}

#[test]
fn p1_sovereignty_unreleased_fields_do_not_change_bytes() {
    let run = |secrets: &[(&str, &str)]| {
        let mut sim = Sim::new(21, 2);
        sim.sent = Some(Vec::new());
        sim.nodes[DPS].records = (0..4)
            .map(|n| {
                let mut cells = vec![("theft_date", "2026-10-01")];
                cells.extend_from_slice(secrets);
                vehicle(&vin(n), &cells)
            })
            .collect();
        exchange(&mut sim, FGE, DPS, 1, |draft| draft);
        rest(&mut sim, &[]);
        let sent = sim.sent.take().unwrap();
        let frames: Vec<_> = sent.into_iter().filter(|s| s.from == DPS).map(|s| s.bytes).collect();
        let log = sim.nodes[DPS].disk.lock().unwrap().entries.clone();
        (frames, log, sim.nodes[DPS].disk.lock().unwrap().asides.clone())
    };
    let one = run(&[("owner_name", "ANA LOPEZ"), ("remarks", "seen near the bridge"), ("agency_case", "TX-1")]);
    let two = run(&[("owner_name", "WILLIAM BARTHOLOMEW SMITH"), ("informant", "J DOE")]);
    let none = run(&[]);
    assert!(one.0.len() > 10);
    assert!(one == two && one == none, "a field that was not released changed what left the holder");
    // The test can fail: a released field does change the bytes.
    assert!(run(&[("colour", "RED")]).0 != one.0);
}

/// What the engine keeps of an ask, as far as a thief of the disk would use it.
#[derive(Clone, PartialEq, Message)]
struct StolenAsk {
    #[prost(bytes = "vec", tag = "6")]
    reply_key: Vec<u8>,
}

/// Whether the asker's disk and what it received open the body.
fn opens(sim: &Sim) -> bool {
    let received = sim.received.as_ref().unwrap();
    let frames: Vec<_> = received.iter().filter(|s| s.to == FGE).map(|s| decode_frame(&s.bytes).unwrap()).collect();
    let releases = frames.iter().filter_map(|f| match f {
        proto::frame::Body::Release(release) => Some(&release.sealed_key),
        _ => None,
    });
    let replies: Vec<_> = frames
        .iter()
        .filter_map(|f| match f {
            proto::frame::Body::Reply(proto::Reply {
                answer: Some(answer),
                content: Some(proto::reply::Content::Sealed(sealed)),
            }) => Some((check::pair_in_the_clear(&answer.entry)?, leaf_hash(&answer.entry), sealed)),
            _ => None,
        })
        .collect();
    let disk = sim.nodes[FGE].disk.lock().unwrap();
    let keys: Vec<_> = disk
        .store
        .iter()
        .filter(|(key, _)| key.starts_with(b"a/"))
        .filter_map(|(_, value)| {
            let stolen = StolenAsk::decode(value.as_slice()).unwrap();
            ReplyKey::from_private(Secret32::new(stolen.reply_key.try_into().ok()?)).ok()
        })
        .collect();
    for sealed_key in releases {
        for (pair, leaf, sealed) in &replies {
            let PairBody::Answer { commitment, .. } = &pair.body else { continue };
            let checked = CheckedSealed::check(Mode::Open, sealed, *commitment).unwrap();
            let opened = keys.iter().any(|key| {
                sealing::open_content_key(Mode::Open, key, None, *leaf, sealed_key)
                    .is_ok_and(|content| checked.open(&content).is_ok())
            });
            if opened {
                return true;
            }
        }
    }
    false
}

#[test]
fn p2_record_before_reveal() {
    let mut read = 0;
    // Without a crash, and with one at every durable step of either side.
    for crash in std::iter::once(None).chain((1..14).flat_map(|s| [Some((FGE, s, false)), Some((DPS, s, true))])) {
        let mut sim = Sim::new(22, 2);
        sim.received = Some(Vec::new());
        let draft = hit_question(&sim, FGE, DPS, &vin(1));
        let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
        let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
        sim.durable_steps.clear();
        sim.crash_at = crash;
        sim.ask(FGE, draft);
        let mut opened = false;
        let (mut seen, mut state) = (0, 0);
        let until = sim.now + 65_000;
        while sim.step(until) {
            let now = (sim.received.as_ref().unwrap().len(), sim.nodes[FGE].disk.lock().unwrap().size());
            if now == (seen, state) || opened {
                continue;
            }
            (seen, state) = now;
            if opens(&sim) {
                opened = true;
                // The holder's durable head of the asker's log covers the ANSWER.
                let asker = sim.nodes[FGE].disk.lock().unwrap();
                let holder = sim.nodes[DPS].disk.lock().unwrap();
                let note = &holder.store[[b"h/", uri(FGE).as_str().as_bytes()].concat().as_slice()];
                let head = ClaimedCheckpoint::parse(note).unwrap().verify(world::log_signer(FGE).verifier()).unwrap();
                let index = asker
                    .entries
                    .iter()
                    .position(|entry| {
                        let pair = check::pair_in_the_clear(entry);
                        matches!(pair, Some(Pair { body: PairBody::Answer { outcome: Outcome::CoreData, .. }, .. }))
                    })
                    .expect("the ANSWER stands in the asker's log before it can read");
                assert!(head.size().0 > index as u64, "the holder had no head that covers the ANSWER");
            }
        }
        // A crash that takes the QUERY itself ends the exchange; every other one it survives.
        assert!(opened || crash.is_some(), "{}", sim.story());
        read += usize::from(opened);
    }
    assert!(read > 20, "only {read} runs ended with the body read");
}

/// True if what a victim kept of `author` convicts this log of the author's.
fn convicts(victim: &Disk, author: usize, shown: &[Vec<u8>]) -> bool {
    let key = world::log_signer(author);
    let mut heads = Vec::new();
    for bytes in &victim.asides {
        let aside = proto::Aside::decode(bytes.as_slice()).unwrap();
        let Some(proto::aside::Body::PeerReceipt(receipt)) = aside.body else { continue };
        let leaf = Digest::try_from(aside.leaf_hash.as_slice()).unwrap();
        if let Ok(receipt) = ClaimedReceipt::parse(&receipt).unwrap().verify(&leaf, key.verifier()) {
            heads.push(receipt.head().clone());
        }
    }
    assert!(!heads.is_empty(), "receipts were kept");
    // A signed head that the shown entries do not lead to: signed by the author itself.
    heads.iter().any(|head| {
        let size = usize::try_from(head.size().0).unwrap();
        shown.len() < size || root_of_entries(&shown[..size]) != head.root()
    })
}

#[test]
fn p3_two_sided_evidence() {
    let mut sim = Sim::new(23, 4);
    exchange(&mut sim, FGE, DPS, 1, |draft| draft);
    exchange(&mut sim, DPS, FGE, 2, |draft| draft);
    rest(&mut sim, &[]);
    for (author, victim) in [(FGE, DPS), (DPS, FGE)] {
        let honest = sim.nodes[author].disk.lock().unwrap().entries.clone();
        let kept = sim.nodes[victim].disk.lock().unwrap();
        assert!(!convicts(&kept, author, &honest), "an honest log convicts nobody");
        let about = |entry: &[u8]| {
            check::pair_in_the_clear(entry).is_some_and(|p| p.from == uri(author) || p.to == uri(author))
        };
        // The last PERIOD of the author was delivered and receipted: everything before it is bound.
        let bound = honest.iter().rposition(|e| {
            check::pair_in_the_clear(e).is_some_and(|p| p.from == uri(author) && matches!(p.body, PairBody::Period(_)))
        });
        let bound = bound.unwrap();
        let mut forgeries = 0;
        for at in (0..=bound).filter(|at| about(&honest[*at])) {
            let mut omitted = honest.clone();
            omitted.remove(at);
            let mut padded = omitted.clone();
            padded.push(honest[0].clone());
            let mut rewritten = honest.clone();
            let Entry::Pair(mut pair) = Entry::decode(&rewritten[at]).unwrap() else { panic!() };
            pair.policy_hash = Digest([1; 32]);
            rewritten[at] = Entry::Pair(pair).encode();
            let mut swapped = honest.clone();
            swapped.swap(at, at.saturating_sub(1));
            let truncated = honest[..at].to_vec();
            for (name, shown) in [
                ("omission", omitted),
                ("omission made up for", padded),
                ("rewriting", rewritten),
                ("another order", swapped),
                ("a closed tail", truncated),
            ] {
                if shown != honest {
                    assert!(convicts(&kept, author, &shown), "{name} of entry {at} of node {author}");
                    forgeries += 1;
                }
            }
        }
        assert!(forgeries > 40, "{forgeries}");
    }
}

/// An entry as the other nation's auditors see it, without its hashes.
fn blind(entry: &[u8]) -> (usize, String) {
    let zero = Digest([0; 32]);
    let seen = match Entry::decode(entry).unwrap() {
        Entry::Pair(mut pair) => {
            match &mut pair.body {
                PairBody::Query { commitment, escrow, terms, .. } => {
                    (*commitment, *escrow, terms.exchange) = (zero, zero, ExchangeId([0; 16]));
                }
                PairBody::Answer { commitment, escrow, quoted, terms, .. }
                | PairBody::Refusal { commitment, escrow, quoted, terms, .. } => {
                    (*commitment, *escrow, *quoted, terms.exchange) = (zero, zero, zero, ExchangeId([0; 16]));
                }
                PairBody::Release { quoted, receipt, sealed_key, terms } => {
                    (*quoted, *receipt, *sealed_key, terms.exchange) = (zero, zero, zero, ExchangeId([0; 16]));
                }
                PairBody::Void { quoted, .. } => *quoted = zero,
                PairBody::Period(period) => (period.root, period.peer_head) = (zero, Vec::new()),
            }
            format!("{pair:?}")
        }
        Entry::Veiled(veiled) => format!("veiled {:?} {:?}", veiled.stage, veiled.minute),
        Entry::Seeds(seeds) => {
            let to: Vec<_> = seeds.seeds.iter().map(|s| (s.jurisdiction.clone(), s.auditor.clone())).collect();
            format!("seeds {:?} {:?} {to:?}", seeds.purpose, seeds.minute)
        }
        Entry::Group(group) => format!("{group:?}"),
    };
    (entry.len(), seen)
}

#[test]
fn p4_ignorance() {
    let run = |serial: u32, officer: &str, name: &str, case: &str| {
        let mut sim = Sim::new(24, 4);
        let adapt = |mut draft: Draft| {
            draft.officer.id = officer.parse().unwrap();
            draft.officer.name = name.to_owned();
            draft.case_ref = case.to_owned();
            draft
        };
        exchange(&mut sim, FGE, DPS, serial, adapt);
        exchange(&mut sim, FGE, FGR, serial, adapt);
        rest(&mut sim, &[]);
        sim
    };
    let one = run(1, "o-117", "Inés Robles", "C-1/2026");
    let two = run(3, "officer-with-a-long-id-9", "Bo", "FGE/BC/TIJ/2026/0098");
    for node in 0..4 {
        let (a, b) = (one.nodes[node].disk.lock().unwrap(), two.nodes[node].disk.lock().unwrap());
        let seen = |disk: &Disk| disk.entries.iter().map(|e| blind(e)).collect::<Vec<_>>();
        assert_eq!(seen(&a), seen(&b), "node {node}: subject, officer or case shows");
        if node == FGE {
            assert_ne!(a.entries, b.entries, "the worlds do differ");
        }
        // Headers are sealed to the own nation alone; an escrow needs an auditor of each nation in the exchange.
        for entry in &a.entries {
            let Entry::Seeds(seeds) = Entry::decode(entry).unwrap() else { continue };
            let nations: Vec<_> = seeds.seeds.iter().map(|s| s.jurisdiction.clone()).collect();
            let own = world::nation_of(node);
            match seeds.purpose {
                SeedUse::Headers => assert!(nations.iter().all(|n| *n == own)),
                SeedUse::Escrow => assert!(nations[0] != nations[1] || nations == [own.clone(), own]),
            }
        }
        // No identifier stands anywhere in a log.
        for canary in [vin(1), "o-117".to_owned(), "Robles".to_owned(), "C-1/2026".to_owned(), "LOPEZ".to_owned()] {
            for entry in &a.entries {
                assert!(!entry.windows(canary.len()).any(|w| w == canary.as_bytes()), "{canary} stands in a log");
            }
        }
    }
}
