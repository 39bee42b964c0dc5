//! No order, no merge, no Welcome.

use puente_model::LeafIndex;

use super::world::*;
use crate::*;

#[test]
fn a_proof_for_anything_else_merges_nothing() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let mut late = world.node(C, Scheme::Ed25519);
    let add = vec![late.key_package(Suite::X25519)];
    let pending = nodes[0].stage(&world, &Intent { add, ..Intent::default() }).unwrap();
    let (id, hash, other) = (pending.group(), pending.hash(), commit_hash(b"another"));
    assert_eq!(hash, commit_hash(pending.commit()));
    assert_eq!(peek(pending.commit()), Ok((id, 1)));
    let before = nodes[0].disk.0.clone();
    let table = [
        (Ordered::by_ledger(GroupId([9; 32]), 1, hash, LeafIndex(9), NOW), GroupError::OtherGroup),
        (Ordered::by_ledger(id, 0, hash, LeafIndex(9), NOW), GroupError::OtherEpoch { expected: 1, found: 0 }),
        (Ordered::by_ledger(id, 2, hash, LeafIndex(9), NOW), GroupError::OtherEpoch { expected: 1, found: 2 }),
        (Ordered::by_ledger(id, 1, other, LeafIndex(9), NOW), GroupError::OtherCommit { found: other }),
        (
            Ordered::by_ledger(id, 1, hash, LeafIndex(1), NOW),
            GroupError::OrderWentBack { last: LeafIndex(1), found: LeafIndex(1) },
        ),
    ];
    assert_eq!(nodes[0].group().last_index(), Some(LeafIndex(1)));
    for (ordered, error) in &table {
        assert_eq!(nodes[0].merge(&pending, ordered), Err(error.clone()));
    }

    // Nor does it let anybody else process the commit, or come in.
    let early = GroupError::Early { at: 1, found: 2 };
    let stale = GroupError::Stale { at: 1, found: 0 };
    for (ordered, error) in &table {
        let error = match error {
            GroupError::OtherEpoch { found: 2, .. } => &early,
            GroupError::OtherEpoch { .. } => &stale,
            error => error,
        };
        assert_eq!(nodes[1].process(&world, pending.commit(), ordered), Err(error.clone()));
    }
    assert_eq!((early.remedy(), stale.remedy()), (Remedy::CatchUp, Remedy::Drop));
    assert_eq!(nodes[0].disk.0, before);
    assert_eq!((nodes[0].group().epoch(), nodes[1].group().epoch()), (1, 1));

    let ordered = world.order_pending(&pending);
    let welcome = nodes[0].merge(&pending, &ordered).unwrap().welcome.unwrap();
    let wrong = [
        (Ordered::by_ledger(GroupId([9; 32]), 1, hash, LeafIndex(9), NOW), GroupError::OtherGroup),
        (Ordered::by_ledger(id, 0, hash, LeafIndex(9), NOW), GroupError::WelcomeOfOtherCommit),
        (Ordered::by_ledger(id, 1, other, LeafIndex(9), NOW), GroupError::OtherCommit { found: other }),
    ];
    for (ordered, error) in wrong {
        assert_eq!(late.join(&world, &welcome, pending.commit(), &ordered), Err(error));
    }
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    late.join(&world, &welcome, pending.commit(), &ordered).unwrap();
    nodes.push(late);
    agree(&nodes);
}

