//! Honest exchanges in calm weather.

use puente_audit_log::MemoryFiles;
use puente_exchange::Unable;
use puente_exchange::api::{Draft, LocalEvent};
use puente_exchange::rehearsal::{Foreseen, Party, Plan, Shelf, rehearse};
use puente_model::{Digest, EventKind, Outcome, RefusalReason, TreeSize};
use puente_policy::{Direction, Request, Verdict};

use crate::sim::check::read_all;
use crate::sim::world::{Amendment, DOJ, DPS, FGE, FGR, catalogue, charter, records, uri, vin};
use crate::sim::{Ending, Sim, barred_question, core_question, hit_question};

#[test]
fn a_question_is_answered_and_core_data_released() {
    let mut sim = Sim::new(1, 4);
    let draft = hit_question(&sim, FGE, DPS, &vin(1));
    let Ending::Answered { outcome, answer_leaf, fields, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!((outcome, fields.len()), (Outcome::HitUnconfirmed, 0));
    let draft = core_question(&sim, FGE, DPS, &vin(1), answer_leaf);
    let Ending::Answered { outcome, fields, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!(outcome, Outcome::CoreData);
    assert!(fields.iter().any(|(path, value)| path == "000/vehicle/vin" && *value == vin(1).into_bytes()));
    assert!(!fields.iter().any(|(path, _)| path.contains("owner")), "the owner is not released");
    let draft = hit_question(&sim, FGE, DPS, &vin(77));
    let Ending::Answered { outcome, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
    assert_eq!(outcome, Outcome::NoHit);
    let draft = barred_question(&sim, FGE, DOJ);
    assert_eq!(sim.ask_and_wait(FGE, draft), Ending::Refused { recorded: true, reason: RefusalReason::StatutoryBar });
}

#[test]
fn a_batch_is_collected_once_however_often_its_import_says_so() {
    let collects = |sim: &Sim| read_all(sim)[FGE].events().filter(|e| e.kind == EventKind::Collect).count();
    let batch = |root: &str| LocalEvent {
        kind: EventKind::Collect,
        record_type: "Vehicle".to_owned(),
        count: 3,
        purpose: None,
        basis: None,
        role: None,
        detail: format!("{{\"root\":\"{root}\"}}").into_bytes(),
    };
    for seed in 0..20 {
        let mut sim = Sim::new(seed, 2);
        sim.run(1_000);
        // Twice at once, and again when it stands.
        let tickets = [sim.event(FGE, batch("aa")), sim.event(FGE, batch("aa"))];
        sim.run_until(60_000, |s| tickets.iter().all(|t| s.ending(FGE, *t).is_some()));
        let again = sim.event(FGE, batch("aa"));
        sim.run_until(60_000, |s| s.ending(FGE, again).is_some());
        for ticket in tickets.into_iter().chain([again]) {
            assert_eq!(sim.ending(FGE, ticket), Some(&Ending::Recorded));
        }
        assert_eq!(collects(&sim), 1);
        // Killed while another is on its way to the disk: it stands or not, and saying it again makes one of it.
        let _unheard = sim.event(FGE, batch("bb"));
        sim.crash(FGE, seed % 2 == 0);
        sim.start(FGE);
        let again = sim.event(FGE, batch("bb"));
        assert!(sim.run_until(60_000, |s| s.ending(FGE, again).is_some()));
        assert_eq!(sim.ending(FGE, again), Some(&Ending::Recorded));
        assert_eq!(collects(&sim), 2, "seed {seed}");
    }
}

/// A log as it stands: its head and files.
fn standing(sim: &Sim, node: usize) -> (Option<(TreeSize, Digest)>, MemoryFiles) {
    let mut disk = sim.nodes[node].disk.lock().unwrap();
    let log = disk.open();
    (Some((log.size(), log.root())), disk.published().0.clone())
}

#[test]
fn a_rehearsal_costs_what_the_exchange_then_does() {
    for holder in [DPS, FGR] {
        let mut sim = Sim::new(7, 4);
        // What both logs take once an hour stands already, and the line is up.
        let first = hit_question(&sim, FGE, holder, &vin(2));
        assert!(matches!(sim.ask_and_wait(FGE, first), Ending::Answered { .. }));
        sim.run(2_000);
        let mut hit = None;
        for (step, number) in [(1, 77), (1, 1), (2, 1)] {
            let draft = match (step, hit) {
                (1, _) => hit_question(&sim, FGE, holder, &vin(number)),
                (_, leaf) => core_question(&sim, FGE, holder, &vin(number), leaf.unwrap()),
            };
            let kind = catalogue().query_kind("vehicle.status").unwrap();
            let now = sim.clock(FGE);
            let judged = request(&draft, FGE, holder);
            let verdict = sim.world.policies[holder].judge(&judged, now);
            let Verdict::Permit(grant) = &verdict else { panic!("{verdict:?}") };
            let ((head, tiles), (theirs, their_tiles)) = (standing(&sim, FGE), standing(&sim, holder));
            let (own_uri, their_uri) = (uri(FGE), uri(holder));
            let plan = Plan {
                asker: Shelf { node: &own_uri, log: 1, head, tiles: &tiles },
                holder: Shelf { node: &their_uri, log: 1, head: theirs, tiles: &their_tiles },
                charter: &sim.world.charter,
                policy_hash: grant.policy_hash,
                draft: &draft,
                kind,
                now,
                binding: None,
            };
            let vehicle = catalogue().record_type("Vehicle").unwrap();
            let record = records().swap_remove(number.min(4) as usize).bytes;
            let foreseen = match (step, number) {
                (1, 77) => Foreseen::NoHit,
                (1, _) => Foreseen::Hit(grant),
                _ => Foreseen::CoreData { grant, record_type: vehicle, record: &record },
            };
            let cost = rehearse(&plan, &foreseen, [7; 32]).unwrap();
            let before = [FGE, holder].map(|node| sim.nodes[node].disk.lock().unwrap().entries.len());
            sim.sent = Some(Vec::new());
            let Ending::Answered { outcome, answer_leaf, .. } = sim.ask_and_wait(FGE, draft) else { panic!() };
            hit = Some(answer_leaf);
            sim.run(200);
            assert_eq!(outcome.as_str(), cost.outcome);
            for (party, node, before) in [(Party::Asker, FGE, before[0]), (Party::Holder, holder, before[1])] {
                let disk = sim.nodes[node].disk.lock().unwrap();
                let real: Vec<usize> = disk.entries[before..].iter().map(Vec::len).collect();
                let of = cost.entries.iter().filter(|made| made.by == party);
                assert_eq!(of.map(|made| made.bytes).collect::<Vec<_>>(), real, "{party:?} {outcome}");
                let other = if node == FGE { holder } else { FGE };
                let sent = sim.sent.as_ref().unwrap().iter().filter(|sent| sent.from == node && sent.to == other);
                let real: Vec<usize> = sent.map(|sent| sent.bytes.len() + 4).collect();
                let of = cost.frames.iter().filter(|made| made.by == party);
                assert_eq!(of.map(|made| made.bytes).collect::<Vec<_>>(), real, "{party:?} {outcome}");
            }
            sim.sent = None;
            sim.run(2_000);
        }
    }
}

/// A question as its holder's rules see it.
fn request(draft: &Draft, from: usize, to: usize) -> Request {
    let roles = |node: usize| {
        let charter = charter(Amendment::default());
        charter.member(&uri(node)).unwrap().roles.iter().cloned().collect()
    };
    Request {
        direction: Direction::Inbound,
        agency: uri(from).agency(),
        agency_roles: roles(from),
        holder: uri(to).agency(),
        holder_roles: roles(to),
        kind: draft.kind.clone(),
        step: draft.step,
        purpose: draft.purpose,
        basis: draft.basis.clone(),
        officer_role: draft.officer.role,
        urgency: draft.urgency,
        mode: draft.mode,
        handling: draft.handling,
        offence: Some(draft.offence.clone()).filter(|o| !o.is_empty()),
        facts_stated: !draft.facts_statement.is_empty(),
        suspicion_stated: !draft.facts_statement.is_empty(),
        case_stated: true,
        order_stated: false,
        bound: false,
    }
}

fn tried(sim: &mut Sim, node: usize) -> Result<(), Unable> {
    let ticket = sim.try_out(node);
    sim.run_until(60_000, |s| s.ending(node, ticket).is_some());
    let Some(Ending::Tried(result)) = sim.ending(node, ticket) else { panic!("{:?}", sim.ending(node, ticket)) };
    result.clone()
}

#[test]
fn a_question_to_the_node_itself_leaves_no_trace_and_fails_as_a_real_one_would() {
    let mut sim = Sim::new(3, 2);
    sim.run(5_000);
    let size = |sim: &Sim| sim.nodes[FGE].disk.lock().unwrap().entries.len();
    let (before, store) = (size(&sim), sim.nodes[FGE].disk.lock().unwrap().store.clone());
    sim.sent = Some(Vec::new());
    assert_eq!(tried(&mut sim, FGE), Ok(()));
    assert!(sim.sent.take().unwrap().is_empty(), "nobody hears of it");
    assert_eq!((size(&sim), &sim.nodes[FGE].disk.lock().unwrap().store), (before, &store), "nothing is recorded");
    // The records cannot be read, and can again.
    sim.nodes[FGE].records_broken = true;
    assert!(matches!(tried(&mut sim, FGE), Err(Unable::Records { .. })));
    sim.nodes[FGE].records_broken = false;
    assert_eq!(tried(&mut sim, FGE), Ok(()));
}

#[test]
fn without_auditors_keys_of_the_quarter_the_node_knows_that_questions_would_fail() {
    let mut sim = Sim::new(3, 2);
    sim.run(5_000);
    assert_eq!(tried(&mut sim, FGE), Ok(()));
    // The charter is in force for another month; its auditors' keys end with March.
    sim.nodes[FGE].skew = 130 * 86_400_000;
    assert!(matches!(tried(&mut sim, FGE), Err(Unable::Escrow(_))));
    sim.nodes[FGE].skew = 400 * 86_400_000;
    assert_eq!(tried(&mut sim, FGE), Err(Unable::Charter));
}
