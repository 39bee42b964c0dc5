//! Reading what a node lives by: charter, catalogue, policies. Needs no running node, changes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_catalogue::{Catalogue, CatalogueError, PROTO_FILES_MAX};
use puente_charter::{Charter, CharterError, ClaimedPart};
use puente_exchange::vocabulary;
use puente_model::Digest;
use puente_policy::{PolicyError, PolicySet, Vocabulary};

use crate::config::{ConfigError, NodeConfig, NodeDir};
use crate::files;

/// Parts of a charter, of all versions, that a folder may hold.
const PARTS_MAX: usize = 10_000;
/// Folders within folders that a catalogue may have.
const CATALOGUE_DEPTH_MAX: usize = 8;

/// Why something that a node lives by could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Too many files.
    #[error("{path} holds more than {max} files")]
    TooMany {
        /// Where.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
    /// The pin is not a hash.
    #[error("{path} does not hold the hash of common part 1 (64 lower-case hexadecimal digits)")]
    Pin {
        /// Which file.
        path: PathBuf,
    },
    /// `node.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The charter.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// More record types.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The charter was made for another catalogue.
    #[error("the charter names the catalogue {charter}, but this node's is {own}")]
    OtherCatalogue {
        /// What the charter says.
        charter: Digest,
        /// What this node has.
        own: Digest,
    },
    /// The policies.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl LoadError {
    /// Stable name of the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::TooMany { .. } => "too-many-files",
            Self::Pin { .. } => "pin",
            Self::Config(_) => "config",
            Self::Charter(error) => error.code(),
            Self::Catalogue(_) => "catalogue",
            Self::OtherCatalogue { .. } => "other-catalogue",
            Self::Policy(_) => "policy",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::File { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                "check the path; a node's folder is named with --dir".to_owned()
            }
            Self::File { .. } => "check who owns the file and that it is text".to_owned(),
            Self::TooMany { .. } => "is this the right folder?".to_owned(),
            Self::Pin { .. } => "ask the governance office for the hash, out of band".to_owned(),
            Self::Config(error) => error.mend.clone(),
            Self::Charter(error) => error.mend().to_owned(),
            Self::Catalogue(error) => error.mend.clone(),
            Self::OtherCatalogue { .. } => {
                "run the same version of puente as the federation, with the same extra record types".to_owned()
            }
            Self::Policy(_) => "mend the rules; nothing starts on rules that do not validate".to_owned(),
        }
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> LoadError + '_ {
    move |error| LoadError::File { path: path.to_owned(), error }
}

