//! The witness protocol: one vector a status and a defect, forgers, and thousands of submissions against a model.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use puente_model::{Digest, Millis, Secret32, TreeSize};

use super::vectors::{Read, Vector, verdict};
use super::{Bench, ORIGIN, entry, log_key, signer, witness};
use crate::note::{ClaimedNote, NoteSignature};
use crate::witness::{
    CLOCK_BEHIND_MAX, ClaimedSubmission, LogRule, Refusal, Remembered, RememberedError, ReplyError, RuleError,
    SUBMISSION_BYTES_MAX, SUBMISSION_PROOF_MAX, SubmissionError, Witness, WitnessReply, encode_submission,
    monitoring_path,
};
use crate::{
    Checkpoint, Ed25519Signer, KeyKind, MemoryFiles, NoteError, SignedCheckpoint, Signer, empty_root,
    prove_consistency, root_of_entries,
};

/// 2023-11-14 22:13:20 UTC.
const NOW: Millis = Millis(1_700_000_000_000);

/// Every head of a log, and its tiles; two logs that share their first entries and then differ are a fork.
struct Chain {
    heads: Vec<SignedCheckpoint>,
    files: MemoryFiles,
}

impl Chain {
    fn new(size: u64, entry: impl Fn(u64) -> Vec<u8>) -> Self {
        let mut bench = Bench::new();
        bench.append::<&[u8]>(&[]);
        for n in 0..size {
            bench.append(&[entry(n)]);
            bench.publish();
        }
        Self { heads: bench.heads.clone(), files: bench.files }
    }

    fn honest(size: u64) -> Self {
        Self::new(size, entry)
    }

    /// Differs from the honest one from entry `from` on.
    fn forked(size: u64, from: u64) -> Self {
        Self::new(size, |n| if n < from { entry(n) } else { b"forked".to_vec() })
    }

    fn head(&self, size: u64) -> &SignedCheckpoint {
        &self.heads[usize::try_from(size).unwrap()]
    }

    fn proof(&self, old: u64, size: u64) -> Vec<Digest> {
        if old == 0 || old >= size {
            return vec![];
        }
        prove_consistency(&self.files, TreeSize(old), TreeSize(size)).unwrap()
    }

    fn body(&self, old: u64, size: u64) -> Vec<u8> {
        encode_submission(TreeSize(old), &self.proof(old, size), self.head(size)).unwrap()
    }
}

fn rule() -> LogRule {
    LogRule::new(ORIGIN, vec![log_key()]).unwrap()
}

fn judge() -> Witness {
    Witness::new(witness().verifier().clone()).unwrap()
}

/// Submits and, if nothing is wrong, persists nowhere.
fn take(rule: &LogRule, known: Option<&Remembered>, now: Millis, body: &[u8]) -> Result<Remembered, Refusal> {
    let submission = ClaimedSubmission::parse(body)?;
    let advance = judge().submit(now, &submission, Some(rule), known)?;
    Ok(advance.persist(|_| Ok::<_, ()>(())).unwrap())
}

/// What is remembered after the first head of this size.
fn after(head: &SignedCheckpoint, now: Millis) -> Remembered {
    take(&rule().first_use(true), None, now, &encode_submission(TreeSize(0), &[], head).unwrap()).unwrap()
}

// Vectors.

/// What the witness makes of a vector's request, under the state that its headers describe.
fn taken(read: &Read) -> Result<Remembered, Refusal> {
    let has = |name: &str| read.headers.contains_key(name);
    let head =
        |size: &str, root: &str| Checkpoint::new(ORIGIN, TreeSize(read.number(size)), read.digest(root)).unwrap();
    let mut rule = LogRule::new(ORIGIN, vec![read.key("key")]).unwrap().first_use(has("first-use"));
    if has("closed-at") {
        rule = rule.closed_at(TreeSize(read.number("closed-at"))).unwrap();
    }
    if has("pinned") {
        rule = rule.pinned(head("pinned", "pinned-root")).unwrap();
    }
    let known = has("known").then(|| {
        let signed = head("known", "known-root").sign(&signer()).unwrap();
        after(&signed, Millis(read.number("known-time") * 1000))
    });
    assert_eq!(&read.key("witness"), witness().verifier());
    take(&rule, known.as_ref(), Millis(read.number("now") * 1000), &read.bytes)
}

