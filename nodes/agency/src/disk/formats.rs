//! Which formats a node's files have, read from their first bytes: no key is needed, nothing is changed or locked.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{evidence, segment};
use crate::import::stage;

/// The length of SQLite's file header, and where its `user_version` stands in it.
const SQLITE_HEADER: usize = 100;
const SQLITE_USER_VERSION: usize = 60;
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What a file's format is to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A version that it reads.
    Read(u32),
    /// A version that it does not read.
    Other(u32),
    /// No such file: it will be made.
    Absent,
    /// Not a file of the kind.
    Foreign,
    /// It could not be looked at, for this reason.
    Unreachable(String),
}

/// One file, or all files of one kind that have one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it holds: `journal`, `evidence`, `records`, `training`, `import`.
    pub what: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What was found.
    pub format: Format,
    /// The version that this program reads and writes.
    pub reads: u32,
}

/// The formats of a node's own files: every journal segment, the evidence store, the records if they are in the
/// node's folder, those of training, and every batch that is staged in one of the folders `imports`.
///
/// # Errors
/// A file cannot be read.
pub fn formats(
    journal: &Path,
    evidence: &Path,
    records: Option<&Path>,
    training: &Path,
    imports: &[PathBuf],
) -> io::Result<Vec<Found>> {
    let mut out = Vec::new();
    let mut segments = files_of(journal)?;
    segments.retain(|path| path.file_name().and_then(|name| name.to_str()).and_then(segment::parse_name).is_some());
    segments.sort();
    for path in segments {
        let mut head = [0; 12];
        let whole = begin(&path, &mut head)?;
        let format = match segment::version(&head).filter(|_| whole == Some(true)) {
            Some(version) if version == segment::VERSION => Format::Read(version),
            Some(version) => Format::Other(version),
            None => Format::Foreign,
        };
        out.push(Found { what: "journal", path, format, reads: segment::VERSION });
    }
    let evidence_version = |head: &[u8; SQLITE_HEADER]| match head.starts_with(SQLITE_MAGIC) {
        true => evidence_version(evidence),
        false => None,
    };
    out.push(store("evidence", evidence, evidence::VERSION, evidence_version)?);
    if let Some(records) = records {
        out.push(store("records", records, crate::records::SQLITE_VERSION, user_version)?);
    }
    // A node without training has none.
    let invented = store("training", training, crate::records::SQLITE_VERSION, user_version)?;
    out.extend(Some(invented).filter(|found| found.format != Format::Absent));
    for folder in imports {
        out.extend(staged(folder)?);
    }
    Ok(out)
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(files) => files.map(|file| file.map(|file| file.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Every batch that is whole and not stored yet: the next start carries it on.
fn staged(folder: &Path) -> io::Result<Vec<Found>> {
    let mut batches = files_of(folder)?;
    batches.retain(|path| path.extension().is_some_and(|ending| ending == "staged" || ending == "collected"));
    batches.sort();
    let mut out = Vec::new();
    for path in batches {
        let mut head = [0; 8];
        let whole = begin(&path, &mut head)?;
        let format = match stage::format_version(&head).filter(|_| whole == Some(true)) {
            Some(version) if version == stage::FORMAT => Format::Read(version),
            Some(version) => Format::Other(version),
            None => Format::Foreign,
        };
        out.push(Found { what: "import", path, format, reads: stage::FORMAT });
    }
    Ok(out)
}

fn store(
    what: &'static str,
    path: &Path,
    reads: u32,
    version: impl Fn(&[u8; SQLITE_HEADER]) -> Option<u32>,
) -> io::Result<Found> {
    let mut head = [0; SQLITE_HEADER];
    let format = match begin(path, &mut head)? {
        // A database that was just made has no page yet.
        None => Format::Absent,
        Some(false) if head == [0; SQLITE_HEADER] => Format::Absent,
        Some(false) => Format::Foreign,
        Some(true) => match version(&head) {
            Some(version) if version == reads => Format::Read(version),
            Some(version) => Format::Other(version),
            None => Format::Foreign,
        },
    };
    Ok(Found { what, path: path.to_owned(), format, reads })
}

/// SQLite's own field for the version of what a file holds.
fn user_version(head: &[u8; SQLITE_HEADER]) -> Option<u32> {
    let at = SQLITE_USER_VERSION;
    let version = [head[at], head[at + 1], head[at + 2], head[at + 3]];
    head.starts_with(SQLITE_MAGIC).then(|| u32::from_be_bytes(version))
}

/// The version that an evidence store states in its table of such things. The file is read as one that nobody writes: no
/// lock, no file beside it.
fn evidence_version(path: &Path) -> Option<u32> {
    let escaped: String = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).ok()?;
    let found = connection.query_row("SELECT value FROM meta WHERE name = 'version'", [], |row| row.get(0));
    let value: Vec<u8> = found.ok()?;
    value.try_into().ok().map(u32::from_be_bytes)
}

/// The first bytes of a file: whether there were as many; none if there is no file.
fn begin(path: &Path, head: &mut [u8]) -> io::Result<Option<bool>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => return Ok(Some(false)),
            read => filled += read,
        }
    }
    Ok(Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_program_writes_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::config::NodeDir::new(dir.path());
        let store = crate::records::SqliteStore::open(&node.records()).unwrap();
        drop(store);
        let keys = crate::disk::seal::Keys::new(&puente_model::Secret32::new([3; 32]));
        drop(evidence::EvidenceWriter::open(&crate::disk::RealDisk, &node.evidence(), &keys).unwrap());
        let found =
            formats(&node.journal(), &node.evidence(), Some(&node.records()), &node.training().records(), &[]).unwrap();
        let formats: Vec<_> = found.iter().map(|found| found.format.clone()).collect();
        assert_eq!(formats, [Format::Read(evidence::VERSION), Format::Read(crate::records::SQLITE_VERSION)]);
    }

    #[test]
    fn versions_are_read_from_the_first_bytes_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let imports = [at("imports")];
        let look = || {
            formats(&at("journal"), &at("evidence.db"), Some(&at("records.db")), &at("training.db"), &imports).unwrap()
        };
        let kinds = |found: &[Found]| found.iter().map(|f| (f.what, f.format.clone())).collect::<Vec<_>>();
        assert_eq!(kinds(&look()), [("evidence", Format::Absent), ("records", Format::Absent)]);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is made");

        std::fs::create_dir(at("journal")).unwrap();
        let segment = |version: u32| [&b"PUENTEJ\x01"[..], &version.to_be_bytes(), &[0; 116]].concat();
        std::fs::write(at("journal/00000000000000000001.wal"), segment(1)).unwrap();
        std::fs::write(at("journal/00000000000000000009.wal"), segment(2)).unwrap();
        std::fs::write(at("journal/00000000000000000010.wal"), b"PUENTE").unwrap();
        std::fs::write(at("journal/notes.txt"), b"not a segment").unwrap();
        let connection = rusqlite::Connection::open(at("evidence.db")).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE meta (name TEXT, value BLOB); INSERT INTO meta VALUES ('version', x'00000007')",
            )
            .unwrap();
        drop(connection);
        let connection = rusqlite::Connection::open(at("records.db")).unwrap();
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let expected = [
            ("journal", Format::Read(1)),
            ("journal", Format::Other(2)),
            ("journal", Format::Foreign),
            ("evidence", Format::Other(7)),
            ("records", Format::Read(1)),
        ];
        assert_eq!(kinds(&look()), expected);
        std::fs::write(at("records.db"), b"a text of somebody else's that is long enough").unwrap();
        assert_eq!(look().last().unwrap().format, Format::Foreign);

        // Batches on their way in; what an import that died left half written says nothing to anybody.
        std::fs::create_dir(at("imports")).unwrap();
        for (name, head) in [
            ("a.staged", &b"puenteI2 and so on"[..]),
            ("b.collected", b"puenteI9 and so on"),
            ("c.staged", b"other"),
            ("d.part", b"puenteI9"),
        ] {
            std::fs::write(at("imports").join(name), head).unwrap();
        }
        let batches: Vec<_> = kinds(&look()).into_iter().filter(|(what, _)| *what == "import").collect();
        let expected = [Format::Read(2), Format::Other(9), Format::Foreign].map(|format| ("import", format));
        assert_eq!(batches, expected);
    }
}
