//! Rows of CSV, over the bounded lines: a quoted value may hold line breaks, within limits.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use super::lines::{Line, Lines};

/// Lines that one row may span.
pub(crate) const ROW_LINES_MAX: usize = 100;
/// Cells that one row may have.
pub(crate) const ROW_CELLS_MAX: usize = 1_000;

/// One row, as it was found.
#[derive(Debug)]
pub(crate) enum Row {
    /// The file ends here.
    End,
    /// Nothing on the line.
    Blank,
    /// Cells, not yet text.
    Cells(csv::ByteRecord),
    /// Longer than a row may be.
    TooLong,
    /// A quoted value does not end.
    OpenQuote,
    /// More cells than a row may have.
    TooManyCells,
}

/// Where the quoting of a row stands at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Start,
    Plain,
    Quoted,
    Closing,
}

impl Quoting {
    fn over(mut self, line: &[u8], delimiter: u8) -> Self {
        for byte in line {
            self = match (self, *byte) {
                (Self::Quoted, b'"') => Self::Closing,
                (Self::Quoted, _) => Self::Quoted,
                (Self::Start | Self::Closing, b'"') => Self::Quoted,
                (_, b) if b == delimiter => Self::Start,
                _ => Self::Plain,
            };
        }
        self
    }
}

/// Reads rows.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    delimiter: u8,
    max: usize,
    /// Lines read ahead in search of a closing quote, to be read again: number, bytes (none: too long).
    ahead: VecDeque<(u64, Option<Vec<u8>>)>,
    first_line: u64,
    splitter: Splitter,
}

impl<R: BufRead> Rows<R> {
    pub(crate) fn new(lines: Lines<R>, max: usize) -> Self {
        Self { lines, delimiter: b',', max, ahead: VecDeque::new(), first_line: 0, splitter: Splitter::new(b',') }
    }

    /// Line on which the row last read begins, from 1.
    pub(crate) const fn line(&self) -> u64 {
        self.first_line
    }

    pub(crate) const fn lines(&self) -> &Lines<R> {
        &self.lines
    }

    /// Passes over everything before byte `to`; false if the source ends before.
    pub(crate) fn skip_to(&mut self, to: u64) -> io::Result<bool> {
        self.lines.skip_to(to)
    }

    /// Whether everything that was read belongs to rows that were given out.
    pub(crate) fn at_boundary(&self) -> bool {
        self.ahead.is_empty()
    }

    fn next_line(&mut self) -> io::Result<Option<(u64, Option<Vec<u8>>)>> {
        if let Some(line) = self.ahead.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Vec::new();
        Ok(match self.lines.read(&mut line)? {
            Line::End => None,
            Line::Whole => Some((self.lines.number(), Some(line))),
            Line::TooLong => Some((self.lines.number(), None)),
        })
    }

    /// Reads the first row and finds out what separates its cells: ',', ';' or a tab, whichever parts it most.
    pub(crate) fn header(&mut self) -> io::Result<Row> {
        let Some((number, line)) = self.next_line()? else { return Ok(Row::End) };
        if let Some(line) = &line {
            let count = |d: u8| line.iter().filter(|b| **b == d).count();
            // The last of equals: a comma.
            let best = [b'\t', b';', b','].into_iter().max_by_key(|d| count(*d));
            self.delimiter = best.unwrap_or(b',');
            self.splitter = Splitter::new(self.delimiter);
        }
        self.ahead.push_front((number, line));
        self.read()
    }

