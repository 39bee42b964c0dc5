//! What groups do when all goes well.

use std::sync::Arc;

use puente_model::{Digest, Secret32};

use super::world::*;
use crate::limits::*;
use crate::*;

#[test]
fn two_nodes_of_two_nations_share_secrets_bound_to_their_certificates() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let [a, b] = &mut nodes[..] else { unreachable!() };
    assert_eq!((a.group().epoch(), b.group().epoch()), (1, 1));
    assert!(a.group().members().eq([&uri(A), &uri(B)]));
    assert_eq!(b.group().policy().unwrap(), b"policy");
    assert_eq!(b.group().me(), &uri(B));

    let (one, other) = (Digest::of(b"one QUERY"), Digest::of(b"another"));
    let psk = a.group().psk(&one).unwrap();
    assert_eq!(psk.expose(), b.group().psk(&one).unwrap().expose());
    assert_ne!(psk.expose(), b.group().psk(&other).unwrap().expose());

    let sealed = a.seal(&world, b"to everyone");
    let opened = b.open(&sealed).unwrap();
    assert_eq!(
        (opened.from, opened.epoch, opened.aad, &opened.content[..]),
        (uri(A), 1, b"aad".to_vec(), &b"to everyone"[..])
    );
    assert!(!sealed.windows(8).any(|w| w == b"everyone"));
}

#[test]
fn every_suite_of_this_build_works() {
    for suite in Suite::ALL {
        let mut world = World::new();
        let mut nodes = world.group_of(&[A, B, C], *suite);
        world.commit(&mut nodes, 1, &Intent::default());
        agree(&nodes);
        let sealed = nodes[2].seal(&world, b"hello");
        assert_eq!(&nodes[0].open(&sealed).unwrap().content[..], b"hello");
        assert_eq!(Suite::from_code(suite.code()), Some(*suite));
        assert_eq!(nodes[0].group().suite(), *suite);
    }
    assert_eq!(Suite::from_code(3), None);
}

#[test]
fn members_come_go_and_renew_their_keys() {
    let mut world = World::new();
    let mut nodes = world.group_of(&NAMES[..4], Suite::X25519);
    let mut epochs = vec![nodes[0].group().epoch_hash()];

    // Everyone renews once.
    for by in 0..4 {
        world.commit(&mut nodes, by, &Intent::default());
        agree(&nodes);
        epochs.push(nodes[0].group().epoch_hash());
    }

    // A new member, added by one who did not make the group.
    let mut late = world.node(NAMES[4], Scheme::Ed25519);
    let add = vec![late.key_package(Suite::X25519)];
    let (merged, pending, ordered) = world.commit(&mut nodes, 2, &Intent { add, ..Intent::default() });
    assert_eq!((merged.added, merged.removed), (vec![uri(NAMES[4])], vec![]));
    let by = late.join(&world, &merged.welcome.unwrap(), pending.commit(), &ordered).unwrap();
    assert_eq!(by, uri(C));
    nodes.push(late);
    agree(&nodes);

    // One leaves, and is told.
    let mut gone = nodes.remove(1);
    let pending = nodes[0].stage(&world, &Intent { remove: vec![uri(B)], ..Intent::default() }).unwrap();
    let ordered = world.order_pending(&pending);
    assert_eq!(nodes[0].merge(&pending, &ordered).unwrap().removed, vec![uri(B)]);
    for node in &mut nodes[1..] {
        assert_eq!(node.process(&world, pending.commit(), &ordered).unwrap().removed, vec![uri(B)]);
    }
    let processed = gone.process(&world, pending.commit(), &ordered).unwrap();
    assert!(processed.left && processed.removed == [uri(B)]);
    assert!(gone.disk.0.is_empty(), "who was removed keeps nothing");
    assert_eq!(gone.group().psk(&Digest::of(b"x")).unwrap_err(), GroupError::NotAMember);
    assert_eq!(gone.group().members().count(), 0);
    agree(&nodes);

    // And may come back.
    let add = vec![gone.key_package(Suite::X25519)];
    let (merged, pending, ordered) = world.commit(&mut nodes, 3, &Intent { add, ..Intent::default() });
    gone.join(&world, &merged.welcome.unwrap(), pending.commit(), &ordered).unwrap();
    nodes.push(gone);
    agree(&nodes);
    epochs.push(nodes[0].group().epoch_hash());
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 6, "every epoch has secrets of its own");
}

