//! Crashes, and disks that do not hold what was written.

use openmls_traits::storage::StorageProvider as _;

use super::world::*;
use crate::store::{Store, table};
use crate::*;

#[test]
fn a_commit_survives_a_crash_between_staging_and_order() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let mut late = world.node(C, Scheme::Ed25519);
    let add = vec![late.key_package(Suite::X25519)];
    let pending = nodes[0].stage(&world, &Intent { add, ..Intent::default() }).unwrap();
    nodes[0].restart();
    assert_eq!(nodes[0].group().pending(), Ok(Some(pending.clone())));
    let ordered = world.order_pending(&pending);
    let welcome = nodes[0].merge(&pending, &ordered).unwrap().welcome.unwrap();
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    late.join(&world, &welcome, pending.commit(), &ordered).unwrap();
    nodes.push(late);
    for node in &mut nodes {
        node.restart();
    }
    agree(&nodes);
}

#[test]
fn a_crash_before_the_changes_are_durable_is_mended_by_redelivery() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let pending = nodes[0].stage(&world, &Intent { remove: vec![uri(C)], ..Intent::default() }).unwrap();
    let ordered = world.order_pending(&pending);
    for _ in 0..2 {
        drop(nodes[0].group().merge(&pending, &ordered).unwrap());
        drop(nodes[1].group().process(pending.commit(), &ordered, &world.trust).unwrap());
        drop(nodes[2].group().process(pending.commit(), &ordered, &world.trust).unwrap());
        for node in &mut nodes {
            node.restart();
            assert_eq!(node.group().epoch(), 1);
        }
    }
    nodes[0].merge(&pending, &ordered).unwrap();
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    assert!(nodes[2].process(&world, pending.commit(), &ordered).unwrap().left);
    nodes.truncate(2);
    agree(&nodes);

    // The same for messages: what was not durably opened opens again, what was does not.
    let sealed = nodes[0].seal(&world, b"once");
    drop(nodes[1].group().open(&sealed).unwrap());
    nodes[1].restart();
    nodes[1].open(&sealed).unwrap();
    nodes[1].restart();
    assert_eq!(nodes[1].open(&sealed).unwrap_err(), GroupError::Replayed);

    // And for joins: the key package is there until the group is.
    let mut late = world.node(D, Scheme::Ed25519);
    let add = vec![late.key_package(Suite::X25519)];
    let (merged, pending, ordered) = world.commit(&mut nodes, 1, &Intent { add, ..Intent::default() });
    let welcome = merged.welcome.unwrap();
    drop(late.stock.join(&late.id, &welcome, pending.commit(), &ordered, &world.trust, &[], []).unwrap());
    late.stock = Stock::load(late.stock_disk.pairs()).unwrap();
    late.join(&world, &welcome, pending.commit(), &ordered).unwrap();
    nodes.push(late);
    agree(&nodes);
}

#[test]
fn torn_state_does_not_load() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let id = nodes[0].group().id();
    let load = |disk: &Disk| Group::load(id, disk.pairs()).map(|_| ()).unwrap_err();
    let torn = GroupError::Store(StoreError::Torn);
    assert_eq!((load(&Disk::default()), torn.remedy()), (torn.clone(), Remedy::Rejoin));
    let old = nodes[1].disk.clone();
    world.commit(&mut nodes, 0, &Intent::default());
    let new = nodes[1].disk.clone();
    let (mut missing, mut altered, mut mixed) = (0, 0, 0);
    for (key, value) in &new.0 {
        let mut disk = new.clone();
        disk.0.remove(key);
        assert_eq!(load(&disk), torn, "without {key:?}");
        missing += 1;
        let mut disk = new.clone();
        *disk.0.get_mut(key).unwrap().last_mut().unwrap() ^= 1;
        assert_eq!(load(&disk), torn, "with another {key:?}");
        altered += 1;
        if old.0.get(key).is_some_and(|before| before != value) {
            let mut disk = new.clone();
            disk.0.insert(key.clone(), old.0[key].clone());
            assert_eq!(load(&disk), torn, "with an older {key:?}");
            mixed += 1;
        }
    }
    assert!(missing > 10 && altered == missing && mixed > 5, "{missing} {altered} {mixed}");
    let mut disk = new.clone();
    disk.0.insert(vec![200], vec![0]);
    assert_eq!(load(&disk), torn);
    Group::load(id, new.pairs()).unwrap();

    let mut stock = nodes[1].stock_disk.clone();
    let first = stock.keys().remove(1);
    stock.0.remove(&first);
    assert_eq!(Stock::load(stock.pairs()).unwrap_err(), StoreError::Torn);
}

#[test]
fn whole_but_unreadable_state_is_named() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let id = nodes[0].group().id();
    let changed = |kind: u8, value: &str| {
        let store = Store::load(nodes[0].disk.pairs()).unwrap();
        for key in store.keys(kind) {
            store.put_raw(key, &value).unwrap();
        }
        let mut disk = nodes[0].disk.clone();
        disk.write(store.drain());
        Group::load(id, disk.pairs()).map(|_| ()).unwrap_err()
    };
    let expected =
        |table| GroupError::Store(StoreError::Unreadable { table, why: "its encoding is not the expected one" });
    assert_eq!(changed(table::OWN, "x"), expected(table::OWN));
    assert_eq!(changed(table::TREE, "x"), expected(table::TREE));
    let store = Store::load(nodes[0].disk.pairs()).unwrap();
    let next = group::Own { version: 2, uri: A.to_owned(), suite: 1, index: None };
    store.put(table::OWN, &(), &next).unwrap();
    let mut disk = nodes[0].disk.clone();
    disk.write(store.drain());
    let error = Group::load(id, disk.pairs()).map(|_| ()).unwrap_err();
    assert!(matches!(error, GroupError::Store(StoreError::Unreadable { table: table::OWN, .. })), "{error}");
}

