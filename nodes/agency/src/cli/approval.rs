//! `puente approval`: what waits for two operators, and their signatures.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_model::{Digest, Millis};
use puente_words::{say, texts};
use serde_json::json;

use super::output::{Exit, Failure, Report};
use super::{Context, keys};
use crate::api::keys::KeyBook;
use crate::approval::{
    APPROVERS, ApprovalError, Approvals, Change, Consent, Operator, Rule, VALID_MILLIS, grants_digest,
};
use crate::config::NodeConfig;
use crate::files;
use crate::load::Bearings;
use crate::node::recorded_policies;
use crate::officers::OfficerBook;

/// `puente approval`.
#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// Make an operator's key, and print the lines for operators.toml.
    Keygen {
        /// Name of the operator: lower-case letters, digits and hyphens.
        #[arg(long)]
        name: String,
        /// Whose key it is; nobody holds two.
        #[arg(long, value_name = "TEXT")]
        person: String,
        /// Where the private key goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Give an operator of operators.toml another key, or put somebody else in the place; two operators in force approve it.
    Replace {
        /// Name of the operator whose key is lost or due, or who leaves.
        name: String,
        /// A file with what 'puente approval keygen' printed for the new key.
        #[arg(long, value_name = "FILE")]
        with: PathBuf,
    },
    /// List what waits for two operators, with who has approved.
    List,
    /// Approve what waits, as the operator whose key it is.
    Sign {
        /// The operator's private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Only this: policies, officers or operators.
        #[arg(long, value_name = "CHANGE")]
        change: Option<Change>,
    },
}

texts! {
    /// What it says.
    enum Text {
        NoRule: "no two-person rule is in force: operators.toml names no operators, or the node has not recorded them yet";
        Nothing: "nothing waits for approval";
        Policies: "other policies";
        Officers: "grants of officers";
        ApiKeys: "keys of the agency's own programs";
        Operators: "other operators, or none";
        Replaced: "the operators in force approve it, two of them, with the keys that they have: puente approval sign --key FILE";
        Nobody: "nobody has approved";
        CarryOut: "'puente node reload' carries out what two operators have approved; a node that starts does so too";
        Compare: "look at what you approve: 'puente officer list', 'puente api-key list', the folder policies, operators.toml";
    }
}

fn words(change: Change) -> Text {
    match change {
        Change::Policies => Text::Policies,
        Change::Officers => Text::Officers,
        Change::ApiKeys => Text::ApiKeys,
        Change::Operators => Text::Operators,
    }
}

impl From<ApprovalError> for Failure {
    fn from(error: ApprovalError) -> Self {
        Self::usage(error.code(), error.to_string()).hint(error.mend())
    }
}

/// What the folder asks for and the log does not hold yet.
fn waiting(context: &Context, approvals: &Approvals) -> Result<Vec<(Change, Digest, Digest)>, Failure> {
    let mut out = Vec::new();
    let bearings = Bearings::load(&context.dir).map_err(super::load_failure)?;
    let known =
        recorded_policies(&context.dir).map_err(|error| Failure::file(&context.dir.adopted_recorded(), &error))?;
    // Policies that do not hold are nobody's to approve.
    let wanted = bearings.policies(&context.dir).map_err(super::load_failure)?.hash();
    if let Some(known) = known.filter(|known| *known != wanted) {
        out.push((Change::Policies, known, wanted));
    }
    if let Some(grants) = grants_digest(&OfficerBook::open(&context.dir)?.changes(context.now)) {
        out.push((Change::Officers, Digest::default(), grants));
    }
    if let Some(grants) = grants_digest(&KeyBook::open(&context.dir)?.changes(context.now)) {
        out.push((Change::ApiKeys, Digest::default(), grants));
    }
    out.extend(approvals.rule_change().map(|(from, to)| (Change::Operators, from, to)));
    Ok(out)
}

pub(super) fn run(context: &Context, command: ApprovalCommand) -> Result<Report, Failure> {
    match command {
        ApprovalCommand::Keygen { name, person, out } => keygen(&name, &person, &out),
        ApprovalCommand::Replace { name, with } => replace(context, &open(context)?, &name, &with),
        ApprovalCommand::List => list(context, &open(context)?),
        ApprovalCommand::Sign { key, change } => sign(context, &open(context)?, &key, change),
    }
}

fn open(context: &Context) -> Result<Approvals, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| super::load_failure(error.into()))?;
    Ok(Approvals::open(&context.dir, &config.node)?)
}

