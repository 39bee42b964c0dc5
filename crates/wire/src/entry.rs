//! Log entries and their one canonical encoding.

use prost::Message;
use puente_model::{Digest, Jurisdiction, Minute, Stage, limits};

use crate::codec::{bounded, code, digest};
use crate::known::Known;
use crate::scan::Repeated;
use crate::strict::{Strict, decode, whole};
use crate::{GroupEntry, Pair, WireError, proto};

/// What a log entry says.
// Entries are held one at a time, and most of them are the large variant.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An exchange between nodes of two nations.
    Pair(Pair),
    /// A local or domestic entry: a commitment to its header.
    Veiled(Veiled),
    /// Fresh seeds, sealed to auditors.
    Seeds(Seeds),
    /// What this node's membership in a group left behind, in the clear. Since entry version 2.
    Group(GroupEntry),
}

/// The newest version of entries.
pub const ENTRY_VERSION: u32 = 2;

/// What everybody sees of a local or domestic entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Veiled {
    /// Stage of the intelligence cycle.
    pub stage: Stage,
    /// When, to the minute.
    pub minute: Minute,
    /// `digest(VEIL, salt, header)`.
    pub commitment: Digest,
}

/// What seeds are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeedUse {
    /// Two seeds, one an auditor each: shares of escrow keys.
    Escrow,
    /// One seed, sealed to every own auditor: keys of veiled headers.
    Headers,
}

/// Fresh seeds, good for one hour from `minute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds {
    /// What they are for.
    pub purpose: SeedUse,
    /// When they were made.
    pub minute: Minute,
    /// The seeds; for escrow share 1 is of the first, share 2 of the second.
    pub seeds: Vec<SealedSeed>,
}

/// One seed, sealed to one auditor's key of a quarter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSeed {
    /// The auditor's nation.
    pub jurisdiction: Jurisdiction,
    /// The auditor's name in the charter.
    pub auditor: String,
    /// The quarter of the auditor's key, for example `2026Q4`.
    pub quarter: String,
    /// `digest(SEED, seed)`.
    pub commitment: Digest,
    /// HPKE encapsulated key, 32 bytes.
    pub enc: Vec<u8>,
    /// HPKE ciphertext of the 32-byte seed, 48 bytes.
    pub ciphertext: Vec<u8>,
}

/// Auditors that header seeds may be sealed to.
const SEEDS_MAX: usize = 64;
/// HPKE encapsulated key, and the sealed 32 bytes with their tag.
const ENC_BYTES: usize = 32;
const CIPHERTEXT_BYTES: usize = 48;
/// Names in a sealed seed.
const AUDITOR_BYTES_MAX: usize = 128;
const QUARTER_BYTES_MAX: usize = 16;

/// The repeated fields of entries.
pub(crate) const REPEATED: &[Repeated] = &[
    Repeated { path: &[2, 14, 2], packed: false, max: limits::NATIONS_MAX, name: "charter annexes" },
    Repeated { path: &[2, 29, 5], packed: false, max: limits::HOLES_PER_PERIOD_MAX, name: "period holes" },
    Repeated { path: &[4, 3], packed: false, max: SEEDS_MAX, name: "seeds" },
];

