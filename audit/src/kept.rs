//! What the sidecar holds for each entry, in as little memory as it takes: large logs have millions of records.
//!
//! Places and numbers are kept, bytes stay in the file. An entry with one receipt and one escrow takes about 140 bytes,
//! the tables' spare room not counted.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use puente_model::Digest;

/// A receipt of another node, verified against the leaf hash that it is kept under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptReceipt {
    /// Position in that log.
    pub(crate) index: u64,
    /// Where its record stands in the file.
    pub(crate) at: u64,
    /// Number of the head it leads to.
    pub(crate) head: u32,
    next: Option<NonZeroU32>,
}

/// An escrow that was kept.
#[derive(Debug, Clone, Copy)]
struct KeptEscrow {
    hash: Digest,
    /// Where its record stands in the file.
    at: u64,
    /// Number of the leaf hash of the seeds entry that it quotes.
    seeds: u32,
    next: Option<NonZeroU32>,
}

/// The place of one entry's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

#[derive(Debug)]
struct Slot {
    leaf: Digest,
    /// Where the sealed header's record stands; no record stands at 0.
    header: u64,
    receipts: Option<NonZeroU32>,
    escrows: Option<NonZeroU32>,
    /// The entry stands in the log.
    seen: bool,
}

/// Records by leaf hash: a table of numbers of slots, in the order of their first record.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Keyed, and over the whole hash: the log's owner chooses what stands in the sidecar, and must not be able to
    /// choose names that fall together.
    hasher: RandomState,
    table: HashTable<NonZeroU32>,
    slots: Vec<Slot>,
    receipts: Vec<KeptReceipt>,
    escrows: Vec<KeptEscrow>,
    /// The slot after the one that a record was kept in last, and after the one of the entry seen last: sidecar and
    /// log are mostly in the same order, so it is looked at before the table.
    next_kept: usize,
    next_seen: usize,
}

/// Slots that a new index makes room for at most; it grows like any other when there are more.
const ROOM_MAX: usize = 1 << 24;

/// More records than four thousand million: no index for them.
#[derive(Debug)]
pub(crate) struct Full;

/// The number after `len`, as links count: from 1.
fn link(len: usize) -> Result<NonZeroU32, Full> {
    u32::try_from(len).ok().and_then(|len| NonZeroU32::new(len.checked_add(1)?)).ok_or(Full)
}

fn at(link: NonZeroU32) -> usize {
    link.get() as usize - 1
}

impl Index {
    /// An index that holds as many entries before its table grows.
    pub(crate) fn with_room(entries: usize) -> Self {
        Self { table: HashTable::with_capacity(entries.min(ROOM_MAX)), ..Self::default() }
    }

    pub(crate) fn find(&self, leaf: &Digest) -> Option<Place> {
        let same = |number: &NonZeroU32| self.slots[at(*number)].leaf == *leaf;
        self.table.find(self.hasher.hash_one(leaf.0), same).map(|number| Place(at(*number)))
    }

    /// [`Index::find`] for a leaf that was found before: it is looked at where it was, and in the table only if this is
    /// another index.
    pub(crate) fn find_at(&self, place: Option<Place>, leaf: &Digest) -> Option<Place> {
        place.filter(|place| self.is_at(place.0, leaf)).or_else(|| self.find(leaf))
    }

