//! The committed vectors: one file per rule or defect, `name:` and `expect:` first, the bytes after a blank line.
//!
//! The table below makes every file; `PUENTE_BLESS=1` rewrites them. What is checked is
//! what the files hold, so that a second implementation can use them alone.
#![allow(clippy::disallowed_methods, reason = "tests read and, when asked, write the committed vectors")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_model::{Digest, LeafIndex, Millis, Secret32, TreeSize};

use super::{Bench, ORIGIN, entry, log_key, signer, witness};
use crate::{
    Checkpoint, ClaimedCheckpoint, ClaimedNote, ClaimedReceipt, Ed25519Signer, KeyKind, NoteSignature, Signer,
    VerifierKey, leaf_hash, root_of_entries, verify_consistency,
};

/// One vector: a folder, a name, what is expected, headers, bytes.
pub(super) struct Vector {
    pub(super) folder: &'static str,
    pub(super) name: &'static str,
    pub(super) expect: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) bytes: Vec<u8>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/audit-log")
}

fn render(vector: &Vector) -> Vec<u8> {
    let mut out = format!("name:   {}\nexpect: {}\n", vector.name, vector.expect);
    for (key, value) in &vector.headers {
        out.push_str(&format!("{key}: {value}\n"));
    }
    // A line end of its own follows, so that an editor's final newline is never part of the bytes.
    let (encoding, body) = match std::str::from_utf8(&vector.bytes) {
        Ok(text)
            if vector.bytes.len() < 8192 && text.ends_with('\n') && !text.bytes().any(|b| b < 0x20 && b != b'\n') =>
        {
            ("text", text.to_owned())
        }
        _ => ("base64", format!("{}\n", STANDARD.encode(&vector.bytes))),
    };
    out.push_str(&format!("encoding: {encoding}\n\n{body}"));
    out.into_bytes()
}

pub(super) struct Read {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) bytes: Vec<u8>,
}

impl Read {
    fn parse(file: &str) -> Self {
        let (head, body) = file.split_once("\n\n").unwrap();
        let headers: BTreeMap<String, String> = head
            .lines()
            .map(|line| line.split_once(':').unwrap())
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect();
        let bytes = match headers["encoding"].as_str() {
            "text" => body.as_bytes().to_vec(),
            _ => STANDARD.decode(body.trim_end()).unwrap(),
        };
        Self { headers, bytes }
    }

    /// A vector as if it had been read.
    pub(super) fn of(vector: &Vector) -> Self {
        let headers = vector.headers.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Self { headers, bytes: vector.bytes.clone() }
    }

    pub(super) fn key(&self, name: &str) -> VerifierKey {
        self.headers[name].parse().unwrap()
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.headers[name].parse().unwrap()
    }

    pub(super) fn digest(&self, name: &str) -> Digest {
        Digest::try_from(STANDARD.decode(&self.headers[name]).unwrap().as_slice()).unwrap()
    }
}

/// The innermost variant's name: `Checkpoint(Note(BadLine { line: 1 }))` is `BadLine`.
pub(super) fn verdict<T, E: Debug>(result: Result<T, E>) -> String {
    let Err(error) = result else { return "accept".to_owned() };
    let shown = format!("{error:?}");
    let mut rest = shown.as_str();
    for wrapper in ["Malformed(", "Untrusted(", "Inconsistent(", "Checkpoint(", "Note(", "Proof("] {
        rest = rest.strip_prefix(wrapper).unwrap_or(rest);
    }
    format!("reject {}", rest.split([' ', '(', ')', '{']).next().unwrap())
}

