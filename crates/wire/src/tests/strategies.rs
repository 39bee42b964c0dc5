//! Anything that can be said, at random.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use puente_model::{
    CharterVector, CountBand, Digest, EventKind, ExchangeId, FieldClass, Handling, Jurisdiction, LegalBasisId, Millis,
    Minute, Mode, NodeUri, Outcome, Purpose, QueryKind, RefusalReason, Role, Seq, Stage, Step, Urgency,
};

use crate::{
    Entry, Event, Explanation, GroupEntry, GroupEvent, Header, Hole, HoleWhy, LEDGER_NUMBER_MAX, LedgerPlace, LeftWhy,
    Officer, Pair, PairBody, Period, QueryPayload, SealedSeed, SeedUse, Seeds, Terms, Veiled,
};

fn hash() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn nation() -> impl Strategy<Value = Jurisdiction> {
    "[a-z]{2}".prop_map(|code| code.parse().unwrap())
}

fn slug() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?"
}

fn node(nation: &'static str) -> impl Strategy<Value = NodeUri> {
    (slug(), slug()).prop_map(move |(agency, node)| format!("puente://{nation}/{agency}/{node}").parse().unwrap())
}

fn vector() -> impl Strategy<Value = CharterVector> {
    (any::<u32>(), btree_map(nation(), any::<u32>(), 0..5))
        .prop_map(|(common, annexes)| CharterVector { common, annexes })
}

fn basis() -> impl Strategy<Value = LegalBasisId> {
    "[a-z0-9-]{1,64}".prop_map(|id| id.parse().unwrap())
}

fn kind() -> impl Strategy<Value = QueryKind> {
    "[a-z0-9_]{1,20}(\\.[a-z0-9_]{1,20}){1,2}".prop_map(|kind| kind.parse().unwrap())
}

fn seq() -> impl Strategy<Value = Seq> {
    (1..u64::MAX).prop_map(Seq)
}

fn terms() -> impl Strategy<Value = Terms> {
    let codes = (select(Step::ALL), select(Purpose::ALL), select(Handling::ALL), select(Mode::ALL));
    (any::<[u8; 16]>(), kind(), codes, basis(), "[a-z]{0,20}", any::<u64>()).prop_map(
        |(exchange, kind, (step, purpose, handling, mode), basis, group, epoch)| Terms {
            exchange: ExchangeId(exchange),
            kind,
            step,
            purpose,
            basis,
            handling,
            group,
            epoch,
            mode,
        },
    )
}

fn period() -> impl Strategy<Value = Period> {
    let holes = btree_map(0..200_u64, (hash(), any::<bool>()), 0..20);
    (1..1_u64 << 60, 200..5_000_u64, hash(), holes, vec(any::<u8>(), 0..400)).prop_map(
        |(first, span, root, holes, peer_head)| Period {
            first: Seq(first),
            last: Seq(first + span - 1),
            count: span - holes.len() as u64,
            root,
            holes: holes
                .into_iter()
                .map(|(at, (leaf, void))| Hole {
                    seq: Seq(first + at),
                    leaf,
                    why: if void { HoleWhy::Void } else { HoleWhy::Undelivered },
                })
                .collect(),
            peer_head,
        },
    )
}

fn body() -> impl Strategy<Value = PairBody> {
    let query = (terms(), any::<u64>(), hash(), hash()).prop_map(|(terms, due, commitment, escrow)| PairBody::Query {
        terms,
        due: Minute(due),
        commitment,
        escrow,
    });
    let codes = (select(Outcome::ALL), select(FieldClass::ALL), select(CountBand::ALL));
    let answer = (terms(), codes, hash(), hash(), hash()).prop_map(
        |(terms, (outcome, field_class, count), commitment, escrow, quoted)| PairBody::Answer {
            terms,
            outcome,
            field_class,
            count,
            commitment,
            escrow,
            quoted,
        },
    );
    let refusal = (terms(), select(RefusalReason::ALL), hash(), hash(), hash()).prop_map(
        |(terms, reason, commitment, escrow, quoted)| PairBody::Refusal { terms, reason, commitment, escrow, quoted },
    );
    let release = (terms(), hash(), hash(), hash())
        .prop_map(|(terms, quoted, receipt, sealed_key)| PairBody::Release { terms, quoted, receipt, sealed_key });
    let void = (any::<[u8; 16]>(), seq(), hash()).prop_map(|(exchange, voided, quoted)| PairBody::Void {
        exchange: ExchangeId(exchange),
        voided,
        quoted,
    });
    prop_oneof![query, answer, refusal, release, void, period().prop_map(PairBody::Period)]
}

/// A pair entry from `mx` to `to`.
fn pair(to: &'static str) -> impl Strategy<Value = Pair> {
    let nodes = (node("mx"), node(to)).prop_filter("a node does not write to itself", |(from, to)| from != to);
    (nodes, 1..=u32::MAX, seq(), any::<u64>(), vector(), hash(), body()).prop_map(
        |((from, to), log, seq, minute, charter, policy_hash, body)| Pair {
            from,
            to,
            log,
            seq,
            minute: Minute(minute),
            charter,
            policy_hash,
            body,
        },
    )
}

