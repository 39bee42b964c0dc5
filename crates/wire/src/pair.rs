//! Pair entries: recorded byte for byte alike in both logs.

use puente_model::{
    CharterVector, CountBand, Digest, ExchangeId, FieldClass, Handling, LegalBasisId, Minute, Mode, NodeUri, Outcome,
    Purpose, QueryKind, RefusalReason, Seq, Stage, Step, limits,
};

use crate::codec::{code, digest, exchange, vector};
pub use crate::generated::PairKind;
use crate::known::{self, Known};
use crate::strict::{Strict, whole};
use crate::{WireError, proto};

/// Name of an MLS group.
const GROUP_BYTES_MAX: usize = 128;
/// A peer's head in a period.
const PEER_HEAD_BYTES_MAX: usize = limits::NOTE_BYTES_MAX / 4;

/// A pair entry, by its author `from`, for `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Author.
    pub from: NodeUri,
    /// Receiver.
    pub to: NodeUri,
    /// Which of the author's logs numbers it: k of origin `…/log<k>`.
    pub log: u32,
    /// Position in the numbering of (author's origin, receiver).
    pub seq: Seq,
    /// When, to the minute.
    pub minute: Minute,
    /// The author's charter vector.
    pub charter: CharterVector,
    /// Hash of the author's policy set.
    pub policy_hash: Digest,
    /// What it says.
    pub body: PairBody,
}

/// What every entry of one exchange repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The exchange.
    pub exchange: ExchangeId,
    /// What is asked.
    pub kind: QueryKind,
    /// Which step.
    pub step: Step,
    /// Why.
    pub purpose: Purpose,
    /// On which legal basis.
    pub basis: LegalBasisId,
    /// The asker's ceiling (QUERY) or the holder's code (ANSWER, RELEASE).
    pub handling: Handling,
    /// MLS group; empty without one.
    pub group: String,
    /// Epoch of the group; 0 without one.
    pub epoch: u64,
    /// Privacy mode.
    pub mode: Mode,
}

/// The six kinds of pair entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairBody {
    /// A question.
    Query {
        /// Its terms.
        terms: Terms,
        /// The minute its deadline falls in, rounded up.
        due: Minute,
        /// `digest(QUERY, salt, payload)`.
        commitment: Digest,
        /// Hash over its escrow.
        escrow: Digest,
    },
    /// An answer.
    Answer {
        /// Its terms.
        terms: Terms,
        /// What it says.
        outcome: Outcome,
        /// Most sensitive class of field disclosed.
        field_class: FieldClass,
        /// How many records, coarsely.
        count: CountBand,
        /// `digest(ANSWER, …)` if it discloses, `digest(PLAIN, …)` if not.
        commitment: Digest,
        /// Hash over its escrow.
        escrow: Digest,
        /// Leaf hash of the QUERY.
        quoted: Digest,
    },
    /// A refusal.
    Refusal {
        /// Its terms.
        terms: Terms,
        /// Why, by class.
        reason: RefusalReason,
        /// `digest(PLAIN, salt, explanation)`.
        commitment: Digest,
        /// Hash over its escrow.
        escrow: Digest,
        /// Leaf hash of the QUERY.
        quoted: Digest,
    },
    /// The content key was given out.
    Release {
        /// Its terms.
        terms: Terms,
        /// Leaf hash of the ANSWER.
        quoted: Digest,
        /// Digest of the asker's receipt for the ANSWER.
        receipt: Digest,
        /// Digest of the sealed content key.
        sealed_key: Digest,
    },
    /// The author's own number `voided` will never be sent.
    Void {
        /// The exchange whose QUERY is voided.
        exchange: ExchangeId,
        /// Its number.
        voided: Seq,
        /// Its leaf hash.
        quoted: Digest,
    },
    /// Closes a range of the author's numbers.
    Period(Period),
}

/// Closes the numbers `first..=last` of a numbering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// First number.
    pub first: Seq,
    /// Last number.
    pub last: Seq,
    /// How many of them both sides recorded.
    pub count: u64,
    /// RFC 9162 root over them in order.
    pub root: Digest,
    /// The numbers that the peer never recorded, ascending.
    pub holes: Vec<Hole>,
    /// The newest head of the peer's log that the author accepted: the note, verbatim.
    pub peer_head: Vec<u8>,
}

