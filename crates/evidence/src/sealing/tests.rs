use proptest::prelude::*;

use super::*;
use crate::testing::{flips, rng, wrong_lengths};

fn tree() -> AnswerTree {
    let fields = vec![("make".to_owned(), b"NISSAN".to_vec()), ("vin".to_owned(), b"3N1AB7AP".to_vec())];
    AnswerTree::build(fields, &mut rng(1)).unwrap()
}

fn answer() -> SealedAnswer {
    seal_body(Mode::Open, &tree(), Millis(9), vec!["confirm-before-seizure".into()], &mut rng(2)).unwrap()
}

#[test]
fn an_answer_opens_under_its_key() {
    let answer = answer();
    let checked = CheckedSealed::check(Mode::Open, &answer.sealed, answer.commitment).unwrap();
    let body = checked.open(&answer.key).unwrap();
    assert_eq!(body.at, Millis(9));
    assert_eq!(body.tree.commitment(), tree().commitment());
    assert_eq!(
        (checked.tree, checked.body_hash, checked.key_hash),
        (tree().commitment(), answer.body_hash, answer.key_hash)
    );
    assert_eq!(answer.commitment, answer_commitment(Mode::Open, checked.tree, checked.body_hash, checked.key_hash));
}

#[test]
fn every_changed_byte_of_a_reply_is_noticed_before_recording() {
    let SealedAnswer { sealed, commitment, .. } = answer();
    let check = |sealed: &proto::Sealed| CheckedSealed::check(Mode::Open, sealed, commitment).unwrap_err();
    for body in flips(&sealed.body) {
        assert_eq!(check(&proto::Sealed { body, ..sealed.clone() }), SealError::Commitment);
    }
    for tree_commitment in flips(&sealed.tree_commitment) {
        assert_eq!(check(&proto::Sealed { tree_commitment, ..sealed.clone() }), SealError::Commitment);
    }
    for key_hash in flips(&sealed.key_hash) {
        assert_eq!(check(&proto::Sealed { key_hash, ..sealed.clone() }), SealError::Commitment);
    }
    for commitment in flips(commitment.as_bytes()) {
        let commitment = Digest::try_from(commitment.as_slice()).unwrap();
        assert_eq!(CheckedSealed::check(Mode::Open, &sealed, commitment).unwrap_err(), SealError::Commitment);
    }
    for key_hash in wrong_lengths(&sealed.key_hash) {
        assert_eq!(check(&proto::Sealed { key_hash, ..sealed.clone() }), SealError::Field("key_hash"));
    }
    for tree_commitment in wrong_lengths(&sealed.tree_commitment) {
        assert_eq!(check(&proto::Sealed { tree_commitment, ..sealed.clone() }), SealError::Field("tree_commitment"));
    }
    assert_eq!(check(&proto::Sealed { body: vec![0; 15], ..sealed.clone() }), SealError::Field("body"));
    let body = vec![0; limits::ANSWER_BYTES_MAX + TAG_BYTES + 1];
    assert_eq!(
        check(&proto::Sealed { body, ..sealed.clone() }),
        SealError::TooLarge { bytes: limits::ANSWER_BYTES_MAX + 1 }
    );
    let body = vec![0; limits::ANSWER_BYTES_MAX + TAG_BYTES];
    assert_eq!(check(&proto::Sealed { body, ..sealed }), SealError::Commitment);
}

#[test]
fn a_wrong_key_blames_the_release() {
    let answer = answer();
    let checked = CheckedSealed::check(Mode::Open, &answer.sealed, answer.commitment).unwrap();
    for key in flips(answer.key.expose()) {
        let error = checked.open(&Secret32::new(key.try_into().unwrap())).unwrap_err();
        assert_eq!(error, SealError::WrongKey);
        assert!(!error.convicts_answer());
    }
}

#[test]
fn a_lying_holder_convicts_itself() {
    let key = || Secret32::new([4; 32]);
    let open = |mut answer: SealedAnswer, change: &dyn Fn(&mut proto::Sealed)| {
        change(&mut answer.sealed);
        let commitment = answer_commitment(
            Mode::Open,
            Digest::try_from(answer.sealed.tree_commitment.as_slice()).unwrap(),
            body_hash(&answer.sealed.body),
            answer.key_hash,
        );
        let error =
            CheckedSealed::check(Mode::Open, &answer.sealed, commitment).unwrap().open(&answer.key).unwrap_err();
        assert!(error.convicts_answer(), "{error}");
        error
    };
    // Noise under an honest key hash.
    let noise = seal_bytes(Mode::Open, tree().commitment(), b"", key()).unwrap();
    assert_eq!(open(noise, &|s| s.body = vec![1; 64]), SealError::DoesNotOpen);
    // A plaintext that is no message.
    let garbage = seal_bytes(Mode::Open, tree().commitment(), &[0xff; 9], key()).unwrap();
    assert_eq!(open(garbage, &|_| ()), SealError::NotABody);
    // Another tree than the one committed to.
    let other = AnswerTree::build(vec![("vin".into(), b"other".to_vec())], &mut rng(9)).unwrap();
    let body = other.to_body(Millis(0), vec![]).encode_to_vec();
    let swapped = seal_bytes(Mode::Open, tree().commitment(), &body, key()).unwrap();
    assert_eq!(open(swapped, &|_| ()), SealError::Tree(TreeError::Commitment));
}

