//! Exchanges that belong to an epoch of the group of two: the content key opens only with that epoch's secret, whoever is at
//! another epoch catches up, and nobody who asked notices.

use puente_corridor::Want;
use puente_evidence::{Psk, ReplyKey, sealing};
use puente_exchange::api::Input;
use puente_ledger::GroupId;
use puente_model::{Digest, Mode, RefusalReason, Secret32};
use puente_wire::proto::{Message, frame::Body};
use puente_wire::{Pair, PairBody, decode_frame};

use crate::corridors::{ALL, founded, founded_in, meet, otay, standing, together};
use crate::sim::check::read_log;
use crate::sim::world::{DPS, FGE, Witnessed, World, uri, vin};
use crate::sim::{Ending, Sent, Sim, core_question, hit_question};

fn pair() -> GroupId {
    puente_corridor::pair("frontera", &uri(FGE), &uri(DPS)).unwrap()
}

fn pairs(sim: &Sim, node: usize) -> Vec<Pair> {
    let log = read_log(node, &sim.nodes[node].disk.lock().unwrap());
    log.pairs().map(|(_, pair)| pair.clone()).collect()
}

/// What the asker keeps of an exchange, as far as keys go.
#[derive(Clone, PartialEq, Message)]
struct Kept {
    #[prost(bytes = "vec", tag = "6")]
    reply_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "13")]
    content_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "14")]
    sealed_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "17")]
    answer_leaf: Vec<u8>,
    #[prost(bytes = "vec", tag = "22")]
    psk: Vec<u8>,
    #[prost(bytes = "vec", tag = "23")]
    again: Vec<u8>,
}

fn kept(sim: &Sim, node: usize) -> Vec<Kept> {
    let disk = sim.nodes[node].disk.lock().unwrap();
    let asks = disk.store.iter().filter(|(key, _)| key.starts_with(b"a/"));
    asks.map(|(_, value)| Kept::decode(value.as_slice()).unwrap()).collect()
}

fn hit_and_core(sim: &mut Sim) -> Ending {
    let draft = hit_question(sim, FGE, DPS, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!("{}", sim.story()) };
    let draft = core_question(sim, FGE, DPS, &vin(1), answer_leaf);
    sim.ask_and_wait(FGE, draft)
}

#[test]
fn a_content_key_opens_with_the_secret_of_the_groups_epoch_alone() {
    let mut sim = founded(41);
    let epoch = standing(&sim, FGE, &pair()).unwrap().epoch.unwrap();
    sim.received = Some(Vec::new());
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!("{}", sim.story()) };
    let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
    let ticket = sim.ask(FGE, draft);
    // The answer has come, and not its key: the secret is kept.
    let answered = |s: &Sim| kept(s, FGE).iter().any(|k| !k.answer_leaf.is_empty() && k.psk.len() == 32);
    assert!(sim.run_until(5_000, answered), "{}", sim.story());
    let secret = kept(&sim, FGE).into_iter().find(|k| k.psk.len() == 32).unwrap().psk;
    assert!(sim.run_until(5_000, |s| s.ending(FGE, ticket).is_some()));
    assert!(matches!(sim.ending(FGE, ticket), Some(Ending::Answered { fields, .. }) if !fields.is_empty()));
    // Every entry of both exchanges names group and epoch, in both logs.
    for node in [FGE, DPS] {
        let pairs = pairs(&sim, node);
        let of_exchange: Vec<_> = pairs.iter().filter_map(Pair::terms).collect();
        assert!(of_exchange.len() >= 5);
        let bound = |t: &&puente_wire::Terms| (t.group.as_str(), t.epoch) == (pair().as_str(), epoch);
        assert!(of_exchange.iter().all(bound), "{of_exchange:?}");
    }
    let end = kept(&sim, FGE).into_iter().find(|k| !k.content_key.is_empty()).unwrap();
    assert!(end.psk.is_empty(), "it is erased with the dispute's possibility");
    let reply_key = ReplyKey::from_private(Secret32::new(end.reply_key.try_into().unwrap())).unwrap();
    let leaf = Digest(end.answer_leaf.try_into().unwrap());
    let id = [pair().as_str().as_bytes(), &epoch.to_be_bytes()].concat();
    let open = |psk: Option<Psk<'_>>| sealing::open_content_key(Mode::Open, &reply_key, psk, leaf, &end.sealed_key);
    let secret = Secret32::new(secret.try_into().unwrap());
    let key = open(Some(Psk { secret: &secret, id: &id })).unwrap();
    assert_eq!(key.expose().as_slice(), end.content_key);
    assert!(open(None).is_err());
    assert!(open(Some(Psk { secret: &Secret32::new([0; 32]), id: &id })).is_err());
    let other = [pair().as_str().as_bytes(), &(epoch + 1).to_be_bytes()].concat();
    assert!(open(Some(Psk { secret: &secret, id: &other })).is_err());
}

