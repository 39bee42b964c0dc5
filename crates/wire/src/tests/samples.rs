//! One full example of everything, the same in every run.

use puente_model::{
    AlertCategory, AlertCertainty, AlertSeverity, CharterVector, CountBand, Digest, EventKind, ExchangeId, FieldClass,
    Handling, Lang, Millis, Minute, Mode, Outcome, Purpose, RefusalReason, Role, Secret32, Seq, Stage, Step, Urgency,
    digest,
};

use super::Codec;
use crate::proto::{self, Message as _, frame::Body};
use crate::{
    Alert, AlertText, Entry, Event, Explanation, GroupEntry, GroupEvent, Header, Hole, HoleWhy, LedgerPlace, LeftWhy,
    Officer, Pair, PairBody, Period, QueryPayload, SealedSeed, SeedUse, Seeds, Terms, Veiled, label,
};

pub(crate) const ASKER: &str = "puente://mx/fge-bc/n1";
pub(crate) const HOLDER: &str = "puente://us/sdpd/n1";
const NEIGHBOUR: &str = "puente://mx/cnb/n1";
/// 2026-11-22T08:15:30.250Z.
pub(crate) const NOW: Millis = Millis(1_795_335_330_250);

fn hash(what: &str) -> Digest {
    Digest::of(what.as_bytes())
}

pub(crate) fn vector() -> CharterVector {
    let annexes = [("mx".parse().unwrap(), 4), ("us".parse().unwrap(), 2)];
    CharterVector { common: 3, annexes: annexes.into() }
}

pub(crate) fn terms() -> Terms {
    Terms {
        exchange: ExchangeId(std::array::from_fn(|i| i as u8 + 1)),
        kind: "vehicle.status".parse().unwrap(),
        step: Step::CoreData,
        purpose: Purpose::VehicleRecovery,
        basis: "mx-us-vehicles-1981".parse().unwrap(),
        handling: Handling::H1,
        group: String::new(),
        epoch: 0,
        mode: Mode::Open,
    }
}

fn pair(from: &str, to: &str, seq: u64, body: PairBody) -> Pair {
    Pair {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        log: 1,
        seq: Seq(seq),
        minute: NOW.minute(),
        charter: vector(),
        policy_hash: hash("policy"),
        body,
    }
}

pub(crate) fn salt() -> Secret32 {
    Secret32::new([0x5a; 32])
}

pub(crate) fn payload() -> QueryPayload {
    QueryPayload {
        asked_at: NOW,
        due_at: NOW.plus(600_000),
        case_ref: "BC/TIJ/2026/01234".to_owned(),
        officer: Officer {
            id: "o-1042".parse().unwrap(),
            name: "Ana Peña".to_owned(),
            role: Role::Investigator,
            expires: NOW.plus(86_400_000),
        },
        params: vec![("vin".to_owned(), "1HGCM82633A004352".to_owned())],
        urgency: Urgency::Urgent,
        justification: "the vehicle is about to be exported".to_owned(),
        facts_statement: "seen at the port on 21 November".to_owned(),
        offence: "vehicle theft".to_owned(),
        reply_key: [9; 32],
        confirms: Some(hash("step-1 answer")),
    }
}

pub(crate) fn explanation() -> Explanation {
    Explanation {
        at: NOW,
        rule: "inbound.vehicle.patrol".to_owned(),
        text_en: "a patrol may ask step 1 only".to_owned(),
        text_es: "una patrulla sólo puede preguntar el paso 1".to_owned(),
        fields: vec!["plate_jurisdiction".to_owned(), "vin".to_owned()],
        duplicate_of: Some(hash("earlier query")),
        appeal_en: "write to the oversight office".to_owned(),
        appeal_es: "escriba al órgano de control".to_owned(),
    }
}

pub(crate) fn query() -> Pair {
    let commitment = QueryPayload::commit(Mode::Open, &payload().encode(), &salt());
    let due = Minute(NOW.plus(600_000).0.div_ceil(60_000));
    pair(ASKER, HOLDER, 17, PairBody::Query { terms: terms(), due, commitment, escrow: hash("escrow") })
}

fn leaf(entry: &Entry) -> Digest {
    Digest::of(&[&[0], entry.encode().as_slice()].concat())
}

fn query_leaf() -> Digest {
    leaf(&Entry::Pair(query()))
}

