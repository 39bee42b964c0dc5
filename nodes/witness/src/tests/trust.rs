//! What convicts a log, what convicts this witness, and what strangers reach.

use puente_audit_log::witness::monitoring_name;
use puente_audit_log::{ClaimedCheckpoint, SignedCheckpoint};
use puente_model::TreeSize;

use super::*;
use crate::evidence::{Evidence, FORKS_KEPT_MAX};

/// The one file of evidence, read as somebody reads it who has the keys and nothing else.
fn evidence(bench: &Bench) -> Vec<(Evidence, Vec<SignedCheckpoint>)> {
    let mut out = Vec::new();
    for (_, bytes) in snapshot(&bench.evidence()) {
        let evidence: Evidence = serde_json::from_slice(&bytes).unwrap();
        let key: VerifierKey = evidence.keys[0].parse().unwrap();
        let heads = evidence.heads.iter();
        let heads =
            heads.map(|note| ClaimedCheckpoint::parse(note.as_bytes()).unwrap().verify(&key).unwrap()).collect();
        out.push((evidence, heads));
    }
    out
}

#[test]
fn a_fork_is_refused_and_kept_and_the_log_goes_on() {
    let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
    let bench = Bench::of(&[&log]);
    let desk = bench.open();
    assert_eq!(submit(&desk, &log.submission(0, 4)).status, 200);
    for _ in 0..3 {
        assert_eq!(submit(&desk, &fork.submission(4, 4)).status, 422);
    }
    let kept = evidence(&bench);
    assert_eq!(kept.len(), 1, "one of each size");
    let (evidence, heads) = &kept[0];
    assert_eq!(evidence.class, "log-forked");
    assert!(heads[0].size() == heads[1].size() && heads[0].root() != heads[1].root());
    // No more files than there may be, whatever a log signs.
    for size in 5..30 {
        assert_eq!(submit(&desk, &log.submission(size - 1, size)).status, 200);
        assert_eq!(submit(&desk, &fork.submission(size, size)).status, 422);
    }
    assert_eq!(snapshot(&bench.evidence()).len(), FORKS_KEPT_MAX);
    bench.notary.is_honest();
}

#[test]
fn a_memory_that_was_set_back_is_noticed_and_the_log_is_cosigned_no_more() {
    let (mut log, mut other) = (ToyLog::new(ORIGIN, "a"), ToyLog::new("example.org/log2", "a"));
    let bench = Bench::of(&[&log, &other]);
    let desk = bench.open();
    assert_eq!(submit(&desk, &log.submission(0, 3)).status, 200);
    let backup = snapshot(&bench.state());
    assert_eq!(submit(&desk, &log.submission(3, 7)).status, 200);
    let cosigned = desk.checkpoint(&monitoring_name(ORIGIN)).body;
    drop(desk);
    // Somebody restores the backup; a log that knows nothing of it asks with the head that was cosigned.
    set_back(&bench.state(), &backup);
    let desk = bench.open();
    let shown = ClaimedCheckpoint::parse(&cosigned).unwrap().verify(&log.key()).unwrap();
    let body = puente_audit_log::witness::encode_submission(TreeSize(3), &log.proof(3, 7), &shown).unwrap();
    let answer = submit(&desk, &body);
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8(answer.body).unwrap().contains("set back"));
    let kept = evidence(&bench);
    let (evidence, heads) = &kept[0];
    assert_eq!((kept.len(), evidence.class.as_str()), (1, "witness-forgot"));
    let witness: VerifierKey = evidence.witness.parse().unwrap();
    let sizes: Vec<u64> = heads.iter().map(|head| head.size().0).collect();
    assert_eq!(sizes, [7, 3]);
    assert!(heads.iter().all(|head| head.cosignatures(&[&witness]).unwrap().len() == 1));
    // Not even an honest submission gets through, now or after the next start; other logs are served.
    assert_eq!(submit(&desk, &log.submission(3, 9)).status, 503);
    drop(desk);
    let desk = bench.open();
    assert_eq!(submit(&desk, &log.submission(3, 9)).status, 503);
    assert_eq!(submit(&desk, &other.submission(0, 2)).status, 200);
}