fn reply(taken: &Result<Remembered, Refusal>) -> (u16, String) {
    match taken {
        Ok(remembered) => (200, format!("{}\n", remembered.cosign(&witness()).unwrap())),
        Err(refusal) => (refusal.status(), refusal.body()),
    }
}

/// Judges a request, and compares status and reply with those of the file.
pub(super) fn check(read: &Read) -> String {
    let taken = taken(read);
    let (status, reply) = reply(&taken);
    assert_eq!(u64::from(status), read.number("status"), "{reply}");
    assert_eq!(reply.as_bytes(), STANDARD.decode(&read.headers["reply"]).unwrap(), "{reply}");
    verdict(taken)
}

/// A request with the state that it meets: None, or what is remembered.
struct Case {
    name: &'static str,
    expect: &'static str,
    status: u16,
    known: Option<u64>,
    more: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from:?} in {text:?}");
    text.replacen(from, to, 1).into_bytes()
}

/// A note over any text, signed by anybody, as the body of a submission.
fn unusual(old: &str, text: &str, signers: &[&dyn Signer]) -> Vec<u8> {
    let lines = signers.iter().map(|signer| NoteSignature::sign(text, *signer, NOW)).collect();
    let note = ClaimedNote::assemble(text, lines).unwrap();
    [format!("{old}\n\n").as_bytes(), note.as_bytes()].concat()
}

fn stranger(name: &str) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::Ed25519, &Secret32::new([9; 32])).unwrap()
}

