//! Alerts: signed by standing in a log, said to a group once, delivered to each member, acknowledged, cancelled.

use std::collections::BTreeSet;

use puente_corridor::Want;
use puente_exchange::alerts::{AlertDraft, Standing, Worthless, list, proven_event};
use puente_exchange::api::{Input, StreamId};
use puente_model::{
    AlertCategory, AlertCertainty, AlertSeverity, Digest, EventKind, Handling, Lang, Millis, NodeUri, Purpose, Role,
};
use puente_wire::proto::{self, Message, frame::Body};
use puente_wire::{Alert, AlertText, decode_frame};

use crate::corridors::{ALL, founded, founded_in, meet, otay, together};
use crate::sim::check::read_log;
use crate::sim::world::{DOJ, DPS, FGE, FGR, Witnessed, World, next_annex, officer, suspend, uri};
use crate::sim::{Ending, Sim};

const HOUR: u64 = 3_600_000;

fn draft(sim: &Sim, from: usize, hours: u64) -> AlertDraft {
    let now = sim.clock(from);
    let text = |lang, headline: &str| AlertText { lang, headline: headline.to_owned(), action: String::new() };
    AlertDraft {
        alert: Alert {
            group: otay().to_string(),
            category: AlertCategory::Security,
            severity: AlertSeverity::Severe,
            certainty: AlertCertainty::Observed,
            area: "Otay Mesa, northbound".to_owned(),
            observed_at: Millis(now.0 - 60_000),
            expires_at: now.plus(hours * HOUR),
            handling: Handling::H1,
            texts: vec![
                text(Lang::En, "armed men in a white pickup"),
                text(Lang::Es, "hombres armados en pickup blanca"),
            ],
        },
        purpose: Purpose::CriminalInvestigation,
        basis: "mx-us-mlat-1987".parse().unwrap(),
        officer: officer(Role::Investigator),
    }
}

fn publish(sim: &mut Sim, from: usize, hours: u64) -> Digest {
    let draft = Box::new(draft(sim, from, hours));
    let ticket = sim.wish(from, |ticket| Input::PublishAlert { ticket, draft });
    assert!(sim.run_until(5_000, |s| s.ending(from, ticket).is_some()));
    match sim.ending(from, ticket) {
        Some(Ending::Alerted(alert)) => *alert,
        other => panic!("{other:?}\n{}", sim.story()),
    }
}

fn acknowledge(sim: &mut Sim, node: usize, alert: Digest, role: Role) -> Ending {
    let officer = officer(role);
    let wish = |ticket| Input::AcknowledgeAlert { ticket, alert, officer, note: "seen".to_owned() };
    let ticket = sim.wish(node, wish);
    assert!(sim.run_until(5_000, |s| s.ending(node, ticket).is_some()));
    sim.ending(node, ticket).cloned().unwrap()
}

fn cancel(sim: &mut Sim, node: usize, alert: Digest, reason: &str) -> Ending {
    let officer = officer(Role::Investigator);
    let wish = |ticket| Input::CancelAlert { ticket, alert, officer, reason: reason.to_owned() };
    let ticket = sim.wish(node, wish);
    assert!(sim.run_until(5_000, |s| s.ending(node, ticket).is_some()));
    sim.ending(node, ticket).cloned().unwrap()
}

fn alerts(sim: &Sim, node: usize) -> Vec<Standing> {
    let shared = crate::sim::disk::Shared(std::sync::Arc::clone(&sim.nodes[node].disk));
    list(&shared).unwrap()
}

fn has(sim: &Sim, node: usize, alert: Digest) -> bool {
    alerts(sim, node).iter().any(|known| known.id == alert && known.alert.is_some())
}

fn events(sim: &Sim, node: usize, kind: EventKind) -> usize {
    let log = read_log(node, &sim.nodes[node].disk.lock().unwrap());
    log.events().filter(|event| event.kind == kind).count()
}

fn others(of: usize) -> Vec<usize> {
    ALL.into_iter().filter(|node| *node != of).collect()
}

