//! `check`: one proof, one piece of evidence (a witness's own, too), one disclosure or two charter parts, offline, in plain words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_audit_log::{
    ClaimedCheckpoint, ClaimedCoseReceipt, ClaimedReceipt, CoseReceipt, Receipt, SignedCheckpoint, VerifierKey,
    leaf_hash, verify_consistency,
};
use puente_charter::Charter;
use puente_evidence::disclosure;
use puente_model::{Digest, TreeSize};
use puente_wire::proto::{Disclosure, Message as _};
use puente_wire::{Entry, Pair};
use serde::Serialize;

use crate::class::Class;
use crate::error::AuditError;
use crate::evidence::EvidenceFile;
use crate::finding::Conclusion;
use crate::parts;
use crate::roster::Roster;
use crate::show::shown;

mod groups;
mod ledgers;
mod witnesses;

/// The largest file that is checked, in bytes.
pub const CHECK_BYTES_MAX: u64 = 16 << 20;

/// Whose keys count.
pub enum Checker<'c> {
    /// Those of a charter.
    Charter(&'c Charter),
    /// One log key, given by hand.
    Key(&'c VerifierKey),
    /// None: whatever depends on a signature cannot be told.
    Nobody,
}

/// What a check came to.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// Sound: the file proves what it says. Unsound: it does not. Could not tell: a key or part is missing.
    pub verdict: Conclusion,
    /// `proof`, `cose-receipt`, `evidence`, `witness-evidence`, `disclosure`, `two-parts` or `report`.
    pub what: &'static str,
    /// What was established, and what was not, sentence by sentence.
    pub words: Vec<String>,
}

impl Checker<'_> {
    /// The keys of a log: several of a group's ledger.
    fn keys(&self, origin: &str) -> Vec<VerifierKey> {
        match self {
            Self::Charter(charter) => Roster::new(charter).keys(origin),
            Self::Key(key) if key.name() == origin => vec![(*key).clone()],
            Self::Key(_) | Self::Nobody => Vec::new(),
        }
    }
}

/// Checks a file: a tlog-proof or a COSE receipt (with the entry's bytes), an evidence file of an auditor or of a witness, a disclosure, or two
/// charter parts with one number.
///
/// # Errors
/// [`AuditError::Unreadable`] if it is none of these.
pub fn check_bytes(bytes: &[u8], entry: Option<&[u8]>, checker: &Checker<'_>) -> Result<Checked, AuditError> {
    if bytes.starts_with(b"c2sp.org/tlog-proof@") {
        return Ok(check_proof(bytes, entry, checker));
    }
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        if let Some(file) = witnesses::of_witness(bytes) {
            return Ok(witnesses::check(&file, checker));
        }
        let file: EvidenceFile = serde_json::from_slice(bytes)
            .map_err(|error| AuditError::Unreadable(format!("the file is no evidence file: {error}")))?;
        return Ok(check_evidence(&file, checker));
    }
    if ClaimedCoseReceipt::is_like(bytes) {
        return Ok(check_cose(bytes, entry, checker));
    }
    if let Some(both) = parts::two_parts(bytes) {
        let mut words = Words::new("two-parts");
        parts::check(&mut words, &both, checker);
        return Ok(words.done());
    }
    match Disclosure::decode(bytes) {
        Ok(raw) if raw.v != 0 => Ok(check_disclosure(&raw, checker)),
        _ => Err(AuditError::Unreadable(
            "the file is no tlog-proof, no evidence file, no disclosure and no two charter parts: give one of these"
                .to_owned(),
        )),
    }
}

/// Gathers sentences; the first failure or gap decides.
pub(crate) struct Words {
    what: &'static str,
    words: Vec<String>,
    verdict: Conclusion,
}

impl Words {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, words: Vec::new(), verdict: Conclusion::Sound }
    }

    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.words.push(text.into());
    }

    pub(crate) fn fail(&mut self, text: impl Into<String>) {
        self.words.push(text.into());
        self.verdict = Conclusion::Unsound;
    }

    pub(crate) fn gap(&mut self, text: impl Into<String>) {
        self.words.push(text.into());
        if self.verdict == Conclusion::Sound {
            self.verdict = Conclusion::CouldNotTell;
        }
    }

    pub(crate) fn done(self) -> Checked {
        Checked { verdict: self.verdict, what: self.what, words: self.words }
    }
}

