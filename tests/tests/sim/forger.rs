//! A peer that holds a member's keys and says whatever it likes.

use puente_audit_log::{Ed25519Signer, KeyKind, Log, MemoryFiles, leaf_hash};
use puente_charter::{Charter, PartId};
use puente_evidence::{AnswerTree, AuditorKey, EscrowSeeds, EscrowedEntry, ReplyKey, SealedAnswer, sealing};
use puente_exchange::api::{ConnectionId, Draft, Input, StreamId, Ticket};
use puente_exchange::{MINOR, Tuning};
use puente_model::{
    CountBand, Digest, ExchangeId, FieldClass, Handling, Minute, Mode, Outcome, Purpose, Role, Secret32, Seq, Step,
    TreeSize, Urgency, digest,
};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;
use puente_wire::{
    Entry, Pair, PairBody, PairKind, QueryPayload, Terms, decode_frame, encode_frame, join_hashes, label, proto,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::world::{self, DPS, FGE, START, World, uri, vin};
use super::{Sim, hit_question};

/// A log with its files, written by whoever holds a key.
pub struct Book {
    pub log: Log,
    pub files: MemoryFiles,
    signer: Ed25519Signer,
}

impl Book {
    pub fn new(origin: &str, signer: Ed25519Signer) -> Self {
        Self { log: Log::empty(origin).unwrap(), files: MemoryFiles::new(), signer }
    }

    /// Records entries; the receipts of each.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let sealed = self.log.stage(entries).unwrap().sign(&self.signer).unwrap();
        let persisted = sealed.persist(&mut Nothing).unwrap();
        self.files.put(self.log.commit(persisted).unwrap().files);
        self.log.last_receipts().unwrap().iter().map(|r| r.encode()).collect()
    }

    pub fn note(&self) -> Vec<u8> {
        self.log.head().map(|h| h.note_bytes().to_vec()).unwrap_or_default()
    }
}

struct Nothing;

impl puente_audit_log::Journal for Nothing {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: puente_audit_log::Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// An honest node of FGE against a forger in the place of DPS.
pub struct Duel {
    pub sim: Sim,
    pub book: Book,
    pub connection: ConnectionId,
    pub rng: ChaCha20Rng,
    pub seq: u64,
    /// Commits to questions as if they were of this mode.
    pub commits_as: Option<Mode>,
    shown: u64,
    seeds: EscrowSeeds,
    streams: u64,
    read: usize,
}

/// A question ready to be sent, and what it was made of.
#[derive(Clone)]
pub struct Question {
    pub ask: proto::Ask,
    pub pair: Pair,
    pub leaf: Digest,
    pub exchange: ExchangeId,
}

/// An answer of the forger's, and what it was made of.
pub struct Answer {
    pub reply: proto::Reply,
    pub pair: Pair,
    pub leaf: Digest,
    pub key: Secret32,
}

impl Duel {
    pub fn new() -> Self {
        Self::with(World::ordinary(), Tuning::default())
    }

    pub fn with(world: std::sync::Arc<World>, tuning: Tuning) -> Self {
        let mut duel = Self::strangers(world, tuning);
        duel.greet(|_| ());
        duel
    }

    /// Connected, and no Ready sent yet.
    pub fn strangers(world: std::sync::Arc<World>, tuning: Tuning) -> Self {
        let mut sim = Sim::of(world, 5, 2);
        sim.alarms_fail = false;
        sim.crash(DPS, false);
        sim.crash(FGE, false);
        sim.tuning = tuning;
        sim.start(FGE);
        sim.run(10_000);
        sim.sent = Some(Vec::new());
        let mut rng = ChaCha20Rng::seed_from_u64(99);
        let now = sim.clock(FGE);
        let auditor = |nation: &str| {
            let name = format!("{nation}-auditor-a");
            AuditorKey {
                jurisdiction: nation.parse().unwrap(),
                key: *world::auditor_key(&name, "2026Q4").public(),
                auditor: name,
                quarter: "2026Q4".to_owned(),
            }
        };
        let (seeds, announced) =
            EscrowSeeds::generate(&[auditor("mx"), auditor("us")], now.minute(), &mut rng).unwrap();
        let mut book = Book::new(uri(DPS).origin(1).unwrap().as_str(), world::log_signer(DPS));
        book.append(&[Entry::Seeds(announced).encode()]);
        let mut duel = Self {
            sim,
            book,
            connection: ConnectionId(0),
            rng,
            seq: 1,
            commits_as: None,
            shown: 0,
            seeds,
            streams: 1,
            read: 0,
        };
        duel.dial();
        duel
    }

