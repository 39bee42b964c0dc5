//! `puente backup` and `puente restore`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use age::secrecy::SecretString;
use clap::Args;
use puente_audit_log::{ClaimedCheckpoint, VerifierKey, replay};
use puente_words::text;
use serde_json::json;

use super::heartbeat::Heartbeat;
use super::log::Files;
use super::output::{Failure, Report};
use super::{Context, client, load_failure};
use crate::backup::{self, BackupError, Contents, Manifest};
use crate::config::{NodeConfig, NodeDir};
use crate::control_api::{Answer, Command};
use crate::disk::{NodeDisk, Snapshot, full_files, snapshot_database};
use crate::files;
use crate::keys::{PassphraseSource, Vault, is_sealed, recipient_of, unlock};
use crate::load::Bearings;
use crate::node::suspension::Suspension;
use crate::progress::{Phase, Progress};

/// How long a running node may take to copy what changes.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Recipients of one backup.
const RECIPIENTS_MAX: usize = 64;

/// `puente backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The new file.
    out: PathBuf,
    /// Public key (age1…) that can open it; may be given more than once. Without any, a passphrase opens it.
    #[arg(long = "recipient", value_name = "AGE1…")]
    recipients: Vec<String>,
    /// File whose first line is the passphrase of the backup; asked for unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "recipients")]
    backup_passphrase_file: Option<PathBuf>,
    /// With the private keys: whoever opens the backup can then sign as this node.
    #[arg(long)]
    with_keys: bool,
    /// Without the records, where they are backed up by other means.
    #[arg(long)]
    without_records: bool,
}

/// `puente restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup; --dir names the new folder.
    file: PathBuf,
    /// File with the age identity (AGE-SECRET-KEY-1…) that opens it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// File whose first line is the passphrase of the backup; asked for unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    backup_passphrase_file: Option<PathBuf>,
    /// Folder with the node's keys, for a backup without them.
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Only see that it is whole; nothing is written.
    #[arg(long)]
    check: bool,
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        match error {
            BackupError::File { path, error } => Self::file(&path, &error),
            BackupError::Sealed(_) => Self::usage("backup-sealed", text)
                .hint("give the passphrase or the identity that the backup was made for"),
            BackupError::Place(_) | BackupError::Damaged(_) => {
                Self::findings("backup-damaged", text).hint("nothing was restored; use another copy")
            }
            BackupError::Version { .. } => Self::usage("backup-version", text).hint("restore with a newer puente"),
            BackupError::NotWritten(_) => Self::unavailable("backup-not-written", text).hint("back up to another disk"),
            BackupError::Changed(_) => Self::unavailable("backup-changed", text).hint("run the command again"),
        }
    }
}

fn disk(error: crate::disk::DiskError) -> Failure {
    Failure::unavailable("disk", error.to_string())
}

fn passphrase(context: &Context, file: Option<&PathBuf>, new: bool) -> Result<SecretString, Failure> {
    let source = PassphraseSource::of(file.cloned(), None);
    let what = text(context.lang, "passphrase of the backup");
    let again = text(context.lang, "the same again");
    let read = if new { source.read_new(what, again) } else { source.read(what) };
    read.map_err(|error| {
        Failure::usage("passphrase", error.to_string()).hint("give it with --backup-passphrase-file FILE")
    })
}

/// A folder that goes away with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Result<Self, Failure> {
        files::make_private_dir(&path).map_err(|error| Failure::file(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::file(path, &error))
}