#[test]
fn an_alert_reaches_every_member_and_its_author_sees_when() {
    let mut sim = founded(51);
    let alert = publish(&mut sim, FGE, 6);
    assert!(sim.run_until(5_000, |s| others(FGE).iter().all(|node| has(s, *node, alert))), "{}", sim.story());
    for node in others(FGE) {
        let known = alerts(&sim, node).pop().unwrap();
        let said = known.alert.unwrap();
        assert_eq!((known.from, &said.texts[1].headline[..]), (Some(uri(FGE)), "hombres armados en pickup blanca"));
        assert!(known.signed_at > said.observed_at && known.delivered_at.unwrap().0 + 1_000 > known.signed_at.0);
        assert_eq!(events(&sim, node, EventKind::AlertDeliver), 1);
    }
    assert_eq!(acknowledge(&mut sim, DPS, alert, Role::Patrol), Ending::Alerted(alert));
    assert_eq!(acknowledge(&mut sim, DPS, alert, Role::Patrol), Ending::Alerted(alert), "again: nothing more");
    let hop = |s: &Sim, node| alerts(s, FGE).pop().unwrap().hops.into_iter().find(|hop| hop.node == uri(node)).unwrap();
    assert!(sim.run_until(5_000, |s| hop(s, DPS).acknowledged_at.is_some()), "{}", sim.story());
    assert_eq!((hop(&sim, DPS).role, hop(&sim, FGR).acknowledged_at), (Some(Role::Patrol), None));
    assert!(others(FGE).iter().all(|node| hop(&sim, *node).reached_at.is_some()));
    assert_eq!((events(&sim, FGE, EventKind::AlertSign), events(&sim, DPS, EventKind::AlertAck)), (1, 1));
    // Only who made it cancels it; everybody hears of that, with the reason.
    assert_eq!(cancel(&mut sim, DPS, alert, "mistaken"), Ending::UnknownAlert);
    assert_eq!(cancel(&mut sim, FGE, alert, " "), Ending::Invalid);
    assert_eq!(cancel(&mut sim, FGE, alert, "they were customs officers"), Ending::Alerted(alert));
    let over = |s: &Sim, node: usize| alerts(s, node).pop().unwrap().cancelled_at.is_some();
    assert!(sim.run_until(5_000, |s| ALL.iter().all(|node| over(s, *node))), "{}", sim.story());
    assert_eq!(alerts(&sim, DOJ).pop().unwrap().reason, "they were customs officers");
    crate::sim::plan::rest(&mut sim, &[]);
}

#[test]
fn rules_and_forms_are_judged_before_anything_is_said() {
    let mut sim = founded(52);
    type Spoil = fn(&mut AlertDraft);
    let spoils: [(Spoil, bool); 7] = [
        (|d| d.officer.role = Role::Patrol, true),
        (|d| d.basis = "us-28cfr99".parse().unwrap(), true),
        (|d| d.alert.group = "frontera/nowhere".to_owned(), false),
        (|d| d.alert.expires_at = d.alert.observed_at.plus(1), false),
        (|d| d.alert.expires_at = d.alert.expires_at.plus(31 * 24 * HOUR), false),
        (|d| d.alert.observed_at = d.alert.observed_at.plus(HOUR), false),
        (|d| d.officer.expires = Millis(1), false),
    ];
    for (at, (spoil, refused)) in spoils.into_iter().enumerate() {
        let mut draft = Box::new(draft(&sim, FGE, 6));
        spoil(&mut draft);
        let ticket = sim.wish(FGE, |ticket| Input::PublishAlert { ticket, draft });
        sim.run(1_000);
        let ending = sim.ending(FGE, ticket).unwrap();
        let judged = matches!(ending, Ending::Refused { recorded: false, .. });
        assert_eq!((judged, matches!(ending, Ending::Invalid)), (refused, !refused), "{at}: {ending:?}");
    }
    sim.run(30_000);
    assert!(ALL.iter().all(|node| alerts(&sim, *node).is_empty()));
    assert_eq!(events(&sim, FGE, EventKind::OutboundRefused), 2);
    let unknown = Digest([7; 32]);
    assert_eq!(acknowledge(&mut sim, DPS, unknown, Role::Patrol), Ending::UnknownAlert);
    let own = publish(&mut sim, DPS, 6);
    assert_eq!(acknowledge(&mut sim, DPS, own, Role::Patrol), Ending::UnknownAlert, "one's own");
}

