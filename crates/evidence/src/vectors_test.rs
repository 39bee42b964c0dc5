//! The committed vectors of `tests/vectors/evidence`: one file per construction or defect, `key: value` lines.
//!
//! The table below makes every file from fixed randomness; `PUENTE_BLESS=1` rewrites them. What is checked is what the
//! files hold, so that a second implementation can use them alone.
#![allow(clippy::disallowed_methods, reason = "tests read and, when asked, write the committed vectors")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use puente_model::{Digest, ExchangeId, Label, Millis, Mode, Origin, Secret32, digest};
use puente_wire::proto::{self, Message as _};
use puente_wire::{Entry, Header, PairKind, SealedSeed, Veiled};

use crate::escrow::{escrow_hash, share_for, share_hash};
use crate::guard::{leaf_hash, root_of};
use crate::sealing::{
    answer_commitment, body_hash, key_hash, open_content_key, seal_body, seal_content_key, sealed_key_hash,
};
use crate::testing::{answer, auditor, rng};
use crate::tree::{TRAINING_PATH, padded, tree_commitment};
use crate::veil::open_header;
use crate::{
    AnswerTree, CheckedEscrow, CheckedSealed, EscrowSeeds, EscrowedEntry, GuardError, HeaderSeed, HpkeKeyPair,
    Multiproof, open_seed,
};

/// 2026-11-22T08:15:30.250Z.
const NOW: Millis = Millis(1_795_335_330_250);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/evidence")
}

/// The lines of one vector, in order; keys may repeat.
#[derive(Default)]
struct Vector(Vec<(String, String)>);

impl Vector {
    fn new(name: &str, expect: &str) -> Self {
        Self::default().with("name", name).with("expect", expect)
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0.push((key.to_owned(), value.to_string()));
        self
    }

    fn hex(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(key, hex::encode(value))
    }

    fn render(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
    }

    fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")))
                .map(own)
                .collect(),
        )
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect()
    }

    fn text(&self, key: &str) -> &str {
        self.all(key)[0]
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        hex::decode(self.text(key).trim()).unwrap()
    }

    fn digest(&self, key: &str) -> Digest {
        self.text(key).parse().unwrap()
    }

    fn secret(&self, key: &str) -> Secret32 {
        Secret32::new(self.bytes(key).try_into().unwrap())
    }
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn leaves(tree: &AnswerTree) -> Vec<Digest> {
    tree.to_leaves().iter().map(hash_leaf).collect()
}

fn hash_leaf(leaf: &proto::Leaf) -> Digest {
    let label = b"puente/v1/leaf".as_slice();
    let parts = [label, &leaf.salt, leaf.path.as_bytes(), &leaf.value];
    let framed = parts.iter().flat_map(|p| [(p.len() as u32).to_be_bytes().as_slice(), p].concat());
    leaf_hash(&framed.collect::<Vec<_>>())
}

fn tree() -> AnswerTree {
    tree_of(Mode::Open)
}

fn tree_of(mode: Mode) -> AnswerTree {
    let begin = if mode == Mode::Training { TRAINING_PATH } else { "" };
    let fields = [
        ("000/vehicle/make", "Toyota"),
        ("000/vehicle/model", "Tacoma"),
        ("000/vehicle/plate", "BCN1234"),
        ("000/vehicle/status", "active"),
        ("000/vehicle/vin", "1HGCM82633A004352"),
    ];
    AnswerTree::build(fields.map(|(p, v)| (format!("{begin}{p}"), v.as_bytes().to_vec())).to_vec(), &mut rng(1))
        .unwrap()
}

fn table() -> Vec<Vector> {
    let mut out = digests();
    out.extend(trees());
    out.extend(sealing(Mode::Open));
    out.extend(sealing(Mode::Training));
    out.extend(seeds());
    out
}

fn digests() -> Vec<Vector> {
    let of = |name: &str, label: &'static str, parts: &[&[u8]]| {
        let vector = Vector::new(name, "accept").with("label", label);
        let vector = parts.iter().fold(vector, |v, part| v.hex("part", part));
        vector.with("digest", digest(Label(label), parts))
    };
    vec![
        of("digest-no-parts", "puente/v1/tree", &[]),
        of("digest-one-empty-part", "puente/v1/tree", &[b""]),
        of("digest-two-parts", "puente/v1/query", &[&[7; 32], b"payload"]),
        of("digest-the-same-bytes-split-elsewhere", "puente/v1/query", &[&[7; 31], b"\x07payload"]),
    ]
}