    /// A new connection.
    pub fn dial(&mut self) {
        self.sim.connect(FGE, DPS);
        self.connection = self.sim.nodes[FGE].last_connection();
        self.shown = 0;
        self.streams = 1;
    }

    pub fn greet(&mut self, tweak: impl FnOnce(&mut proto::Ready)) {
        let charter = &self.sim.world.charter;
        let mut ready = proto::Ready {
            version: 1,
            node: uri(DPS).to_string(),
            charter: Some((&charter.vector()).into()),
            charter_hash: charter.hash().0.to_vec(),
            catalogue: charter.catalogue().0.to_vec(),
            own_head: self.book.note(),
            your_head: Vec::new(),
            clock_millis: START.0,
            parts: part_names(charter),
            minor: MINOR,
        };
        tweak(&mut ready);
        self.shown = 0;
        self.send(StreamId::CONTROL, Body::Ready(ready));
        self.show_head();
    }

    /// Sends the newest head with its proof.
    pub fn show_head(&mut self) {
        let (base, size) = (self.shown, self.book.log.size().0);
        let proof = self.book.log.prove_consistency(TreeSize(base), TreeSize(size), &self.book.files).unwrap();
        let head = proto::Head { checkpoint: self.book.note(), base, proof: join_hashes(&proof) };
        self.shown = size;
        self.send(StreamId::CONTROL, Body::Head(head));
    }

    pub fn send(&mut self, stream: StreamId, body: Body) {
        let bytes = encode_frame(&proto::Frame { body: Some(body) }).unwrap();
        self.send_raw(stream, bytes[4..].to_vec());
    }

    pub fn send_raw(&mut self, stream: StreamId, bytes: Vec<u8>) {
        self.sim.input(FGE, Input::Frame { connection: self.connection, stream, bytes });
        self.sim.run(50);
    }

    /// A stream that the forger opens.
    pub fn stream(&mut self) -> StreamId {
        self.streams += 2;
        StreamId(self.streams)
    }

    /// What the honest node sent since the last look, with the streams left out.
    pub fn heard(&mut self) -> Vec<Body> {
        self.sim.run(20);
        let sent = self.sim.sent.as_ref().unwrap();
        let new = sent[self.read..].iter().map(|s| decode_frame(&s.bytes).unwrap()).collect();
        self.read = sent.len();
        new
    }

    pub fn fault(&mut self) -> Option<FaultCode> {
        self.heard().into_iter().find_map(|body| match body {
            Body::Fault(fault) => FaultCode::from_code(fault.code),
            _ => None,
        })
    }

    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    pub fn pair(&mut self, body: PairBody) -> Pair {
        let seq = Seq(self.seq);
        self.seq += 1;
        Pair {
            from: uri(DPS),
            to: uri(FGE),
            log: 1,
            seq,
            minute: self.sim.clock(FGE).minute(),
            charter: self.sim.world.charter.vector(),
            policy_hash: self.sim.world.policies[DPS].hash(),
            body,
        }
    }

    /// Records an entry of the forger's: as it travels, with its receipt.
    pub fn record(&mut self, pair: &Pair) -> proto::Proven {
        let entry = Entry::Pair(pair.clone()).encode();
        let receipt = self.book.append(std::slice::from_ref(&entry)).remove(0);
        self.show_head();
        proto::Proven { entry, receipt, header: Vec::new(), header_salt: Vec::new(), escrow: None }
    }

    fn escrow(&mut self, exchange: ExchangeId, kind: PairKind, commitment: Digest) -> (proto::Escrow, Digest) {
        let origin = uri(DPS).origin(1).unwrap();
        let entry = EscrowedEntry { origin: &origin, exchange, kind, commitment };
        let now = self.sim.clock(FGE);
        self.seeds.escrow(&entry, b"opening", now).unwrap()
    }