/// The one of these keys that a head names, or the first.
fn signer<'k>(claimed: &ClaimedCheckpoint, keys: &'k [VerifierKey]) -> Option<&'k VerifierKey> {
    let names = |key: &&VerifierKey| claimed.clone().verify(key).is_ok();
    keys.iter().find(names).or(keys.first())
}

/// Verifies a receipt for a leaf and says so.
fn receipt(words: &mut Words, text: &[u8], leaf: &Digest, checker: &Checker<'_>) -> Option<Receipt> {
    let claimed = match ClaimedReceipt::parse(text) {
        Ok(claimed) => claimed,
        Err(error) => {
            words.fail(format!("The receipt cannot be read: {error}."));
            return None;
        }
    };
    let origin = claimed.checkpoint().claimed().origin().to_owned();
    let keys = checker.keys(&origin);
    let Some(key) = signer(claimed.checkpoint(), &keys) else {
        words.gap(format!(
            "The receipt is of log {origin}, whose key is not known: give --charter and --pin, or --vkey."
        ));
        return None;
    };
    match claimed.verify(leaf, key) {
        Ok(receipt) => {
            let (index, size) = (receipt.index(), receipt.head().size());
            words.say(format!(
                "Log {origin} signed a head of {size} entries, and the entry is number {index} under it."
            ));
            Some(receipt)
        }
        Err(error) => {
            words.fail(format!("The receipt of log {origin} does not verify: {error}."));
            None
        }
    }
}

fn describe(words: &mut Words, entry: &[u8]) {
    // Where it stands is not said here.
    let shown = shown(0, entry);
    let who = match (&shown.from, &shown.to) {
        (Some(from), Some(to)) => format!(" from {from} to {to}"),
        _ => String::new(),
    };
    let when = shown.minute.map(|m| format!(" at {m}")).unwrap_or_default();
    let what = format!("{}{who}{when}", shown.kind);
    words.say(format!("The entry is a {what}: {}.", shown.says));
}

fn check_proof(text: &[u8], entry: Option<&[u8]>, checker: &Checker<'_>) -> Checked {
    let mut words = Words::new("proof");
    let Some(entry) = entry else {
        words.gap("A proof says nothing without its entry: give the entry's bytes with --entry.");
        return words.done();
    };
    if receipt(&mut words, text, &leaf_hash(entry), checker).is_some() {
        describe(&mut words, entry);
    }
    words.done()
}

fn check_cose(bytes: &[u8], entry: Option<&[u8]>, checker: &Checker<'_>) -> Checked {
    let mut words = Words::new("cose-receipt");
    let claimed = match ClaimedCoseReceipt::parse(bytes) {
        Ok(claimed) => claimed,
        Err(error) => {
            words.fail(format!("The receipt cannot be read: {error}."));
            return words.done();
        }
    };
    let Some(entry) = entry else {
        words.gap("A proof says nothing without its entry: give the entry's bytes with --entry.");
        return words.done();
    };
    let keys = checker.keys(claimed.origin());
    let Some(key) = keys.first() else {
        words.gap(format!("No key of {} is known: whose signature this is cannot be told.", claimed.origin()));
        return words.done();
    };
    match claimed.verify(&leaf_hash(entry), key) {
        Ok(receipt) => {
            let CoseReceipt { origin, root } = receipt;
            words.say(format!("{origin} signed root {root}, and this entry stands under it."));
            describe(&mut words, entry);
            words.say("A COSE receipt proves neither the entry's place nor the log's size: a C2SP receipt does.");
        }
        Err(error) => words.fail(format!("The receipt does not prove it: {error}.")),
    }
    words.done()
}