/// A number that only its author recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The number.
    pub seq: Seq,
    /// Leaf hash of its entry.
    pub leaf: Digest,
    /// Why the peer does not have it.
    pub why: HoleWhy,
}

/// Why a number is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoleWhy {
    /// A VOID names it.
    Void,
    /// It never arrived.
    Undelivered,
}

impl HoleWhy {
    const fn code(self) -> u32 {
        match self {
            Self::Void => 1,
            Self::Undelivered => 2,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Void),
            2 => Some(Self::Undelivered),
            _ => None,
        }
    }
}

impl Pair {
    /// The kind of entry.
    pub const fn kind(&self) -> PairKind {
        match self.body {
            PairBody::Query { .. } => PairKind::Query,
            PairBody::Answer { .. } => PairKind::Answer,
            PairBody::Refusal { .. } => PairKind::Refusal,
            PairBody::Release { .. } => PairKind::Release,
            PairBody::Void { .. } => PairKind::Void,
            PairBody::Period(_) => PairKind::Period,
        }
    }

    /// The stage of the intelligence cycle.
    pub const fn stage(&self) -> Stage {
        match self.body {
            PairBody::Void { .. } | PairBody::Period(_) => Stage::Governance,
            _ => Stage::Dissemination,
        }
    }

    /// The exchange it belongs to; none for PERIOD.
    pub const fn exchange(&self) -> Option<ExchangeId> {
        match &self.body {
            PairBody::Period(_) => None,
            PairBody::Void { exchange, .. } => Some(*exchange),
            _ => match self.terms() {
                Some(terms) => Some(terms.exchange),
                None => None,
            },
        }
    }

    /// The terms of the exchange; none for VOID and PERIOD.
    pub const fn terms(&self) -> Option<&Terms> {
        match &self.body {
            PairBody::Query { terms, .. }
            | PairBody::Answer { terms, .. }
            | PairBody::Refusal { terms, .. }
            | PairBody::Release { terms, .. } => Some(terms),
            _ => None,
        }
    }

    /// Leaf hash of the entry it is about; none for QUERY and PERIOD.
    pub const fn quoted(&self) -> Option<Digest> {
        match &self.body {
            PairBody::Answer { quoted, .. }
            | PairBody::Refusal { quoted, .. }
            | PairBody::Release { quoted, .. }
            | PairBody::Void { quoted, .. } => Some(*quoted),
            _ => None,
        }
    }

    /// What the entry commits to without saying it; of QUERY, ANSWER and REFUSAL.
    pub const fn commitment(&self) -> Option<Digest> {
        match &self.body {
            PairBody::Query { commitment, .. }
            | PairBody::Answer { commitment, .. }
            | PairBody::Refusal { commitment, .. } => Some(*commitment),
            PairBody::Release { .. } | PairBody::Void { .. } | PairBody::Period(_) => None,
        }
    }

    /// Hash over the entry's escrow; only QUERY, ANSWER and REFUSAL have one.
    pub const fn escrow(&self) -> Option<Digest> {
        match &self.body {
            PairBody::Query { escrow, .. } | PairBody::Answer { escrow, .. } | PairBody::Refusal { escrow, .. } => {
                Some(*escrow)
            }
            _ => None,
        }
    }

    /// The exchange is between two nodes of one nation.
    pub fn is_domestic(&self) -> bool {
        // As text: every entry that is read is asked.
        nation(&self.from) == nation(&self.to)
    }

