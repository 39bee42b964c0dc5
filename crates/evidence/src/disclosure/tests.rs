use proptest::prelude::*;
use puente_model::{CharterVector, EventKind, Millis, Mode, Stage};
use puente_wire::{Event, Veiled};

use super::*;
use crate::testing::{answer, flips, rng};
use crate::{CheckedSealed, SealError, SealedAnswer, sealing};

const ABROAD: &str = "puente://us/atf/n1";
const AT_HOME: &str = "puente://mx/sspc/n1";
const SALT: [u8; 32] = [8; 32];

struct World {
    tree: AnswerTree,
    sealed: SealedAnswer,
    entry: Vec<u8>,
    header: Option<Vec<u8>>,
}

impl World {
    fn new(fields: usize, seed: u64, to: &str) -> Self {
        let mut rng = rng(seed);
        let fields = (0..fields).map(|i| (format!("records/0/{i:03}"), format!("value {i}").into_bytes())).collect();
        let tree = AnswerTree::build(fields, &mut rng).unwrap();
        let sealed = sealing::seal_body(Mode::Open, &tree, Millis(1), vec![], &mut rng).unwrap();
        let pair = answer(to, sealed.commitment);
        if !pair.is_domestic() {
            return Self { tree, sealed, entry: Entry::Pair(pair).encode(), header: None };
        }
        let header = Header::Pair(pair).encode();
        Self { tree, sealed, entry: veil(&header), header: Some(header) }
    }

    fn disclose(&self, paths: &[&str]) -> Result<proto::Disclosure, DisclosureError> {
        let salt = Secret32::new(SALT);
        let source = DisclosureSource {
            entry: &self.entry,
            receipt: b"c2sp.org/tlog-proof@v1",
            header: self.header.as_deref().map(|header| (header, &salt)),
            body_hash: self.sealed.body_hash,
            key_hash: self.sealed.key_hash,
        };
        disclose(&source, &self.tree, paths)
    }
}

fn veil(header: &[u8]) -> Vec<u8> {
    let commitment = Header::commit(header, &Secret32::new(SALT));
    Entry::Veiled(Veiled { stage: Stage::ALL[0], minute: puente_model::Minute(1), commitment }).encode()
}

#[test]
fn a_court_sees_two_fields_and_nothing_else() {
    for to in [ABROAD, AT_HOME] {
        let world = World::new(13, 1, to);
        let disclosure = world.disclose(&["records/0/007", "records/0/002", "records/0/007"]).unwrap();
        let verified = verify(&disclosure).unwrap();
        let expected = [("records/0/002", "value 2"), ("records/0/007", "value 7")];
        assert_eq!(verified.fields, expected.map(|(p, v)| (p.to_owned(), v.as_bytes().to_vec())));
        assert_eq!(verified.leaf, leaf_hash(&world.entry));
        assert_eq!(verified.receipt, b"c2sp.org/tlog-proof@v1");
        assert_eq!(verified.answer.to.to_string(), to);
        assert_eq!(verified.leaf_count, 16);
        let bytes = proto::Message::encode_to_vec(&disclosure);
        for (path, value) in world.tree.fields().filter(|(path, _)| !["records/0/002", "records/0/007"].contains(path))
        {
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
            assert!(!holds(path.as_bytes()), "{path}");
            assert!(value.len() < 8 || !holds(value), "{path}");
        }
        let text = format!("{verified:?}");
        assert!(!text.contains("value"), "{text}");
    }
}

#[test]
fn only_fields_of_the_answer_can_be_shown() {
    let world = World::new(3, 1, ABROAD);
    assert_eq!(
        world.disclose(&["records/0/001", "nothing"]),
        Err(DisclosureError::Tree(TreeError::NoSuchField { index: 1 }))
    );
    // A decoy's path.
    assert_eq!(world.disclose(&[""]), Err(DisclosureError::Tree(TreeError::NoSuchField { index: 0 })));
    assert_eq!(world.disclose(&[]), Err(DisclosureError::Tree(TreeError::Guard(GuardError::NothingProven))));
    // The tree of one answer beside the entry of another is caught where it is made.
    let other = World { tree: World::new(3, 2, ABROAD).tree, ..World::new(3, 1, ABROAD) };
    assert_eq!(other.disclose(&["records/0/001"]), Err(DisclosureError::Commitment));
}

