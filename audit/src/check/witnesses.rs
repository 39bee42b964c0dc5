//! Whether heads prove what is said of a witness, or what a witness says of a log and of itself.

use std::collections::BTreeSet;

use puente_audit_log::{ClaimedCheckpoint, KeyKind, SignedCheckpoint, VerifierKey, verify_consistency};
use puente_model::{Digest, Millis, TreeSize};
use serde::Deserialize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Checked, Checker, Words, signer};
use crate::class::Class;
use crate::evidence::EvidenceFile;
use crate::roster::Roster;

/// Heads in a witness's file.
const HEADS_MAX: usize = 2;

/// What `puente-witness` keeps when it finds that a log forked, or that it signed more than it remembers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WitnessFile {
    puente_witness_evidence: u32,
    class: String,
    log: String,
    keys: Vec<String>,
    witness: String,
    says_en: String,
    #[serde(rename = "says_es")]
    _says_es: String,
    heads: Vec<String>,
}

/// A witness's evidence file, if these bytes are one.
pub(super) fn of_witness(bytes: &[u8]) -> Option<WitnessFile> {
    serde_json::from_slice(bytes).ok()
}

/// The instant that this witness states on a head; the last, if there are several.
fn stated(head: &SignedCheckpoint, witness: &VerifierKey) -> Option<Millis> {
    let signatures = head.cosignatures(&[witness]).ok()?;
    signatures.iter().filter_map(|signature| signature.at).max()
}

/// Says what an auditor's evidence against a witness proves.
pub(super) fn conclude(
    words: &mut Words,
    class: Class,
    file: &EvidenceFile,
    heads: &[SignedCheckpoint],
    checker: &Checker<'_>,
) {
    let Checker::Charter(charter) = checker else {
        return words.gap("Whose cosignatures count is said by the charter alone: give --charter and --pin.");
    };
    let roster = Roster::new(charter);
    let Some(witness) = roster.witnesses().iter().find(|key| key.name() == file.attributed_to) else {
        return words.fail(format!("The charter names no witness {}.", file.attributed_to));
    };
    let [one, other] = heads else {
        return words.fail("It takes two heads to convict a witness.");
    };
    if one.origin() != other.origin() {
        return words.fail("The heads are of two logs: that convicts nobody.");
    }
    let (Some(at), Some(other_at)) = (stated(one, witness), stated(other, witness)) else {
        return words.fail(format!("{} did not cosign both heads.", witness.name()));
    };
    if class == Class::WitnessForked {
        return match disagree(one, other, file) {
            true => words
                .say(format!("{} cosigned both, and they contradict each other: it answers for that.", witness.name())),
            false => words.fail("The heads verify, but do not contradict each other."),
        };
    }
    let back = (one.size() > other.size() && at < other_at) || (other.size() > one.size() && other_at < at);
    match back {
        true => words.say(went_back(witness.name())),
        false => words.fail("The heads verify, but the larger was not cosigned before the smaller."),
    }
}

fn went_back(witness: &str) -> String {
    format!(
        "{} cosigned the larger head first, by its own clock, and then stated that it had seen no larger one than the smaller: it answers for that.",
        witness
    )
}

/// Two roots of one size, or a later head that provably begins with another root.
fn disagree(one: &SignedCheckpoint, other: &SignedCheckpoint, file: &EvidenceFile) -> bool {
    if one.size() == other.size() {
        return one.root() != other.root();
    }
    let (early, late) = if one.size() < other.size() { (one, other) } else { (other, one) };
    let proven = || {
        let prefix = file.prefix.as_ref()?;
        let root: Digest = prefix.root.parse().ok()?;
        let hash = |text: &String| Digest::try_from(STANDARD.decode(text).ok()?.as_slice()).ok();
        let proof: Vec<Digest> = prefix.proof.iter().map(hash).collect::<Option<_>>()?;
        verify_consistency(TreeSize(prefix.size), late.size(), &root, &late.root(), &proof).ok()?;
        Some(prefix.size == early.size().0 && root != early.root())
    };
    proven().unwrap_or_default()
}