/// A question in training.
fn training_query() -> Pair {
    let commitment = QueryPayload::commit(Mode::Training, &payload().encode(), &salt());
    let due = Minute(NOW.plus(600_000).0.div_ceil(60_000));
    let terms = Terms { mode: Mode::Training, ..terms() };
    pair(ASKER, HOLDER, 17, PairBody::Query { terms, due, commitment, escrow: hash("escrow") })
}

pub(crate) fn answer() -> Pair {
    let body = PairBody::Answer {
        terms: terms(),
        outcome: Outcome::CoreData,
        field_class: FieldClass::Identifying,
        count: CountBand::UnderFive,
        commitment: digest(label::ANSWER, &[&hash("tree").0, &hash("body").0, &hash("key").0]),
        escrow: hash("escrow"),
        quoted: query_leaf(),
    };
    pair(HOLDER, ASKER, 5, body)
}

fn period(holes: Vec<Hole>) -> Period {
    let count = 20 - holes.len() as u64;
    let peer_head = b"us/sdpd/n1/log1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_vec();
    Period { first: Seq(1), last: Seq(20), count, root: hash("root"), holes, peer_head }
}

fn seeds(purpose: SeedUse, auditors: &[(&str, &str)]) -> Seeds {
    let seal = |(jurisdiction, auditor): &(&str, &str)| SealedSeed {
        jurisdiction: jurisdiction.parse().unwrap(),
        auditor: (*auditor).to_owned(),
        quarter: "2026Q4".to_owned(),
        commitment: hash(auditor),
        enc: vec![7; 32],
        ciphertext: vec![8; 48],
    };
    Seeds { purpose, minute: NOW.minute(), seeds: auditors.iter().map(seal).collect() }
}

pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let plain = |outcome, count| {
        let commitment = Explanation::commit(Mode::Open, &explanation().encode(), &salt());
        PairBody::Answer {
            terms: Terms { step: Step::HitNoHit, handling: Handling::H0, ..terms() },
            outcome,
            field_class: FieldClass::None,
            count,
            commitment,
            escrow: hash("escrow"),
            quoted: query_leaf(),
        }
    };
    let refusal = PairBody::Refusal {
        terms: terms(),
        reason: RefusalReason::StatutoryBar,
        commitment: Explanation::commit(Mode::Open, &explanation().encode(), &salt()),
        escrow: hash("escrow"),
        quoted: query_leaf(),
    };
    let release = PairBody::Release {
        terms: terms(),
        quoted: leaf(&Entry::Pair(answer())),
        receipt: hash("receipt"),
        sealed_key: hash("sealed key"),
    };
    let void = PairBody::Void { exchange: terms().exchange, voided: Seq(17), quoted: query_leaf() };
    let holes = vec![
        Hole { seq: Seq(3), leaf: hash("3"), why: HoleWhy::Void },
        Hole { seq: Seq(17), leaf: query_leaf(), why: HoleWhy::Undelivered },
    ];
    let header = Header::Event(event()).encode();
    let veiled =
        Veiled { stage: Stage::Governance, minute: NOW.minute(), commitment: Header::commit(&header, &salt()) };
    let grouped = Terms { group: "tij-san".to_owned(), epoch: 7, ..terms() };
    let in_group = PairBody::Query {
        terms: grouped,
        due: Minute(NOW.minute().0 + 10),
        commitment: hash("query"),
        escrow: hash("escrow"),
    };
    vec![
        ("query", Entry::Pair(query())),
        ("query-in-training", Entry::Pair(training_query())),
        ("query-of-a-group", Entry::Pair(pair(ASKER, HOLDER, 18, in_group))),
        ("answer-core-data", Entry::Pair(answer())),
        ("answer-no-hit", Entry::Pair(pair(HOLDER, ASKER, 6, plain(Outcome::NoHit, CountBand::Zero)))),
        ("answer-hit", Entry::Pair(pair(HOLDER, ASKER, 7, plain(Outcome::HitUnconfirmed, CountBand::FiveOrMore)))),
        ("answer-needs-data", Entry::Pair(pair(HOLDER, ASKER, 8, plain(Outcome::NeedsData, CountBand::Zero)))),
        ("refusal", Entry::Pair(pair(HOLDER, ASKER, 9, refusal))),
        ("release", Entry::Pair(pair(HOLDER, ASKER, 10, release))),
        ("void", Entry::Pair(pair(ASKER, HOLDER, 19, void))),
        ("period", Entry::Pair(pair(ASKER, HOLDER, 21, PairBody::Period(period(Vec::new()))))),
        ("period-with-holes", Entry::Pair(pair(ASKER, HOLDER, 22, PairBody::Period(period(holes))))),
        ("veiled", Entry::Veiled(veiled)),
        ("seeds-escrow", Entry::Seeds(seeds(SeedUse::Escrow, &[("mx", "fiscalia-auditor"), ("us", "oig-1")]))),
        ("seeds-headers", Entry::Seeds(seeds(SeedUse::Headers, &[("mx", "fiscalia-auditor")]))),
        ("group-held", in_group_otay(GroupEvent::Held { place: place(7), statement: hash("statement") })),
        ("group-epoch", in_group_otay(epoch(Some(place(7))))),
        ("group-epoch-without-ledger", in_group_otay(epoch(None))),
        ("group-left", in_group_otay(GroupEvent::Left { epoch: 6, why: LeftWhy::Lost })),
    ]
}