/// Nothing arrives at this node or leaves it.
fn cut_off(sim: &mut Sim, node: usize) {
    for other in others(node) {
        sim.cut.extend([(node, other), (other, node)]);
    }
    for conn in 0..sim.conns.len() {
        if sim.conns[conn].ends.iter().any(|end| end.node == node) {
            sim.drop_conn(conn);
        }
    }
}

#[test]
fn whoever_was_offline_hears_of_what_still_stands() {
    let mut sim = founded(53);
    cut_off(&mut sim, DOJ);
    let brief = publish(&mut sim, FGE, 1);
    let long = publish(&mut sim, FGE, 24);
    let mistaken = publish(&mut sim, DPS, 24);
    assert_eq!(cancel(&mut sim, DPS, mistaken, "mistaken"), Ending::Alerted(mistaken));
    sim.run(2 * HOUR);
    assert!(has(&sim, FGR, brief) && !has(&sim, DOJ, long));
    // A whole rekey later, and after a restart of everybody.
    for node in ALL {
        sim.crash(node, true);
        sim.start(node);
    }
    sim.cut.clear();
    meet(&mut sim);
    let all = |s: &Sim| has(s, DOJ, long) && has(s, DOJ, mistaken);
    assert!(sim.run_until(600_000, all), "{}", sim.story());
    sim.run(60_000);
    assert!(!has(&sim, DOJ, brief), "what has ended is delivered to nobody");
    let cancelled = alerts(&sim, DOJ).into_iter().find(|alert| alert.id == mistaken).unwrap();
    assert_eq!(cancelled.reason, "mistaken");
}

#[test]
fn a_crash_at_any_step_loses_no_alert_and_doubles_none() {
    for step in 1..10 {
        for (victim, survives) in [(FGE, false), (FGE, true), (DPS, false), (DPS, true)] {
            let mut sim = founded(540 + step);
            let made = sim.durable_steps.get(&victim).copied().unwrap_or(0);
            let draft = Box::new(draft(&sim, FGE, 6));
            let ticket = sim.wish(FGE, |ticket| Input::PublishAlert { ticket, draft });
            sim.crash_at = Some((victim, made + step, survives));
            sim.run(20_000);
            meet(&mut sim);
            sim.run(60_000);
            let signed = alerts(&sim, FGE);
            assert!(signed.len() == 1 || sim.ending(FGE, ticket).is_none(), "what was told stands");
            for (alert, node) in signed.iter().flat_map(|alert| others(FGE).into_iter().map(move |node| (alert, node)))
            {
                assert!(has(&sim, node, alert.id), "{step} of {victim}, {survives}: {node}\n{}", sim.story());
                assert_eq!(events(&sim, node, EventKind::AlertDeliver), 1, "{step} of {victim}, {survives}: {node}");
            }
        }
    }
}

#[test]
fn what_a_removed_member_is_handed_later_tells_it_nothing() {
    let mut sim = founded(55);
    let ticket = sim.ticket();
    sim.input(FGE, Input::WantOfGroup { ticket, group: otay(), want: Want::Remove(uri(DOJ)) });
    let rest = [FGE, DPS, FGR];
    assert!(sim.run_until(120_000, |s| together(s, &otay(), &rest)), "{}", sim.story());
    sim.run(5_000);
    sim.sent = Some(Vec::new());
    let alert = publish(&mut sim, FGE, 6);
    assert!(sim.run_until(5_000, |s| has(s, DPS, alert) && has(s, FGR, alert)), "{}", sim.story());
    sim.run(60_000);
    let later = sim.sent.take().unwrap();
    let about =
        |bytes: &[u8]| matches!(decode_frame(bytes), Ok(Body::AboutGroup(about)) if about.group == otay().as_str());
    let later: BTreeSet<Vec<u8>> = later.into_iter().map(|sent| sent.bytes).filter(|bytes| about(bytes)).collect();
    assert!(later.len() >= 2, "nothing was said: the test shows nothing");
    sim.connect(FGE, DOJ);
    sim.run(1_000);
    let before = sim.nodes[DOJ].engine.as_ref().unwrap().group_faults();
    for bytes in later {
        let connection = sim.nodes[DOJ].last_connection();
        sim.input(DOJ, Input::Frame { connection, stream: StreamId::CONTROL, bytes });
    }
    sim.run(60_000);
    assert!(alerts(&sim, DOJ).is_empty() && sim.nodes[DOJ].engine.as_ref().unwrap().group_faults() > before);
    assert_eq!(events(&sim, DOJ, EventKind::AlertDeliver), 0);
}