/// Checks what a witness kept.
pub(super) fn check(file: &WitnessFile, checker: &Checker<'_>) -> Checked {
    let mut words = Words::new("witness-evidence");
    words.say(file.says_en.clone());
    if file.puente_witness_evidence != 1 {
        words.fail(format!("Evidence version {} of a witness is not known here.", file.puente_witness_evidence));
        return words.done();
    }
    let keys: Result<Vec<VerifierKey>, _> = file.keys.iter().map(|key| key.parse()).collect();
    let (Ok(keys), Ok(witness)) = (keys, file.witness.parse::<VerifierKey>()) else {
        words.fail("A key in the file cannot be read.");
        return words.done();
    };
    if witness.kind() != KeyKind::CosignatureV1 || keys.iter().any(|key| key.name() != file.log) {
        words.fail("The keys in the file are not those of its log and of a witness.");
        return words.done();
    }
    let (heads, used) = heads(&mut words, file, &keys);
    match (file.class.as_str(), heads.as_slice()) {
        _ if words.verdict != crate::Conclusion::Sound => {}
        ("log-forked", [one, other]) if one.size() == other.size() && one.root() != other.root() => {
            words.say(format!("Two signed heads of {} entries state different roots.", one.size()));
        }
        ("log-forked", _) => words.fail("The parts verify, but do not contradict each other."),
        ("witness-forgot", [shown]) => forgotten(&mut words, &witness, shown, None),
        ("witness-forgot", [shown, remembered]) => forgotten(&mut words, &witness, shown, Some(remembered)),
        _ => words.fail("The class of the finding is not known."),
    }
    whose(&mut words, file, (&used, &witness), checker);
    words.done()
}

/// The heads that verify, and the keys that they were verified with.
fn heads(words: &mut Words, file: &WitnessFile, keys: &[VerifierKey]) -> (Vec<SignedCheckpoint>, Vec<VerifierKey>) {
    let (mut heads, mut used) = (Vec::new(), Vec::new());
    if file.heads.is_empty() || file.heads.len() > HEADS_MAX {
        words.fail(format!("A witness's evidence holds one head or two, not {}.", file.heads.len()));
        return (heads, used);
    }
    for note in &file.heads {
        let head = ClaimedCheckpoint::parse(note.as_bytes()).map_err(|error| error.to_string());
        let head = head.and_then(|claimed| match signer(&claimed, keys) {
            Some(key) => {
                used.push(key.clone());
                claimed.verify(key).map_err(|error| error.to_string())
            }
            None => Err("the file names no key of its log".to_owned()),
        });
        match head {
            Ok(head) => {
                words.say(format!("Log {} signed: {} entries, root {}.", head.origin(), head.size(), head.root()));
                heads.push(head);
            }
            Err(error) => words.fail(format!("A head of log {} does not verify: {error}.", file.log)),
        }
    }
    (heads, used)
}

/// What a witness that lost its memory shows: a head that it cosigned, and what it remembers.
fn forgotten(
    words: &mut Words,
    witness: &VerifierKey,
    shown: &SignedCheckpoint,
    remembered: Option<&SignedCheckpoint>,
) {
    let name = witness.name();
    let Some(at) = stated(shown, witness) else {
        return words.fail(format!("The first head bears no cosignature of {name} that holds."));
    };
    words.say(format!("{name} cosigned {} entries, and states that it had seen no larger tree at {at}.", shown.size()));
    let Some(remembered) = remembered else {
        return words.say(format!("{name} says of itself that it remembers nothing of that log: its memory was lost, or its key is used twice."));
    };
    let Some(known) = stated(remembered, witness) else {
        return words.fail(format!("The second head bears no cosignature of {name} that holds."));
    };
    let (more, less) = (shown.size(), remembered.size());
    if more == less && shown.root() != remembered.root() {
        return words.say(format!("{name} cosigned two different roots of {more} entries: it answers for that."));
    }
    if more > less && at < known {
        return words.say(went_back(name));
    }
    if more < less || (more == less && at <= known) {
        return words.fail("The second head covers the first: nothing was forgotten.");
    }
    words.say(format!(
        "{name} says of itself that it remembers no more than {less} entries, last at {known}: its memory was set back, or its key is used twice. That it is so is its own word; that it cosigned both heads is proven."
    ));
}

/// Whose keys those in the file are.
fn whose(
    words: &mut Words,
    file: &WitnessFile,
    (keys, witness): (&[VerifierKey], &VerifierKey),
    checker: &Checker<'_>,
) {
    let known: BTreeSet<String> = checker.keys(&file.log).iter().map(ToString::to_string).collect();
    if !keys.iter().all(|key| known.contains(&key.to_string())) {
        let log = &file.log;
        words.gap(format!("The keys in the file prove it; that they are those of log {log} is not known here: give --charter and --pin, or --vkey."));
    }
    if file.class == "log-forked" {
        return;
    }
    let of_charter = match checker {
        Checker::Charter(charter) => Roster::new(charter).witnesses().contains(witness),
        Checker::Key(_) | Checker::Nobody => false,
    };
    if !of_charter {
        words.gap(format!(
            "That {} is a witness of the charter is not known here: give --charter and --pin.",
            witness.name()
        ));
    }
}
