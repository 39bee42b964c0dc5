//! What an exchange would cost: its entries, heads and frames are really made, in memory and with throw-away keys, and
//! counted. Nothing of it is recorded anywhere, and nobody is asked.

use std::sync::Arc;

use puente_audit_log::{Checkpoint, Ed25519Signer, KeyKind, Log, Receipt, TileReader};
use puente_catalogue::{Match, QueryKindSpec, RecordType};
use puente_charter::Charter;
use puente_evidence::{AnswerTree, EscrowedEntry, ReplyKey, sealing};
use puente_model::{
    CountBand, Digest, EventKind, ExchangeId, FieldClass, Jurisdiction, Millis, Minute, NodeUri, Outcome,
    RefusalReason, Secret32, Seq, TreeSize, digest,
};
use puente_policy::{Grant, Refusal};
use puente_wire::{
    Entry, Event, Explanation, Header, Pair, PairBody, PairKind, QueryPayload, Terms, Veiled, encode_frame, label,
    proto,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use crate::api::Draft;
use crate::finding::{Meant, disclosed, nothing, unconfirmed};
use crate::ledger::AlreadyDurable;
use crate::question::explain;
use crate::record::veiled;
use crate::seeds::Seeds;

/// What comes of a question that is refused.
const REFUSED: &str = "REFUSED";

/// The log of one of the two, as it stands before the exchange.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    /// Whose.
    pub node: &'a NodeUri,
    /// Which of its logs.
    pub log: u32,
    /// Its entries and their root; none: an empty log.
    pub head: Option<(TreeSize, Digest)>,
    /// Its files, as far as the head reaches.
    pub tiles: &'a dyn TileReader,
}

/// The exchange that is rehearsed.
pub struct Plan<'a> {
    /// Who asks.
    pub asker: Shelf<'a>,
    /// Who is asked.
    pub holder: Shelf<'a>,
    /// The charter in force.
    pub charter: &'a Charter,
    /// The policy set in force at either.
    pub policy_hash: Digest,
    /// The question, parameters in normal form.
    pub draft: &'a Draft,
    /// Its kind.
    pub kind: &'a QueryKindSpec,
    /// When.
    pub now: Millis,
    /// The group and epoch that it belongs to, if any.
    pub binding: Option<(String, u64)>,
}

/// What is answered.
pub enum Foreseen<'a> {
    /// Nothing is found.
    NoHit,
    /// The asker's own rules refuse it: nothing leaves.
    RefusedHere,
    /// The holder's rules refuse it.
    Refused(&'a Refusal),
    /// Something is found, and nothing of it disclosed.
    Hit(&'a Grant),
    /// One record is found, and what the grant lets is disclosed.
    CoreData {
        /// What may be shown.
        grant: &'a Grant,
        /// Type of the record.
        record_type: &'a RecordType,
        /// The record's bytes.
        record: &'a [u8],
    },
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// Who asks.
    Asker,
    /// Who is asked.
    Holder,
}

impl Party {
    /// The stable word, never translated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asker => "asker",
            Self::Holder => "holder",
        }
    }
}

/// Something that was made, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Who records or sends it.
    pub by: Party,
    /// What it is: a word of the protocol.
    pub what: &'static str,
    /// Its encoding's length: of an entry in the log, of a frame with its length prefix.
    pub bytes: usize,
}

/// What the exchange would cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// What comes of it: a word of the protocol, of an ANSWER's outcome or a REFUSAL.
    pub outcome: &'static str,
    /// Entries that the two logs take for it, in order.
    pub entries: Vec<Made>,
    /// Entries with the seeds of escrow and seals, which a log takes for all exchanges of an hour together.
    pub hourly: Vec<Made>,
    /// Frames that the line carries, heads included, in order.
    pub frames: Vec<Made>,
    /// Heads signed, one for each batch: by who asks and by who is asked.
    pub heads: (usize, usize),
    /// Ways there and back until the answer can be read.
    pub round_trips: usize,
}

impl Cost {
    /// Entries and their bytes in one of the logs.
    pub fn entries_of(&self, party: Party) -> (usize, usize) {
        let of = self.entries.iter().filter(|made| made.by == party);
        of.fold((0, 0), |(count, bytes), made| (count + 1, bytes + made.bytes))
    }