/// `puente backup`.
pub(super) fn backup(context: &Context, args: &BackupArgs) -> Result<Report, Failure> {
    let dir = NodeDir::new(absolute(context.dir.path())?);
    let bearings = Bearings::load(&dir).map_err(load_failure)?;
    let opener = (args.recipients.is_empty())
        .then(|| passphrase(context, args.backup_passphrase_file.as_ref(), true))
        .transpose()?;
    let recipients = recipients(&args.recipients, opener.as_ref())?;
    let scratch = Scratch::new(dir.path().join(format!(".backup.{}", std::process::id())))?;
    let progress = Arc::new(Progress::default());
    progress.begin(Phase { what: "the backup is made", code: "snapshot", of: None });
    let _beat = Heartbeat::start(context, &progress);
    let snapshot = snapshot(context, &bearings, &scratch.0)?;
    let mut contents = Contents::default();
    gather(&dir, &scratch.0, snapshot, args, &mut contents)?;
    let mut manifest = Manifest {
        version: backup::VERSION,
        node: bearings.config.node.to_string(),
        origin: bearings.config.origin().map(|origin| origin.to_string()).unwrap_or_default(),
        entries: snapshot.size,
        made: context.now.to_string(),
        keys: args.with_keys,
        records: !args.without_records,
        files: std::collections::BTreeMap::new(),
    };
    let bytes = backup::write_backup(&args.out, &contents, &mut manifest, &recipients, &progress)?;
    if let Some(passphrase) = opener {
        // What a person can open is opened; what only a key elsewhere opens was compared byte for byte.
        let found = backup::unpack(backup::open_backup(&args.out, &[Box::new(unlock(&passphrase))], &progress)?, None)?;
        if found != manifest {
            return Err(BackupError::NotWritten(args.out.clone()).into());
        }
    }
    let value = json!({"file": args.out.display().to_string(), "bytes": bytes, "node": manifest.node,
        "entries": manifest.entries, "files": manifest.files.len(), "keys": manifest.keys, "records": manifest.records});
    let report = Report::new(value, format!("{}\n", args.out.display()));
    let (entries, count) = (manifest.entries, manifest.files.len());
    Ok(report.note(format!("{entries} entries, {count} files, {bytes} bytes; read back and compared")))
}

fn recipients(
    names: &[String],
    passphrase: Option<&SecretString>,
) -> Result<Vec<Box<dyn age::Recipient + Send>>, Failure> {
    if names.len() > RECIPIENTS_MAX {
        return Err(Failure::usage("recipient", format!("a backup has at most {RECIPIENTS_MAX} recipients")));
    }
    if let Some(passphrase) = passphrase {
        return Ok(vec![Box::new(recipient_of(passphrase))]);
    }
    let mut out: Vec<Box<dyn age::Recipient + Send>> = Vec::new();
    for name in names {
        let recipient: age::x25519::Recipient = name.parse().map_err(|_| {
            Failure::usage("recipient", format!("'{}' is no age public key", name.escape_debug()))
                .hint("make a pair with age-keygen; the public one begins with age1")
        })?;
        out.push(Box::new(recipient));
    }
    Ok(out)
}

/// The moment that is backed up: by the running node, or from the folder of a stopped one.
fn snapshot(context: &Context, bearings: &Bearings, to: &Path) -> Result<Snapshot, Failure> {
    if let Some(mut node) = client::connect(context)? {
        let command = Command::Snapshot { to: to.to_owned() };
        return match client::call(&mut node, command, Some(PATIENCE))? {
            Answer::Snapshot { size, asides_len } => Ok(Snapshot { size, asides_len }),
            _ => Err(client::unexpected()),
        };
    }
    let path = context.dir.store_key();
    let key = context.vault.secret(&path).map_err(|error| Failure::file(&path, &error))?;
    let (node, _) = NodeDisk::open(context.dir.path(), &key, &own_key(bearings)?).map_err(disk)?;
    let snapshot = node.snapshot(to).map_err(disk)?;
    node.close().map_err(disk)?;
    Ok(snapshot)
}

