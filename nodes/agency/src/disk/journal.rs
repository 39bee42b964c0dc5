//! The journal: where a batch becomes durable, with one write and one sync.
//!
//! Segments are filled with zeros beforehand, so that `fdatasync` has no metadata to write. A write or sync
//! that failed is never tried again: the kernel may have dropped the dirty pages and report the next sync as a
//! success. From then on every append fails until the node is started again and reads back what the disk holds.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, StatxFlags};

use super::codec::Content;
use super::error::DiskError;
use super::files::{Disk, Handle, Site, site};
use super::seal::{Keys, TAG_LEN};
use super::segment::{self, CONTENT_BYTES_MAX, HEADER_LEN, Header, NO_TAG, RECORD_HEADER_LEN};

/// Length of a segment, in bytes; one that must hold a larger record is as long as it needs.
pub const SEGMENT_BYTES: u64 = 16 << 20;
const ZERO_CHUNK: usize = 1 << 20;

/// The open end of the journal.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    keys: Keys,
    dir: PathBuf,
    segment_bytes: u64,
    handle: Handle,
    header: Header,
    offset: u64,
    len: u64,
    position: u64,
    tag: [u8; TAG_LEN],
    poisoned: Option<String>,
    buffer: Vec<u8>,
}

/// What an append did, besides making the batch durable.
pub(crate) struct Appended {
    pub(crate) position: u64,
    /// A segment was begun for it.
    pub(crate) rolled: Option<Segment>,
}

/// A segment, by its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// What start-up found in the journal.
pub(crate) struct Found {
    pub(crate) journal: Journal,
    pub(crate) segments: VecDeque<Segment>,
    /// Bytes of a record that was never acknowledged, wiped.
    pub(crate) torn: usize,
}

