//! One question to a whole group: sealed once, delivered to each member directly or through a third node, answered by each.

use puente_exchange::api::{Draft, Input};
use puente_model::{Digest, ExchangeId, Outcome};
use puente_wire::proto::frame::Body;
use puente_wire::{Pair, PairBody, decode_frame};

use crate::corridors::{ALL, founded, founded_in, meet, otay, standing};
use crate::sim::check::read_log;
use crate::sim::world::{DOJ, DPS, FGE, FGR, Witnessed, World, uri, vin};
use crate::sim::{Ending, Sent, Sim, core_question, hit_question};

/// What a member is asked under.
type Asked = Vec<(usize, Option<ExchangeId>)>;

fn draft(sim: &Sim, due: u64) -> Draft {
    Draft { due_at: sim.clock(FGE).plus(due), ..hit_question(sim, FGE, DPS, &vin(1)) }
}

fn ask(sim: &mut Sim, draft: Draft) -> Asked {
    let draft = Box::new(draft);
    let ticket = sim.wish(FGE, |ticket| Input::GroupQuestion { ticket, group: otay(), draft });
    assert!(sim.run_until(5_000, |s| s.ending(FGE, ticket).is_some()));
    match sim.ending(FGE, ticket) {
        Some(Ending::GroupAsked(members)) => {
            let node = |name| ALL.into_iter().find(|node| uri(*node) == name).unwrap();
            members.iter().cloned().map(|(name, exchange)| (node(name), exchange)).collect()
        }
        other => panic!("{other:?}\n{}", sim.story()),
    }
}

fn of(asked: &Asked, node: usize) -> ExchangeId {
    asked.iter().find(|(member, _)| *member == node).unwrap().1.unwrap()
}

/// Waits for what comes of one member's exchange.
fn awaited(sim: &mut Sim, exchange: ExchangeId, within: u64) -> Option<Ending> {
    let ticket = sim.wish(FGE, |ticket| Input::Await { ticket, exchange });
    sim.run_until(within, |s| s.ending(FGE, ticket).is_some());
    sim.ending(FGE, ticket).cloned()
}

fn pairs(sim: &Sim, node: usize) -> Vec<Pair> {
    let log = read_log(node, &sim.nodes[node].disk.lock().unwrap());
    log.pairs().map(|(_, pair)| pair.clone()).collect()
}

/// Nothing goes from one to the other directly, either way.
fn part(sim: &mut Sim, one: usize, other: usize) {
    sim.cut.extend([(one, other), (other, one)]);
    for conn in 0..sim.conns.len() {
        let ends = sim.conns[conn].ends.map(|end| end.node);
        if ends.contains(&one) && ends.contains(&other) {
            sim.drop_conn(conn);
        }
    }
    sim.run(2_000);
}

#[test]
fn every_member_judges_and_answers_a_question_that_was_sealed_once() {
    let mut sim = founded(61);
    let epoch = standing(&sim, FGE, &otay()).unwrap().epoch.unwrap();
    sim.sent = Some(Vec::new());
    let question = draft(&sim, 60_000);
    let asked = ask(&mut sim, question);
    assert_eq!(asked.len(), 3);
    let mut leaf = Digest::default();
    for node in [DPS, DOJ, FGR] {
        match awaited(&mut sim, of(&asked, node), 10_000) {
            Some(Ending::Answered { outcome, answer_leaf, .. }) => {
                leaf = if node == DPS { answer_leaf } else { leaf };
                assert!(matches!(outcome, Outcome::HitUnconfirmed | Outcome::NoHit), "{node}");
            }
            other => panic!("{node}: {other:?}\n{}", sim.story()),
        }
    }
    let sent = sim.sent.take().unwrap();
    let is_ask = |sent: &&Sent| matches!(decode_frame(&sent.bytes), Ok(Body::Ask(_)));
    assert_eq!(sent.iter().filter(is_ask).count(), 0, "it was said to the group, and asked on no stream");
    let bound = |pair: &&Pair| pair.terms().is_some_and(|t| (t.group.as_str(), t.epoch) == (otay().as_str(), epoch));
    assert_eq!(pairs(&sim, FGE).iter().filter(bound).count(), 6, "three questions, three answers");
    // A basis that does not carry it abroad: the own rules say so, and those members are not asked.
    let mut domestic = draft(&sim, 60_000);
    domestic.basis = "mx-lgsnsp-2009".parse().unwrap();
    let mut asked = ask(&mut sim, domestic);
    asked.retain(|(_, exchange)| exchange.is_some());
    assert_eq!(asked.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [FGR]);
    // The next step is of two alone.
    let draft = core_question(&sim, FGE, DPS, &vin(1), leaf);
    assert!(matches!(sim.ask_and_wait(FGE, draft), Ending::Answered { fields, .. } if !fields.is_empty()));
    crate::sim::plan::rest(&mut sim, &[]);
}