fn place(index: u64) -> LedgerPlace {
    LedgerPlace::new(2, index).unwrap()
}

fn epoch(ordered: Option<LedgerPlace>) -> GroupEvent {
    GroupEvent::Epoch { epoch: 6, commit: hash("commit"), hash: hash("epoch"), ordered }
}

fn in_group_otay(what: GroupEvent) -> Entry {
    Entry::Group(GroupEntry { minute: NOW.minute(), group: "frontera/otay".parse().unwrap(), what })
}

pub(crate) fn event() -> Event {
    Event {
        kind: EventKind::PeerFault,
        at: NOW,
        quoted: Some(query_leaf()),
        exchange: Some(terms().exchange),
        peer: Some(HOLDER.parse().unwrap()),
        record_type: "Vehicle".to_owned(),
        count: 3,
        purpose: Some(Purpose::VehicleRecovery),
        basis: Some(terms().basis),
        role: Some(Role::Investigator),
        reason: Some(RefusalReason::Quality),
        charter: vector(),
        policy_hash: Some(hash("policy")),
        detail: Some(digest(label::DETAIL, &[salt().expose(), b"malformed"])),
    }
}

pub(crate) fn headers() -> Vec<(&'static str, Header)> {
    let mut domestic = query();
    domestic.to = NEIGHBOUR.parse().unwrap();
    vec![
        ("domestic-query", Header::Pair(domestic)),
        ("event-full", Header::Event(event())),
        ("event-smallest", Header::Event(Event::new(EventKind::Start, NOW, vector()))),
    ]
}

fn proven(entry: &Entry, escrow: bool) -> proto::Proven {
    proto::Proven {
        entry: entry.encode(),
        receipt: b"c2sp.org/tlog-proof@v1\nindex 0\n\nthe checkpoint stands here\n".to_vec(),
        header: Vec::new(),
        header_salt: Vec::new(),
        escrow: escrow.then(|| proto::Escrow {
            seeds: hash("seeds").0.to_vec(),
            share_hash_1: hash("share 1").0.to_vec(),
            share_hash_2: hash("share 2").0.to_vec(),
            blob: vec![3; 272],
        }),
    }
}

fn veiled_proven() -> proto::Proven {
    let header = headers().swap_remove(0).1.encode();
    let veiled =
        Veiled { stage: Stage::Dissemination, minute: NOW.minute(), commitment: Header::commit(&header, &salt()) };
    let proven = proven(&Entry::Veiled(veiled), true);
    proto::Proven { header, header_salt: salt().expose().to_vec(), ..proven }
}