/// The one check function.
fn check(folder: &str, read: &Read) -> String {
    match folder {
        "note" => {
            let keys: Vec<VerifierKey> =
                ["key", "witness"].iter().filter(|k| read.headers.contains_key(**k)).map(|k| read.key(k)).collect();
            let keys: Vec<&VerifierKey> = keys.iter().collect();
            verdict(ClaimedNote::parse(&read.bytes).and_then(|note| note.verify(&keys)))
        }
        "checkpoint" => verdict(ClaimedCheckpoint::parse(&read.bytes).and_then(|c| c.verify(&read.key("key")))),
        "tlog-proof" => {
            let entry = STANDARD.decode(&read.headers["entry"]).unwrap();
            let claimed = ClaimedReceipt::parse(&read.bytes);
            if let Ok(receipt) = &claimed {
                assert_eq!(receipt.encode(), read.bytes, "canonical");
            }
            verdict(claimed.and_then(|receipt| receipt.verify(&leaf_hash(&entry), &read.key("key"))))
        }
        "consistency" => {
            let text = String::from_utf8(read.bytes.clone()).unwrap();
            let hashes: Vec<Digest> = text
                .lines()
                .filter(|line| !line.is_empty())
                .map(|line| Digest::try_from(STANDARD.decode(line).unwrap().as_slice()).unwrap())
                .collect();
            let (old, new) = (TreeSize(read.number("old")), TreeSize(read.number("new")));
            verdict(verify_consistency(old, new, &read.digest("old-root"), &read.digest("new-root"), &hashes))
        }
        "add-checkpoint" => super::witnessing::check(read),
        other => panic!("no check for {other}"),
    }
}

#[test]
fn every_vector_is_judged_as_it_says() {
    let bless = std::env::var_os("PUENTE_BLESS").is_some();
    let mut wanted = BTreeSet::new();
    for vector in all() {
        let path = folder().join(vector.folder).join(format!("{}.txt", vector.name));
        assert!(wanted.insert(path.clone()), "{} twice", vector.name);
        let made = render(&vector);
        if bless {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let read = Read::parse(&file);
        assert_eq!(read.bytes, vector.bytes, "{}", path.display());
        assert_eq!(read.headers["name"], path.file_stem().unwrap().to_str().unwrap());
        assert_eq!(check(vector.folder, &read), read.headers["expect"], "{}", path.display());
        assert_eq!(file.as_bytes(), made, "{}: out of date; run with PUENTE_BLESS=1", path.display());
    }
    for kind in std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for file in std::fs::read_dir(kind).unwrap() {
            let path = file.unwrap().path();
            assert!(wanted.contains(&path), "{} is not in the table", path.display());
        }
    }
}

fn all() -> Vec<Vector> {
    [notes(), checkpoints(), proofs(), consistency(), super::witnessing::vectors()].into_iter().flatten().collect()
}

fn sign(text: &str, signer: &dyn Signer) -> Vec<u8> {
    ClaimedNote::assemble(text, vec![NoteSignature::sign(text, signer, AT)]).unwrap().as_bytes().to_vec()
}

const AT: Millis = Millis(1_700_000_000_000);

fn other_signer(name: &str) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::Ed25519, &Secret32::new([9; 32])).unwrap()
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from:?} in {text:?}");
    text.replacen(from, to, 1).into_bytes()
}

/// Changes the Base64 of the first signature line.
fn with_blob(bytes: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    let line = text.lines().find(|line| line.starts_with("— ")).unwrap();
    let (name, blob) = line.rsplit_once(' ').unwrap();
    let mut blob = STANDARD.decode(blob).unwrap();
    change(&mut blob);
    replace(bytes, line, &format!("{name} {}", STANDARD.encode(blob)))
}

fn line_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().lines().last().unwrap().to_owned()
}

