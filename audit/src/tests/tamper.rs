//! Every kind of tampering is found, named and attributed to who did it, and to nobody else.

use std::fs;
use std::path::{Path, PathBuf};

use puente_audit_log::leaf_hash;
use puente_model::*;
use puente_wire::proto;
use puente_wire::{Entry, Header, PairBody, PairKind, Terms, Veiled};

use super::world::*;
use crate::class::Severity;
use crate::{Checker, Class, Conclusion, EvidenceFile, Verdict, check_bytes};

type Files = fn(&[PathBuf]);

/// One way to tamper: what is done to the logs, which copies are presented, what is done to the copies.
struct Kind {
    name: &'static str,
    class: Class,
    guilty: &'static str,
    presented: &'static [&'static str],
    forge: fn() -> World,
    files: Files,
}

fn untouched(_: &[PathBuf]) {}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The newest partial file of a tile or bundle: the one of the largest width.
fn newest(dir: PathBuf) -> PathBuf {
    let width = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().parse::<u16>().unwrap();
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).max_by_key(width).unwrap()
}

fn spoiled(course: Course, from: &'static str, to: &'static str, spoil: fn(&mut puente_wire::Pair)) -> World {
    let mut world = World::busy();
    world.spoil = Some(spoil);
    world.exchange(from, to, course);
    world
}

/// A world whose US node presents other entries than it had recorded.
fn rewritten(world: World, name: &'static str, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> World {
    let mut world = world;
    let mut entries = world.nodes[name].entries.clone();
    change(&mut entries);
    world.node(name).rewrite(entries);
    world
}

/// Appends an entry to one log only.
fn append(world: &mut World, at: &'static str, entry: Vec<u8>) -> Digest {
    world.node(at).append(vec![entry])[0]
}

fn drop_asides(world: &mut World, at: &'static str, drop: impl Fn(&proto::Aside) -> bool) {
    world.node(at).asides.retain(|aside| !drop(aside));
}

