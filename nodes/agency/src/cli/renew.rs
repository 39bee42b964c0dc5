//! `puente node renew`: from a fresh key to a certificate in force, by a person or a timer.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use puente_model::NodeUri;
use puente_words::text;
use serde_json::json;

use super::output::{Exit, Failure, Report, table};
use super::peers::key_failure;
use super::{Context, client};
use crate::ca;
use crate::config::NodeConfig;
use crate::control_api::{Answer, Command};
use crate::files;
use crate::keys::{KeyRoom, TokenTlsKey};
use crate::load::Bearings;
use crate::renewal::{self, ClaimedRequest, Installed, PAPER_BYTES_MAX, Present, RenewalError, RenewalRequest};

/// Days of a certificate that is issued at once.
const DAYS: u32 = 14;
/// How long a command that reaches the authority may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the command is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// `puente node renew`.
#[derive(Debug, Args)]
#[command(
    after_help = "A timer runs it with --if-due: exit code 0 means renewed and in force, 5 not due yet, anything else \
    that somebody should look."
)]
pub struct RenewArgs {
    /// Do nothing before two thirds of the certificate's life have passed, and a jitter of up to a twelfth.
    #[arg(long)]
    if_due: bool,
    /// The authority's folder, where it is on this machine.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["exec", "request", "install"])]
    ca: Option<PathBuf>,
    /// A command that reaches the authority: gets the request on its standard input and prints the certificate, for
    /// example 'ssh ca@authority puente ca renew --ca ca/mx --request -'.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["request", "install"])]
    exec: Option<String>,
    /// Only write the request to this file, to be carried to the authority.
    #[arg(long, value_name = "FILE", conflicts_with = "install")]
    request: Option<PathBuf>,
    /// Only put the certificate of this file in force.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["ca", "exec", "request"])]
    install: Option<PathBuf>,
    /// Renew a certificate that was issued a moment ago.
    #[arg(long)]
    force: bool,
}

impl From<RenewalError> for Failure {
    fn from(error: RenewalError) -> Self {
        let (code, text, mend) = (error.code(), error.to_string(), error.mend());
        match error {
            RenewalError::File { path, error } => Self::file(&path, &error),
            RenewalError::Ca(error) => error.into(),
            _ => Self::usage(code, text).hint(mend),
        }
    }
}

pub(super) fn run(context: &Context, args: &RenewArgs) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| Failure::from(crate::load::LoadError::from(error)))?;
    let own = config.node;
    let present = Present::read(&context.dir).ok().flatten();
    if let Some(present) = &present {
        if args.if_due && context.now < present.due() {
            return Ok(not_due(context, present));
        }
        if !args.force && args.install.is_none() {
            present.not_just_renewed(context.now)?;
        }
    }
    let room = KeyRoom::open(context.vault.clone(), &config.keys).map_err(key_failure)?;
    let held = room.tls_in_token().map_err(|error| key_failure(error.into()))?;
    if let Some(path) = &args.install {
        let chain = files::read(path).map_err(|error| Failure::file(path, &error))?;
        return put_in_force(context, &own, &chain, held.as_ref());
    }
    let request = match &held {
        // A fresh key would be a file, and the node would go on with the one in the token.
        Some(key) => renewal::prepare_held(&context.dir, &own, key, context.now)?,
        None => renewal::prepare(&context.dir, &context.vault, &own, context.now)?,
    };
    if let Some(path) = &args.request {
        files::replace(path, request.pem().as_bytes(), false).map_err(|error| Failure::file(path, &error))?;
        return Ok(requested(&request, path));
    }
    let chain = match (&args.ca, &args.exec) {
        (Some(folder), _) => at_home(context, folder, &request, args.force)?,
        (None, Some(command)) => fetched(command, &request)?,
        // The definition of the arguments leaves no other way.
        (None, None) => return Err(Failure::usage("usage", "say who issues the certificate").hint("--ca or --exec")),
    };
    put_in_force(context, &own, &chain, held.as_ref())
}

fn not_due(context: &Context, present: &Present) -> Report {
    let (due, end) = (present.due(), present.names.not_after);
    let value = json!({"state": "not-due", "due": due.to_string(), "not_after": end.to_string()});
    let (lang, clocks) = (context.lang, context.clocks());
    let rows = [(text(lang, "due"), clocks.instant(due)), (text(lang, "valid until"), clocks.instant(end))];
    let rows: Vec<_> = rows.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
    Report::new(value, table(&rows)).note("the certificate is not due yet").exit(Exit::NotDue)
}