#[test]
fn what_is_pinned_is_held_against_what_is_remembered() {
    let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
    let mut bench = Bench::of(&[&log]);
    assert_eq!(submit(&bench.open(), &log.submission(0, 3)).status, 200);
    let key = log.key();
    let mut pinned = |head: &SignedCheckpoint| {
        let rule = LogRule::new(ORIGIN, vec![key.clone()]).unwrap().pinned(head.checkpoint().clone()).unwrap();
        bench.rules.insert(ORIGIN.to_owned(), rule);
        bench.try_open(None).map(|_| ()).map_err(|error| error.to_string())
    };
    let (older, same, newer) = (log.head(2), log.head(3), log.head(5));
    assert!(pinned(&older).is_ok() && pinned(&same).is_ok());
    assert!(pinned(&newer).unwrap_err().contains("set back"));
    assert!(pinned(&fork.head(3)).unwrap_err().contains("another root"));
}

#[test]
fn a_damaged_record_stops_the_witness() {
    let mut log = ToyLog::new(ORIGIN, "a");
    let bench = Bench::of(&[&log]);
    assert_eq!(submit(&bench.open(), &log.submission(0, 3)).status, 200);
    let path = bench.state().join(format!("{}.head", monitoring_name(ORIGIN)));
    let good = std::fs::read(&path).unwrap();
    for bad in [&good[..good.len() / 2], b"", &vec![b'a'; 1 << 20]] {
        std::fs::write(&path, bad).unwrap();
        assert!(bench.try_open(None).is_err());
    }
    std::fs::write(&path, good).unwrap();
    assert!(bench.try_open(None).is_ok());
}

#[test]
fn nothing_is_believed_that_was_not_pinned() {
    let mut log = ToyLog::new(ORIGIN, "a");
    let mut bench = Bench::of(&[&log]);
    let rule = LogRule::new(ORIGIN, vec![log.key()]).unwrap();
    bench.rules.insert(ORIGIN.to_owned(), rule.clone());
    let answer = submit(&bench.open(), &log.submission(0, 3));
    assert_eq!(answer.status, 404);
    assert!(String::from_utf8(answer.body).unwrap().contains("out of band"));
    assert!(bench.notary.signed().is_empty());
    bench.rules.insert(ORIGIN.to_owned(), rule.pinned(log.head(3).checkpoint().clone()).unwrap());
    let desk = bench.open();
    assert_eq!(submit(&desk, &log.submission(0, 5)).body, b"3\n");
    assert_eq!(submit(&desk, &log.submission(3, 5)).status, 200);
}

#[test]
fn whoever_asks_too_often_waits() {
    let mut log = ToyLog::new(ORIGIN, "a");
    let bench = Bench::of(&[&log]);
    let store = Store::open(&bench.state()).unwrap();
    let desk = Desk::open(Box::new(bench.notary.clone()), bench.rules.clone(), store, bench.evidence(), 2).unwrap();
    assert_eq!(submit(&desk, &log.submission(0, 1)).status, 200);
    assert_eq!(submit(&desk, &log.submission(1, 2)).status, 200);
    let answer = submit(&desk, &log.submission(2, 3));
    assert_eq!((answer.status, answer.retry_after), (429, Some(31)));
    // Somebody else does not wait for that, and a minute later nobody does.
    let other = desk.add_checkpoint(NOW, Duration::ZERO, [192, 0, 2, 9].into(), &log.submission(2, 3));
    assert_eq!(other.status, 200);
    let later = desk.add_checkpoint(NOW, Duration::from_secs(60), FROM, &log.submission(3, 4));
    assert_eq!(later.status, 200);
    // Names that nobody serves are counted together.
    let mut stranger = ToyLog::new("example.org/unknown", "a");
    let statuses: Vec<u16> = (0..3).map(|_| submit(&desk, &stranger.submission(0, 1)).status).collect();
    assert_eq!(statuses, [404, 404, 429]);
}

#[test]
fn what_was_refused_is_counted_by_kind() {
    let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
    let bench = Bench::of(&[&log]);
    let desk = bench.open();
    for body in [log.submission(0, 3), log.submission(1, 3), fork.submission(3, 3), b"old".to_vec()] {
        submit(&desk, &body);
    }
    desk.write_counts();
    drop(desk);
    let desk = bench.open();
    submit(&desk, &log.submission(2, 3));
    desk.write_counts();
    let counts: BTreeMap<String, BTreeMap<String, u64>> =
        serde_json::from_slice(&std::fs::read(bench.state().join("counts.json")).unwrap()).unwrap();
    let of = |origin: &str, kind: &str| counts[origin].get(kind).copied();
    assert_eq!((of(ORIGIN, "cosigned"), of(ORIGIN, "stale"), of(ORIGIN, "fork")), (Some(1), Some(2), Some(1)));
    assert_eq!(of("", "malformed"), Some(1));
}
