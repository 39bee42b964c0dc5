use hpke_rs::HpkePrivateKey;
use proptest::prelude::*;

use super::*;
use crate::testing::{flips, rng, wrong_lengths};

fn bytes32(hex: &str) -> [u8; 32] {
    let bytes: Vec<_> = (0..64).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// RFC 9180, appendix A.1.1: the KEM of our suite.
#[test]
fn encapsulation_is_rfc_9180() {
    let recipient = bytes32("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    let ephemeral = bytes32("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736");
    let (shared, enc) = encapsulate(&recipient, &Secret32::new(ephemeral)).unwrap();
    assert_eq!(enc, bytes32("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"));
    assert_eq!(shared.as_slice(), bytes32("fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"));
}

/// What we seal with our randomness, `hpke-rs` opens by itself, and the other way round.
#[test]
fn interoperates_with_the_library() {
    let pair = HpkeKeyPair::generate(&mut rng(1)).unwrap();
    let (secret, psk) = (Secret32::new([5; 32]), Secret32::new([6; 32]));
    let private = HpkePrivateKey::from(pair.private().expose().as_slice());
    for psk in [None, Some(Psk { secret: &psk, id: b"group 7" })] {
        let (mode, psk_bytes, psk_id) = mode(psk).unwrap();
        let sealed = seal(pair.public(), psk, b"info", &secret, &mut rng(2)).unwrap();
        let mut library = Hpke::<HpkeRustCrypto>::new(mode, KEM, KDF, AEAD);
        let (bytes, id) = (Some(psk_bytes), Some(psk_id));
        let opened = library.open(&sealed.enc, &private, b"info", b"", &sealed.ciphertext, bytes, id, None).unwrap();
        assert_eq!(opened, secret.expose());

        let public = hpke_rs::HpkePublicKey::from(pair.public().as_slice());
        let (enc, ciphertext) = library.seal(&public, b"info", b"", secret.expose(), bytes, id, None).unwrap();
        assert_eq!(open(&pair, psk, b"info", &enc, &ciphertext).unwrap().expose(), secret.expose());
    }
}

#[test]
fn low_order_keys_are_refused() {
    let mut one = [0; 32];
    one[0] = 1;
    for bad in [[0; 32], one] {
        assert_eq!(seal(&bad, None, b"", &Secret32::new([1; 32]), &mut rng(1)), Err(HpkeError::PublicKey));
        let pair = HpkeKeyPair::generate(&mut rng(1)).unwrap();
        assert_eq!(open(&pair, None, b"", &bad, &[0; 48]).unwrap_err(), HpkeError::PublicKey);
    }
}

#[test]
fn psk_needs_an_id() {
    let secret = Secret32::new([1; 32]);
    let psk = Some(Psk { secret: &secret, id: b"" });
    let pair = HpkeKeyPair::generate(&mut rng(1)).unwrap();
    assert_eq!(seal(pair.public(), psk, b"", &secret, &mut rng(1)), Err(HpkeError::PskId));
    assert_eq!(open(&pair, psk, b"", &[9; 32], &[0; 48]).unwrap_err(), HpkeError::PskId);
}

#[test]
fn only_key_psk_and_info_together_open() {
    let mut rng = rng(3);
    let (pair, other) = (HpkeKeyPair::generate(&mut rng).unwrap(), HpkeKeyPair::generate(&mut rng).unwrap());
    let (secret, psk) = (Secret32::new([1; 32]), Secret32::new([2; 32]));
    let psk = Some(Psk { secret: &psk, id: b"epoch 4" });
    let sealed = seal(pair.public(), psk, b"info", &secret, &mut rng).unwrap();
    let try_open = |pair, psk, info: &[u8]| open(pair, psk, info, &sealed.enc, &sealed.ciphertext).map(|_| ());
    assert_eq!(try_open(&pair, psk, b"info"), Ok(()));
    let no = Err(HpkeError::NotForThisKey);
    assert_eq!(try_open(&other, psk, b"info"), no);
    assert_eq!(try_open(&pair, None, b"info"), no);
    assert_eq!(try_open(&pair, psk, b"other"), no);
    assert_eq!(try_open(&pair, Some(Psk { secret: &secret, id: b"epoch 4" }), b"info"), no);
    assert_eq!(try_open(&pair, psk.map(|p| Psk { id: b"epoch 5", ..p }), b"info"), no);
}

#[test]
fn every_changed_byte_is_noticed() {
    let pair = HpkeKeyPair::generate(&mut rng(1)).unwrap();
    let sealed = seal(pair.public(), None, b"i", &Secret32::new([1; 32]), &mut rng(2)).unwrap();
    for ciphertext in flips(&sealed.ciphertext) {
        assert_eq!(open(&pair, None, b"i", &sealed.enc, &ciphertext).unwrap_err(), HpkeError::NotForThisKey);
    }
    for enc in flips(&sealed.enc) {
        assert!(open(&pair, None, b"i", &enc, &sealed.ciphertext).is_err());
    }
    for ciphertext in wrong_lengths(&sealed.ciphertext) {
        assert_eq!(open(&pair, None, b"i", &sealed.enc, &ciphertext).unwrap_err(), HpkeError::Length);
    }
    for enc in wrong_lengths(&sealed.enc) {
        assert_eq!(open(&pair, None, b"i", &enc, &sealed.ciphertext).unwrap_err(), HpkeError::Length);
    }
}

#[test]
fn stored_keys_come_back() {
    let pair = HpkeKeyPair::generate(&mut rng(1)).unwrap();
    let stored = Secret32::new(*pair.private().expose());
    assert_eq!(HpkeKeyPair::from_private(stored).unwrap().public(), pair.public());
    assert_eq!(format!("{pair:?}"), "HpkeKeyPair(..)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn round_trips_and_is_a_function_of_the_randomness(secret: [u8; 32], info: Vec<u8>, seed: u64) {
        let pair = HpkeKeyPair::generate(&mut rng(seed)).unwrap();
        let secret = Secret32::new(secret);
        let seal = |seed| seal(pair.public(), None, &info, &secret, &mut rng(seed)).unwrap();
        let sealed = seal(seed);
        prop_assert_eq!(&seal(seed), &sealed);
        prop_assert_ne!(&seal(seed.wrapping_add(1)), &sealed);
        let opened = open(&pair, None, &info, &sealed.enc, &sealed.ciphertext).unwrap();
        prop_assert_eq!(opened.expose(), secret.expose());
    }
}