fn requested(request: &RenewalRequest, path: &Path) -> Report {
    let value = json!({"state": "requested", "request": path.display().to_string(), "vouched": request.is_vouched()});
    let report = Report::new(value, "").note(format!("wrote {}", path.display()));
    let report = if request.is_vouched() {
        report.hint("on the authority's machine: puente ca renew --ca FOLDER --request FILE --out CERT")
    } else {
        report
            .note("no certificate in force vouches for this request: a person must compare it")
            .hint("on the authority's machine: puente ca issue --ca FOLDER --csr FILE --out FOLDER")
    };
    report.hint("then here: puente node renew --install CERT")
}

/// The authority's folder is here: it looks at the request as it would at anybody's.
fn at_home(context: &Context, folder: &Path, request: &RenewalRequest, force: bool) -> Result<Vec<u8>, Failure> {
    let claimed = ClaimedRequest::parse(request.pem().as_bytes()).map_err(ca::CaError::Request)?;
    let charter = Bearings::load(&context.dir).ok().map(|bearings| bearings.charter);
    let (chain, _) = ca::renew(folder, claimed, charter.as_deref(), DAYS, context.now, force)?;
    Ok(chain.into_bytes())
}

/// Runs a command: the request goes in, the certificate comes out. Its words go where this program's go.
fn fetched(command: &str, request: &RenewalRequest) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| {
        Failure::unreachable("authority", why).hint("run the command by hand; the request is kept for the next attempt")
    };
    let mut child = Process::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("the command could not be run: {error}")))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let text = request.pem().to_owned();
    let writing = std::thread::spawn(move || {
        // A command that does not read it says so itself.
        let _ = stdin.map(|mut stdin| stdin.write_all(text.as_bytes()));
    });
    let reading = std::thread::spawn(move || {
        let (mut out, limit) = (Vec::new(), u64::try_from(PAPER_BYTES_MAX).unwrap_or(u64::MAX));
        let read = stdout.map(|stdout| stdout.take(limit + 1).read_to_end(&mut out));
        read.transpose().map(|_| out)
    });
    let status = waited(&mut child).map_err(|error| failed(format!("the command could not be run: {error}")))?;
    let Some(status) = status else {
        return Err(failed(format!("the command did not end within {} seconds", PATIENCE.as_secs())));
    };
    // Both end with the command, whose ends of the pipes are closed.
    let (_, read) = (writing.join(), reading.join());
    if !status.success() {
        return Err(failed(format!("the command failed ({status})")));
    }
    match read {
        Ok(Ok(out)) => Ok(out),
        _ => Err(failed("the command's output could not be read".to_owned())),
    }
}

fn waited(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn put_in_force(context: &Context, own: &NodeUri, chain: &[u8], held: Option<&TokenTlsKey>) -> Result<Report, Failure> {
    // Before the first charter no root is known; a charter that does not verify stops everything.
    let bearings = if context.dir.charter_pin().exists() { Some(Bearings::load(&context.dir)?) } else { None };
    let charter = bearings.as_ref().map(|bearings| bearings.charter.as_ref());
    let held = held.map(renewal::key_digest);
    let installed = renewal::install(&context.dir, &context.vault, own, charter, chain, held, context.now)?;
    let in_force = match client::connect(context)? {
        None => false,
        Some(mut node) => match client::call(&mut node, Command::ReloadCertificate, None)? {
            Answer::Reloaded { items } => match items.into_iter().find(|item| item.outcome == "failed") {
                Some(item) => return Err(Failure::findings("not-reloaded", item.message).hint(item.mend)),
                None => true,
            },
            _ => return Err(client::unexpected()),
        },
    };
    Ok(renewed(context, &installed, in_force))
}

fn renewed(context: &Context, installed: &Installed, in_force: bool) -> Report {
    let Installed { life, due, new_key } = installed;
    let value = json!({
        "state": "renewed",
        "not_before": life.begin.to_string(),
        "not_after": life.end.to_string(),
        "due": due.to_string(),
        "new_key": new_key,
        "in_force": in_force,
    });
    let (lang, clocks) = (context.lang, context.clocks());
    let rows = [
        (text(lang, "file"), context.dir.tls_cert().display().to_string()),
        (text(lang, "valid until"), clocks.instant(life.end)),
        (text(lang, "due"), clocks.instant(*due)),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
    let report = Report::new(value, table(&rows));
    if in_force {
        report.note("the running node uses the new certificate; connections stay")
    } else {
        report.note("no node runs in this folder: the next start uses the new certificate")
    }
}