#[test]
fn a_welcome_into_a_commit_that_lost_is_of_no_use() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let mut late = world.node(C, Scheme::Ed25519);
    let add = vec![late.key_package(Suite::X25519)];

    // Somebody who does not keep the rule merges before the order, and lets C in.
    let pending = nodes[0].stage(&world, &Intent { add: add.clone(), ..Intent::default() }).unwrap();
    let impatient = Ordered::by_ledger(pending.group(), 1, pending.hash(), LeafIndex(9), NOW);
    let welcome = nodes[0].group().merge(&pending, &impatient).unwrap().0.welcome.unwrap();
    nodes[0].restart();

    // The ledger ordered another commit: C refuses what does not belong to it.
    let winner = nodes[1].stage(&world, &Intent { add, ..Intent::default() }).unwrap();
    let ordered = world.order_pending(&winner);
    let refused = late.join(&world, &welcome, winner.commit(), &ordered);
    assert_eq!(refused, Err(GroupError::WelcomeOfOtherCommit));
    let welcome = nodes[1].merge(&winner, &ordered).unwrap().welcome.unwrap();
    nodes[0].process(&world, winner.commit(), &ordered).unwrap();
    late.join(&world, &welcome, winner.commit(), &ordered).unwrap();
    nodes.push(late);
    agree(&nodes);
}

#[test]
fn of_two_commits_one_is_ordered_and_the_loser_makes_its_intent_anew() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let mut late = world.node(D, Scheme::Ed25519);
    let intent = Intent { add: vec![late.key_package(Suite::X25519)], ..Intent::default() };
    let loser = nodes[0].stage(&world, &intent).unwrap();
    assert_eq!(nodes[0].stage(&world, &intent), Err(GroupError::PendingExists));
    let winner = nodes[1].stage(&world, &Intent { remove: vec![uri(C)], ..Intent::default() }).unwrap();
    let ordered = world.order_pending(&winner);

    nodes[1].merge(&winner, &ordered).unwrap();
    nodes[0].restart();
    let processed = nodes[0].process(&world, winner.commit(), &ordered).unwrap();
    assert_eq!((processed.lost, processed.removed), (Some(loser.hash()), vec![uri(C)]));
    assert_eq!(nodes[0].group().pending(), Ok(None));
    let ordered = Ordered::by_ledger(loser.group(), 2, loser.hash(), LeafIndex(9), NOW);
    assert_eq!(nodes[0].merge(&loser, &ordered), Err(GroupError::NoPending));

    nodes.truncate(2);
    let (merged, pending, ordered) = world.commit(&mut nodes, 0, &intent);
    late.join(&world, &merged.welcome.unwrap(), pending.commit(), &ordered).unwrap();
    nodes.push(late);
    agree(&nodes);
}

#[test]
fn a_commit_can_be_abandoned_but_not_if_it_is_ordered_after_all() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    assert_eq!(nodes[0].group().abandon().unwrap_err(), GroupError::NoPending);
    let pending = nodes[0].stage(&world, &Intent::default()).unwrap();
    let ordered = world.order_pending(&pending);
    assert_eq!(nodes[0].process(&world, pending.commit(), &ordered), Err(GroupError::OwnCommit));
    assert_eq!(nodes[0].group().pending(), Ok(Some(pending.clone())));
    let changes = nodes[0].group().abandon().unwrap();
    nodes[0].disk.write(changes);
    assert_eq!(nodes[0].merge(&pending, &ordered), Err(GroupError::NoPending));

    // It was ordered after all: others go on, its maker cannot follow, says so, and comes back.
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    nodes[2].process(&world, pending.commit(), &ordered).unwrap();
    let error = nodes[0].process(&world, pending.commit(), &ordered).unwrap_err();
    assert_eq!((&error, error.remedy()), (&GroupError::LostOwnCommit, Remedy::Rejoin));
    let me = nodes[1].id.clone();
    let info = nodes[1].group().info(&me).unwrap();
    let rejoin = Rejoin::start(&info, &nodes[0].id, &world.trust, NOW).unwrap();
    let commit = rejoin.commit().to_vec();
    let ordered = world.order(rejoin.group(), rejoin.epoch(), &commit);
    nodes[1].process(&world, &commit, &ordered).unwrap();
    nodes[2].process(&world, &commit, &ordered).unwrap();
    let old = nodes[0].disk.keys();
    let done = rejoin.merge(&ordered, &world.trust, old).unwrap();
    let group = nodes[0].keep(done);
    nodes[0].group = Some(group);
    nodes[0].restart();
    agree(&nodes);
}

