//! An auditor's word for a report: a C2SP signed note over the hash of the file that names all others with theirs.
//!
//! Auditors who come to the same report, byte for byte, sign the same text: their signatures stand in one note.

use std::path::{Component, Path};

use puente_audit_log::{ClaimedNote, Ed25519Signer, KeyKind, NoteSignature, Signer as _, VerifierKey};
use puente_charter::{Auditor, Charter};
use puente_model::{Digest, Secret32};

use super::Report;
use crate::check::{Checked, Words};
use crate::dir::read_file;
use crate::error::AuditError;

/// First line of the text.
pub(crate) const FIRST_LINE: &str = "puente/report/v1";
/// The file that names all others with their hashes, as `sha256sum -c` reads it.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// The note's file.
pub(crate) const NOTE: &str = "report.note";
/// Bytes of the file with the hashes.
const SUMS_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a file of a report.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What is signed: federation, instant, verdict, and the hash of all hashes.
pub(crate) fn text(report: &Report, sums: &[u8]) -> String {
    let Report { federation, as_of, verdict, .. } = report;
    let at = puente_model::Millis(*as_of);
    format!("{FIRST_LINE}\n{federation}\n{at}\n{}\n{}  {SUMS}\n", verdict.as_str(), Digest::of(sums))
}

/// The text with the signatures that it bears in `before`, and that of the auditor of the charter whose log key this is.
///
/// # Errors
/// The charter names no such auditor.
pub(crate) fn sign(
    charter: &Charter,
    text: &str,
    before: Option<&[u8]>,
    key: &Secret32,
) -> Result<Vec<u8>, AuditError> {
    let own = |known: &VerifierKey| {
        let signer = Ed25519Signer::new(known.name(), KeyKind::Ed25519, key).ok()?;
        (signer.verifier() == known).then_some(signer)
    };
    let Some(signer) = auditors(charter).find_map(|(_, known)| own(&known)) else {
        return Err(AuditError::Unreadable("the key to sign with is of no auditor that the charter names".to_owned()));
    };
    let same = before.and_then(|note| ClaimedNote::parse(note).ok()).filter(|note| note.text() == text);
    let others = |line: &&NoteSignature| !line.names(signer.verifier());
    let kept = same.iter().flat_map(ClaimedNote::signatures).filter(others).cloned().collect();
    let note = ClaimedNote::signed(text, kept, &signer).map_err(|error| AuditError::Unreadable(error.to_string()))?;
    Ok(note.as_bytes().to_vec())
}

/// The charter's auditors, each with the key of its log.
fn auditors(charter: &Charter) -> impl Iterator<Item = (&Auditor, VerifierKey)> {
    let of = |nation| charter.auditors(nation).iter();
    let all = charter.jurisdictions().flat_map(of);
    all.filter_map(|auditor| Some((auditor, auditor.vkey.parse().ok()?)))
}

/// Checks a report's note, and the files beside it.
pub(crate) fn check(note: &[u8], dir: &Path, charter: Option<&Charter>) -> Checked {
    let mut words = Words::new("report");
    match ClaimedNote::parse(note) {
        Ok(note) => {
            signatures(&mut words, &note, charter);
            files(&mut words, &note, dir);
        }
        Err(error) => words.fail(format!("The note cannot be read: {error}.")),
    }
    words.done()
}

fn signatures(words: &mut Words, note: &ClaimedNote, charter: Option<&Charter>) {
    let Some(charter) = charter else {
        return words.gap("No charter was given: whose signatures these are cannot be told.");
    };
    let known: Vec<(&Auditor, VerifierKey)> = auditors(charter).collect();
    let keys: Vec<&VerifierKey> = known.iter().map(|(_, key)| key).collect();
    let verified = match note.verify(&keys) {
        Ok(verified) => verified,
        Err(error) => return words.fail(format!("No auditor of the charter signed it: {error}.")),
    };
    let mut lines = note.text().lines();
    if lines.nth(1) != Some(charter.federation()) {
        return words.fail("It is about another federation than the charter's.");
    }
    let (at, verdict) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    for line in verified {
        let who = known.iter().find(|(_, key)| key.name() == line.name).map(|(auditor, _)| auditor);
        if let Some(Auditor { name, jurisdiction, .. }) = who {
            words.say(format!("{name} of {jurisdiction} signed it: {verdict}, as of {at}."));
        }
    }
}

/// Every file is the one that was signed.
fn files(words: &mut Words, note: &ClaimedNote, dir: &Path) {
    let signed = note.text().lines().last().and_then(|line| line.strip_suffix(SUMS)).map(str::trim_end);
    let sums = read_file(&dir.join(SUMS), SUMS_BYTES_MAX).unwrap_or_default();
    if signed != Some(Digest::of(&sums).to_string().as_str()) {
        return words.fail(format!("{SUMS} is not the file that was signed."));
    }
    let (mut good, text) = (0_u64, String::from_utf8_lossy(&sums));
    for line in text.lines() {
        let Some((sum, name)) = line.split_once("  ").filter(|(_, name)| is_plain(name)) else {
            return words.fail(format!("{SUMS} names what is no file of a report."));
        };
        match read_file(&dir.join(name), FILE_BYTES_MAX) {
            Ok(bytes) if Digest::of(&bytes).to_string() == sum => good += 1,
            Ok(_) => words.fail(format!("{name} is not the file that was signed.")),
            Err(_) => words.fail(format!("{name} was signed and is not here.")),
        }
    }
    words.say(format!("{good} files are as they were signed."));
}

/// A name in the report's folder or in one below it.
fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)))
}
