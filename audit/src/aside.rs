//! The sidecar beside a log: receipts that partners gave, heads that were accepted, escrow, sealed headers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use puente_audit_log::{ClaimedReceipt, ReadError, SignedCheckpoint};
use puente_evidence::escrow::CheckedEscrow;
use puente_model::{Digest, digest};
use puente_wire::proto::Message as _;
use puente_wire::{label, proto};

use crate::class::Class;
use crate::roster::{HeadError, Roster};

/// The largest record, in bytes: an escrowed opening with what belongs to it.
const ASIDE_BYTES_MAX: u32 = 512 * 1024;

/// A receipt of another node, verified against the leaf hash that it is kept under.
#[derive(Debug, Clone)]
pub(crate) struct KeptReceipt {
    /// `digest(RECEIPT, text)`.
    pub(crate) digest: Digest,
    /// The head it leads to.
    pub(crate) head: SignedCheckpoint,
    /// Position in that log.
    pub(crate) index: u64,
    /// Where its record stands in the file, and how long that is.
    at: (u64, u32),
}

/// What the sidecar holds for one entry.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The entry stands in the log.
    pub(crate) seen: bool,
    pub(crate) receipts: Vec<KeptReceipt>,
    /// Escrow hash, and leaf of the seeds entry that it quotes; several if they were kept more than once.
    pub(crate) escrow: Vec<(Digest, Digest)>,
    /// Where the sealed header's record stands, and how long that is.
    header: Option<(u64, u32)>,
    /// Heads kept under this name.
    heads: Vec<Arc<[u8]>>,
}

impl Kept {
    pub(crate) const fn has_header(&self) -> bool {
        self.header.is_some()
    }
}

/// A fault of the sidecar itself.
#[derive(Debug)]
pub(crate) struct AsideFault {
    pub(crate) class: Class,
    pub(crate) detail: String,
}

/// The whole sidecar, by leaf hash.
#[derive(Debug, Default)]
pub(crate) struct Asides {
    /// There is such a file.
    pub(crate) present: bool,
    pub(crate) kept: HashMap<Digest, Kept>,
    /// Heads of other logs that stand in it, one each.
    pub(crate) heads: Vec<SignedCheckpoint>,
    pub(crate) receipts: u64,
    file: Option<File>,
}

