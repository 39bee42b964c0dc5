//! The answer tree: one salted leaf per released field.
//!
//! A leaf's data is `label ‖ salt ‖ path ‖ value`, each part behind its length
//! as u32 big-endian, with the label `puente/v1/leaf` and an own random 32-byte
//! salt; its hash is RFC 6962's `SHA-256(0x00 ‖ data)`. Paths are not empty and
//! strictly increasing as bytes. Decoys (random salt, empty path and value)
//! follow until the number of leaves is a power of two, at least two. What is
//! committed is `digest(TREE, u32be n, root)`.

use std::fmt;

use puente_model::{Digest, Millis, Mode, Secret32, digest, limits};
use puente_wire::{label, proto};
use rand_core::CryptoRngCore;

use crate::guard::{GuardError, Multiproof, leaf_hash, root_of};
use crate::keys::fresh;

/// What the paths of a training answer, and of no other, begin with.
pub const TRAINING_PATH: &str = "training/";

/// What is wrong with an answer tree. Names positions, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// More fields than an answer may have.
    #[error("an answer has {fields} fields; at most {} are allowed", limits::ANSWER_LEAVES_MAX)]
    TooManyFields {
        /// Fields found.
        fields: usize,
    },
    /// Repeated, unsorted or empty path.
    #[error("leaf {index}: paths must be non-empty and strictly increasing, with decoys last")]
    Path {
        /// Position of the leaf.
        index: usize,
    },
    /// A field of training in a real answer, or the reverse.
    #[error("leaf {index}: paths of a training answer, and of no other, begin with '{TRAINING_PATH}'")]
    Mode {
        /// Position of the leaf.
        index: usize,
    },
    /// A decoy with a value.
    #[error("leaf {index}: a leaf without a path must be without a value")]
    DecoyValue {
        /// Position of the leaf.
        index: usize,
    },
    /// A salt that is not 32 bytes.
    #[error("leaf {index}: a salt has 32 bytes")]
    Salt {
        /// Position of the leaf.
        index: usize,
    },
    /// Wrong padding.
    #[error("a tree of {fields} fields is padded to {expected} leaves, not to {found}")]
    Padding {
        /// Fields found.
        fields: usize,
        /// Leaves found.
        found: usize,
        /// The smallest power of two that holds the fields, at least 2.
        expected: usize,
    },
    /// The leaves are not those that were committed.
    #[error("the leaves do not match the tree commitment")]
    Commitment,
    /// A field that is to be shown is not in the answer.
    #[error("the answer has no field of position {index} in the request")]
    NoSuchField {
        /// Position in the list of requested paths.
        index: usize,
    },
    /// The request for a proof is malformed.
    #[error("fields cannot be proven: {0}")]
    Guard(#[from] GuardError),
}

/// One leaf: a released field, or a decoy.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) salt: Secret32,
    pub(crate) path: String,
    pub(crate) value: Vec<u8>,
}

impl Leaf {
    /// Takes a leaf in; `index` only names it in errors.
    pub(crate) fn from_proto(raw: &proto::Leaf, index: usize) -> Result<Self, TreeError> {
        let salt: [u8; 32] = raw.salt.as_slice().try_into().map_err(|_| TreeError::Salt { index })?;
        if raw.path.is_empty() && !raw.value.is_empty() {
            return Err(TreeError::DecoyValue { index });
        }
        Ok(Self { salt: Secret32::new(salt), path: raw.path.clone(), value: raw.value.clone() })
    }

    pub(crate) fn to_proto(&self) -> proto::Leaf {
        proto::Leaf { salt: self.salt.expose().to_vec(), path: self.path.clone(), value: self.value.clone() }
    }

    pub(crate) fn hash(&self) -> Digest {
        let parts = [label::LEAF.0.as_bytes(), self.salt.expose(), self.path.as_bytes(), &self.value];
        let mut data = Vec::with_capacity(parts.iter().map(|p| 4 + p.len()).sum());
        for part in parts {
            // A part beyond u32 cannot come here: bodies and records are bounded far below.
            data.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend_from_slice(part);
        }
        leaf_hash(&data)
    }
}

/// Whether every path is one of an answer of this mode: an invented record can never be shown as a real one.
pub(crate) fn check_mode<'a>(mode: Mode, paths: impl Iterator<Item = &'a str>) -> Result<(), TreeError> {
    for (index, path) in paths.enumerate() {
        if path.starts_with(TRAINING_PATH) != (mode == Mode::Training) {
            return Err(TreeError::Mode { index });
        }
    }
    Ok(())
}

/// `digest(TREE, u32be n, root)`.
pub fn tree_commitment(leaf_count: u32, root: Digest) -> Digest {
    digest(label::TREE, &[&leaf_count.to_be_bytes(), root.as_bytes()])
}

/// How many leaves a tree of `fields` fields has: a power of two, at least 2.
pub fn padded(fields: usize) -> usize {
    fields.next_power_of_two().max(2)
}

/// The tree over the fields of one answer.
#[derive(Clone)]
pub struct AnswerTree {
    leaves: Vec<Leaf>,
    fields: usize,
    hashes: Vec<Digest>,
    root: Digest,
}

