//! `log/asides`: what is kept beside the tiles, in the order of the entries it belongs to. It only ever grows.
//!
//! Each record is its length as 32 bits, big-endian, then the bytes of a `puente.v1.Aside`. The journal repeats what
//! was not durable, so at start-up the file is cut where the replay begins: a torn tail needs no guessing.

use std::path::{Path, PathBuf};

use super::error::DiskError;
use super::files::{Disk, Handle, Site, site};

/// The open file.
pub(crate) struct Asides {
    handle: Handle,
    path: PathBuf,
    len: u64,
}

impl Asides {
    /// Opens the file and cuts it to `len` bytes.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, len: u64) -> Result<Self, DiskError> {
        let failed = |site: Site| DiskError::io(site, path);
        let handle = if path.exists() {
            disk.open(site::ASIDES_OPEN, path).map_err(failed(site::ASIDES_OPEN))?
        } else {
            disk.create(site::ASIDES_CREATE, path).map_err(failed(site::ASIDES_CREATE))?
        };
        let have = handle.file.metadata().map_err(failed(site::ASIDES_OPEN))?.len();
        if have < len {
            return Err(DiskError::AsidesLost { path: path.to_owned(), have, need: len });
        }
        if have > len {
            disk.set_len(site::ASIDES_CUT, &handle, len).map_err(failed(site::ASIDES_CUT))?;
            disk.sync(site::ASIDES_CUT_SYNC, &handle).map_err(failed(site::ASIDES_CUT_SYNC))?;
        }
        Ok(Self { handle, path: path.to_owned(), len })
    }

    /// Bytes in the file.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Appends framed records and makes them durable.
    pub(crate) fn append(&mut self, disk: &dyn Disk, framed: &[u8]) -> Result<(), DiskError> {
        if framed.is_empty() {
            return Ok(());
        }
        let failed = |site: Site| DiskError::io(site, &self.path);
        disk.write_at(site::ASIDES_APPEND, &self.handle, self.len, framed).map_err(failed(site::ASIDES_APPEND))?;
        disk.sync(site::ASIDES_SYNC, &self.handle).map_err(failed(site::ASIDES_SYNC))?;
        self.len += framed.len() as u64;
        Ok(())
    }
}

/// Frames one record.
pub(crate) fn frame(out: &mut Vec<u8>, aside: &[u8]) {
    super::codec::put_bytes(out, aside);
}

/// Takes the first record off `bytes`: the record, and what follows. None at the end or where the file is torn.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}