#[test]
fn forgeries_are_named() {
    let world = World::new(3, 1, ABROAD);
    let good = world.disclose(&["records/0/000", "records/0/002"]).unwrap();
    let check = |change: &dyn Fn(&mut proto::Disclosure)| {
        let mut changed = good.clone();
        change(&mut changed);
        verify(&changed).map(|_| ()).unwrap_err()
    };
    let guard = DisclosureError::Guard;
    assert_eq!(check(&|d| d.v = 2), DisclosureError::Version(2));
    assert_eq!(check(&|d| d.receipt.clear()), DisclosureError::Field("receipt"));
    assert_eq!(check(&|d| d.header = vec![1]), DisclosureError::Field("header"));
    assert_eq!(check(&|d| d.tree_root.truncate(31)), DisclosureError::Field("tree_root"));
    assert!(matches!(check(&|d| d.entry.push(0)), DisclosureError::Wire(_)));
    // Trap 5 of rs_merkle: the root does not bind the number of leaves; the commitment does.
    for leaf_count in [0, 2, 3, 5, 8, u32::MAX] {
        assert_eq!(check(&|d| d.leaf_count = leaf_count), DisclosureError::Commitment);
    }
    for (bytes, field) in [(&good.tree_root, 0), (&good.body_hash, 1), (&good.key_hash, 2)] {
        for changed in flips(bytes) {
            let error = check(&|d| *[&mut d.tree_root, &mut d.body_hash, &mut d.key_hash][field] = changed.clone());
            assert_eq!(error, DisclosureError::Commitment);
        }
    }
    // Traps 1, 2, 3, 4 and 6.
    assert_eq!(check(&|d| d.indices = vec![0, 0]), guard(GuardError::NotIncreasing { index: 0 }));
    assert_eq!(check(&|d| d.indices = vec![2, 0]), guard(GuardError::NotIncreasing { index: 0 }));
    assert_eq!(check(&|d| d.indices = vec![0, 16]), guard(GuardError::OutOfRange { index: 16, leaves: 4 }));
    assert_eq!(check(&|d| d.indices = vec![4, 6]), guard(GuardError::OutOfRange { index: 4, leaves: 4 }));
    assert_eq!(check(&|d| d.multiproof.extend([0; 32])), guard(GuardError::HashCount { found: 3, needed: 2 }));
    assert_eq!(check(&|d| d.indices = vec![1, 2]), guard(GuardError::WrongRoot));
    assert_eq!(check(&|d| d.indices = vec![]), guard(GuardError::NothingProven));
    for multiproof in flips(&good.multiproof) {
        assert_eq!(check(&|d| d.multiproof.clone_from(&multiproof)), guard(GuardError::WrongRoot));
    }
    // The fields.
    assert_eq!(check(&|d| d.leaves[1].value.push(0)), guard(GuardError::WrongRoot));
    assert_eq!(check(&|d| d.leaves[0].path.push('x')), guard(GuardError::WrongRoot));
    assert_eq!(check(&|d| d.leaves[0].salt[0] ^= 1), guard(GuardError::WrongRoot));
    assert_eq!(check(&|d| d.leaves[0].salt.clear()), TreeError::Salt { index: 0 }.into());
    assert_eq!(check(&|d| d.leaves.swap(0, 1)), TreeError::Path { index: 1 }.into());
    assert_eq!(check(&|d| d.leaves.truncate(1)), DisclosureError::Field("leaves"));
    assert_eq!(
        check(&|d| d.leaves[0] = proto::Leaf { salt: vec![0; 32], ..Default::default() }),
        TreeError::Path { index: 0 }.into()
    );
}

#[test]
fn only_answers_disclose() {
    let world = World::new(3, 1, AT_HOME);
    let good = world.disclose(&["records/0/000"]).unwrap();
    let check = |change: &dyn Fn(&mut proto::Disclosure)| {
        let mut changed = good.clone();
        change(&mut changed);
        verify(&changed).map(|_| ()).unwrap_err()
    };
    assert_eq!(check(&|d| d.header_salt[0] ^= 1), DisclosureError::Header);
    assert_eq!(check(&|d| d.header_salt.clear()), DisclosureError::Field("header_salt"));
    assert_eq!(check(&|d| d.header.push(0)), DisclosureError::Header);
    // A local event, and a pair entry of two nations that hides behind a veil.
    let event = Header::Event(Event::new(EventKind::ALL[0], Millis(1), CharterVector::default())).encode();
    let abroad = Header::Pair(answer(ABROAD, world.sealed.commitment)).encode();
    for header in [event, abroad] {
        let error = check(&|d| {
            d.entry = veil(&header);
            d.header.clone_from(&header);
        });
        assert_eq!(error, DisclosureError::NotAnAnswer);
    }
    // An answer that disclosed nothing: its commitment has another label.
    let plain = answer(ABROAD, Header::commit(b"", &Secret32::new(SALT)));
    let error = check(&|d| {
        d.entry = Entry::Pair(plain.clone()).encode();
        d.header.clear();
        d.header_salt.clear();
    });
    assert_eq!(error, DisclosureError::Commitment);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_choice_of_fields_verifies(fields in 1usize..80, seed: u64, pick in prop::collection::vec(any::<prop::sample::Index>(), 1..9)) {
        let world = World::new(fields, seed, ABROAD);
        let all: Vec<_> = world.tree.fields().collect();
        let paths: Vec<_> = pick.iter().map(|i| i.get(&all).0).collect();
        let verified = verify(&world.disclose(&paths).unwrap()).unwrap();
        let mut expected: Vec<_> = paths.iter().map(|p| (*p).to_owned()).collect();
        expected.sort();
        expected.dedup();
        prop_assert!(verified.fields.iter().map(|(p, _)| p.clone()).eq(expected));
        for (path, value) in &verified.fields {
            prop_assert!(all.contains(&(path.as_str(), value.as_slice())));
        }
    }
}