pub(super) fn vectors() -> Vec<Vector> {
    let (chain, fork) = (Chain::honest(13), Chain::forked(13, 5));
    let text = chain.head(13).checkpoint().to_string();
    let b64 = |digest: &Digest| STANDARD.encode(digest.0);
    let grown = chain.body(8, 13);
    let lines = |n: usize| format!("{}\n", b64(&Digest([1; 32]))).repeat(n);
    let with_proof = |proof: &str| {
        let note = String::from_utf8(chain.head(13).note_bytes().to_vec()).unwrap();
        format!("old 8\n{proof}\n{note}").into_bytes()
    };
    let own = |head: &SignedCheckpoint, at: Millis| {
        let shown = head.with_signatures(&[head.cosign(&witness(), at).unwrap()]).unwrap();
        encode_submission(head.size().min(TreeSize(8)), &[], &shown).unwrap()
    };
    let empty_root_wrong = format!("{ORIGIN}\n0\n{}\n", b64(&Digest([1; 32])));
    let forged = {
        let mut bytes = grown.clone();
        let at = bytes.len() - 10;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let first = || vec![("first-use", "allow".to_owned())];
    let closed = |at: u64| vec![("closed-at", at.to_string())];
    let pinned = |size: u64| vec![("pinned", size.to_string()), ("pinned-root", b64(&chain.head(size).root()))];
    let case = |name, expect, status, known, body| Case { name, expect, status, known, more: vec![], body };
    let behind = NOW.0 / 1000 - CLOCK_BEHIND_MAX / 1000;
    let cases = vec![
        case("honest", "accept", 200, Some(8), grown.clone()),
        case("honest-refresh", "accept", 200, Some(8), chain.body(8, 8)),
        case("honest-with-an-unknown-signer", "accept", 200, Some(8), {
            let line = NoteSignature::sign(&text, &stranger("stranger.example"), NOW);
            let head = chain.head(13).with_signatures(&[line]).unwrap();
            encode_submission(TreeSize(8), &chain.proof(8, 13), &head).unwrap()
        }),
        case("honest-with-a-remembered-cosignature", "accept", 200, Some(8), own(chain.head(8), NOW)),
        Case { more: first(), ..case("honest-first-use", "accept", 200, None, chain.body(0, 13)) },
        Case { more: first(), ..case("honest-first-use-of-an-empty-log", "accept", 200, None, chain.body(0, 0)) },
        Case { more: pinned(8), ..case("honest-from-the-pinned-checkpoint", "accept", 200, None, grown.clone()) },
        Case {
            more: closed(13),
            ..case("honest-up-to-the-end-of-a-closed-log", "accept", 200, Some(8), grown.clone())
        },
        // The clock is as far behind as it may be: what was stated is stated again.
        Case {
            more: vec![("now", behind.to_string())],
            ..case("honest-clock-a-little-behind", "accept", 200, Some(8), grown.clone())
        },
        // 400
        case("nothing", "reject OldSize", 400, Some(8), vec![]),
        case("not-utf8", "reject NotText", 400, Some(8), [b"\xff", &grown[..]].concat()),
        case(
            "old-line-missing",
            "reject OldSize",
            400,
            Some(8),
            grown[grown.iter().position(|b| *b == b'\n').unwrap() + 1..].to_vec(),
        ),
        case("old-with-leading-zero", "reject OldSize", 400, Some(8), replaced(&grown, "old 8", "old 08")),
        case("old-with-two-spaces", "reject OldSize", 400, Some(8), replaced(&grown, "old 8", "old  8")),
        case("old-with-carriage-return", "reject OldSize", 400, Some(8), replaced(&grown, "old 8\n", "old 8\r\n")),
        case("old-negative", "reject OldSize", 400, Some(8), replaced(&grown, "old 8", "old -8")),
        case("old-above-63-bits", "reject OldSize", 400, Some(8), replaced(&grown, "old 8", "old 9223372036854775808")),
        case("old-in-capitals", "reject OldSize", 400, Some(8), replaced(&grown, "old 8", "OLD 8")),
        case("old-larger-than-the-checkpoint", "reject OldLarger", 400, Some(8), chain.body(13, 8)),
        case("sixty-four-hashes", "reject TooManyHashes", 400, Some(8), with_proof(&lines(64))),
        case("hash-of-31-bytes", "reject Hash", 400, Some(8), with_proof(&format!("{}\n", STANDARD.encode([1; 31])))),
        case("hash-unpadded", "reject Hash", 400, Some(8), with_proof(&lines(1).replace('=', ""))),
        case("blank-line-lost", "reject Hash", 400, Some(8), replaced(&grown, "\n\n", "\n")),
        case("cut-in-the-proof", "reject NoBlankLine", 400, Some(8), grown[..60].to_vec()),
        case("cut-before-the-signature", "reject NoBlankLine", 400, Some(8), {
            let at = String::from_utf8(grown.clone()).unwrap().find("\n\n—").unwrap();
            grown[..=at].to_vec()
        }),
        case("cut-in-the-signature", "reject NoSignatures", 400, Some(8), grown[..grown.len() - 1].to_vec()),
        case(
            "extension-line",
            "reject Extension",
            400,
            Some(8),
            unusual("old 8", &format!("{text}extra\n"), &[&signer()]),
        ),
        case("two-checkpoints", "reject Extension", 400, Some(8), [&grown[..], chain.head(13).note_bytes()].concat()),
        // 403
        case(
            "signed-by-another-key-of-that-name",
            "reject NoKnownSignature",
            403,
            Some(8),
            unusual("old 8", &text, &[&stranger(ORIGIN)]),
        ),
        case(
            "signed-by-a-witness-only",
            "reject NoKnownSignature",
            403,
            Some(8),
            unusual("old 8", &text, &[&witness()]),
        ),
        case("signature-forged", "reject BadSignature", 403, Some(8), forged),
        case(
            "signature-of-another-size",
            "reject BadSignature",
            403,
            Some(8),
            replaced(&grown, &format!("{ORIGIN}\n13\n"), &format!("{ORIGIN}\n14\n")),
        ),
        case("good-signature-beside-a-bad-one-of-a-trusted-key", "reject BadSignature", 403, Some(8), {
            let bad = chain.head(12).signatures()[0].to_string();
            [&grown[..], bad.as_bytes(), b"\n"].concat()
        }),
        Case {
            more: closed(12),
            ..case("beyond-the-end-of-a-closed-log", "reject Closed", 403, Some(8), grown.clone())
        },
        // 404
        case(
            "origin-unknown",
            "reject UnknownLog",
            404,
            Some(8),
            unusual("old 8", &text.replace("log1", "log2"), &[&signer()]),
        ),
        case("no-checkpoint-pinned", "reject NotBegun", 404, None, chain.body(0, 13)),
        // 409
        case("older-than-remembered", "reject Stale", 409, Some(8), chain.body(5, 13)),
        case("replayed", "reject Stale", 409, Some(8), chain.body(3, 8)),
        case("size-going-back", "reject Stale", 409, Some(8), chain.body(5, 5)),
        case("newer-than-remembered", "reject Stale", 409, Some(8), chain.body(12, 13)),
        case("asking-for-the-size", "reject Stale", 409, Some(8), chain.body(0, 13)),
        Case { more: first(), ..case("nothing-remembered", "reject Stale", 409, None, grown.clone()) },
        Case { more: pinned(5), ..case("not-from-the-pinned-checkpoint", "reject Stale", 409, None, grown.clone()) },
        // 422
        case("proof-of-a-fork", "reject RootMismatch", 422, Some(8), fork.body(8, 13)),
        case("proof-missing", "reject TooShort", 422, Some(8), with_proof("")),
        case("proof-too-long", "reject TooLong", 422, Some(8), replaced(&grown, "\n\n", &format!("\n{}\n", lines(1)))),
        case("proof-of-63-hashes", "reject TooLong", 422, Some(8), with_proof(&lines(63))),
        case(
            "proof-for-other-sizes",
            "reject RootMismatch",
            422,
            Some(8),
            encode_submission(TreeSize(8), &chain.proof(8, 12), chain.head(13)).unwrap(),
        ),
        Case {
            more: first(),
            ..case(
                "proof-from-the-empty-tree",
                "reject TooLong",
                422,
                None,
                replaced(&chain.body(0, 13), "old 0\n", &format!("old 0\n{}", lines(1))),
            )
        },
        case(
            "proof-with-a-refresh",
            "reject TooLong",
            422,
            Some(8),
            replaced(&chain.body(8, 8), "old 8\n", &format!("old 8\n{}", lines(1))),
        ),
        case("same-size-another-root", "reject OtherRoot", 422, Some(8), fork.body(8, 8)),
        Case { more: pinned(8), ..case("pinned-size-another-root", "reject OtherRoot", 422, None, fork.body(8, 8)) },
        case(
            "empty-tree-with-another-root",
            "reject EmptyRoot",
            422,
            Some(8),
            unusual("old 0", &empty_root_wrong, &[&signer()]),
        ),
        // 503: the witness's own trouble
        case("cosignature-of-a-larger-tree-forgotten", "reject Forgotten", 503, Some(8), own(chain.head(13), NOW)),
        case("cosignature-of-another-tree-forgotten", "reject Forgotten", 503, Some(8), own(fork.head(8), NOW)),
        case(
            "cosignature-of-later-forgotten",
            "reject Forgotten",
            503,
            Some(8),
            own(chain.head(5), Millis(NOW.0 + 1_000)),
        ),
        Case {
            more: first(),
            ..case("cosignature-of-anything-forgotten", "reject Forgotten", 503, None, own(chain.head(1), NOW))
        },
        Case {
            more: vec![("now", (behind - 1).to_string())],
            ..case("clock-behind", "reject ClockBehind", 503, Some(8), grown.clone())
        },
    ];
    cases.into_iter().map(|case| vector(&chain, case)).collect()
}

fn vector(chain: &Chain, case: Case) -> Vector {
    let mut headers = vec![("key", log_key().to_string()), ("witness", witness().verifier().to_string())];
    if let Some(size) = case.known {
        headers.push(("known", size.to_string()));
        headers.push(("known-root", STANDARD.encode(chain.head(size).root().0)));
        headers.push(("known-time", (NOW.0 / 1000).to_string()));
    }
    let has_now = case.more.iter().any(|(key, _)| *key == "now");
    headers.extend(case.more);
    if !has_now {
        headers.push(("now", (NOW.0 / 1000 + 100).to_string()));
    }
    headers.push(("status", case.status.to_string()));
    let mut vector =
        Vector { folder: "add-checkpoint", name: case.name, expect: case.expect, headers, bytes: case.body };
    let (_, reply) = reply(&taken(&Read::of(&vector)));
    vector.headers.push(("reply", STANDARD.encode(reply)));
    vector
}

// Forgers, and the log's side.

#[test]
fn what_is_sent_is_what_is_read() {
    let chain = Chain::honest(13);
    for (old, size) in [(0, 0), (0, 13), (5, 13), (8, 13), (12, 13), (13, 13)] {
        let body = chain.body(old, size);
        let read = ClaimedSubmission::parse(&body).unwrap();
        assert_eq!((read.old(), read.origin(), read.proof()), (TreeSize(old), ORIGIN, &chain.proof(old, size)[..]));
        assert_eq!(read.encode(), body);
    }
    let hashes = vec![Digest([1; 32]); SUBMISSION_PROOF_MAX + 1];
    let head = chain.head(1);
    assert_eq!(encode_submission(TreeSize(0), &hashes, head), Err(SubmissionError::TooManyHashes));
    let most = encode_submission(TreeSize(0), &hashes[1..], head).unwrap();
    assert_eq!(ClaimedSubmission::parse(&most).unwrap().proof().len(), SUBMISSION_PROOF_MAX);
    let long = vec![b'a'; SUBMISSION_BYTES_MAX + 1];
    assert_eq!(ClaimedSubmission::parse(&long), Err(SubmissionError::TooLong { found: SUBMISSION_BYTES_MAX + 1 }));
    assert_eq!(ClaimedSubmission::parse(&long[1..]), Err(SubmissionError::OldSize));
}

#[test]
fn the_largest_submission_that_may_be_sent_is_read() {
    // As many signatures as fill a note, and as many hashes as there may be.
    let head = Chain::honest(1).head(1).clone();
    let line = |n: usize| NoteSignature::parse(&format!("— {} {}", "a".repeat(n), STANDARD.encode([7; 700]))).unwrap();
    let full: Vec<NoteSignature> = (1..=63).map(line).collect();
    let head = head.with_signatures(&full).unwrap();
    let body = encode_submission(TreeSize(0), &[Digest([1; 32]); SUBMISSION_PROOF_MAX], &head).unwrap();
    assert!(body.len() > 60_000 && body.len() <= SUBMISSION_BYTES_MAX, "{}", body.len());
    assert!(ClaimedSubmission::parse(&body).is_ok());
}

#[test]
fn any_key_of_a_log_may_sign_and_what_strangers_signed_is_not_kept() {
    let chain = Chain::honest(3);
    let successor = stranger(ORIGIN);
    let rule = LogRule::new(ORIGIN, vec![log_key(), successor.verifier().clone()]).unwrap().first_use(true);
    let signed = chain.head(3).checkpoint().clone().sign(&successor).unwrap();
    let noise = NoteSignature::sign(signed.text(), &stranger("stranger.example"), NOW);
    let signed = signed.with_signatures(&[noise]).unwrap();
    let body = encode_submission(TreeSize(0), &[], &signed).unwrap();
    let remembered = take(&rule, None, NOW, &body).unwrap();
    assert_eq!(remembered.head().signatures().len(), 1);
    assert!(remembered.head().signatures()[0].names(successor.verifier()));
}

#[test]
fn a_lie_in_the_witnesss_own_name_says_nothing() {
    let chain = Chain::honest(13);
    let known = after(chain.head(8), NOW);
    let mut line = chain.head(13).cosign(&witness(), NOW).unwrap().to_string();
    // Of another head.
    line = line.replace(&line, &chain.head(12).cosign(&witness(), NOW).unwrap().to_string());
    let head = chain.head(13).with_signatures(&[NoteSignature::parse(&line).unwrap()]).unwrap();
    let body = encode_submission(TreeSize(8), &chain.proof(8, 13), &head).unwrap();
    assert_eq!(take(&rule(), Some(&known), NOW, &body).unwrap().size(), TreeSize(13));
}

#[test]
fn what_was_forgotten_convicts_under_the_witnesss_key_alone() {
    let chain = Chain::honest(13);
    let known = after(chain.head(8), NOW);
    let shown = chain.head(13).with_signatures(&[chain.head(13).cosign(&witness(), NOW).unwrap()]).unwrap();
    let body = encode_submission(TreeSize(8), &chain.proof(8, 13), &shown).unwrap();
    let Err(Refusal::Forgotten(forgotten)) = take(&rule(), Some(&known), NOW, &body) else { panic!() };
    assert_eq!(forgotten.shown.cosignatures(&[witness().verifier()]).unwrap()[0].at, Some(NOW));
    assert_eq!(forgotten.remembered.unwrap(), known);
    assert_eq!(forgotten.at, NOW);
}

#[test]
fn a_fork_convicts_under_the_logs_key_alone() {
    let (chain, fork) = (Chain::honest(8), Chain::forked(8, 5));
    let known = after(chain.head(8), NOW);
    let Err(Refusal::OtherRoot(Some(split))) = take(&rule(), Some(&known), NOW, &fork.body(8, 8)) else { panic!() };
    for head in [&split.one, &split.other] {
        crate::ClaimedCheckpoint::parse(head.note_bytes()).unwrap().verify(&log_key()).unwrap();
    }
    assert!(split.one.size() == split.other.size() && split.one.root() != split.other.root());
}

#[test]
fn what_is_remembered_is_read_back_or_refused() {
    let chain = Chain::honest(13);
    let mut bytes = Vec::new();
    let body = encode_submission(TreeSize(0), &[], chain.head(8)).unwrap();
    let advance = judge().submit(NOW, &ClaimedSubmission::parse(&body).unwrap(), Some(&rule().first_use(true)), None);
    let remembered = advance
        .unwrap()
        .persist(|written| {
            bytes = written.to_vec();
            Ok::<_, ()>(())
        })
        .unwrap();
    assert_eq!(Remembered::parse(&bytes, &rule()), Ok(remembered.clone()));
    assert_eq!(remembered.cosign(&witness()), Remembered::parse(&bytes, &rule()).unwrap().cosign(&witness()));
    // Cut anywhere, or with any bit of the head changed, it is not believed.
    for cut in 0..bytes.len() {
        assert!(Remembered::parse(&bytes[..cut], &rule()).is_err(), "{cut}");
    }
    let time = "puente-witness-remembers-v1\ntime 1700000000".len();
    for at in (0..bytes.len()).filter(|at| !(time - 10..time).contains(at)) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(Remembered::parse(&altered, &rule()).is_err(), "{at}");
    }
    let other = LogRule::new("b", vec![stranger("b").verifier().clone()]).unwrap();
    assert!(matches!(Remembered::parse(&bytes, &other), Err(RememberedError::OtherLog { .. })));
    let pin = |size: u64| rule().pinned(chain.head(size).checkpoint().clone()).unwrap();
    assert!(Remembered::parse(&bytes, &pin(5)).is_ok() && Remembered::parse(&bytes, &pin(8)).is_ok());
    assert!(matches!(Remembered::parse(&bytes, &pin(13)), Err(RememberedError::OlderThanPin { .. })));
    let fork = Chain::forked(8, 5);
    let pin = rule().pinned(fork.head(8).checkpoint().clone()).unwrap();
    assert!(matches!(Remembered::parse(&bytes, &pin), Err(RememberedError::OtherThanPin { .. })));
}

