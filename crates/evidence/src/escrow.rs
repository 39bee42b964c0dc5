//! Escrow: openings that need an auditor of each nation.
//!
//! A node seals one fresh seed to each of two auditors. Each entry's shares are
//! derived from the seeds and the entry's own name, its opening is encrypted
//! under the two shares together, and the entry's escrow hash fixes both
//! shares and the ciphertext. One auditor's seed alone opens nothing; a share
//! opens the named entry and no other.

use std::fmt;

use puente_model::{Digest, ExchangeId, Millis, Minute, Origin, Secret32, digest, limits};
use puente_wire::{PairKind, SeedUse, Seeds, label, proto};
use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::guard::leaf_hash;
use crate::keys::{TAG_BYTES, derive, fresh, open_once, seal_once};
use crate::seed::{AuditorKey, SeedError, alive, announce, seal_seed};

/// The smallest plaintext of a blob, in bytes.
const PADDED_MIN: usize = 256;

/// Why an escrow was not made, checked or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EscrowError {
    /// The seeds' hour is over.
    #[error("the escrow seeds are not valid now: they live one hour; make and record new ones")]
    Expired,
    /// An opening over the limit.
    #[error("the opening has {bytes} bytes; at most {} are allowed", limits::ESCROW_OPENING_BYTES_MAX)]
    TooLarge {
        /// Bytes of the opening.
        bytes: usize,
    },
    /// A field of `Escrow` of the wrong length.
    #[error("field '{0}' of the escrow has the wrong length")]
    Field(&'static str),
    /// The escrow is not the one that the entry commits to.
    #[error("seeds, share hashes and blob do not make up the entry's escrow hash")]
    Hash,
    /// A share that misses its hash.
    #[error("share {0} is not the one that the escrow commits to")]
    WrongShare(Share),
    /// The blob does not open under the committed shares.
    #[error("the escrow does not open under the committed shares: the entry's author is at fault")]
    DoesNotOpen,
}

/// One of the two shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// Of the first seed of the Seeds entry.
    First,
    /// Of the second.
    Second,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "1",
            Self::Second => "2",
        })
    }
}

/// The name of an escrowed entry: what its shares are derived for.
///
/// Names must be used once per pair of seeds. The commitment sees to it: it
/// covers fresh salts or keys, so that equal names mean equal openings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscrowedEntry<'a> {
    /// The log that the entry's author writes.
    pub origin: &'a Origin,
    /// The exchange.
    pub exchange: ExchangeId,
    /// QUERY, ANSWER or REFUSAL.
    pub kind: PairKind,
    /// The entry's commitment.
    pub commitment: Digest,
}

/// Two seeds, one an auditor each; in memory only, for one hour.
#[derive(Debug, Clone)]
pub struct EscrowSeeds {
    seeds: [Secret32; 2],
    minute: Minute,
    leaf: Digest,
}

impl EscrowSeeds {
    /// Two fresh seeds, and the entry that must be recorded before they are used.
    ///
    /// # Errors
    /// [`SeedError::SameAuditor`]; [`SeedError::Hpke`] of a low-order auditor key.
    pub fn generate(
        auditors: &[AuditorKey; 2],
        minute: Minute,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(Self, Seeds), SeedError> {
        let [first, second] = auditors;
        if (&first.jurisdiction, &first.auditor) == (&second.jurisdiction, &second.auditor) || first.key == second.key {
            return Err(SeedError::SameAuditor);
        }
        let seeds = [fresh(rng), fresh(rng)];
        let sealed = vec![seal_seed(&seeds[0], first, rng)?, seal_seed(&seeds[1], second, rng)?];
        let (entry, leaf) = announce(SeedUse::Escrow, minute, sealed);
        Ok((Self { seeds, minute, leaf }, entry))
    }

    /// Leaf hash of the Seeds entry.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// When the seeds were made.
    pub fn minute(&self) -> Minute {
        self.minute
    }

    /// Whether the seeds may still be used.
    pub fn alive(&self, now: Millis) -> bool {
        alive(self.minute, now)
    }

    /// Escrows the opening of one entry: what travels with it, and its escrow hash.
    ///
    /// # Errors
    /// [`EscrowError::Expired`] or [`EscrowError::TooLarge`].
    pub fn escrow(
        &self,
        entry: &EscrowedEntry<'_>,
        opening: &[u8],
        now: Millis,
    ) -> Result<(proto::Escrow, Digest), EscrowError> {
        if !self.alive(now) {
            return Err(EscrowError::Expired);
        }
        let [first, second] = self.seeds.each_ref().map(|seed| share_for(seed, entry));
        let too_large = EscrowError::TooLarge { bytes: opening.len() };
        let plaintext = pad(opening).ok_or(too_large)?;
        let blob = seal_once(&joined(&first, &second), label::ESCROW, &plaintext).ok_or(too_large)?;
        let hashes = [share_hash(&first), share_hash(&second)];
        let hash = escrow_hash(self.leaf, hashes, &blob);
        let escrow = proto::Escrow {
            seeds: self.leaf.0.to_vec(),
            share_hash_1: hashes[0].0.to_vec(),
            share_hash_2: hashes[1].0.to_vec(),
            blob,
        };
        Ok((escrow, hash))
    }
}

/// The share of one entry: HKDF-SHA256 of a seed,
/// `info = SHARE ‖ origin ‖ exchange id ‖ u32be kind ‖ commitment`, framed as labelled hashes are.
pub fn share_for(seed: &Secret32, entry: &EscrowedEntry<'_>) -> Secret32 {
    let kind = (entry.kind as u32).to_be_bytes();
    derive(
        seed,
        label::SHARE,
        &[entry.origin.as_str().as_bytes(), &entry.exchange.0, &kind, entry.commitment.as_bytes()],
    )
}

/// `digest(SHARE_HASH, share)`.
pub fn share_hash(share: &Secret32) -> Digest {
    digest(label::SHARE_HASH, &[share.expose()])
}

/// `digest(ESCROW, leaf hash of the Seeds entry, H(share 1), H(share 2), blob)`.
pub fn escrow_hash(seeds: Digest, share_hashes: [Digest; 2], blob: &[u8]) -> Digest {
    let [first, second] = share_hashes;
    digest(label::ESCROW, &[seeds.as_bytes(), first.as_bytes(), second.as_bytes(), blob])
}

/// An escrow that an entry commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedEscrow {
    /// Leaf hash of the Seeds entry in the author's log.
    pub seeds: Digest,
    /// Hashes of the two shares.
    pub share_hashes: [Digest; 2],
    /// The encrypted opening.
    pub blob: Vec<u8>,
}