    /// A question by VIN that is right in every way but for the tweaks.
    pub fn question(&mut self, serial: u32, tweak: impl FnOnce(&mut QueryPayload, &mut Pair)) -> Question {
        let now = self.sim.clock(FGE);
        let key = ReplyKey::generate(&mut self.rng).unwrap();
        let exchange = ExchangeId::new(1, Seq(self.seq), self.random());
        let mut payload = QueryPayload {
            asked_at: now,
            due_at: now.plus(60_000),
            case_ref: "T-9".to_owned(),
            officer: world::officer(Role::Investigator),
            params: vec![("vin".to_owned(), vin(serial))],
            urgency: Urgency::Routine,
            justification: String::new(),
            facts_statement: String::new(),
            offence: String::new(),
            reply_key: *key.public(),
            confirms: None,
        };
        let terms = Terms {
            exchange,
            kind: "vehicle.status".parse().unwrap(),
            step: Step::HitNoHit,
            purpose: Purpose::VehicleRecovery,
            basis: "mx-us-stolen-vehicles-1981".parse().unwrap(),
            handling: Handling::H3,
            group: String::new(),
            epoch: 0,
            mode: Mode::Open,
        };
        let due = Minute(payload.due_at.0.div_ceil(60_000));
        let nothing = Digest([0; 32]);
        let mut pair = self.pair(PairBody::Query { terms, due, commitment: nothing, escrow: nothing });
        tweak(&mut payload, &mut pair);
        if let PairBody::Query { due: minute, .. } = &mut pair.body
            && *minute == due
        {
            *minute = Minute(payload.due_at.0.div_ceil(60_000));
        }
        let bytes = payload.encode();
        let salt = Secret32::new(self.random());
        let mode = self.commits_as.unwrap_or(pair.terms().unwrap().mode);
        let made = QueryPayload::commit(mode, &bytes, &salt);
        let exchange = pair.exchange().unwrap();
        let (escrow, hash) = self.escrow(exchange, PairKind::Query, made);
        if let PairBody::Query { commitment, escrow, .. } = &mut pair.body {
            (*commitment, *escrow) = (made, hash);
        }
        let mut query = self.record(&pair);
        query.escrow = Some(escrow);
        let leaf = leaf_hash(&query.entry);
        let ask = proto::Ask { query: Some(query), payload: bytes, salt: salt.expose().to_vec() };
        Question { ask, pair, leaf, exchange }
    }

    pub fn ask(&mut self, question: &Question) -> StreamId {
        let stream = self.stream();
        self.send(stream, Body::Ask(question.ask.clone()));
        stream
    }

    /// The reply that the honest node gave, recorded in the forger's log too, with its receipt there.
    pub fn reply(&mut self) -> Option<(proto::Reply, Pair, Vec<u8>)> {
        let reply = self.heard().into_iter().find_map(|body| match body {
            Body::Reply(reply) => Some(reply),
            _ => None,
        })?;
        let entry = reply.answer.as_ref().unwrap().entry.clone();
        let Entry::Pair(pair) = Entry::decode(&entry).unwrap() else { panic!() };
        let receipt = self.book.append(&[entry]).remove(0);
        self.show_head();
        Some((reply, pair, receipt))
    }

    /// The honest node still answers an honest question.
    pub fn still_answers(&mut self) {
        self.heard();
        let question = self.question(1, |_, _| ());
        let stream = self.ask(&question);
        let (_, pair, receipt) = self.reply().expect("an honest question is answered");
        assert!(matches!(pair.body, PairBody::Answer { outcome: Outcome::HitUnconfirmed, .. }), "{pair:?}");
        self.send(stream, Body::Acknowledge(proto::Acknowledge { exchange_id: question.exchange.0.to_vec(), receipt }));
        assert_eq!(self.fault(), None);
    }

    /// An officer of the honest node asks the forger: the ticket, the Ask and its stream at the forger.
    pub fn asked(&mut self, draft: impl FnOnce(&Sim) -> Draft) -> (Ticket, proto::Ask, Pair) {
        self.heard();
        let draft = draft(&self.sim);
        let ticket = self.sim.ask(FGE, draft);
        let ask = self.heard().into_iter().find_map(|body| match body {
            Body::Ask(ask) => Some(ask),
            _ => None,
        });
        let ask = ask.expect("an Ask");
        let Entry::Pair(pair) = Entry::decode(&ask.query.as_ref().unwrap().entry).unwrap() else { panic!() };
        (ticket, ask, pair)
    }

