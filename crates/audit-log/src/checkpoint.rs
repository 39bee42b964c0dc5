//! Checkpoints (C2SP tlog-checkpoint): a log's name, size and root, signed.

use std::fmt;
use std::sync::Arc;

use puente_model::{Digest, Millis, TreeSize};

use crate::hash::empty_root;
use crate::key::{KeyKind, Signer, VerifierKey, is_key_name};
use crate::note::{ClaimedNote, NoteError, NoteSignature, VerifiedSignature};
use crate::text::{decode_decimal, decode_digest, encode_base64};

/// The largest tree that is read or written, in entries: sizes fit a signed 64-bit number, as in other implementations.
pub const TREE_SIZE_MAX: u64 = i64::MAX as u64;

/// Why a checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not three lines of origin, size and root.
    #[error("a checkpoint has three lines: origin, size, root")]
    Lines,
    /// Extension lines: no auditor could check them.
    #[error("the checkpoint carries extension lines, which are not accepted")]
    Extension,
    /// The origin cannot name a key.
    #[error("the checkpoint's origin is empty or holds white space, a control character or '+'")]
    Origin,
    /// The size is not a canonical decimal, or too large.
    #[error("the checkpoint's size is not a canonical decimal up to 2^63-1")]
    Size,
    /// The root is not 32 bytes of canonical Base64.
    #[error("the checkpoint's root is not a SHA-256 digest in canonical Base64")]
    Root,
    /// An empty tree has one root only.
    #[error("the checkpoint of an empty tree carries a root that is not that of the empty tree")]
    EmptyRoot,
    /// The key is not this log's key.
    #[error("the checkpoint is of log {origin}; the key is of {key}")]
    WrongLog {
        /// Origin that the checkpoint states (its first 120 characters).
        origin: String,
        /// Name of the key.
        key: String,
    },
    /// A log signs with an Ed25519 key (0x01); a witness cosigns with a cosignature/v1 key (0x04).
    #[error("key {key} is of the wrong kind: logs sign with type 0x01, witnesses cosign with type 0x04")]
    WrongKind {
        /// Name of the key.
        key: String,
    },
}

/// What a log says about itself at one size. Unsigned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    size: TreeSize,
    root: Digest,
}

impl Checkpoint {
    /// States the root of a log at a size.
    pub fn new(origin: &str, size: TreeSize, root: Digest) -> Result<Self, CheckpointError> {
        if !is_key_name(origin) {
            return Err(CheckpointError::Origin);
        }
        if size.0 > TREE_SIZE_MAX {
            return Err(CheckpointError::Size);
        }
        if size.0 == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        if lines.next().is_some() {
            return Err(CheckpointError::Extension);
        }
        let size = decode_decimal(size).ok_or(CheckpointError::Size)?;
        let root = decode_digest(root).ok_or(CheckpointError::Root)?;
        Self::new(origin, TreeSize(size), root)
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries the tree holds.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Root of the tree of that size.
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// Signs it as the log. The key is of kind Ed25519 and named as the origin.
    ///
    /// A log never signs two checkpoints that are inconsistent; [`crate::Staged::sign`] sees to that,
    /// so nothing outside this crate can call this.
    pub(crate) fn sign(self, signer: &dyn Signer) -> Result<SignedCheckpoint, CheckpointError> {
        check_log_key(&self, signer.verifier())?;
        let text = self.to_string();
        let note = ClaimedNote::assemble(&text, vec![NoteSignature::sign(&text, signer, Millis(0))])?;
        Ok(SignedCheckpoint::verified(self, note))
    }
}

/// The note text: three lines.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, encode_base64(&self.root.0))
    }
}

/// A log's checkpoints are signed by an Ed25519 key that bears the log's name.
pub(crate) fn check_log_key(checkpoint: &Checkpoint, key: &VerifierKey) -> Result<(), CheckpointError> {
    if key.kind() != KeyKind::Ed25519 {
        return Err(CheckpointError::WrongKind { key: key.name().to_owned() });
    }
    if key.name() != checkpoint.origin {
        // A stranger chose this text.
        let origin = checkpoint.origin.chars().take(120).collect();
        return Err(CheckpointError::WrongLog { origin, key: key.name().to_owned() });
    }
    Ok(())
}

/// A checkpoint as it arrived: well formed, not verified. Only this one can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedCheckpoint {
    claimed: Checkpoint,
    note: ClaimedNote,
}

