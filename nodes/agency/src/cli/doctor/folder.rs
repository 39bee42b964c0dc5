//! The node's folder: configuration, keys' rights, room and growth, log, stores, who holds it.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use puente_audit_log::{ClaimedCheckpoint, Log};
use serde_json::Value;

use super::Patient;
use crate::cli::log::{Files, key};
use crate::config::NodeConfig;
use crate::files;
use crate::keys::{KeyRoom, RoomError};
use crate::node::room_check;
use crate::ops::check::{Check, State, Words, w};
use crate::ops::growth;
use crate::ops::probe;
use crate::records::SqliteReader;

/// A sync that takes longer makes every exchange slow.
const SYNC_WARN_MILLIS: u128 = 50;

pub(super) fn checks(patient: &Patient<'_>) -> Vec<Check> {
    let dir = &patient.context.dir;
    vec![
        config(patient),
        holder(patient),
        rights("folder-rights", dir.path(), 0o022, w("others may write in the node's folder")),
        rights("keys-rights", &dir.keys(), 0o077, w("others may enter the keys' folder")),
        key_files(patient),
        log_key(patient),
        secret(patient, "store-key", &dir.store_key()),
        room_check("disk-space", if dir.journal().exists() { dir.journal() } else { dir.path().to_owned() }.as_path()),
        room_check("disk-space-records", dir.path()),
        forecast(patient),
        sync(dir.path()),
        log(patient),
        own_word(patient, "evidence", &dir.evidence()),
        records(patient),
    ]
}

fn config(patient: &Patient<'_>) -> Check {
    let name = "config";
    match NodeConfig::load(&patient.context.dir) {
        Ok(config) => Check::ok(name, w("node.toml is read; no unknown key"), config.node.to_string()),
        Err(error) => Check::not(
            State::Fail,
            name,
            "config",
            w("node.toml is not accepted"),
            format!("{error}; {}", error.mend),
            w("mend the line that is named"),
        ),
    }
}

/// Whether a process holds the folder, and answers.
fn holder(patient: &Patient<'_>) -> Check {
    let name = "folder-holder";
    let lock = File::open(patient.context.dir.journal().join("lock"));
    let held = lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)));
    match (held, patient.status.is_some()) {
        (true, false) => Check::not(
            State::Fail,
            name,
            "held",
            w("a process holds the folder and does not answer here"),
            patient.context.dir.path().display().to_string(),
            w("find it with 'fuser'; a node may be starting, stopping or stuck"),
        ),
        (_, true) => Check::ok(name, w("the node runs"), ""),
        (false, false) => Check::ok(name, w("no node runs in this folder"), ""),
    }
}

fn rights(name: &'static str, path: &Path, forbidden: u32, cause: Words) -> Check {
    match fs::metadata(path) {
        Ok(meta) if meta.permissions().mode() & forbidden != 0 => {
            let shown = format!("{}: {:o}", path.display(), meta.permissions().mode() & 0o777);
            Check::not(State::Fail, name, "rights", cause, shown, w("chmod go-rwx, and find out who could"))
        }
        Ok(meta) => Check::ok(name, w("only its owner may"), format!("{:o}", meta.permissions().mode() & 0o777)),
        Err(error) => unread(name, path, &error),
    }
}

fn unread(name: &'static str, path: &Path, error: &dyn std::fmt::Display) -> Check {
    let cause = w("it cannot be read");
    let fix = w("check that it is there and who owns it");
    Check::not(State::Fail, name, "unread", cause, format!("{}: {error}", path.display()), fix)
}

fn key_files(patient: &Patient<'_>) -> Check {
    let name = "key-files-rights";
    let mut open = Vec::new();
    for entry in fs::read_dir(patient.context.dir.keys()).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let secret = file.ends_with(".key") || file.ends_with(".key.pem");
        if secret && entry.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
            open.push(file);
        }
    }
    if open.is_empty() {
        return Check::ok(name, w("private keys are their owner's alone"), "");
    }
    let fix = w("chmod 600; whoever could read them has them: rotate them");
    Check::not(State::Fail, name, "rights", w("others may read private keys"), open.join(", "), fix)
}

/// In its file, or in the token, which is asked for it.
fn log_key(patient: &Patient<'_>) -> Check {
    let name = "log-key";
    let Ok(config) = NodeConfig::load(&patient.context.dir) else {
        return secret(patient, name, &patient.context.dir.log_key());
    };
    if config.keys.log_key.is_none() {
        return secret(patient, name, &patient.context.dir.log_key_of(config.log));
    }
    let probed =
        KeyRoom::open(patient.context.vault.clone(), &config.keys).and_then(|room| Ok(room.probe(config.log)?));
    match probed {
        Ok(()) => Check::ok(name, w("the token with the private keys answers"), config.keys.token.unwrap_or_default()),
        Err(error) => {
            let fix = match &error {
                RoomError::Token(error) => error.mend(),
                _ => "give the PIN: 'pin_file' of [keys], the credential 'puente.pin', or a terminal",
            };
            let cause = w("the token with the private keys does not answer");
            Check::not(State::Fail, name, "token", cause, error.to_string(), w(fix))
        }
    }
}

