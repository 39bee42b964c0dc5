//! Other people's implementations: tlog_tiles (a port of Go's tlog), ct-merkle, signed_note.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use puente_model::{Digest, LeafIndex, Millis, TreeSize};
use sha2_011::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::tlog;

use super::{Bench, ORIGIN, entry, log_key, signer, witness};
use crate::{
    ClaimedCheckpoint, ClaimedNote, Signer, VerifierKey, leaf_hash, prove_consistency, prove_inclusion,
    root_of_entries, verify_consistency, verify_inclusion,
};

/// Go's flat hash storage.
struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for &Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|i| self.0[usize::try_from(*i).unwrap()]).collect())
    }
}

fn stored(n: u64) -> Stored {
    let mut all = Stored(Vec::new());
    for i in 0..n {
        let more = tlog::stored_hashes(i, &entry(i), &&all).unwrap();
        all.0.extend(more);
    }
    all
}

fn theirs(digests: &[Digest]) -> Vec<tlog::Hash> {
    digests.iter().map(|d| tlog::Hash(d.0)).collect()
}

fn ct_digests(digests: &[Digest]) -> Vec<ct_merkle::digest::Output<Sha256>> {
    digests.iter().map(|d| d.0.into()).collect()
}

fn ct_root(root: Digest, size: u64) -> RootHash<Sha256> {
    RootHash::new(root.0.into(), size)
}

/// All proofs of the trees 1..=n, in both directions, with two oracles.
fn agree(n: u64, sizes: impl Iterator<Item = u64>, sample: impl Fn(u64) -> bool) {
    let bench = Bench::of_size(n);
    let stored = stored(n);
    for size in sizes {
        let mut ct = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        (0..size).for_each(|i| ct.push(entry(i)));
        let root = root_of_entries((0..size).map(entry));
        assert_eq!(root.0, tlog::tree_hash(size, &&stored).unwrap().0);
        assert_eq!(root.0.as_slice(), ct.root().as_bytes().as_slice());
        for i in (0..size).filter(|i| sample(*i)) {
            let ours = bench.log.prove_inclusion(LeafIndex(i), TreeSize(size), &bench.files).unwrap();
            assert_eq!(theirs(&ours), tlog::prove_record(size, i, &&stored).unwrap(), "{i} of {size}");
            let proof = InclusionProof::from_digests(ct_digests(&ours).iter());
            ct_root(root, size).verify_inclusion(&entry(i), i, &proof).unwrap();
            let back: Vec<Digest> =
                ct.prove_inclusion(i as usize).as_bytes().chunks(32).map(|c| c.try_into().unwrap()).collect();
            verify_inclusion(LeafIndex(i), TreeSize(size), &leaf_hash(&entry(i)), &back, &root).unwrap();
        }
        for old in (1..=size).filter(|m| sample(*m)) {
            let old_root = root_of_entries((0..old).map(entry));
            let ours = bench.log.prove_consistency(TreeSize(old), TreeSize(size), &bench.files).unwrap();
            let reference = tlog::prove_tree(size, old, &&stored).unwrap();
            assert_eq!(theirs(&ours), reference, "{old} -> {size}");
            let proof = ConsistencyProof::from_digests(ct_digests(&ours).iter());
            ct_root(root, size).verify_consistency(&ct_root(old_root, old), &proof).unwrap();
            let back = reference.iter().map(|h| Digest(h.0)).collect::<Vec<_>>();
            verify_consistency(TreeSize(old), TreeSize(size), &old_root, &root, &back).unwrap();
        }
    }
}

#[test]
fn all_small_proofs_agree_with_tlog_tiles_and_ct_merkle() {
    agree(70, 1..=70, |_| true);
}

#[test]
fn proofs_across_tile_borders_agree() {
    let borders = [255, 256, 257, 511, 512, 513, 700];
    agree(700, borders.into_iter(), |i| i % 61 == 0 || borders.iter().any(|b| i.abs_diff(*b) < 2));
}