#[test]
fn while_a_suspended_leaf_stands_in_the_group_alerts_go_pairwise() {
    let mut sim = founded_in(World::grouped(Witnessed::ByServer), 56);
    let part = next_annex(&sim.world.charter, "us", suspend(DOJ));
    let ticket = sim.offer(DPS, vec![part]);
    assert!(sim.run_until(10_000, |s| s.ending(DPS, ticket).is_some()));
    // Before the commit that removes it is ordered.
    let alert = publish(&mut sim, DPS, 6);
    assert!(sim.run_until(120_000, |s| has(s, FGE, alert) && has(s, FGR, alert)), "{}", sim.story());
    assert!(sim.run_until(300_000, |s| together(s, &otay(), &[FGE, DPS, FGR])), "{}", sim.story());
    sim.run(60_000);
    assert!(!has(&sim, DOJ, alert));
}

/// What a node keeps of another's alert, as far as it travelled.
#[derive(Clone, PartialEq, Message)]
struct Kept {
    #[prost(bytes = "vec", tag = "2")]
    alert: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    signed: Option<proto::Proven>,
    #[prost(bytes = "vec", tag = "4")]
    detail_salt: Vec<u8>,
}

#[test]
fn an_alert_proves_who_said_it_and_nothing_else_is_believed() {
    let mut sim = founded(57);
    let alert = publish(&mut sim, FGE, 6);
    assert!(sim.run_until(5_000, |s| has(s, DPS, alert)), "{}", sim.story());
    let key = [b"al/".as_slice(), &alert.0].concat();
    let kept = Kept::decode(sim.nodes[DPS].disk.lock().unwrap().store[&key].as_slice()).unwrap();
    let own = Kept::decode(sim.nodes[FGE].disk.lock().unwrap().store[&key].as_slice()).unwrap();
    let charter = std::sync::Arc::clone(&sim.world.charter);
    let judge = |from: NodeUri, kept: &Kept| {
        proven_event(&charter, &from, kept.signed.as_ref().unwrap(), Some((&kept.detail_salt, &kept.alert)))
    };
    let (event, leaf) = judge(uri(FGE), &kept).unwrap();
    assert_eq!((event.kind, leaf), (EventKind::AlertSign, alert));
    type Spoil = fn(&mut Kept);
    let spoils: [Spoil; 7] = [
        |k| k.alert[40] ^= 1,
        |k| k.detail_salt[0] ^= 1,
        |k| k.detail_salt.clear(),
        |k| k.signed.as_mut().unwrap().header[3] ^= 1,
        |k| k.signed.as_mut().unwrap().header_salt[0] ^= 1,
        |k| k.signed.as_mut().unwrap().entry.reverse(),
        |k| k.signed.as_mut().unwrap().receipt.clear(),
    ];
    for (at, spoil) in spoils.into_iter().enumerate() {
        let mut forged = kept.clone();
        spoil(&mut forged);
        assert_eq!(judge(uri(FGE), &forged).err(), Some(Worthless), "{at}");
    }
    // Every byte of the receipt counts but those of cosignatures.
    let receipt = &kept.signed.as_ref().unwrap().receipt;
    let signed = receipt.windows(2).position(|two| two == b"\n\n").unwrap();
    for at in 0..signed {
        let mut forged = kept.clone();
        forged.signed.as_mut().unwrap().receipt[at] ^= 1;
        assert!(judge(uri(FGE), &forged).is_err(), "{at}");
    }
    // Another member's; a stranger's; without the receipt, as its author keeps it.
    assert!(judge(uri(FGR), &kept).is_err());
    assert!(judge("puente://mx/nobody/n1".parse().unwrap(), &kept).is_err());
    assert!(judge(uri(FGE), &own).is_err());
}
