//! A lesson's folder: what a learner gets, and a note of which lesson it is.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use puente_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::cast::AUDITORS;
use super::super::copies::{copy_folder, files_below};
use super::forgeries::Event;
use super::prepared::{NATION, Prepared};
use super::{Lesson, sheet};
use crate::cli::Failure;
use crate::files;
use crate::training::BANNER;

/// Folder of the copied logs.
pub(super) const COPIES: &str = "copies";
/// Folder of the charter.
pub(super) const CHARTER: &str = "charter";
/// The auditor's private key.
pub(super) const KEY: &str = "auditor.key";
/// Which lesson it is.
const NOTE: &str = "lesson.toml";
/// Files that a lesson's copies and charter have at most.
const FILES_MAX: usize = 2_000;

/// `lesson.toml`: nothing in it says what happened.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// That it is training, in both languages.
    mark: String,
    /// Name of the lesson.
    lesson: String,
    /// Hash of common part 1.
    pin: String,
    /// SHA-256 over copies, charter and key as they were handed out.
    handed_out: String,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    |error| Failure::file(path, &error)
}

/// Fills a lesson's empty folder; the charter's pin.
pub(super) fn lay_out(lesson: &Lesson, event: Event, prepared: &Prepared, dir: &Path) -> Result<String, Failure> {
    copy_folder(&prepared.copies(), &dir.join(COPIES))?;
    copy_folder(&prepared.path(CHARTER), &dir.join(CHARTER))?;
    let auditor = AUDITORS.iter().find(|(_, nation)| *nation == NATION).map_or("", |(name, _)| name);
    let (from, key) = (prepared.path("auditors").join(auditor).join("seal.key"), dir.join(KEY));
    let secret = files::read_secret(&from).map_err(io(&from))?;
    files::create_secret(&key, &secret).map_err(io(&key))?;
    event.happens(prepared, &dir.join(COPIES))?;
    same_looks(&dir.join(COPIES))?;
    let path = dir.join(CHARTER).join("pin");
    let pin = files::read_text(&path).map_err(io(&path))?.trim().to_owned();
    let broken = |what: String| Failure::unavailable("lesson", format!("{}: {what}", path.display()));
    let note = Note {
        mark: BANNER.to_owned(),
        lesson: lesson.name.to_owned(),
        pin: pin.clone(),
        handed_out: handed_out(dir)?.to_string(),
    };
    let note = toml::to_string(&note).map_err(|error| broken(error.to_string()))?;
    let path = dir.join(NOTE);
    files::create(&path, note.as_bytes(), false).map_err(io(&path))?;
    sheet::write(lesson, &pin, dir)?;
    Ok(pin)
}

/// Files tell by their content alone what happened to them: not by when they were written, nor by who may read them.
fn same_looks(dir: &Path) -> Result<(), Failure> {
    let now = SystemTime::now();
    for path in files_below(dir)? {
        let file = File::options().write(true).open(&path).map_err(io(&path))?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io(&path))?;
        file.set_modified(now).map_err(io(&path))?;
    }
    Ok(())
}

/// The lesson that a folder holds, and its charter's pin; the folder is still what was handed out.
pub(super) fn read(dir: &Path) -> Result<(&'static Lesson, Digest), Failure> {
    let path = dir.join(NOTE);
    if !path.is_file() {
        let message = format!("{} is no lesson's folder: it has no {NOTE}", dir.display());
        return Err(Failure::usage("no-lesson", message).hint("name the folder that 'puente lessons start' made"));
    }
    let text = files::read_text(&path).map_err(io(&path))?;
    let note: Note = toml::from_str(&text)
        .map_err(|error| Failure::usage("no-lesson", format!("{}: {}", path.display(), error.message())))?;
    let pin = note.pin.parse::<Digest>();
    let (Ok(pin), true) = (pin, note.mark == BANNER && note.handed_out == handed_out(dir)?.to_string()) else {
        let message = format!("the copies in {} are not any more those of the lesson", dir.display());
        return Err(Failure::usage("lesson-changed", message).hint("begin the lesson again in a new folder"));
    };
    Ok((Lesson::find(&note.lesson)?, pin))
}

/// One digest of everything that the verdict rests on.
fn handed_out(dir: &Path) -> Result<Digest, Failure> {
    let mut paths: Vec<PathBuf> = vec![dir.join(KEY)];
    for below in [COPIES, CHARTER] {
        paths.extend(files_below(&dir.join(below))?);
    }
    if paths.len() > FILES_MAX {
        let message = format!("{} holds more than {FILES_MAX} files", dir.display());
        return Err(Failure::usage("no-lesson", message).hint("begin the lesson again in a new folder"));
    }
    let mut hash = Sha256::new();
    for path in &paths {
        let bytes = files::read(path).map_err(io(path))?;
        let name = path.strip_prefix(dir).unwrap_or(path).as_os_str().as_encoded_bytes();
        for part in [name, &bytes] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Ok(Digest(hash.finalize().into()))
}
