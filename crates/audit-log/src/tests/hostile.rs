//! Forgers: names of files, keys, bundles, and proofs that almost hold.

use proptest::prelude::*;
use puente_model::limits::NOTE_BYTES_MAX;
use puente_model::{Digest, LeafIndex, Millis, Secret32, TreeSize};

use super::{Bench, entry, log_key, signer, witness};
use crate::{
    BundleError, BundleId, ClaimedCheckpoint, ClaimedNote, ClaimedReceipt, Ed25519Signer, KeyError, KeyKind, LogPath,
    NoteError, NoteSignature, RECEIPT_BYTES_MAX, ReceiptError, Signer, SplitView, TileId, VerifierKey, decode_bundle,
    decode_tile, encode_bundle, leaf_hash, root_of_entries, verify_consistency, verify_inclusion,
};

#[test]
fn paths_have_one_spelling() {
    let good = [
        ("checkpoint", LogPath::Checkpoint),
        ("tile/0/000", TileId::new(0, 0, 256).unwrap().into()),
        ("tile/0/x001/x234/067", TileId::new(0, 1_234_067, 256).unwrap().into()),
        ("tile/3/x001/000.p/17", TileId::new(3, 1000, 17).unwrap().into()),
        ("tile/63/000.p/1", TileId::new(63, 0, 1).unwrap().into()),
        ("tile/entries/273.p/112", BundleId::new(273, 112).unwrap().into()),
        ("tile/entries/x018/x446/x744/x073/x709/x551/615", BundleId::new(u64::MAX, 256).unwrap().into()),
    ];
    for (text, path) in good {
        assert_eq!(text.parse(), Ok(path), "{text}");
        assert_eq!(path.to_string(), text);
    }
    let bad = [
        "",
        "/checkpoint",
        "checkpoint/",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/8/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/x000/000",
        "tile/0/x000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/x01/000",
        "tile/0/x0001/000",
        "tile/0/X001/000",
        "tile/0/x001//000",
        "tile/0/../000",
        "tile/0/../../../etc/passwd",
        "tile/0/000\0",
        "tile/0/000 ",
        "tile/0/٠٠٠",
        "tile/0/1é",
        "tile/data/000",
        "tile/entries/../000",
        "tile/entries/x018/x446/x744/x073/x709/x551/616",
        "tile/entries/x001/x018/x446/x744/x073/x709/x551/615",
        "tile\\0\\000",
    ];
    for text in bad {
        assert!(text.parse::<LogPath>().is_err(), "{text:?}");
    }
}

#[test]
fn verifier_keys_are_checked_whole() {
    let good = log_key().to_string();
    assert_eq!(good.parse(), Ok(log_key()));
    let blob = good.rsplit_once('+').unwrap().1.to_owned();
    let point = |bytes: [u8; 32]| VerifierKey::new("a", KeyKind::Ed25519, &bytes).map(|_| ());
    assert_eq!(point([0; 32]), Err(KeyError::Point), "a small-order point");
    assert_eq!(point([2; 32]), Err(KeyError::Point), "not on the curve");
    let unsupported = "PlausiblyMLDSA+00000000+BgAA";
    let cases = [
        ("", KeyError::Malformed),
        ("a", KeyError::Malformed),
        ("a+00000000", KeyError::Malformed),
        ("a+00000000+", KeyError::Malformed),
        ("a+00000000+AQ==", KeyError::Malformed),
        ("a+00000000+AQ", KeyError::Malformed),
        (unsupported, KeyError::UnsupportedKind(6)),
        (&format!("a+00000000+{blob}"), KeyError::IdMismatch),
        (&good.replace("mx/", "us/"), KeyError::IdMismatch),
        (&good.to_uppercase().replace(&blob.to_uppercase(), &blob), KeyError::IdMismatch),
        (&format!("+00000000+{blob}"), KeyError::Name),
        (&format!("a b+00000000+{blob}"), KeyError::Name),
        (&format!("a\u{a0}b+00000000+{blob}"), KeyError::Name),
        (&format!("a\nb+00000000+{blob}"), KeyError::Name),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text:?}");
    }
}

