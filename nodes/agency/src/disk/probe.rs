//! Looking at the folder without changing it: is what was written still there, and can it be read.

use std::fs;

use puente_audit_log::LogPath;

use super::NodeDisk;
use super::evidence_reader::EvidenceReader;

/// How often a publication may come between before the edge counts as not comparable.
const TRIES: usize = 5;

/// What the published files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// As they were published: so many entries.
    Same(u64),
    /// Nothing is published yet.
    None,
    /// A file is missing, or says something else; which, and how.
    Differs(String),
    /// A publication came between each time.
    Busy,
}

impl NodeDisk {
    /// Compares the log's published edge (partial tiles, bundle, checkpoint) and the journal's newest segment with what
    /// was written there. Blocks.
    pub fn edge(&self) -> Edge {
        let published = || self.0.shared.lock().published.clone();
        for _ in 0..TRIES {
            let Some(before) = published() else { return Edge::None };
            let mut differs = None;
            for file in &before.edge {
                let path = self.0.root.join(file.path.to_string());
                differs = match fs::read(&path) {
                    Ok(bytes) if bytes == file.bytes => None,
                    Ok(_) => Some(format!("{}: not what was written", path.display())),
                    Err(error) => Some(format!("{}: {error}", path.display())),
                };
                if differs.is_some() {
                    break;
                }
            }
            let differs = differs.or_else(|| self.segment_missing());
            if published().is_some_and(|after| after.size == before.size) {
                return differs.map_or(Edge::Same(before.size), Edge::Differs);
            }
        }
        Edge::Busy
    }

    /// The newest published head: a signed note; none before the first.
    pub fn published_head(&self) -> Option<Vec<u8>> {
        let published = self.0.shared.lock().published.clone()?;
        let head = published.edge.iter().find(|file| file.path == LogPath::Checkpoint)?;
        Some(head.bytes.clone())
    }

    /// The journal's newest segment, if it is not where it was made.
    fn segment_missing(&self) -> Option<String> {
        let path = self.0.shared.lock().segments.back().map(|segment| segment.path.clone())?;
        fs::metadata(&path).err().map(|error| format!("{}: {error}", path.display()))
    }

    /// Opens the evidence store anew and opens one value in it. Blocks.
    ///
    /// # Errors
    /// It cannot be read; text for the operator.
    pub fn evidence_answers(&self) -> Result<(), String> {
        let reader = EvidenceReader::open(&self.0.database, &self.0.keys).map_err(|error| error.to_string())?;
        reader.range(&[], None, 1).map(|_| ())
    }
}
