//! `puente keys`: how the node's private keys lie on disk.

mod token;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use puente_words::text;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::output::{Failure, Report, table};
use super::peers::key_failure;
use super::{Context, client};
use crate::config::{NodeConfig, NodeDir};
use crate::files;
use crate::keys::{self, KeyRoom, PassphraseSource};

/// `puente keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the node's private keys and how each is kept.
    List,
    /// Show the public half of the log's key, as the annex names it.
    Show,
    /// Encrypt every private key with a passphrase (age files).
    Protect {
        /// File whose first line is the new passphrase; asked for unless given.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Make the private keys plain files again, for their owner alone.
    Unprotect,
    /// Bring private keys into the PKCS#11 token that [keys] of node.toml names.
    Move(MoveArgs),
    /// Give the token its PIN once, although a wrong one was given before; not if it would lock itself.
    TryPin,
}

/// `puente keys move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Into the token; out of it no key comes.
    #[arg(long, required = true)]
    to_token: bool,
    /// Which keys; without a name both, as far as [keys] names them.
    #[arg(value_enum)]
    keys: Vec<Movable>,
    /// Delete the files once the token signs with the keys: then nothing brings them out of it again.
    #[arg(long)]
    delete_files: bool,
}

/// A key that a token can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Movable {
    /// The key that signs the log's heads (Ed25519).
    Log,
    /// The key of the node's certificate (ECDSA P-256).
    Tls,
}

pub(super) fn run(context: &Context, command: KeysCommand) -> Result<Report, Failure> {
    match command {
        KeysCommand::List => list(context),
        KeysCommand::Show => show(context),
        KeysCommand::Protect { new_passphrase_file } => protect(context, new_passphrase_file),
        KeysCommand::Unprotect => unprotect(context),
        KeysCommand::Move(args) => token::bring_in(context, &args),
        KeysCommand::TryPin => token::try_pin(context),
    }
}

/// The private keys in a node's folder, by name.
fn private_keys(dir: &NodeDir) -> Result<Vec<PathBuf>, Failure> {
    let folder = dir.keys();
    let mut out = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| Failure::file(&folder, &error))? {
        let path = entry.map_err(|error| Failure::file(&folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && (name.ends_with(".key") || name.ends_with(".key.pem")) {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    files::read(path).map(Zeroizing::new).map_err(|error| Failure::file(path, &error))
}

fn list(context: &Context) -> Result<Report, Failure> {
    let (mut rows, mut values): (Vec<(String, String)>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut open = false;
    for path in private_keys(&context.dir)? {
        let sealed = keys::is_sealed(&read(&path)?);
        let mode = std::fs::metadata(&path).map_err(|error| Failure::file(&path, &error))?.permissions().mode() & 0o777;
        open |= mode & 0o077 != 0;
        let kept = if sealed { text(context.lang, "under a passphrase") } else { text(context.lang, "plain file") };
        rows.push((name(&path), format!("{kept}, {mode:o}")));
        values.push(json!({"file": name(&path), "encrypted": sealed, "mode": format!("{mode:o}")}));
    }
    if let Ok(config) = NodeConfig::load(&context.dir) {
        let labels = [config.keys.log_label(config.log), config.keys.tls_key.clone()];
        for label in labels.into_iter().flatten() {
            let token = config.keys.token.clone().unwrap_or_default();
            rows.push((label.clone(), format!("{} '{token}'", text(context.lang, "in the token"))));
            values.push(json!({"label": label, "token": token}));
        }
    }
    let report = Report::new(json!({"keys": values}), table(&rows));
    Ok(if open { report.hint("others than their owner may read keys: chmod 600 keys/*") } else { report })
}

fn show(context: &Context) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| super::load_failure(error.into()))?;
    let origin = config.origin().map_err(|error| Failure::usage("config", error.to_string()))?;
    let room = KeyRoom::open(context.vault.clone(), &config.keys).map_err(key_failure)?;
    let signer = room.log_signer(&context.dir, &origin, config.log).map_err(key_failure)?;
    let vkey = signer.verifier().to_string();
    let path = context.dir.witness_key();
    let witness = if path.exists() {
        let signer = crate::witness::signer(&context.dir, room.vault(), &config.node, false);
        signer.map_err(|error| Failure::file(&path, &error))?
    } else {
        // A node makes it when it starts.
        None
    };
    let stanza = witness.map(|signer| crate::witness::stanza(&config.node, &signer)).unwrap_or_default();
    let text = format!("{vkey}\n{}{stanza}", if stanza.is_empty() { "" } else { "\n" });
    Ok(Report::new(json!({"origin": origin.as_str(), "vkey": vkey, "witness": stanza}), text))
}

/// A node reads its keys when it starts: what a running one was started with must not change under it.
fn stopped(context: &Context) -> Result<(), Failure> {
    match client::connect(context)? {
        None => Ok(()),
        Some(_) => Err(Failure::usage("running", "the node runs").hint("stop it first with 'puente node stop'")),
    }
}

fn protect(context: &Context, file: Option<PathBuf>) -> Result<Report, Failure> {
    stopped(context)?;
    let lang = context.lang;
    let source = PassphraseSource::of(file, None);
    let what = text(lang, "new passphrase of the keys");
    let passphrase = source
        .read_new(what, text(lang, "the same again"))
        .map_err(|error| Failure::usage("passphrase", error.to_string()).hint("give it with --new-passphrase-file"))?;
    let paths = private_keys(&context.dir)?;
    // First everything is opened and sealed, then everything is replaced: one passphrase for all, or none.
    let mut sealed = Vec::new();
    for path in &paths {
        let plain = context.vault.read(path).map_err(|error| Failure::file(path, &error))?;
        let bytes = keys::seal(&plain, &passphrase).map_err(|error| Failure::file(path, &error))?;
        let same = keys::open(&bytes, &passphrase).is_ok_and(|again| *again == *plain);
        if !same {
            return Err(Failure::unavailable("key", format!("{}: it could not be read back", path.display())));
        }
        sealed.push(bytes);
    }
    replace(&paths, &sealed)?;
    Ok(Report::new(json!({"encrypted": paths.iter().map(|p| name(p)).collect::<Vec<_>>()}), "")
        .note("the keys are under the passphrase; without it they are lost, so keep it in a safe place too"))
}

fn unprotect(context: &Context) -> Result<Report, Failure> {
    stopped(context)?;
    let paths = private_keys(&context.dir)?;
    let mut plain = Vec::new();
    for path in &paths {
        plain.push(context.vault.read(path).map_err(|error| Failure::file(path, &error))?);
    }
    replace(&paths, &plain)?;
    Ok(Report::new(json!({"plain": paths.iter().map(|p| name(p)).collect::<Vec<_>>()}), "")
        .note("the keys are plain files now, for their owner alone"))
}

fn replace<B: AsRef<[u8]>>(paths: &[PathBuf], contents: &[B]) -> Result<(), Failure> {
    for (path, bytes) in paths.iter().zip(contents) {
        files::replace(path, bytes.as_ref(), true).map_err(|error| Failure::file(path, &error))?;
    }
    Ok(())
}