#[test]
fn a_member_that_cannot_be_reached_is_asked_through_another_that_cannot_read() {
    let mut sim = founded(62);
    part(&mut sim, FGE, DPS);
    sim.sent = Some(Vec::new());
    let question = draft(&sim, 3_600_000);
    let asked = ask(&mut sim, question);
    let recorded =
        |s: &Sim| pairs(s, DPS).iter().any(|pair| matches!(pair.body, PairBody::Query { .. }) && pair.from == uri(FGE));
    let before = pairs(&sim, DPS).len();
    assert!(sim.run_until(120_000, |s| pairs(s, DPS).len() > before && recorded(s)), "{}", sim.story());
    let sent = sim.sent.take().unwrap();
    let relayed: Vec<_> =
        sent.iter().filter(|sent| matches!(decode_frame(&sent.bytes), Ok(Body::Relayed(_)))).collect();
    assert!(!relayed.is_empty() && relayed.iter().all(|sent| sent.to == DPS && [FGR, DOJ].contains(&sent.from)));
    // What it says and of whom is nowhere in what was passed on.
    let secret = vin(1);
    let shows = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    for sent in &relayed {
        assert!(!shows(&sent.bytes, secret.as_bytes()) && !shows(&sent.bytes, b"vehicle.status"));
    }
    // It waits for the line, is answered when that returns, and asked once only.
    assert!(awaited(&mut sim, of(&asked, DPS), 60_000).is_none());
    sim.cut.clear();
    meet(&mut sim);
    let exchange = of(&asked, DPS);
    let ending = awaited(&mut sim, exchange, 120_000);
    assert!(matches!(ending, Some(Ending::Answered { .. } | Ending::Asked(_))), "{ending:?}\n{}", sim.story());
    let queries = pairs(&sim, DPS).iter().filter(|pair| pair.exchange() == Some(exchange)).count();
    assert_eq!(queries, 2, "one QUERY and one ANSWER");
    crate::sim::plan::rest(&mut sim, &[]);
}

#[test]
fn partial_results_say_who_did_not_answer() {
    let mut sim = founded(63);
    for other in [FGE, FGR, DOJ] {
        part(&mut sim, DPS, other);
    }
    let question = draft(&sim, 30_000);
    let asked = ask(&mut sim, question);
    assert!(matches!(awaited(&mut sim, of(&asked, DOJ), 20_000), Some(Ending::Answered { .. })), "{}", sim.story());
    assert_eq!(awaited(&mut sim, of(&asked, DPS), 60_000), Some(Ending::TimedOut), "{}", sim.story());
    // Back again, it is told nothing that is over, and its number is closed.
    sim.cut.clear();
    meet(&mut sim);
    sim.run(60_000);
    crate::sim::plan::rest(&mut sim, &[]);
}

#[test]
fn a_crash_at_any_step_ends_every_exchange_once() {
    for step in 1..8 {
        for victim in [FGE, DPS] {
            let mut sim = founded_in(World::grouped(Witnessed::ByNodes), 640 + step);
            let made = sim.durable_steps.get(&victim).copied().unwrap_or(0);
            let question = Box::new(draft(&sim, 60_000));
            sim.crash_at = Some((victim, made + step, step % 2 == 0));
            sim.wish(FGE, |ticket| Input::GroupQuestion { ticket, group: otay(), draft: question });
            sim.run(10_000);
            meet(&mut sim);
            sim.run(120_000);
            let mine = pairs(&sim, FGE);
            for query in mine.iter().filter(|pair| matches!(pair.body, PairBody::Query { .. }) && pair.from == uri(FGE))
            {
                let ends = mine.iter().filter(|pair| {
                    let end =
                        matches!(pair.body, PairBody::Answer { .. } | PairBody::Refusal { .. } | PairBody::Void { .. });
                    end && pair.exchange() == query.exchange()
                });
                assert_eq!(ends.count(), 1, "step {step} of {victim}\n{}", sim.story());
            }
            crate::sim::plan::rest(&mut sim, &[]);
        }
    }
}

