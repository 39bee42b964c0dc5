//! Histories of groups in the logs of their members, and evidence about them.

use std::fs;

use puente_model::Digest;
use puente_wire::{Entry, GroupEntry, GroupEvent, LedgerPlace, LeftWhy};

use super::world::*;
use crate::{Checked, Checker, Class, Conclusion, Verdict, check_bytes};

pub(super) const GROUP: &str = "frontera/otay";

fn hash(what: &str) -> Digest {
    Digest::of(what.as_bytes())
}

pub(super) fn place(index: u64) -> LedgerPlace {
    LedgerPlace::new(1, index).unwrap()
}

pub(super) fn entry(world: &World, what: GroupEvent) -> Vec<u8> {
    Entry::Group(GroupEntry { minute: world.now.minute(), group: GROUP.parse().unwrap(), what }).encode()
}

/// EPOCH as every honest member records it.
fn epoch(epoch: u64) -> GroupEvent {
    let (commit, hash) = (hash(&format!("commit {epoch}")), hash(&format!("epoch {epoch}")));
    GroupEvent::Epoch { epoch, commit, hash, ordered: None }
}

fn say(world: &mut World, at: &str, what: GroupEvent) {
    let entry = entry(world, what);
    world.node(at).append(vec![entry]);
    world.tick();
}

/// Three members in epochs 1 to 3, one of them since epoch 2.
fn members() -> World {
    let mut world = World::busy();
    for number in 1..=3 {
        for at in [MX, US, US2] {
            if (at, number) != (US2, 1) {
                let place = place(number - 1);
                say(&mut world, at, GroupEvent::Held { place, statement: hash("statement") });
                say(&mut world, at, epoch(number));
            }
        }
    }
    world
}

const ALL: &[&str] = &[MX, US, US2];

fn classes(verdict: &Verdict) -> Vec<Class> {
    verdict.findings.iter().map(|finding| finding.class).filter(|class| class.as_str().starts_with("group")).collect()
}

/// The one finding of a class: its evidence, and what `check` makes of it.
fn evidence(verdict: &Verdict, class: Class) -> (serde_json::Value, Checked) {
    let finding = verdict.findings.iter().find(|finding| finding.class == class).unwrap();
    let bytes = fs::read(finding.evidence.as_ref().unwrap()).unwrap();
    let checked = check(&bytes);
    (serde_json::from_slice(&bytes).unwrap(), checked)
}

fn check(bytes: &[u8]) -> Checked {
    check_bytes(bytes, None, &Checker::Charter(&charter())).unwrap()
}

fn checked(file: &serde_json::Value) -> Checked {
    check(&serde_json::to_vec(file).unwrap())
}

#[test]
fn members_that_say_the_same_are_sound_and_counted() {
    let (verdict, _dir) = reconcile(&members(), ALL);
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:?}", verdict.findings);
    assert_eq!(verdict.logs.iter().map(|log| log.counts.groups).collect::<Vec<_>>(), [6, 6, 4]);
}

#[test]
fn a_forked_group_is_found_with_its_sides_and_the_first_epoch_that_differs() {
    let mut world = members();
    for number in 4..=5 {
        say(&mut world, MX, epoch(number));
        say(&mut world, US, epoch(number));
        let (commit, hash) = (hash(&format!("commit {number}")), hash(&format!("other {number}")));
        say(&mut world, US2, GroupEvent::Epoch { epoch: number, commit, hash, ordered: None });
    }
    let (verdict, _dir) = reconcile(&world, ALL);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Unsound, vec![Class::GroupForked]));
    let finding = verdict.faults().next().unwrap();
    assert_eq!(finding.attributed_to.as_str(), "unknown", "a fork alone does not say whose it is");
    for said in ["epoch 4 of frontera/otay", "mx/fge-bc/n1, us/sdpd/n1: ", "us/atf-sd/n1: "] {
        assert!(finding.detail.contains(said), "{}", finding.detail);
    }

    let (file, found) = evidence(&verdict, Class::GroupForked);
    assert_eq!(found.verdict, Conclusion::Sound, "{:?}", found.words);
    assert!(found.words.last().unwrap().contains("epoch 4 of frontera/otay differently"), "{:?}", found.words);
    assert_eq!(
        check_bytes(&serde_json::to_vec(&file).unwrap(), None, &Checker::Nobody).unwrap().verdict,
        Conclusion::CouldNotTell
    );

    // One side alone, the same side twice, another entry under the receipt, a receipt of another entry: nothing is proven.
    let mut alone = file.clone();
    alone["entries"].as_array_mut().unwrap().truncate(1);
    let mut twice = alone.clone();
    let again = twice["entries"][0].clone();
    twice["entries"].as_array_mut().unwrap().push(again);
    for forged in [alone, twice] {
        let refused = checked(&forged);
        assert_eq!(refused.verdict, Conclusion::Unsound);
        assert_eq!(
            refused.words.last().unwrap(),
            "The entries verify, but say nothing different of one epoch of one group."
        );
    }
    let mut swapped = file.clone();
    swapped["entries"][0]["entry"] = file["entries"][1]["entry"].clone();
    let refused = checked(&swapped);
    assert_eq!(refused.verdict, Conclusion::Unsound);
    assert!(refused.words.iter().any(|words| words.contains("does not verify")), "{:?}", refused.words);
}