fn notes() -> Vec<Vector> {
    let text = "Puente\na note of two lines\n";
    let honest = sign(text, &signer());
    let stranger = line_of(&sign(text, &other_signer("stranger.example")));
    let namesake = line_of(&sign(text, &other_signer(ORIGIN)));
    let cosigned = sign(text, &witness());
    let with_lines = |n: usize| {
        let mut out = honest.clone();
        (1..n).for_each(|_| out.extend_from_slice(format!("{stranger}\n").as_bytes()));
        out
    };
    let line = line_of(&honest);
    let both = [&honest[..], line_of(&cosigned).as_bytes(), b"\n"].concat();
    let unpadded = line.trim_end_matches('=');
    assert_ne!(unpadded, line);
    let stray = {
        // 68 bytes end in two padding characters; the last digit carries four unused bits.
        let digit = unpadded.chars().last().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let at = alphabet.find(digit).unwrap();
        let next = &alphabet[at + 1..at + 2];
        line.replacen(&format!("{digit}="), &format!("{next}="), 1)
    };
    let cases: Vec<(&'static str, &'static str, Vec<u8>)> = vec![
        ("honest", "accept", honest.clone()),
        ("honest-with-blank-lines-in-text", "accept", sign("a\n\n\nb\n\n", &signer())),
        ("honest-with-unknown-signer", "accept", with_lines(2)),
        ("honest-with-unknown-key-of-known-name", "accept", [&honest[..], namesake.as_bytes(), b"\n"].concat()),
        ("honest-sixteen-signatures", "accept", with_lines(16)),
        ("honest-sixty-four-signatures", "accept", with_lines(64)),
        ("honest-cosignature-alone", "accept", cosigned.clone()),
        ("honest-signed-and-cosigned", "accept", both.clone()),
        ("sixty-five-signatures", "reject TooManySignatures", with_lines(65)),
        ("not-utf8", "reject NotText", [b"\xff", &honest[..]].concat()),
        ("control-character", "reject NotText", replace(&honest, "Puente", "Pu\u{1}nte")),
        ("carriage-return", "reject NotText", replace(&honest, "Puente\n", "Puente\r\n")),
        ("no-blank-line", "reject NoBlankLine", replace(&honest, "\n\n", "\n")),
        ("no-signature-line", "reject NoSignatures", format!("{text}\n").into_bytes()),
        ("no-final-newline", "reject NoSignatures", honest[..honest.len() - 1].to_vec()),
        ("blank-line-at-the-end", "reject NoSignatures", [&honest[..], b"\n"].concat()),
        ("hyphen-instead-of-em-dash", "reject BadLine", replace(&honest, "— ", "- ")),
        ("no-space-after-dash", "reject BadLine", replace(&honest, "— ", "—")),
        ("name-missing", "reject BadLine", replace(&honest, ORIGIN, "")),
        ("name-with-plus", "reject BadLine", replace(&honest, ORIGIN, "a+b")),
        ("name-with-no-break-space", "reject BadLine", replace(&honest, ORIGIN, "a\u{a0}b")),
        ("name-with-space", "reject BadLine", replace(&honest, ORIGIN, "a b")),
        ("base64-unpadded", "reject BadLine", replace(&honest, &line, unpadded)),
        ("base64-stray-bits", "reject BadLine", replace(&honest, &line, &stray)),
        ("base64-url-alphabet", "reject BadLine", replace(&honest, &line, &format!("— {ORIGIN} --__"))),
        ("signature-without-bytes", "reject BadLine", with_blob(&honest, |b| b.truncate(4))),
        ("key-id-cut", "reject BadLine", with_blob(&honest, |b| b.truncate(3))),
        ("text-altered", "reject BadSignature", replace(&honest, "two", "ten")),
        ("signature-altered", "reject BadSignature", with_blob(&honest, |b| b[20] ^= 1)),
        ("signature-cut", "reject BadSignature", with_blob(&honest, |b| b.truncate(67))),
        ("signature-with-trailing-byte", "reject BadSignature", with_blob(&honest, |b| b.push(0))),
        ("scalar-not-reduced", "reject BadSignature", with_blob(&honest, |b| b[67] |= 0xe0)),
        ("cosignature-time-altered", "reject BadSignature", with_blob(&cosigned, |b| b[11] ^= 1)),
        ("cosignature-time-cut", "reject BadSignature", with_blob(&cosigned, |b| b.truncate(7))),
        ("known-signature-bad-beside-a-good-one", "reject BadSignature", with_blob(&both, |b| b[20] ^= 1)),
        ("unknown-key-only", "reject NoKnownSignature", sign(text, &other_signer("stranger.example"))),
        ("unknown-key-of-known-name-only", "reject NoKnownSignature", sign(text, &other_signer(ORIGIN))),
        ("known-id-under-another-name", "reject NoKnownSignature", replace(&honest, ORIGIN, "us/fge-bc/n1/log1")),
    ];
    let headers = || vec![("key", log_key().to_string()), ("witness", witness().verifier().to_string())];
    cases
        .into_iter()
        .map(|(name, expect, bytes)| Vector { folder: "note", name, expect, headers: headers(), bytes })
        .collect()
}

