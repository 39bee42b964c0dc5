//! From a door into a folder: resumable, a few files at a time, the head last.
//!
//! A copy is never brought from one history to another: where the head that came is no continuation of the one that lay here,
//! the copy is set aside whole and the log fetched once more, all in one turn. What then still contradicts it is a fork that the
//! node signed, with both sides in folders, and it is said again until somebody was told.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use puente_audit_log::{BundleId, ClaimedCheckpoint, LogPath, SignedCheckpoint, TILE_WIDTH, TileId};
use puente_charter::Charter;
use puente_ledger::LedgerOrigin;
use puente_model::Origin;
use puente_model::limits::{ENTRY_BYTES_MAX, NOTE_BYTES_MAX};

use super::client::{Client, Got};
use super::door::{Door, Folder};
use super::error::RemoteError;
use super::tls::Credentials;
use super::trust::Trust;
use crate::dir::{LogDir, read_bounded};
use crate::heads::{Relation, relate};
use crate::roster::Roster;
use crate::state::replace;

/// Connections to one node.
pub const CONNECTIONS: usize = 4;
/// Bytes of the sidecar that are asked for at once.
const ASIDES_BYTES: u64 = 4 << 20;
/// Bytes of the names of a node's ledgers.
const LEDGER_NAMES_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a full tile.
const TILE_BYTES: u64 = 32 * TILE_WIDTH as u64;
/// The largest bundle, in bytes.
const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH as u64 * (ENTRY_BYTES_MAX as u64 + 2);
/// Progress is told at least this often: silence is never longer than five seconds.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// Copies that were set aside, of one log.
const ASIDE_COPIES_MAX: u32 = 1_000;
/// File in a copy that was set aside because it seemed to contradict the log, until somebody is told.
const UNTOLD: &str = "untold";

/// What a copy may take.
#[derive(Debug, Clone, Copy)]
pub struct CopyLimits {
    /// Bytes fetched for one copy.
    pub bytes_max: u64,
    /// How long one answer may take, from the name lookup to its last byte.
    pub patience: Duration,
    /// Attempts for one file.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles with each one.
    pub pause: Duration,
    /// Connections to one node.
    pub connections: usize,
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 30,
            patience: Duration::from_secs(120),
            attempts: 5,
            pause: Duration::from_millis(500),
            connections: CONNECTIONS,
        }
    }
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// Entries under the head.
    pub entries: u64,
    /// Tiles and bundles that are there.
    pub files: u64,
    /// Tiles and bundles in all.
    pub files_all: u64,
    /// Bytes fetched.
    pub bytes: u64,
}

/// A finished copy.
#[derive(Debug)]
pub struct Copied {
    /// Its folder.
    pub dir: PathBuf,
    /// The log.
    pub origin: String,
    /// Bytes fetched.
    pub bytes: u64,
    /// Entries under the head.
    pub entries: u64,
    /// Something in it lay there before and was not fetched anew.
    pub reused: bool,
    /// The head's note that the folder held before.
    pub before: Option<Vec<u8>>,
    /// How it stands to what lay there before.
    pub continuity: Continuity,
}

/// How a copy stands to the one that lay there before.
#[derive(Debug)]
pub enum Continuity {
    /// It continues that, is the first, or was to be fetched anew.
    Whole,
    /// The other one was damaged here; it was set aside, and the log fetched once more.
    Damaged {
        /// Where it is.
        aside: PathBuf,
    },
    /// The node signed both, and they contradict each other.
    Forked(Fork),
}

/// What a log showed before it showed another history.
#[derive(Debug, Clone)]
pub struct Fork {
    /// The head that lay here, as it was signed.
    pub before: Vec<u8>,
    /// The folder with what it showed before.
    pub aside: PathBuf,
}

impl Fork {
    /// Somebody was told of it, with the evidence. Until then every further copy comes back forked: a crash in between hides
    /// nothing.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn told(&self) -> Result<(), RemoteError> {
        forget_untold(&self.aside)
    }
}