pub(crate) fn frames() -> Vec<(&'static str, Body)> {
    let entry = |name: &str| entries().into_iter().find(|(n, _)| *n == name).unwrap().1;
    let annexes = vector().annexes.into_iter();
    let annexes = annexes.map(|(j, number)| proto::AnnexNumber { jurisdiction: j.to_string(), number });
    let ready = proto::Ready {
        version: 1,
        node: ASKER.to_owned(),
        charter: Some(proto::CharterVector { common: 3, annexes: annexes.collect() }),
        charter_hash: hash("charter").0.to_vec(),
        catalogue: hash("catalogue").0.to_vec(),
        own_head: b"a checkpoint\n".to_vec(),
        your_head: b"another checkpoint\n".to_vec(),
        clock_millis: NOW.0,
        parts: Vec::new(),
        minor: 0,
    };
    let sealed = proto::Sealed {
        tree_commitment: hash("tree").0.to_vec(),
        body: vec![4; 600],
        key_hash: hash("key").0.to_vec(),
    };
    let plain = proto::Plain { payload: explanation().encode(), salt: salt().expose().to_vec() };
    let ask = |query| proto::Ask { query: Some(query), payload: payload().encode(), salt: salt().expose().to_vec() };
    let reply = |name, content| proto::Reply { answer: Some(proven(&entry(name), true)), content: Some(content) };
    let deliver = |name, content| proto::Deliver { entry: Some(proven(&entry(name), false)), content };
    let delivered = |result| proto::Delivered { leaf_hash: hash("leaf").0.to_vec(), result, receipt: Vec::new() };
    let exchange_id = terms().exchange.0.to_vec();
    let fault =
        proto::Fault { code: 16, text: "wait".to_owned(), retry_after_millis: 200, exchange_id: exchange_id.clone() };
    vec![
        ("ready", Body::Ready(ready)),
        ("head", Body::Head(proto::Head { checkpoint: b"a checkpoint\n".to_vec(), base: 7, proof: vec![1; 96] })),
        ("ask", Body::Ask(ask(proven(&entry("query"), true)))),
        ("ask-domestic", Body::Ask(ask(veiled_proven()))),
        ("reply-sealed", Body::Reply(reply("answer-core-data", proto::reply::Content::Sealed(sealed.clone())))),
        ("reply-no-hit", Body::Reply(reply("answer-no-hit", proto::reply::Content::Plain(plain.clone())))),
        ("reply-refusal", Body::Reply(reply("refusal", proto::reply::Content::Plain(plain.clone())))),
        ("acknowledge", Body::Acknowledge(proto::Acknowledge { exchange_id, receipt: b"a receipt\n".to_vec() })),
        (
            "release",
            Body::Release(proto::Release { release: Some(proven(&entry("release"), false)), sealed_key: vec![6; 80] }),
        ),
        ("deliver-void", Body::Deliver(deliver("void", None))),
        ("deliver-period", Body::Deliver(deliver("period-with-holes", None))),
        ("deliver-answer", Body::Deliver(deliver("answer-core-data", Some(proto::deliver::Content::Sealed(sealed))))),
        ("deliver-refusal", Body::Deliver(deliver("refusal", Some(proto::deliver::Content::Plain(plain))))),
        ("deliver-release", Body::Deliver(deliver("release", Some(proto::deliver::Content::SealedKey(vec![6; 80]))))),
        ("delivered-recorded", Body::Delivered(proto::Delivered { receipt: b"a receipt\n".to_vec(), ..delivered(1) })),
        ("delivered-closed", Body::Delivered(delivered(2))),
        ("probe", Body::Probe(proto::Probe { log: 1, first: 1, last: 20 })),
        ("have", Body::Have(proto::Have { log: 1, first: 1, last: 20, missing: vec![3, 17, 300] })),
        ("need-head", Body::NeedHead(proto::NeedHead { from: 7, to: 12 })),
        ("head-proof", Body::HeadProof(proto::HeadProof { from: 7, to: 12, proof: vec![1; 64] })),
        ("lost-query", Body::Lost(proto::Lost { entry: Some(proven(&entry("query"), true)), head: Vec::new() })),
        ("lost-all", Body::Lost(proto::Lost { entry: None, head: b"a checkpoint\n".to_vec() })),
        ("submit", Body::Submit(proto::Submit { submission: b"old 3\n\na checkpoint\n".to_vec() })),
        ("judged", Body::Judged(proto::Judged { submission: vec![7; 32], status: 409, body: b"5\n".to_vec() })),
        ("seek", Body::Seek(proto::Seek { origin: "group/frontera/otay/ledger1".to_owned() })),
        (
            "sought",
            Body::Sought(proto::Sought { origin: "group/frontera/otay/ledger1".to_owned(), checkpoint: Vec::new() }),
        ),
        (
            "about-group",
            Body::AboutGroup(proto::AboutGroup { group: "frontera/otay".to_owned(), part: vec![9; 40], more: true }),
        ),
        ("fault", Body::Fault(fault)),
    ]
}