    fn is_at(&self, at: usize, leaf: &Digest) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.leaf == *leaf)
    }

    /// The leaf's slot if it is the one at `hint` or the one before.
    fn near(&self, hint: usize, leaf: &Digest) -> Option<Place> {
        [hint, hint.wrapping_sub(1)].into_iter().find(|at| self.is_at(*at, leaf)).map(Place)
    }

    /// The leaf's slot, made where there was none.
    fn place(&mut self, leaf: Digest) -> Result<Place, Full> {
        let place = match self.near(self.next_kept, &leaf) {
            Some(place) => place,
            None => {
                let Self { hasher, table, slots, .. } = self;
                let same = |number: &NonZeroU32| slots[at(*number)].leaf == leaf;
                let hash = |number: &NonZeroU32| hasher.hash_one(slots[at(*number)].leaf.0);
                match table.entry(hasher.hash_one(leaf.0), same, hash) {
                    Entry::Occupied(number) => Place(at(*number.get())),
                    Entry::Vacant(free) => {
                        let place = Place(slots.len());
                        free.insert(link(place.0)?);
                        slots.push(Slot { leaf, header: 0, receipts: None, escrows: None, seen: false });
                        place
                    }
                }
            }
        };
        self.next_kept = place.0 + 1;
        Ok(place)
    }

    pub(crate) fn keep_receipt(&mut self, leaf: Digest, index: u64, at: u64, head: u32) -> Result<(), Full> {
        let place = self.place(leaf)?;
        let number = link(self.receipts.len())?;
        let next = self.slots[place.0].receipts.replace(number);
        self.receipts.push(KeptReceipt { index, at, head, next });
        Ok(())
    }

    pub(crate) fn keep_escrow(&mut self, leaf: Digest, hash: Digest, at: u64, seeds: u32) -> Result<(), Full> {
        let place = self.place(leaf)?;
        let number = link(self.escrows.len())?;
        let next = self.slots[place.0].escrows.replace(number);
        self.escrows.push(KeptEscrow { hash, at, seeds, next });
        Ok(())
    }

    /// Keeps the place of a sealed header; says whether there was none before.
    pub(crate) fn keep_header(&mut self, leaf: Digest, at: u64) -> Result<bool, Full> {
        let place = self.place(leaf)?;
        let header = &mut self.slots[place.0].header;
        let first = *header == 0;
        if first {
            *header = at;
        }
        Ok(first)
    }

    /// Makes sure that there is a slot for a name that heads are kept under.
    pub(crate) fn keep_name(&mut self, name: Digest) -> Result<(), Full> {
        self.place(name).map(|_| ())
    }

    /// Marks an entry as standing in the log and says where its records are.
    pub(crate) fn see(&mut self, leaf: &Digest) -> Option<Place> {
        let place = self.near(self.next_seen, leaf).or_else(|| self.find(leaf))?;
        self.next_seen = place.0 + 1;
        self.slots[place.0].seen = true;
        Some(place)
    }

    /// The entry's receipts, the newest record first.
    pub(crate) fn receipts(&self, place: Option<Place>) -> impl Iterator<Item = &KeptReceipt> {
        let first = place.and_then(|place| self.slots[place.0].receipts);
        std::iter::successors(first.map(|n| &self.receipts[at(n)]), |r| r.next.map(|n| &self.receipts[at(n)]))
    }

    fn all_escrows(&self, place: Option<Place>) -> impl Iterator<Item = &KeptEscrow> {
        let first = place.and_then(|place| self.slots[place.0].escrows);
        std::iter::successors(first.map(|n| &self.escrows[at(n)]), |e| e.next.map(|n| &self.escrows[at(n)]))
    }

    /// The entry's escrow hashes, each with the number of the seeds that it quotes.
    pub(crate) fn escrows(&self, place: Option<Place>) -> impl Iterator<Item = (Digest, u32)> {
        self.all_escrows(place).map(|escrow| (escrow.hash, escrow.seeds))
    }

    /// Where the record of the entry's newest escrow stands.
    pub(crate) fn escrow_at(&self, place: Option<Place>) -> Option<u64> {
        self.all_escrows(place).next().map(|escrow| escrow.at)
    }

    pub(crate) fn header(&self, place: Place) -> Option<u64> {
        Some(self.slots[place.0].header).filter(|at| *at != 0)
    }

    /// Every receipt, with the leaf hash that it is kept under.
    pub(crate) fn all_receipts(&self) -> impl Iterator<Item = (&Digest, &KeptReceipt)> {
        let of = move |at: usize| self.receipts(Some(Place(at))).map(move |receipt| (&self.slots[at].leaf, receipt));
        (0..self.slots.len()).flat_map(of)
    }

    /// Names of records whose entries were not seen.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = &Digest> {
        self.slots.iter().filter(|slot| !slot.seen).map(|slot| &slot.leaf)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let mut index = Index::default();
        let leaf = |n: u32| Digest::of(&n.to_be_bytes());
        for n in 0..5_000 {
            index.keep_receipt(leaf(n), u64::from(n), u64::from(n) + 4, n % 7).unwrap();
            if n % 2 == 0 {
                index.keep_receipt(leaf(n), u64::from(n) + 1, 9, 8).unwrap();
                index.keep_escrow(leaf(n), leaf(n + 1), u64::from(n) + 5, n).unwrap();
            }
        }
        for n in 0..5_000 {
            let place = index.find(&leaf(n)).unwrap();
            let found: Vec<_> = index.receipts(Some(place)).map(|r| (r.index, r.head)).collect();
            let n64 = u64::from(n);
            match n % 2 {
                0 => assert_eq!(found, [(n64 + 1, 8), (n64, n % 7)]),
                _ => assert_eq!(found, [(n64, n % 7)]),
            }
            let escrows: Vec<_> = index.escrows(Some(place)).collect();
            assert_eq!(escrows, if n % 2 == 0 { vec![(leaf(n + 1), n)] } else { Vec::new() });
            assert_eq!(index.escrow_at(Some(place)), (n % 2 == 0).then_some(n64 + 5));
            if n < 4_999 {
                assert_eq!(index.see(&leaf(n)), Some(place));
            }
        }
        for known in [None, Some(Place(3)), Some(Place(4)), Some(Place(9_999))] {
            assert_eq!(index.find_at(known, &leaf(3)), index.find(&leaf(3)));
            assert_eq!(index.find_at(known, &leaf(5_000)), None);
        }
        assert_eq!(index.find(&leaf(5_000)), None);
        assert_eq!(index.receipts(None).count(), 0);
        assert_eq!(index.all_receipts().count(), 7_500);
        assert_eq!(index.unseen().collect::<Vec<_>>(), [&leaf(4_999)]);
    }

    /// A node that lies may choose the names in its sidecar: a million that begin alike must cost no more than others.
    #[test]
    fn chosen_names_do_not_fall_together() {
        let index = Index::default();
        let chosen = |n: u64| {
            let mut name = [7; 32];
            name[24..].copy_from_slice(&n.to_be_bytes());
            index.hasher.hash_one(Digest(name).0)
        };
        // The table takes its place from the lower bits and its tag from the upper seven.
        let places: HashSet<u64> = (0..16_384).map(|n| chosen(n) % 16_384).collect();
        assert!(places.len() > 9_000, "{}", places.len());
        assert_eq!((0..16_384).map(|n| chosen(n) >> 57).collect::<HashSet<_>>().len(), 128);
        // And nobody can compute them beforehand.
        assert_ne!(index.hasher.hash_one([7_u8; 32]), Index::default().hasher.hash_one([7_u8; 32]));
    }

    #[test]
    fn an_entry_has_one_sealed_header() {
        let mut index = Index::default();
        assert!(index.keep_header(Digest::of(b"1"), 4).unwrap());
        assert!(!index.keep_header(Digest::of(b"1"), 40).unwrap());
        let place = index.find(&Digest::of(b"1")).unwrap();
        assert_eq!(index.header(place), Some(4));
    }

    #[test]
    fn records_stay_small() {
        assert!(size_of::<Slot>() <= 56 && size_of::<KeptReceipt>() <= 24 && size_of::<KeptEscrow>() <= 48);
    }
}
