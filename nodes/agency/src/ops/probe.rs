//! What the operating system says: room, memory, descriptors.

use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags};

/// Room on the disk of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes of the whole disk.
    pub bytes: u64,
    /// Files that may still be made; none if the file system does not count them.
    pub free_files: Option<u64>,
    /// Nothing may be written at all.
    pub read_only: bool,
}

/// Room on the disk that a folder lies on.
///
/// # Errors
/// The system's.
pub fn room(folder: &Path) -> std::io::Result<Room> {
    let stat = rustix::fs::statvfs(folder)?;
    let block = stat.f_frsize.max(1);
    Ok(Room {
        free_bytes: stat.f_bavail.saturating_mul(block),
        bytes: stat.f_blocks.saturating_mul(block),
        free_files: (stat.f_files > 0).then_some(stat.f_favail),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Whether this user may make files in a folder.
///
/// # Errors
/// The system's: it may not, or there is no such folder.
pub fn may_write(folder: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Resident memory of this process, in bytes; none where `/proc` does not say.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Descriptors that this process has open; none where `/proc` does not say.
pub fn open_files() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// How many descriptors this process may have open; none: no limit.
pub fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// A number of the kernel, `/proc/sys/…`.
pub fn kernel(name: &str) -> Option<u64> {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_something() {
        let dir = tempfile::tempdir().unwrap();
        let room = room(dir.path()).unwrap();
        assert!(room.bytes >= room.free_bytes && !room.read_only);
        may_write(dir.path()).unwrap();
        assert!(may_write(&dir.path().join("absent")).is_err() && super::room(&dir.path().join("absent")).is_err());
        assert!(resident_bytes().unwrap() > 1 << 20 && open_files().unwrap() > 2);
        assert!(open_files_max().is_none_or(|max| max > 2));
        assert!(kernel("net/core/rmem_max").is_some_and(|bytes| bytes > 0));
    }
}
