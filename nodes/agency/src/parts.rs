//! Keeping charter parts in a node's charter folder: all of them, or none, across a power cut.
//!
//! They are written into a folder of their own first, which takes its name in one step; then they are copied to their
//! places. Whoever reads the charter reads that folder too ([`crate::load::charter_parts`]), so the charter is whole at
//! every moment.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use puente_charter::{ClaimedPart, Part};

use crate::files;

/// The folder, within the charter's, of parts that are being kept.
pub const KEEPING: &str = ".adopting";

/// The folder of parts that are on their way, if there is one.
pub fn keeping(charter: &Path) -> PathBuf {
    charter.join(KEEPING)
}

/// Keeps parts in a charter folder. Those that stand in it under another name are kept again, which changes nothing.
///
/// # Errors
/// A file cannot be written; the folder still holds the charter that it held.
pub fn keep(charter: &Path, parts: &[ClaimedPart]) -> io::Result<()> {
    finish(charter)?;
    let draft = charter.join(format!("{KEEPING}.{}.new", std::process::id()));
    match fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&draft)?;
    for part in parts {
        let name = part.id().file();
        let lines: String = part.signatures().iter().map(|signature| format!("{signature}\n")).collect();
        files::create(&draft.join(format!("{name}.sig")), lines.as_bytes(), false)?;
        files::create(&draft.join(&name), text(part)?.as_bytes(), false)?;
    }
    File::open(&draft)?.sync_all()?;
    fs::rename(&draft, keeping(charter))?;
    File::open(charter)?.sync_all()?;
    finish(charter)
}

/// Brings parts that were on their way to their places.
///
/// # Errors
/// A file cannot be written; the parts stay where they are, and count.
pub fn finish(charter: &Path) -> io::Result<()> {
    let folder = keeping(charter);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        files::replace(&charter.join(name), &files::read(&path)?, false)?;
    }
    fs::remove_dir_all(&folder)?;
    File::open(charter)?.sync_all()
}

/// A part as people read it.
///
/// # Errors
/// A value that TOML cannot hold.
pub fn text(part: &ClaimedPart) -> io::Result<String> {
    let body = match part.part() {
        Part::Common(part) => part.to_toml(),
        Part::Annex(part) => part.to_toml(),
    };
    let body = body.map_err(io::Error::other)?;
    Ok(format!("# Layout and comments are free; every value is signed.\n\n{body}"))
}