impl Entry {
    /// The canonical bytes, as they stand in the log.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Pair(pair) => proto::entry::Body::Pair(pair.to_proto()),
            Self::Veiled(veiled) => proto::entry::Body::Veiled(proto::Veiled {
                stage: veiled.stage.code(),
                minute: veiled.minute.0,
                commitment: veiled.commitment.0.to_vec(),
            }),
            Self::Seeds(seeds) => proto::entry::Body::Seeds(seeds.to_proto()),
            Self::Group(group) => proto::entry::Body::Group(group.to_proto()),
        };
        proto::Entry { v: self.version(), body: Some(body) }.encode_to_vec()
    }

    /// The version of entries that brought what this one says: it is written under no other.
    pub const fn version(&self) -> u32 {
        match self {
            Self::Pair(_) | Self::Veiled(_) | Self::Seeds(_) => 1,
            Self::Group(_) => 2,
        }
    }

    /// Decodes canonical bytes; refuses any other encoding of the same entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::bounded_in_size(bytes)?;
        decode(bytes, |message| Self::read(message, None), Self::decode_by_encoding)
    }

    pub(crate) fn bounded_in_size(bytes: &[u8]) -> Result<(), WireError> {
        if bytes.len() > limits::ENTRY_BYTES_MAX {
            return Err(WireError::TooLarge { what: "entry", bytes: bytes.len(), max: limits::ENTRY_BYTES_MAX });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn read(message: &mut Strict<'_>, known: Option<&mut Known>) -> Option<Self> {
        match message.small(1)? {
            1 => {}
            2 => return message.message(5, GroupEntry::read).map(Self::Group),
            _ => return None,
        }
        if let Some(pair) = message.optional_message(2, |pair| Pair::read(pair, known))? {
            return (!pair.is_domestic()).then_some(Self::Pair(pair));
        }
        if let Some(veiled) = message.optional_message(3, Veiled::read)? {
            return Some(Self::Veiled(veiled));
        }
        message.message(4, Seeds::read).map(Self::Seeds)
    }

    /// Decodes by what the schema allows, and compares with what the entry encodes to.
    pub(crate) fn decode_by_encoding(bytes: &[u8]) -> Result<Self, WireError> {
        bounded(bytes, REPEATED)?;
        let raw = proto::Entry::decode(bytes).map_err(|_| WireError::Undecodable("Entry"))?;
        if !(1..=ENTRY_VERSION).contains(&raw.v) {
            return Err(WireError::Version(raw.v));
        }
        let entry = match raw.body {
            Some(proto::entry::Body::Pair(pair)) => {
                let pair = Pair::from_proto(pair)?;
                if pair.is_domestic() {
                    // In the clear it would show the other nation's auditors what is not theirs.
                    return Err(WireError::Field("domestic pair entry in the clear"));
                }
                Self::Pair(pair)
            }
            Some(proto::entry::Body::Veiled(veiled)) => Self::Veiled(Veiled {
                stage: code(Stage::from_code(veiled.stage), "stage")?,
                minute: Minute(veiled.minute),
                commitment: digest(&veiled.commitment, "commitment")?,
            }),
            Some(proto::entry::Body::Seeds(seeds)) => Self::Seeds(Seeds::from_proto(seeds)?),
            Some(proto::entry::Body::Group(group)) => Self::Group(GroupEntry::from_proto(&group)?),
            None => return Err(WireError::Field("entry")),
        };
        if entry.encode() == bytes { Ok(entry) } else { Err(WireError::NotCanonical("entry")) }
    }
}

impl Veiled {
    fn read(message: &mut Strict<'_>) -> Option<Self> {
        Some(Self {
            stage: message.code(1, Stage::from_code)?,
            minute: Minute(message.number(2)?),
            commitment: message.digest(3)?,
        })
    }
}

impl SealedSeed {
    fn read(message: &mut Strict<'_>) -> Option<Self> {
        let seed = Self {
            jurisdiction: message.name(1)?,
            auditor: message.text(2)?.to_owned(),
            quarter: message.text(3)?.to_owned(),
            commitment: message.digest(4)?,
            enc: message.bytes(5)?.to_vec(),
            ciphertext: message.bytes(6)?.to_vec(),
        };
        seed.lengths_fit().then_some(seed)
    }

    fn lengths_fit(&self) -> bool {
        self.enc.len() == ENC_BYTES
            && self.ciphertext.len() == CIPHERTEXT_BYTES
            && self.auditor.len() <= AUDITOR_BYTES_MAX
            && self.quarter.len() <= QUARTER_BYTES_MAX
    }
}

impl SeedUse {
    /// How many seeds there may be for this use.
    const fn counts(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Escrow => 2..=2,
            Self::Headers => 1..=SEEDS_MAX,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Escrow),
            2 => Some(Self::Headers),
            _ => None,
        }
    }
}

impl Seeds {
    fn read(message: &mut Strict<'_>) -> Option<Self> {
        let purpose = message.code(1, SeedUse::from_code)?;
        let minute = Minute(message.number(2)?);
        let mut seeds = Vec::new();
        message.each(3, SEEDS_MAX, |seed| {
            seeds.push(whole(seed, SealedSeed::read)?);
            Some(())
        })?;
        purpose.counts().contains(&seeds.len()).then_some(Self { purpose, minute, seeds })
    }

    fn to_proto(&self) -> proto::Seeds {
        proto::Seeds {
            r#use: match self.purpose {
                SeedUse::Escrow => 1,
                SeedUse::Headers => 2,
            },
            minute: self.minute.0,
            seeds: self
                .seeds
                .iter()
                .map(|seed| proto::SealedSeed {
                    jurisdiction: seed.jurisdiction.to_string(),
                    auditor: seed.auditor.clone(),
                    quarter: seed.quarter.clone(),
                    commitment: seed.commitment.0.to_vec(),
                    enc: seed.enc.clone(),
                    ciphertext: seed.ciphertext.clone(),
                })
                .collect(),
        }
    }

    fn from_proto(raw: proto::Seeds) -> Result<Self, WireError> {
        let purpose = code(SeedUse::from_code(raw.r#use), "use")?;
        if !purpose.counts().contains(&raw.seeds.len()) {
            return Err(WireError::Field("seeds"));
        }
        let seeds = raw
            .seeds
            .into_iter()
            .map(|seed| {
                if seed.enc.len() != ENC_BYTES || seed.ciphertext.len() != CIPHERTEXT_BYTES {
                    return Err(WireError::Field("sealed seed"));
                }
                if seed.auditor.len() > AUDITOR_BYTES_MAX || seed.quarter.len() > QUARTER_BYTES_MAX {
                    return Err(WireError::Field("auditor"));
                }
                Ok(SealedSeed {
                    jurisdiction: seed.jurisdiction.parse()?,
                    auditor: seed.auditor,
                    quarter: seed.quarter,
                    commitment: digest(&seed.commitment, "seed commitment")?,
                    enc: seed.enc,
                    ciphertext: seed.ciphertext,
                })
            })
            .collect::<Result<_, WireError>>()?;
        Ok(Self { purpose, minute: Minute(raw.minute), seeds })
    }
}
