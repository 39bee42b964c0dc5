//! The sidecar beside a log: receipts that partners gave, heads that were accepted, escrow, sealed headers.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use puente_audit_log::{ClaimedCheckpoint, ReadError, ReceiptReader, SignedCheckpoint};
use puente_evidence::escrow::claimed_hash;
use puente_model::{Digest, digest};
use puente_wire::{Aside, AsideBody, label, proto};

use crate::class::Class;
use crate::kept::{Full, Index, KeptReceipt, Place};
use crate::records::{Broken, Records, record_at};
use crate::roster::{HeadError, Roster};

/// Bytes of the file for each entry that room is made for: two of the usual records.
const ENTRY_BYTES: u64 = 1_024;
/// Heads that are compared before they are looked up: receipts of one batch stand together.
const HEADS_RECENT: usize = 4;

/// A fault of the sidecar itself.
#[derive(Debug)]
pub(crate) struct AsideFault {
    pub(crate) class: Class,
    pub(crate) detail: String,
}

/// Verified heads, each once.
#[derive(Debug, Default)]
struct Heads {
    list: Vec<SignedCheckpoint>,
    by_note: HashMap<Digest, u32>,
    recent: [u32; HEADS_RECENT],
}

impl Heads {
    fn find(&mut self, note: &[u8]) -> Option<u32> {
        let same = |number: &&u32| self.list.get(**number as usize).is_some_and(|head| head.note_bytes() == note);
        if let Some(number) = self.recent.iter().find(same) {
            return Some(*number);
        }
        let number = self.by_note.get(&Digest::of(note)).copied()?;
        self.recall(number);
        Some(number)
    }

    fn add(&mut self, head: SignedCheckpoint) -> Option<u32> {
        let number = u32::try_from(self.list.len()).ok()?;
        self.by_note.insert(Digest::of(head.note_bytes()), number);
        self.list.push(head);
        self.recall(number);
        Some(number)
    }

    fn recall(&mut self, number: u32) {
        self.recent.rotate_right(1);
        self.recent[0] = number;
    }
}