    pub fn asked_hit(&mut self) -> (Ticket, proto::Ask, Pair) {
        self.asked(|sim| hit_question(sim, FGE, DPS, &vin(1)))
    }

    /// A disclosing answer, right in every way but for the tweaks.
    pub fn answer(&mut self, query: &Pair, ask: &proto::Ask, tweak: impl FnOnce(&mut Pair)) -> Answer {
        self.answer_sealed_as(query.terms().unwrap().mode, query, ask, tweak)
    }

    /// The same, its content sealed as that of an answer of this mode.
    pub fn answer_sealed_as(
        &mut self,
        mode: Mode,
        query: &Pair,
        ask: &proto::Ask,
        tweak: impl FnOnce(&mut Pair),
    ) -> Answer {
        let begin = if mode == Mode::Training { "training/" } else { "" };
        let fields = vec![(format!("{begin}000/vehicle/vin"), vin(1).into_bytes())];
        let tree = AnswerTree::build(fields, &mut self.rng).unwrap();
        let now = self.sim.clock(FGE);
        let SealedAnswer { commitment, key, sealed, .. } =
            sealing::seal_body(mode, &tree, now, Vec::new(), &mut self.rng).unwrap();
        let mut terms = query.terms().unwrap().clone();
        terms.handling = Handling::H1;
        let (escrow, hash) = self.escrow(terms.exchange, PairKind::Answer, commitment);
        let quoted = leaf_hash(&ask.query.as_ref().unwrap().entry);
        let mut pair = self.pair(PairBody::Answer {
            terms,
            outcome: Outcome::CoreData,
            field_class: FieldClass::Identifying,
            count: CountBand::UnderFive,
            commitment,
            escrow: hash,
            quoted,
        });
        tweak(&mut pair);
        let mut proven = self.record(&pair);
        proven.escrow = Some(escrow);
        let leaf = leaf_hash(&proven.entry);
        let reply = proto::Reply { answer: Some(proven), content: Some(proto::reply::Content::Sealed(sealed)) };
        Answer { reply, pair, leaf, key }
    }

    /// The Acknowledge that the honest asker sent.
    pub fn acknowledged(&mut self) -> Option<proto::Acknowledge> {
        self.heard().into_iter().find_map(|body| match body {
            Body::Acknowledge(ack) => Some(ack),
            _ => None,
        })
    }

    /// The RELEASE of a key, right in every way but for the tweaks.
    pub fn release(
        &mut self,
        ask: &proto::Ask,
        answer: &Answer,
        ack: &proto::Acknowledge,
        key: &Secret32,
        tweak: impl FnOnce(&mut Pair),
    ) -> proto::Release {
        let payload = QueryPayload::decode(&ask.payload).unwrap();
        let sealed_key = sealing::seal_content_key(
            answer.pair.terms().unwrap().mode,
            &payload.reply_key,
            None,
            answer.leaf,
            key,
            &mut self.rng,
        )
        .unwrap();
        let mut pair = self.pair(PairBody::Release {
            terms: answer.pair.terms().unwrap().clone(),
            quoted: answer.leaf,
            receipt: digest(label::RECEIPT, &[&ack.receipt]),
            sealed_key: sealing::sealed_key_hash(&sealed_key),
        });
        tweak(&mut pair);
        proto::Release { release: Some(self.record(&pair)), sealed_key }
    }
}

/// The newest parts of a charter, as Ready names them.
pub fn part_names(charter: &Charter) -> Vec<proto::PartName> {
    let name = |id: PartId| proto::PartName {
        hash: charter.part_hash(&id).unwrap().0.to_vec(),
        jurisdiction: id.nation.map(|nation| nation.to_string()).unwrap_or_default(),
        number: id.number,
    };
    charter.newest().into_iter().map(name).collect()
}

/// A key that is nobody's.
pub fn stranger(origin: &str) -> Ed25519Signer {
    Ed25519Signer::new(origin, KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap()
}