/// Copies logs into folders below `keep`.
pub struct Copier<'c> {
    /// Who is who.
    pub charter: &'c Charter,
    /// What the auditor shows at doors; without it there are folders alone.
    pub credentials: Option<&'c Credentials>,
    /// Where copies are kept: below it one folder for each auditor's nation, and one for what came from folders; in each one
    /// for each log.
    pub keep: &'c Path,
    /// What a copy may take.
    pub limits: CopyLimits,
    /// Copies that are being written.
    pub busy: Busy,
}

/// Copies that are being written: two sources of one log take turns.
#[derive(Debug, Default)]
pub struct Busy {
    dirs: Mutex<BTreeSet<PathBuf>>,
    changed: Condvar,
}

impl Busy {
    /// Waits until nobody writes there.
    fn enter(&self, dir: &Path) -> Turn<'_> {
        let mut dirs = lock(&self.dirs);
        while !dirs.insert(dir.to_owned()) {
            dirs = self.changed.wait(dirs).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { busy: self, dir: dir.to_owned() }
    }
}

/// Leaves when it is dropped.
struct Turn<'b> {
    busy: &'b Busy,
    dir: PathBuf,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.busy.dirs).remove(&self.dir);
        self.busy.changed.notify_all();
    }
}

impl std::fmt::Debug for Copier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Copier({:?}, {})", self.credentials, self.keep.display())
    }
}