#[test]
fn what_an_asker_recorded_before_it_crashed_is_said_after_it() {
    let mut recorded = 0;
    for (step, survives) in (1..5).flat_map(|step| [(step, false), (step, true)]) {
        let mut sim = founded_in(World::grouped(Witnessed::ByNodes), 660 + step);
        part(&mut sim, FGE, DPS);
        let made = sim.durable_steps.get(&FGE).copied().unwrap_or(0);
        let question = Box::new(draft(&sim, 3_600_000));
        sim.crash_at = Some((FGE, made + step, survives));
        sim.wish(FGE, |ticket| Input::GroupQuestion { ticket, group: otay(), draft: question });
        sim.run(180_000);
        let to_dps = |node| {
            let query = |pair: &&Pair| {
                let asked = matches!(pair.body, PairBody::Query { .. }) && pair.to == uri(DPS) && pair.from == uri(FGE);
                asked && pair.terms().is_some_and(|terms| terms.group == otay().as_str())
            };
            pairs(&sim, node).iter().filter(query).filter_map(Pair::exchange).collect::<Vec<_>>()
        };
        assert_eq!(to_dps(FGE), to_dps(DPS), "step {step}, {survives}: through a third node\n{}", sim.story());
        recorded += to_dps(FGE).len();
    }
    assert!(recorded > 3, "{recorded}");
}

#[test]
fn what_is_passed_on_by_somebody_who_changes_it_counts_for_nothing() {
    let mut sim = founded(65);
    part(&mut sim, FGE, DPS);
    sim.sent = Some(Vec::new());
    let question = draft(&sim, 3_600_000);
    let asked = ask(&mut sim, question);
    sim.run(60_000);
    let sent = sim.sent.take().unwrap();
    let relayed = sent.iter().find_map(|sent| match decode_frame(&sent.bytes) {
        Ok(Body::Relayed(relayed)) => Some(relayed),
        _ => None,
    });
    let relayed = relayed.unwrap();
    sim.connect(FGR, DOJ);
    sim.run(1_000);
    let connection = sim.nodes[DOJ].last_connection();
    let queries = pairs(&sim, DOJ).len();
    let faults = |s: &Sim| s.nodes[DOJ].engine.as_ref().unwrap().group_faults();
    let before = faults(&sim);
    // To a member that opened it already, changed, in another's name, to another group; and what is no post at all.
    let forged = |spoil: &dyn Fn(&mut puente_wire::proto::Relayed)| {
        let mut forged = relayed.clone();
        spoil(&mut forged);
        let body = Some(Body::Relayed(forged));
        puente_wire::encode_frame(&puente_wire::proto::Frame { body }).unwrap()[4..].to_vec()
    };
    let frames = [
        forged(&|_| {}),
        forged(&|r| r.sealed[60] ^= 1),
        forged(&|r| r.post[0] ^= 1),
        forged(&|r| r.from = uri(FGR).to_string()),
        forged(&|r| r.group = "frontera/nowhere".to_owned()),
        forged(&|r| r.sealed.clear()),
    ];
    sim.sent = Some(Vec::new());
    for bytes in frames {
        let stream = puente_exchange::api::StreamId::CONTROL;
        sim.input(DOJ, Input::Frame { connection, stream, bytes });
        sim.run(1_000);
    }
    assert_eq!(pairs(&sim, DOJ).len(), queries);
    // What was opened is not opened again, whatever was changed; the rest is refused by name.
    assert!(faults(&sim) >= before + 2, "{before} {}", faults(&sim));
    // Nobody is told that a post has come which its author did not say.
    let told = sim.sent.take().unwrap().into_iter().filter(|sent| sent.from == DOJ);
    assert!(
        told.into_iter()
            .all(|sent| !matches!(decode_frame(&sent.bytes), Ok(Body::AboutGroup(a)) if a.group == otay().as_str()))
    );
    let _ = asked;
}