    /// Bytes that one of the two sends.
    pub fn sent_by(&self, party: Party) -> usize {
        self.frames.iter().filter(|made| made.by == party).map(|made| made.bytes).sum()
    }
}

/// A log that takes entries in memory.
struct Side<'a> {
    party: Party,
    shelf: Shelf<'a>,
    log: Log,
    signer: Ed25519Signer,
    seeds: Seeds,
    next_seq: u64,
    heads: usize,
    /// Up to here the other knows the log.
    shown: u64,
}

/// An entry on its way into a log, and how it travels.
struct Wrapped {
    what: &'static str,
    leaf: Digest,
    proven: proto::Proven,
}

/// What the holder's entry says.
enum Says {
    Refuses(RefusalReason),
    Answers(Outcome, FieldClass, usize),
}

/// Everything under way.
struct Stage<'a> {
    plan: &'a Plan<'a>,
    rng: ChaCha20Rng,
    cost: Cost,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn secret(rng: &mut ChaCha20Rng) -> Secret32 {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    Secret32::new(bytes)
}

impl<'a> Side<'a> {
    fn open(party: Party, shelf: Shelf<'a>, rng: &mut ChaCha20Rng) -> Result<Self, String> {
        let origin = shelf.node.origin(shelf.log).map_err(text)?;
        // A throw-away key under the log's name: its signatures are as long as the real one's, and worth nothing.
        let signer = Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, &secret(rng)).map_err(text)?;
        let log = match shelf.head {
            None => Log::empty(origin.as_str()).map_err(text)?,
            Some((size, root)) => {
                let head = Checkpoint::new(origin.as_str(), size, root).map_err(text)?;
                Log::imagined(&head, shelf.tiles).map_err(text)?
            }
        };
        let shown = log.size().0;
        Ok(Self { party, shelf, log, signer, seeds: Seeds::default(), next_seq: 1, heads: 0, shown })
    }

    fn pair(&mut self, plan: &Plan<'_>, to: &NodeUri, body: PairBody) -> Pair {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        Pair {
            from: self.shelf.node.clone(),
            to: to.clone(),
            log: self.shelf.log,
            seq,
            minute: plan.now.minute(),
            charter: plan.charter.vector(),
            policy_hash: plan.policy_hash,
            body,
        }
    }
}