#[test]
fn a_signer_does_not_print_its_seed() {
    let signer = Ed25519Signer::new("a", KeyKind::Ed25519, &Secret32::new([0xab; 32])).unwrap();
    let shown = format!("{signer:?}");
    assert!(!shown.contains("ab, ab") && !shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
}

/// RFC 8032, section 7.1, test 1: the seed's public key and its signature of the empty message.
#[test]
fn signs_as_rfc_8032_says() {
    let seed: Digest = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".parse().unwrap();
    let signer = Ed25519Signer::new("a", KeyKind::Ed25519, &Secret32::new(seed.0)).unwrap();
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(Digest(*signer.verifier().public()).to_string(), public);
    assert_eq!(signer.sign(b"")[..4], [0xe5, 0x56, 0x43, 0x00]);
}

#[test]
fn bundles_are_read_exactly() {
    let bytes = encode_bundle(&[&b"abc"[..], b"", b"d"]).unwrap();
    assert_eq!(bytes, b"\0\x03abc\0\0\0\x01d");
    assert_eq!(decode_bundle(&bytes, 3).unwrap(), [&b"abc"[..], b"", b"d"]);
    assert_eq!(decode_bundle(&bytes, 2), Err(BundleError::TooMany { expected: 2 }));
    assert_eq!(decode_bundle(&bytes, 4), Err(BundleError::TooFew { found: 3, expected: 4 }));
    assert_eq!(decode_bundle(&bytes[..4], 1), Err(BundleError::Truncated { at: 0 }));
    assert_eq!(decode_bundle(&bytes[..6], 2), Err(BundleError::Truncated { at: 1 }));
    assert_eq!(decode_bundle(b"", 1), Err(BundleError::TooFew { found: 0, expected: 1 }));
    assert_eq!(decode_bundle(&[0xff; 3], 1), Err(BundleError::Truncated { at: 0 }));
    assert_eq!(encode_bundle(&[vec![0; 65_536]]), Err(BundleError::EntryTooLong { found: 65_536 }));
    assert!(decode_tile(&[0; 31]).is_none() && decode_tile(&[0; 33]).is_none());
}

#[test]
fn two_heads_of_one_size_convict() {
    let one = Bench::of_size(5);
    let mut other = Bench::of_size(4);
    other.append(&[b"forked"]);
    let split = SplitView::of(&one.head(), &other.head()).unwrap();
    assert_eq!((split.one.size(), split.other.size()), (TreeSize(5), TreeSize(5)));
    assert_eq!(SplitView::of(&one.head(), &one.head()), None);
    assert_eq!(SplitView::of(&one.head(), &other.heads[0]), None);
}

#[test]
fn what_is_too_long_is_not_even_parsed() {
    let long = vec![b'x'; NOTE_BYTES_MAX + 1];
    assert_eq!(ClaimedNote::parse(&long), Err(NoteError::TooLong { found: long.len() }));
    let long = vec![b'x'; RECEIPT_BYTES_MAX + 1];
    assert_eq!(ClaimedReceipt::parse(&long), Err(ReceiptError::TooLong { found: long.len() }));
    // Cosignatures are not added beyond the limit either.
    let head = Bench::of_size(1).head();
    let lines: Vec<NoteSignature> = (0..64).map(|i| head.cosign(&witness(), Millis(i * 1000)).unwrap()).collect();
    assert_eq!(head.with_signatures(&lines), Err(NoteError::TooManySignatures));
    let full = head.with_signatures(&lines[..63]).unwrap();
    assert_eq!(full.cosignatures(&[witness().verifier()]).unwrap().len(), 63);
    assert_eq!(full.with_signatures(&lines[..63]).unwrap(), full, "a line is not repeated");
    assert_eq!(full.cosignatures(&[]).unwrap(), []);
}

/// Every single change of an honest proof is refused, for every position of every small tree.
#[test]
fn no_mutated_proof_is_accepted() {
    let bench = Bench::of_size(40);
    let evil = leaf_hash(b"evil");
    let mutants = |honest: &[Digest]| {
        let mut all: Vec<Vec<Digest>> = Vec::new();
        for at in 0..honest.len() {
            let mut changed = honest.to_vec();
            changed[at].0[at % 32] ^= 1;
            let mut missing = honest.to_vec();
            missing.remove(at);
            let mut swapped = honest.to_vec();
            swapped.swap(at, (at + 1) % honest.len());
            all.extend([changed, missing]);
            if swapped != honest {
                all.push(swapped);
            }
        }
        for at in 0..=honest.len() {
            let mut longer = honest.to_vec();
            longer.insert(at, evil);
            all.push(longer);
        }
        all
    };
    let mut refused = 0;
    for size in 1..=40 {
        let root = root_of_entries((0..size).map(entry));
        let n = TreeSize(size);
        for i in 0..size {
            let leaf = leaf_hash(&entry(i));
            let honest = bench.log.prove_inclusion(LeafIndex(i), n, &bench.files).unwrap();
            assert!(verify_inclusion(LeafIndex(i), n, &leaf, &honest, &root).is_ok());
            for mutant in mutants(&honest) {
                assert!(verify_inclusion(LeafIndex(i), n, &leaf, &mutant, &root).is_err(), "{i} of {size}");
                refused += 1;
            }
            assert!(verify_inclusion(LeafIndex(i), n, &evil, &honest, &root).is_err());
            for other in (0..size + 2).filter(|other| *other != i) {
                assert!(verify_inclusion(LeafIndex(other), n, &leaf, &honest, &root).is_err(), "{i} as {other}");
            }
        }
        for old in 1..size {
            let old_root = root_of_entries((0..old).map(entry));
            let m = TreeSize(old);
            let honest = bench.log.prove_consistency(m, n, &bench.files).unwrap();
            assert!(verify_consistency(m, n, &old_root, &root, &honest).is_ok());
            for mutant in mutants(&honest) {
                assert!(verify_consistency(m, n, &old_root, &root, &mutant).is_err(), "{old} -> {size}");
                refused += 1;
            }
            assert!(verify_consistency(m, n, &evil, &root, &honest).is_err());
            assert!(verify_consistency(m, n, &old_root, &evil, &honest).is_err());
            assert!(verify_consistency(n, m, &root, &old_root, &honest).is_err());
        }
    }
    assert!(refused > 15_000, "{refused}");
}

#[test]
fn sizes_at_the_end_of_numbers_do_not_overflow() {
    let digest = leaf_hash(b"");
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1] {
        for at in [0, 1, size / 2, size - 1] {
            assert!(verify_inclusion(LeafIndex(at), TreeSize(size), &digest, &[digest; 64], &digest).is_err());
            let (old, new) = (TreeSize(at.max(1)), TreeSize(size));
            assert!(verify_consistency(old, new, &digest, &evil(), &[digest; 64]).is_err());
        }
    }
    fn evil() -> Digest {
        leaf_hash(b"evil")
    }
}