impl Copier<'_> {
    /// Copies the log of the node at `url`; `anew`: what lies there is set aside first. `tell` is called at the start,
    /// at the end and every few seconds, from another thread.
    ///
    /// # Errors
    /// [`RemoteError`]. What was fetched stays and is not fetched again; the head in the folder is still the old one.
    pub fn copy(&self, url: &str, anew: bool, tell: &(dyn Fn(CopyProgress) + Sync)) -> Result<Copied, RemoteError> {
        let credentials = self.credentials.ok_or(RemoteError::NoCredentials)?;
        let client = Client::new(url, Trust::of(self.charter)?, credentials, self.limits)?;
        self.from(&client, &format!("for-{}", credentials.auditor().jurisdiction()), anew, tell)
    }

    /// The same from a folder that an export wrote, or that somebody keeps like one.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn copy_folder(
        &self,
        dir: &Path,
        anew: bool,
        tell: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<Copied, RemoteError> {
        self.from(&Folder::new(dir), "from-folders", anew, tell).map_err(|error| match error {
            RemoteError::Missing(path) => RemoteError::Absent(path),
            error => error,
        })
    }

    fn from(
        &self,
        client: &dyn Door,
        whose: &str,
        anew: bool,
        tell: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<Copied, RemoteError> {
        let progress = Progress::default();
        std::thread::scope(|scope| {
            scope.spawn(|| progress.tell(tell));
            let done = self.fetch(client, whose, anew, &progress);
            progress.end();
            done
        })
    }

    fn fetch(&self, client: &dyn Door, whose: &str, anew: bool, progress: &Progress) -> Result<Copied, RemoteError> {
        // Before the head: what is cosigned is never ahead of it then.
        let cosigned = match client.get("cosigned", NOTE_BYTES_MAX as u64, None) {
            Ok(got) => Some(got.bytes),
            Err(RemoteError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        progress.got(cosigned.as_ref().map_or(0, |note| note.len() as u64));
        let Got { bytes: note, asides } = client.get("checkpoint", NOTE_BYTES_MAX as u64, None)?;
        progress.got(note.len() as u64);
        let (head, origin) = self.head(client, &note)?;
        let asides = asides.ok_or_else(|| RemoteError::Protocol {
            path: "checkpoint".to_owned(),
            why: "it does not tell how long the sidecar is".to_owned(),
        })?;
        let dir = self.keep.join(whose).join(origin.as_str());
        let _turn = self.busy.enter(&dir);
        let before = read_bounded(&dir.join("checkpoint"), NOTE_BYTES_MAX as u64).ok();
        let size_before = before.as_deref().and_then(|note| ClaimedCheckpoint::parse(note).ok());
        let shrunk = size_before.is_some_and(|claimed| claimed.claimed().size() > head.size());
        if let (true, false, Some(note)) = (shrunk, client.is_current(), &before) {
            return self.older(&dir, &head, note, progress);
        }
        if anew && dir.exists() {
            set_aside(&dir)?;
        } else if shrunk {
            // A larger head is evidence against a node that shows a smaller one: it stays, and so do its files.
            retire(&dir)?;
        }
        let mut reused = self.everything(client, &dir, &head, asides, progress)?;
        // Before the head is put in place: until then what lies here is under the one that it came with.
        let kept = before.as_deref().filter(|_| !anew && !shrunk).and_then(|note| self.verified(note));
        if kept.is_some_and(|kept| !matches!(relate(&head, &kept, &LogDir::new(&dir)), Relation::Consistent)) {
            // Its files may be of either history: under their head they stay together.
            retire(&dir)?;
            reused = self.everything(client, &dir, &head, asides, progress)?;
        }
        if let Some(cosigned) = cosigned {
            replace(&dir.join("cosigned"), &cosigned).map_err(|error| local(&dir, error))?;
        }
        replace(&dir.join("checkpoint"), &note).map_err(|error| local(&dir, error))?;
        // A crash may have left it here before the folder was set aside, which then did not happen.
        forget_untold(&dir)?;
        let continuity = self.continuity(&dir, &head)?;
        let (bytes, entries) = (progress.bytes.load(Ordering::Relaxed), head.size().0);
        Ok(Copied { dir, origin: origin.to_string(), bytes, entries, reused, before, continuity })
    }

    /// Everything under a head, into a folder; says whether something lay there before.
    fn everything(
        &self,
        client: &dyn Door,
        dir: &Path,
        head: &SignedCheckpoint,
        asides: u64,
        progress: &Progress,
    ) -> Result<bool, RemoteError> {
        make_dir(dir)?;
        let size = head.size().0;
        progress.begin(size);
        let mut reused = self.files(client, "", dir, size, progress)?;
        reused |= self.asides(client, dir, asides, progress)?;
        // After the log's head: what the log says of an order stands in them.
        reused |= self.ledgers(client, dir, progress)?;
        Ok(reused)
    }

    fn verified(&self, note: &[u8]) -> Option<SignedCheckpoint> {
        Roster::new(self.charter).head(note).ok()
    }

    /// How the copy that is whole now stands to one that was set aside and of which nobody was told yet, in this run or before
    /// a crash.
    fn continuity(&self, dir: &Path, head: &SignedCheckpoint) -> Result<Continuity, RemoteError> {
        let Some(aside) = untold(dir) else { return Ok(Continuity::Whole) };
        let before = read_bounded(&aside.join("checkpoint"), NOTE_BYTES_MAX as u64).unwrap_or_default();
        let Some(kept) = self.verified(&before) else {
            // What lay there was no head of this log: it says nothing.
            forget_untold(&aside)?;
            return Ok(Continuity::Damaged { aside });
        };
        match relate(head, &kept, &LogDir::new(dir)) {
            Relation::Consistent => {
                forget_untold(&aside)?;
                Ok(Continuity::Damaged { aside })
            }
            Relation::CouldNotTell(why) => Err(RemoteError::Protocol { path: dir.display().to_string(), why }),
            _ => Ok(Continuity::Forked(Fork { before, aside })),
        }
    }

    /// An older copy than the one that is here, which stays as it is if it begins with that.
    fn older(
        &self,
        dir: &Path,
        old: &SignedCheckpoint,
        here: &[u8],
        progress: &Progress,
    ) -> Result<Copied, RemoteError> {
        let head = Roster::new(self.charter).head(here).map_err(|error| RemoteError::Head(error.to_string()))?;
        let bytes = progress.bytes.load(Ordering::Relaxed);
        match relate(&head, old, &LogDir::new(dir)) {
            Relation::Consistent => Ok(Copied {
                dir: dir.to_owned(),
                origin: head.origin().to_owned(),
                bytes,
                entries: head.size().0,
                reused: true,
                before: None,
                continuity: Continuity::Whole,
            }),
            _ => Err(RemoteError::OtherHistory { origin: head.origin().to_owned(), here: dir.display().to_string() }),
        }
    }

    /// Tiles and bundles of a tree that the node serves below `base`, into a folder; says whether some lay there before.
    fn files(
        &self,
        client: &dyn Door,
        base: &str,
        dir: &Path,
        size: u64,
        progress: &Progress,
    ) -> Result<bool, RemoteError> {
        let work = Work {
            client,
            base,
            dir,
            names: Mutex::new(Box::new(names(size))),
            failed: Mutex::new(None),
            stop: AtomicBool::new(false),
            reused: AtomicBool::new(false),
            progress,
            bytes_max: self.limits.bytes_max,
        };
        std::thread::scope(|scope| {
            for _ in 0..self.limits.connections.max(1) {
                scope.spawn(|| work.run());
            }
        });
        match lock(&work.failed).take() {
            Some(error) => Err(error),
            None => Ok(work.reused.load(Ordering::Relaxed)),
        }
    }

    /// The ledgers of the node's groups, laid beside the log as an export lays them; says whether something lay there before.
    /// Whether they hold is for the audit to say.
    fn ledgers(&self, client: &dyn Door, dir: &Path, progress: &Progress) -> Result<bool, RemoteError> {
        let names = match client.get("ledgers/", LEDGER_NAMES_BYTES_MAX, None) {
            Ok(got) => got.bytes,
            // A node of before there were ledgers.
            Err(RemoteError::Missing(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        progress.got(names.len() as u64);
        let mut reused = false;
        for name in String::from_utf8_lossy(&names).lines() {
            let odd = |why: &str| RemoteError::Protocol { path: "ledgers/".to_owned(), why: why.to_owned() };
            let ledger: LedgerOrigin = name.parse().map_err(|_| odd("it names what is no ledger"))?;
            let (base, to) = (format!("ledgers/{ledger}/"), dir.join("ledgers").join(ledger.to_string()));
            let note = client.get(&format!("{base}checkpoint"), NOTE_BYTES_MAX as u64, None)?.bytes;
            progress.got(note.len() as u64);
            let size = size_of(&note, &ledger.to_string()).ok_or_else(|| odd("its head is no head of that ledger"))?;
            let before = read_bounded(&to.join("checkpoint"), NOTE_BYTES_MAX as u64).ok();
            if before.and_then(|note| size_of(&note, &ledger.to_string())).is_some_and(|before| before > size) {
                // Witnesses keep a ledger from having two histories: the longer copy says what the shorter does.
                reused = true;
                continue;
            }
            make_dir(&to)?;
            progress.more(size);
            reused |= self.files(client, &base, &to, size, progress)?;
            replace(&to.join("checkpoint"), &note).map_err(|error| local(&to, error))?;
        }
        Ok(reused)
    }

    /// The head, verified, of a log of the very node that answered.
    fn head(&self, client: &dyn Door, note: &[u8]) -> Result<(SignedCheckpoint, Origin), RemoteError> {
        let head = Roster::new(self.charter).head(note).map_err(|error| RemoteError::Head(error.to_string()))?;
        let origin: Origin = head.origin().parse().map_err(|_| RemoteError::Head("it names no log".to_owned()))?;
        let owner = self.charter.member_by_origin(&origin).map(|(member, _)| &member.uri);
        if let Some(node) = client.node()?
            && owner != Some(node)
        {
            return Err(RemoteError::OtherLog { node: node.clone(), origin: origin.to_string() });
        }
        Ok((head, origin))
    }

    /// Brings the sidecar to its length under the head; says whether a part of it lay there before.
    fn asides(&self, client: &dyn Door, dir: &Path, length: u64, progress: &Progress) -> Result<bool, RemoteError> {
        let path = dir.join("asides");
        let failed = |error: io::Error| RemoteError::Disk { path: path.clone(), why: error.to_string() };
        // A link would be followed to somewhere else.
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.file_type().is_file()) {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let mut file: File = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let have = file.metadata().map_err(failed)?.len();
        if have > length {
            file.set_len(length).map_err(failed)?;
        }
        if have > 0 && !client.continues(&path)? {
            file.set_len(0).map_err(failed)?;
        }
        let mut at = file.metadata().map_err(failed)?.len().min(length);
        let reused = at > 0;
        while let Some(left) = NonZeroU64::new(length - at) {
            let range: Range<u64> = at..at + left.get().min(ASIDES_BYTES);
            progress.room(range.end - range.start, self.limits.bytes_max)?;
            let got = client.get("asides", range.end - range.start, Some(range.clone()))?;
            file.write_all(&got.bytes).map_err(failed)?;
            progress.got(got.bytes.len() as u64);
            at = range.end;
        }
        file.sync_all().map_err(failed)?;
        Ok(reused)
    }
}

/// The size that a head states, of the log that it has to be of; its signatures are not looked at.
fn size_of(note: &[u8], origin: &str) -> Option<u64> {
    let head = ClaimedCheckpoint::parse(note).ok()?;
    (head.claimed().origin() == origin).then(|| head.claimed().size().0)
}

/// Names of all tiles and bundles of a tree, the partial ones last.
fn names(size: u64) -> impl Iterator<Item = LogPath> + Send {
    let full = TILE_WIDTH;
    let bundles = (0..size >> 8).filter_map(move |index| BundleId::new(index, full).ok().map(LogPath::Bundle));
    let tiles = (0..8_u8).flat_map(move |level| {
        let count = size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
        (0..count).filter_map(move |index| TileId::new(level, index, full).ok().map(LogPath::Tile))
    });
    let width = |hashes: u64| u16::try_from(hashes % u64::from(TILE_WIDTH)).unwrap_or(0);
    let bundle = BundleId::new(size >> 8, width(size)).ok().map(LogPath::Bundle);
    let edge = (0..8_u8).filter_map(move |level| {
        let hashes = size >> (8 * level);
        TileId::new(level, hashes >> 8, width(hashes)).ok().map(LogPath::Tile)
    });
    bundles.chain(tiles).chain(bundle).chain(edge)
}

/// How many there are.
fn count(size: u64) -> u64 {
    let full: u64 = (1..8_u32).map(|level| size >> (8 * level)).sum();
    let partial = (0..8_u32).filter(|level| !(size >> (8 * level)).is_multiple_of(256)).count() as u64;
    full + (size >> 8) + partial + u64::from(!size.is_multiple_of(256))
}

/// What the connections share.
struct Work<'w> {
    client: &'w dyn Door,
    base: &'w str,
    dir: &'w Path,
    names: Mutex<Box<dyn Iterator<Item = LogPath> + Send>>,
    failed: Mutex<Option<RemoteError>>,
    stop: AtomicBool,
    reused: AtomicBool,
    progress: &'w Progress,
    bytes_max: u64,
}

impl Work<'_> {
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(path) = lock(&self.names).next() else { return };
            if let Err(error) = self.one(path) {
                self.stop.store(true, Ordering::Relaxed);
                lock(&self.failed).get_or_insert(error);
                return;
            }
            self.progress.files.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn one(&self, path: LogPath) -> Result<(), RemoteError> {
        let name = path.to_string();
        let at = self.dir.join(&name);
        let exact = match path {
            LogPath::Tile(id) => Some(32 * u64::from(id.width())),
            LogPath::Bundle(_) | LogPath::Checkpoint => None,
        };
        if fs::symlink_metadata(&at).is_ok_and(|found| found.is_file() && exact.is_none_or(|len| len == found.len())) {
            self.reused.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let max = if exact.is_some() { TILE_BYTES } else { BUNDLE_BYTES_MAX };
        self.progress.room(0, self.bytes_max)?;
        let got = self.client.get(&format!("{}{name}", self.base), max, None)?;
        self.progress.got(got.bytes.len() as u64);
        let failed = |error: io::Error| RemoteError::Disk { path: at.clone(), why: error.to_string() };
        if let Some(folder) = at.parent() {
            make_dir(folder)?;
        }
        let draft = at.with_extension(if at.extension().is_some() { "p.tmp" } else { "tmp" });
        fs::write(&draft, &got.bytes).map_err(failed)?;
        fs::rename(&draft, &at).map_err(failed)
    }
}

/// Puts a copy out of the way of a new one. Nothing is deleted: it may be evidence.
fn set_aside(dir: &Path) -> Result<PathBuf, RemoteError> {
    let failed = |why: String| RemoteError::Disk { path: dir.to_owned(), why };
    let free = asides_of(dir).find(|to| !to.exists());
    let to = free.ok_or_else(|| failed("too many copies were set aside here: move them elsewhere".to_owned()))?;
    fs::rename(dir, &to).map_err(|error| failed(error.to_string()))?;
    Ok(to)
}

/// The same for what will be looked into: a folder that bears this mark contradicts what came after it, as far as is known.
fn retire(dir: &Path) -> Result<PathBuf, RemoteError> {
    replace(&dir.join(UNTOLD), b"").map_err(|error| local(dir, error))?;
    set_aside(dir)
}

/// The first copy of a log that was set aside and of which nobody was told.
fn untold(dir: &Path) -> Option<PathBuf> {
    asides_of(dir).take_while(|aside| aside.exists()).find(|aside| aside.join(UNTOLD).exists())
}

fn forget_untold(dir: &Path) -> Result<(), RemoteError> {
    match fs::remove_file(dir.join(UNTOLD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RemoteError::Disk { path: dir.join(UNTOLD), why: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Where copies of a log are set aside, in order.
fn asides_of(dir: &Path) -> impl Iterator<Item = PathBuf> + use<'_> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (1..ASIDE_COPIES_MAX).map(move |n| dir.with_file_name(format!("{name}.before-{n}")))
}

fn make_dir(dir: &Path) -> Result<(), RemoteError> {
    fs::create_dir_all(dir).map_err(|error| RemoteError::Disk { path: dir.to_owned(), why: error.to_string() })
}

fn local(dir: &Path, error: crate::AuditError) -> RemoteError {
    match error {
        crate::AuditError::File { path, why } => RemoteError::Disk { path, why },
        error => RemoteError::Disk { path: dir.to_owned(), why: error.to_string() },
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Progress {
    entries: AtomicU64,
    files_all: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Progress {
    fn begin(&self, size: u64) {
        self.entries.store(size, Ordering::Relaxed);
        self.files_all.store(count(size), Ordering::Relaxed);
    }

    /// Another tree's files.
    fn more(&self, size: u64) {
        self.files_all.fetch_add(count(size), Ordering::Relaxed);
    }

    fn got(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// That so many bytes more are not too many.
    fn room(&self, more: u64, max: u64) -> Result<(), RemoteError> {
        let too_many = self.bytes.load(Ordering::Relaxed).saturating_add(more) > max;
        if too_many { Err(RemoteError::TooMuch { max }) } else { Ok(()) }
    }

    fn now(&self) -> CopyProgress {
        let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
        CopyProgress {
            entries: number(&self.entries),
            files: number(&self.files),
            files_all: number(&self.files_all),
            bytes: number(&self.bytes),
        }
    }

    fn tell(&self, tell: &dyn Fn(CopyProgress)) {
        let mut ended = lock(&self.ended);
        while !*ended {
            tell(self.now());
            ended = self.changed.wait_timeout(ended, TELL_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        tell(self.now());
    }

    fn end(&self) {
        *lock(&self.ended) = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_these_files() {
        assert_eq!(names(0).count(), 0);
        let list = |size| names(size).map(|path| path.to_string()).collect::<Vec<_>>();
        assert_eq!(list(1), ["tile/entries/000.p/1", "tile/0/000.p/1"]);
        assert_eq!(list(256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(
            list(513),
            [
                "tile/entries/000",
                "tile/entries/001",
                "tile/0/000",
                "tile/0/001",
                "tile/entries/002.p/1",
                "tile/0/002.p/1",
                "tile/1/000.p/2"
            ]
        );
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
            assert_eq!(names(size).count() as u64, count(size), "{size}");
        }
    }
}