/// The key of this node's log, as the charter names it.
fn own_key(bearings: &Bearings) -> Result<VerifierKey, Failure> {
    let other = |what: String| Failure::usage("other-log", what).hint("'log' in node.toml must be a log of the annex");
    let origin = bearings.config.origin().map_err(|error| other(error.to_string()))?;
    let member = bearings.charter.member(&bearings.config.node);
    let entry = member.and_then(|member| member.logs.iter().find(|log| log.origin == origin));
    let entry = entry.ok_or_else(|| other(format!("the charter does not name the log {origin}")))?;
    entry.vkey.parse().map_err(|error: puente_audit_log::KeyError| other(error.to_string()))
}

/// Everything that goes in.
fn gather(
    dir: &NodeDir,
    scratch: &Path,
    snapshot: Snapshot,
    args: &BackupArgs,
    contents: &mut Contents,
) -> Result<(), Failure> {
    for name in ["node.toml", "officers.toml", "officers.recorded.toml", "adopted.recorded.toml"] {
        contents.file(name, dir.path().join(name))?;
    }
    for name in ["charter", "policies", "closed", "catalogue"] {
        contents.folder(name, &dir.path().join(name))?;
    }
    contents.file("keys/tls.cert.pem", dir.tls_cert())?;
    if args.with_keys {
        contents.folder("keys", &dir.keys())?;
    }
    if !args.without_records {
        contents.folder("imports", &dir.imports())?;
        if dir.records().exists() {
            let copy = scratch.join("records.db");
            snapshot_database(&dir.records(), &copy).map_err(disk)?;
            contents.file("records.db", copy)?;
        }
    }
    for path in full_files(snapshot.size) {
        let name = path.to_string();
        contents.file(&format!("log/{name}"), dir.log().join(name))?;
    }
    contents.beginning("log/asides", dir.log().join("asides"), snapshot.asides_len)?;
    contents.folder("log", &scratch.join("log"))?;
    contents.folder("journal", &scratch.join("journal"))?;
    contents.file("evidence.db", scratch.join("evidence.db"))?;
    Ok(())
}

/// `puente restore`.
pub(super) fn restore(context: &Context, args: &RestoreArgs) -> Result<Report, Failure> {
    let progress = Arc::new(Progress::default());
    let opened = backup::open_backup(&args.file, &identities(context, args)?, &progress)?;
    let _beat = Heartbeat::start(context, &progress);
    if args.check {
        let manifest = backup::unpack(opened, None)?;
        return Ok(Report::new(json!(manifest), format!("{}\n", manifest.node)).note("whole; nothing was written"));
    }
    let target = absolute(context.dir.path())?;
    if std::fs::read_dir(&target).is_ok_and(|mut found| found.next().is_some()) {
        let text = format!("{} is not empty: a backup is restored into a new folder", target.display());
        return Err(Failure::usage("exists", text).hint("choose another with --dir"));
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scratch = Scratch::new(target.with_file_name(format!(".{name}.restoring.{}", std::process::id())))?;
    let manifest = backup::unpack(opened, Some(&scratch.0))?;
    let dir = NodeDir::new(&scratch.0);
    if let Some(from) = &args.keys {
        copy_keys(from, &dir)?;
    }
    progress.begin(Phase { what: "the log is verified", code: "verify", of: None });
    let sealed = verify(context, &dir, &manifest)?;
    Suspension::restored(context.now).write(&dir).map_err(|error| Failure::file(&dir.suspension(), &error))?;
    // An empty folder of that name makes way.
    let _ = std::fs::remove_dir(&target);
    std::fs::rename(&scratch.0, &target).map_err(|error| Failure::file(&target, &error))?;
    let value = json!({"folder": target.display().to_string(), "node": manifest.node, "origin": manifest.origin,
        "entries": manifest.entries, "made": manifest.made, "journal_verified": sealed, "suspended": true});
    let mut report = Report::new(value, format!("{}\n", target.display()));
    let Manifest { entries, origin, made, .. } = &manifest;
    report = report.note(format!("{entries} entries of {origin} verified, as of {made}"));
    if !sealed {
        report = report
            .note("the keys are not in it: put log.key, store.key and tls.key.pem into keys/ before the node starts");
    }
    Ok(report.hint(
        "start it: it compares its log with every partner and records nothing; then 'puente log resume', or \
         'puente log successor' if a partner holds more",
    ))
}

/// Nobody is asked for the passphrase of something that has none.
fn looks_sealed(path: &Path) -> Result<(), Failure> {
    let mut first = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut first));
    read.map_err(|error| Failure::file(path, &error))?;
    if is_sealed(&first) {
        return Ok(());
    }
    Err(Failure::usage("not-a-backup", format!("{} is no backup: it is not an age file", path.display()))
        .hint("name the file that 'puente backup' wrote"))
}

