//! Where a start begins its replay, as the evidence store keeps it.

use puente_audit_log::LogFile;

use super::codec::{CodecError, Fields, put_bytes, put_u64};

/// Where the next start begins its replay: everything up to `position` is in the derived files, durably.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) position: u64,
    pub(crate) asides_len: u64,
    /// The head at that position; empty before the first.
    pub(crate) checkpoint: Vec<u8>,
    /// The right edge: partial tiles and bundle, by path.
    pub(crate) edge: Vec<(String, Vec<u8>)>,
}

impl Base {
    pub(crate) fn new(position: u64, asides_len: u64, checkpoint: Vec<u8>, files: &[LogFile]) -> Self {
        let edge = files.iter().map(|file| (file.path.to_string(), file.bytes.clone())).collect();
        Self { position, asides_len, checkpoint, edge }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, self.position);
        put_u64(&mut out, self.asides_len);
        put_bytes(&mut out, &self.checkpoint);
        put_u64(&mut out, self.edge.len() as u64);
        for (path, bytes) in &self.edge {
            put_bytes(&mut out, path.as_bytes());
            put_bytes(&mut out, bytes);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields(bytes);
        let (position, asides_len) = (fields.u64()?, fields.u64()?);
        let checkpoint = fields.bytes()?.to_vec();
        let mut edge = Vec::new();
        for _ in 0..fields.u64()? {
            let path = String::from_utf8(fields.bytes()?.to_vec()).map_err(|_| CodecError)?;
            edge.push((path, fields.bytes()?.to_vec()));
        }
        fields.end()?;
        Ok(Self { position, asides_len, checkpoint, edge })
    }
}