fn checkpoints() -> Vec<Vector> {
    let root = root_of_entries((0..5).map(entry));
    let text = Checkpoint::new(ORIGIN, TreeSize(5), root).unwrap().to_string();
    let root64 = STANDARD.encode(root.0);
    let empty = STANDARD.encode(crate::empty_root().0);
    let body = |size: &str, root: &str| sign(&format!("{ORIGIN}\n{size}\n{root}\n"), &signer());
    let cosigned = {
        let claimed = ClaimedCheckpoint::parse(&sign(&text, &signer())).unwrap().verify(&log_key()).unwrap();
        let line = claimed.cosign(&witness(), AT).unwrap();
        claimed.with_signatures(&[line]).unwrap().note_bytes().to_vec()
    };
    let cases: Vec<(&'static str, &'static str, Vec<u8>)> = vec![
        ("honest", "accept", sign(&text, &signer())),
        ("honest-cosigned", "accept", cosigned),
        ("honest-empty-tree", "accept", body("0", &empty)),
        ("honest-largest-size", "accept", body("9223372036854775807", &root64)),
        ("empty-tree-with-another-root", "reject EmptyRoot", body("0", &root64)),
        ("extension-line", "reject Extension", sign(&format!("{text}extra\n"), &signer())),
        ("empty-extension-line", "reject Extension", sign(&format!("{text}\n"), &signer())),
        ("two-lines", "reject Lines", sign(&format!("{ORIGIN}\n5\n"), &signer())),
        ("origin-empty", "reject Origin", sign(&text.replace(ORIGIN, ""), &signer())),
        ("origin-with-space", "reject Origin", sign(&text.replace(ORIGIN, "a b"), &signer())),
        ("origin-of-another-log", "reject WrongLog", sign(&text.replace("log1", "log2"), &signer())),
        ("size-with-leading-zero", "reject Size", body("05", &root64)),
        ("size-signed", "reject Size", body("+5", &root64)),
        ("size-negative", "reject Size", body("-5", &root64)),
        ("size-empty", "reject Size", body("", &root64)),
        ("size-above-63-bits", "reject Size", body("9223372036854775808", &root64)),
        ("size-above-64-bits", "reject Size", body("18446744073709551621", &root64)),
        ("size-with-space", "reject Size", body("5 ", &root64)),
        ("root-of-31-bytes", "reject Root", body("5", &STANDARD.encode([1; 31]))),
        ("root-of-33-bytes", "reject Root", body("5", &STANDARD.encode([1; 33]))),
        ("root-unpadded", "reject Root", body("5", root64.trim_end_matches('='))),
        ("root-with-stray-bits", "reject Root", body("5", &stray_bits(&root64))),
        ("root-in-hexadecimal", "reject Root", body("5", &root.to_string())),
        ("size-altered-after-signing", "reject BadSignature", replace(&sign(&text, &signer()), "\n5\n", "\n6\n")),
        ("signed-by-another-key", "reject NoKnownSignature", sign(&text, &other_signer(ORIGIN))),
        ("cosignature-without-the-logs-signature", "reject NoKnownSignature", sign(&text, &witness())),
        ("blank-line-lost", "reject NoBlankLine", replace(&sign(&text, &signer()), "\n\n", "\n")),
    ];
    let headers = || vec![("key", log_key().to_string())];
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(name, expect, bytes)| Vector { folder: "checkpoint", name, expect, headers: headers(), bytes })
        .collect();
    let cosigner = Ed25519Signer::new(ORIGIN, KeyKind::CosignatureV1, &Secret32::new([7; 32])).unwrap();
    all.push(Vector {
        folder: "checkpoint",
        name: "key-of-a-cosigner",
        expect: "reject WrongKind",
        headers: vec![("key", cosigner.verifier().to_string())],
        bytes: sign(&text, &cosigner),
    });
    all
}

/// The 43rd digit of a digest carries two unused bits.
fn stray_bits(base64: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = alphabet.find(&base64[42..43]).unwrap();
    format!("{}{}=", &base64[..42], &alphabet[at + 1..at + 2])
}