#[test]
fn published_files_alone_suffice_for_proofs() {
    for n in [1, 2, 255, 256, 257, 600] {
        let bench = Bench::of_size(n);
        let stored = stored(n);
        for i in (0..n).step_by(37).chain([n - 1]) {
            let ours = prove_inclusion(&bench.files, LeafIndex(i), TreeSize(n)).unwrap();
            assert_eq!(theirs(&ours), tlog::prove_record(n, i, &&stored).unwrap(), "{i} of {n}");
            let ours = prove_consistency(&bench.files, TreeSize(i + 1), TreeSize(n)).unwrap();
            assert_eq!(theirs(&ours), tlog::prove_tree(n, i + 1, &&stored).unwrap(), "{i} of {n}");
        }
    }
}

#[test]
fn our_notes_are_accepted_by_signed_note() {
    let bench = Bench::of_size(3);
    let cosigned = bench.head().cosign(&witness(), Millis(1_700_000_000_123)).unwrap();
    let head = bench.head().with_signatures(&[cosigned]).unwrap();
    let note = Note::from_bytes(head.note_bytes()).unwrap();
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&log_key().to_string()).unwrap())]);
    let (verified, unknown) = note.verify(&known).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 1));
    let text = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((text.origin(), text.size(), text.hash().0), (ORIGIN, 3, head.root().0));
    assert_eq!(note.to_bytes(), head.note_bytes());
}

#[test]
fn notes_of_signed_note_are_accepted_by_us() {
    // A key pair in Go's text form, from its seed: PRIVATE+KEY+name+id+base64(1 || seed).
    use base64::Engine as _;
    let key = log_key();
    let secret = base64::engine::general_purpose::STANDARD.encode([&[1_u8][..], &[7; 32]].concat());
    let theirs = signed_note::StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{}+{secret}", key.id())).unwrap();
    let root = crate::empty_root();
    let text = tlog_tiles::Checkpoint::new(ORIGIN, 0, tlog::Hash(root.0), "").unwrap();
    let mut note = Note::new(&text.to_bytes(), &[]).unwrap();
    note.add_sigs(&[&theirs]).unwrap();
    let head = ClaimedCheckpoint::parse(&note.to_bytes()).unwrap().verify(&key).unwrap();
    assert_eq!(head.root(), root);
    assert_eq!(key.to_string().parse(), Ok(key));
}

#[test]
fn a_published_key_has_the_published_id() {
    // The key of Go's checksum database, as the go command carries it.
    let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let key: VerifierKey = text.parse().unwrap();
    assert_eq!(key.name(), "sum.golang.org");
    assert_eq!(key.to_string(), text);
}

proptest! {
    #[test]
    fn any_note_text_round_trips_through_both(lines in proptest::collection::vec("[^\\p{C}]{0,20}", 1..6)) {
        let text = format!("{}\n", lines.join("\n"));
        let note = ClaimedNote::assemble(&text, vec![crate::NoteSignature::sign(&text, &signer(), Millis(0))]).unwrap();
        let again = ClaimedNote::parse(note.as_bytes()).unwrap();
        prop_assert_eq!(&again, &note);
        prop_assert_eq!(again.text(), &text);
        again.verify(&[signer().verifier()]).unwrap();
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&log_key().to_string()).unwrap())]);
        let theirs = Note::from_bytes(note.as_bytes()).unwrap();
        prop_assert_eq!(theirs.text(), text.as_bytes());
        theirs.verify(&known).unwrap();
    }

    #[test]
    fn bytes_that_we_accept_they_accept(at in 0_usize..200, byte in any::<u8>()) {
        let mut bytes = Bench::of_size(3).head().note_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&log_key().to_string()).unwrap())]);
        let ours = ClaimedNote::parse(&bytes).ok().and_then(|note| note.verify(&[&log_key()]).ok());
        let theirs = Note::from_bytes(&bytes).ok().and_then(|note| note.verify(&known).ok());
        prop_assert_eq!(ours.is_some(), theirs.is_some());
    }
}