#[test]
fn another_place_in_the_ledger_is_another_history() {
    let mut world = members();
    for (at, index) in [(MX, 3), (US, 4)] {
        let GroupEvent::Epoch { epoch, commit, hash, .. } = epoch(4) else { panic!() };
        say(&mut world, at, GroupEvent::Epoch { epoch, commit, hash, ordered: Some(place(index)) });
    }
    let (verdict, _dir) = reconcile(&world, ALL);
    assert_eq!(classes(&verdict), [Class::GroupForked]);
    // From one log nobody can tell.
    let (verdict, _dir) = reconcile(&world, &[US]);
    assert_eq!(classes(&verdict), []);
}

#[test]
fn an_epoch_that_is_missing_is_found_unless_the_node_had_left() {
    let mut world = members();
    say(&mut world, US, epoch(5));
    let (verdict, _dir) = reconcile(&world, &[US]);
    assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Unsound, vec![Class::GroupGap]));
    assert_eq!(verdict.faults().next().unwrap().attributed_to.as_str(), US);
    let (mut file, found) = evidence(&verdict, Class::GroupGap);
    assert_eq!(found.verdict, Conclusion::CouldNotTell, "two entries do not show what is not between them");
    file["entries"].as_array_mut().unwrap().truncate(1);
    assert_eq!(checked(&file).words.last().unwrap(), "The entries verify, but no epoch lies between them.");

    for why in LeftWhy::ALL {
        let mut world = members();
        say(&mut world, US, GroupEvent::Left { epoch: 3, why: *why });
        say(&mut world, US, epoch(5));
        assert_eq!(classes(&reconcile(&world, &[US]).0), []);
    }
}

#[test]
fn an_epoch_that_was_over_does_not_begin_again() {
    let left = |epoch| GroupEvent::Left { epoch, why: LeftWhy::Removed };
    for again in [vec![epoch(3)], vec![epoch(2)], vec![left(2)], vec![left(3), epoch(3)], vec![left(3), left(3)]] {
        let mut world = members();
        again.iter().for_each(|what| say(&mut world, MX, *what));
        let (verdict, _dir) = reconcile(&world, &[MX]);
        assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Unsound, vec![Class::GroupBack]), "{again:?}");
        assert_eq!(verdict.faults().next().unwrap().attributed_to.as_str(), MX);
        let (mut file, found) = evidence(&verdict, Class::GroupBack);
        assert_eq!(found.verdict, Conclusion::Sound, "{:?}", found.words);
        file["entries"].as_array_mut().unwrap().truncate(1);
        let refused = checked(&file);
        assert_eq!(refused.words.last().unwrap(), "The entries verify, but do not go back to an epoch that was over.");
    }
    // What honestly goes on convicts nobody, whatever it is called.
    let (mut file, _) = {
        let mut world = members();
        say(&mut world, MX, epoch(3));
        let (verdict, _dir) = reconcile(&world, &[MX]);
        evidence(&verdict, Class::GroupBack)
    };
    file["class"] = "group-forked".into();
    assert_eq!(checked(&file).verdict, Conclusion::Unsound);
}

#[test]
fn an_exchange_belongs_to_an_epoch_that_its_author_was_in() {
    let asked_in = |group: &str, epoch: u64| {
        let mut world = members();
        world.binding = (group.to_owned(), epoch);
        world
    };
    // In the epoch that both are in; and answered a little later, after the next one began.
    let mut world = asked_in(GROUP, 3);
    world.exchange(MX, US, Course::Released);
    world.exchange(US, MX, Course::NoHit);
    let (verdict, _dir) = reconcile(&world, ALL);
    assert_eq!(verdict.verdict, Conclusion::Sound, "{:?}", verdict.findings);
    // One that its author never entered, one that was over, one of a group that it is not in, one that it left.
    let left = GroupEvent::Left { epoch: 3, why: LeftWhy::Removed };
    for (group, epoch, says) in [
        (GROUP, 4, "epoch 4 of frontera/otay, in epoch 3"),
        (GROUP, 2, "epoch 2 of frontera/otay, in epoch 3"),
        ("frontera/other", 1, "epoch 1 of frontera/other, before it entered any"),
        (GROUP, 3, "epoch 3 of frontera/otay, after it left epoch 3"),
    ] {
        let mut world = asked_in(group, epoch);
        if says.contains("left") {
            say(&mut world, MX, left);
        }
        // The holder refuses what it cannot place, and only repeats what it refuses.
        world.exchange(MX, US, Course::Refused);
        let (verdict, _dir) = reconcile(&world, ALL);
        assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Unsound, vec![Class::GroupUnentered]), "{says}");
        let finding = verdict.faults().next().unwrap();
        assert_eq!((finding.attributed_to.as_str(), finding.detail.as_str()), (MX, says));
        let (_, found) = evidence(&verdict, Class::GroupUnentered);
        assert_eq!(found.verdict, Conclusion::CouldNotTell, "{:?}", found.words);
    }
    // A holder that answers in an epoch to come.
    let mut world = members();
    say(&mut world, MX, epoch(4));
    world.binding = (GROUP.to_owned(), 4);
    world.exchange(MX, US, Course::NoHit);
    let (verdict, _dir) = reconcile(&world, ALL);
    assert_eq!(verdict.faults().map(|finding| finding.attributed_to.as_str()).collect::<Vec<_>>(), [US]);
}
