//! What a corridor needs of a group: whom its charter lets in, whose a key package claims to be, who is there to rejoin.

use std::collections::BTreeSet;

use super::forgers::{bytes_of, key_package};
use super::world::*;
use crate::limits::*;
use crate::*;

fn among(world: &World, members: &[&str]) -> Trust {
    world.suspending(&[]).among(&members.iter().map(|name| uri(name)).collect())
}

#[test]
fn a_corridor_admits_its_own_members_only() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let [mut c, mut d] = [C, D].map(|name| world.node(name, Scheme::Ed25519));
    let own = among(&world, &[A, B, C]);
    let me = nodes[0].id.clone();
    let add = |package: Vec<u8>| Intent { add: vec![package], ..Intent::default() };

    // D is in the charter, and not in the corridor: nobody adds it …
    let stranger = add(d.key_package(Suite::X25519));
    let refused = nodes[1].id.clone();
    let refused = nodes[1].group().stage(&refused, &stranger, &own, NOW).unwrap_err();
    assert_eq!(refused, GroupError::Leaf(LeafError::NotInCharter(uri(D))));
    // … and whoever goes by the charter alone, which lets it in, is not followed.
    let pending = nodes[0].stage(&world, &stranger).unwrap();
    let ordered = world.order_pending(&pending);
    let refused = nodes[1].group().process(pending.commit(), &ordered, &own).unwrap_err();
    assert_eq!(refused, GroupError::Leaf(LeafError::NotInCharter(uri(D))));

    let changes = nodes[0].group().abandon();
    nodes[0].disk.write(changes.unwrap());
    let (pending, changes) = nodes[0].group().stage(&me, &add(c.key_package(Suite::X25519)), &own, NOW).unwrap();
    nodes[0].disk.write(changes);
    let ordered = world.order_pending(&pending);
    nodes[0].merge(&pending, &ordered).unwrap();
    assert!(nodes[1].group().process(pending.commit(), &ordered, &own).is_ok());
    // Nobody becomes a member of the charter by being named in a corridor.
    assert_eq!(among(&world, &["puente://mx/z/n1"]).active(&uri("puente://mx/z/n1")).ok(), None);
}

#[test]
fn a_key_package_says_whose_it_claims_to_be() {
    let mut world = World::new();
    let mut b = world.node(B, Scheme::Ed25519);
    let package = b.key_package(Suite::X25519);
    assert_eq!(claimed_node(&package), Ok(uri(B)));
    // A claim is all that it is: anybody can write a name into a certificate of its own.
    let rogue = root("Root of nobody");
    let key = Key::new(Scheme::Ed25519);
    let forged = Forged::new(vec![issue(certificate(C), &key, &rogue)], key);
    let forged = bytes_of(&key_package_of(&forged));
    assert_eq!(claimed_node(&forged), Ok(uri(C)));
    let mut nodes = world.group_of(&[A], Suite::X25519);
    let staged = nodes[0].stage(&world, &Intent { add: vec![forged.clone()], ..Intent::default() });
    assert!(matches!(staged, Err(GroupError::Leaf(_))));

    assert_eq!(claimed_node(b"junk"), Err(GroupError::Malformed("key package")));
    assert_eq!(claimed_node(&package[..package.len() - 1]), Err(GroupError::Malformed("key package")));
    let large = vec![0; KEY_PACKAGE_BYTES_MAX + 1];
    assert!(matches!(claimed_node(&large), Err(GroupError::TooLarge { .. })));
    let nobody = Forged { credential: openmls::prelude::BasicCredential::new(vec![7]).into(), ..forged_leaf(&world) };
    assert!(claimed_node(&bytes_of(&key_package_of(&nobody))).is_err());
}

fn key_package_of(leaf: &Forged) -> openmls::prelude::KeyPackageBundle {
    key_package(leaf, Suite::X25519)
}

fn forged_leaf(world: &World) -> Forged {
    let key = Key::new(Scheme::Ed25519);
    Forged::new(vec![world.issue(C, &key)], key)
}

#[test]
fn whoever_rejoins_sees_who_is_in_the_group() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let me = nodes[0].id.clone();
    let info = nodes[0].group().info(&me).unwrap();
    let rejoin = Rejoin::start(&info, &nodes[1].id, &world.trust, NOW).unwrap();
    let all: BTreeSet<_> = [A, B, C].iter().map(|name| uri(name)).collect();
    assert_eq!(rejoin.members(), all);
    let ordered = world.order(rejoin.group(), rejoin.epoch(), rejoin.commit());
    let (group, _) = rejoin.merge(&ordered, &world.trust, vec![]).unwrap();
    assert!(group.members().eq(all.iter()));
}
