//! Headers of veiled entries, sealed to the own nation's auditors.

use puente_model::{Digest, Millis, Minute, Secret32};
use puente_wire::{Entry, Header, SeedUse, Seeds, WireError, label, proto};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::guard::leaf_hash;
use crate::keys::{derive, fresh, open_once, seal_once};
use crate::seed::{AuditorKey, SeedError, alive, announce, seal_seed};

/// Own auditors that a header seed may be sealed to.
const AUDITORS_MAX: usize = 64;

/// Why a header was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VeilError {
    /// The seed's hour is over.
    #[error("the header seed is not valid now: it lives one hour; make and record a new one")]
    Expired,
    /// A header over GCM's or the entry's limit.
    #[error("the header is too large to be sealed")]
    TooLarge,
    /// The entry or header bytes are not what they should be.
    #[error("the veiled entry or its header: {0}")]
    Wire(#[from] WireError),
    /// Not a veiled entry.
    #[error("the entry is not veiled: it has no sealed header")]
    NotVeiled,
    /// Another seed or entry, or changed bytes.
    #[error("the sealed header does not open: another seed or entry, or its bytes were changed")]
    DoesNotOpen,
    /// It opens to a header that the entry does not commit to.
    #[error("the sealed header is not the one that the entry commits to: the node that wrote it is at fault")]
    Commitment,
}

/// One seed, sealed to every own auditor; in memory only, for one hour.
#[derive(Debug, Clone)]
pub struct HeaderSeed {
    seed: Secret32,
    minute: Minute,
    leaf: Digest,
}

impl HeaderSeed {
    /// A fresh seed, and the entry that must be recorded before it is used.
    ///
    /// # Errors
    /// [`SeedError::Auditors`]; [`SeedError::Hpke`] of a low-order auditor key.
    pub fn generate(
        auditors: &[AuditorKey],
        minute: Minute,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(Self, Seeds), SeedError> {
        if !(1..=AUDITORS_MAX).contains(&auditors.len()) {
            return Err(SeedError::Auditors(auditors.len()));
        }
        let seed = fresh(rng);
        let sealed = auditors.iter().map(|to| seal_seed(&seed, to, rng)).collect::<Result<_, _>>()?;
        let (entry, leaf) = announce(SeedUse::Headers, minute, sealed);
        Ok((Self { seed, minute, leaf }, entry))
    }

    /// Leaf hash of the Seeds entry.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// When the seed was made.
    pub fn minute(&self) -> Minute {
        self.minute
    }

    /// Whether the seed may still be used.
    pub fn alive(&self, now: Millis) -> bool {
        alive(self.minute, now)
    }

    /// Seals the header of the veiled entry with leaf hash `entry`.
    ///
    /// # Errors
    /// [`VeilError::Expired`] or [`VeilError::TooLarge`].
    pub fn seal(
        &self,
        entry: Digest,
        salt: &Secret32,
        header: &[u8],
        now: Millis,
    ) -> Result<proto::SealedHeader, VeilError> {
        if !self.alive(now) {
            return Err(VeilError::Expired);
        }
        let plaintext = Zeroizing::new([salt.expose().as_slice(), header].concat());
        let ciphertext = seal_once(&key(&self.seed, entry), label::HEADER_KEY, &plaintext);
        Ok(proto::SealedHeader { seeds: self.leaf.0.to_vec(), ciphertext: ciphertext.ok_or(VeilError::TooLarge)? })
    }
}

/// A header that its entry commits to.
#[derive(Debug, Clone)]
pub struct OpenedHeader {
    /// The commitment's salt.
    pub salt: Secret32,
    /// The header.
    pub header: Header,
}

/// An own auditor opens the header of a veiled entry (its canonical bytes), and checks its commitment.
///
/// # Errors
/// [`VeilError::Commitment`] convicts the node that wrote the entry.
pub fn open_header(seed: &Secret32, entry: &[u8], sealed: &proto::SealedHeader) -> Result<OpenedHeader, VeilError> {
    let Entry::Veiled(veiled) = Entry::decode(entry)? else { return Err(VeilError::NotVeiled) };
    let key = key(seed, leaf_hash(entry));
    let plaintext = open_once(&key, label::HEADER_KEY, &sealed.ciphertext).ok_or(VeilError::DoesNotOpen)?;
    let (salt, header) = plaintext.split_first_chunk::<32>().ok_or(VeilError::Commitment)?;
    let salt = Secret32::new(*salt);
    if Header::commit(header, &salt) != veiled.commitment {
        return Err(VeilError::Commitment);
    }
    Ok(OpenedHeader { salt, header: Header::decode(header)? })
}

/// HKDF-SHA256 of the seed, `info = HEADER_KEY ‖ leaf hash`: one key an entry.
fn key(seed: &Secret32, entry: Digest) -> Secret32 {
    derive(seed, label::HEADER_KEY, &[entry.as_bytes()])
}

#[cfg(test)]
mod tests;