fn trees() -> Vec<Vector> {
    let tree = tree();
    let full =
        tree.to_leaves().iter().zip(leaves(&tree)).fold(Vector::new("answer-tree", "accept"), |v, (leaf, hash)| {
            let (salt, value) = (hex::encode(&leaf.salt), hex::encode(&leaf.value));
            v.with("leaf", format!("salt={salt} path={} value={value} hash={hash}", leaf.path))
        });
    let full = full.with("root", tree.root()).with("leaf-count", tree.leaf_count());
    let mut out = vec![full.with("tree-commitment", tree.commitment())];

    let all = leaves(&tree);
    let proof = |name: &str, expect: &str, n: usize, indices: &[usize], shown: &[Digest], hashes: &[u8]| {
        let indices: Vec<_> = indices.iter().map(ToString::to_string).collect();
        let vector = Vector::new(name, expect)
            .with("root", tree.root())
            .with("leaf-count", n)
            .with("indices", indices.join(" "));
        shown.iter().fold(vector, |v, hash| v.with("shown", hash)).hex("hashes", hashes)
    };
    let honest = Multiproof::prove(&all, &[1, 4]).unwrap().to_bytes();
    let (shown, evil) = ([all[1], all[4]], Digest([0xee; 32]));
    let one = Multiproof::prove(&all, &[0]).unwrap().to_bytes();
    out.extend([
        proof("multiproof-two-of-eight", "accept", 8, &[1, 4], &shown, &honest),
        proof("multiproof-all", "accept", 8, &[0, 1, 2, 3, 4, 5, 6, 7], &all, &[]),
        proof("multiproof-indices-repeated", "reject NotIncreasing", 8, &[1, 1], &[all[1], evil], &honest),
        proof("multiproof-indices-unsorted", "reject NotIncreasing", 8, &[4, 1], &[all[4], all[1]], &honest),
        proof("multiproof-index-beyond-the-tree", "reject OutOfRange", 8, &[1, 16], &[all[1], evil], &honest),
        proof("multiproof-index-aliased", "reject OutOfRange", 8, &[8], &[all[0]], &one),
        proof("multiproof-trailing-hash", "reject HashCount", 8, &[1, 4], &shown, &[&honest[..], &[0; 32]].concat()),
        proof("multiproof-hash-missing", "reject HashCount", 8, &[1, 4], &shown, &honest[32..]),
        proof("multiproof-part-of-a-hash", "reject PartialHash", 8, &[1, 4], &shown, &honest[1..]),
        proof("multiproof-leaf-missing", "reject LeafCount", 8, &[1, 4], &shown[..1], &honest),
        proof("multiproof-leaf-too-many", "reject LeafCount", 8, &[1, 4], &[all[1], all[4], evil], &honest),
        proof("multiproof-nothing-shown", "reject NothingProven", 8, &[], &[], &[]),
        proof("multiproof-tree-of-no-leaves", "reject EmptyTree", 0, &[0], &[all[0]], &[]),
        proof("multiproof-another-leaf", "reject WrongRoot", 8, &[1, 4], &[all[1], evil], &honest),
        proof("multiproof-another-place", "reject WrongRoot", 8, &[0, 4], &shown, &honest),
    ]);
    out
}

