//! What a witness keeps, read by the auditors' program.

use puente_audit::{Checked, Checker, Conclusion, check_bytes};
use puente_audit_log::ClaimedCheckpoint;
use puente_audit_log::witness::{encode_submission, monitoring_name};
use puente_model::TreeSize;
use serde_json::Value;

use super::*;

fn only_file(bench: &Bench) -> Value {
    let files = snapshot(&bench.evidence());
    assert_eq!(files.len(), 1);
    serde_json::from_slice(files.values().next().unwrap()).unwrap()
}

fn checked(file: &Value, checker: &Checker<'_>) -> Checked {
    let checked = check_bytes(&serde_json::to_vec(file).unwrap(), None, checker).unwrap();
    assert_eq!(checked.what, "witness-evidence");
    checked
}

fn refused(file: &Value, key: &VerifierKey, said: &str) {
    let checked = checked(file, &Checker::Key(key));
    assert_eq!(checked.verdict, Conclusion::Unsound, "{:?}", checked.words);
    assert!(checked.words.iter().any(|words| words.contains(said)), "{said}: {:?}", checked.words);
}

fn with(file: &Value, key: &str, value: Value) -> Value {
    let mut file = file.clone();
    file[key] = value;
    file
}

#[test]
fn a_fork_that_a_witness_kept_convicts_the_log_before_auditors() {
    let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
    let bench = Bench::of(&[&log]);
    let desk = bench.open();
    assert_eq!(submit(&desk, &log.submission(0, 4)).status, 200);
    assert_eq!(submit(&desk, &fork.submission(4, 4)).status, 422);
    let (file, key) = (only_file(&bench), log.key());
    let found = checked(&file, &Checker::Key(&key));
    assert_eq!(found.verdict, Conclusion::Sound, "{:?}", found.words);
    assert!(found.words.contains(&"Two signed heads of 4 entries state different roots.".to_owned()));
    // Whose key it is, the file does not prove.
    assert_eq!(checked(&file, &Checker::Nobody).verdict, Conclusion::CouldNotTell);

    let heads = file["heads"].clone();
    refused(&with(&file, "heads", serde_json::json!([heads[0], heads[0]])), &key, "do not contradict each other");
    refused(&with(&file, "heads", serde_json::json!([heads[0]])), &key, "do not contradict each other");
    refused(&with(&file, "heads", serde_json::json!([])), &key, "one head or two, not 0");
    refused(&with(&file, "heads", serde_json::json!([heads[0], heads[1], heads[1]])), &key, "one head or two, not 3");
    refused(&with(&file, "class", "witness-forgot".into()), &key, "bears no cosignature of w1");
    refused(&with(&file, "class", "log-was-late".into()), &key, "class of the finding is not known");
    refused(&with(&file, "puente_witness_evidence", 2.into()), &key, "version 2");
    refused(&with(&file, "keys", serde_json::json!(["x"])), &key, "cannot be read");
    refused(&with(&file, "witness", key.to_string().into()), &key, "not those of its log and of a witness");
    let other = heads[1].as_str().unwrap().replace("\n4\n", "\n5\n");
    refused(&with(&file, "heads", serde_json::json!([heads[0], other])), &key, "does not verify");

    // Heads that another key signed in the log's name, its key among the true ones.
    let forger = || Ed25519Signer::new(ORIGIN, KeyKind::Ed25519, &Secret32::new([3; 32])).unwrap();
    let signed = |story| String::from_utf8(ToyLog::of(forger(), story).head(4).note_bytes().to_vec()).unwrap();
    let forged = with(&file, "heads", serde_json::json!([signed("a"), signed("b")]));
    let forged = with(&forged, "keys", serde_json::json!([key.to_string(), forger().verifier().to_string()]));
    let found = checked(&forged, &Checker::Key(&key));
    assert_eq!(found.verdict, Conclusion::CouldNotTell, "{:?}", found.words);
    assert!(found.words.last().unwrap().contains("is not known here"), "{:?}", found.words);
}

#[test]
fn what_a_witness_forgot_is_told_apart_from_what_it_says_of_itself() {
    let mut log = ToyLog::new(ORIGIN, "a");
    let bench = Bench::of(&[&log]);
    let desk = bench.open();
    assert_eq!(submit(&desk, &log.submission(0, 3)).status, 200);
    let backup = snapshot(&bench.state());
    assert_eq!(submit(&desk, &log.submission(3, 7)).status, 200);
    let cosigned = desk.checkpoint(&monitoring_name(ORIGIN)).body;
    drop(desk);
    set_back(&bench.state(), &backup);
    let desk = bench.open();
    let shown = ClaimedCheckpoint::parse(&cosigned).unwrap().verify(&log.key()).unwrap();
    assert_eq!(submit(&desk, &encode_submission(TreeSize(3), &log.proof(3, 7), &shown).unwrap()).status, 503);

    let (file, key) = (only_file(&bench), log.key());
    let found = checked(&file, &Checker::Key(&key));
    assert!(found.words.iter().any(|words| words.contains("is its own word")), "{:?}", found.words);
    assert_eq!(found.verdict, Conclusion::CouldNotTell, "whose witness it is, the charter says");
    let heads = file["heads"].clone();
    refused(&with(&file, "heads", serde_json::json!([heads[1], heads[0]])), &key, "nothing was forgotten");
    let bare = String::from_utf8(log.head(7).note_bytes().to_vec()).unwrap();
    refused(&with(&file, "heads", serde_json::json!([bare, heads[1]])), &key, "first head bears no cosignature");
    let bare = String::from_utf8(log.head(3).note_bytes().to_vec()).unwrap();
    refused(&with(&file, "heads", serde_json::json!([heads[0], bare])), &key, "second head bears no cosignature");
    // With nothing remembered, the first head alone.
    let found = checked(&with(&file, "heads", serde_json::json!([heads[0]])), &Checker::Key(&key));
    assert!(found.words.iter().any(|words| words.contains("remembers nothing")), "{:?}", found.words);
}