    pub(crate) fn to_proto(&self) -> proto::Pair {
        let mut out = proto::Pair {
            kind: self.kind() as u32,
            stage: self.stage().code(),
            from: self.from.to_string(),
            to: self.to.to_string(),
            log: self.log,
            seq: self.seq.0,
            minute: self.minute.0,
            charter: Some((&self.charter).into()),
            policy_hash: self.policy_hash.0.to_vec(),
            quoted: self.quoted().map(|d| d.0.to_vec()).unwrap_or_default(),
            escrow_hash: self.escrow().map(|d| d.0.to_vec()).unwrap_or_default(),
            exchange_id: self.exchange().map(|x| x.0.to_vec()).unwrap_or_default(),
            ..proto::Pair::default()
        };
        if let Some(terms) = self.terms() {
            out.query_kind = terms.kind.to_string();
            out.step = terms.step.code();
            out.purpose = terms.purpose.code();
            out.legal_basis = terms.basis.to_string();
            out.handling = terms.handling.code();
            out.group.clone_from(&terms.group);
            out.epoch = terms.epoch;
            out.mode = terms.mode.code();
        }
        match &self.body {
            PairBody::Query { due, commitment, .. } => {
                out.due_minute = due.0;
                out.commitment = commitment.0.to_vec();
            }
            PairBody::Answer { outcome, field_class, count, commitment, .. } => {
                out.outcome = outcome.code();
                out.field_class = field_class.code();
                out.count_band = count.code();
                out.commitment = commitment.0.to_vec();
            }
            PairBody::Refusal { reason, commitment, .. } => {
                out.reason = reason.code();
                out.commitment = commitment.0.to_vec();
            }
            PairBody::Release { receipt, sealed_key, .. } => {
                out.receipt_hash = receipt.0.to_vec();
                out.sealed_key_hash = sealed_key.0.to_vec();
            }
            PairBody::Void { voided, .. } => out.voided_seq = voided.0,
            PairBody::Period(period) => out.period = Some(period.to_proto()),
        }
        out
    }

    /// Reads each kind's own fields and no others.
    #[inline]
    pub(crate) fn read(message: &mut Strict<'_>, mut known: Option<&mut Known>) -> Option<Self> {
        let kind = message.code(1, |code| PairKind::try_from(i32::try_from(code).ok()?).ok())?;
        let stage = message.small(2)?;
        let exchange = match kind {
            PairKind::Period => None,
            _ => Some(message.exchange(3)?),
        };
        let from = known::node(message, 4, known.as_deref_mut())?;
        let to = known::node(message, 5, known.as_deref_mut())?;
        let log = message.small(6)?;
        if log == 0 || from == to {
            return None;
        }
        let (seq, minute) = (message.seq(7)?, Minute(message.number(8)?));
        let mut terms = match (kind, exchange) {
            (PairKind::Query | PairKind::Answer | PairKind::Refusal | PairKind::Release, Some(exchange)) => {
                Some(Terms::read(message, exchange, known.as_deref_mut())?)
            }
            _ => None,
        };
        let charter = known::vector(message, 14, known)?;
        let policy_hash = message.digest(15)?;
        if let Some(terms) = &mut terms {
            terms.read_mode(message)?;
        }
        let body = PairBody::read(message, kind, exchange, terms)?;
        let pair = Self { from, to, log, seq, minute, charter, policy_hash, body };
        (pair.stage().code() == stage).then_some(pair)
    }