#[test]
fn bodies_have_a_size_limit() {
    let at = |bytes: usize| {
        let tree = AnswerTree::build(vec![("a".to_owned(), vec![0; bytes])], &mut rng(1)).unwrap();
        seal_body(Mode::Open, &tree, Millis(0), vec![], &mut rng(1)).map(|_| ())
    };
    let overhead = {
        let tree = AnswerTree::build(vec![("a".to_owned(), vec![0; 400_000])], &mut rng(1)).unwrap();
        tree.to_body(Millis(0), vec![]).encoded_len() - 400_000
    };
    assert_eq!(at(limits::ANSWER_BYTES_MAX - overhead), Ok(()));
    assert_eq!(
        at(limits::ANSWER_BYTES_MAX - overhead + 1),
        Err(SealError::TooLarge { bytes: limits::ANSWER_BYTES_MAX + 1 })
    );
}

#[test]
fn content_keys_open_for_their_answer_only() {
    let reply = ReplyKey::generate(&mut rng(1)).unwrap();
    let key = Secret32::new([8; 32]);
    let leaf = Digest::of(b"answer");
    let sealed = seal_content_key(Mode::Open, reply.public(), None, leaf, &key, &mut rng(2)).unwrap();
    assert_eq!(sealed.len(), 80);
    assert_eq!(open_content_key(Mode::Open, &reply, None, leaf, &sealed).unwrap().expose(), key.expose());
    assert_eq!(
        open_content_key(Mode::Open, &reply, None, Digest::of(b"another"), &sealed).unwrap_err(),
        HpkeError::NotForThisKey
    );
    let other = ReplyKey::generate(&mut rng(3)).unwrap();
    assert_eq!(open_content_key(Mode::Open, &other, None, leaf, &sealed).unwrap_err(), HpkeError::NotForThisKey);
    for sealed in flips(&sealed) {
        assert!(open_content_key(Mode::Open, &reply, None, leaf, &sealed).is_err());
    }
    for sealed in wrong_lengths(&sealed) {
        assert_eq!(open_content_key(Mode::Open, &reply, None, leaf, &sealed).unwrap_err(), HpkeError::Length);
    }
    let psk = Secret32::new([7; 32]);
    let psk = Some(Psk { secret: &psk, id: b"group 1 epoch 2" });
    let sealed = seal_content_key(Mode::Open, reply.public(), psk, leaf, &key, &mut rng(2)).unwrap();
    assert_eq!(open_content_key(Mode::Open, &reply, psk, leaf, &sealed).unwrap().expose(), key.expose());
    assert_eq!(open_content_key(Mode::Open, &reply, None, leaf, &sealed).unwrap_err(), HpkeError::NotForThisKey);
}

#[test]
fn debug_shows_no_key() {
    let text = format!("{:?}", answer());
    assert!(text.starts_with("SealedAnswer(") && text.len() == "SealedAnswer()".len() + 64, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bodies_round_trip(values in prop::collection::vec(any::<Vec<u8>>(), 0..12), seed: u64, at: u64) {
        let fields = values.iter().enumerate().map(|(i, v)| (format!("{i:03}"), v.clone())).collect();
        let mut rng = rng(seed);
        let tree = AnswerTree::build(fields, &mut rng).unwrap();
        let answer = seal_body(Mode::Open, &tree, Millis(at), vec![], &mut rng).unwrap();
        let body = CheckedSealed::check(Mode::Open, &answer.sealed, answer.commitment).unwrap().open(&answer.key).unwrap();
        prop_assert_eq!(body.at, Millis(at));
        prop_assert!(body.tree.fields().map(|(_, v)| v.to_vec()).eq(values));
        // The same body sealed again: another key, another ciphertext.
        let again = seal_body(Mode::Open, &tree, Millis(at), vec![], &mut rng).unwrap();
        prop_assert_ne!(again.key_hash, answer.key_hash);
        prop_assert_ne!(again.body_hash, answer.body_hash);
    }

    #[test]
    fn hostile_frames_never_panic(tree: Vec<u8>, body: Vec<u8>, key: Vec<u8>, key_bytes: [u8; 32]) {
        let sealed = proto::Sealed { tree_commitment: tree, body, key_hash: key };
        prop_assert!(CheckedSealed::check(Mode::Open, &sealed, Digest::default()).is_err());
        let checked = CheckedSealed {
            mode: Mode::Open,
            tree: Digest::default(),
            body_hash: Digest::default(),
            key_hash: key_hash(&Secret32::new(key_bytes)),
            body: sealed.body,
        };
        prop_assert!(checked.open(&Secret32::new(key_bytes)).is_err());
    }
}
