use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use puente_words::{Clocks, capital_zone, text};
use serde_json::{Value, json};

use super::Context;
use super::args::{CaCommand, KeyAlgorithm};
use super::output::{Failure, Report, table};
use crate::ca::{self, Algorithm, CaError, ROOT_CERT, Shown, Subject};
use crate::renewal::{ClaimedRequest, PAPER_BYTES_MAX, RequestError};
use crate::{files, load};

pub(super) fn run(context: &Context, command: CaCommand) -> Result<Report, Failure> {
    match command {
        CaCommand::Init { jurisdiction, out, algorithm, days } => {
            let algorithm = match algorithm {
                KeyAlgorithm::P256 => Algorithm::P256,
                KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
            };
            let root = ca::init(&jurisdiction, &out, algorithm, days, context.now)?;
            let path = out.join(ROOT_CERT);
            Ok(report(context, &root, &path)
                .note(format!("made the root of {jurisdiction} in {}", out.display()))
                .hint(format!(
                    "name it in the charter: ca_root_files = [\"{}\"]; keep its key offline",
                    path.display()
                )))
        }
        CaCommand::Issue { ca, node, auditor, csr, days, out } => {
            let subject = csr.as_deref().map_or(Subject::Fresh(Algorithm::P256), Subject::Request);
            let leaf = match auditor {
                Some(auditor) => ca::issue_auditor(&ca, &auditor, &subject, days, &out, context.now)?,
                None => ca::issue(&ca, node.as_ref(), &subject, days, &out, context.now)?,
            };
            let path = out.join("tls.cert.pem");
            Ok(report(context, &leaf, &path).note(format!("issued {}", path.display())))
        }
        CaCommand::Renew(args) => renew(context, &args),
        CaCommand::Show { file } => Ok(report(context, &ca::show(&file)?, &file)),
    }
}

/// `puente ca renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The authority's folder.
    #[arg(long, value_name = "FOLDER")]
    ca: PathBuf,
    /// The request, as 'puente node renew' makes it; '-' is standard input.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Renew for active members of the charter in this folder only.
    #[arg(long, value_name = "FOLDER")]
    charter: Option<PathBuf>,
    /// Days until the certificate ends.
    #[arg(long, default_value_t = 14, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
    days: u32,
    /// File for the new certificate and its root; stdout unless given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Renew a certificate that was issued a moment ago.
    #[arg(long)]
    force: bool,
}

fn renew(context: &Context, args: &RenewArgs) -> Result<Report, Failure> {
    let asked = if args.request.as_os_str() == "-" {
        let mut asked = Vec::new();
        let limit = u64::try_from(PAPER_BYTES_MAX).unwrap_or(u64::MAX);
        let read = std::io::stdin().lock().take(limit + 1).read_to_end(&mut asked);
        read.map_err(|error| Failure::unavailable("io", error.to_string()))?;
        asked
    } else {
        files::read(&args.request).map_err(|error| Failure::file(&args.request, &error))?
    };
    let request = ClaimedRequest::parse(&asked).map_err(CaError::Request)?;
    let charter = match &args.charter {
        Some(folder) => Some(load::charter(folder, load::charter_pin(&folder.join("pin"))?)?),
        None => None,
    };
    let (chain, leaf) = ca::renew(&args.ca, request, charter.as_ref(), args.days, context.now, args.force)?;
    let mut value = to_json(&leaf);
    let Some(out) = &args.out else {
        value["certificate"] = chain.clone().into();
        return Ok(Report::new(value, chain));
    };
    files::replace(out, chain.as_bytes(), false).map_err(|error| Failure::file(out, &error))?;
    Ok(report(context, &leaf, out).note(format!("renewed {}", out.display())))
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

/// Times stand on the clock of the certificate's nation, where the folder is no node's.
fn report(context: &Context, shown: &Shown, path: &Path) -> Report {
    let lang = context.lang;
    let (who, name) = match (&shown.node, &shown.auditor, &shown.jurisdiction) {
        (Some(node), _, _) => (text(lang, "node"), node.to_string()),
        (_, Some(auditor), _) => (text(lang, "auditor"), auditor.to_string()),
        (None, None, Some(nation)) => (text(lang, "authority of"), nation.to_string()),
        (None, None, None) => {
            (text(lang, "authority of"), text(lang, "no nation: not made by 'puente ca init'").to_owned())
        }
    };
    let nation = shown.node.as_ref().map(|node| node.jurisdiction()).or_else(|| shown.jurisdiction.clone());
    let clocks = match nation {
        Some(nation) if !context.dir.config().exists() => Clocks::of(capital_zone(nation.as_str()), jiff::tz::db()),
        _ => context.clocks(),
    };
    let rows = [
        (text(lang, "file"), path.display().to_string()),
        (who, name),
        (text(lang, "valid from"), clocks.instant(shown.not_before)),
        (text(lang, "valid until"), clocks.instant(shown.not_after)),
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
            CaError::Request(RequestError::Alone | RequestError::Ended(_)) => Self::usage("not-vouched", text).hint(
                "let a person compare the request with the node's operator, then issue on it: puente ca issue --csr",
            ),
            CaError::Request(_) => {
                Self::usage("request", text).hint("have the node make it: puente node renew --request")
            }
            CaError::JustRenewed { .. } => Self::usage("just-renewed", text)
                .hint("look at the clock and at what runs the renewal; --force renews all the same"),
            CaError::NotAMember(_) | CaError::CharterOver => Self::usage("not-a-member", text)
                .hint("ask the governance office; --charter names the folder with every part in force"),
            CaError::Outlives { .. } => Self::usage("outlives-root", text).hint("use --days"),
            CaError::Library(_) => Self::unavailable("certificate", text),
        }
    }
}