fn keygen(name: &str, person: &str, out: &Path) -> Result<Report, Failure> {
    keys::slug(name)?;
    let secret = files::fresh_secret().map_err(|error| Failure::unavailable("random", error.to_string()))?;
    let signer = Ed25519Signer::new(name, KeyKind::Ed25519, &secret)
        .map_err(|error| Failure::unavailable("key", error.to_string()))?;
    let operator = Operator { name: name.to_owned(), person: person.trim().to_owned(), key: signer.verifier().clone() };
    if operator.person.is_empty() {
        return Err(Failure::usage("person", "a key belongs to somebody").hint("name the person with --person"));
    }
    files::create_secret(out, &secret).map_err(|error| Failure::file(out, &error))?;
    let stanza = Rule::stanza(&operator).map_err(|error| Failure::unavailable("operators", error.to_string()))?;
    let value = json!({"name": name, "public": operator.key.to_string(), "file": out.display().to_string()});
    Ok(Report::new(value, stanza).note(format!("wrote the private key to {}: keep it secret", out.display())))
}

fn replace(context: &Context, approvals: &Approvals, name: &str, with: &Path) -> Result<Report, Failure> {
    let path = context.dir.operators();
    let stanza = files::read_text(with).map_err(|error| Failure::file(with, &error))?;
    let wanted = approvals.wanted().ok_or_else(|| Failure::usage("no-rule", Text::NoRule.get(context.lang)))?;
    let next = wanted
        .replaced(&path.display().to_string(), name, &with.display().to_string(), &stanza)
        .map_err(ApprovalError::from)?;
    let text = next.to_toml().map_err(|error| Failure::unavailable("operators", error.to_string()))?;
    files::replace(&path, text.as_bytes(), true).map_err(|error| Failure::file(&path, &error))?;
    let value = json!({"replaced": name, "waits": approvals.rule().is_some()});
    let report = Report::new(value, format!("{}\n", path.display()));
    Ok(if approvals.rule().is_some() {
        report.note(Text::Replaced.get(context.lang)).hint(Text::CarryOut.get(context.lang))
    } else {
        report.hint(Text::CarryOut.get(context.lang))
    })
}

fn list(context: &Context, approvals: &Approvals) -> Result<Report, Failure> {
    let lang = context.lang;
    if approvals.rule().is_none() {
        return Ok(Report::new(json!({"rule": false, "waiting": []}), format!("{}\n", Text::NoRule.get(lang))));
    }
    let (mut rows, mut out) = (Vec::new(), String::new());
    for (change, from, to) in waiting(context, approvals)? {
        let by = match approvals.consent(change, from, to, context.now)? {
            Consent::Given(approved) => approved.by,
            Consent::Waits(by) => by,
            Consent::Free => continue,
        };
        let who = if by.is_empty() { Text::Nobody.get(lang).to_owned() } else { by.join(", ") };
        out.push_str(&format!("{change:<10} {}: {who}\n{:<10} {to}\n", words(change).get(lang), ""));
        rows.push(
            json!({"change": change.as_str(), "from": from.to_string(), "to": to.to_string(), "approved_by": by}),
        );
    }
    if rows.is_empty() {
        out = format!("{}\n", Text::Nothing.get(lang));
    }
    let report = Report::new(json!({"rule": true, "waiting": rows}), out);
    Ok(if rows.is_empty() { report } else { report.hint(Text::Compare.get(lang)) })
}

fn sign(context: &Context, approvals: &Approvals, key: &Path, only: Option<Change>) -> Result<Report, Failure> {
    let lang = context.lang;
    let Some(rule) = approvals.rule() else {
        return Err(Failure::usage("no-rule", Text::NoRule.get(lang)));
    };
    let secret = files::read_secret(key).map_err(|error| Failure::file(key, &error))?;
    let signer = |name: &str| Ed25519Signer::new(name, KeyKind::Ed25519, &secret).ok();
    let mine = |operator: &&Operator| signer(&operator.name).is_some_and(|signer| *signer.verifier() == operator.key);
    let operator = rule.operators().iter().find(mine).ok_or(ApprovalError::NotAnOperator)?;
    let signer = signer(&operator.name).ok_or(ApprovalError::NotAnOperator)?;
    let (mut rows, mut out) = (Vec::new(), String::new());
    for (change, from, to) in waiting(context, approvals)? {
        if only.is_some_and(|only| only != change) {
            continue;
        }
        let by = approvals.sign(change, (from, to), &signer, context.now)?;
        out.push_str(&format!("{change:<10} {}: {}\n", words(change).get(lang), by.join(", ")));
        rows.push(json!({"change": change.as_str(), "to": to.to_string(), "approved_by": by, "enough": by.len() >= APPROVERS}));
    }
    if rows.is_empty() {
        return Ok(Report::new(json!({"approved": []}), format!("{}\n", Text::Nothing.get(lang))).exit(Exit::Findings));
    }
    let until = context.clocks().instant(Millis(context.now.0.saturating_add(VALID_MILLIS)));
    let note = say(lang, &format!("approvals count until {until} at the latest")).into_owned();
    Ok(Report::new(json!({"operator": operator.name, "approved": rows}), out).note(note).hint(Text::CarryOut.get(lang)))
}