    pub(crate) fn read(&mut self) -> io::Result<Row> {
        let Some((number, line)) = self.next_line()? else { return Ok(Row::End) };
        self.first_line = number;
        let Some(mut row) = line else { return Ok(Row::TooLong) };
        if row.iter().all(u8::is_ascii_whitespace) {
            return Ok(Row::Blank);
        }
        let mut state = Quoting::Start.over(&row, self.delimiter);
        let mut taken: Vec<(u64, Option<Vec<u8>>)> = Vec::new();
        while state == Quoting::Quoted {
            let next = if taken.len() < ROW_LINES_MAX { self.next_line()? } else { None };
            match next {
                Some((number, Some(line))) if row.len() + 1 + line.len() <= self.max => {
                    state = state.over(&line, self.delimiter);
                    row.push(b'\n');
                    row.extend_from_slice(&line);
                    taken.push((number, Some(line)));
                }
                other => {
                    // The line that opens the quote is bad; what follows is read again as rows.
                    taken.extend(other);
                    for line in taken.into_iter().rev() {
                        self.ahead.push_front(line);
                    }
                    return Ok(Row::OpenQuote);
                }
            }
        }
        row.push(b'\n');
        Ok(self.splitter.cells(&row))
    }
}

/// Parts rows into cells. Kept from row to row: building its tables costs more than reading a row with them.
#[derive(Debug)]
struct Splitter {
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    fn new(delimiter: u8) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // One more than a row may have, to tell that it has more.
        Self { reader, text: Vec::new(), ends: vec![0; ROW_CELLS_MAX + 1] }
    }

    /// Cells of one row, which ends with a line feed.
    fn cells(&mut self, row: &[u8]) -> Row {
        self.reader.reset();
        // Cells are never longer than what they are written as.
        self.text.resize(self.text.len().max(row.len()), 0);
        let (result, _, _, count) = self.reader.read_record(row, &mut self.text, &mut self.ends);
        match result {
            csv_core::ReadRecordResult::Record if count > ROW_CELLS_MAX => Row::TooManyCells,
            csv_core::ReadRecordResult::OutputEndsFull => Row::TooManyCells,
            csv_core::ReadRecordResult::Record => {
                let mut cells = csv::ByteRecord::with_capacity(row.len(), count);
                let mut from = 0;
                for end in self.ends.iter().take(count) {
                    cells.push_field(self.text.get(from..*end).unwrap_or_default());
                    from = *end;
                }
                Row::Cells(cells)
            }
            // The row ends with a line feed and the text has room: only a blank line is no record.
            _ => Row::Blank,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, String)> {
        let mut rows = Rows::new(Lines::new(text, 1 << 20), 1 << 20);
        let mut row = rows.header().unwrap();
        let mut out = Vec::new();
        loop {
            let shown = match row {
                Row::End => return out,
                Row::Cells(record) => record.iter().map(|c| String::from_utf8_lossy(c)).collect::<Vec<_>>().join("|"),
                other => format!("{other:?}"),
            };
            out.push((rows.line(), shown));
            row = rows.read().unwrap();
        }
    }

    fn show(text: &str) -> Vec<(u64, String)> {
        all(text.as_bytes())
    }

    #[test]
    fn quoted_values_hold_commas_quotes_and_lines() {
        let got = show("a,b\n\"1,\"\"x\"\"\",2\n\"two\nlines\",3\n5\" pipe,4\n");
        let want = [(1, "a|b"), (2, "1,\"x\"|2"), (3, "two\nlines|3"), (5, "5\" pipe|4")];
        assert_eq!(got, want.map(|(n, t)| (n, t.to_owned())));
    }

    #[test]
    fn an_open_quote_costs_one_line() {
        let mut text = String::from("a,b\n\"open,2\n");
        for i in 0..300 {
            text.push_str(&format!("{i},x\n"));
        }
        let got = show(&text);
        assert_eq!(got[1], (2, "OpenQuote".to_owned()));
        assert_eq!(got[2], (3, "0|x".to_owned()));
        assert_eq!(got.len(), 302);
        assert_eq!(show("a\n\"open"), [(1, "a".to_owned()), (2, "OpenQuote".to_owned())]);
    }

    #[test]
    fn spanish_spreadsheets_separate_with_semicolons() {
        assert_eq!(show("a;b\n1,5;2\n")[1], (2, "1,5|2".to_owned()));
        assert_eq!(show("a\tb\n1\t2\n")[1], (2, "1|2".to_owned()));
    }
}