fn sealing(mode: Mode) -> Vec<Vector> {
    let tree = tree_of(mode);
    let named = |name: &str| if mode == Mode::Training { format!("training-{name}") } else { name.to_owned() };
    let made = seal_body(mode, &tree, NOW, vec!["confirm-before-seizure".to_owned()], &mut rng(2)).unwrap();
    let body = tree.to_body(NOW, vec!["confirm-before-seizure".to_owned()]).encode_to_vec();
    let sealed = Vector::new(&named("sealed-body"), "accept")
        .hex("content-key", made.key.expose())
        .hex("body", body)
        .hex("ciphertext", &made.sealed.body)
        .with("body-hash", made.body_hash)
        .with("key-hash", made.key_hash)
        .with("tree-commitment", tree.commitment())
        .with("answer-commitment", made.commitment);
    let reply_key = HpkeKeyPair::generate(&mut rng(3)).unwrap();
    let leaf = Digest::of(b"the ANSWER's leaf hash");
    let key = seal_content_key(mode, reply_key.public(), None, leaf, &made.key, &mut rng(4)).unwrap();
    let released = |name: &str, expect: &str, leaf: Digest| {
        Vector::new(&named(name), expect)
            .hex("reply-private-key", reply_key.private().expose())
            .hex("reply-key", reply_key.public())
            .with("answer-leaf", leaf)
            .hex("sealed-key", &key)
            .with("sealed-key-hash", sealed_key_hash(&key))
            .hex("content-key", made.key.expose())
    };
    vec![
        sealed,
        released("content-key", "accept", leaf),
        released("content-key-of-another-answer", "reject NotForThisKey", Digest::of(b"another")),
    ]
}

fn seeds() -> Vec<Vector> {
    let ((mx, mx_key), (us, us_key)) = (auditor("mx", "fiscalia-auditor", 5), auditor("us", "oig-1", 6));
    let (seeds, entry) = EscrowSeeds::generate(&[mx_key.clone(), us_key], NOW.minute(), &mut rng(7)).unwrap();
    let opened = [open_seed(&mx, &entry.seeds[0]).unwrap(), open_seed(&us, &entry.seeds[1]).unwrap()];
    let sealed = |name: &str, key: &HpkeKeyPair, sealed: &SealedSeed, seed: &Secret32| {
        Vector::new(name, "accept")
            .hex("auditor-private-key", key.private().expose())
            .with("jurisdiction", &sealed.jurisdiction)
            .with("auditor", &sealed.auditor)
            .with("quarter", &sealed.quarter)
            .hex("enc", &sealed.enc)
            .hex("ciphertext", &sealed.ciphertext)
            .with("commitment", sealed.commitment)
            .hex("seed", seed.expose())
    };
    let mut out = vec![
        sealed("sealed-seed-1", &mx, &entry.seeds[0], &opened[0]),
        sealed("sealed-seed-2", &us, &entry.seeds[1], &opened[1]),
    ];

    let origin: Origin = "mx/fge-bc/n1/log1".parse().unwrap();
    let commitment = Digest::of(b"commitment");
    let named = EscrowedEntry { origin: &origin, exchange: ExchangeId([3; 16]), kind: PairKind::Query, commitment };
    let opening = b"32 bytes of salt, then the query payload";
    let (escrow, hash) = seeds.escrow(&named, opening, NOW).unwrap();
    let shares = [share_for(&opened[0], &named), share_for(&opened[1], &named)];
    out.push(
        Vector::new("escrow", "accept")
            .hex("seed-1", opened[0].expose())
            .hex("seed-2", opened[1].expose())
            .with("origin", &origin)
            .with("exchange", named.exchange)
            .with("kind", PairKind::Query as u32)
            .with("commitment", commitment)
            .hex("share-1", shares[0].expose())
            .hex("share-2", shares[1].expose())
            .hex("share-hash-1", &escrow.share_hash_1)
            .hex("share-hash-2", &escrow.share_hash_2)
            .hex("seeds-entry", Entry::Seeds(entry).encode())
            .with("seeds-leaf", seeds.leaf())
            .hex("blob", &escrow.blob)
            .with("escrow-hash", hash)
            .hex("opening", opening),
    );

    let (seed, entry) = HeaderSeed::generate(std::slice::from_ref(&mx_key), NOW.minute(), &mut rng(8)).unwrap();
    let header_seed = open_seed(&mx, &entry.seeds[0]).unwrap();
    let header = Header::Pair(answer("puente://mx/cnb/n1", commitment)).encode();
    let salt = Secret32::new([0x5a; 32]);
    let stage = puente_model::Stage::Dissemination;
    let veiled = Entry::Veiled(Veiled { stage, minute: NOW.minute(), commitment: Header::commit(&header, &salt) });
    let leaf = leaf_hash(&veiled.encode());
    let sealed = seed.seal(leaf, &salt, &header, NOW).unwrap();
    out.push(
        Vector::new("veiled-header", "accept")
            .hex("seed", header_seed.expose())
            .hex("entry", veiled.encode())
            .with("leaf", leaf)
            .hex("ciphertext", sealed.ciphertext)
            .hex("salt", salt.expose())
            .hex("header", header),
    );
    out
}