#[test]
fn rules_are_about_one_log() {
    let cosigner = Ed25519Signer::new(ORIGIN, KeyKind::CosignatureV1, &Secret32::new([7; 32])).unwrap();
    assert!(matches!(LogRule::new(ORIGIN, vec![]), Err(RuleError::NoKey { .. })));
    for key in [cosigner.verifier().clone(), stranger("b").verifier().clone()] {
        assert!(matches!(LogRule::new(ORIGIN, vec![key]), Err(RuleError::OtherKey { .. })));
    }
    assert!(Witness::new(log_key()).is_err());
    let head = |origin: &str| Checkpoint::new(origin, TreeSize(5), Digest([1; 32])).unwrap();
    assert!(matches!(rule().pinned(head("b")), Err(RuleError::OtherPin { .. })));
    let closed = rule().closed_at(TreeSize(4)).unwrap();
    assert!(matches!(closed.pinned(head(ORIGIN)), Err(RuleError::PinBeyondEnd { .. })));
    let pinned = rule().pinned(head(ORIGIN)).unwrap();
    assert!(matches!(pinned.clone().closed_at(TreeSize(4)), Err(RuleError::PinBeyondEnd { .. })));
    assert!(pinned.closed_at(TreeSize(5)).is_ok());
    assert_eq!(
        monitoring_path("example.com/behind-the-sofa"),
        format!("{}/checkpoint", Digest::of(b"example.com/behind-the-sofa"))
    );
}