impl Journal {
    /// Position of the newest durable record; 0 if there was never one.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Opens the journal, showing each record after `base` to `visit` in order, and wipes a torn tail.
    ///
    /// `known` is the newest position that other files prove to have been durable.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        keys: &Keys,
        dir: &Path,
        segment_bytes: u64,
        base: u64,
        known: u64,
        mut visit: impl FnMut(u64, Content) -> Result<(), DiskError>,
    ) -> Result<Found, DiskError> {
        let mut segments = list(disk.as_ref(), dir)?;
        // What lies wholly before the base is applied; after a crash between removals there may be holes in it.
        while segments.get(1).is_some_and(|next| next.first <= base + 1) {
            segments.pop_front();
        }
        let gap = |need: u64, have: String| DiskError::JournalGap { path: dir.to_owned(), have, need };
        let Some(oldest) = segments.front() else {
            if known > 0 {
                return Err(gap(base + 1, "none".to_owned()));
            }
            let journal = Self::begin(Arc::clone(disk), keys.clone(), dir.to_owned(), segment_bytes)?;
            let segments = VecDeque::from([Segment { first: 1, path: journal.handle.path.clone() }]);
            return Ok(Found { journal, segments, torn: 0 });
        };
        if oldest.first > base + 1 {
            return Err(gap(base + 1, format!("from {}", oldest.first)));
        }
        let mut end = None;
        let (mut position, mut before) = (oldest.first - 1, None);
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1);
            let end_of = read(disk.as_ref(), keys, segment, next, before, &mut |at, content| {
                if at > base { visit(at, content) } else { Ok(()) }
            })?;
            (position, before) = (end_of.position, Some(end_of.tag));
            end = Some(end_of);
        }
        if position < known.max(base) {
            return Err(gap(position + 1, format!("up to {position}")));
        }
        let (Some(end), Some(newest)) = (end, segments.back()) else { return Err(gap(base + 1, String::new())) };
        let handle = disk.open(site::JOURNAL_OPEN, &newest.path).map_err(DiskError::io(site::JOURNAL_OPEN, dir))?;
        let torn = end.wipe;
        if torn > 0 {
            let path = &newest.path;
            let zeros = vec![0; torn];
            let wiped = disk.write_at(site::JOURNAL_WIPE, &handle, end.offset, &zeros);
            wiped.map_err(DiskError::io(site::JOURNAL_WIPE, path))?;
            disk.sync(site::JOURNAL_WIPE_SYNC, &handle).map_err(DiskError::io(site::JOURNAL_WIPE_SYNC, path))?;
        }
        let journal = Self {
            disk: Arc::clone(disk),
            keys: keys.clone(),
            dir: dir.to_owned(),
            segment_bytes,
            handle,
            header: end.header,
            offset: end.offset,
            len: end.len,
            position,
            tag: end.tag,
            poisoned: None,
            buffer: Vec::new(),
        };
        Ok(Found { journal, segments, torn })
    }

    fn begin(disk: Arc<dyn Disk>, keys: Keys, dir: PathBuf, segment_bytes: u64) -> Result<Self, DiskError> {
        let (handle, header, len) = create(disk.as_ref(), &keys, &dir, segment_bytes, 1, NO_TAG)?;
        let (offset, buffer) = (HEADER_LEN, Vec::new());
        let tag = NO_TAG;
        Ok(Self {
            disk,
            keys,
            dir,
            segment_bytes,
            handle,
            header,
            offset,
            len,
            position: 0,
            tag,
            poisoned: None,
            buffer,
        })
    }

    /// Writes one record and makes it durable. After an error nothing is ever written again.
    pub(crate) fn append(&mut self, content: &Content) -> Result<Appended, DiskError> {
        if let Some(reason) = &self.poisoned {
            return Err(DiskError::Stopped { reason: reason.clone() });
        }
        let appended = self.try_append(content);
        if let Err(error) = &appended {
            self.poisoned = Some(error.to_string());
        }
        appended
    }

    fn try_append(&mut self, content: &Content) -> Result<Appended, DiskError> {
        let content_len = content.encoded_len();
        if content_len > CONTENT_BYTES_MAX {
            return Err(DiskError::Unfit(format!("it has {content_len} bytes; at most {CONTENT_BYTES_MAX} are kept")));
        }
        let len = (RECORD_HEADER_LEN + content_len + TAG_LEN).next_multiple_of(segment::ALIGN) as u64;
        let position = self.position + 1;
        let mut rolled = None;
        if self.offset + len > self.len {
            let bytes = self.segment_bytes.max(HEADER_LEN + len);
            let (handle, header, len) = create(self.disk.as_ref(), &self.keys, &self.dir, bytes, position, self.tag)?;
            // A segment still empty has been replaced under its own name: there is no other.
            rolled = (self.header.first != position).then(|| Segment { first: position, path: handle.path.clone() });
            (self.handle, self.header, self.len, self.offset) = (handle, header, len, HEADER_LEN);
        }
        self.buffer.clear();
        self.buffer.reserve(len as usize);
        self.buffer.resize(RECORD_HEADER_LEN, 0);
        content.encode(&mut self.buffer);
        let tag = segment::seal_record(&self.header.key, position, &mut self.buffer)?;
        let failed = |site: Site| DiskError::io(site, &self.handle.path);
        let (append, sync) = (site::JOURNAL_APPEND, site::JOURNAL_APPEND_SYNC);
        self.disk.write_at(append, &self.handle, self.offset, &self.buffer).map_err(failed(append))?;
        self.disk.sync(sync, &self.handle).map_err(failed(sync))?;
        in_place(&self.handle).map_err(failed(sync))?;
        self.offset += self.buffer.len() as u64;
        (self.position, self.tag) = (position, tag);
        if self.buffer.capacity() > ZERO_CHUNK {
            self.buffer = Vec::new();
        }
        Ok(Appended { position, rolled })
    }
}