impl ClaimedCheckpoint {
    /// Parses a checkpoint note.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = ClaimedNote::parse(bytes)?;
        Ok(Self { claimed: Checkpoint::parse(note.text())?, note })
    }

    /// What it claims, for choosing a key; believe nothing of it yet.
    pub const fn claimed(&self) -> &Checkpoint {
        &self.claimed
    }

    /// The note as it came.
    pub fn note_bytes(&self) -> &[u8] {
        self.note.as_bytes()
    }

    /// The signature lines, none of them verified.
    pub fn signatures(&self) -> &[NoteSignature] {
        self.note.signatures()
    }

    /// Verifies the log's signature. The key's name must be the origin.
    pub fn verify(self, key: &VerifierKey) -> Result<SignedCheckpoint, CheckpointError> {
        check_log_key(&self.claimed, key)?;
        self.note.verify(&[key])?;
        Ok(SignedCheckpoint::verified(self.claimed, self.note))
    }
}

/// A checkpoint whose log signature was verified (or just made), with the note's bytes verbatim.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedCheckpoint(Arc<(Checkpoint, ClaimedNote)>);

impl SignedCheckpoint {
    pub(crate) fn verified(checkpoint: Checkpoint, note: ClaimedNote) -> Self {
        Self(Arc::new((checkpoint, note)))
    }

    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0.0
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.0.0.origin
    }

    /// How many entries the tree holds.
    pub fn size(&self) -> TreeSize {
        self.0.0.size
    }

    /// Root of the tree of that size.
    pub fn root(&self) -> Digest {
        self.0.0.root
    }

    /// The note's bytes, verbatim.
    pub fn note_bytes(&self) -> &[u8] {
        self.0.1.as_bytes()
    }

    /// What was signed: the note without its signature lines.
    pub(crate) fn text(&self) -> &str {
        self.0.1.text()
    }

    /// The signature lines, verified or not: the log's, and cosignatures.
    pub fn signatures(&self) -> &[NoteSignature] {
        self.0.1.signatures()
    }

    /// Has the log's key sign this very head once more, and sees whether the signature is good under `key`: whoever holds
    /// the private half signs. The text is one that stands signed already, so that nothing new comes to be said; a key that
    /// signs as RFC 8032 has it gives the bytes that everybody holds.
    ///
    /// # Errors
    /// What `sign` says.
    pub fn sign_again<E>(&self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<bool, E> {
        let text = self.0.1.text().as_bytes();
        Ok(key.accepts(text, &sign(text)?))
    }

    /// Cosigns as a witness (cosignature/v1): "this is the largest consistent tree I have seen at `now`".
    ///
    /// The caller has checked consistency with what it cosigned before, and stored that durably: outside this crate only
    /// [`crate::witness::Remembered::cosign`] is called, which exists only then.
    pub(crate) fn cosign(&self, signer: &dyn Signer, now: Millis) -> Result<NoteSignature, CheckpointError> {
        let key = signer.verifier();
        if key.kind() != KeyKind::CosignatureV1 {
            return Err(CheckpointError::WrongKind { key: key.name().to_owned() });
        }
        Ok(NoteSignature::sign(self.0.1.text(), signer, now))
    }

    /// The same checkpoint with more signature lines; a line that is already there is not repeated.
    pub fn with_signatures(&self, more: &[NoteSignature]) -> Result<Self, NoteError> {
        let mut lines = self.signatures().to_vec();
        for line in more {
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        let note = ClaimedNote::assemble(self.0.1.text(), lines)?;
        Ok(Self::verified(self.0.0.clone(), note))
    }

    /// The cosignatures of these witness keys, verified. None of them present is an empty list;
    /// one that is present and does not hold is an error.
    pub fn cosignatures(&self, witnesses: &[&VerifierKey]) -> Result<Vec<VerifiedSignature>, NoteError> {
        match self.0.1.verify(witnesses) {
            Err(NoteError::NoKnownSignature) => Ok(Vec::new()),
            other => other.map(|found| found.into_iter().filter(|s| s.at.is_some()).collect()),
        }
    }
}

impl fmt::Debug for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.signatures().len();
        write!(f, "SignedCheckpoint({} size {} root {}, {lines} signatures)", self.origin(), self.size(), self.root())
    }
}

/// Two signed checkpoints of one log and size that state different roots: the log forked, and this proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitView {
    /// One view.
    pub one: SignedCheckpoint,
    /// The other.
    pub other: SignedCheckpoint,
}

impl SplitView {
    /// The proof, if these two make one.
    pub fn of(one: &SignedCheckpoint, other: &SignedCheckpoint) -> Option<Self> {
        let split = one.origin() == other.origin() && one.size() == other.size() && one.root() != other.root();
        split.then(|| Self { one: one.clone(), other: other.clone() })
    }
}
