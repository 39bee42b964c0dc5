//! Chosen fields of one answer, proven against the ANSWER entry of a log.
//!
//! A court sees the entry, the log's receipt for it, and the fields that were
//! chosen, with their salts; of all others it sees hashes of salted leaves.

use std::fmt;

use puente_model::{Digest, Secret32, limits};
use puente_wire::{Entry, Header, Pair, PairBody, Terms, WireError, proto};

use crate::guard::{GuardError, Multiproof, leaf_hash};
use crate::sealing::answer_commitment;
use crate::tree::{AnswerTree, Leaf, TreeError, check_mode, tree_commitment};

/// Why fields cannot be disclosed, or a disclosure is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureError {
    /// Another version.
    #[error("disclosure version {0} is not known here; this program knows version 1")]
    Version(u32),
    /// A field is missing or of the wrong length.
    #[error("field '{0}' of the disclosure is missing or of the wrong length")]
    Field(&'static str),
    /// Entry or header bytes.
    #[error("the disclosed entry: {0}")]
    Wire(#[from] WireError),
    /// The header is not the veiled entry's.
    #[error("the header is not the one that the veiled entry commits to")]
    Header,
    /// Not a disclosing ANSWER.
    #[error("the entry is not an ANSWER: only answers disclose fields")]
    NotAnAnswer,
    /// The parts do not make up the entry's commitment.
    #[error("tree root, leaf count, body hash and key hash do not make up the ANSWER's commitment")]
    Commitment,
    /// A decoy, or fields out of order.
    #[error("the disclosed fields: {0}")]
    Tree(#[from] TreeError),
    /// The multiproof.
    #[error("the proof of the disclosed fields: {0}")]
    Guard(#[from] GuardError),
}

/// What a node keeps of an answer besides its tree.
#[derive(Debug, Clone)]
pub struct DisclosureSource<'a> {
    /// The ANSWER entry's canonical bytes.
    pub entry: &'a [u8],
    /// A log's receipt for it (tlog-proof text).
    pub receipt: &'a [u8],
    /// Where the entry is veiled: its header's canonical bytes and salt.
    pub header: Option<(&'a [u8], &'a Secret32)>,
    /// Hash of the sealed body.
    pub body_hash: Digest,
    /// Hash of the content key.
    pub key_hash: Digest,
}

/// Proves the fields of the named paths (any order, repeats ignored), and checks the result as a court would.
///
/// # Errors
/// [`TreeError::NoSuchField`]; [`DisclosureError::Commitment`] if the tree is not this entry's.
pub fn disclose(
    source: &DisclosureSource<'_>,
    tree: &AnswerTree,
    paths: &[&str],
) -> Result<proto::Disclosure, DisclosureError> {
    let (leaves, proof) = tree.prove(paths)?;
    let (header, header_salt) = match source.header {
        Some((header, salt)) => (header.to_vec(), salt.expose().to_vec()),
        None => (Vec::new(), Vec::new()),
    };
    let disclosure = proto::Disclosure {
        v: 1,
        entry: source.entry.to_vec(),
        receipt: source.receipt.to_vec(),
        header,
        header_salt,
        tree_root: tree.root().0.to_vec(),
        leaf_count: tree.leaf_count(),
        body_hash: source.body_hash.0.to_vec(),
        key_hash: source.key_hash.0.to_vec(),
        // At most ANSWER_LEAVES_MAX.
        indices: proof.indices().iter().map(|&i| i as u32).collect(),
        leaves,
        multiproof: proof.to_bytes(),
    };
    verify(&disclosure)?;
    Ok(disclosure)
}

/// Fields that belong to the answer of an entry. That the entry stands in a log is the
/// receipt's business: it is handed on, unverified, to who knows the log's key.
#[derive(Clone)]
pub struct VerifiedDisclosure {
    /// The entry as it stands in the log.
    pub entry: Entry,
    /// Its leaf hash: what the receipt must prove.
    pub leaf: Digest,
    /// The log's receipt, **not verified here**.
    pub receipt: Vec<u8>,
    /// The ANSWER (of the entry itself, or of its header).
    pub answer: Pair,
    /// The disclosed fields, in order of their paths.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Leaves of the whole tree, decoys included.
    pub leaf_count: u32,
}

impl fmt::Debug for VerifiedDisclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedDisclosure({} fields of {})", self.fields.len(), self.leaf)
    }
}