/// MX shows one history to US and another to US2, and presents the latter.
fn forked() -> World {
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
fn two_questions() -> World {
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

const KINDS: &[Kind] = &[
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
    Kind {
        name: "a number skipped",
        class: Class::SeqGap,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.next(MX, US);
            world.exchange(MX, US, Course::NoHit);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a number used twice",
        class: Class::SeqRepeat,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            let (terms, _, _, _) = world.ask(MX, US);
            let last = world.nodes[MX].entries.len() - 1;
            let mut again = world.nodes[MX].pair(last).unwrap();
            if let PairBody::Query { terms: t, .. } = &mut again.body {
                *t = Terms { exchange: ExchangeId([6; 16]), ..terms.clone() };
            }
            append(&mut world, MX, Entry::Pair(again).encode());
            world
        },
        files: untouched,
    },
    Kind {
        name: "own entries swapped",
        class: Class::SeqGap,
        guilty: MX,
        presented: &[MX],
        forge: || {
            rewritten(World::busy(), MX, |entries| {
                let own = |e: &Vec<u8>| matches!(Entry::decode(e), Ok(Entry::Pair(p)) if p.from == uri(MX) && p.to == uri(US));
                let places: Vec<usize> = (0..entries.len()).filter(|i| own(&entries[*i])).collect();
                entries.swap(places[0], places[1]);
            })
        },
        files: untouched,
    },
    Kind {
        name: "an answer before its question",
        class: Class::AnswerWithoutQuery,
        guilty: US,
        presented: &[US],
        forge: || {
            let world = World::busy();
            let at = world.nodes[US].find(PairKind::Answer, US);
            rewritten(world, US, |entries| entries.swap(at, at - 1))
        },
        files: untouched,
    },
    Kind {
        name: "terms changed by the holder",
        class: Class::TermsChanged,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            spoiled(Course::NoHit, MX, US, |pair| {
                if let PairBody::Answer { terms, .. } = &mut pair.body {
                    terms.purpose = Purpose::VehicleRecovery;
                }
            })
        },
        files: untouched,
    },
    Kind {
        name: "a release whose receipt is not kept",
        class: Class::ReleaseUnproven,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::new();
            let (_, answer) = world.exchange(MX, US, Course::Released);
            drop_asides(&mut world, US, |aside| {
                aside.leaf_hash == answer.0 && matches!(aside.body, Some(proto::aside::Body::PeerReceipt(_)))
            });
            world
        },
        files: untouched,
    },
    Kind {
        name: "a release that names another receipt",
        class: Class::ReleaseUnproven,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            spoiled(Course::Released, MX, US, |pair| {
                if let PairBody::Release { receipt, .. } = &mut pair.body {
                    *receipt = Digest::of(b"other");
                }
            })
        },
        files: untouched,
    },
    Kind {
        name: "a release of nothing",
        class: Class::ReleasedTwice,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            let (_, answer) = world.exchange(MX, US, Course::NoHit);
            let last = world.nodes[MX].entries.len() - 1;
            let terms = world.nodes[MX].pair(last).unwrap().terms().unwrap().clone();
            let receipt = world.nodes[MX].receipt(&answer);
            world.release(MX, US, terms, answer, &receipt);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a release of an answer that is none",
        class: Class::ReleaseWithoutAnswer,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            spoiled(Course::Released, MX, US, |pair| {
                if let PairBody::Release { quoted, .. } = &mut pair.body {
                    *quoted = Digest::of(b"other");
                }
            })
        },
        files: untouched,
    },
    Kind {
        name: "a period with another root",
        class: Class::PeriodMismatch,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            world.spoil = Some(|pair| {
                if let PairBody::Period(period) = &mut pair.body {
                    period.root = Digest::of(b"other");
                }
            });
            world.period(MX, US, &[]);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a period that leaves numbers out",
        class: Class::PeriodRange,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.period_body(MX, US, &[]);
            world.exchange(MX, US, Course::NoHit);
            world.period(MX, US, &[]);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a recorded question named as a hole",
        class: Class::HoleMismatch,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::new();
            world.exchange(MX, US, Course::NoHit);
            world.period(MX, US, &[Seq(1)]);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a forged head of the peer in a period",
        class: Class::PeerHeadInvalid,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.spoil = Some(|pair| {
                if let PairBody::Period(period) = &mut pair.body {
                    let text = String::from_utf8(period.peer_head.clone()).unwrap();
                    let (at, _) = text.match_indices('\n').nth(1).unwrap();
                    period.peer_head[at + 1] ^= 1;
                }
            });
            world.period(MX, US, &[]);
            world
        },
        files: untouched,
    },
    Kind {
        name: "another escrow in place of the committed one",
        class: Class::EscrowMismatch,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            let escrow = |a: &&mut proto::Aside| matches!(a.body, Some(proto::aside::Body::Escrow(_)));
            let mut asides = world.node(US).asides.iter_mut().filter(escrow);
            let (one, two) = (asides.next().unwrap(), asides.next().unwrap());
            std::mem::swap(&mut one.body, &mut two.body);
            drop(asides);
            world
        },
        files: untouched,
    },
    Kind {
        name: "escrow withheld",
        class: Class::EscrowMissing,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            let first =
                world.node(US).asides.iter().position(|a| matches!(a.body, Some(proto::aside::Body::Escrow(_))));
            world.node(US).asides.remove(first.unwrap());
            world
        },
        files: untouched,
    },
    Kind {
        name: "escrow under seeds that were never logged",
        class: Class::SeedsMissing,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::new();
            world.exchange(MX, US, Course::NoHit);
            rewritten(world, MX, |entries| entries.retain(|e| !matches!(Entry::decode(e), Ok(Entry::Seeds(_)))))
        },
        files: untouched,
    },
    Kind {
        name: "seeds for an auditor that the charter does not name",
        class: Class::SeedsWrongAuditor,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            let Ok(Entry::Seeds(mut seeds)) = Entry::decode(&world.nodes[MX].entries[0]) else { panic!() };
            seeds.seeds[0].auditor = "nobody".to_owned();
            append(&mut world, MX, Entry::Seeds(seeds).encode());
            world
        },
        files: untouched,
    },
    Kind {
        name: "a lapsed legal basis",
        class: Class::BasisExpired,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.basis = "lapsed";
            world.exchange(MX, US, Course::Refused);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a legal basis out of nowhere",
        class: Class::BasisUnknown,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.basis = "invented";
            world.exchange(MX, US, Course::Refused);
            world
        },
        files: untouched,
    },
    Kind {
        name: "another nation's legal basis",
        class: Class::BasisNotForNation,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.basis = "us-only";
            world.exchange(MX, US, Course::Refused);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a purpose that the legal basis does not cover",
        class: Class::PurposeNotCovered,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            world.purpose = Purpose::ImmigrationEnforcement;
            world.exchange(MX, US, Course::Refused);
            world
        },
        files: untouched,
    },
    Kind {
        name: "an older charter than before",
        class: Class::CharterBack,
        guilty: MX,
        presented: &[MX],
        forge: || {
            spoiled(Course::NoHit, MX, US, |pair| {
                if pair.from == uri(MX) {
                    pair.charter.annexes.clear();
                }
            })
        },
        files: untouched,
    },
    Kind {
        name: "a domestic exchange in the clear",
        class: Class::DomesticInClear,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            world.ask(MX, MX2);
            world
        },
        files: untouched,
    },
    Kind {
        name: "an entry in another encoding",
        class: Class::Grammar,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            let mut entry = world.nodes[MX].entries[0].clone();
            entry.extend_from_slice(&[0x78, 1]);
            append(&mut world, MX, entry);
            world
        },
        files: untouched,
    },
    Kind {
        name: "an exchange of others",
        class: Class::NotAParty,
        guilty: MX2,
        presented: &[MX2],
        forge: || {
            let mut world = World::busy();
            let entry = world.nodes[MX].entries[world.nodes[MX].find(PairKind::Query, MX)].clone();
            append(&mut world, MX2, entry);
            world
        },
        files: untouched,
    },
    Kind {
        name: "an exchange with a stranger",
        class: Class::NotAMember,
        guilty: MX,
        presented: &[MX],
        forge: || spoiled(Course::Asked, MX, US, |pair| pair.to = uri("puente://us/nobody/n1")),
        files: untouched,
    },
    Kind {
        name: "an entry numbered by a log that is not there yet",
        class: Class::WrongLog,
        guilty: MX,
        presented: &[MX],
        forge: || spoiled(Course::Asked, MX, US, |pair| pair.log = 2),
        files: untouched,
    },
    Kind {
        name: "an entry from the future",
        class: Class::FutureDated,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            spoiled(Course::NoHit, MX, US, |pair| {
                if pair.from == uri(US) {
                    pair.minute = Minute(pair.minute.0 + 1_000);
                }
            })
        },
        files: untouched,
    },
    Kind {
        name: "an answer after the deadline",
        class: Class::Late,
        guilty: US,
        presented: &[MX, US],
        forge: || {
            spoiled(Course::NoHit, MX, US, |pair| {
                if let PairBody::Query { due, .. } = &mut pair.body {
                    *due = Minute(pair.minute.0 - 20);
                }
            })
        },
        files: untouched,
    },
    Kind {
        name: "a recorded question left unanswered",
        class: Class::Unanswered,
        guilty: US,
        presented: &[US],
        forge: || {
            let mut world = World::busy();
            world.spoil = Some(|pair| {
                if let PairBody::Query { due, .. } = &mut pair.body {
                    *due = pair.minute;
                }
            });
            let (_, leaf, query, escrow) = world.ask(MX, US);
            let receipt = world.nodes[MX].receipt(&leaf);
            append(&mut world, US, query);
            world.node(US).keep_receipt(&leaf, receipt);
            world.node(US).keep(&leaf, proto::aside::Body::Escrow(escrow));
            world
        },
        files: untouched,
    },
    Kind {
        name: "one exchange id for two questions",
        class: Class::ExchangeRepeated,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            with(|world| {
                world.spoil = Some(|pair| {
                    if let PairBody::Query { terms, .. } = &mut pair.body {
                        terms.exchange = ExchangeId([5; 16]);
                    }
                });
                world.exchange(MX, US, Course::Asked);
                world.exchange(MX, US, Course::Asked);
            })
        },
        files: untouched,
    },
    Kind {
        name: "a forged receipt",
        class: Class::ReceiptInvalid,
        guilty: US,
        presented: &[US],
        forge: || {
            let mut world = World::busy();
            let receipt = |a: &&mut proto::Aside| matches!(a.body, Some(proto::aside::Body::PeerReceipt(_)));
            let mut receipts = world.node(US).asides.iter_mut().filter(receipt);
            let (one, two) = (receipts.next().unwrap(), receipts.next().unwrap());
            std::mem::swap(&mut one.body, &mut two.body);
            drop(receipts);
            world
        },
        files: untouched,
    },
    Kind {
        name: "a veiled entry whose header says something else",
        class: Class::HeaderMismatch,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            world.event(MX);
            let entry = Veiled {
                stage: Stage::Collection,
                minute: world.now.minute(),
                commitment: Digest::of(b"something else"),
            };
            let leaf = append(&mut world, MX, Entry::Veiled(entry).encode());
            let last = world.nodes[MX].asides.last().unwrap().body.clone().unwrap();
            world.node(MX).keep(&leaf, last);
            world
        },
        files: untouched,
    },
    Kind {
        name: "an exchange across the border, veiled",
        class: Class::HeaderMismatch,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            let terms = world.terms();
            let body = PairBody::Query {
                terms,
                due: world.now.minute(),
                commitment: Digest::of(b"c"),
                escrow: Digest::of(b"e"),
            };
            let pair = world.entry(MX, US, body);
            world.veil(MX, Header::Pair(pair));
            world
        },
        files: untouched,
    },
    Kind {
        name: "a void of no question",
        class: Class::VoidMismatch,
        guilty: MX,
        presented: &[MX, US],
        forge: || {
            let mut world = World::busy();
            let (terms, _, _, _) = world.ask(MX, US);
            let last = world.nodes[MX].entries.len() - 1;
            let voided = world.nodes[MX].pair(last).unwrap().seq;
            let body = PairBody::Void { exchange: terms.exchange, voided, quoted: Digest::of(b"other") };
            let entry = Entry::Pair(world.entry(MX, US, body)).encode();
            world.deliver(MX, US, entry);
            world
        },
        files: untouched,
    },
    Kind {
        name: "history rewritten against a head in its own log",
        class: Class::Rewritten,
        guilty: MX,
        presented: &[MX],
        forge: || {
            let mut world = World::busy();
            world.period(US, MX, &[]);
            rewritten(world, MX, |entries| {
                let Ok(Entry::Seeds(mut seeds)) = Entry::decode(&entries[0]) else { panic!() };
                seeds.minute = Minute(seeds.minute.0 - 1);
                entries[0] = Entry::Seeds(seeds).encode();
            })
        },
        files: untouched,
    },
    Kind {
        name: "receipts cut out of the sidecar in mid-record",
        class: Class::AsideMalformed,
        guilty: MX,
        presented: &[MX],
        forge: World::busy,
        files: |copies| {
            let path = copies[0].join("asides");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 7]).unwrap();
        },
    },
];

