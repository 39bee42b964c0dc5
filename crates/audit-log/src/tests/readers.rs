//! Reading many receipts accepts and refuses what reading each alone does.

use proptest::prelude::*;
use puente_model::{Digest, LeafIndex};

use super::{Bench, entry};
use crate::{ClaimedReceipt, ReceiptReader, SignedCheckpoint};

/// What each way says: the position, or the error in words.
fn alone(text: &[u8], leaf: &Digest, heads: &[SignedCheckpoint]) -> Result<LeafIndex, String> {
    let claimed = ClaimedReceipt::parse(text).map_err(|e| e.to_string())?;
    let head = heads.iter().find(|h| h.note_bytes() == claimed.checkpoint().note_bytes()).ok_or("other head")?;
    claimed.verify_under(leaf, head).map(|receipt| receipt.index()).map_err(|e| e.to_string())
}

fn together(
    reader: &mut ReceiptReader,
    text: &[u8],
    leaf: &Digest,
    heads: &[SignedCheckpoint],
) -> Result<LeafIndex, String> {
    let read = reader.read(text).map_err(|e| e.to_string())?;
    let Some(head) = heads.iter().find(|h| h.note_bytes() == read.note()) else {
        return Err(ClaimedReceipt::parse(text).map_or_else(|e| e.to_string(), |_| "other head".to_owned()));
    };
    read.verify_under(leaf, head).map_err(|e| e.to_string())
}

/// Heads, and receipts with the leaf hashes that they are for.
type Receipts = (Vec<SignedCheckpoint>, Vec<(Digest, Vec<u8>)>);

/// A log of three heads, and every receipt under each.
fn receipts() -> Receipts {
    let mut bench = Bench::new();
    let mut all = Vec::new();
    for size in [1, 70, 300] {
        bench.append(&(bench.log.size().0..size).map(entry).collect::<Vec<_>>());
        for n in 0..size {
            let receipt = bench.receipt(n);
            all.push((*receipt.leaf(), receipt.encode()));
        }
    }
    (bench.heads, all)
}

#[test]
fn every_receipt_of_three_heads() {
    let (heads, all) = receipts();
    let mut reader = ReceiptReader::new();
    for (leaf, text) in &all {
        let found = together(&mut reader, text, leaf, &heads);
        assert!(found.is_ok());
        assert_eq!(found, alone(text, leaf, &heads));
        assert!(together(&mut reader, text, &Digest::of(leaf.as_bytes()), &heads).is_err());
    }
}

#[test]
fn one_with_extra_data_is_read_too() {
    let (heads, all) = receipts();
    let (leaf, text) = all.last().unwrap();
    let text = String::from_utf8(text.clone()).unwrap().replacen("\nindex ", "\nextra AAAA\nindex ", 1);
    let mut reader = ReceiptReader::new();
    assert_eq!(together(&mut reader, text.as_bytes(), leaf, &heads), alone(text.as_bytes(), leaf, &heads));
    assert!(alone(text.as_bytes(), leaf, &heads).is_ok());
}

proptest! {
    /// One reader for a series of receipts, some of them spoiled in a byte or a line.
    #[test]
    fn a_series_with_spoiled_receipts(
        series in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..6_u8),
            1..12,
        ),
    ) {
        let (heads, all) = RECEIPTS.get_or_init(receipts);
        let mut reader = ReceiptReader::new();
        for (pick, at, byte, how) in series {
            let (leaf, text) = pick.get(all);
            let mut text = text.clone();
            let at = at.index(text.len());
            match how {
                0 => text[at] ^= 1 << (byte % 8),
                1 => text.insert(at, byte),
                2 => drop(text.remove(at)),
                3 => text.truncate(at),
                // A line twice, or a byte of another place.
                4 => text[at] = text[usize::from(byte) % text.len()],
                _ => {}
            }
            prop_assert_eq!(together(&mut reader, &text, leaf, heads), alone(&text, leaf, heads));
        }
    }
}

static RECEIPTS: std::sync::OnceLock<Receipts> = std::sync::OnceLock::new();