/// Verifies everything but the receipt.
///
/// # Errors
/// See [`DisclosureError`].
pub fn verify(raw: &proto::Disclosure) -> Result<VerifiedDisclosure, DisclosureError> {
    if raw.v != 1 {
        return Err(DisclosureError::Version(raw.v));
    }
    if raw.receipt.is_empty() || raw.receipt.len() > limits::NOTE_BYTES_MAX {
        return Err(DisclosureError::Field("receipt"));
    }
    let digest = |bytes: &[u8], name| Digest::try_from(bytes).map_err(|_| DisclosureError::Field(name));
    let entry = Entry::decode(&raw.entry)?;
    let answer = answer_of(&entry, raw)?;
    let PairBody::Answer { commitment, terms: Terms { mode, .. }, .. } = answer.body else {
        return Err(DisclosureError::NotAnAnswer);
    };

    let root = digest(&raw.tree_root, "tree_root")?;
    let tree = tree_commitment(raw.leaf_count, root);
    let (body, key) = (digest(&raw.body_hash, "body_hash")?, digest(&raw.key_hash, "key_hash")?);
    if answer_commitment(mode, tree, body, key) != commitment {
        return Err(DisclosureError::Commitment);
    }
    // From here on leaf_count is what the entry commits to, not what the sender says.
    let leaf_count = raw.leaf_count as usize;
    if !(2..=limits::ANSWER_LEAVES_MAX).contains(&leaf_count) || !leaf_count.is_power_of_two() {
        return Err(DisclosureError::Field("leaf_count"));
    }
    let indices = raw.indices.iter().map(|&i| i as usize).collect();
    let proof = Multiproof::new(leaf_count, indices, &raw.multiproof)?;
    if raw.leaves.len() != proof.indices().len() {
        return Err(DisclosureError::Field("leaves"));
    }
    let leaves =
        raw.leaves.iter().enumerate().map(|(i, leaf)| Leaf::from_proto(leaf, i)).collect::<Result<Vec<_>, _>>()?;
    let unordered = leaves.windows(2).position(|w| w[0].path >= w[1].path).map(|i| i + 1);
    if let Some(index) = leaves.iter().position(|leaf| leaf.path.is_empty()).or(unordered) {
        return Err(TreeError::Path { index }.into());
    }
    check_mode(mode, leaves.iter().map(|leaf| leaf.path.as_str()))?;
    let hashes: Vec<_> = leaves.iter().map(Leaf::hash).collect();
    proof.verify(root, &hashes)?;
    Ok(VerifiedDisclosure {
        leaf: leaf_hash(&raw.entry),
        entry,
        receipt: raw.receipt.clone(),
        answer,
        fields: leaves.into_iter().map(|leaf| (leaf.path, leaf.value)).collect(),
        leaf_count: raw.leaf_count,
    })
}

fn answer_of(entry: &Entry, raw: &proto::Disclosure) -> Result<Pair, DisclosureError> {
    match entry {
        Entry::Pair(_) if !raw.header.is_empty() || !raw.header_salt.is_empty() => {
            Err(DisclosureError::Field("header"))
        }
        Entry::Pair(pair) => Ok(pair.clone()),
        Entry::Veiled(veiled) => {
            let salt: [u8; 32] =
                raw.header_salt.as_slice().try_into().map_err(|_| DisclosureError::Field("header_salt"))?;
            if Header::commit(&raw.header, &Secret32::new(salt)) != veiled.commitment {
                return Err(DisclosureError::Header);
            }
            match Header::decode(&raw.header)? {
                Header::Pair(pair) if pair.is_domestic() => Ok(pair),
                Header::Pair(_) | Header::Event(_) => Err(DisclosureError::NotAnAnswer),
            }
        }
        Entry::Seeds(_) | Entry::Group(_) => Err(DisclosureError::NotAnAnswer),
    }
}

#[cfg(test)]
mod tests;