proptest! {
    #[test]
    fn nothing_that_is_parsed_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "\\PC{0,80}") {
        let _ = ClaimedNote::parse(&bytes);
        let _ = ClaimedCheckpoint::parse(&bytes);
        let _ = ClaimedReceipt::parse(&bytes);
        let _ = decode_bundle(&bytes, 3);
        let _ = decode_tile(&bytes);
        let _ = text.parse::<VerifierKey>();
        let _ = text.parse::<LogPath>();
        let _ = ClaimedNote::parse(format!("{text}\n\n— {text}\n").as_bytes());
    }

    /// One changed, missing or added byte: refused, or (in the extra line or an unknown signature) harmless.
    #[test]
    fn a_damaged_receipt_proves_nothing(at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let bench = Bench::of_size(11);
        let honest = bench.receipt(4).encode();
        let mut bytes = honest.clone();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
        prop_assume!(bytes != honest);
        let verified = ClaimedReceipt::parse(&bytes).and_then(|r| r.verify(&leaf_hash(&entry(4)), signer().verifier()));
        prop_assert!(verified.is_err(), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn paths_round_trip(level in 0_u8..64, index in any::<u64>(), width in 1_u16..=256, bundle in any::<bool>()) {
        let path: LogPath =
            if bundle { BundleId::new(index, width).unwrap().into() } else { TileId::new(level, index, width).unwrap().into() };
        prop_assert_eq!(path.to_string().parse(), Ok(path));
    }

    #[test]
    fn bundles_round_trip(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20)) {
        let bytes = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bytes, entries.len() as u16).unwrap(), entries);
    }
}
