//! Entry bundles (C2SP tlog-tiles): each entry after its length as 16 bits, big-endian.

use puente_model::limits::ENTRY_BYTES_MAX;

/// Why a bundle or an entry was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The entry does not fit a bundle.
    #[error("the entry has {found} bytes; a log entry has at most {ENTRY_BYTES_MAX}")]
    EntryTooLong {
        /// Bytes found.
        found: usize,
    },
    /// The bytes end inside an entry or its length.
    #[error("the bundle ends inside entry {at}")]
    Truncated {
        /// Position of the entry in the bundle, from 0.
        at: usize,
    },
    /// Fewer entries than the bundle's name says.
    #[error("the bundle has {found} entries; its name says {expected}")]
    TooFew {
        /// Entries found.
        found: usize,
        /// Entries that its name states.
        expected: usize,
    },
    /// Bytes after the last entry that the bundle's name states.
    #[error("the bundle has more entries than its name says ({expected})")]
    TooMany {
        /// Entries that its name states.
        expected: usize,
    },
}

/// Appends one framed entry.
pub(crate) fn frame(out: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let len = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong { found: entry.len() })?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(entry);
    Ok(())
}

/// The file of a bundle of these entries.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    let mut out = Vec::with_capacity(entries.iter().map(|e| e.as_ref().len() + 2).sum());
    entries.iter().try_for_each(|entry| frame(&mut out, entry.as_ref()))?;
    Ok(out)
}

/// Takes the first entry off `bytes`: the entry, and what follows it.
pub(crate) fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// Reads framed entries (a bundle's file, or a journal's batch) one by one.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// Over these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match split_entry(self.rest) {
            Some((entry, rest)) => {
                self.rest = rest;
                self.at += 1;
                Some(Ok(entry))
            }
            None => {
                self.rest = &[];
                Some(Err(BundleError::Truncated { at: self.at }))
            }
        }
    }
}

/// The entries of a bundle's file, which must be exactly `width`.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let expected = usize::from(width);
    let mut out = Vec::with_capacity(expected);
    for entry in Entries::new(bytes) {
        if out.len() == expected {
            return Err(BundleError::TooMany { expected });
        }
        out.push(entry?);
    }
    if out.len() < expected { Err(BundleError::TooFew { found: out.len(), expected }) } else { Ok(out) }
}

/// Where the first `width` entries of framed `bytes` end.
pub(crate) fn prefix_len(bytes: &[u8], width: u16) -> Result<usize, BundleError> {
    let expected = usize::from(width);
    let mut rest = bytes;
    for at in 0..expected {
        if rest.is_empty() {
            return Err(BundleError::TooFew { found: at, expected });
        }
        (_, rest) = split_entry(rest).ok_or(BundleError::Truncated { at })?;
    }
    Ok(bytes.len() - rest.len())
}