#[test]
fn a_changed_byte_never_changes_what_is_believed() {
    let world = World::new(6, 1, AT_HOME);
    let good = world.disclose(&["records/0/001", "records/0/004"]).unwrap();
    let fields = verify(&good).unwrap().fields;
    let bytes = proto::Message::encode_to_vec(&good);
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        let Ok(changed) = <proto::Disclosure as proto::Message>::decode(changed.as_slice()) else { continue };
        // What verifies all the same is another receipt or an entry of another stage or minute, both of
        // which the log's own proof guards; never other fields, and never another answer.
        if let Ok(verified) = verify(&changed) {
            assert_eq!(verified.fields, fields, "byte {at}, bit {bit}");
            assert_eq!(verified.leaf, leaf_hash(&changed.entry));
            let (entry, receipt) = (changed.entry.clone(), changed.receipt.clone());
            assert_eq!(changed, proto::Disclosure { entry, receipt, ..good.clone() }, "byte {at}, bit {bit}");
        }
    }
}

/// An answer of this mode, about one field of this path.
fn of_mode(mode: Mode, path: &str) -> Result<World, SealError> {
    let mut rng = rng(3);
    let tree = AnswerTree::build(vec![(path.to_owned(), b"value".to_vec())], &mut rng).unwrap();
    let sealed = sealing::seal_body(mode, &tree, Millis(1), vec![], &mut rng)?;
    let entry = Entry::Pair(said(mode, sealed.commitment)).encode();
    Ok(World { tree, sealed, entry, header: None })
}

fn said(mode: Mode, commitment: Digest) -> Pair {
    let mut pair = answer(ABROAD, commitment);
    let PairBody::Answer { terms, .. } = &mut pair.body else { panic!() };
    terms.mode = mode;
    pair
}

#[test]
fn what_was_disclosed_in_training_is_never_taken_for_real_nor_the_reverse() {
    let (real, trained) = ("000/vehicle/vin", "training/000/vehicle/vin");
    for (mode, path, other, wrong) in
        [(Mode::Open, real, Mode::Training, trained), (Mode::Training, trained, Mode::Open, real)]
    {
        let honest = of_mode(mode, path).unwrap();
        assert_eq!(verify(&honest.disclose(&[path]).unwrap()).unwrap().answer.terms().unwrap().mode, mode);
        // A node does not even seal a field of the other kind.
        let at_0 = TreeError::Mode { index: 0 };
        assert_eq!(of_mode(mode, wrong).err(), Some(SealError::Tree(at_0.clone())));
        // The same leaves, key and body under an entry of the other mode, whatever that entry commits to.
        let commitment = |of: Mode| {
            let tree = honest.tree.commitment();
            sealing::answer_commitment(of, tree, honest.sealed.body_hash, honest.sealed.key_hash)
        };
        for (committed, expected) in
            [(commitment(mode), DisclosureError::Commitment), (commitment(other), DisclosureError::Tree(at_0.clone()))]
        {
            let entry = Entry::Pair(said(other, committed)).encode();
            let replayed = World { tree: honest.tree.clone(), sealed: honest.sealed.clone(), entry, header: None };
            assert_eq!(replayed.disclose(&[path]).unwrap_err(), expected, "{mode} as {other}");
        }
        // The asker's side: what was sealed under one mode is no answer of the other.
        let SealedAnswer { sealed, key, .. } = &honest.sealed;
        assert_eq!(CheckedSealed::check(other, sealed, commitment(mode)).unwrap_err(), SealError::Commitment);
        let checked = CheckedSealed::check(other, sealed, commitment(other)).unwrap();
        let error = checked.open(key).unwrap_err();
        assert!(error == SealError::DoesNotOpen && error.convicts_answer());
        let reply = crate::HpkeKeyPair::generate(&mut rng(4)).unwrap();
        let leaf = leaf_hash(&honest.entry);
        let sealed_key = sealing::seal_content_key(mode, reply.public(), None, leaf, key, &mut rng(5)).unwrap();
        assert!(sealing::open_content_key(mode, &reply, None, leaf, &sealed_key).is_ok());
        assert!(sealing::open_content_key(other, &reply, None, leaf, &sealed_key).is_err());
    }
}