#[test]
fn a_log_believes_a_cosignature_of_its_very_head_alone() {
    let chain = Chain::honest(13);
    let (key, head) = (witness().verifier().clone(), chain.head(13));
    let line = |head: &SignedCheckpoint| format!("{}\n", head.cosign(&witness(), NOW).unwrap());
    let read = |status: u16, body: &str| WitnessReply::read(status, body.as_bytes(), head, &key);
    let Ok(WitnessReply::Cosigned(cosigned, at)) = read(200, &line(head)) else { panic!() };
    assert_eq!((at, cosigned.cosignatures(&[&key]).unwrap().len()), (NOW, 1));
    // A line of a key that nobody asked is passed over.
    let stranger = Ed25519Signer::new("w2", KeyKind::CosignatureV1, &Secret32::new([9; 32])).unwrap();
    let other = format!("{}\n", head.cosign(&stranger, NOW).unwrap());
    assert!(matches!(read(200, &format!("{other}{}", line(head))), Ok(WitnessReply::Cosigned(..))));
    assert!(matches!(read(200, &other), Err(ReplyError::NotCosigned { .. })));
    assert!(matches!(read(200, &line(chain.head(12))), Err(ReplyError::Note(NoteError::BadSignature { .. }))));
    for broken in ["", "\n", "ok\n", line(head).trim_end()] {
        assert_eq!(read(200, broken), Err(ReplyError::Malformed), "{broken:?}");
    }
    assert_eq!(read(409, "8\n"), Ok(WitnessReply::Knows(TreeSize(8))));
    for (status, body, passing) in
        [(409, "", false), (409, "08\n", false), (422, "x\n", false), (429, "", true), (503, "\u{1b}[1m\n", true)]
    {
        let Err(error) = read(status, body) else { panic!("{status} {body:?}") };
        assert!(matches!(error, ReplyError::Refused { status: said, .. } if said == status));
        assert_eq!(error.is_passing(), passing, "{status}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    let long = vec![b'a'; puente_model::limits::NOTE_BYTES_MAX + 1];
    assert!(matches!(WitnessReply::read(200, &long, head, &key), Err(ReplyError::TooLong { .. })));
}

// Thousands of submissions in random order, with crashes, against a model that knows nothing of proofs.

const SIZES: u64 = 24;
const FORK: u64 = 7;

#[derive(Debug, Clone)]
struct Try {
    old: u64,
    size: u64,
    forked: bool,
    /// Bends the proof, where there is one.
    bend: u8,
    seconds: u64,
    /// Crashes before the store (1), after it (2), after the signature (3), or not.
    crash: u8,
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let one = (0..=SIZES, 0..=SIZES, 0_u8..5, 0_u8..8, 0_u64..100, 0_u8..8);
    let one = one.prop_map(|(old, size, forked, bend, seconds, crash)| Try {
        old,
        size,
        forked: forked == 0,
        bend,
        seconds,
        crash,
    });
    prop::collection::vec(one, 200)
}

/// What a witness must say, from sizes and branches alone.
fn expected(known: Option<(u64, bool)>, try_: &Try) -> u16 {
    let stored = known.map_or(0, |(size, _)| size);
    // Two branches are one tree as far as they share their entries.
    let same = |size: u64| known.is_none_or(|(at, forked)| forked == try_.forked || at.min(size) <= FORK);
    match () {
        () if try_.old > try_.size => 400,
        () if try_.old != stored => 409,
        () if known.is_some() && try_.old == try_.size && !same(try_.size) => 422,
        () if try_.bend == 0 => 422,
        () if stored > 0 && !same(try_.size) => 422,
        () => 200,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_order_of_submissions_and_crashes_gets_two_trees_cosigned(tries in tries()) {
        let chains = [Chain::honest(SIZES), Chain::forked(SIZES, FORK)];
        let (rule, judge, witness) = (rule().first_use(true), judge(), witness());
        // What is on the disk, and what is in the memory of the process.
        let mut disk: Option<Vec<u8>> = None;
        let mut memory: Option<Remembered> = None;
        let mut model: Option<(u64, bool)> = None;
        let mut now = NOW;
        // Everything that was ever signed, whether or not anybody was told.
        let mut signed: BTreeMap<u64, (Digest, bool)> = BTreeMap::new();
        let (mut largest, mut latest) = (0, Millis(0));
        for try_ in tries {
            now = Millis(now.0 + try_.seconds * 1000);
            let chain = &chains[usize::from(try_.forked)];
            // Half of them ask from the right size.
            let try_ = Try { old: if try_.bend % 2 == 1 { model.map_or(0, |(size, _)| size) } else { try_.old }, ..try_ };
            let mut proof = chain.proof(try_.old, try_.size);
            if try_.bend == 0 {
                proof.push(Digest([7; 32]));
            }
            let body = encode_submission(TreeSize(try_.old), &proof, chain.head(try_.size)).unwrap();
            let expected = expected(model, &try_);
            let submission = ClaimedSubmission::parse(&body).unwrap();
            let advance = match judge.submit(now, &submission, Some(&rule), memory.as_ref()) {
                Err(refusal) => {
                    prop_assert_eq!(refusal.status(), expected, "{:?} {:?} {}", model, try_, refusal);
                    continue;
                }
                Ok(advance) => advance,
            };
            prop_assert_eq!(200, expected, "{:?} {:?}", model, try_);
            if try_.crash == 1 {
                drop(advance);
                memory = disk.as_deref().map(|bytes| Remembered::parse(bytes, &rule).unwrap());
                continue;
            }
            let remembered = advance.persist(|bytes| { disk = Some(bytes.to_vec()); Ok::<_, ()>(()) }).unwrap();
            model = Some((try_.size, if try_.size <= FORK { model.is_some_and(|m| m.1) } else { try_.forked }));
            // What was not signed by a process that crashed is signed for monitors by the next.
            if try_.crash == 2 {
                memory = disk.as_deref().map(|bytes| Remembered::parse(bytes, &rule).unwrap());
            } else {
                memory = Some(remembered);
            }
            let known = memory.clone().unwrap();
            let cosigned = known.cosigned(&witness).unwrap();
            let at = cosigned.cosignatures(&[witness.verifier()]).unwrap()[0].at.unwrap();
            prop_assert!(at >= latest && known.size().0 >= largest, "neither time nor size goes back");
            (largest, latest) = (known.size().0, at);
            let root = signed.entry(try_.size).or_insert((cosigned.root(), try_.forked));
            prop_assert_eq!(root.0, cosigned.root(), "one root a size");
            let beyond: Vec<bool> = signed.iter().filter(|(size, _)| **size > FORK).map(|(_, (_, forked))| *forked).collect();
            prop_assert!(beyond.windows(2).all(|two| two[0] == two[1]), "one branch");
            if try_.crash == 3 {
                memory = disk.as_deref().map(|bytes| Remembered::parse(bytes, &rule).unwrap());
            }
        }
        // The bytes of roots, too, are those of one of the two logs.
        for (size, (root, forked)) in signed {
            let made = |n: u64| if forked && n >= FORK { b"forked".to_vec() } else { entry(n) };
            prop_assert_eq!(root, if size == 0 { empty_root() } else { root_of_entries((0..size).map(made)) });
        }
    }
}
