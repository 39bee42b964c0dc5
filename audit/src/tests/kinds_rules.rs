//! Tampering with what entries say, and with what is kept beside them.

use std::fs;

use puente_model::*;
use puente_wire::proto;
use puente_wire::{Entry, Header, PairBody, PairKind, Terms, Veiled};

use super::kinds::*;
use super::world::*;
use crate::Class;

pub(crate) const RULES: &[Kind] = &[
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
        name: "an escrow that the auditors' shares would not open",
        class: Class::ShareMismatch,
        guilty: MX,
        presented: &[MX],
        // Sealed under the name of another commitment than the one that the entry has in the end.
        forge: || {
            spoiled(Course::NoHit, MX, US, |pair| {
                if let PairBody::Query { commitment, .. } = &mut pair.body {
                    commitment.0[0] ^= 1;
                }
            })
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