    pub(crate) fn from_proto(raw: proto::Pair) -> Result<Self, WireError> {
        let kind = i32::try_from(raw.kind).ok().and_then(|k| PairKind::try_from(k).ok());
        let body = match kind {
            Some(PairKind::Query) => PairBody::Query {
                terms: terms(&raw)?,
                due: Minute(raw.due_minute),
                commitment: digest(&raw.commitment, "commitment")?,
                escrow: digest(&raw.escrow_hash, "escrow_hash")?,
            },
            Some(PairKind::Answer) => PairBody::Answer {
                terms: terms(&raw)?,
                outcome: code(Outcome::from_code(raw.outcome), "outcome")?,
                field_class: code(FieldClass::from_code(raw.field_class), "field_class")?,
                count: code(CountBand::from_code(raw.count_band), "count_band")?,
                commitment: digest(&raw.commitment, "commitment")?,
                escrow: digest(&raw.escrow_hash, "escrow_hash")?,
                quoted: digest(&raw.quoted, "quoted")?,
            },
            Some(PairKind::Refusal) => PairBody::Refusal {
                terms: terms(&raw)?,
                reason: code(RefusalReason::from_code(raw.reason), "reason")?,
                commitment: digest(&raw.commitment, "commitment")?,
                escrow: digest(&raw.escrow_hash, "escrow_hash")?,
                quoted: digest(&raw.quoted, "quoted")?,
            },
            Some(PairKind::Release) => PairBody::Release {
                terms: terms(&raw)?,
                quoted: digest(&raw.quoted, "quoted")?,
                receipt: digest(&raw.receipt_hash, "receipt_hash")?,
                sealed_key: digest(&raw.sealed_key_hash, "sealed_key_hash")?,
            },
            Some(PairKind::Void) => PairBody::Void {
                exchange: exchange(&raw.exchange_id)?,
                voided: number(raw.voided_seq, "voided_seq")?,
                quoted: digest(&raw.quoted, "quoted")?,
            },
            Some(PairKind::Period) => {
                PairBody::Period(Period::from_proto(raw.period.clone().ok_or(WireError::Field("period"))?)?)
            }
            _ => return Err(WireError::Field("kind")),
        };
        let pair = Self {
            from: raw.from.parse()?,
            to: raw.to.parse()?,
            log: raw.log,
            seq: number(raw.seq, "seq")?,
            minute: Minute(raw.minute),
            charter: vector(raw.charter)?,
            policy_hash: digest(&raw.policy_hash, "policy_hash")?,
            body,
        };
        if pair.log == 0 {
            return Err(WireError::Field("log"));
        }
        if pair.from == pair.to {
            return Err(WireError::Field("to"));
        }
        Ok(pair)
    }
}

/// The two letters of a node's nation.
fn nation(node: &NodeUri) -> Option<&str> {
    node.as_str().strip_prefix("puente://")?.get(..2)
}

impl Terms {
    /// The terms that stand before the charter; the rest is the default.
    fn read(message: &mut Strict<'_>, exchange: ExchangeId, mut known: Option<&mut Known>) -> Option<Self> {
        Some(Self {
            exchange,
            kind: known::kind(message, 9, known.as_deref_mut())?,
            step: message.code(10, Step::from_code)?,
            purpose: message.code(11, Purpose::from_code)?,
            basis: known::basis(message, 12, known)?,
            handling: message.code(13, Handling::from_code)?,
            group: String::new(),
            epoch: 0,
            mode: Mode::Open,
        })
    }

    /// The terms that stand after it.
    fn read_mode(&mut self, message: &mut Strict<'_>) -> Option<()> {
        let group = message.text(16)?;
        if group.len() > GROUP_BYTES_MAX {
            return None;
        }
        self.group.push_str(group);
        self.epoch = message.number(17)?;
        self.mode = message.code(18, Mode::from_code)?;
        Some(())
    }
}

impl PairBody {
    fn read(
        message: &mut Strict<'_>,
        kind: PairKind,
        exchange: Option<ExchangeId>,
        terms: Option<Terms>,
    ) -> Option<Self> {
        Some(match (kind, terms, exchange) {
            (PairKind::Query, Some(terms), _) => {
                let (commitment, escrow) = (message.digest(23)?, message.digest(24)?);
                Self::Query { terms, due: Minute(message.number(28)?), commitment, escrow }
            }
            (PairKind::Answer, Some(terms), _) => Self::Answer {
                terms,
                outcome: message.code(19, Outcome::from_code)?,
                field_class: message.code(21, FieldClass::from_code)?,
                count: message.code(22, CountBand::from_code)?,
                commitment: message.digest(23)?,
                escrow: message.digest(24)?,
                quoted: message.digest(25)?,
            },
            (PairKind::Refusal, Some(terms), _) => Self::Refusal {
                terms,
                reason: message.code(20, RefusalReason::from_code)?,
                commitment: message.digest(23)?,
                escrow: message.digest(24)?,
                quoted: message.digest(25)?,
            },
            (PairKind::Release, Some(terms), _) => Self::Release {
                terms,
                quoted: message.digest(25)?,
                receipt: message.digest(26)?,
                sealed_key: message.digest(27)?,
            },
            (PairKind::Void, _, Some(exchange)) => {
                let quoted = message.digest(25)?;
                Self::Void { exchange, voided: message.seq(30)?, quoted }
            }
            (PairKind::Period, ..) => Self::Period(message.message(29, Period::read)?),
            _ => return None,
        })
    }
}

