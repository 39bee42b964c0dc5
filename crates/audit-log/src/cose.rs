//! Receipts as COSE (RFC 9942), beside C2SP's: for verifiers that speak CBOR (SCITT, RFC 9943).
//!
//! The same tree and the same inclusion proof, signed by the log's key over the root itself: a COSE_Sign1 whose protected header
//! has EdDSA, the log's origin as key id, and 395 = 1 (RFC9162_SHA256); whose unprotected header has the proof under 396; and
//! whose payload, the root, is detached: who verifies computes it from the entry. A signature over a COSE structure is none over
//! a note, and the reverse: the one begins with a CBOR array, the other is text.

use coset::cbor::value::Value;
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label, TaggedCborSerializable as _, iana};
use puente_model::limits::PROOF_HASHES_MAX;
use puente_model::{Digest, LeafIndex, TreeSize};

use crate::checkpoint::SignedCheckpoint;
use crate::hash::node_hash;
use crate::key::{KeyKind, Signer, VerifierKey};
use crate::proof::{ProofError, verify_inclusion, verify_inclusion_by};

/// One receipt, in bytes.
pub const COSE_RECEIPT_BYTES_MAX: usize = 8 * 1024;
/// Header parameter of the verifiable data structure, and RFC9162_SHA256.
const VDS: (i64, i64) = (395, 1);
/// Header parameter of its proofs, and the label of inclusion proofs.
const VDP: (i64, i64) = (396, -1);

/// Why a COSE receipt was not made, or is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoseError {
    /// More bytes than a receipt may have.
    #[error("the COSE receipt has {found} bytes; at most {COSE_RECEIPT_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not a tagged COSE_Sign1, or not encoded as it would be written here.
    #[error("this is no COSE_Sign1 (RFC 9052), tagged and in deterministic encoding")]
    Malformed,
    /// A header is missing, twice there, or another.
    #[error("the COSE receipt's header {0} is not that of an RFC9162_SHA256 receipt with one inclusion proof")]
    Header(&'static str),
    /// The key is another log's, or a witness's.
    #[error("the key is not that of the log that the receipt names")]
    OtherKey,
    /// The inclusion proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The signature.
    #[error("the log did not sign the root that the entry and the proof lead to")]
    Signature,
}

/// Makes the receipt of an entry under a head of the signer's own log.
///
/// # Errors
/// The signer is of another log; the proof does not lead to the head.
pub fn cose_receipt(
    head: &SignedCheckpoint,
    index: LeafIndex,
    leaf: &Digest,
    hashes: &[Digest],
    signer: &dyn Signer,
) -> Result<Vec<u8>, CoseError> {
    let key = signer.verifier();
    if key.name() != head.origin() || key.kind() != KeyKind::Ed25519 {
        return Err(CoseError::OtherKey);
    }
    verify_inclusion(index, head.size(), leaf, hashes, &head.root())?;
    let proof = Proof { size: head.size(), index, hashes: hashes.to_vec() };
    let receipt = CoseSign1Builder::new()
        .protected(protected(head.origin()))
        .unprotected(proof.header())
        .create_detached_signature(head.root().as_bytes(), b"", |message| signer.sign(message).to_vec())
        .build();
    receipt.to_tagged_vec().map_err(|_| CoseError::Malformed)
}

fn protected(origin: &str) -> Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(origin.as_bytes().to_vec())
        .value(VDS.0, Value::from(VDS.1))
        .build()
}

/// `[size, index, [hashes]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proof {
    size: TreeSize,
    index: LeafIndex,
    hashes: Vec<Digest>,
}

impl Proof {
    fn header(&self) -> Header {
        let hashes = self.hashes.iter().map(|hash| Value::Bytes(hash.0.to_vec())).collect();
        let proof = Value::Array(vec![Value::from(self.size.0), Value::from(self.index.0), Value::Array(hashes)]);
        let mut bytes = Vec::new();
        // Writing into memory cannot fail.
        let _ = coset::cbor::ser::into_writer(&proof, &mut bytes);
        let proofs = Value::Map(vec![(Value::from(VDP.1), Value::Array(vec![Value::Bytes(bytes)]))]);
        HeaderBuilder::new().value(VDP.0, proofs).build()
    }