impl fmt::Debug for AnswerTree {
    // Released fields are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerTree({} fields, root {})", self.fields, self.root)
    }
}

impl AnswerTree {
    /// Builds the tree over `(path, value)` in strictly increasing order of paths; none is allowed.
    ///
    /// # Errors
    /// Too many fields; a path that is empty or does not follow a smaller one.
    pub fn build(fields: Vec<(String, Vec<u8>)>, rng: &mut impl CryptoRngCore) -> Result<Self, TreeError> {
        check_count(fields.len())?;
        let count = padded(fields.len());
        let mut leaves: Vec<_> =
            fields.into_iter().map(|(path, value)| Leaf { salt: fresh(rng), path, value }).collect();
        if let Some(index) = leaves.iter().position(|leaf| leaf.path.is_empty()) {
            return Err(TreeError::Path { index });
        }
        while leaves.len() < count {
            leaves.push(Leaf { salt: fresh(rng), path: String::new(), value: Vec::new() });
        }
        Self::of(leaves)
    }

    /// Takes in the leaves of a body or of the evidence store.
    ///
    /// # Errors
    /// Any departure from the rules of this module.
    pub fn from_leaves(leaves: &[proto::Leaf]) -> Result<Self, TreeError> {
        check_count(leaves.len())?;
        Self::of(leaves.iter().enumerate().map(|(i, leaf)| Leaf::from_proto(leaf, i)).collect::<Result<_, _>>()?)
    }

    fn of(leaves: Vec<Leaf>) -> Result<Self, TreeError> {
        let fields = leaves.iter().take_while(|leaf| !leaf.path.is_empty()).count();
        for index in 1..leaves.len() {
            let leaf = &leaves[index].path;
            let ordered = if index < fields { leaves[index - 1].path < *leaf } else { leaf.is_empty() };
            if !ordered {
                return Err(TreeError::Path { index });
            }
        }
        if leaves.len() != padded(fields) {
            return Err(TreeError::Padding { fields, found: leaves.len(), expected: padded(fields) });
        }
        let hashes: Vec<_> = leaves.iter().map(Leaf::hash).collect();
        let root = root_of(&hashes).ok_or(GuardError::EmptyTree)?;
        Ok(Self { leaves, fields, hashes, root })
    }

    /// The RFC 6962 root over all leaves.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Leaves, decoys included: a power of two.
    pub fn leaf_count(&self) -> u32 {
        // At most ANSWER_LEAVES_MAX.
        self.leaves.len() as u32
    }

    /// What is committed: `digest(TREE, u32be n, root)`.
    pub fn commitment(&self) -> Digest {
        tree_commitment(self.leaf_count(), self.root)
    }

    /// The fields, without salts and decoys, in order of their paths.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.leaves[..self.fields].iter().map(|leaf| (leaf.path.as_str(), leaf.value.as_slice()))
    }

    /// The leaves as they stand in a body.
    pub fn to_leaves(&self) -> Vec<proto::Leaf> {
        self.leaves.iter().map(Leaf::to_proto).collect()
    }

    /// The body that carries this tree to the asker.
    pub fn to_body(&self, at: Millis, obligations: Vec<String>) -> proto::Body {
        proto::Body { at_millis: at.0, leaves: self.to_leaves(), obligations }
    }

    /// Proves the fields of the named paths, and no other: the leaves in tree order, and the proof.
    pub(crate) fn prove(&self, paths: &[&str]) -> Result<(Vec<proto::Leaf>, Multiproof), TreeError> {
        let mut indices = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let found = self.leaves[..self.fields].binary_search_by(|leaf| leaf.path.as_str().cmp(path));
            indices.push(found.map_err(|_| TreeError::NoSuchField { index })?);
        }
        indices.sort_unstable();
        indices.dedup();
        let proof = Multiproof::prove(&self.hashes, &indices)?;
        Ok((indices.iter().map(|&i| self.leaves[i].to_proto()).collect(), proof))
    }
}

/// A body whose leaves are the committed ones.
#[derive(Clone)]
pub struct VerifiedBody {
    /// When the holder answered.
    pub at: Millis,
    /// Obligations that come with the answer.
    pub obligations: Vec<String>,
    /// The released fields; can be disclosed from.
    pub tree: AnswerTree,
}

impl fmt::Debug for VerifiedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedBody({:?})", self.tree)
    }
}

/// Recomputes the tree of a body and compares it with its commitment.
///
/// # Errors
/// Any departure from the rules of this module; [`TreeError::Commitment`] if the leaves are others.
pub fn verify_body(body: &proto::Body, commitment: Digest) -> Result<VerifiedBody, TreeError> {
    let tree = AnswerTree::from_leaves(&body.leaves)?;
    if tree.commitment() != commitment {
        return Err(TreeError::Commitment);
    }
    Ok(VerifiedBody { at: Millis(body.at_millis), obligations: body.obligations.clone(), tree })
}

fn check_count(fields: usize) -> Result<(), TreeError> {
    if fields > limits::ANSWER_LEAVES_MAX { Err(TreeError::TooManyFields { fields }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