impl Asides {
    /// Reads the sidecar and verifies every record that can be verified without the log.
    pub(crate) fn load(
        file: Result<File, ReadError>,
        roster: &Roster<'_>,
        faults: &mut Vec<AsideFault>,
    ) -> Result<Self, ReadError> {
        let file = match file {
            Ok(file) => file,
            Err(ReadError::NotFound) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let io = |error: std::io::Error| ReadError::Io(error.to_string());
        let mut out = Self { present: true, file: Some(file.try_clone().map_err(io)?), ..Self::default() };
        let length = file.metadata().map_err(io)?.len();
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let (mut at, mut bytes) = (0_u64, Vec::new());
        while at < length {
            let mut head = [0; 4];
            if length - at < 4 {
                faults.push(malformed(at, "it ends inside a record's length"));
                break;
            }
            reader.read_exact(&mut head).map_err(io)?;
            let len = u32::from_be_bytes(head);
            if len > ASIDE_BYTES_MAX || u64::from(len) > length - at - 4 {
                faults.push(malformed(at, "a record is longer than the file or than any record may be"));
                break;
            }
            bytes.resize(len as usize, 0);
            reader.read_exact(&mut bytes).map_err(io)?;
            let place = (at + 4, len);
            at += 4 + u64::from(len);
            if let Err(fault) = out.take(&bytes, place, roster) {
                faults.push(fault);
            }
        }
        Ok(out)
    }

    fn take(&mut self, bytes: &[u8], at: (u64, u32), roster: &Roster<'_>) -> Result<(), AsideFault> {
        let aside = decode(bytes).ok_or_else(|| malformed(at.0, "a record is not a canonical Aside"))?;
        let invalid = |class, why: String| AsideFault { class, detail: format!("asides, byte {}: {why}", at.0) };
        if let Some(proto::aside::Body::PeerHead(note)) = aside.body {
            let head = roster.head(&note).map_err(|e| invalid(Class::PeerHeadInvalid, e.to_string()))?;
            self.signatures_known(roster, &head).map_err(|why| invalid(Class::UnknownSignature, why))?;
            self.heads.push(head);
            // Which entry a head came with decides nothing, but a name that fits nothing is damage.
            let name = Digest::try_from(aside.leaf_hash.as_slice()).unwrap_or_default();
            if name != Digest::default() && name != Digest::of(&note) {
                self.kept.entry(name).or_default().heads.push(note.into());
            }
            return Ok(());
        }
        let leaf = Digest::try_from(aside.leaf_hash.as_slice())
            .map_err(|_| malformed(at.0, "a record names its entry by other than 32 bytes"))?;
        match aside.body {
            Some(proto::aside::Body::PeerReceipt(text)) => {
                let claimed =
                    ClaimedReceipt::parse(&text).map_err(|e| invalid(Class::ReceiptInvalid, e.to_string()))?;
                let head = match roster.verify(claimed.checkpoint().clone()) {
                    Ok(head) => head,
                    Err(HeadError::UnknownLog(name)) => {
                        return Err(invalid(Class::ReceiptInvalid, format!("the charter names no log {name}")));
                    }
                    Err(error) => return Err(invalid(Class::ReceiptInvalid, error.to_string())),
                };
                let receipt = claimed
                    .verify_under(&leaf, &head)
                    .map_err(|e| invalid(Class::ReceiptInvalid, format!("for entry {leaf}: {e}")))?;
                self.signatures_known(roster, &head).map_err(|why| invalid(Class::UnknownSignature, why))?;
                let digest = digest(label::RECEIPT, &[&text]);
                let kept = KeptReceipt { digest, head, index: receipt.index().0, at };
                self.kept.entry(leaf).or_default().receipts.push(kept);
                self.receipts += 1;
            }
            Some(proto::aside::Body::Escrow(escrow)) => {
                let hashes = [&escrow.seeds, &escrow.share_hash_1, &escrow.share_hash_2]
                    .map(|bytes| Digest::try_from(bytes.as_slice()).ok());
                let [Some(seeds), Some(first), Some(second)] = hashes else {
                    return Err(malformed(at.0, "an escrow's hashes are not 32 bytes"));
                };
                let hash = puente_evidence::escrow::escrow_hash(seeds, [first, second], &escrow.blob);
                CheckedEscrow::check(&escrow, hash).map_err(|e| invalid(Class::EscrowMismatch, e.to_string()))?;
                self.kept.entry(leaf).or_default().escrow.push((hash, seeds));
            }
            Some(proto::aside::Body::SealedHeader(_)) => {
                let kept = self.kept.entry(leaf).or_default();
                if kept.header.is_some() {
                    return Err(malformed(at.0, "a second sealed header for one entry"));
                }
                kept.header = Some(at);
            }
            Some(proto::aside::Body::PeerHead(_)) | None => return Err(malformed(at.0, "a record holds nothing")),
        }
        Ok(())
    }

    fn signatures_known(&self, roster: &Roster<'_>, head: &SignedCheckpoint) -> Result<(), String> {
        match roster.unknown_signature(head) {
            Some(name) => Err(format!("a signature line by {name}")),
            None => Ok(()),
        }
    }

    /// Records of entries that the log does not hold, once it was replayed. Heads are kept under an entry
    /// of the log, under their own hash, or two of a fork under the hash of both.
    pub(crate) fn strays(&self) -> Vec<AsideFault> {
        let joined = |heads: &[Arc<[u8]>]| match heads {
            [only] => [b"\n".as_slice(), only].concat(),
            heads => heads.join(b"\n".as_slice()),
        };
        let unseen = self.kept.iter().filter(|(_, kept)| !kept.seen);
        let strays = unseen.filter(|(name, kept)| kept.heads.is_empty() || Digest::of(&joined(&kept.heads)) != **name);
        let fault = |name| AsideFault { class: Class::AsideStray, detail: format!("asides: a record for {name}") };
        strays.map(|(name, _)| fault(name)).collect()
    }

    /// Marks an entry as standing in the log and says what is kept for it.
    pub(crate) fn seen(&mut self, leaf: &Digest) -> Option<&Kept> {
        let kept = self.kept.get_mut(leaf)?;
        kept.seen = true;
        Some(kept)
    }

    pub(crate) fn get(&self, leaf: &Digest) -> Option<&Kept> {
        self.kept.get(leaf)
    }

    /// The text of a kept receipt.
    pub(crate) fn receipt_text(&self, receipt: &KeptReceipt) -> Option<Vec<u8>> {
        match self.read(receipt.at)?.body? {
            proto::aside::Body::PeerReceipt(text) => Some(text),
            _ => None,
        }
    }

    /// A veiled entry's sealed header.
    pub(crate) fn sealed_header(&self, leaf: &Digest) -> Option<proto::SealedHeader> {
        match self.read(self.kept.get(leaf)?.header?)?.body? {
            proto::aside::Body::SealedHeader(sealed) => Some(sealed),
            _ => None,
        }
    }

    fn read(&self, (at, len): (u64, u32)) -> Option<proto::Aside> {
        let mut file = self.file.as_ref()?;
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut bytes = vec![0; len as usize];
        file.read_exact(&mut bytes).ok()?;
        decode(&bytes)
    }
}

/// The record, if these are its canonical bytes.
fn decode(bytes: &[u8]) -> Option<proto::Aside> {
    let aside = proto::Aside::decode(bytes).ok()?;
    (aside.encode_to_vec() == bytes).then_some(aside)
}

fn malformed(at: u64, why: &str) -> AsideFault {
    AsideFault { class: Class::AsideMalformed, detail: format!("asides, byte {at}: {why}") }
}