/// Reads the parts of an escrow as they came: the leaf hash of its Seeds entry, the two share hashes, and the escrow
/// hash that they make up with the blob. What that hash is worth, the entry says.
///
/// # Errors
/// Lengths or size.
pub fn claimed_hash(
    seeds: &[u8],
    share_hashes: [&[u8]; 2],
    blob: &[u8],
) -> Result<(Digest, [Digest; 2], Digest), EscrowError> {
    let digest = |bytes: &[u8], name| Digest::try_from(bytes).map_err(|_| EscrowError::Field(name));
    let [first, second] = share_hashes;
    let seeds = digest(seeds, "seeds")?;
    let share_hashes = [digest(first, "share_hash_1")?, digest(second, "share_hash_2")?];
    let plain = blob.len().checked_sub(TAG_BYTES).ok_or(EscrowError::Field("blob"))?;
    if plain < PADDED_MIN || !plain.is_power_of_two() {
        return Err(EscrowError::Field("blob"));
    }
    if plain > padded(limits::ESCROW_OPENING_BYTES_MAX) {
        return Err(EscrowError::TooLarge { bytes: plain });
    }
    Ok((seeds, share_hashes, escrow_hash(seeds, share_hashes, blob)))
}

impl CheckedEscrow {
    /// Checks what came with an entry against its escrow hash.
    ///
    /// # Errors
    /// Lengths, size, or [`EscrowError::Hash`].
    pub fn check(escrow: &proto::Escrow, hash: Digest) -> Result<Self, EscrowError> {
        let shares = [escrow.share_hash_1.as_slice(), escrow.share_hash_2.as_slice()];
        let (seeds, share_hashes, found) = claimed_hash(&escrow.seeds, shares, &escrow.blob)?;
        if found != hash {
            return Err(EscrowError::Hash);
        }
        Ok(Self { seeds, share_hashes, blob: escrow.blob.clone() })
    }

    /// Whether these are the bytes of the Seeds entry that the escrow quotes.
    pub fn quotes(&self, seeds_entry: &[u8]) -> bool {
        leaf_hash(seeds_entry) == self.seeds
    }

    /// An auditor checks its own share of an entry.
    ///
    /// # Errors
    /// [`EscrowError::WrongShare`].
    pub fn check_share(&self, which: Share, share: &Secret32) -> Result<(), EscrowError> {
        let expected = &self.share_hashes[which as usize];
        if bool::from(share_hash(share).0.ct_eq(&expected.0)) { Ok(()) } else { Err(EscrowError::WrongShare(which)) }
    }

    /// Opens the blob with both auditors' shares.
    ///
    /// # Errors
    /// [`EscrowError::WrongShare`] blames who gave it; [`EscrowError::DoesNotOpen`] the entry's author.
    pub fn open(&self, first: &Secret32, second: &Secret32) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
        self.check_share(Share::First, first)?;
        self.check_share(Share::Second, second)?;
        let plaintext = open_once(&joined(first, second), label::ESCROW, &self.blob).ok_or(EscrowError::DoesNotOpen)?;
        unpad(&plaintext).ok_or(EscrowError::DoesNotOpen)
    }
}

fn joined(first: &Secret32, second: &Secret32) -> Secret32 {
    let mut key = Zeroizing::new(*first.expose());
    key.iter_mut().zip(second.expose()).for_each(|(a, b)| *a ^= b);
    Secret32::new(*key)
}

fn padded(opening: usize) -> usize {
    (opening + 4).next_power_of_two().max(PADDED_MIN)
}

/// `u32be length ‖ opening ‖ zeros` up to a power of two, at least 256 bytes: auditors of both
/// nations hold the blob, and its length would tell them about the question.
fn pad(opening: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if opening.len() > limits::ESCROW_OPENING_BYTES_MAX {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(padded(opening.len())));
    out.extend_from_slice(&u32::try_from(opening.len()).ok()?.to_be_bytes());
    out.extend_from_slice(opening);
    out.resize(padded(opening.len()), 0);
    Some(out)
}

fn unpad(plaintext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (length, rest) = plaintext.split_first_chunk::<4>()?;
    let (opening, zeros) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let canonical = padded(opening.len()) == plaintext.len() && zeros.iter().all(|b| *b == 0);
    canonical.then(|| Zeroizing::new(opening.to_vec()))
}

#[cfg(test)]
mod tests;
