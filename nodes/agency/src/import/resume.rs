//! Which batches of a file are in already.

use std::fmt;
use std::io::BufRead as _;
use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use puente_catalogue::{Catalogue, RecordType};
use puente_model::{Digest, Label, digest};

use super::source::Source;
use super::stage::{Folder, Head};
use super::text::Encoding;
use super::{Format, ImportError, Options};

const IMPORT: Label = Label("puente/v1/import");

/// Stands for everything that decides what the rows of a file become: the same rows under the same id are the same
/// records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportId(Digest);

impl ImportId {
    /// Of an import with these decisions.
    pub fn new(catalogue: &Catalogue, record_type: &RecordType, options: &Options, encoding: Encoding) -> Self {
        let format: &[u8] = match options.format {
            Format::Csv => b"csv",
            Format::JsonLines => b"jsonl",
        };
        let profile = options.profile.as_ref().map(|p| p.digest()).unwrap_or_default();
        let catalogue = catalogue.digest();
        let mut parts: Vec<&[u8]> = vec![
            env!("CARGO_PKG_VERSION").as_bytes(),
            &catalogue.0,
            record_type.name().as_bytes(),
            format,
            encoding.name().as_bytes(),
            &profile.0,
        ];
        parts.extend(options.overrides.iter().flat_map(|(column, reason)| [column.as_bytes(), reason.as_bytes()]));
        Self(digest(IMPORT, &parts))
    }
}

impl fmt::Display for ImportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The batches of this file that are in or staged, from its beginning on and without gaps, each with its path. Standard
/// input cannot be read twice: none.
///
/// # Errors
/// File or folder cannot be read.
pub fn done(
    folder: &Folder,
    source: &Source,
    id: ImportId,
    encoding: Option<Encoding>,
    options: &Options,
) -> Result<Vec<(PathBuf, Head)>, ImportError> {
    if *source == Source::Stdin {
        return Ok(Vec::new());
    }
    let id = id.to_string();
    let mut known = folder.heads()?;
    known.retain(|(_, head)| head.part.as_ref().is_some_and(|part| part.import == id));
    if known.is_empty() {
        return Ok(known);
    }
    let to = |head: &Head| head.part.as_ref().map_or(0, |part| part.to);
    known.sort_by_key(|(_, head)| to(head));
    let mut bytes = source.open(encoding, options.lang)?;
    let (mut at, mut hash) = (0, Context::new(&SHA256));
    let mut same = Vec::new();
    // One pass over the file: which of these begin as it does.
    'batches: for (path, head) in known {
        let Some(part) = &head.part else { continue };
        while at < part.to {
            let found = bytes.fill_buf().map_err(ImportError::Read)?;
            let left = usize::try_from(part.to - at).unwrap_or(usize::MAX);
            let used = found.len().min(left);
            if used == 0 {
                break 'batches;
            }
            hash.update(found.get(..used).unwrap_or_default());
            bytes.consume(used);
            at += used as u64;
        }
        if hex::encode(hash.clone().finish()) == part.digest {
            same.push((path, head));
        }
    }
    // A batch that a later import cut elsewhere may lie across another: the chain takes the one that goes on.
    let mut chain: Vec<(PathBuf, Head)> = Vec::new();
    let mut end = 0;
    loop {
        let next = same.iter().rposition(|(_, head)| head.part.as_ref().is_some_and(|p| p.from == end && p.to > end));
        let Some(next) = next else { return Ok(chain) };
        let found = same.remove(next);
        end = to(&found.1);
        chain.push(found);
    }
}
