//! A disk that can lose its power: it knows what was synced, and forgets what was not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use crate::disk::files::{Disk, Handle, Site};

/// What happens at one visit of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power goes before the step.
    CutBefore,
    /// The power goes after the step.
    CutAfter,
    /// Half of a write arrives, then the power goes.
    Tear,
    /// The step fails; the machine lives on.
    Eio,
}

impl Fault {
    pub(super) const ALL: [Self; 4] = [Self::CutBefore, Self::CutAfter, Self::Tear, Self::Eio];
}

#[derive(Debug, Default)]
struct Model {
    /// Content as of the last sync, by inode.
    synced: BTreeMap<FileId, Vec<u8>>,
    /// Names as of the last sync of their directory.
    named: BTreeMap<PathBuf, FileId>,
    /// Directories whose names are durable.
    dirs: BTreeSet<PathBuf>,
    visits: BTreeMap<Site, u64>,
    plan: Option<(Site, u64, Fault)>,
    fired: bool,
    off: bool,
    /// Bytes that may still be written.
    budget: Option<u64>,
}

/// The disk, and the directory that it models.
#[derive(Debug)]
pub(super) struct PowerDisk {
    root: PathBuf,
    model: Mutex<Model>,
}

/// A file as such, whatever its name: its number and when it was made, since numbers of removed files are used again.
type FileId = (u64, Option<SystemTime>);

fn inode(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|data| (data.ino(), data.created().ok()))
}

fn is_database(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("evidence.db"))
}

impl PowerDisk {
    /// A disk over a directory whose present content is durable.
    pub(super) fn new(root: &Path) -> Self {
        let disk = Self { root: root.to_owned(), model: Mutex::default() };
        let mut model = Model::default();
        walk(root, &mut |path| {
            if path.is_dir() {
                model.dirs.insert(path.to_owned());
            } else if let Some(id) = inode(path) {
                model.named.insert(path.to_owned(), id);
                model.synced.insert(id, fs::read(path).unwrap());
            }
        });
        *disk.model() = model;
        disk
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// At visit `visit` (from 1) of `site`, this happens.
    pub(super) fn plan(&self, site: Site, visit: u64, fault: Fault) {
        self.model().plan = Some((site, visit, fault));
    }

    pub(super) fn set_budget(&self, bytes: u64) {
        self.model().budget = Some(bytes);
    }

    pub(super) fn fired(&self) -> bool {
        self.model().fired
    }

    /// What is on the disk when the power comes back, written into `to`.
    ///
    /// `keep_unsynced` keeps what was written but not synced (a crash of the process only, or luck).
    pub(super) fn after_power_cut(&self, to: &Path, keep_unsynced: bool) {
        self.model().off = true;
        if keep_unsynced {
            copy(&self.root, to);
            return;
        }
        let model = self.model();
        // What is outside (an export) is not this test's concern.
        for dir in model.dirs.iter().filter(|dir| dir.starts_with(&self.root)) {
            fs::create_dir_all(to.join(dir.strip_prefix(&self.root).unwrap())).unwrap();
        }
        for (path, id) in model.named.iter().filter(|(path, _)| path.starts_with(&self.root) && !is_database(path)) {
            let target = to.join(path.strip_prefix(&self.root).unwrap());
            if target.parent().unwrap().is_dir() {
                fs::write(target, model.synced.get(id).map_or(&[][..], Vec::as_slice)).unwrap();
            }
        }
        // SQLite syncs at checkpoints: without its write-ahead log the database is as of the last one.
        let database = self.root.join("evidence.db");
        if database.exists() {
            fs::copy(database, to.join("evidence.db")).unwrap();
        }
    }

    /// Counts a visit, and says what happens at it.
    fn visit(&self, site: Site) -> io::Result<Option<Fault>> {
        let mut model = self.model();
        if model.off {
            return Err(io::Error::other("the power is off"));
        }
        let visits = model.visits.entry(site).or_default();
        *visits += 1;
        let visits = *visits;
        let Some((at, when, fault)) = model.plan else { return Ok(None) };
        if at != site || when != visits {
            return Ok(None);
        }
        model.fired = true;
        match fault {
            Fault::Eio => Err(io::Error::from_raw_os_error(5)),
            Fault::CutBefore => {
                model.off = true;
                Err(io::Error::other("power cut"))
            }
            Fault::CutAfter | Fault::Tear => Ok(Some(fault)),
        }
    }

    fn step<T>(&self, site: Site, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.visit(site)?.is_some() {
            // Off before: no other thread may get further than this one.
            self.model().off = true;
            run()?;
            return Err(io::Error::other("power cut"));
        }
        run()
    }
}

/// Copies a directory.
pub(super) fn copy(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).unwrap());
        if path.is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(path, target).unwrap();
        }
    });
}

