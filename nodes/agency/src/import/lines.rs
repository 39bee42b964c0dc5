//! Lines of a file, one at a time, of a bounded length: a 1 GB line costs no memory.

use std::io::{self, BufRead};

use aws_lc_rs::digest::{Context, SHA256};
use puente_model::Digest;

/// One line, as far as it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The file ends here.
    End,
    /// A whole line is in the buffer, without its line end.
    Whole,
    /// The line was longer than the limit; nothing of it was kept.
    TooLong,
}

/// Reads lines of at most `max` bytes; longer ones are skipped and reported.
pub(crate) struct Lines<R> {
    from: R,
    max: usize,
    /// Number of the line last read, from 1.
    number: u64,
    /// Bytes read so far.
    bytes: u64,
    /// Over these bytes: what stands for them when the file is brought in again.
    hash: Context,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R, max: usize) -> Self {
        Self { from, max, number: 0, bytes: 0, hash: Context::new(&SHA256) }
    }

    /// SHA-256 of what was read so far.
    pub(crate) fn digest(&self) -> Digest {
        let mut out = [0; 32];
        let hash = self.hash.clone().finish();
        out.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Digest(out)
    }

    pub(crate) const fn source(&self) -> &R {
        &self.from
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Passes over everything before byte `to`, which ends a line; false if the source ends before.
    pub(crate) fn skip_to(&mut self, to: u64) -> io::Result<bool> {
        while self.bytes < to {
            let found = fill(&mut self.from)?;
            let left = usize::try_from(to - self.bytes).unwrap_or(usize::MAX);
            let part = &found[..found.len().min(left)];
            if part.is_empty() {
                return Ok(false);
            }
            self.hash.update(part);
            self.number += memchr::memchr_iter(b'\n', part).count() as u64;
            let used = part.len();
            self.from.consume(used);
            self.bytes += used as u64;
        }
        Ok(true)
    }

    /// Reads the next line into `line`, which is emptied first. Line ends are LF or CR LF.
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        let mut long = false;
        let mut any = false;
        loop {
            let found = fill(&mut self.from)?;
            if found.is_empty() {
                if !any {
                    return Ok(Line::End);
                }
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', found);
            let part = &found[..end.unwrap_or(found.len())];
            if line.len() + part.len() > self.max {
                long = true;
                line.clear();
                line.shrink_to(64 * 1024);
            }
            if !long {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.hash.update(&found[..used]);
            self.from.consume(used);
            self.bytes += used as u64;
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if long {
            line.clear();
            return Ok(Line::TooLong);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Line::Whole)
    }
}

fn fill<R: BufRead>(from: &mut R) -> io::Result<&[u8]> {
    loop {
        match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            // A second call gives the same bytes; returning the first's would borrow across the loop.
            Ok(_) => return from.fill_buf(),
        }
    }
}

impl<R> std::fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines({} lines, {} bytes)", self.number, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn all(text: &[u8], max: usize, buffer: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text), max);
        let (mut line, mut out) = (Vec::new(), Vec::new());
        loop {
            match lines.read(&mut line).unwrap() {
                Line::End => break,
                Line::Whole => out.push(Some(line.clone())),
                Line::TooLong => out.push(None),
            }
        }
        assert_eq!(lines.number(), out.len() as u64);
        assert_eq!(lines.bytes(), text.len() as u64);
        assert_eq!(lines.digest(), Digest::of(text));
        out
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf_or_the_file() {
        for buffer in [1, 2, 3, 100] {
            let got = all(b"a\r\n\nbcd\nef", 10, buffer);
            assert_eq!(got, [b"a".to_vec(), vec![], b"bcd".to_vec(), b"ef".to_vec()].map(Some));
            assert_eq!(all(b"12345\n123456\n1", 5, buffer), [Some(b"12345".to_vec()), None, Some(b"1".to_vec())]);
            assert!(all(b"", 5, buffer).is_empty());
        }
    }

    #[test]
    fn skipping_counts_and_hashes_what_it_passes_over() {
        let text = b"a\nbb\nccc\nd";
        for buffer in [1, 3, 100] {
            let mut lines = Lines::new(BufReader::with_capacity(buffer, &text[..]), 10);
            assert!(lines.skip_to(5).unwrap());
            let mut line = Vec::new();
            assert_eq!(lines.read(&mut line).unwrap(), Line::Whole);
            assert_eq!((line.as_slice(), lines.number(), lines.digest()), (&b"ccc"[..], 3, Digest::of(&text[..9])));
            assert!(!lines.skip_to(100).unwrap(), "the source ends before");
        }
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let endless = std::io::repeat(b'x').take(64 << 20);
        let mut lines = Lines::new(BufReader::new(endless), 1 << 20);
        let mut line = Vec::new();
        assert_eq!(lines.read(&mut line).unwrap(), Line::TooLong);
        assert!(line.capacity() <= 4 << 20, "{}", line.capacity());
        assert_eq!(lines.read(&mut line).unwrap(), Line::End);
    }
}