fn seeds() -> impl Strategy<Value = Seeds> {
    let seed = (nation(), "\\PC{0,30}", "[0-9]{4}Q[1-4]", hash(), any::<[u8; 32]>(), vec(any::<u8>(), 48));
    let seed = seed.prop_map(|(jurisdiction, auditor, quarter, commitment, enc, ciphertext)| SealedSeed {
        jurisdiction,
        auditor,
        quarter,
        commitment,
        enc: enc.to_vec(),
        ciphertext,
    });
    (any::<bool>(), any::<u64>(), vec(seed, 2..9)).prop_map(|(escrow, minute, mut seeds)| {
        seeds.truncate(if escrow { 2 } else { seeds.len() });
        let purpose = if escrow { SeedUse::Escrow } else { SeedUse::Headers };
        Seeds { purpose, minute: Minute(minute), seeds }
    })
}

fn group() -> impl Strategy<Value = GroupEntry> {
    let place = || (1..=LEDGER_NUMBER_MAX, any::<u64>()).prop_map(|(k, index)| LedgerPlace::new(k, index).unwrap());
    let held = (place(), hash()).prop_map(|(place, statement)| GroupEvent::Held { place, statement });
    let epoch = (1..=u64::MAX, hash(), hash(), option::of(place()))
        .prop_map(|(epoch, commit, hash, ordered)| GroupEvent::Epoch { epoch, commit, hash, ordered });
    let left = (any::<u64>(), select(LeftWhy::ALL)).prop_map(|(epoch, why)| GroupEvent::Left { epoch, why });
    let name = (slug(), slug()).prop_map(|(federation, corridor)| format!("{federation}/{corridor}").parse().unwrap());
    (any::<u64>(), name, prop_oneof![held, epoch, left]).prop_map(|(minute, group, what)| GroupEntry {
        minute: Minute(minute),
        group,
        what,
    })
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let veiled = (select(Stage::ALL), any::<u64>(), hash()).prop_map(|(stage, minute, commitment)| Veiled {
        stage,
        minute: Minute(minute),
        commitment,
    });
    prop_oneof![
        4 => pair("us").prop_map(Entry::Pair),
        1 => veiled.prop_map(Entry::Veiled),
        1 => seeds().prop_map(Entry::Seeds),
        2 => group().prop_map(Entry::Group),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let what = (select(EventKind::ALL), any::<u64>(), "\\PC{0,30}", any::<u64>());
    let about = (option::of(hash()), option::of(any::<[u8; 16]>()), option::of(node("us")));
    let why = (
        option::of(select(Purpose::ALL)),
        option::of(basis()),
        option::of(select(Role::ALL)),
        option::of(select(RefusalReason::ALL)),
    );
    (what, about, why, vector(), option::of(hash()), option::of(hash())).prop_map(
        |((kind, at, record_type, count), (quoted, exchange, peer), (purpose, basis, role, reason), charter, p, d)| {
            Event {
                kind,
                at: Millis(at),
                quoted,
                exchange: exchange.map(ExchangeId),
                peer,
                record_type,
                count,
                purpose,
                basis,
                role,
                reason,
                charter,
                policy_hash: p,
                detail: d,
            }
        },
    )
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    prop_oneof![pair("mx").prop_map(Header::Pair), event().prop_map(Header::Event)]
}

pub(crate) fn payload() -> impl Strategy<Value = QueryPayload> {
    let officer = (slug(), "\\PC{0,40}", select(Role::ALL), any::<u64>()).prop_map(|(id, name, role, expires)| {
        Officer { id: id.parse().unwrap(), name, role, expires: Millis(expires) }
    });
    let params = btree_map("[a-z_]{1,12}", "\\PC{0,40}", 0..8);
    let texts = ("\\PC{0,40}", "\\PC{0,60}", "\\PC{0,60}", "\\PC{0,40}");
    let times = (any::<u64>(), any::<u64>());
    (times, texts, officer, params, select(Urgency::ALL), any::<[u8; 32]>(), option::of(hash())).prop_map(
        |((asked, due), (case_ref, justification, facts, offence), officer, params, urgency, reply_key, confirms)| {
            QueryPayload {
                asked_at: Millis(asked),
                due_at: Millis(due),
                case_ref,
                officer,
                params: params.into_iter().collect(),
                urgency,
                justification,
                facts_statement: facts,
                offence,
                reply_key,
                confirms,
            }
        },
    )
}

pub(crate) fn explanation() -> impl Strategy<Value = Explanation> {
    let texts = ("\\PC{0,40}", "\\PC{0,60}", "\\PC{0,60}", "\\PC{0,60}");
    (any::<u64>(), texts, vec("[a-z_]{0,12}", 0..9), option::of(hash())).prop_map(
        |(at, (rule, text_en, text_es, appeal), fields, duplicate_of)| Explanation {
            at: Millis(at),
            rule,
            text_en,
            text_es,
            fields,
            duplicate_of,
            appeal_en: String::new(),
            appeal_es: appeal,
        },
    )
}