    fn read(header: &Header) -> Option<Self> {
        let [(Label::Int(label), Value::Map(proofs))] = header.rest.as_slice() else { return None };
        let [(kind, Value::Array(inclusions))] = proofs.as_slice() else { return None };
        let [Value::Bytes(bytes)] = inclusions.as_slice() else { return None };
        if *label != VDP.0 || *kind != Value::from(VDP.1) {
            return None;
        }
        let Value::Array(parts) = coset::cbor::de::from_reader(bytes.as_slice()).ok()? else { return None };
        let [Value::Integer(size), Value::Integer(index), Value::Array(hashes)] = parts.as_slice() else { return None };
        if hashes.len() > PROOF_HASHES_MAX {
            return None;
        }
        let hash = |value: &Value| Digest::try_from(value.as_bytes()?.as_slice()).ok();
        Some(Self {
            size: TreeSize(u64::try_from(*size).ok()?),
            index: LeafIndex(u64::try_from(*index).ok()?),
            hashes: hashes.iter().map(hash).collect::<Option<_>>()?,
        })
    }
}

/// A COSE receipt as it arrived: well formed, proves nothing yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedCoseReceipt {
    origin: String,
    proof: Proof,
    receipt: CoseSign1,
}

/// What a verified COSE receipt says: the log signed a root under which the entry stands.
///
/// The signature is over the root alone. The size and the place that the proof states lead to it, and so may others: unlike a
/// C2SP receipt, whose signed text has the size, this one proves neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoseReceipt {
    /// The log.
    pub origin: String,
    /// The root.
    pub root: Digest,
}

impl ClaimedCoseReceipt {
    /// True of bytes that begin like one.
    pub fn is_like(bytes: &[u8]) -> bool {
        // Tag 18, an array of four.
        bytes.starts_with(&[0xd2, 0x84])
    }

    /// Parses a receipt. Only what would be written so is read.
    ///
    /// # Errors
    /// Every [`CoseError`] but those of keys, proofs and signatures.
    pub fn parse(bytes: &[u8]) -> Result<Self, CoseError> {
        if bytes.len() > COSE_RECEIPT_BYTES_MAX {
            return Err(CoseError::TooLong { found: bytes.len() });
        }
        let receipt = CoseSign1::from_tagged_slice(bytes).map_err(|_| CoseError::Malformed)?;
        let name = String::from_utf8(receipt.protected.header.key_id.clone()).map_err(|_| CoseError::Header("4"))?;
        if receipt.protected.header != protected(&name) {
            return Err(CoseError::Header("1, 4 or 395"));
        }
        let proof = Proof::read(&receipt.unprotected).ok_or(CoseError::Header("396"))?;
        let same = proof.header() == receipt.unprotected && receipt.payload.is_none();
        // Protected bytes are kept as they came: signed are those, and they too must be as they would be written here.
        let again = CoseSign1Builder::new()
            .protected(protected(&name))
            .unprotected(proof.header())
            .signature(receipt.signature.clone())
            .build();
        if !same || again.to_tagged_vec().ok().as_deref() != Some(bytes) {
            return Err(CoseError::Malformed);
        }
        Ok(Self { origin: name, proof, receipt })
    }

    /// The log that it names.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Verifies it for an entry, by its leaf hash.
    ///
    /// # Errors
    /// [`CoseError::OtherKey`], [`CoseError::Proof`] or [`CoseError::Signature`].
    pub fn verify(&self, leaf: &Digest, key: &VerifierKey) -> Result<CoseReceipt, CoseError> {
        if key.name() != self.origin || key.kind() != KeyKind::Ed25519 {
            return Err(CoseError::OtherKey);
        }
        let Proof { size, index, hashes } = &self.proof;
        let root = root_of(*index, *size, leaf, hashes)?;
        self.receipt.verify_detached_signature(root.as_bytes(), b"", |signature, message| {
            let signature = <&[u8; 64]>::try_from(signature).map_err(|_| CoseError::Signature)?;
            if key.accepts(message, signature) { Ok(()) } else { Err(CoseError::Signature) }
        })?;
        Ok(CoseReceipt { origin: self.origin.clone(), root })
    }
}

/// The root to which an entry and its inclusion proof lead.
fn root_of(index: LeafIndex, size: TreeSize, leaf: &Digest, proof: &[Digest]) -> Result<Digest, ProofError> {
    let mut node = *leaf;
    let climb = |left: &Digest, right: &Digest| {
        node = node_hash(left, right);
        node
    };
    // Where the way leads is asked, not whether it leads somewhere.
    match verify_inclusion_by((index, size), leaf, proof, &Digest::default(), climb, |_, _| false) {
        Ok(()) | Err(ProofError::RootMismatch) => Ok(node),
        Err(error) => Err(error),
    }
}