#[test]
fn a_member_takes_another_certificate_with_the_same_key_or_another() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    for fresh_key in [false, true] {
        let key = if fresh_key { Key::new(Scheme::Ed25519) } else { nodes[1].key.clone() };
        let next = world.identity(B, &key);
        let me = nodes[1].id.clone();
        let done = nodes[1].group().stage_renewal(&me, &next, &Intent::default(), &world.trust, NOW).unwrap();
        let pending = nodes[1].keep(done);
        let ordered = world.order_pending(&pending);
        nodes[1].merge(&pending, &ordered).unwrap();
        nodes[0].process(&world, pending.commit(), &ordered).unwrap();
        nodes[2].process(&world, pending.commit(), &ordered).unwrap();
        (nodes[1].id, nodes[1].key) = (next, key);
        agree(&nodes);
        let sealed = nodes[1].seal(&world, b"still me");
        assert_eq!(nodes[0].open(&sealed).unwrap().from, uri(B));
    }
    // The old key is no longer this node's.
    let old = world.identity(B, &Key::new(Scheme::Ed25519));
    let refused = nodes[1].group().stage(&old, &Intent::default(), &world.trust, NOW).map(|_| ());
    assert_eq!(refused, Err(GroupError::NotItsIdentity));
    assert_eq!(nodes[1].group().seal(&old, b"", b"", &world.trust).map(|_| ()), Err(GroupError::NotItsIdentity));
}

#[test]
fn a_pre_shared_key_enters_the_epoch_and_is_forgotten() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let secret = Secret32::new([7; 32]);
    let (name, intent) = (b"ceremony 1".to_vec(), Intent { psks: vec![b"ceremony 1".to_vec()], ..Intent::default() });
    assert_eq!(nodes[0].stage(&world, &intent), Err(GroupError::PskUnknown));

    for node in &mut nodes[..2] {
        let changes = node.group().hold_psk(&name, &secret).unwrap();
        node.disk.write(changes);
        node.restart();
    }
    let mut late = world.node(D, Scheme::Ed25519);
    let intent = Intent { add: vec![late.key_package(Suite::X25519)], ..intent };
    let pending = nodes[0].stage(&world, &intent).unwrap();
    let ordered = world.order_pending(&pending);
    let welcome = nodes[0].merge(&pending, &ordered).unwrap().welcome.unwrap();
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();

    // Who lacks the key learns just that, gets it, and comes back.
    let error = nodes[2].process(&world, pending.commit(), &ordered).unwrap_err();
    assert_eq!((&error, error.remedy()), (&GroupError::PskUnknown, Remedy::Supply));
    let changes = nodes[2].group().hold_psk(&name, &secret).unwrap();
    nodes[2].disk.write(changes);
    nodes[2].process(&world, pending.commit(), &ordered).unwrap();

    // So does whoever joins with that commit.
    assert!(matches!(late.join(&world, &welcome, pending.commit(), &ordered), Err(GroupError::BadWelcome(_))));
    let psks = [(name.clone(), secret)];
    let joined = late.stock.join(&late.id, &welcome, pending.commit(), &ordered, &world.trust, &psks, []).unwrap();
    late.disk.write(joined.group_changes);
    late.group = Some(joined.group);
    nodes.push(late);
    agree(&nodes);

    // It was used up everywhere.
    for node in &mut nodes {
        assert!(node.disk.keys().iter().all(|key| key[0] != store::table::PSK));
    }
    let intent = Intent { psks: vec![name.clone()], ..Intent::default() };
    assert_eq!(nodes[1].stage(&world, &intent), Err(GroupError::PskUnknown));
    let changes = nodes[1].group().hold_psk(&name, &Secret32::new([8; 32])).unwrap();
    nodes[1].disk.write(changes);
    let changes = nodes[1].group().drop_psk(&name).unwrap();
    nodes[1].disk.write(changes);
    assert_eq!(nodes[1].stage(&world, &intent), Err(GroupError::PskUnknown));
}