fn check_disclosure(raw: &Disclosure, checker: &Checker<'_>) -> Checked {
    let mut words = Words::new("disclosure");
    match disclosure::verify(raw) {
        Ok(verified) => {
            words.say(format!("{} fields belong to the answer that the entry commits to:", verified.fields.len()));
            for (path, value) in &verified.fields {
                words.say(format!("  {path} = {}", String::from_utf8_lossy(value)));
            }
            let rest = u64::from(verified.leaf_count).saturating_sub(verified.fields.len() as u64);
            words.say(format!("{rest} further places of the answer, some of them empty, were not shown."));
            if receipt(&mut words, &verified.receipt, &verified.leaf, checker).is_some() {
                describe(&mut words, &raw.entry);
            }
        }
        Err(error) => words.fail(format!("The disclosure is not what it says: {error}.")),
    }
    words.done()
}

/// The parts of an evidence file, verified one by one.
struct Exhibits {
    heads: Vec<SignedCheckpoint>,
    entries: Vec<(Vec<u8>, Receipt)>,
}

fn check_evidence(file: &EvidenceFile, checker: &Checker<'_>) -> Checked {
    let mut words = Words::new("evidence");
    words.say(file.en.clone());
    let Ok(class) = file.class.parse::<Class>() else {
        words.fail("The class of the finding is not known.");
        return words.done();
    };
    if file.puente_evidence != 1 {
        words.fail(format!("Evidence version {} is not known here.", file.puente_evidence));
        return words.done();
    }
    if let Checker::Charter(charter) = checker
        && charter.pin().to_string() != file.charter_pin
    {
        words.fail("The evidence was made under another charter than the one given.");
    }
    let exhibits = exhibits(&mut words, file, checker);
    if words.verdict == Conclusion::Sound {
        conclude(&mut words, class, file, &exhibits, checker);
    }
    words.done()
}

fn exhibits(words: &mut Words, file: &EvidenceFile, checker: &Checker<'_>) -> Exhibits {
    let mut out = Exhibits { heads: Vec::new(), entries: Vec::new() };
    for note in &file.heads {
        let claimed = match ClaimedCheckpoint::parse(note.as_bytes()) {
            Ok(claimed) => claimed,
            Err(error) => {
                words.fail(format!("A head cannot be read: {error}."));
                continue;
            }
        };
        let origin = claimed.claimed().origin().to_owned();
        let keys = checker.keys(&origin);
        let Some(key) = signer(&claimed, &keys) else {
            words.gap(format!("The key of log {origin} is not known: give --charter and --pin, or --vkey."));
            continue;
        };
        match claimed.verify(key) {
            Ok(head) => {
                words.say(format!("Log {origin} signed: {} entries, root {}.", head.size(), head.root()));
                out.heads.push(head);
            }
            Err(error) => words.fail(format!("A head of log {origin} does not verify: {error}.")),
        }
    }
    for entry in &file.entries {
        let Ok(bytes) = STANDARD.decode(&entry.entry) else {
            words.fail("An entry is not Base64.");
            continue;
        };
        if let Some(receipt) = receipt(words, entry.receipt.as_bytes(), &leaf_hash(&bytes), checker) {
            describe(words, &bytes);
            out.entries.push((bytes, receipt));
        }
    }
    out
}

