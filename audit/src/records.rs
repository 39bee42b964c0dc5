//! The records of a sidecar, one after the other, through one buffer.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use puente_audit_log::ReadError;

/// The largest record, in bytes: an escrowed opening with what belongs to it.
const RECORD_BYTES_MAX: u32 = 512 * 1024;
/// Bytes that are read at once: two of the largest records.
const BUFFER_BYTES: usize = 2 * RECORD_BYTES_MAX as usize;
/// Bytes that are read for one record; most have no more.
const ONE_BYTES: usize = 2 * 1024;
/// Bytes of a record's length.
const LENGTH_BYTES: usize = 4;

/// Why there are no further records.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The file cannot be read.
    Io(ReadError),
    /// From this byte on it holds no records.
    Malformed(u64, &'static str),
}

/// Reads records in the order of the file.
#[derive(Debug)]
pub(crate) struct Records {
    file: File,
    length: u64,
    /// Where the next record's length stands.
    at: u64,
    buffer: Vec<u8>,
    /// What of the buffer was read and not shown yet.
    ready: std::ops::Range<usize>,
}

fn io_error(error: io::Error) -> Broken {
    Broken::Io(ReadError::Io(error.to_string()))
}

impl Records {
    pub(crate) fn new(file: File) -> Result<Self, ReadError> {
        let length = file.metadata().map_err(|error| ReadError::Io(error.to_string()))?.len();
        let room = usize::try_from(length).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        Ok(Self { file, length, at: 0, buffer: vec![0; room], ready: 0..0 })
    }

    /// Bytes of the whole file.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// The next record and where it stands; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &[u8])>, Broken> {
        let left = self.length - self.at;
        if left == 0 {
            return Ok(None);
        }
        if left < LENGTH_BYTES as u64 {
            return Err(Broken::Malformed(self.at, "it ends inside a record's length"));
        }
        let head = self.bytes(LENGTH_BYTES).map_err(io_error)?;
        let bytes = u32::from_be_bytes(head.first_chunk().copied().unwrap_or_default());
        if bytes > RECORD_BYTES_MAX || u64::from(bytes) > left - LENGTH_BYTES as u64 {
            return Err(Broken::Malformed(self.at, "a record is longer than the file or than any record may be"));
        }
        let place = self.at + LENGTH_BYTES as u64;
        self.at = place + u64::from(bytes);
        Ok(Some((place, self.bytes(bytes as usize).map_err(io_error)?)))
    }

    /// Takes the next bytes, of which the file should have as many and the buffer has room for.
    fn bytes(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.ready.len() < count {
            self.buffer.copy_within(self.ready.clone(), 0);
            self.ready = 0..self.ready.len();
            while self.ready.len() < count {
                match self.file.read(&mut self.buffer[self.ready.end..]) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => self.ready.end += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let from = self.ready.start;
        self.ready.start += count;
        Ok(&self.buffer[from..from + count])
    }
}

/// The record at a place that was shown before, read into `bytes`; its length stands before it.
pub(crate) fn record_at<'b>(mut file: &File, at: u64, bytes: &'b mut Vec<u8>) -> Option<&'b [u8]> {
    file.seek(SeekFrom::Start(at.checked_sub(LENGTH_BYTES as u64)?)).ok()?;
    bytes.clear();
    bytes.reserve(ONE_BYTES);
    file.take(ONE_BYTES as u64).read_to_end(bytes).ok()?;
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    let length = Some(length).filter(|length| *length <= RECORD_BYTES_MAX)? as usize;
    let read = bytes.len() - LENGTH_BYTES;
    if let Some(missing) = length.checked_sub(read) {
        file.take(missing as u64).read_to_end(bytes).ok()?;
    }
    bytes.get(LENGTH_BYTES..)?.get(..length)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn framed(record: &[u8]) -> Vec<u8> {
        [&u32::try_from(record.len()).unwrap().to_be_bytes(), record].concat()
    }

    #[test]
    fn records_of_every_size_come_out_as_they_went_in() {
        let sizes = [0, 1, 5, ONE_BYTES - 5, ONE_BYTES - 4, ONE_BYTES - 3, ONE_BYTES, 300_000, 7, 524_288, 524_288, 9];
        let records: Vec<Vec<u8>> = (0_u8..).zip(sizes).map(|(n, size)| vec![n + 1; size]).collect();
        let file = file_of(&records.iter().flat_map(|record| framed(record)).collect::<Vec<_>>());
        let again = file.try_clone().unwrap();
        let mut found = Vec::new();
        let mut reader = Records::new(file).unwrap();
        while let Some((at, record)) = reader.next().unwrap() {
            found.push((at, record.to_vec()));
        }
        assert_eq!(found.iter().map(|(_, record)| record).collect::<Vec<_>>(), records.iter().collect::<Vec<_>>());
        for (at, record) in found {
            assert_eq!(record_at(&again, at, &mut Vec::new()), Some(record.as_slice()));
        }
    }

    #[test]
    fn what_is_no_record_ends_them() {
        for (tail, at) in [(vec![0, 0], 7), (framed(&[1; 4])[..7].to_vec(), 7), (vec![0xff; 9], 7)] {
            let mut reader = Records::new(file_of(&[framed(b"abc"), tail].concat())).unwrap();
            assert_eq!(reader.next().unwrap(), Some((4, b"abc".as_slice())));
            assert!(matches!(reader.next(), Err(Broken::Malformed(place, _)) if place == at));
        }
        assert!(Records::new(file_of(b"")).unwrap().next().unwrap().is_none());
        assert_eq!(record_at(&file_of(&framed(b"abc")[..6]), 4, &mut Vec::new()), None);
        assert_eq!(record_at(&file_of(&[0xff; 40]), 4, &mut Vec::new()), None);
    }

    #[test]
    fn a_file_that_shrinks_cannot_be_read() {
        let file = file_of(&framed(&[3; 100]));
        let mut reader = Records::new(file.try_clone().unwrap()).unwrap();
        file.set_len(50).unwrap();
        assert!(matches!(reader.next(), Err(Broken::Io(_))));
    }
}
