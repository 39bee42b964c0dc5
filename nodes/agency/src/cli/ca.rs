use std::path::Path;

use serde_json::{Value, json};

use super::args::{CaCommand, KeyAlgorithm};
use super::output::{Failure, Report, table};
use super::{Context, words};
use crate::ca::{self, Algorithm, CaError, ROOT_CERT, Shown, Subject};

pub(super) fn run(context: &Context, command: CaCommand) -> Result<Report, Failure> {
    match command {
        CaCommand::Init { jurisdiction, out, algorithm, days } => {
            let algorithm = match algorithm {
                KeyAlgorithm::P256 => Algorithm::P256,
                KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
            };
            let root = ca::init(&jurisdiction, &out, algorithm, days, context.now)?;
            let path = out.join(ROOT_CERT);
            Ok(report(&root, &path).note(format!("made the root of {jurisdiction} in {}", out.display())).hint(
                format!("name it in the charter: ca_root_files = [\"{}\"]; keep its key offline", path.display()),
            ))
        }
        CaCommand::Issue { ca, node, auditor, csr, days, out } => {
            let subject = csr.as_deref().map_or(Subject::Fresh(Algorithm::P256), Subject::Request);
            let leaf = match auditor {
                Some(auditor) => ca::issue_auditor(&ca, &auditor, &subject, days, &out, context.now)?,
                None => ca::issue(&ca, node.as_ref(), &subject, days, &out, context.now)?,
            };
            let path = out.join("tls.cert.pem");
            Ok(report(&leaf, &path).note(format!("issued {}", path.display())))
        }
        CaCommand::Show { file } => Ok(report(&ca::show(&file)?, &file)),
    }
}

pub(super) fn to_json(shown: &Shown) -> Value {
    json!({
        "authority": shown.authority,
        "node": shown.node.as_ref().map(ToString::to_string),
        "auditor": shown.auditor.as_ref().map(ToString::to_string),
        "jurisdiction": shown.jurisdiction.as_ref().map(ToString::to_string),
        "not_before": shown.not_before.to_string(),
        "not_after": shown.not_after.to_string(),
        "sha256": shown.sha256.to_string(),
    })
}

fn report(shown: &Shown, path: &Path) -> Report {
    let who = match (&shown.node, &shown.auditor, &shown.jurisdiction) {
        (Some(node), _, _) => ("node", node.to_string()),
        (_, Some(auditor), _) => ("auditor", auditor.to_string()),
        (None, None, Some(nation)) => ("authority of", nation.to_string()),
        (None, None, None) => ("authority of", "no nation: not made by 'puente ca init'".to_owned()),
    };
    let rows = [
        ("file", path.display().to_string()),
        who,
        ("valid from", words::instant(shown.not_before)),
        ("valid until", words::instant(shown.not_after)),
        ("SHA-256", shown.sha256.to_string()),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
    Report::new(to_json(shown), table(&rows))
}

impl From<CaError> for Failure {
    fn from(error: CaError) -> Self {
        let text = error.to_string();
        match error {
            CaError::File { path, error } => Self::file(&path, &error),
            CaError::Malformed { .. } => Self::usage("malformed", text).hint("check that it is the right file"),
            CaError::OtherNation { other, .. } => Self::usage("other-nation", text)
                .hint(format!("send the node's signing request to the authority of {other}")),
            CaError::OtherName { .. } => {
                Self::usage("other-node", text).hint("leave --node out, or take the own request of whom you name")
            }
            CaError::Outlives { .. } => Self::usage("outlives-root", text).hint("use --days"),
            CaError::Library(_) => Self::unavailable("certificate", text),
        }
    }
}
