//! Log entries and their one canonical encoding.

use prost::Message;
use puente_model::{Digest, Jurisdiction, Minute, Stage, limits};

use crate::codec::{bounded, code, digest};
use crate::scan::Repeated;
use crate::{Pair, WireError, proto};

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
}

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
        };
        proto::Entry { v: 1, body: Some(body) }.encode_to_vec()
    }

    /// Decodes canonical bytes; refuses any other encoding of the same entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limits::ENTRY_BYTES_MAX {
            return Err(WireError::TooLarge { what: "entry", bytes: bytes.len(), max: limits::ENTRY_BYTES_MAX });
        }
        bounded(bytes, REPEATED)?;
        let raw = proto::Entry::decode(bytes).map_err(|_| WireError::Undecodable("Entry"))?;
        if raw.v != 1 {
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
            None => return Err(WireError::Field("entry")),
        };
        if entry.encode() == bytes { Ok(entry) } else { Err(WireError::NotCanonical("entry")) }
    }
}

impl Seeds {
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
        let purpose = match raw.r#use {
            1 => SeedUse::Escrow,
            2 => SeedUse::Headers,
            _ => return Err(WireError::Field("use")),
        };
        let count_ok = match purpose {
            SeedUse::Escrow => raw.seeds.len() == 2,
            SeedUse::Headers => (1..=SEEDS_MAX).contains(&raw.seeds.len()),
        };
        if !count_ok {
            return Err(WireError::Field("seeds"));
        }
        let seeds = raw
            .seeds
            .into_iter()
            .map(|seed| {
                if seed.enc.len() != 32 || seed.ciphertext.len() != 48 {
                    return Err(WireError::Field("sealed seed"));
                }
                if seed.auditor.len() > 128 || seed.quarter.len() > 16 {
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