fn with(change: fn(&mut World)) -> World {
    let mut world = World::busy();
    change(&mut world);
    world
}

fn audit(kind: &Kind) -> (Verdict, tempfile::TempDir) {
    let world = (kind.forge)();
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), kind.presented);
    (kind.files)(&copies);
    let paths: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    (auditor(dir.path()).reconcile(&paths).unwrap(), dir)
}

#[test]
fn every_kind_is_found_named_and_attributed() {
    assert!(KINDS.len() >= 24);
    let mut failed = Vec::new();
    for kind in KINDS {
        let (verdict, _dir) = audit(kind);
        let faults: Vec<_> = verdict.faults().collect();
        let found = faults.iter().any(|f| f.class == kind.class && f.attributed_to.as_str() == kind.guilty);
        let innocent = faults.iter().find(|f| !["unknown", kind.guilty].contains(&f.attributed_to.as_str()));
        if verdict.verdict != Conclusion::Unsound || !found || innocent.is_some() {
            let list: Vec<_> =
                verdict.findings.iter().map(|f| format!("{} {} | {}", f.class, f.en, f.detail)).collect();
            failed.push(format!("{}: expected {} of {}, got {list:#?}", kind.name, kind.class, kind.guilty));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn evidence_convinces_a_third_party_and_does_not_survive_changes() {
    let charter = charter();
    let checker = Checker::Charter(&charter);
    for kind in KINDS {
        let (verdict, _dir) = audit(kind);
        for finding in verdict.faults() {
            let path = finding.evidence.as_ref().unwrap();
            let bytes = fs::read(path).unwrap();
            let checked = check_bytes(&bytes, None, &checker).unwrap();
            let portable = matches!(
                finding.class,
                Class::SplitView
                    | Class::Rewritten
                    | Class::Truncated
                    | Class::Omitted
                    | Class::NeverLogged
                    | Class::Equivocated
            );
            let expected: &[Conclusion] =
                if portable { &[Conclusion::Sound] } else { &[Conclusion::Sound, Conclusion::CouldNotTell] };
            assert!(
                expected.contains(&checked.verdict),
                "{}: {} {:?}: {:#?}",
                kind.name,
                finding.class,
                checked.verdict,
                checked.words
            );
            if portable {
                let mut file: EvidenceFile = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(check_bytes(&bytes, None, &Checker::Nobody).unwrap().verdict, Conclusion::CouldNotTell);
                file.heads.pop();
                file.prefix = None;
                file.entries.truncate(1);
                let bytes = serde_json::to_vec(&file).unwrap();
                assert_ne!(check_bytes(&bytes, None, &checker).unwrap().verdict, Conclusion::Sound, "{}", kind.name);
            }
        }
    }
}

#[test]
fn the_first_bad_index_is_named() {
    let world = World::busy();
    let size = world.nodes[MX].entries.len();
    for index in [0, 1, size / 2, size - 1] {
        let dir = tempfile::tempdir().unwrap();
        let copies = world.copies(dir.path(), &[MX]);
        let before: usize = world.nodes[MX].entries[..index].iter().map(|e| e.len() + 2).sum();
        flip(&newest(copies[0].join("tile/entries/000.p")), before + 12);
        let verdict = auditor(dir.path()).verify(&copies[0]).unwrap();
        let fault = verdict.faults().next().unwrap();
        assert_eq!((fault.class, fault.index), (Class::Corrupt, Some(index as u64)));
    }
}

#[test]
fn sentences_are_spoken_in_both_languages() {
    for class in Class::ALL {
        assert_ne!(class.sentence(crate::Lang::En), class.sentence(crate::Lang::Es));
        assert_eq!(class.as_str().parse(), Ok(*class));
    }
    let (verdict, _dir) = audit(&KINDS[0]);
    let fault = verdict.faults().next().unwrap();
    assert!(fault.es.contains("asiento") && fault.en.contains("entry"), "{} {}", fault.en, fault.es);
    assert_eq!(fault.severity, Severity::Unsound);
}