#[test]
fn a_member_that_lost_its_state_rejoins() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    world.commit(&mut nodes, 1, &Intent::default());
    let me = nodes[0].id.clone();
    let info = nodes[0].group().info(&me).unwrap();

    // B lost everything but its key.
    let lost = nodes.remove(1);
    let rejoin = Rejoin::start(&info, &lost.id, &world.trust, NOW).unwrap();
    assert_eq!((rejoin.group(), rejoin.epoch()), (nodes[0].group().id(), 2));
    let commit = rejoin.commit().to_vec();
    let ordered = world.order(rejoin.group(), rejoin.epoch(), &commit);
    for node in &mut nodes {
        let processed = node.process(&world, &commit, &ordered).unwrap();
        assert_eq!(
            (processed.by, processed.rejoined, processed.added, processed.removed),
            (uri(B), true, vec![], vec![])
        );
    }
    let (group, changes) = rejoin.merge(&ordered, &world.trust, lost.disk.keys()).unwrap();
    let mut back = Node { group: Some(group), ..lost };
    back.disk.write(changes);
    back.restart();
    nodes.push(back);
    agree(&nodes);
    assert_eq!(nodes[0].group().members().count(), 3, "one leaf a node");

    // With another key it cannot take its leaf with it, and says so; nor can who is no member.
    let info = nodes[0].group().info(&me).unwrap();
    let other = world.identity(B, &Key::new(Scheme::Ed25519));
    assert_eq!(Rejoin::start(&info, &other, &world.trust, NOW).unwrap_err(), GroupError::NotItsIdentity);
    let outsider = world.node(D, Scheme::Ed25519);
    assert_eq!(Rejoin::start(&info, &outsider.id, &world.trust, NOW).unwrap_err(), GroupError::NotAMember);
    let wrong = world.node(B, Scheme::EcdsaP256);
    assert_eq!(Rejoin::start(&info, &wrong.id, &world.trust, NOW).unwrap_err(), GroupError::WrongScheme(1));
}

#[test]
fn key_packages_are_counted_replenished_and_used_up() {
    let mut world = World::new();
    let mut b = world.node(B, Scheme::Ed25519);
    assert_eq!(b.stock.left(&b.id, Suite::X25519, NOW), Ok(Left { single: 0, last_resort: false }));
    b.stock_disk.write(b.stock.replenish(&b.id, Suite::X25519, NOW).unwrap());
    let full = Left { single: STOCK, last_resort: true };
    assert_eq!(b.stock.left(&b.id, Suite::X25519, NOW), Ok(full));
    assert!(!full.is_low());
    assert!(b.stock.replenish(&b.id, Suite::X25519, NOW).unwrap().is_empty());
    let published = b.stock.published(&b.id, Suite::X25519, NOW).unwrap();
    assert_eq!(published.len(), STOCK + 1);
    assert!(published[..STOCK].iter().all(|p| !p.last_resort && p.bytes.len() < KEY_PACKAGE_BYTES_MAX));
    assert!(published[STOCK].last_resort);
    assert_eq!(b.stock.left(&b.id, Suite::P256, NOW), Ok(Left { single: 0, last_resort: false }));
    assert_eq!(b.stock.replenish(&b.id, Suite::P256, NOW).unwrap_err(), GroupError::WrongScheme(2));

    // One that was used is gone, with its private keys; so is the group that a Welcome promised twice.
    let mut nodes = world.group_of(&[A], Suite::X25519);
    let add = vec![published[0].bytes.clone()];
    let (merged, pending, ordered) = world.commit(&mut nodes, 0, &Intent { add, ..Intent::default() });
    let welcome = merged.welcome.unwrap();
    b.join(&world, &welcome, pending.commit(), &ordered).unwrap();
    assert_eq!(b.stock.left(&b.id, Suite::X25519, NOW).unwrap().single, STOCK - 1);
    b.stock = Stock::load(b.stock_disk.pairs()).unwrap();
    assert_eq!(b.stock.left(&b.id, Suite::X25519, NOW).unwrap().single, STOCK - 1);
    let used = b.stock_disk.keys().iter().filter(|key| key[0] == store::table::KEY_PACKAGE).count();
    assert_eq!(used, STOCK, "the private keys went with it");
    assert_eq!(b.join(&world, &welcome, pending.commit(), &ordered), Err(GroupError::NoKeyPackage));

    // Old ones do not count, and are deleted once nobody may use them.
    let later = NOW.plus(KEY_PACKAGE_MILLIS - KEY_PACKAGE_MARGIN_MILLIS + 1_000);
    assert_eq!(b.stock.left(&b.id, Suite::X25519, later), Ok(Left { single: 0, last_resort: false }));
    assert!(b.stock.published(&b.id, Suite::X25519, later).unwrap().is_empty());
    b.stock_disk.write(b.stock.replenish(&b.id, Suite::X25519, later).unwrap());
    assert_eq!(b.stock.left(&b.id, Suite::X25519, later), Ok(full));
    b.stock_disk.write(b.stock.replenish(&b.id, Suite::X25519, NOW.plus(KEY_PACKAGE_MILLIS + 1_000)).unwrap());
    let kept = b.stock_disk.keys().iter().filter(|key| key[0] == store::table::KEY_PACKAGE).count();
    assert_eq!(kept, STOCK + 1);
}