#[test]
fn questions_while_the_group_moves_on_are_answered_all_the_same() {
    let mut sim = founded(42);
    let mut tickets = Vec::new();
    for round in 0..6 {
        let ticket = sim.ticket();
        let node = if round % 2 == 0 { FGE } else { DPS };
        sim.input(node, Input::WantOfGroup { ticket, group: pair(), want: Want::Rekey });
        for _ in 0..250 {
            for (from, to) in [(FGE, DPS), (DPS, FGE)] {
                let mut draft = hit_question(&sim, from, to, &vin(1));
                // Nobody asks so much in a minute.
                draft.officer.id = format!("o-{}", tickets.len()).parse().unwrap();
                tickets.push((from, sim.ask(from, draft)));
            }
            sim.run(12);
        }
    }
    sim.run(60_000);
    for (node, ticket) in &tickets {
        let ending = sim.ending(*node, *ticket);
        assert!(matches!(ending, Some(Ending::Answered { .. })), "{ending:?}\n{}", sim.story());
    }
    let stale = |pair: &Pair| matches!(pair.body, PairBody::Refusal { reason: RefusalReason::StaleEpoch, .. });
    let refused = pairs(&sim, FGE).iter().filter(|pair| stale(pair)).count();
    assert!(refused > 0, "no question met another epoch: the test shows nothing");
    let unbound = |pair: &Pair| pair.terms().is_some_and(|terms| terms.group.is_empty());
    assert!(!pairs(&sim, FGE).iter().any(unbound), "the second try is bound");
    // The one that was refused says as what it was put anew.
    assert!(kept(&sim, FGE).iter().chain(&kept(&sim, DPS)).filter(|k| !k.again.is_empty()).count() == refused);
    crate::sim::plan::rest(&mut sim, &[]);
}

/// What is said about the group of two between these two.
fn of_the_pair(sent: &Sent) -> bool {
    let two = [sent.from, sent.to];
    let about = |body: Body| matches!(body, Body::AboutGroup(about) if about.group == pair().as_str());
    two.contains(&FGE) && two.contains(&DPS) && decode_frame(&sent.bytes).is_ok_and(about)
}

/// The asker moves on in the group, and the holder never hears of it.
fn apart(world: std::sync::Arc<World>, seed: u64) -> Sim {
    let mut sim = founded_in(world, seed);
    let before = standing(&sim, FGE, &pair()).unwrap().epoch;
    let ticket = sim.ticket();
    sim.input(FGE, Input::WantOfGroup { ticket, group: pair(), want: Want::Rekey });
    let ahead = |s: &Sim| [FGE, DPS].map(|n| standing(s, n, &pair()).unwrap().epoch > before);
    assert!(sim.run_until(120_000, |s| ahead(s) != [false, false]), "{}", sim.story());
    sim.lost = Some(of_the_pair);
    // What is on its way between them is lost, too.
    for conn in 0..sim.conns.len() {
        let ends = sim.conns[conn].ends.map(|end| end.node);
        if ends.contains(&FGE) && ends.contains(&DPS) {
            sim.drop_conn(conn);
        }
    }
    meet(&mut sim);
    sim.run(2_000);
    assert!(ahead(&sim).contains(&false), "both have it: the test shows nothing");
    sim
}

#[test]
fn where_nobody_catches_up_the_question_is_put_without_a_group_at_last() {
    let mut sim = apart(World::grouped(Witnessed::ByNodes), 43);
    assert!(matches!(hit_and_core(&mut sim), Ending::Answered { fields, .. } if !fields.is_empty()), "{}", sim.story());
    let stale = |pair: &&Pair| matches!(pair.body, PairBody::Refusal { reason: RefusalReason::StaleEpoch, .. });
    assert_eq!(pairs(&sim, FGE).iter().filter(stale).count(), 4, "two for each of the two questions");
    // Once they hear each other again they are together, and questions are bound.
    sim.lost = None;
    meet(&mut sim);
    assert!(sim.run_until(300_000, |s| together(s, &pair(), &[FGE, DPS])), "{}", sim.story());
    assert!(together(&sim, &otay(), &ALL));
    hit_and_core(&mut sim);
    let last = pairs(&sim, FGE).iter().rev().find_map(|pair| pair.terms().cloned()).unwrap();
    assert_eq!(Some(last.epoch), standing(&sim, FGE, &pair()).unwrap().epoch);
    crate::sim::plan::rest(&mut sim, &[]);
}

#[test]
fn where_the_holders_rules_demand_a_group_nothing_is_answered_without_one() {
    let mut sim = apart(World::bound(), 44);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let ending = sim.ask_and_wait(FGE, draft);
    assert_eq!(ending, Ending::Refused { recorded: true, reason: RefusalReason::Scope }, "{}", sim.story());
    sim.lost = None;
    meet(&mut sim);
    assert!(sim.run_until(300_000, |s| together(s, &pair(), &[FGE, DPS])), "{}", sim.story());
    assert!(matches!(hit_and_core(&mut sim), Ending::Answered { .. }), "{}", sim.story());
}

#[test]
fn a_crash_between_question_and_key_loses_no_secret() {
    for step in 1..12 {
        for victim in [FGE, DPS] {
            let mut sim = founded(450 + step);
            let made = sim.durable_steps.get(&victim).copied().unwrap_or(0);
            sim.crash_at = Some((victim, made + step, step % 2 == 0));
            let draft = hit_question(&sim, FGE, DPS, &vin(1));
            let Some(Ending::Answered { answer_leaf, .. }) = sim.ask_across_crashes(FGE, draft) else { continue };
            let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
            if let Some(ending) = sim.ask_across_crashes(FGE, draft) {
                assert!(
                    !matches!(ending, Ending::Disputed | Ending::Unreleased),
                    "{step} of {victim}\n{}",
                    sim.story()
                );
            }
            crate::sim::plan::rest(&mut sim, &[]);
        }
    }
}