/// The whole sidecar, by leaf hash.
#[derive(Debug, Default)]
pub(crate) struct Asides {
    /// There is such a file.
    pub(crate) present: bool,
    pub(crate) kept: Index,
    /// Heads of other logs that stand in it, one each.
    pub(crate) heads: Vec<SignedCheckpoint>,
    pub(crate) receipts: u64,
    /// Heads that receipts lead to.
    under: Heads,
    /// Leaf hashes of seeds that escrows quote.
    seeds: Vec<Digest>,
    seeds_numbers: HashMap<Digest, u32>,
    /// Heads kept under a name of their own, by that name.
    named: HashMap<Digest, Vec<Arc<[u8]>>>,
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
        let again = file.try_clone().map_err(io)?;
        let mut records = Records::new(file)?;
        let kept = Index::with_room(usize::try_from(records.length() / ENTRY_BYTES).unwrap_or(0));
        let mut out = Self { present: true, kept, file: Some(again), ..Self::default() };
        let mut receipts = ReceiptReader::new();
        loop {
            match records.next() {
                Ok(Some((at, bytes))) => {
                    if let Err(fault) = out.take(bytes, at, roster, &mut receipts) {
                        faults.push(fault);
                    }
                }
                Ok(None) => return Ok(out),
                Err(Broken::Malformed(at, why)) => {
                    faults.push(malformed(at, why));
                    return Ok(out);
                }
                Err(Broken::Io(error)) => return Err(error),
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        at: u64,
        roster: &Roster<'_>,
        receipts: &mut ReceiptReader,
    ) -> Result<(), AsideFault> {
        let aside = Aside::read(bytes).ok_or_else(|| malformed(at, "a record is not a canonical Aside"))?;
        let invalid = |class, why: String| AsideFault { class, detail: format!("asides, byte {at}: {why}") };
        let full = |Full| malformed(at, "more records than can be counted");
        if let Some(AsideBody::PeerHead(note)) = aside.body {
            let head = roster.head(note).map_err(|e| invalid(Class::PeerHeadInvalid, e.to_string()))?;
            signatures_known(roster, &head).map_err(|why| invalid(Class::UnknownSignature, why))?;
            self.heads.push(head);
            // Which entry a head came with decides nothing, but a name that fits nothing is damage.
            let name = Digest::try_from(aside.leaf_hash).unwrap_or_default();
            if name != Digest::default() && name != Digest::of(note) {
                self.kept.keep_name(name).map_err(full)?;
                self.named.entry(name).or_default().push(note.into());
            }
            return Ok(());
        }
        let leaf = Digest::try_from(aside.leaf_hash)
            .map_err(|_| malformed(at, "a record names its entry by other than 32 bytes"))?;
        match aside.body {
            Some(AsideBody::PeerReceipt(text)) => {
                let refused = |why: String| invalid(Class::ReceiptInvalid, why);
                let claimed = receipts.read(text).map_err(|e| refused(e.to_string()))?;
                let known = self.under.find(claimed.note());
                let fresh = match known {
                    Some(_) => None,
                    None => Some(verified(roster, claimed.note()).map_err(refused)?),
                };
                let head = known.and_then(|number| self.under.list.get(number as usize)).or(fresh.as_ref());
                let head = head.ok_or_else(|| full(Full))?;
                let index = claimed.verify_under(&leaf, head);
                let index = index.map_err(|e| refused(format!("for entry {leaf}: {e}")))?;
                let number = match (known, fresh) {
                    (None, Some(head)) => {
                        signatures_known(roster, &head).map_err(|why| invalid(Class::UnknownSignature, why))?;
                        self.under.add(head)
                    }
                    (known, _) => known,
                };
                let number = number.ok_or_else(|| full(Full))?;
                self.kept.keep_receipt(leaf, index.0, at, number).map_err(full)?;
                self.receipts += 1;
            }
            Some(AsideBody::Escrow { seeds, share_hashes, blob }) => {
                if [seeds, share_hashes[0], share_hashes[1]].iter().any(|hash| hash.len() != 32) {
                    return Err(malformed(at, "an escrow's hashes are not 32 bytes"));
                }
                let found = claimed_hash(seeds, share_hashes, blob);
                let (seeds, _, hash) = found.map_err(|e| invalid(Class::EscrowMismatch, e.to_string()))?;
                let seeds = self.seeds_number(seeds).ok_or_else(|| full(Full))?;
                self.kept.keep_escrow(leaf, hash, at, seeds).map_err(full)?;
            }
            Some(AsideBody::SealedHeader { .. }) => {
                if !self.kept.keep_header(leaf, at).map_err(full)? {
                    return Err(malformed(at, "a second sealed header for one entry"));
                }
            }
            Some(AsideBody::PeerHead(_)) | None => return Err(malformed(at, "a record holds nothing")),
        }
        Ok(())
    }

    fn seeds_number(&mut self, seeds: Digest) -> Option<u32> {
        let last = self.seeds.len().checked_sub(1);
        if let Some(last) = last.filter(|last| self.seeds.get(*last) == Some(&seeds)) {
            return u32::try_from(last).ok();
        }
        let next = u32::try_from(self.seeds.len()).ok()?;
        let number = *self.seeds_numbers.entry(seeds).or_insert(next);
        if number == next {
            self.seeds.push(seeds);
        }
        Some(number)
    }

    /// Records of entries that the log does not hold, once it was replayed. Heads are kept under an entry
    /// of the log, under their own hash, or two of a fork under the hash of both.
    pub(crate) fn strays(&self) -> Vec<AsideFault> {
        let joined = |heads: &[Arc<[u8]>]| match heads {
            [only] => [b"\n".as_slice(), only].concat(),
            heads => heads.join(b"\n".as_slice()),
        };
        let named = |name: &Digest| self.named.get(name).is_some_and(|heads| Digest::of(&joined(heads)) == *name);
        let fault = |name| AsideFault { class: Class::AsideStray, detail: format!("asides: a record for {name}") };
        self.kept.unseen().filter(|name| !named(name)).map(fault).collect()
    }

    /// Marks an entry as standing in the log and says where its records are.
    pub(crate) fn seen(&mut self, leaf: &Digest) -> Option<Place> {
        self.kept.see(leaf)
    }

    /// The log that a receipt is of.
    pub(crate) fn origin(&self, receipt: &KeptReceipt) -> &str {
        self.head(receipt).map_or("", SignedCheckpoint::origin)
    }

    /// The head that a receipt leads to.
    pub(crate) fn head(&self, receipt: &KeptReceipt) -> Option<&SignedCheckpoint> {
        self.under.list.get(receipt.head as usize)
    }

    /// The heads that receipts lead to, each once.
    pub(crate) fn receipt_heads(&self) -> &[SignedCheckpoint] {
        &self.under.list
    }

    /// Escrow hashes kept for an entry, each with the leaf hash of the seeds entry that it quotes; several if they
    /// were kept more than once.
    pub(crate) fn escrows(&self, place: Option<Place>) -> impl Iterator<Item = (Digest, Option<&Digest>)> {
        self.kept.escrows(place).map(|(hash, seeds)| (hash, self.seeds.get(seeds as usize)))
    }

    /// The hashes of both shares of an entry's escrow, whose record is read into `buffer`.
    pub(crate) fn share_hashes(&self, place: Option<Place>, buffer: &mut Vec<u8>) -> Option<[Digest; 2]> {
        match Aside::read(record_at(self.file.as_ref()?, self.kept.escrow_at(place)?, buffer)?)?.body? {
            AsideBody::Escrow { share_hashes: [first, second], .. } => {
                Some([Digest::try_from(first).ok()?, Digest::try_from(second).ok()?])
            }
            _ => None,
        }
    }

    /// The text of a kept receipt.
    pub(crate) fn receipt_text(&self, receipt: &KeptReceipt) -> Option<Vec<u8>> {
        match Aside::read(record_at(self.file.as_ref()?, receipt.at, &mut Vec::new())?)?.body? {
            AsideBody::PeerReceipt(text) => Some(text.to_vec()),
            _ => None,
        }
    }

    /// `digest(RECEIPT, text)` of a kept receipt, whose record is read into `buffer`.
    pub(crate) fn receipt_digest(&self, receipt: &KeptReceipt, buffer: &mut Vec<u8>) -> Option<Digest> {
        match Aside::read(record_at(self.file.as_ref()?, receipt.at, buffer)?)?.body? {
            AsideBody::PeerReceipt(text) => Some(digest(label::RECEIPT, &[text])),
            _ => None,
        }
    }

    /// A veiled entry's sealed header.
    pub(crate) fn sealed_header(&self, place: Place) -> Option<proto::SealedHeader> {
        match Aside::read(record_at(self.file.as_ref()?, self.kept.header(place)?, &mut Vec::new())?)?.body? {
            AsideBody::SealedHeader { seeds, ciphertext } => {
                Some(proto::SealedHeader { seeds: seeds.to_vec(), ciphertext: ciphertext.to_vec() })
            }
            _ => None,
        }
    }
}

/// A receipt's checkpoint, verified with the key of the log that it claims to be of.
fn verified(roster: &Roster<'_>, note: &[u8]) -> Result<SignedCheckpoint, String> {
    let claimed = ClaimedCheckpoint::parse(note).map_err(|e| e.to_string())?;
    roster.verify(claimed).map_err(|error| match error {
        HeadError::UnknownLog(name) => format!("the charter names no log {name}"),
        error => error.to_string(),
    })
}

fn signatures_known(roster: &Roster<'_>, head: &SignedCheckpoint) -> Result<(), String> {
    match roster.unknown_signature(head) {
        Some(name) => Err(format!("a signature line by {name}")),
        None => Ok(()),
    }
}

fn malformed(at: u64, why: &str) -> AsideFault {
    AsideFault { class: Class::AsideMalformed, detail: format!("asides, byte {at}: {why}") }
}
