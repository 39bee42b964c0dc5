//! Lines of a file, one at a time, of a bounded length: a 1 GB line costs no memory.

use std::io::{self, BufRead};

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
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    max: usize,
    /// Number of the line last read, from 1.
    number: u64,
    /// Bytes read so far.
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) const fn new(from: R, max: usize) -> Self {
        Self { from, max, number: 0, bytes: 0 }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first bytes, not taken: to look for marks.
    pub(crate) fn peek(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    /// Skips bytes that [`peek`](Self::peek) showed.
    pub(crate) fn skip(&mut self, count: usize) {
        self.from.consume(count);
        self.bytes += count as u64;
    }

    /// Reads the next line into `line`, which is emptied first. Line ends are LF or CR LF.
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        let mut long = false;
        let mut any = false;
        loop {
            let found = match self.from.fill_buf() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if found.is_empty() {
                if !any {
                    return Ok(Line::End);
                }
                break;
            }
            any = true;
            let end = found.iter().position(|b| *b == b'\n');
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
    fn an_endless_line_costs_no_memory() {
        let endless = std::io::repeat(b'x').take(64 << 20);
        let mut lines = Lines::new(BufReader::new(endless), 1 << 20);
        let mut line = Vec::new();
        assert_eq!(lines.read(&mut line).unwrap(), Line::TooLong);
        assert!(line.capacity() <= 4 << 20, "{}", line.capacity());
        assert_eq!(lines.read(&mut line).unwrap(), Line::End);
    }
}
