//! The report says what the logs hold, once, the same each time, and nothing that a log says is more than text in it.

use std::collections::BTreeSet;

use puente_model::{Lang, Mode};
use puente_wire::{Pair, PairBody};

use super::world::*;
use crate::report::{Public, Report, Unchecked, page, public_page};
use crate::{Conclusion, Verdict};

fn audited(world: &World, names: &[&str]) -> (Verdict, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), names);
    let copies: Vec<&std::path::Path> = copies.iter().map(std::path::PathBuf::as_path).collect();
    let mut auditor = auditor(dir.path()).with_keys(all_keys()).with_figures();
    (auditor.reconcile(&copies).unwrap(), dir)
}

fn report(world: &World, names: &[&str]) -> Report {
    let (verdict, _dir) = audited(world, names);
    Report::new(&charter(), &verdict, now(), &BTreeSet::new())
}

/// Asked, answered, refused, released, open of all questions from one node to another.
fn sums(report: &Report, asker: &str, holder: &str) -> [u64; 5] {
    let (asker, holder) = (uri(asker).to_string(), uri(holder).to_string());
    let flows = report.flows.iter().filter(|flow| flow.asker == asker && flow.holder == holder);
    flows.fold([0; 5], |sum, flow| {
        let (answers, refusals) = (flow.answers.values().sum::<u64>(), flow.refusals.values().sum());
        let more = [flow.asked, answers, refusals, flow.released, flow.open];
        [0, 1, 2, 3, 4].map(|at| sum[at] + more[at])
    })
}

#[test]
fn every_exchange_is_counted_once_whoever_gave_a_log() {
    let world = World::busy();
    let both = report(&world, &[MX, US, US2]);
    assert_eq!(both.verdict, Conclusion::Sound);
    // Three courses and three more from MX to US, three to US2: in one log, in the other, or in both.
    for names in [&[MX, US, US2][..], &[MX], &[US, US2]] {
        let report = report(&world, names);
        assert_eq!(sums(&report, MX, US), [6, 5, 1, 3, 0], "{names:?}");
        assert_eq!(sums(&report, MX, US2), [3, 2, 1, 1, 0], "{names:?}");
        assert_eq!(report.refusals.values().sum::<u64>(), 3, "{names:?}");
    }
    assert_eq!(sums(&both, US, MX), [6, 5, 1, 3, 0]);
    let wait = both.waits.iter().find(|wait| wait.asker == uri(MX).to_string() && wait.holder == uri(US).to_string());
    let wait = wait.unwrap();
    assert_eq!((wait.ended, wait.open, wait.bins.iter().sum::<u64>()), (6, 0, 6));
    assert!(wait.median <= wait.p90 && wait.p90 <= wait.longest);
    for log in both.node_logs() {
        assert_eq!(log.growth.iter().map(|(_, count)| count).sum::<u64>(), log.report.entries, "{}", log.report.origin);
    }
    // A PERIOD of each names the other's head.
    let heads = |name: &str| both.logs.iter().find(|log| log.report.node == uri(name).as_str()).unwrap().heads.len();
    assert_eq!((heads(MX), heads(US), heads(US2)), (1, 1, 0));
}

#[test]
fn what_is_open_overdue_given_up_or_training_stands_in_its_own_place() {
    let mut world = World::busy();
    world.exchange(MX, US, Course::Asked);
    let before = report(&world, &[MX, US]);
    assert_eq!((sums(&before, MX, US)[4], before.overdue_all), (1, 0));
    // A day later it is overdue; it stands in the asker's log and in no other figure twice.
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), &[MX, US]);
    let later = now().plus(86_400_000);
    let mut auditor = crate::Auditor::new(charter(), later).with_keys(all_keys()).with_figures();
    let verdict = auditor.reconcile(&[&copies[0], &copies[1]]).unwrap();
    let report = Report::new(&charter(), &verdict, later, &BTreeSet::new());
    assert_eq!((sums(&report, MX, US)[4], report.overdue_all, report.overdue.len()), (1, 1, 1));
    assert_eq!(report.overdue[0].log, "mx/fge-bc/n1/log1");
    // Training is in no figure.
    let asked = sums(&before, MX, US);
    world.spoil = Some(|pair: &mut Pair| {
        if let PairBody::Query { terms, .. } | PairBody::Answer { terms, .. } = &mut pair.body {
            terms.mode = Mode::Training;
        }
    });
    world.exchange(MX, US, Course::NoHit);
    let trained = self::report(&world, &[MX, US]);
    assert_eq!(sums(&trained, MX, US), asked);
    assert_eq!((trained.training.queries, trained.training.answers), (2, 2));
}