#[test]
fn a_rejoin_that_lost_its_epoch_begins_again() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let lost = nodes.remove(2);
    let me = nodes[0].id.clone();
    let start = |nodes: &mut Vec<Node>, world: &World| {
        let info = nodes[0].group().info(&me).unwrap();
        Rejoin::start(&info, &lost.id, &world.trust, NOW).unwrap()
    };
    let rejoin = start(&mut nodes, &world);
    let (_, winner, ordered) = world.commit(&mut nodes, 1, &Intent::default());
    let found = winner.hash();
    assert_eq!(rejoin.merge(&ordered, &world.trust, []).unwrap_err(), GroupError::OtherCommit { found });
    let rejoin = start(&mut nodes, &world);
    let (epoch, hash) = (rejoin.epoch(), rejoin.hash());
    let wrong = Ordered::by_ledger(rejoin.group(), epoch + 1, hash, LeafIndex(9), NOW);
    let expected = GroupError::OtherEpoch { expected: epoch, found: epoch + 1 };
    assert_eq!(rejoin.merge(&wrong, &world.trust, []).unwrap_err(), expected);
    let rejoin = start(&mut nodes, &world);
    let wrong = Ordered::by_ledger(GroupId([9; 32]), epoch, rejoin.hash(), LeafIndex(9), NOW);
    assert_eq!(rejoin.merge(&wrong, &world.trust, []).unwrap_err(), GroupError::OtherGroup);

    // A rejoin that was ordered while its maker crashed: it rejoins once more.
    let forgotten = start(&mut nodes, &world);
    let commit = forgotten.commit().to_vec();
    let ordered = world.order(forgotten.group(), epoch, &commit);
    for node in &mut nodes {
        node.process(&world, &commit, &ordered).unwrap();
    }
    let rejoin = start(&mut nodes, &world);
    let commit = rejoin.commit().to_vec();
    let ordered = world.order(rejoin.group(), epoch + 1, &commit);
    for node in &mut nodes {
        node.process(&world, &commit, &ordered).unwrap();
    }
    let (group, changes) = rejoin.merge(&ordered, &world.trust, lost.disk.keys()).unwrap();
    let mut back = Node { group: Some(group), ..lost };
    back.disk.write(changes);
    nodes.push(back);
    agree(&nodes);
    assert_eq!(nodes[0].group().members().count(), 3);
}

#[test]
fn leaves_are_judged_at_the_moment_of_the_order_not_of_the_reading() {
    // C's certificate ends while B is away; B judges the commit that added C as A did.
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let key = Key::new(Scheme::Ed25519);
    let mut params = certificate(C);
    params.not_after = rcgen::date_time_ymd(2090, 1, 20);
    let der = issue(params, &key, &world.mx);
    let id = Identity::new(vec![der], std::sync::Arc::new(key.soft()), &world.trust, NOW).unwrap();
    let mut c = Node { id, key, ..world.node(C, Scheme::Ed25519) };
    let add = vec![c.key_package(Suite::X25519)];
    let pending = nodes[0].stage(&world, &Intent { add, ..Intent::default() }).unwrap();
    let order = |at| Ordered::by_ledger(pending.group(), 1, pending.hash(), LeafIndex(2), at);
    let late = order(NOW.plus(30 * DAY));
    assert_eq!(nodes[1].process(&world, pending.commit(), &late), Err(LeafError::Expired.into()));
    let ordered = order(NOW);
    let welcome = nodes[0].merge(&pending, &ordered).unwrap().welcome.unwrap();
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    assert_eq!(c.join(&world, &welcome, pending.commit(), &late), Err(LeafError::Expired.into()));
    c.join(&world, &welcome, pending.commit(), &ordered).unwrap();
    nodes.push(c);
    agree(&nodes);
}
