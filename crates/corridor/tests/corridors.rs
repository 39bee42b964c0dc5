//! Groups of a federation, over a network that loses and delays, with disks, crashes and the real witness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use puente_corridor::{Alarm, Fault, GroupEvent, Input, Want};
use puente_model::Millis;
use world::*;

const FIVE: [&str; 5] = ["mx/a/n1", "us/b/n1", "mx/c/n1", "us/d/n1", "mx/e/n1"];
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

fn five(random: u64) -> World {
    let mut world = World::new(&FIVE, 5, random);
    world.run(2 * MINUTE);
    world
}

#[test]
fn the_corridor_of_the_charter_comes_into_being_by_itself() {
    let world = five(1);
    let epoch = world.agree(&[0, 1, 2, 3, 4]);
    assert!(epoch <= 3, "few commits add everybody: {epoch}");
    world.logs_agree();
    for node in &world.nodes {
        assert!(node.log.iter().any(|(group, event)| *group == otay() && matches!(event, GroupEvent::Epoch(_))));
    }
}

#[test]
fn every_two_nodes_have_a_group_of_two() {
    let world = five(2);
    let leaf = puente_model::Digest::of(b"a QUERY");
    for one in 0..5 {
        for other in 0..5 {
            if one == other {
                continue;
            }
            let (mine, theirs) = (&world.nodes[one], &world.nodes[other]);
            let corridors = mine.corridors.as_ref().unwrap();
            let (group, epoch) = corridors.pair(&theirs.uri).unwrap_or_else(|| panic!("{} {}", mine.uri, theirs.uri));
            let here = corridors.psk(group, epoch, &theirs.uri, &leaf).unwrap();
            let there = theirs.corridors.as_ref().unwrap().psk(group, epoch, &mine.uri, &leaf).unwrap();
            assert_eq!(here.expose(), there.expose());
            // Nobody else has it, and no other epoch gives it.
            assert!(matches!(corridors.psk(group, epoch + 1, &theirs.uri, &leaf), Err(Fault::Group(_))));
            let third = &world.nodes[(0..5).find(|at| *at != one && *at != other).unwrap()];
            assert!(third.corridors.as_ref().unwrap().group(group).is_none());
        }
    }
}

#[test]
fn whatever_is_said_reaches_every_member_once() {
    let mut world = five(3);
    let until = Millis(world.now + DAY);
    let id = world.say(1, &otay(), "a stolen pickup", until);
    world.run(10_000);
    for (at, node) in world.nodes.iter().enumerate() {
        let heard: Vec<_> = node.heard.iter().map(|(_, from, text)| (from.clone(), text.clone())).collect();
        let expected = if at == 1 { vec![] } else { vec![(world.nodes[1].uri.clone(), b"a stolen pickup".to_vec())] };
        assert_eq!(heard, expected);
    }
    assert!(world.nodes[1].corridors.as_ref().unwrap().unacknowledged(&otay(), id).is_none());
}

#[test]
fn whoever_was_away_hears_it_later_unless_it_is_over() {
    let mut world = five(4);
    world.isolate(4);
    let (short, long) = (Millis(world.now + MINUTE), Millis(world.now + DAY));
    world.say(0, &otay(), "short", short);
    world.say(0, &otay(), "long", long);
    // Meanwhile the group goes on to other epochs, in which the old one cannot be opened any more.
    for _ in 0..4 {
        world.input(0, Input::Want { group: otay(), want: Want::Rekey });
        world.run(5 * MINUTE);
    }
    let epoch = world.group(0).unwrap().epoch();
    assert!(epoch >= 4, "{epoch}");
    world.reconnect(4);
    world.run(2 * MINUTE);
    world.agree(&[0, 1, 2, 3, 4]);
    let heard: Vec<_> = world.nodes[4].heard.iter().map(|(_, _, text)| text.clone()).collect();
    assert_eq!(heard, [b"long".to_vec()]);
}

#[test]
fn a_member_that_is_removed_stays_out_until_it_is_wanted_again() {
    let mut world = five(5);
    let who = world.nodes[3].uri.clone();
    world.input(2, Input::Want { group: otay(), want: Want::Remove(who.clone()) });
    world.run(MINUTE);
    world.agree(&[0, 1, 2, 4]);
    assert!(world.group(3).is_none());
    let kept = world.nodes[3].disk.keys().filter(|key| key.starts_with(b"Gfrontera/otay\0m")).count();
    assert_eq!(kept, 0, "nothing of the group's secrets is left");
    world.run(30 * MINUTE);
    world.agree(&[0, 1, 2, 4]);
    // What is said from now on does not reach it.
    let until = Millis(world.now + DAY);
    world.say(0, &otay(), "without you", until);
    world.run(MINUTE);
    assert!(world.nodes[3].heard.is_empty() && world.nodes[4].heard.len() == 1);
    world.input(0, Input::Want { group: otay(), want: Want::Add(who) });
    world.run(2 * MINUTE);
    world.agree(&[0, 1, 2, 3, 4]);
    world.logs_agree();
}

