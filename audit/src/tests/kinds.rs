//! Ways to tamper with a log: what is done, and what must be found.

use std::fs;
use std::path::{Path, PathBuf};

use puente_model::*;
use puente_wire::{Pair, proto};

use super::world::*;
use crate::Class;

pub(crate) type Files = fn(&[PathBuf]);

/// One way to tamper: what is done to the logs, which copies are presented, what is done to the copies.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) guilty: &'static str,
    pub(crate) presented: &'static [&'static str],
    pub(crate) forge: fn() -> World,
    pub(crate) files: Files,
}

pub(crate) fn untouched(_: &[PathBuf]) {}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The newest partial file of a tile or bundle: the one of the largest width.
pub(crate) fn newest(dir: PathBuf) -> PathBuf {
    let width = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().parse::<u16>().unwrap();
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).max_by_key(width).unwrap()
}

pub(crate) fn spoiled(course: Course, from: &'static str, to: &'static str, spoil: fn(&mut Pair)) -> World {
    let mut world = World::busy();
    world.spoil = Some(spoil);
    world.exchange(from, to, course);
    world
}

/// A world whose US node presents other entries than it had recorded.
pub(crate) fn rewritten(world: World, name: &'static str, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> World {
    let mut world = world;
    let mut entries = world.nodes[name].entries.clone();
    change(&mut entries);
    world.node(name).rewrite(entries);
    world
}

/// Appends an entry to one log only.
pub(crate) fn append(world: &mut World, at: &'static str, entry: Vec<u8>) -> Digest {
    world.node(at).append(vec![entry])[0]
}

pub(crate) fn drop_asides(world: &mut World, at: &'static str, drop: impl Fn(&proto::Aside) -> bool) {
    world.node(at).asides.retain(|aside| !drop(aside));
}

/// MX shows one history to US and another to US2, and presents the latter.
pub(crate) fn forked() -> World {
    let fork = |last: &'static str| {
        let mut world = World::new();
        world.exchange(MX, US, Course::Released);
        world.exchange(MX, US2, Course::Released);
        for _ in 0..3 {
            world.exchange(MX, last, Course::Released);
        }
        world
    };
    let (mut shown, presented) = (fork(US), fork(US2));
    let World { nodes, .. } = presented;
    for (name, node) in nodes {
        if name != US {
            shown.nodes.insert(name, node);
        }
    }
    shown
}

/// MX sent US a question under a number that its presented log gives to another question.
pub(crate) fn two_questions() -> World {
    let base = || {
        let mut world = World::new();
        world.exchange(MX, US, Course::Released);
        world
    };
    let mut sent = base();
    sent.exchange(MX, US, Course::NoHit);
    let mut presented = base();
    presented.purpose = Purpose::VehicleRecovery;
    presented.exchange(MX, US, Course::Asked);
    presented.event(MX);
    presented.event(MX);
    let World { nodes, .. } = presented;
    for (name, node) in nodes {
        if name == MX {
            sent.nodes.insert(name, node);
        }
    }
    sent
}

pub(crate) fn with(change: fn(&mut World)) -> World {
    let mut world = World::busy();
    change(&mut world);
    world
}