impl Stage<'_> {
    /// Records one batch; the receipts of its entries come back.
    fn record(&mut self, side: &mut Side<'_>, batch: &[(&'static str, &[u8])]) -> Result<Vec<Receipt>, String> {
        let by = side.party;
        self.cost.entries.extend(batch.iter().map(|(what, entry)| Made { by, what, bytes: entry.len() }));
        let entries: Vec<&[u8]> = batch.iter().map(|(_, entry)| *entry).collect();
        let sealed = side.log.stage(&entries).map_err(text)?.sign(&side.signer).map_err(text)?;
        let persisted = sealed.persist(&mut AlreadyDurable).map_err(text)?;
        side.log.commit(persisted).map_err(text)?;
        side.heads += 1;
        side.log.last_receipts().map_err(text)
    }

    fn hourly(&mut self, side: &Side<'_>, entry: Option<Vec<u8>>) {
        let by = side.party;
        self.cost.hourly.extend(entry.map(|entry| Made { by, what: "SEEDS", bytes: entry.len() }));
    }

    /// A frame, behind the newest head of who sends it.
    fn send(&mut self, side: &mut Side<'_>, what: &'static str, body: proto::frame::Body) -> Result<(), String> {
        let size = side.log.size();
        if let (true, Some(head)) = (side.shown < size.0, side.log.head()) {
            let base = std::mem::replace(&mut side.shown, size.0);
            let proof = side.log.prove_consistency(TreeSize(base), size, side.shelf.tiles).map_err(text)?;
            let proof = puente_wire::join_hashes(&proof);
            let head = proto::Head { checkpoint: head.note_bytes().to_vec(), base, proof };
            self.frame(side.party, "Head", proto::frame::Body::Head(head))?;
        }
        self.frame(side.party, what, body)
    }

    fn frame(&mut self, by: Party, what: &'static str, body: proto::frame::Body) -> Result<(), String> {
        let bytes = encode_frame(&proto::Frame { body: Some(body) }).map_err(text)?.len();
        self.cost.frames.push(Made { by, what, bytes });
        Ok(())
    }

    /// The name of the first key that the question looks up.
    fn key(&self) -> Option<Arc<str>> {
        let params = self.plan.kind.params_from_pairs(&self.plan.draft.params).ok()?;
        Some(self.plan.kind.lookup_keys(&params).first()?.name.to_string().into())
    }

    fn nations(&self) -> (Jurisdiction, Jurisdiction) {
        (self.plan.asker.node.jurisdiction(), self.plan.holder.node.jurisdiction())
    }

    fn escrow(
        &mut self,
        side: &mut Side<'_>,
        (exchange, kind, commitment): (ExchangeId, PairKind, Digest),
        opening: &[u8],
    ) -> Result<(proto::Escrow, Digest), String> {
        let origin = side.shelf.node.origin(side.shelf.log).map_err(text)?;
        let entry = EscrowedEntry { origin: &origin, exchange, kind, commitment };
        let (charter, now) = (self.plan.charter, self.plan.now);
        let made = side.seeds.escrow(charter, self.nations(), &entry, opening, now, &mut self.rng).map_err(text)?;
        self.hourly(side, made.entry);
        Ok(made.value)
    }

    /// An entry of the exchange: in the clear between nations, veiled within one.
    fn wrap(&mut self, side: &mut Side<'_>, what: &'static str, pair: Pair) -> Result<Wrapped, String> {
        let mut proven = proto::Proven::default();
        if pair.is_domestic() {
            let salt = secret(&mut self.rng);
            (proven.entry, proven.header) = veiled(pair, &salt);
            proven.header_salt = salt.expose().to_vec();
            self.seal(side, &proven.entry, (&salt, &proven.header))?;
        } else {
            proven.entry = Entry::Pair(pair).encode();
        }
        Ok(Wrapped { what, leaf: puente_audit_log::leaf_hash(&proven.entry), proven })
    }

    /// Seals the header of a veiled entry to the own auditors, which takes seeds.
    fn seal(&mut self, side: &mut Side<'_>, entry: &[u8], (salt, header): (&Secret32, &[u8])) -> Result<(), String> {
        let (leaf, nation) = (puente_audit_log::leaf_hash(entry), side.shelf.node.jurisdiction());
        let (charter, now) = (self.plan.charter, self.plan.now);
        let made = side.seeds.seal_header(charter, &nation, (leaf, salt, header), now, &mut self.rng).map_err(text)?;
        self.hourly(side, made.entry);
        Ok(())
    }

    /// A local event's entry: its size does not depend on what it says.
    fn event(&mut self, side: &mut Side<'_>, kind: EventKind) -> Result<Vec<u8>, String> {
        let header = Header::Event(Event::new(kind, self.plan.now, self.plan.charter.vector())).encode();
        let salt = secret(&mut self.rng);
        let commitment = Header::commit(&header, &salt);
        let minute = self.plan.now.minute();
        let entry = Entry::Veiled(Veiled { stage: kind.stage(), minute, commitment }).encode();
        self.seal(side, &entry, (&salt, &header))?;
        Ok(entry)
    }

    /// The question: its entry, its committed part, and the salt of that.
    fn question(&mut self, asker: &mut Side<'_>) -> Result<(Wrapped, Terms, QueryPayload, Secret32), String> {
        let (plan, draft) = (self.plan, self.plan.draft);
        let mut half = [0; 8];
        self.rng.fill_bytes(&mut half);
        let exchange = ExchangeId::new(plan.asker.log, Seq(1), half);
        let reply_key = ReplyKey::generate(&mut self.rng).map_err(text)?;
        let payload = draft.payload(plan.now, draft.params.clone(), *reply_key.public());
        let bytes = payload.encode();
        let salt = secret(&mut self.rng);
        let commitment = QueryPayload::commit(draft.mode, &bytes, &salt);
        let opening = [salt.expose().as_slice(), &bytes].concat();
        let (escrow, hash) = self.escrow(asker, (exchange, PairKind::Query, commitment), &opening)?;
        let terms = draft.terms(exchange, plan.binding.clone());
        let due = Minute(draft.due_at.0.div_ceil(60_000));
        let body = PairBody::Query { terms: terms.clone(), due, commitment, escrow: hash };
        let pair = asker.pair(plan, plan.holder.node, body);
        let mut query = self.wrap(asker, "QUERY", pair)?;
        query.proven.escrow = Some(escrow);
        Ok((query, terms, payload, salt))
    }

    /// The answer's entry, what travels beside it, and the key to it if it discloses.
    fn answer(
        &mut self,
        holder: &mut Side<'_>,
        (terms, quoted): (&Terms, Digest),
        foreseen: &Foreseen<'_>,
    ) -> Result<(Wrapped, proto::reply::Content, Option<Secret32>), String> {
        let (plan, now) = (self.plan, self.plan.now);
        let plain = |stage: &mut Self, explanation: &Explanation| {
            let salt = secret(&mut stage.rng);
            let payload = explanation.encode();
            let commitment = Explanation::commit(terms.mode, &payload, &salt);
            let opening = [salt.expose().as_slice(), &payload].concat();
            let plain = proto::Plain { payload, salt: salt.expose().to_vec() };
            (commitment, opening, proto::reply::Content::Plain(plain), None)
        };
        let (says, handling, (commitment, opening, content, key)) = match foreseen {
            Foreseen::RefusedHere => return Err("what is refused is not asked".to_owned()),
            Foreseen::Refused(refusal) => {
                (Says::Refuses(refusal.reason), terms.handling, plain(self, &explain(now, refusal)))
            }
            Foreseen::NoHit => {
                let made = plain(self, &nothing(now, plan.kind));
                (Says::Answers(Outcome::NoHit, FieldClass::None, 0), terms.handling, made)
            }
            Foreseen::Hit(grant) => {
                let fields = self.key().filter(|_| grant.match_key).map(|key| key.to_string()).into_iter().collect();
                let made = plain(self, &Explanation { fields, ..unconfirmed(now, grant) });
                (Says::Answers(Outcome::HitUnconfirmed, FieldClass::None, 1), grant.handling, made)
            }
            Foreseen::CoreData { grant, record_type, record } => {
                let meant = [Meant { bytes: record, found: Match { key: self.key(), pending: None } }];
                let fields = disclosed(terms.mode, grant, record_type, &meant).ok_or("the sample cannot be read")?;
                let tree = AnswerTree::build(fields, &mut self.rng).map_err(text)?;
                let obligations = grant.obligations.iter().cloned().collect();
                let made = sealing::seal_body(terms.mode, &tree, now, obligations, &mut self.rng).map_err(text)?;
                let opening = made.key.expose().to_vec();
                let made = (made.commitment, opening, proto::reply::Content::Sealed(made.sealed), Some(made.key));
                (Says::Answers(Outcome::CoreData, grant.field_class, 1), grant.handling, made)
            }
        };
        let kind = if matches!(says, Says::Refuses(_)) { PairKind::Refusal } else { PairKind::Answer };
        let (escrow, hash) = self.escrow(holder, (terms.exchange, kind, commitment), &opening)?;
        let terms = Terms { handling, ..terms.clone() };
        let (what, body) = match says {
            Says::Refuses(reason) => ("REFUSAL", PairBody::Refusal { terms, reason, commitment, escrow: hash, quoted }),
            Says::Answers(outcome, field_class, count) => {
                self.cost.outcome = outcome.as_str();
                let count = CountBand::of(count);
                let body = PairBody::Answer { terms, outcome, field_class, count, commitment, escrow: hash, quoted };
                ("ANSWER", body)
            }
        };
        let pair = holder.pair(plan, plan.asker.node, body);
        let mut answer = self.wrap(holder, what, pair)?;
        answer.proven.escrow = Some(escrow);
        Ok((answer, content, key))
    }

    fn play(&mut self, foreseen: &Foreseen<'_>) -> Result<(), String> {
        use proto::frame::Body;
        let plan = self.plan;
        let mut asker = Side::open(Party::Asker, plan.asker, &mut self.rng)?;
        if matches!(foreseen, Foreseen::RefusedHere) {
            let event = self.event(&mut asker, EventKind::OutboundRefused)?;
            self.record(&mut asker, &[("OUTBOUND_REFUSED", &event)])?;
            self.cost.heads = (asker.heads, 0);
            return Ok(());
        }
        let mut holder = Side::open(Party::Holder, plan.holder, &mut self.rng)?;

        let (mut query, terms, payload, salt) = self.question(&mut asker)?;
        let receipts = self.record(&mut asker, &[(query.what, &query.proven.entry)])?;
        query.proven.receipt = last(&receipts)?;
        let ask =
            proto::Ask { query: Some(query.proven.clone()), payload: payload.encode(), salt: salt.expose().to_vec() };
        self.send(&mut asker, "Ask", Body::Ask(ask))?;

        let (mut answer, content, key) = self.answer(&mut holder, (&terms, query.leaf), foreseen)?;
        let released = match foreseen {
            Foreseen::NoHit | Foreseen::RefusedHere | Foreseen::Refused(_) => None,
            Foreseen::Hit(grant) | Foreseen::CoreData { grant, .. } => Some(grant.match_key),
        };
        // Under which keys something was found stands in the answer, or in the holder's log alone.
        let correlate = match released {
            Some(false) => Some(self.event(&mut holder, EventKind::Correlate)?),
            _ => None,
        };
        let mut batch: Vec<(&'static str, &[u8])> = correlate.iter().map(|e| ("CORRELATE", e.as_slice())).collect();
        batch.extend([(query.what, query.proven.entry.as_slice()), (answer.what, answer.proven.entry.as_slice())]);
        answer.proven.receipt = last(&self.record(&mut holder, &batch)?)?;
        let reply = proto::Reply { answer: Some(answer.proven.clone()), content: Some(content) };
        self.send(&mut holder, "Reply", Body::Reply(reply))?;

        let receipt = last(&self.record(&mut asker, &[(answer.what, &answer.proven.entry)])?)?;
        let receipt_hash = digest(label::RECEIPT, &[&receipt]);
        let acknowledge = proto::Acknowledge { exchange_id: terms.exchange.0.to_vec(), receipt };
        self.send(&mut asker, "Acknowledge", Body::Acknowledge(acknowledge))?;
        self.cost.round_trips = 1;

        if let (Some(key), Foreseen::CoreData { grant, .. }) = (key, foreseen) {
            // With a group's secret it is as long.
            let sealed_key =
                sealing::seal_content_key(terms.mode, &payload.reply_key, None, answer.leaf, &key, &mut self.rng);
            let sealed_key = sealed_key.map_err(text)?;
            let terms = Terms { handling: grant.handling, ..terms };
            let hash = sealing::sealed_key_hash(&sealed_key);
            let body = PairBody::Release { terms, quoted: answer.leaf, receipt: receipt_hash, sealed_key: hash };
            let pair = holder.pair(plan, plan.asker.node, body);
            let mut release = self.wrap(&mut holder, "RELEASE", pair)?;
            let receipts = self.record(&mut holder, &[(release.what, &release.proven.entry)])?;
            release.proven.receipt = last(&receipts)?;
            let frame = proto::Release { release: Some(release.proven.clone()), sealed_key };
            self.send(&mut holder, "Release", Body::Release(frame))?;
            let opened = self.event(&mut asker, EventKind::Opened)?;
            self.record(&mut asker, &[(release.what, &release.proven.entry), ("OPENED", &opened)])?;
            self.cost.round_trips = 2;
        }
        self.cost.heads = (asker.heads, holder.heads);
        Ok(())
    }
}

fn last(receipts: &[Receipt]) -> Result<Vec<u8>, String> {
    receipts.last().map(Receipt::encode).ok_or_else(|| "an entry without its receipt".to_owned())
}

/// Plays an exchange through in memory and counts what it takes. Sizes that depend on what is random vary by no byte;
/// numbers that grow with the logs take a byte or two more in old ones.
///
/// # Errors
/// What keeps the question from being asked at all: no auditors' keys, parameters over a limit, damaged files of a log.
pub fn rehearse(plan: &Plan<'_>, foreseen: &Foreseen<'_>, seed: [u8; 32]) -> Result<Cost, String> {
    let cost = Cost {
        outcome: REFUSED,
        entries: Vec::new(),
        hourly: Vec::new(),
        frames: Vec::new(),
        heads: (0, 0),
        round_trips: 0,
    };
    let mut stage = Stage { plan, rng: ChaCha20Rng::from_seed(seed), cost };
    stage.play(foreseen)?;
    Ok(stage.cost)
}