fn secret(patient: &Patient<'_>, name: &'static str, path: &Path) -> Check {
    match patient.context.vault.secret(path) {
        Ok(_) => Check::ok(name, w("the key can be read"), ""),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && files::read(path).is_ok() => {
            let cause = w("the key is under a passphrase that was not given");
            let fix = w("give the passphrase with --passphrase-file");
            Check::not(State::Unknown, name, "sealed", cause, format!("{}: {error}", path.display()), fix)
        }
        Err(error) => unread(name, path, &error),
    }
}

fn forecast(patient: &Patient<'_>) -> Check {
    let name = "disk-forecast";
    let fix = w("plan for more disk; nothing of the node's folder may be deleted");
    let free = probe::room(patient.context.dir.path()).map(|room| room.free_bytes);
    let days = free.ok().and_then(|free| growth::days_left(&patient.context.dir, free));
    match days {
        None => Check::ok(name, w("not enough days are known yet for a forecast"), ""),
        Some(days @ 0..7) => Check::not(
            State::Fail,
            name,
            "disk-soon-full",
            w("the disk is full within a week"),
            format!("{days} d"),
            fix,
        ),
        Some(days @ 7..90) => Check::not(
            State::Warn,
            name,
            "disk-full-ahead",
            w("the disk is full within three months"),
            format!("{days} d"),
            fix,
        ),
        Some(days) => Check::ok(name, w("the disk lasts"), format!("{days} d")),
    }
}

/// Writes 4 KiB and waits until they are on the disk.
fn sync(folder: &Path) -> Check {
    let name = "disk-sync";
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let write = || {
        let mut file = File::create(&path)?;
        let began = Instant::now();
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        Ok::<_, std::io::Error>(began.elapsed().as_millis())
    };
    let took = write();
    // Nothing of it is wanted any more, written or not.
    let _ = fs::remove_file(&path);
    match took {
        Ok(millis) if millis > SYNC_WARN_MILLIS => Check::not(
            State::Warn,
            name,
            "slow-disk",
            w("the disk is slow to make data durable: every exchange waits for it"),
            format!("{millis} ms"),
            w("use a local SSD; look at what else writes"),
        ),
        Ok(millis) => Check::ok(name, w("the disk makes data durable quickly"), format!("{millis} ms")),
        Err(error) => unread(name, folder, &error),
    }
}

/// The published head's signature, and that the right edge gives its root.
fn log(patient: &Patient<'_>) -> Check {
    let name = "log-edge";
    let fix = w("stop the node, keep the folder as it is, and let 'puente-audit verify' say what is wrong");
    let not = |what: String| {
        Check::not(State::Fail, name, "log-edge", w("the log's edge does not give its signed head"), what, fix)
    };
    let dir = &patient.context.dir;
    if !dir.log().join("checkpoint").exists() {
        return Check::ok(name, w("no head was published yet"), "");
    }
    let verifier = match key(patient.context) {
        Ok(verifier) => verifier,
        Err(failure) => return not(failure.message),
    };
    let mut last = String::new();
    // A running node may publish between two reads.
    for _ in 0..5 {
        let note = match files::read(&dir.log().join("checkpoint")) {
            Ok(note) => note,
            Err(error) => return not(error.to_string()),
        };
        let head = match ClaimedCheckpoint::parse(&note).and_then(|claimed| claimed.verify(&verifier)) {
            Ok(head) => head,
            Err(error) => return not(error.to_string()),
        };
        match Log::open(&head, &Files(dir.log())) {
            Ok(_) => {
                return Check::ok(name, w("the log's edge gives its signed head"), format!("{} entries", head.size()));
            }
            Err(error) => last = error.to_string(),
        }
    }
    not(last)
}

/// What the running node says of a store; without one, whether its file is there.
fn own_word(patient: &Patient<'_>, name: &'static str, file: &Path) -> Check {
    let problem = |status: &Value| {
        let problems = status["problems"].as_array()?;
        let of = problems.iter().find(|problem| problem["check"] == name)?;
        Some(of["message"].as_str().unwrap_or_default().to_owned())
    };
    let cause = w("the store answers");
    let fix = w("mend the disk, then restart the node");
    match patient.status.as_ref().map(problem) {
        Some(Some(words)) => Check::not(State::Fail, name, "store", w("the store cannot be read"), words, fix),
        Some(None) => Check::ok(name, cause, ""),
        None if file.exists() => Check::ok(name, w("the store is there; the node opens it"), ""),
        None => Check::ok(name, w("the store is made at the first start"), ""),
    }
}

fn records(patient: &Patient<'_>) -> Check {
    let (name, file) = ("records", patient.context.dir.records());
    if patient.status.is_some() || !file.exists() {
        return own_word(patient, name, &file);
    }
    match SqliteReader::open(&file).map_err(|error| error.to_string()).and_then(|reader| reader.touch()) {
        Ok(()) => Check::ok(name, w("the records can be read"), ""),
        Err(why) => Check::not(
            State::Fail,
            name,
            "records-down",
            w("the records cannot be read"),
            why,
            w("restore records.db, or see which program holds it"),
        ),
    }
}