fn walk(dir: &Path, seen: &mut dyn FnMut(&Path)) {
    seen(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), seen);
        } else {
            seen(&entry.path());
        }
    }
}

/// A disk that never waits for the platter: for what a test needs quickly.
#[derive(Debug)]
pub(super) struct QuickDisk;

impl Disk for QuickDisk {
    fn sync(&self, _: Site, _: &Handle) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: Site, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for PowerDisk {
    fn create_dir(&self, site: Site, path: &Path) -> io::Result<()> {
        self.step(site, || QuickDisk.create_dir(site, path))
    }

    fn create(&self, site: Site, path: &Path) -> io::Result<Handle> {
        self.step(site, || QuickDisk.create(site, path))
    }

    fn open(&self, site: Site, path: &Path) -> io::Result<Handle> {
        self.step(site, || QuickDisk.open(site, path))
    }

    fn write_at(&self, site: Site, handle: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.visit(site)?;
        let mut allowed = bytes.len();
        if let Some(budget) = &mut self.model().budget {
            allowed = allowed.min(usize::try_from(*budget).unwrap());
            *budget -= allowed as u64;
        }
        if fault == Some(Fault::Tear) {
            allowed = bytes.len() / 2;
        }
        QuickDisk.write_at(site, handle, offset, &bytes[..allowed])?;
        if fault == Some(Fault::Tear) {
            // The torn half happens to reach the disk.
            let content = fs::read(&handle.path)?;
            let mut model = self.model();
            if let Some(id) = inode(&handle.path) {
                model.synced.insert(id, content);
            }
            model.off = true;
        }
        if fault.is_some() {
            self.model().off = true;
            return Err(io::Error::other("power cut"));
        }
        if allowed < bytes.len() { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn set_len(&self, site: Site, handle: &Handle, len: u64) -> io::Result<()> {
        self.step(site, || QuickDisk.set_len(site, handle, len))
    }

    fn sync(&self, site: Site, handle: &Handle) -> io::Result<()> {
        self.step(site, || {
            let content = fs::read(&handle.path)?;
            if let Some(id) = inode(&handle.path) {
                self.model().synced.insert(id, content);
            }
            Ok(())
        })
    }

    fn sync_dir(&self, site: Site, path: &Path) -> io::Result<()> {
        self.step(site, || {
            let mut model = self.model();
            model.named.retain(|name, _| name.parent() != Some(path));
            for entry in fs::read_dir(path)?.flatten() {
                if entry.path().is_dir() {
                    model.dirs.insert(entry.path());
                } else if let Some(id) = inode(&entry.path()) {
                    model.named.insert(entry.path(), id);
                }
            }
            Ok(())
        })
    }

    fn rename(&self, site: Site, from: &Path, to: &Path) -> io::Result<()> {
        self.step(site, || QuickDisk.rename(site, from, to))
    }

    fn remove(&self, site: Site, path: &Path) -> io::Result<()> {
        self.step(site, || QuickDisk.remove(site, path))
    }

    fn remove_dir(&self, site: Site, path: &Path) -> io::Result<()> {
        self.step(site, || {
            self.model().named.retain(|name, _| !name.starts_with(path));
            self.model().dirs.retain(|dir| !dir.starts_with(path));
            QuickDisk.remove_dir(site, path)
        })
    }

    fn read(&self, site: Site, path: &Path) -> io::Result<Vec<u8>> {
        self.step(site, || QuickDisk.read(site, path))
    }

    fn gate(&self, site: Site) -> io::Result<()> {
        self.step(site, || Ok(()))
    }
}