#[test]
fn the_key_package_of_last_resort_serves_until_it_is_replaced() {
    let mut world = World::new();
    let mut b = world.node(B, Scheme::Ed25519);
    b.stock_disk.write(b.stock.replenish(&b.id, Suite::X25519, NOW).unwrap());
    let last = b.stock.published(&b.id, Suite::X25519, NOW).unwrap().pop().unwrap();
    assert!(last.last_resort);
    for name in [A, C] {
        let mut nodes = world.group_of(&[name], Suite::X25519);
        let add = vec![last.bytes.clone()];
        let (merged, pending, ordered) = world.commit(&mut nodes, 0, &Intent { add, ..Intent::default() });
        b.disk = Disk::default();
        b.join(&world, &merged.welcome.unwrap(), pending.commit(), &ordered).unwrap();
        assert!(b.stock.left(&b.id, Suite::X25519, NOW).unwrap().is_low(), "used: make another");
        nodes.push(Node { group: b.group.take(), ..world.node(B, Scheme::Ed25519) });
        agree(&nodes);
    }
    b.stock_disk.write(b.stock.replenish(&b.id, Suite::X25519, NOW).unwrap());
    let mut nodes = world.group_of(&[A], Suite::X25519);
    let add = vec![last.bytes];
    let (merged, pending, ordered) = world.commit(&mut nodes, 0, &Intent { add, ..Intent::default() });
    let refused = b.join(&world, &merged.welcome.unwrap(), pending.commit(), &ordered);
    assert_eq!(refused, Err(GroupError::NoKeyPackage));
}

#[test]
fn an_identity_that_no_member_would_accept_is_named_before_it_is_used() {
    let world = World::new();
    let (key, other) = (Key::new(Scheme::Ed25519), Key::new(Scheme::Ed25519));
    let make = |name: &str, signer: &Key, trust: &Trust| {
        let certificate = world.issue(name, &key);
        Identity::new(vec![certificate], Arc::new(signer.soft()), trust, NOW).map(|id| id.uri().clone())
    };
    assert_eq!(make(A, &key, &world.trust), Ok(uri(A)));
    assert_eq!(make(A, &other, &world.trust), Err(IdentityError::NotItsKey));
    let refused = make(SUSPENDED, &key, &world.trust);
    assert_eq!(refused, Err(IdentityError::Refused(LeafError::Suspended(uri(SUSPENDED)))));
    let p256 = world.node(A, Scheme::EcdsaP256).id;
    let refused = Group::create(GroupId([1; 32]), Suite::X25519, b"", &p256, &world.trust, NOW).map(|_| ());
    assert_eq!(refused, Err(GroupError::WrongScheme(1)));
}

#[test]
fn a_pair_names_its_group_without_asking() {
    let (a, b) = (uri(A), uri(B));
    assert_eq!(GroupId::pair(&a, &b, 0), GroupId::pair(&b, &a, 0));
    assert_ne!(GroupId::pair(&a, &b, 0), GroupId::pair(&a, &b, 1));
    assert_ne!(GroupId::pair(&a, &b, 0), GroupId::pair(&a, &uri(C), 0));
}

#[test]
fn a_key_package_of_an_earlier_certificate_lets_nobody_in() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A], Suite::X25519);
    let mut b = world.node(B, Scheme::Ed25519);
    let early = b.key_package(Suite::X25519);
    let key = Key::new(Scheme::Ed25519);
    (b.id, b.key) = (world.identity(B, &key), key);
    assert_eq!(b.stock.left(&b.id, Suite::X25519, NOW), Ok(Left { single: 0, last_resort: false }));
    assert!(b.stock.published(&b.id, Suite::X25519, NOW).unwrap().is_empty());
    let pending = nodes[0].stage(&world, &Intent { add: vec![early], ..Intent::default() }).unwrap();
    let ordered = world.order_pending(&pending);
    let merged = nodes[0].merge(&pending, &ordered).unwrap();
    // Its leaf would be one that this node cannot act with.
    let welcome = merged.welcome.unwrap();
    assert_eq!(b.join(&world, &welcome, pending.commit(), &ordered), Err(GroupError::NotItsIdentity));
    // It is handed out no more, and deleted with the next that are made.
    b.stock_disk.write(b.stock.replenish(&b.id, Suite::X25519, NOW).unwrap());
    assert_eq!(b.join(&world, &welcome, pending.commit(), &ordered), Err(GroupError::NoKeyPackage));
    assert_eq!(b.stock.published(&b.id, Suite::X25519, NOW).unwrap().len(), STOCK + 1);
}