/// Whether the verified parts make up what the class says.
fn conclude(words: &mut Words, class: Class, file: &EvidenceFile, exhibits: &Exhibits, checker: &Checker<'_>) {
    let heads = &exhibits.heads;
    match class {
        Class::SplitView | Class::Rewritten | Class::Truncated | Class::Omitted | Class::NeverLogged => {
            let broken = contradiction(file, exhibits);
            match broken {
                Some(text) => words.say(text),
                None => words.fail("The parts verify, but do not contradict each other."),
            }
        }
        Class::Equivocated => match two_under_one_number(&exhibits.entries) {
            true => words
                .say("Both entries bear one number, or end one exchange, and differ: their author said two things."),
            // Only whoever can open their headers sees the numbers of veiled entries.
            false if exhibits.entries.iter().any(|(bytes, _)| matches!(Entry::decode(bytes), Ok(Entry::Veiled(_)))) => {
                words.gap("The entries verify, but are veiled: their nation's auditors can tell what they say.");
            }
            false => words.fail("The entries verify, but are no two under one number."),
        },
        Class::GroupForked | Class::GroupGap | Class::GroupBack => groups::conclude(words, class, &exhibits.entries),
        // That an entry is not in a log cannot be seen from another.
        Class::GroupUnentered => words.gap(
            "The entry stands in the log as shown; that the log does not hold the epoch that it names is seen from the copied log alone: verify it.",
        ),
        Class::GroupUnordered => ledgers::unordered(words, &exhibits.entries, checker),
        Class::HeldMissing => ledgers::held(words, &exhibits.entries),
        Class::WitnessForked | Class::WitnessBack => witnesses::conclude(words, class, file, heads, checker),
        Class::Corrupt | Class::BadHead => {
            words.gap("That a copy is damaged can be seen from the copy alone: verify it.");
        }
        _ if exhibits.entries.is_empty() && heads.is_empty() => {
            words.gap("The file carries no exhibit for this class: verify the copied log itself.");
        }
        _ => words.say("The entries stand in the log as shown; the finding follows from what they say."),
    }
}

/// The first contradiction among signed heads, a proven beginning and receipts.
fn contradiction(file: &EvidenceFile, exhibits: &Exhibits) -> Option<String> {
    let heads = &exhibits.heads;
    let signed: Vec<_> = heads.iter().chain(exhibits.entries.iter().map(|(_, r)| r.head())).collect();
    for (i, one) in signed.iter().enumerate() {
        for other in &signed[i + 1..] {
            if one.origin() == other.origin() && one.size() == other.size() && one.root() != other.root() {
                return Some(format!("Two signed heads of {} entries state different roots.", one.size()));
            }
        }
    }
    let presented = heads.last()?;
    if let Some(prefix) = &file.prefix {
        let root: Digest = prefix.root.parse().ok()?;
        let proof: Option<Vec<Digest>> =
            prefix.proof.iter().map(|h| Digest::try_from(STANDARD.decode(h).ok()?.as_slice()).ok()).collect();
        verify_consistency(TreeSize(prefix.size), presented.size(), &root, &presented.root(), &proof?).ok()?;
        let mut signed = signed.iter().filter(|h| h.origin() == presented.origin() && h.size().0 == prefix.size);
        return signed.any(|h| h.root() != root).then(|| {
            format!(
                "The presented log provably has root {root} at {} entries, and its signer had signed another.",
                prefix.size
            )
        });
    }
    if let Some(index) = two_at_one_place(&exhibits.entries) {
        return Some(format!("Its two histories hold different entries at place {index}."));
    }
    signed
        .iter()
        .find(|h| h.origin() == presented.origin() && h.size() > presented.size())
        .map(|h| format!("It had signed {} entries and presented {} as its newest head.", h.size(), presented.size()))
}

/// A place at which two heads of one log prove different entries.
fn two_at_one_place(entries: &[(Vec<u8>, Receipt)]) -> Option<u64> {
    entries.iter().enumerate().find_map(|(i, (bytes, one))| {
        let mut others = entries[i + 1..].iter();
        let same = |other: &Receipt| other.index() == one.index() && other.head().origin() == one.head().origin();
        others.find(|(others, other)| same(other) && others != bytes).map(|_| one.index().0)
    })
}

fn two_under_one_number(entries: &[(Vec<u8>, Receipt)]) -> bool {
    let pairs: Vec<(&[u8], Pair)> = entries
        .iter()
        .filter_map(|(bytes, _)| match Entry::decode(bytes) {
            Ok(Entry::Pair(pair)) => Some((bytes.as_slice(), pair)),
            _ => None,
        })
        .collect();
    pairs.iter().enumerate().any(|(i, (bytes, one))| {
        pairs[i + 1..].iter().any(|(others, other)| {
            let number = (&one.from, &one.to, one.log, one.seq) == (&other.from, &other.to, other.log, other.seq);
            let end =
                one.from == other.from && one.kind() != puente_wire::PairKind::Query && one.quoted() == other.quoted();
            bytes != others && (number || (end && one.exchange() == other.exchange()))
        })
    })
}
