//! Tampering with files, heads and histories.

use std::fs;

use puente_audit_log::leaf_hash;
use puente_model::*;
use puente_wire::Entry;
use puente_wire::proto;

use super::kinds::*;
use super::world::*;
use crate::Class;

pub(crate) const HISTORY: &[Kind] = &[
    Kind {
        name: "flipped byte in an entry",
        class: Class::Corrupt,
        guilty: US,
        presented: &[MX, US],
        forge: World::busy,
        files: |copies| flip(&newest(copies[1].join("tile/entries/000.p")), 700),
    },
    Kind {
        name: "flipped byte in a tile",
        class: Class::Corrupt,
        guilty: MX,
        presented: &[MX, US],
        forge: World::busy,
        files: |copies| flip(&newest(copies[0].join("tile/0/000.p")), 100),
    },
    Kind {
        name: "flipped byte in an older partial tile",
        class: Class::Corrupt,
        guilty: MX,
        presented: &[MX],
        forge: World::busy,
        files: |copies| flip(&copies[0].join("tile/0/000.p/3"), 10),
    },
    Kind {
        name: "truncated bundle under an unchanged head",
        class: Class::Corrupt,
        guilty: MX,
        presented: &[MX],
        forge: World::busy,
        files: |copies| {
            let path = newest(copies[0].join("tile/entries/000.p"));
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
        },
    },
    Kind {
        name: "changed size in the head",
        class: Class::BadHead,
        guilty: US,
        presented: &[MX, US],
        forge: World::busy,
        files: |copies| {
            let path = copies[1].join("checkpoint");
            let text = fs::read_to_string(&path).unwrap();
            let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
            fs::write(path, text.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1)).unwrap();
        },
    },
    Kind {
        name: "head signed with another key",
        class: Class::BadHead,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            let entries = world.nodes[MX].entries.clone();
            let key = puente_audit_log::KeyKind::Ed25519;
            let node = world.node(MX);
            node.signer =
                puente_audit_log::Ed25519Signer::new("mx/fge-bc/n1/log1", key, &Secret32::new([9; 32])).unwrap();
            node.rewrite(entries);
            world
        },
        files: untouched,
    },
    Kind {
        name: "last entries dropped, an older head shown",
        class: Class::Truncated,
        guilty: US,
        presented: &[MX, US],
        forge: || rewritten(World::busy(), US, |entries| entries.truncate(entries.len() - 4)),
        files: untouched,
    },
    Kind {
        name: "suffix rewritten under a fresh, larger head",
        class: Class::Rewritten,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = rewritten(World::busy(), US, |entries| entries.truncate(entries.len() - 3));
            for _ in 0..5 {
                world.event(US);
            }
            world
        },
        files: untouched,
    },
    Kind {
        name: "an entry changed, signed again at the same size",
        class: Class::SplitView,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::new();
            world.exchange(MX, US, Course::Refused);
            world.period(MX, US, &[]);
            rewritten(world, US, |entries| {
                let Ok(Entry::Seeds(mut seeds)) = Entry::decode(&entries[0]) else { panic!() };
                seeds.minute = Minute(seeds.minute.0 - 1);
                entries[0] = Entry::Seeds(seeds).encode();
            })
        },
        files: untouched,
    },
    Kind {
        name: "a question and its refusal left out by the holder",
        class: Class::Omitted,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.exchange(MX, US, Course::Refused);
            let n = world.nodes[US].entries.len();
            let mut world = rewritten(world, US, |entries| entries.truncate(n - 2));
            world.event(US);
            world.event(US);
            world.event(US);
            world
        },
        files: untouched,
    },
    Kind {
        name: "an answer that the asker never logged",
        class: Class::NeverLogged,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            let (_, answer) = world.exchange(MX, US, Course::Released);
            let mut world = rewritten(world, MX, |entries| {
                let from = entries.iter().position(|e| leaf_hash(e) == answer).unwrap();
                entries.truncate(from);
            });
            world.event(MX);
            world.event(MX);
            world.event(MX);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a forked log shown to one partner",
        class: Class::SplitView,
        guilty: MX,
        presented: &[MX, US, US2],
        forge: forked,
        files: untouched,
    },
    Kind {
        name: "two questions under one number",
        class: Class::Equivocated,
        guilty: MX,
        presented: &[MX, US],
        forge: two_questions,
        files: untouched,
    },
    Kind {
        name: "a question that its author never asked",
        class: Class::Fabricated,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            let mut other = World::busy();
            other.purpose = Purpose::VehicleRecovery;
            let (_, _, query, escrow) = other.ask(MX, US);
            let leaf = append(&mut world, US, query);
            world.node(US).keep(&leaf, proto::aside::Body::Escrow(escrow));
            world
        },
        files: untouched,
    },
    Kind {
        name: "one question answered twice",
        class: Class::Equivocated,
        guilty: US,
        presented: &[US],
        forge: || {
            let mut world = World::busy();
            world.exchange(MX, US, Course::Receipted);
            let last = world.nodes[US].entries.len() - 1;
            let mut second = world.nodes[US].pair(last).unwrap();
            second.seq = world.next(US, MX);
            append(&mut world, US, Entry::Pair(second).encode());
            world
        },
        files: untouched,
    },
];