#[test]
fn a_member_that_lost_a_key_of_the_tree_is_told_to_rejoin() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let store = nodes[1].group().provider.store();
    for key in store.keys(table::EPOCH_KEYS) {
        store.delete_raw(key);
    }
    let changes = store.drain();
    nodes[1].disk.write(changes);
    let pending = nodes[0].stage(&world, &Intent::default()).unwrap();
    let ordered = world.order_pending(&pending);
    let error = nodes[1].process(&world, pending.commit(), &ordered).unwrap_err();
    assert!(matches!(error, GroupError::BrokenForUs(_)), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Rejoin);
    assert_eq!(nodes[1].group().epoch(), 1);
}

#[test]
fn what_fails_leaves_everything_as_it_was() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let (mut gone, mut id) = (nodes.remove(2), nodes[0].id.clone());
    let (_, _, _) = world.commit(&mut nodes, 0, &Intent { remove: vec![uri(C)], ..Intent::default() });
    // A message of a member that was removed meanwhile is opened, found to be its, and un-opened.
    let sealed = gone.seal(&world, b"from the past");
    let before = nodes[0].disk.0.clone();
    for _ in 0..2 {
        assert_eq!(nodes[0].group().open(&sealed).map(|_| ()), Err(GroupError::SenderRemoved(uri(C))));
    }
    assert!(!nodes[0].group().provider.store().is_dirty());
    let now = Store::load(before.clone()).unwrap();
    assert_eq!(nodes[0].group().keys(), now.all_keys());
    // A commit that is built, and then found to be bad: the leaf would not be accepted.
    world.trust = world.suspending(&[A]);
    let error = nodes[0].group().stage(&id, &Intent::default(), &world.trust, NOW).map(|_| ()).unwrap_err();
    assert_eq!(error, LeafError::Suspended(uri(A)).into());
    assert_eq!(nodes[0].group().pending(), Ok(None));
    world.trust = world.suspending(&[]);
    world.commit(&mut nodes, 0, &Intent::default());
    agree(&nodes);
    id = nodes[1].id.clone();
    nodes[1].group().info(&id).unwrap();
}

#[test]
fn keys_of_pairs_name_nobody_and_forgetting_deletes_them_all() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    nodes[0].stage(&world, &Intent::default()).unwrap();
    for key in nodes[0].disk.keys() {
        assert!(!key.windows(3).any(|w| w == b"fge" || w == b"sdp"), "{key:?}");
    }
    let group = nodes[0].group.take().unwrap();
    assert_eq!(group.keys(), nodes[0].disk.keys());
    assert!(format!("{group:?}").starts_with("Group("));
    let changes = group.forget();
    assert!(format!("{changes:?}").starts_with("Changes("));
    nodes[0].disk.write(changes);
    assert!(nodes[0].disk.0.is_empty());
}

#[test]
fn proposals_that_the_library_queues_are_kept_in_order() {
    // Nothing here queues proposals; what the library's storage promises holds all the same.
    use openmls::prelude::{GroupId as MlsGroupId, LeafNodeIndex};
    #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
    struct Thing(u8);
    impl openmls_traits::storage::Entity<1> for Thing {}
    impl openmls_traits::storage::Key<1> for Thing {}
    impl openmls_traits::storage::traits::ProposalRef<1> for Thing {}
    impl openmls_traits::storage::traits::QueuedProposal<1> for Thing {}
    impl openmls_traits::storage::traits::LeafNode<1> for Thing {}
    let (store, group) = (Store::default(), MlsGroupId::from_slice(b"g"));
    for n in [3, 1, 2, 1] {
        store.queue_proposal(&group, &Thing(n), &Thing(n + 10)).unwrap();
        store.append_own_leaf_node(&group, &Thing(n)).unwrap();
    }
    assert_eq!(store.queued_proposal_refs::<_, Thing>(&group), Ok(vec![Thing(3), Thing(1), Thing(2)]));
    store.remove_proposal(&group, &Thing(1)).unwrap();
    let left: Vec<(Thing, Thing)> = store.queued_proposals(&group).unwrap();
    assert_eq!(left, [(Thing(3), Thing(13)), (Thing(2), Thing(12))]);
    store.clear_proposal_queue::<_, Thing>(&group).unwrap();
    assert_eq!(store.queued_proposals::<_, Thing, Thing>(&group), Ok(vec![]));
    assert_eq!(store.own_leaf_nodes::<_, Thing>(&group), Ok(vec![Thing(3), Thing(1), Thing(2), Thing(1)]));
    store.delete_own_leaf_nodes(&group).unwrap();
    assert_eq!(store.own_leaf_nodes::<_, Thing>(&group), Ok(vec![]));
    assert_eq!(store.own_leaf_index::<_, LeafNodeIndex>(&group), Ok(None));
}
