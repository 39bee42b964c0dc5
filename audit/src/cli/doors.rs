//! Logs named by the address of a node's door, among folders: copied first, then audited with the rest.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use puente_charter::Charter;
use puente_words::{say, text};

use super::{Cli, How, auditor, report, words};
use crate::remote::{Busy, Continuity, Copied, Copier, CopyLimits, CopyProgress, Credentials, RemoteError};
use crate::{AuditError, Auditor, Conclusion, Lang, Source, Verdict};

/// What it takes to read at doors.
#[derive(Debug, clap::Args)]
pub(super) struct DoorArgs {
    /// The auditor's certificate (PEM), to read logs at https://host:port/ (default: tls.cert.pem in --state).
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key (PEM; default: tls.key.pem beside the certificate).
    #[arg(long, value_name = "FILE")]
    cert_key: Option<PathBuf>,
    /// Where copies of logs are kept, to go on with the next time (default: copies/ in --state).
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The most that is copied of one log, in GiB.
    #[arg(long, default_value_t = 64, value_name = "GIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    copy_limit: u64,
    /// Seconds that one answer of a node may take.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    patience: u64,
    /// How often a file is asked for before the line counts as failed.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    attempts: u32,
}

impl DoorArgs {
    /// Where copies are kept.
    pub(super) fn keep(&self, cli: &Cli) -> PathBuf {
        self.keep.clone().unwrap_or_else(|| cli.state.join("copies"))
    }

    /// What copies logs there.
    pub(super) fn copier<'c>(
        &self,
        charter: &'c Charter,
        credentials: Option<&'c Credentials>,
        keep: &'c Path,
    ) -> Copier<'c> {
        let limits = CopyLimits {
            bytes_max: self.copy_limit << 30,
            patience: Duration::from_secs(self.patience),
            attempts: self.attempts,
            ..CopyLimits::default()
        };
        Copier { charter, credentials, keep, limits, busy: Busy::default() }
    }
}

/// One log that was named.
enum Named {
    Folder(PathBuf),
    Copied(Copied),
    Unreachable { url: String, why: String },
}

impl Named {
    fn source(&self) -> Source<'_> {
        match self {
            Self::Folder(dir) => Source::Folder(dir),
            Self::Copied(copy) => Source::Copied(&copy.dir, copy.before.as_deref()),
            Self::Unreachable { url, why } => Source::Unreachable(url, why),
        }
    }
}

/// The address, if a log was named by one.
pub(super) fn url(name: &Path) -> Option<&str> {
    name.to_str().filter(|name| name.contains("://"))
}

/// Audits folders and doors.
pub(super) fn run(cli: &Cli, how: &How, names: &[&Path], pairs: bool) -> Result<Conclusion, AuditError> {
    let mut auditor = auditor(cli, how)?;
    report(cli, &judge(cli, how, &mut auditor, names, pairs)?)
}

/// The same without telling.
pub(super) fn judge(
    cli: &Cli,
    how: &How,
    auditor: &mut Auditor,
    names: &[&Path],
    pairs: bool,
) -> Result<Verdict, AuditError> {
    if !names.iter().any(|name| url(name).is_some()) {
        let sources: Vec<Source<'_>> = names.iter().map(|name| Source::Folder(name)).collect();
        return auditor.audit(&sources, pairs, true);
    }
    let credentials = credentials(cli, &how.door)?;
    let mut logs: Vec<Named> =
        names.iter().map(|name| one(cli, how, auditor, &credentials, name, false)).collect::<Result<_, _>>()?;
    let reused = |logs: &[Named]| logs.iter().any(|log| matches!(log, Named::Copied(copy) if copy.reused));
    if reused(&logs) {
        let sources: Vec<Source<'_>> = logs.iter().map(Named::source).collect();
        let verdict = auditor.audit(&sources, pairs, false)?;
        if verdict.verdict != Conclusion::Unsound {
            return Ok(verdict);
        }
        // What lay here may have been damaged here: no node is blamed for it.
        words(text(
            cli.lang(),
            "A fault shows in a copy that was not fetched anew: it is set aside, and the log fetched once more.",
        ));
        for (log, name) in logs.iter_mut().zip(names) {
            if let Named::Copied(copy) = log
                && copy.reused
            {
                let before = copy.before.take();
                *log = one(cli, how, auditor, &credentials, name, true)?;
                if let (Named::Copied(copy), Some(_)) = (&mut *log, &before) {
                    copy.before = before;
                }
            }
        }
    }
    let sources: Vec<Source<'_>> = logs.iter().map(Named::source).collect();
    let verdict = auditor.audit(&sources, pairs, true)?;
    for log in &logs {
        // Its evidence is written.
        if let Named::Copied(Copied { continuity: Continuity::Forked(fork), .. }) = log {
            fork.told()?;
        }
    }
    Ok(verdict)
}

pub(super) fn credentials(cli: &Cli, args: &DoorArgs) -> Result<Credentials, AuditError> {
    let cert = args.cert.clone().unwrap_or_else(|| cli.state.join("tls.cert.pem"));
    let key = args.cert_key.clone().unwrap_or_else(|| cert.with_file_name("tls.key.pem"));
    Ok(Credentials::load(&cert, &key)?)
}

fn one(
    cli: &Cli,
    how: &How,
    auditor: &Auditor,
    credentials: &Credentials,
    name: &Path,
    anew: bool,
) -> Result<Named, AuditError> {
    let Some(url) = url(name) else { return Ok(Named::Folder(name.to_owned())) };
    let keep = how.door.keep(cli);
    let copier = how.door.copier(auditor.charter(), Some(credentials), &keep);
    let lines = !io::stderr().is_terminal();
    let tell = |progress: CopyProgress| {
        let line = telling(cli.lang(), url, progress);
        let _ = if lines { writeln!(io::stderr(), "{line}") } else { write!(io::stderr(), "\r{line}\x1b[K") };
    };
    let copied = copier.copy(url, anew, &tell);
    if !lines {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    match copied {
        Ok(copy) => {
            let (origin, bytes, dir) = (&copy.origin, size(copy.bytes), copy.dir.display());
            words(&say(cli.lang(), &format!("{origin}: {bytes} fetched; the copy is in {dir}")));
            Ok(Named::Copied(copy))
        }
        // What is wrong on this side is no matter of the line: nothing is audited then.
        Err(error @ (RemoteError::Url(_) | RemoteError::Disk { .. } | RemoteError::Credentials { .. })) => {
            Err(error.into())
        }
        Err(error) => Ok(Named::Unreachable { url: url.to_owned(), why: error.to_string() }),
    }
}

fn telling(lang: Lang, url: &str, progress: CopyProgress) -> String {
    let CopyProgress { entries, files, files_all, bytes } = progress;
    let bytes = size(bytes);
    match files_all {
        0 => format!("{url}: {bytes}"),
        _ => say(lang, &format!("{url}: {entries} entries, {files} of {files_all} files, {bytes}")).into_owned(),
    }
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