fn number(raw: u64, field: &'static str) -> Result<Seq, WireError> {
    // The last number is kept out of reach, so that `next` cannot overflow.
    if raw == 0 || raw == u64::MAX { Err(WireError::Field(field)) } else { Ok(Seq(raw)) }
}

fn terms(raw: &proto::Pair) -> Result<Terms, WireError> {
    if raw.group.len() > GROUP_BYTES_MAX {
        return Err(WireError::Field("group"));
    }
    Ok(Terms {
        exchange: exchange(&raw.exchange_id)?,
        kind: raw.query_kind.parse()?,
        step: code(Step::from_code(raw.step), "step")?,
        purpose: code(Purpose::from_code(raw.purpose), "purpose")?,
        basis: raw.legal_basis.parse()?,
        handling: code(Handling::from_code(raw.handling), "handling")?,
        group: raw.group.clone(),
        epoch: raw.epoch,
        mode: code(Mode::from_code(raw.mode), "mode")?,
    })
}

impl Period {
    fn read(message: &mut Strict<'_>) -> Option<Self> {
        let (first, last) = (message.seq(1)?, message.seq(2)?);
        let (count, root) = (message.number(3)?, message.digest(4)?);
        let mut holes: Vec<Hole> = Vec::new();
        message.each(5, limits::HOLES_PER_PERIOD_MAX, |hole| {
            let hole = whole(hole, |hole| {
                let (seq, leaf) = (hole.seq(1)?, hole.digest(2)?);
                Some(Hole { seq, leaf, why: hole.code(3, HoleWhy::from_code)? })
            })?;
            let after = holes.last().map_or(first, |last| last.seq.next());
            holes.push(hole);
            (after..=last).contains(&hole.seq).then_some(())
        })?;
        let peer_head = message.bytes(6)?;
        let span = last.0.checked_sub(first.0)?.checked_add(1)?;
        let fits = count.checked_add(holes.len() as u64) == Some(span) && peer_head.len() <= PEER_HEAD_BYTES_MAX;
        fits.then(|| Self { first, last, count, root, holes, peer_head: peer_head.to_vec() })
    }

    fn to_proto(&self) -> proto::Period {
        proto::Period {
            first: self.first.0,
            last: self.last.0,
            count: self.count,
            root: self.root.0.to_vec(),
            holes: self
                .holes
                .iter()
                .map(|hole| proto::Hole { seq: hole.seq.0, leaf_hash: hole.leaf.0.to_vec(), why: hole.why.code() })
                .collect(),
            peer_head: self.peer_head.clone(),
        }
    }

    fn from_proto(raw: proto::Period) -> Result<Self, WireError> {
        let (first, last) = (number(raw.first, "first")?, number(raw.last, "last")?);
        if last < first {
            return Err(WireError::Field("last"));
        }
        if raw.holes.len() > limits::HOLES_PER_PERIOD_MAX {
            return Err(WireError::TooLarge {
                what: "period holes",
                bytes: raw.holes.len(),
                max: limits::HOLES_PER_PERIOD_MAX,
            });
        }
        let mut holes = Vec::with_capacity(raw.holes.len());
        let mut previous = None;
        for hole in &raw.holes {
            let seq = number(hole.seq, "hole")?;
            if seq < first || seq > last || previous.is_some_and(|p| p >= seq) {
                return Err(WireError::Field("hole"));
            }
            previous = Some(seq);
            let why = code(HoleWhy::from_code(hole.why), "hole")?;
            holes.push(Hole { seq, leaf: digest(&hole.leaf_hash, "hole")?, why });
        }
        let span = (last.0 - first.0).checked_add(1).ok_or(WireError::Field("last"))?;
        if raw.count.checked_add(holes.len() as u64) != Some(span) {
            return Err(WireError::Field("count"));
        }
        if raw.peer_head.len() > PEER_HEAD_BYTES_MAX {
            return Err(WireError::Field("peer_head"));
        }
        Ok(Self { first, last, count: raw.count, root: digest(&raw.root, "root")?, holes, peer_head: raw.peer_head })
    }
}