/// Judges a vector by its file alone: what it says must follow from what it gives.
fn judge(v: &Vector) -> String {
    let name = v.text("name");
    let mode = if name.starts_with("training-") { Mode::Training } else { Mode::Open };
    match name {
        _ if name.starts_with("digest-") => {
            let parts: Vec<_> = v.all("part").iter().map(|p| hex::decode(p.trim()).unwrap()).collect();
            let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
            // Labels are constants of the program; a test may make one.
            let label = Label(Box::leak(v.text("label").to_owned().into_boxed_str()));
            assert_eq!(digest(label, &parts), v.digest("digest"));
        }
        "answer-tree" => {
            let parse = |line: &&str| {
                let parts: BTreeMap<_, _> = line.split(' ').map(|p| p.split_once('=').unwrap()).collect();
                let leaf = proto::Leaf {
                    salt: hex::decode(parts["salt"]).unwrap(),
                    path: parts["path"].to_owned(),
                    value: hex::decode(parts["value"]).unwrap(),
                };
                assert_eq!(hash_leaf(&leaf).to_string(), parts["hash"]);
                leaf
            };
            let leaves: Vec<_> = v.all("leaf").iter().map(parse).collect();
            let tree = AnswerTree::from_leaves(&leaves).unwrap();
            assert_eq!(leaves.len(), padded(5));
            assert_eq!((tree.root(), tree.commitment()), (v.digest("root"), v.digest("tree-commitment")));
            assert_eq!(root_of(&leaves.iter().map(hash_leaf).collect::<Vec<_>>()), Some(tree.root()));
            assert_eq!(tree_commitment(v.text("leaf-count").parse().unwrap(), tree.root()), tree.commitment());
        }
        _ if name.starts_with("multiproof-") => {
            let indices = v.text("indices").split(' ').filter(|i| !i.is_empty()).map(|i| i.parse().unwrap()).collect();
            let shown: Vec<Digest> = v.all("shown").iter().map(|hash| hash.parse().unwrap()).collect();
            let proof = Multiproof::new(v.text("leaf-count").parse().unwrap(), indices, &v.bytes("hashes"));
            if let Err(error) = proof.and_then(|proof| proof.verify(v.digest("root"), &shown)) {
                return format!("reject {}", guard_name(&error));
            }
        }
        "sealed-body" | "training-sealed-body" => {
            let sealed = proto::Sealed {
                tree_commitment: v.bytes("tree-commitment"),
                body: v.bytes("ciphertext"),
                key_hash: v.bytes("key-hash"),
            };
            let checked = CheckedSealed::check(mode, &sealed, v.digest("answer-commitment")).unwrap();
            let key = v.secret("content-key");
            let body = checked.open(&key).unwrap();
            assert_eq!(body.tree.to_body(body.at, body.obligations.clone()).encode_to_vec(), v.bytes("body"));
            let (body, key) = (body_hash(&sealed.body), key_hash(&key));
            assert_eq!((body, key), (v.digest("body-hash"), v.digest("key-hash")));
            assert_eq!(answer_commitment(mode, v.digest("tree-commitment"), body, key), v.digest("answer-commitment"));
        }
        _ if name.starts_with("content-key") || name.starts_with("training-content-key") => {
            let pair = HpkeKeyPair::from_private(v.secret("reply-private-key")).unwrap();
            assert_eq!(pair.public().as_slice(), v.bytes("reply-key"));
            assert_eq!(sealed_key_hash(&v.bytes("sealed-key")), v.digest("sealed-key-hash"));
            match open_content_key(mode, &pair, None, v.digest("answer-leaf"), &v.bytes("sealed-key")) {
                Ok(key) => assert_eq!(key.expose().as_slice(), v.bytes("content-key")),
                Err(error) => return format!("reject {error:?}"),
            }
        }
        _ if name.starts_with("sealed-seed-") => {
            let sealed = SealedSeed {
                jurisdiction: v.text("jurisdiction").parse().unwrap(),
                auditor: v.text("auditor").to_owned(),
                quarter: v.text("quarter").to_owned(),
                commitment: v.digest("commitment"),
                enc: v.bytes("enc"),
                ciphertext: v.bytes("ciphertext"),
            };
            let pair = HpkeKeyPair::from_private(v.secret("auditor-private-key")).unwrap();
            assert_eq!(open_seed(&pair, &sealed).unwrap().expose().as_slice(), v.bytes("seed"));
        }
        "escrow" => judge_escrow(v),
        "veiled-header" => {
            let sealed = proto::SealedHeader { seeds: vec![0; 32], ciphertext: v.bytes("ciphertext") };
            let opened = open_header(&v.secret("seed"), &v.bytes("entry"), &sealed).unwrap();
            assert_eq!(leaf_hash(&v.bytes("entry")), v.digest("leaf"));
            assert_eq!(opened.salt.expose().as_slice(), v.bytes("salt"));
            assert_eq!(opened.header.encode(), v.bytes("header"));
        }
        other => panic!("no judge for {other}"),
    }
    "accept".to_owned()
}

