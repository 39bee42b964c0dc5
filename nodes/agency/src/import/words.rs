//! What an import says to people.

pub use puente_catalogue::Lang;
use puente_words::text;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $what:literal; $mend:literal;)+) => {
        /// What is wrong, and what to do about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Words { $($(#[$doc])* $name),+ }

        impl Words {
            const fn english(self) -> (&'static str, &'static str) {
                match self { $(Self::$name => ($what, $mend)),+ }
            }
        }
    };
}

words! {
    /// The operand is a folder.
    Folder: "{0} is a folder"; "name a file";
    /// The mark says another encoding than the person.
    OtherMark: "the file's byte order mark says {0}, --encoding says {1}";
        "leave --encoding out";
    /// Zeros in every other place.
    MarklessUtf16: "the file looks like UTF-16 without a byte order mark";
        "give --encoding utf-16le or utf-16be, or save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')";
    /// Nothing in it.
    Empty: "the file is empty"; "is this the right file?";
    /// The first row cannot be one of names.
    NoHeader: "line {0} is no header line";
        "the first line names the columns";
    /// The header is in another encoding.
    HeaderText: "the header line is not {0}";
        "say how the file is written with --encoding, or save it as UTF-8";
    /// Two columns, one field.
    DuplicateColumn: "the columns '{0}' and '{1}' mean the same field";
        "keep one of them";
    /// A column that nobody knows, with one that is close.
    UnknownColumnNear: "column {0} ('{1}') is no field of {2}";
        "did you mean '{3}'? Rename or remove the column";
    /// A column that nobody knows.
    UnknownColumn: "column {0} ('{1}') is no field of {2}";
        "rename or remove it; the columns are: {3}";
    /// A column that the profile needs.
    MissingColumn: "the profile {0} needs the column '{1}'";
        "the file has: {2}. Is it the table that the profile was made for?";
    /// A column that the profile does not know.
    ExtraColumn: "column {0} ('{1}') is not in the profile {2}";
        "add it to the profile, with 'ignore' if it shall not come in";
    /// More cells than columns.
    ExtraCells: "{0} cells where the header has {1}";
        "quote values that hold the separator";
    /// Far too many.
    TooManyCells: "more than {0} cells"; "is this the right file?";
    /// Too long.
    LongLine: "the line is longer than {0} bytes";
        "is this the right file? Rows end with a line break";
    /// A quote that nobody closes.
    OpenQuote: "a quoted value does not end";
        "close it, or double quotes that belong to the value; a row has at most {0} lines";
    /// No JSON, or not one object.
    Json: "at character {0}: {1}"; "write one object a line";
    /// A byte that stands for nothing, and that Windows-1252 would have.
    LooksLatin: "not {0}: byte 0x{1} at position {2}";
        "it looks like Latin-1 or Windows-1252: give --encoding windows-1252, or save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8')";
    /// A byte that stands for nothing.
    NotText: "not {0}: byte 0x{1} at position {2}";
        "save the file as UTF-8";
    /// UTF-8 in a file that is read as something else.
    LooksUtf8: "the value is UTF-8, the file is read as {0}";
        "give --encoding utf-8, or save the whole file in one encoding";
    /// A zero byte.
    Nul: "a byte of zero at position {0}";
        "the file is damaged or not a table: export it again";
    /// A row equal to an earlier one of this file.
    DuplicateRow: "the same record as line {0}";
        "it goes in once";
    /// A record that is stored or staged already.
    DuplicateRecord: "the same record is in already";
        "it is kept once";
    /// The identity of an earlier row, with other content.
    SameKeyRow: "another record with the same {0} stands in line {1}";
        "both go in: remove the one that is out of date";
    /// The identity of a stored record, with other content.
    SameKeyRecord: "another record with the same {0} is in already";
        "both are kept: remove the one that is out of date";
    /// A value that the profile's conversion does not take.
    Conversion: "the profile expects {0}";
        "mend the value, or the conversion in the profile";
    /// The file is not what it was.
    Changed: "the file changed while it was read";
        "repeat the import when nobody writes to it: it goes on after the batches that are in";
    /// The record could not be read back.
    OwnFault: "{0}"; "tell the makers of this software";
}

impl Words {
    /// What is wrong, and what to do about it.
    pub fn say(self, lang: Lang, parts: &[&str]) -> (String, String) {
        let (what, mend) = self.english();
        (fill(text(lang, what), parts), fill(text(lang, mend), parts))
    }
}

/// `{0}`, `{1}`, … replaced.
pub(crate) fn fill(text: &str, parts: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let at = after.as_bytes().first().map_or(usize::MAX, |b| usize::from(b.wrapping_sub(b'0')));
        match (parts.get(at), after.get(1..2)) {
            (Some(part), Some("}")) => {
                out.push_str(part);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_once() {
        assert_eq!(fill("{0} of {1}, {x} {9} {", &["a", "{0}"]), "a of {0}, {x} {9} {");
    }
}
