//! The sidecar as auditors of other nations see it: without sealed headers. Ranges of bytes are of what they see, so an
//! index says where in the file it stands.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use puente_wire::proto::{self, Message as _};

/// One mark of the index for so many bytes of what is seen.
const MARK_BYTES: u64 = 1 << 20;
/// The file is read in pieces of so many bytes, or one record if it is longer.
const READ_BYTES: usize = 256 << 10;
/// The longest record that a node writes, with room to spare, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Headers of veiled entries are for the own nation's auditors; everything else is for every auditor.
pub(crate) fn for_other_nations(aside: &[u8]) -> bool {
    let decoded = proto::Aside::decode(aside);
    decoded.is_ok_and(|aside| !matches!(aside.body, None | Some(proto::aside::Body::SealedHeader(_))))
}

/// Where what other nations see stands in the file. It grows with the file and never changes.
#[derive(Debug, Default)]
pub(super) struct Filtered {
    /// Places at which both sides begin a record: bytes seen before, bytes of the file before.
    marks: Vec<(u64, u64)>,
    /// Bytes seen of the first `read` bytes of the file.
    seen: u64,
    read: u64,
}

impl Filtered {
    /// How many bytes are seen of the first `len` bytes of the file.
    pub(super) fn len(&mut self, file: &File, len: u64) -> io::Result<u64> {
        if len < self.read {
            // An older view than the newest: count from the mark before it.
            let (seen, read) = self.before(|mark| mark.1 <= len);
            let mut count = seen;
            walk(file, read, len, |record, passes| {
                count += if passes { record.len() as u64 } else { 0 };
                true
            })?;
            return Ok(count);
        }
        let known = self.marks.len();
        let marks = &mut self.marks;
        let (mut seen, mut at) = (self.seen, self.read);
        let walked = walk(file, self.read, len, |record, passes| {
            if marks.last().is_none_or(|mark| seen >= mark.0 + MARK_BYTES) {
                marks.push((seen, at));
            }
            at += record.len() as u64;
            if passes {
                seen += record.len() as u64;
            }
            true
        });
        if let Err(error) = walked {
            marks.truncate(known);
            return Err(error);
        }
        (self.seen, self.read) = (seen, len);
        Ok(seen)
    }

    /// The last mark for which `holds`.
    fn before(&self, holds: impl Fn(&(u64, u64)) -> bool) -> (u64, u64) {
        let after = self.marks.partition_point(holds);
        after.checked_sub(1).and_then(|at| self.marks.get(at)).copied().unwrap_or((0, 0))
    }

    /// Where to begin to read for what is seen from byte `from` on: bytes seen before that place, and the place.
    pub(super) fn begin(&self, from: u64) -> (u64, u64) {
        self.before(|mark| mark.0 <= from)
    }
}

/// Bytes `from..to` of what is seen, beginning to read at `mark`; at most `max` of them.
pub(super) fn read_filtered(file: &File, mark: (u64, u64), end: u64, from: u64, max: usize) -> io::Result<Vec<u8>> {
    let (mut seen, read) = mark;
    let mut out = Vec::with_capacity(max.min(READ_BYTES));
    walk(file, read, end, |record, passes| {
        if passes {
            let skip = usize::try_from(from.saturating_sub(seen)).unwrap_or(usize::MAX);
            let rest = record.get(skip..).unwrap_or_default();
            out.extend_from_slice(rest.get(..max - out.len()).unwrap_or(rest));
            seen += record.len() as u64;
        }
        out.len() < max
    })?;
    Ok(out)
}

/// Shows every record of a part of the file that begins and ends with one, its length before it, until `show` has
/// enough.
fn walk(file: &File, from: u64, to: u64, mut show: impl FnMut(&[u8], bool) -> bool) -> io::Result<()> {
    let broken = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let (mut at, mut buffer) = (from, Vec::new());
    while at < to {
        let left = usize::try_from(to - at).unwrap_or(usize::MAX);
        let mut want = left.min(READ_BYTES);
        loop {
            buffer.resize(want, 0);
            file.read_exact_at(&mut buffer, at)?;
            let mut rest = buffer.as_slice();
            while let Some(len) = rest.first_chunk::<4>().map(|len| u32::from_be_bytes(*len) as usize) {
                if len > RECORD_BYTES_MAX {
                    return broken("a record of the sidecar is too long");
                }
                let Some((record, after)) = rest.split_at_checked(4 + len) else { break };
                if !show(record, for_other_nations(&record[4..])) {
                    return Ok(());
                }
                rest = after;
            }
            let done = buffer.len() - rest.len();
            at += done as u64;
            if done > 0 {
                break;
            }
            if want >= left {
                return broken("the sidecar ends within a record");
            }
            want = left.min(RECORD_BYTES_MAX + 4);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(n: u32, sealed: bool) -> Vec<u8> {
        use proto::aside::Body;
        let text = vec![b'x'; (n as usize * 37) % 3_000];
        let body = if sealed {
            Body::SealedHeader(proto::SealedHeader { seeds: vec![1; 32], ciphertext: text })
        } else {
            Body::PeerReceipt(text)
        };
        let aside = proto::Aside { leaf_hash: vec![n as u8; 32], body: Some(body) };
        let bytes = aside.encode_to_vec();
        [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
    }

    #[test]
    fn every_range_is_a_part_of_what_the_export_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asides");
        let records: Vec<(Vec<u8>, bool)> = (0..3_000).map(|n| (aside(n, n % 3 != 1), n % 3 != 1)).collect();
        let all: Vec<u8> = records.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let seen: Vec<u8> = records.iter().filter(|r| !r.1).flat_map(|(bytes, _)| bytes.clone()).collect();
        std::fs::write(&path, &all).unwrap();
        let file = File::open(&path).unwrap();
        let mut index = Filtered::default();
        // It grows in steps, and an older view is measured as it was.
        let half: usize = records[..1_500].iter().map(|(bytes, _)| bytes.len()).sum();
        let half_seen: usize = records[..1_500].iter().filter(|r| !r.1).map(|(bytes, _)| bytes.len()).sum();
        assert_eq!(index.len(&file, half as u64).unwrap(), half_seen as u64);
        assert_eq!(index.len(&file, all.len() as u64).unwrap(), seen.len() as u64);
        assert_eq!(index.len(&file, half as u64).unwrap(), half_seen as u64);
        assert!(index.marks.len() >= 2, "{} bytes", seen.len());
        for from in (0..seen.len()).step_by(9_973) {
            for max in [1, 1_000, 400_000] {
                let got = read_filtered(&file, index.begin(from as u64), all.len() as u64, from as u64, max).unwrap();
                assert_eq!(got, &seen[from..(from + max).min(seen.len())], "{from} {max}");
            }
        }
        assert!(read_filtered(&file, (0, 0), all.len() as u64 - 1, 0, usize::MAX).is_err(), "within a record");
    }
}