#[test]
fn a_suspended_member_is_removed_and_hears_nothing_in_the_meantime() {
    let mut world = five(6);
    // No witness answers: the removal cannot be ordered yet.
    for witness in world.witnesses.values_mut() {
        witness.up = false;
    }
    world.suspend(3);
    let until = Millis(world.now + DAY);
    world.say(0, &otay(), "one of us is suspended", until);
    world.run(MINUTE);
    assert!(world.group(0).unwrap().has(&world.nodes[3].uri), "not removed yet");
    for at in [1, 2, 4] {
        assert_eq!(world.nodes[at].heard.len(), 1, "{} is told pairwise", world.nodes[at].uri);
        assert_eq!(world.nodes[at].heard[0].0, otay());
    }
    assert!(world.nodes[3].heard.is_empty());
    for witness in world.witnesses.values_mut() {
        witness.up = true;
    }
    world.run(5 * MINUTE);
    world.agree(&[0, 1, 2, 4]);
    let until = Millis(world.now + DAY);
    world.say(0, &otay(), "it is gone", until);
    world.run(MINUTE);
    assert!(world.nodes[1].heard.len() == 2 && world.nodes[3].heard.is_empty());
}

#[test]
fn leaves_get_fresh_keys_every_day() {
    let mut world = World::new(&FIVE[..3], 3, 7);
    world.run(2 * MINUTE);
    let before = world.agree(&[0, 1, 2]);
    world.run(3 * DAY);
    let after = world.agree(&[0, 1, 2]);
    assert!((9..=15).contains(&(after - before)), "three members, three days: {}", after - before);
    world.logs_agree();
}

#[test]
fn a_member_whose_state_is_torn_enters_anew() {
    let mut world = five(8);
    let epoch = world.agree(&[0, 1, 2, 3, 4]);
    world.crash(2);
    let key = world.nodes[2].disk.keys().find(|key| key.starts_with(b"Gfrontera/otay\0m\x1b")).cloned().unwrap();
    world.nodes[2].disk.remove(&key);
    world.start(2);
    world.run(2 * MINUTE);
    assert!(world.nodes[2].alarms.iter().any(|alarm| matches!(alarm, Alarm::Rejoining { .. })));
    assert!(world.agree(&[0, 1, 2, 3, 4]) > epoch);
    world.logs_agree();
}

#[test]
fn a_member_that_lost_its_disk_enters_anew_and_so_does_the_convener() {
    for lost in [3, 0] {
        let mut world = five(9);
        world.crash(lost);
        world.nodes[lost].disk.clear();
        world.start(lost);
        world.run(5 * MINUTE);
        world.agree(&[0, 1, 2, 3, 4]);
        let forgotten = world.nodes[lost].alarms.iter().any(|alarm| matches!(alarm, Alarm::Forgotten { .. }));
        assert_eq!(forgotten, lost == 0, "it does not found the group a second time");
        world.logs_agree();
    }
}

#[test]
fn a_node_that_was_away_for_many_epochs_catches_up() {
    let mut world = five(10);
    let before = world.agree(&[0, 1, 2, 3, 4]);
    world.isolate(4);
    for n in 0..20 {
        world.input(n % 4, Input::Want { group: otay(), want: Want::Rekey });
        world.run(2 * MINUTE);
    }
    world.nodes[4].wanted.clear();
    world.reconnect(4);
    world.run(20_000);
    assert!(world.agree(&[0, 1, 2, 3, 4]) >= before + 20);
    // It asks each of the others at first, the one that answered for the rest, and whether there is more.
    let wanted = world.nodes[4].wanted[&otay()];
    assert!(wanted <= 12, "{wanted}");
    world.crash(4);
    world.start(4);
    world.run(MINUTE);
    world.agree(&[0, 1, 2, 3, 4]);
    world.logs_agree();
}

#[test]
fn the_convener_dies_and_a_successor_goes_on() {
    let mut world = five(11);
    world.crash(0);
    let who = world.nodes[4].uri.clone();
    world.run(MINUTE);
    world.input(3, Input::Want { group: otay(), want: Want::Remove(who) });
    world.run(40 * MINUTE);
    let group = world.group(1).unwrap();
    assert!(!group.has(&world.nodes[4].uri), "a successor ordered the removal");
    world.start(0);
    world.run(5 * MINUTE);
    world.agree(&[0, 1, 2, 3]);
    world.logs_agree();
}