/// A file that was deleted or moved can still be written and synced; nobody would ever read it again.
fn in_place(handle: &Handle) -> io::Result<()> {
    // No times are asked for: a file whose times somebody looked at gets new ones with its next write, and on some
    // file systems the next sync then writes the inode, too.
    let number = |file: BorrowedFd<'_>, path: &Path, flags: AtFlags| {
        let found = rustix::fs::statx(file, path, flags, StatxFlags::INO)?;
        io::Result::Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
    };
    let open = number(handle.file.as_fd(), Path::new(""), AtFlags::EMPTY_PATH)?;
    if open == number(rustix::fs::CWD, &handle.path, AtFlags::empty())? {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "another file stands in the place of the one that is open"))
}

/// Segments by name, oldest first; provisional files of an interrupted start are removed.
fn list(disk: &dyn Disk, dir: &Path) -> Result<VecDeque<Segment>, DiskError> {
    let mut firsts = Vec::new();
    let entries = fs::read_dir(dir).map_err(DiskError::io(site::JOURNAL_READ, dir))?;
    for entry in entries {
        let entry = entry.map_err(DiskError::io(site::JOURNAL_READ, dir))?;
        let name = entry.file_name();
        match name.to_str().and_then(segment::parse_name) {
            Some(first) => firsts.push(first),
            None if name.to_str().is_some_and(is_provisional) => {
                disk.remove(site::JOURNAL_DROP, &entry.path()).map_err(DiskError::io(site::JOURNAL_DROP, dir))?;
            }
            None => (),
        }
    }
    firsts.sort_unstable();
    Ok(firsts.into_iter().map(|first| Segment { first, path: segment::path(dir, first) }).collect())
}

const SPARE: &str = "spare.tmp";
const SPARE_UNFINISHED: &str = "spare-unfinished.tmp";
const INLINE: &str = "segment.tmp";

fn is_provisional(name: &str) -> bool {
    [SPARE, SPARE_UNFINISHED, INLINE].contains(&name)
}

/// Prepares a file for the next segment, so that beginning it does not wait for zeros.
pub(crate) fn prepare_spare(disk: &dyn Disk, dir: &Path, segment_bytes: u64) -> Result<(), DiskError> {
    if dir.join(SPARE).exists() {
        return Ok(());
    }
    let unfinished = dir.join(SPARE_UNFINISHED);
    zeroed(disk, &unfinished, segment_bytes)?;
    let rename = site::JOURNAL_RENAME;
    disk.rename(rename, &unfinished, &dir.join(SPARE)).map_err(DiskError::io(rename, dir))
}

fn zeroed(disk: &dyn Disk, path: &Path, len: u64) -> Result<Handle, DiskError> {
    let failed = |site: Site| DiskError::io(site, path);
    let handle = disk.create(site::JOURNAL_CREATE, path).map_err(failed(site::JOURNAL_CREATE))?;
    disk.set_len(site::JOURNAL_LENGTH, &handle, len).map_err(failed(site::JOURNAL_LENGTH))?;
    let zeros = vec![0; ZERO_CHUNK.min(usize::try_from(len).unwrap_or(ZERO_CHUNK))];
    let mut at = 0;
    while at < len {
        let chunk = &zeros[..zeros.len().min(usize::try_from(len - at).unwrap_or(ZERO_CHUNK))];
        disk.write_at(site::JOURNAL_ZERO, &handle, at, chunk).map_err(failed(site::JOURNAL_ZERO))?;
        at += chunk.len() as u64;
    }
    disk.sync(site::JOURNAL_ZERO_SYNC, &handle).map_err(failed(site::JOURNAL_ZERO_SYNC))?;
    Ok(handle)
}