fn identities(context: &Context, args: &RestoreArgs) -> Result<Vec<Box<dyn age::Identity>>, Failure> {
    looks_sealed(&args.file)?;
    let Some(path) = &args.identity else {
        let passphrase = passphrase(context, args.backup_passphrase_file.as_ref(), false)?;
        return Ok(vec![Box::new(unlock(&passphrase))]);
    };
    let bad = |error: String| Failure::usage("identity", format!("{}: {error}", path.display()));
    let bytes = zeroize::Zeroizing::new(files::read(path).map_err(|error| Failure::file(path, &error))?);
    let file = age::IdentityFile::from_buffer(bytes.as_slice()).map_err(|error| bad(error.to_string()))?;
    let found = file.into_identities().map_err(|error| bad(error.to_string()))?;
    Ok(found.into_iter().map(|identity| identity as Box<dyn age::Identity>).collect())
}

fn copy_keys(from: &Path, dir: &NodeDir) -> Result<(), Failure> {
    files::make_private_dir(&dir.keys()).map_err(|error| Failure::file(&dir.keys(), &error))?;
    for entry in std::fs::read_dir(from).map_err(|error| Failure::file(from, &error))? {
        let path = entry.map_err(|error| Failure::file(from, &error))?.path();
        let target = dir.keys().join(path.file_name().unwrap_or_default());
        if path.is_file() && !target.exists() {
            let bytes = zeroize::Zeroizing::new(files::read(&path).map_err(|error| Failure::file(&path, &error))?);
            files::create(&target, &bytes, true).map_err(|error| Failure::file(&target, &error))?;
        }
    }
    Ok(())
}

/// Replays the restored log to its signed head; with the store's key, opens journal and evidence too. True if it did.
fn verify(context: &Context, dir: &NodeDir, manifest: &Manifest) -> Result<bool, Failure> {
    let damaged = |what: String| Failure::from(BackupError::Damaged(what));
    NodeConfig::load(dir).map_err(|error| damaged(error.to_string()))?;
    let bearings = Bearings::load(dir).map_err(load_failure)?;
    let key = own_key(&bearings)?;
    let files = Files::new(dir.log());
    if manifest.entries > 0 {
        let path = dir.log().join("checkpoint");
        let note = files::read(&path).map_err(|error| Failure::file(&path, &error))?;
        let head = ClaimedCheckpoint::parse(&note).and_then(|claimed| claimed.verify(&key));
        let head = head.map_err(|error| damaged(error.to_string()))?;
        if head.size().0 != manifest.entries {
            return Err(damaged(format!("{} entries under its head", head.size())));
        }
        replay(&head, &files, |_, _, _| std::ops::ControlFlow::Continue(()))
            .map_err(|error| damaged(error.to_string()))?;
    }
    if !dir.store_key().exists() {
        return Ok(false);
    }
    let path = dir.store_key();
    let vault: &Vault = &context.vault;
    let store = vault.secret(&path).map_err(|error| Failure::file(&path, &error))?;
    let (node, recovered) = NodeDisk::open(dir.path(), &store, &key).map_err(disk)?;
    if recovered.tree.size().0 != manifest.entries {
        return Err(damaged(format!("its journal leads to {} entries", recovered.tree.size())));
    }
    drop(recovered);
    node.close().map_err(disk)?;
    Ok(true)
}