/// A convener that signed an entry and got no cosignature of it, and a successor that heard nobody for its silence: neither
/// reaches anybody.
#[test]
fn whoever_reaches_nobody_asks_ever_more_seldom_and_at_once_when_it_does() {
    for at in [0, 1] {
        let mut world = five(12);
        let epoch = world.agree(&[0, 1, 2, 3, 4]);
        world.witnesses.values_mut().for_each(|witness| witness.up = false);
        world.input(0, Input::Want { group: otay(), want: Want::Rekey });
        world.run(10_000);
        world.isolate(at);
        world.nodes[at].asked.clear();
        world.run(60 * MINUTE);
        // Six witnesses, by the proposer once a minute and a few times more at first, by the member that keeps the entry
        // twice a minute.
        let asked = world.nodes[at].asked[&otay()];
        assert!((6 * 60..6 * 200).contains(&asked), "{asked} times in an hour");
        world.witnesses.values_mut().for_each(|witness| witness.up = true);
        world.reconnect(at);
        world.run(30_000);
        assert!(world.agree(&[0, 1, 2, 3, 4]) > epoch);
        world.logs_agree();
    }
}

/// A convener that lost its disk reaches a member that is behind, and nobody else.
#[test]
fn who_lost_everything_is_not_led_to_where_the_group_was_before() {
    for lost in [0, 3] {
        let mut world = five(13);
        world.isolate(4);
        for at in [0, 1, 2] {
            world.input(at, Input::Want { group: otay(), want: Want::Rekey });
            world.run(2 * MINUTE);
        }
        world.crash(lost);
        world.nodes[lost].disk.clear();
        let others: Vec<usize> = (0..4).filter(|at| *at != lost).collect();
        others.iter().for_each(|at| world.isolate(*at));
        world.reconnect(4);
        world.start(lost);
        world.run(10 * MINUTE);
        let behind =
            |fault: &Fault| matches!(fault, Fault::Order(puente_ledger::Fault::Behind { size, .. }) if *size >= 4);
        assert!(world.nodes[lost].faults.iter().any(|(_, _, fault)| behind(fault)), "{:?}", world.nodes[lost].faults);
        assert!(world.group(lost).is_none() && world.records(lost).is_empty());
        others.iter().for_each(|at| world.reconnect(*at));
        world.run(10 * MINUTE);
        world.agree(&[0, 1, 2, 3, 4]);
        world.logs_agree();
    }
}

#[test]
fn a_welcome_from_before_what_was_known_leads_nowhere_also_after_a_restart() {
    let mut world = five(14);
    let who = world.nodes[3].uri.clone();
    let (from, old) = world.nodes[3].welcomes[0].clone();
    world.input(0, Input::Want { group: otay(), want: Want::Remove(who.clone()) });
    world.run(2 * MINUTE);
    world.agree(&[0, 1, 2, 4]);
    for _ in 0..2 {
        world.nodes[3].faults.clear();
        world.input(3, Input::Message { from: from.clone(), group: otay(), message: old.clone() });
        world.run(MINUTE);
        let behind = |fault: &Fault| matches!(fault, Fault::Order(puente_ledger::Fault::Behind { .. }));
        assert!(world.nodes[3].faults.iter().any(|(_, _, fault)| behind(fault)), "{:?}", world.nodes[3].faults);
        assert!(world.group(3).is_none());
        world.crash(3);
        world.start(3);
    }
    // It comes in again, and nothing of its first membership is in the way when it starts.
    world.input(0, Input::Want { group: otay(), want: Want::Add(who) });
    world.run(3 * MINUTE);
    let epoch = world.agree(&[0, 1, 2, 3, 4]);
    world.crash(3);
    world.start(3);
    world.input(3, Input::Want { group: otay(), want: Want::Rekey });
    world.run(MINUTE);
    assert!(world.agree(&[0, 1, 2, 3, 4]) > epoch);
    world.logs_agree();
}

#[test]
fn whoever_comes_in_after_a_reboot_is_led_over_it() {
    let mut world = five(15);
    let heads = world.records(0).into_iter().filter_map(|record| match record {
        puente_ledger::Record::Accepted { head, .. } | puente_ledger::Record::Verified { head, .. } => Some(head),
        _ => None,
    });
    let head = puente_audit_log::ClaimedCheckpoint::parse(&heads.last().unwrap()).unwrap().claimed().clone();
    let first = puente_ledger::LedgerOrigin::first(otay());
    let terms = puente_ledger::RebootTerms {
        ledger: first.clone(),
        size: head.size().0,
        root: head.root(),
        next: first.next().unwrap(),
        convener: world.nodes[1].uri.clone(),
    };
    let reboot = world::charter::reboot(terms, &world.nodes[0].charters[0]);
    let told = || Input::Reboot(Box::new(reboot.clone()));
    (0..5).for_each(|at| world.input(at, told()));
    world.run(MINUTE);
    world.input(2, Input::Want { group: otay(), want: Want::Rekey });
    world.run(2 * MINUTE);
    let epoch = world.agree(&[0, 1, 2, 3, 4]);
    // One lost everything, and is told of the reboot by its people once more.
    world.crash(3);
    world.nodes[3].disk.clear();
    world.start(3);
    world.run(MINUTE);
    world.input(3, told());
    world.run(5 * MINUTE);
    assert!(world.agree(&[0, 1, 2, 3, 4]) > epoch);
    // One is removed, forgets what it heard of it as its process ends, and comes in again.
    let who = world.nodes[2].uri.clone();
    world.input(1, Input::Want { group: otay(), want: Want::Remove(who.clone()) });
    world.run(2 * MINUTE);
    world.agree(&[0, 1, 3, 4]);
    world.crash(2);
    world.start(2);
    world.input(1, Input::Want { group: otay(), want: Want::Add(who) });
    world.run(3 * MINUTE);
    world.agree(&[0, 1, 2, 3, 4]);
    world.logs_agree();
}

