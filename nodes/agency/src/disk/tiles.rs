//! The log's files: written so that a reader of `log/` finds a whole and provable tree at every instant.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_audit_log::{LogFile, LogPath};

use super::error::DiskError;
use super::files::{Disk, Site, site};

/// Names of the steps that put one kind of file in place.
struct Steps {
    create: Site,
    write: Site,
    sync: Site,
    rename: Site,
}

const FULL: Steps = Steps {
    create: site::TILES_FULL_CREATE,
    write: site::TILES_FULL_WRITE,
    sync: site::TILES_FULL_SYNC,
    rename: site::TILES_FULL_RENAME,
};
const PARTIAL: Steps = Steps {
    create: site::TILES_PARTIAL_CREATE,
    write: site::TILES_PARTIAL_WRITE,
    sync: site::TILES_PARTIAL_SYNC,
    rename: site::TILES_PARTIAL_RENAME,
};
const CHECKPOINT: Steps = Steps {
    create: site::TILES_CHECKPOINT_CREATE,
    write: site::TILES_CHECKPOINT_WRITE,
    sync: site::TILES_CHECKPOINT_SYNC,
    rename: site::TILES_CHECKPOINT_RENAME,
};

/// True for a partial tile or bundle.
fn is_partial(path: LogPath) -> bool {
    match path {
        LogPath::Checkpoint => false,
        LogPath::Tile(id) => !id.is_full(),
        LogPath::Bundle(id) => !id.is_full(),
    }
}

/// Puts files of the log in place.
pub(crate) struct Publisher {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

impl Publisher {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root }
    }

    /// Puts full files in place, then the partial ones, then (durable before anyone can see it) the checkpoint.
    ///
    /// Partial files stay for readers of older checkpoints until their full one is in place.
    pub(crate) fn publish(&self, full: &[Arc<LogFile>], edge: &[LogFile]) -> Result<(), DiskError> {
        let mut dirs = BTreeSet::new();
        for file in full {
            self.put(file, &FULL, &mut dirs)?;
        }
        for file in edge.iter().filter(|file| is_partial(file.path)) {
            self.put(file, &PARTIAL, &mut dirs)?;
        }
        for dir in &dirs {
            self.disk.sync_dir(site::TILES_NAMES_SYNC, dir).map_err(DiskError::io(site::TILES_NAMES_SYNC, dir))?;
        }
        for file in edge.iter().filter(|file| file.path == LogPath::Checkpoint) {
            self.put(file, &CHECKPOINT, &mut dirs)?;
            let sync = site::TILES_CHECKPOINT_RENAME_SYNC;
            self.disk.sync_dir(sync, &self.root).map_err(DiskError::io(sync, &self.root))?;
        }
        for file in full {
            let stale = self.root.join(format!("{}.p", file.path));
            if stale.exists() {
                let removed = self.disk.remove_dir(site::TILES_STALE, &stale);
                removed.map_err(DiskError::io(site::TILES_STALE, &stale))?;
            }
        }
        Ok(())
    }

    fn put(&self, file: &LogFile, steps: &Steps, dirs: &mut BTreeSet<PathBuf>) -> Result<(), DiskError> {
        let path = self.root.join(file.path.to_string());
        let provisional = path.with_extension("tmp");
        let dir = path.parent().unwrap_or(&self.root);
        self.ensure_dir(dir)?;
        let failed = |site: Site| DiskError::io(site, &path);
        let handle = self.disk.create(steps.create, &provisional).map_err(failed(steps.create))?;
        self.disk.write_at(steps.write, &handle, 0, &file.bytes).map_err(failed(steps.write))?;
        self.disk.sync(steps.sync, &handle).map_err(failed(steps.sync))?;
        self.disk.rename(steps.rename, &provisional, &path).map_err(failed(steps.rename))?;
        // Ancestors too: one may have been made just before a crash. Syncing a clean directory costs next to nothing.
        dirs.extend(dir.ancestors().take_while(|dir| dir.starts_with(&self.root)).map(Path::to_owned));
        Ok(())
    }

    fn ensure_dir(&self, dir: &Path) -> Result<(), DiskError> {
        make_dirs(self.disk.as_ref(), dir, site::TILES_DIR, site::TILES_DIR_SYNC)
    }
}

/// Makes a directory and its missing ancestors, each durable in its parent.
pub(crate) fn make_dirs(disk: &dyn Disk, dir: &Path, make: Site, sync: Site) -> Result<(), DiskError> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    make_dirs(disk, parent, make, sync)?;
    disk.create_dir(make, dir).map_err(DiskError::io(make, dir))?;
    disk.sync_dir(sync, parent).map_err(DiskError::io(sync, parent))
}