/// The files of a folder whose names end in `ending`, sorted by name.
fn list(folder: &Path, ending: &str, max: usize) -> Result<Vec<PathBuf>, LoadError> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(file(folder))? {
        let path = entry.map_err(file(folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.to_string_lossy().ends_with(ending) && path.is_file() {
            out.push(path);
        }
        if out.len() > max {
            return Err(LoadError::TooMany { path: folder.to_owned(), max });
        }
    }
    out.sort();
    Ok(out)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every part of a charter folder (`*.toml`, signatures beside them in `*.toml.sig`), unverified.
///
/// # Errors
/// A file cannot be read or is malformed.
pub fn charter_parts(folder: &Path) -> Result<Vec<ClaimedPart>, LoadError> {
    let mut paths = list(folder, ".toml", PARTS_MAX)?;
    let keeping = crate::parts::keeping(folder);
    if keeping.is_dir() {
        paths.extend(list(&keeping, ".toml", PARTS_MAX)?);
    }
    let mut parts = Vec::new();
    for path in paths {
        let text = files::read_text(&path).map_err(file(&path))?;
        let signatures = path.with_file_name(format!("{}.sig", name(&path)));
        let lines = match files::read_text(&signatures) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(LoadError::File { path: signatures, error }),
        };
        parts.push(ClaimedPart::from_files(&name(&path), &text, &lines)?);
    }
    Ok(parts)
}

/// The pinned hash of a charter folder: its file `pin`.
///
/// # Errors
/// The file cannot be read or holds no hash.
pub fn charter_pin(path: &Path) -> Result<Digest, LoadError> {
    let text = files::read_text(path).map_err(file(path))?;
    text.trim().parse().map_err(|_| LoadError::Pin { path: path.to_owned() })
}

/// The charter of a folder, verified against the hash that was given out of band.
///
/// # Errors
/// A file cannot be read, or the charter does not verify.
pub fn charter(folder: &Path, pin: Digest) -> Result<Charter, LoadError> {
    Ok(Charter::verify(charter_parts(folder)?, pin)?)
}

/// The built-in catalogue with the `.proto` files of a folder, named by their paths in it.
///
/// # Errors
/// A file cannot be read, or makes no catalogue.
pub fn catalogue(extra: Option<&Path>) -> Result<Catalogue, LoadError> {
    let mut texts = Vec::new();
    if let Some(folder) = extra {
        gather(folder, folder, 0, &mut texts)?;
    }
    Ok(Catalogue::compile(&texts)?)
}

fn gather(root: &Path, folder: &Path, depth: usize, out: &mut Vec<(String, String)>) -> Result<(), LoadError> {
    let too_many = || LoadError::TooMany { path: root.to_owned(), max: PROTO_FILES_MAX };
    if depth > CATALOGUE_DEPTH_MAX {
        return Err(too_many());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(file(folder))? {
        entries.push(entry.map_err(file(folder))?.path());
    }
    entries.sort();
    for path in entries {
        if path.is_dir() {
            gather(root, &path, depth + 1, out)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            if out.len() >= PROTO_FILES_MAX {
                return Err(too_many());
            }
            let text = files::read_text(&path).map_err(file(&path))?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            out.push((relative, text));
        }
    }
    Ok(())
}

/// The policy set of a folder: its `*.cedar` files, validated.
///
/// # Errors
/// A file cannot be read, or a rule does not validate.
pub fn policies(folder: &Path, vocabulary: &Vocabulary) -> Result<PolicySet, LoadError> {
    let mut texts = Vec::new();
    for path in list(folder, ".cedar", puente_policy::FILES_MAX)? {
        texts.push((name(&path), files::read_text(&path).map_err(file(&path))?));
    }
    Ok(PolicySet::load(&texts, vocabulary)?)
}

/// What a node lives by.
#[derive(Debug, Clone)]
pub struct Bearings {
    /// `node.toml`.
    pub config: NodeConfig,
    /// The verified charter.
    pub charter: Arc<Charter>,
    /// Record types and query kinds.
    pub catalogue: Arc<Catalogue>,
}

impl Bearings {
    /// Reads configuration, charter and catalogue of a node's folder.
    ///
    /// # Errors
    /// A file cannot be read or does not verify, or charter and catalogue do not belong together.
    pub fn load(dir: &NodeDir) -> Result<Self, LoadError> {
        let config = NodeConfig::load(dir)?;
        let extra = config.catalogue_extra.as_ref().map(|folder| dir.path().join(folder));
        let catalogue = catalogue(extra.as_deref())?;
        let charter = charter(&dir.charter(), charter_pin(&dir.charter_pin())?)?;
        if charter.catalogue() != catalogue.digest() {
            return Err(LoadError::OtherCatalogue { charter: charter.catalogue(), own: catalogue.digest() });
        }
        Ok(Self { config, charter: Arc::new(charter), catalogue: Arc::new(catalogue) })
    }

    /// The node's policies.
    ///
    /// # Errors
    /// A file cannot be read, or a rule does not validate.
    pub fn policies(&self, dir: &NodeDir) -> Result<PolicySet, LoadError> {
        policies(&dir.policies(), &vocabulary(&self.charter, &self.catalogue))
    }
}