/// Commits go once nobody can be that far behind and still follow; entries stay, for whoever verifies them all.
#[test]
fn what_nobody_needs_is_forgotten() {
    let mut world = World::new(&FIVE[..3], 3, 16);
    world.tuning.rekey = DAY / 4;
    world.tuning.keep = DAY / 2;
    world.tuning.prune = DAY / 4;
    for at in 0..3 {
        world.crash(at);
        world.start(at);
    }
    world.run(2 * DAY);
    let epoch = world.agree(&[0, 1, 2]);
    assert!(epoch >= 20, "{epoch}");
    for at in 0..3 {
        let records = world.records(at);
        let count = |is: fn(&puente_ledger::Record) -> bool| records.iter().filter(|record| is(record)).count() as u64;
        use puente_ledger::Record as R;
        let commits = count(|record| matches!(record, R::Commit(_)));
        assert!((6..=12).contains(&commits), "three members, half a day and what came since: {commits}");
        assert!(count(|record| matches!(record, R::Settled { .. } | R::Kept { .. } | R::Staged { .. })) <= 12);
        let entries: usize = records
            .iter()
            .map(|record| match record {
                R::Accepted { entries, .. } | R::Verified { entries, .. } => entries.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(entries as u64, epoch, "every entry, once");
    }
    // Whoever is left with that goes on, and leads in whoever has nothing.
    for at in 0..3 {
        world.crash(at);
        world.start(at);
    }
    world.crash(2);
    world.nodes[2].disk.clear();
    world.start(2);
    world.run(10 * MINUTE);
    assert!(world.agree(&[0, 1, 2]) > epoch);
    world.logs_agree();
}

/// How many seeds a run tries: `PUENTE_SEEDS`, else a few.
#[allow(clippy::disallowed_methods, reason = "a test's setting")]
fn seeds() -> u64 {
    std::env::var("PUENTE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn whatever_happens_members_agree_and_hear_everything_once() {
    for seed in 0..seeds() {
        let mut world = World::new(&FIVE, 5, 1_000 + seed);
        world.loss = 20;
        world.run(3 * MINUTE);
        let mut said = Vec::new();
        for round in 0..30 {
            let at = usize::try_from(world.below(5)).unwrap();
            match world.below(6) {
                0 if world.nodes[at].corridors.is_some() => world.crash(at),
                1 if world.nodes[at].corridors.is_none() => world.start(at),
                2 if !world.cut.contains(&at) => world.isolate(at),
                3 if world.cut.contains(&at) => world.reconnect(at),
                4 => world.input(at, Input::Want { group: otay(), want: Want::Rekey }),
                _ if world.nodes[at].corridors.is_some()
                    && world.group(at).is_some_and(|g| g.members().count() == 5) =>
                {
                    let (text, until) = (format!("{seed} {round}"), Millis(world.now + DAY));
                    world.say(at, &otay(), &text, until);
                    // Said is what is durable.
                    world.run(10);
                    if world.nodes[at].corridors.is_some() {
                        said.push((at, text));
                    }
                }
                _ => {}
            }
            let pause = world.below(4 * MINUTE);
            world.run(pause);
        }
        world.loss = 0;
        for at in 0..5 {
            world.reconnect(at);
            if world.nodes[at].corridors.is_none() {
                world.start(at);
            }
        }
        world.run(60 * MINUTE);
        world.agree(&[0, 1, 2, 3, 4]);
        world.logs_agree();
        for (from, text) in said {
            for at in (0..5).filter(|at| *at != from) {
                let times = world.nodes[at].heard.iter().filter(|(_, _, heard)| *heard == text.as_bytes()).count();
                assert_eq!(
                    times, 1,
                    "seed {seed}: {} hears '{text}' of {}",
                    world.nodes[at].uri, world.nodes[from].uri
                );
            }
        }
    }
}