fn proofs() -> Vec<Vector> {
    let bench = Bench::of_size(11);
    let receipt = bench.receipt(4);
    let honest = receipt.encode();
    let lines: Vec<String> = receipt.hashes().iter().map(|h| STANDARD.encode(h.0)).collect();
    let with_hashes = |hashes: &[String]| {
        let body: String = hashes.iter().map(|h| format!("{h}\n")).collect();
        let note = String::from_utf8(receipt.head().note_bytes().to_vec()).unwrap();
        format!("c2sp.org/tlog-proof@v1\nindex 4\n{body}\n{note}").into_bytes()
    };
    let edit = |change: &dyn Fn(&mut Vec<String>)| {
        let mut hashes = lines.clone();
        change(&mut hashes);
        with_hashes(&hashes)
    };
    let head = "c2sp.org/tlog-proof@v1\n";
    let extra = |line: &str| replace(&honest, head, &format!("{head}{line}\n"));
    let other_head = Bench::of_size(12).head();
    let note = std::str::from_utf8(receipt.head().note_bytes()).unwrap().to_owned();
    let other_note = std::str::from_utf8(other_head.note_bytes()).unwrap().to_owned();
    let single = Bench::of_size(1).receipt(0).encode();
    let cases: Vec<(&'static str, &'static str, u64, Vec<u8>)> = vec![
        ("honest", "accept", 4, honest.clone()),
        ("honest-single-entry", "accept", 0, single.clone()),
        ("honest-last-entry", "accept", 10, bench.receipt(10).encode()),
        ("honest-with-extra", "accept", 4, extra("extra cHVlbnRl")),
        ("honest-with-empty-extra", "accept", 4, extra("extra ")),
        ("version-2", "reject Header", 4, replace(&honest, "@v1", "@v2")),
        ("header-missing", "reject Header", 4, replace(&honest, head, "")),
        ("not-utf8", "reject NotText", 4, [&honest[..], b"\xff"].concat()),
        ("no-blank-line", "reject NotText", 4, replace(&replace(&honest, "\n\n", "\n"), "\n\n", "\n")),
        ("extra-unpadded", "reject Extra", 4, extra("extra cHVlbnQ")),
        ("extra-stray-bits", "reject Extra", 4, extra("extra cHVlbnR=")),
        ("extra-twice", "reject Index", 4, extra("extra AAAA\nextra AAAA")),
        ("extra-after-index", "reject Hash", 4, replace(&honest, "index 4\n", "index 4\nextra AAAA\n")),
        ("index-missing", "reject Index", 4, replace(&honest, "index 4\n", "")),
        ("index-with-leading-zero", "reject Index", 4, replace(&honest, "index 4", "index 04")),
        ("index-negative", "reject Index", 4, replace(&honest, "index 4", "index -4")),
        ("index-above-64-bits", "reject Index", 4, replace(&honest, "index 4", "index 18446744073709551620")),
        ("hash-of-31-bytes", "reject Hash", 4, edit(&|h| h[1] = STANDARD.encode([1; 31]))),
        ("hash-with-stray-bits", "reject Hash", 4, edit(&|h| h[1] = stray_bits(&h[1]))),
        ("hash-with-trailing-space", "reject Hash", 4, edit(&|h| h[1].push(' '))),
        ("sixty-four-hashes", "reject TooManyHashes", 4, edit(&|h| *h = vec![h[0].clone(); 64])),
        ("index-beyond-the-tree", "reject IndexOutOfRange", 4, replace(&honest, "index 4", "index 11")),
        ("index-of-a-neighbour", "reject RootMismatch", 4, replace(&honest, "index 4", "index 5")),
        ("index-aliased", "reject RootMismatch", 4, replace(&honest, "index 4", "index 6")),
        ("another-entry", "reject RootMismatch", 5, honest.clone()),
        ("hash-altered", "reject RootMismatch", 4, edit(&|h| h[0] = STANDARD.encode([0; 32]))),
        ("hashes-swapped", "reject RootMismatch", 4, edit(&|h| h.swap(0, 1))),
        ("hash-missing", "reject TooShort", 4, edit(&|h| h.truncate(h.len() - 1))),
        ("no-hashes", "reject TooShort", 4, edit(&|h| h.clear())),
        ("hash-too-many", "reject TooLong", 4, edit(&|h| h.push(h[0].clone()))),
        (
            "single-entry-with-a-hash",
            "reject TooLong",
            0,
            replace(&single, "index 0\n", &format!("index 0\n{}\n", lines[0])),
        ),
        ("checkpoint-of-another-size", "reject RootMismatch", 4, replace(&honest, &note, &other_note)),
        ("checkpoint-altered", "reject BadSignature", 4, replace(&honest, "\n11\n", "\n12\n")),
        ("checkpoint-cut", "reject NoSignatures", 4, honest[..honest.len() - 1].to_vec()),
    ];
    cases
        .into_iter()
        .map(|(name, expect, index, bytes)| {
            let headers = vec![("key", log_key().to_string()), ("entry", STANDARD.encode(entry(index)))];
            Vector { folder: "tlog-proof", name, expect, headers, bytes }
        })
        .collect()
}