pub(crate) fn frame_bytes(body: Body) -> Vec<u8> {
    proto::Frame { body: Some(body) }.encode_to_vec()
}

/// Every valid example: its codec, its name, its bytes.
pub(crate) fn alerts() -> Vec<(&'static str, Alert)> {
    let text = |lang, headline: &str, action: &str| AlertText {
        lang,
        headline: headline.to_owned(),
        action: action.to_owned(),
    };
    let full = Alert {
        group: "frontera/tijuana-san-diego".to_owned(),
        category: AlertCategory::Security,
        severity: AlertSeverity::Severe,
        certainty: AlertCertainty::Observed,
        area: "Otay Mesa".to_owned(),
        observed_at: NOW,
        expires_at: NOW.plus(3_600_000),
        handling: Handling::H1,
        texts: vec![
            text(Lang::En, "armed men in a white pickup", "do not approach; call the author"),
            text(Lang::Es, "hombres armados en una pickup blanca", "no se acerque; llame a quien la emite"),
        ],
    };
    let smallest =
        Alert { handling: Handling::H0, texts: vec![text(Lang::Es, "pickup blanca robada", "")], ..full.clone() };
    vec![("full", full), ("smallest", smallest)]
}

/// An event of the log with what shows it.
fn event_proven(kind: EventKind) -> proto::Proven {
    let header = Header::Event(Event::new(kind, NOW, vector())).encode();
    let veiled =
        Veiled { stage: Stage::Dissemination, minute: NOW.minute(), commitment: Header::commit(&header, &salt()) };
    let proven = proven(&Entry::Veiled(veiled), true);
    proto::Proven { header, header_salt: salt().expose().to_vec(), ..proven }
}

fn said() -> Vec<(&'static str, proto::said::Body)> {
    use proto::said::Body;
    let detail_salt = salt().expose().to_vec();
    let alert = alerts().swap_remove(0).1.encode();
    let signed = proto::AlertSigned {
        signed: Some(event_proven(EventKind::AlertSign)),
        detail_salt: detail_salt.clone(),
        alert,
    };
    let acknowledged = proto::AlertAcknowledged { acknowledged: Some(event_proven(EventKind::AlertAck)) };
    let cancelled = proto::AlertCancelled {
        cancelled: Some(event_proven(EventKind::AlertCancel)),
        detail_salt: detail_salt.clone(),
        reason: "found".to_owned(),
    };
    let one = proto::AskOf { query: Some(proven(&Entry::Pair(query()), true)), salt: detail_salt };
    let ask = proto::GroupAsk { payload: payload().encode(), asks: vec![one.clone(), one] };
    vec![
        ("alert", Body::Alert(signed)),
        ("acknowledged", Body::Acknowledged(acknowledged)),
        ("cancelled", Body::Cancelled(cancelled)),
        ("ask", Body::Ask(ask)),
    ]
}

pub(crate) fn all() -> Vec<(Codec, String, Vec<u8>)> {
    let smallest = QueryPayload {
        case_ref: String::new(),
        params: Vec::new(),
        urgency: Urgency::Routine,
        justification: String::new(),
        facts_statement: String::new(),
        offence: String::new(),
        confirms: None,
        ..payload()
    };
    let mut out = Vec::new();
    out.extend(entries().into_iter().map(|(name, entry)| (Codec::Entry, name.to_owned(), entry.encode())));
    out.extend(headers().into_iter().map(|(name, header)| (Codec::Header, name.to_owned(), header.encode())));
    out.push((Codec::Payload, "full".to_owned(), payload().encode()));
    out.push((Codec::Payload, "smallest".to_owned(), smallest.encode()));
    out.push((Codec::Explanation, "full".to_owned(), explanation().encode()));
    out.push((Codec::Explanation, "empty".to_owned(), Explanation::default().encode()));
    out.extend(frames().into_iter().map(|(name, body)| (Codec::Frame, name.to_owned(), frame_bytes(body))));
    let said_bytes = |body| proto::Said { body: Some(body) }.encode_to_vec();
    out.extend(said().into_iter().map(|(name, body)| (Codec::Said, name.to_owned(), said_bytes(body))));
    out.extend(alerts().into_iter().map(|(name, alert)| (Codec::Alert, name.to_owned(), alert.encode())));
    out
}