fn judge_escrow(v: &Vector) {
    let origin: Origin = v.text("origin").parse().unwrap();
    let (exchange, commitment) = (v.text("exchange").parse().unwrap(), v.digest("commitment"));
    let named = EscrowedEntry { origin: &origin, exchange, kind: PairKind::Query, commitment };
    assert_eq!(v.text("kind"), "1");
    let shares = [share_for(&v.secret("seed-1"), &named), share_for(&v.secret("seed-2"), &named)];
    assert_eq!(shares[0].expose().as_slice(), v.bytes("share-1"));
    assert_eq!(shares[1].expose().as_slice(), v.bytes("share-2"));
    let hashes = [share_hash(&shares[0]), share_hash(&shares[1])];
    assert_eq!(hashes, [v.digest("share-hash-1"), v.digest("share-hash-2")]);
    assert_eq!(escrow_hash(v.digest("seeds-leaf"), hashes, &v.bytes("blob")), v.digest("escrow-hash"));
    let escrow = proto::Escrow {
        seeds: v.bytes("seeds-leaf"),
        share_hash_1: v.bytes("share-hash-1"),
        share_hash_2: v.bytes("share-hash-2"),
        blob: v.bytes("blob"),
    };
    let checked = CheckedEscrow::check(&escrow, v.digest("escrow-hash")).unwrap();
    assert!(checked.quotes(&v.bytes("seeds-entry")));
    assert_eq!(checked.open(&shares[0], &shares[1]).unwrap().as_slice(), v.bytes("opening"));
}

fn guard_name(error: &GuardError) -> &'static str {
    match error {
        GuardError::EmptyTree => "EmptyTree",
        GuardError::TreeTooLarge { .. } => "TreeTooLarge",
        GuardError::NothingProven => "NothingProven",
        GuardError::TooManyLeaves { .. } => "TooManyLeaves",
        GuardError::NotIncreasing { .. } => "NotIncreasing",
        GuardError::OutOfRange { .. } => "OutOfRange",
        GuardError::LeafCount { .. } => "LeafCount",
        GuardError::PartialHash { .. } => "PartialHash",
        GuardError::HashCount { .. } => "HashCount",
        GuardError::WrongRoot => "WrongRoot",
    }
}

#[test]
fn committed_vectors_are_the_table_and_hold() {
    let mut expected = BTreeSet::new();
    for vector in table() {
        let file = folder().join(format!("{}.txt", vector.text("name")));
        if std::env::var_os("PUENTE_BLESS").is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&file, vector.render()).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        let what = "run PUENTE_BLESS=1 cargo test -p puente-evidence vectors";
        assert!(committed == vector.render(), "{}: {what}", file.display());
        assert!(expected.insert(file));
    }
    let found: BTreeSet<_> = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path()).collect();
    let found: BTreeSet<_> = found.into_iter().filter(|f| f.extension().is_some_and(|e| e == "txt")).collect();
    assert_eq!(found, expected);
    for file in found {
        let vector = Vector::parse(&std::fs::read_to_string(&file).unwrap());
        assert_eq!(judge(&vector), vector.text("expect"), "{}", file.display());
    }
}