fn consistency() -> Vec<Vector> {
    let bench = Bench::of_size(13);
    let root = |n: u64| root_of_entries((0..n).map(entry));
    let prove = |m: u64, n: u64| bench.log.prove_consistency(TreeSize(m), TreeSize(n), &bench.files).unwrap();
    let evil = leaf_hash(b"evil");
    let edit = |change: &dyn Fn(&mut Vec<Digest>)| {
        let mut hashes = prove(6, 13);
        change(&mut hashes);
        hashes
    };
    assert!(bench.log.prove_inclusion(LeafIndex(0), TreeSize(13), &bench.files).is_ok());
    type Head = (u64, Digest);
    let cases: Vec<(&'static str, &'static str, Head, Head, Vec<Digest>)> = vec![
        ("honest", "accept", (6, root(6)), (13, root(13)), prove(6, 13)),
        ("honest-from-a-power-of-two", "accept", (8, root(8)), (13, root(13)), prove(8, 13)),
        ("honest-by-one-entry", "accept", (12, root(12)), (13, root(13)), prove(12, 13)),
        ("honest-same-size", "accept", (13, root(13)), (13, root(13)), vec![]),
        ("honest-from-the-empty-tree", "accept", (0, root(0)), (13, root(13)), vec![]),
        ("honest-empty-to-empty", "accept", (0, root(0)), (0, root(0)), vec![]),
        ("shrinking-tree", "reject ShrunkTree", (13, root(13)), (6, root(6)), prove(6, 13)),
        ("same-size-another-root", "reject RootMismatch", (13, root(13)), (13, evil), vec![]),
        ("same-size-with-a-hash", "reject TooLong", (13, root(13)), (13, root(13)), vec![evil]),
        ("empty-tree-with-another-root", "reject EmptyRoot", (0, evil), (13, root(13)), vec![]),
        ("empty-tree-with-a-hash", "reject TooLong", (0, root(0)), (13, root(13)), vec![evil]),
        ("no-hashes", "reject TooShort", (6, root(6)), (13, root(13)), vec![]),
        ("last-hash-missing", "reject TooShort", (6, root(6)), (13, root(13)), edit(&|h| h.truncate(h.len() - 1))),
        ("first-hash-missing", "reject TooShort", (6, root(6)), (13, root(13)), edit(&|h| *h = h[1..].to_vec())),
        ("hash-too-many", "reject TooLong", (6, root(6)), (13, root(13)), edit(&|h| h.push(evil))),
        ("seed-sent-for-a-power-of-two", "reject TooLong", (8, root(8)), (13, root(13)), {
            let mut hashes = prove(8, 13);
            hashes.insert(0, root(8));
            hashes
        }),
        ("first-hash-altered", "reject OldRootMismatch", (6, root(6)), (13, root(13)), edit(&|h| h[0] = evil)),
        (
            "last-hash-altered",
            "reject RootMismatch",
            (6, root(6)),
            (13, root(13)),
            edit(&|h| {
                let last = h.len() - 1;
                h[last] = evil;
            }),
        ),
        ("hashes-swapped", "reject OldRootMismatch", (6, root(6)), (13, root(13)), edit(&|h| h.swap(0, 1))),
        ("old-root-altered", "reject OldRootMismatch", (6, evil), (13, root(13)), prove(6, 13)),
        ("new-root-altered", "reject RootMismatch", (6, root(6)), (13, evil), prove(6, 13)),
        ("history-rewritten", "reject OldRootMismatch", (6, forked(6)), (13, root(13)), prove(6, 13)),
    ];
    cases
        .into_iter()
        .map(|(name, expect, old, new, hashes)| {
            let headers = vec![
                ("old", old.0.to_string()),
                ("new", new.0.to_string()),
                ("old-root", STANDARD.encode(old.1.0)),
                ("new-root", STANDARD.encode(new.1.0)),
            ];
            let lines: String = hashes.iter().map(|h| format!("{}\n", STANDARD.encode(h.0))).collect();
            let bytes = if lines.is_empty() { b"\n".to_vec() } else { lines.into_bytes() };
            Vector { folder: "consistency", name, expect, headers, bytes }
        })
        .collect()
}

/// A tree with one entry replaced.
fn forked(n: u64) -> Digest {
    root_of_entries((0..n).map(|i| if i == 2 { b"forged".to_vec() } else { entry(i) }))
}