#[test]
fn what_was_not_checked_is_said() {
    let world = World::busy();
    let report = report(&world, &[MX]);
    let logs: Vec<&str> = report
        .unchecked
        .iter()
        .filter_map(|one| match one {
            Unchecked::LogNotGiven { log } => Some(&**log),
            _ => None,
        })
        .collect();
    assert_eq!(logs.len(), 3, "{:?}", report.unchecked);
    assert!(logs.contains(&"us/sdpd/n1/log1"), "{logs:?}");
    let one_sided = report
        .unchecked
        .iter()
        .any(|one| matches!(one, Unchecked::OneSided { partners, .. } if partners.contains(&uri(US).to_string())));
    assert!(one_sided, "{:?}", report.unchecked);
    assert!(report.unchecked.iter().any(|one| matches!(one, Unchecked::NothingRemembered { .. })));
}

#[test]
fn the_same_copies_give_the_same_bytes() {
    let (first, second) = (report(&World::busy(), &[MX, US]), report(&World::busy(), &[MX, US]));
    let json = |report: &Report| serde_json::to_string(report).unwrap();
    assert_eq!(json(&first), json(&second));
    for lang in [Lang::En, Lang::Es] {
        assert_eq!(page(&first, &charter(), lang), page(&second, &charter(), lang));
    }
}

#[test]
fn pages_need_nothing_from_outside_and_say_everything_in_both_languages() {
    let mut world = World::busy();
    // One that is overdue, and a fault.
    world.exchange(US, MX, Course::Asked);
    world.spoil = Some(|pair: &mut Pair| pair.minute.0 += 100_000);
    world.exchange(MX, US, Course::NoHit);
    let report = report(&world, &[MX, US]);
    assert_eq!(report.verdict, Conclusion::Unsound);
    let summary = Public::of(&report);
    for lang in [Lang::En, Lang::Es] {
        for text in [page(&report, &charter(), lang), public_page(&summary, &charter(), lang)] {
            assert!(text.starts_with("<!DOCTYPE html><html lang="), "{}", &text[..40]);
            for outside in ["<script", "http://", "https://", "@import", "url(", "<img", "<link"] {
                let svg = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!svg.contains(outside), "{outside}");
            }
            assert!(!text.contains("{0}") && !text.contains("{1}"), "a value is missing");
        }
    }
    let (english, spanish) = (page(&report, &charter(), Lang::En), page(&report, &charter(), Lang::Es));
    assert!(english.contains("What was not checked") && spanish.contains("Qué no se verificó"));
    assert!(english.contains("Unsound:") && spanish.contains("No íntegro:"));
    // Every fault's evidence is linked.
    for finding in &report.findings {
        let Some(file) = &finding.evidence else { continue };
        assert!(english.contains(&format!("href=\"evidence/{file}\"")), "{file}");
    }
    assert!(report.findings.iter().any(|finding| finding.evidence.is_some()));
}

#[test]
fn what_a_log_says_is_text_in_the_page() {
    let mut report = report(&World::busy(), &[MX, US]);
    let hostile = "<script>alert(1)</script>\"'&{0}";
    for flow in &mut report.flows {
        flow.asker = hostile.to_owned();
        flow.answers = [(hostile.to_owned(), 3)].into();
    }
    for log in &mut report.logs {
        log.report.origin = hostile.to_owned();
        log.report.root = hostile.to_owned();
    }
    report.refusals = [(hostile.to_owned(), 3)].into();
    report.federation = hostile.to_owned();
    for lang in [Lang::En, Lang::Es] {
        for text in [page(&report, &charter(), lang), public_page(&Public::of(&report), &charter(), lang)] {
            assert!(!text.contains("<script"), "it became markup");
        }
    }
}

#[test]
fn a_federation_of_many_nodes_is_drawn_with_the_busiest() {
    let mut report = report(&World::busy(), &[MX, US]);
    let (flow, log) = (report.flows[0].clone(), report.logs[0].clone());
    for nth in 0..200_u64 {
        let node = |of: u64| format!("puente://mx/agency-{of}/n1");
        report.flows.push(crate::report::FlowShown {
            asker: node(nth),
            holder: node((nth + 1) % 200),
            asked: nth,
            ..flow.clone()
        });
        let mut more = log.clone();
        more.report.origin = format!("mx/agency-{nth}/n1/log1");
        report.logs.push(more);
    }
    let text = page(&report, &charter(), Lang::En);
    assert!(text.contains(">others<") && text.contains("agency-199"));
    assert!(text.len() < 2_000_000, "{} bytes", text.len());
}