/// Begins the segment whose first record will be `first`: its name appears only when its header is durable.
fn create(
    disk: &dyn Disk,
    keys: &Keys,
    dir: &Path,
    bytes: u64,
    first: u64,
    before: [u8; TAG_LEN],
) -> Result<(Handle, Header, u64), DiskError> {
    let spare = dir.join(SPARE);
    let spare_len = fs::metadata(&spare).map(|data| data.len()).unwrap_or(0);
    let (mut handle, len) = if spare_len >= bytes {
        let handle = disk.open(site::JOURNAL_OPEN, &spare).map_err(DiskError::io(site::JOURNAL_OPEN, &spare))?;
        (handle, spare_len)
    } else {
        (zeroed(disk, &dir.join(INLINE), bytes)?, bytes)
    };
    let (header, header_bytes) = Header::create(keys, first, before)?;
    let path = segment::path(dir, first);
    let failed = |site: Site| DiskError::io(site, &path);
    let write = disk.write_at(site::JOURNAL_HEADER, &handle, 0, &header_bytes);
    write.map_err(failed(site::JOURNAL_HEADER))?;
    disk.sync(site::JOURNAL_HEADER_SYNC, &handle).map_err(failed(site::JOURNAL_HEADER_SYNC))?;
    disk.rename(site::JOURNAL_RENAME, &handle.path, &path).map_err(failed(site::JOURNAL_RENAME))?;
    disk.sync_dir(site::JOURNAL_RENAME_SYNC, dir).map_err(failed(site::JOURNAL_RENAME_SYNC))?;
    handle.path = path;
    Ok((handle, header, len))
}

/// Removes segments, oldest first.
pub(crate) fn drop_segments(disk: &dyn Disk, dir: &Path, segments: &[Segment]) -> Result<(), DiskError> {
    for segment in segments {
        disk.remove(site::JOURNAL_DROP, &segment.path).map_err(DiskError::io(site::JOURNAL_DROP, &segment.path))?;
    }
    disk.sync_dir(site::JOURNAL_DROP_SYNC, dir).map_err(DiskError::io(site::JOURNAL_DROP_SYNC, dir))
}

struct End {
    header: Header,
    position: u64,
    tag: [u8; TAG_LEN],
    offset: u64,
    len: u64,
    /// Bytes from `offset` on that are not zero and must become so.
    wipe: usize,
}

fn read(
    disk: &dyn Disk,
    keys: &Keys,
    segment: &Segment,
    next: Option<&Segment>,
    before: Option<[u8; TAG_LEN]>,
    visit: &mut dyn FnMut(u64, Content) -> Result<(), DiskError>,
) -> Result<End, DiskError> {
    let path = &segment.path;
    let bytes = disk.read(site::JOURNAL_READ, path).map_err(DiskError::io(site::JOURNAL_READ, path))?;
    let damaged = |offset: usize, why: &str| DiskError::Damaged {
        path: path.clone(),
        offset: offset as u64,
        why: why.to_owned(),
    };
    let header = Header::parse(keys, path, &bytes)?;
    if header.first != segment.first {
        return Err(damaged(0, "its header names another first batch than its file name"));
    }
    if before.is_some_and(|tag| tag != header.before) {
        return Err(damaged(0, "it does not continue the segment before it"));
    }
    let (mut at, mut position, mut tag) = (HEADER_LEN as usize, segment.first - 1, header.before);
    while let Some(record) = segment::read_record(&header.key, &bytes, at, position + 1) {
        let content = Content::decode(&record.content).map_err(|error| damaged(at, &error.to_string()))?;
        visit(position + 1, content)?;
        (at, position, tag) = (record.end, position + 1, record.tag);
    }
    if let Some(next) = next
        && next.first != position + 1
    {
        return Err(damaged(at, "the record here does not hold, and a later segment exists"));
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let wipe = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if wipe > 0
        && next.is_none()
        && let Some(later) = segment::later_record(&header.key, &bytes, at, position + 1)
    {
        let why = format!("the record here does not hold, and the one at byte {later} does");
        return Err(damaged(at, &why));
    }
    Ok(End { header, position, tag, offset: at as u64, len: bytes.len() as u64, wipe })
}
