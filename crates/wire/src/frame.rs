//! Length-delimited frames on a stream.

use prost::Message;
use puente_model::{Digest, limits};

use crate::codec::bounded;
use crate::scan::Repeated;
use crate::{WireError, proto};

/// A frame with its length prefix, as it goes on the stream.
///
/// # Errors
/// [`WireError::TooLarge`] over 1 MiB: the sender's own mistake, found before it is sent.
pub fn encode_frame(frame: &proto::Frame) -> Result<Vec<u8>, WireError> {
    let bytes = frame.encoded_len();
    if bytes > limits::FRAME_BYTES_MAX {
        return Err(WireError::TooLarge { what: "frame", bytes, max: limits::FRAME_BYTES_MAX });
    }
    let mut out = Vec::with_capacity(4 + bytes);
    out.extend_from_slice(&(bytes as u32).to_be_bytes());
    frame.encode_raw(&mut out);
    Ok(out)
}

/// The repeated fields of frames: Ready's charter vector and parts, a part's signatures, Have's missing numbers. With these bounded, and all else
/// byte strings that are copied once, a decoded frame holds at most four times its bytes and 64 KiB.
pub(crate) const REPEATED: &[Repeated] = &[
    Repeated { path: &[1, 3, 2], packed: false, max: limits::NATIONS_MAX, name: "charter annexes" },
    // The common part, and one annex of each nation.
    Repeated { path: &[1, 9], packed: false, max: limits::NATIONS_MAX + 1, name: "charter parts" },
    Repeated { path: &[15, 3], packed: false, max: limits::PART_SIGNATURES_MAX, name: "signatures" },
    Repeated { path: &[10, 4], packed: true, max: limits::HOLES_PER_PERIOD_MAX, name: "missing numbers" },
];

/// Decodes one frame without its length prefix.
///
/// # Errors
/// Over 1 MiB, not a `Frame`, a frame without a body, or with more list elements than any honest one.
pub fn decode_frame(bytes: &[u8]) -> Result<proto::frame::Body, WireError> {
    if bytes.len() > limits::FRAME_BYTES_MAX {
        return Err(WireError::TooLarge { what: "frame", bytes: bytes.len(), max: limits::FRAME_BYTES_MAX });
    }
    bounded(bytes, REPEATED)?;
    let frame = proto::Frame::decode(bytes).map_err(|_| WireError::Undecodable("Frame"))?;
    frame.body.ok_or(WireError::Field("body"))
}

/// Collects stream bytes into frames; holds at most one frame and never trusts a length for its allocation.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, without its prefix.
    ///
    /// # Errors
    /// A prefix over the frame limit: the stream is to be closed.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > limits::FRAME_BYTES_MAX {
            return Err(WireError::TooLarge { what: "frame", bytes: length, max: limits::FRAME_BYTES_MAX });
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(4 + length);
        let mut frame = std::mem::replace(&mut self.bytes, rest);
        frame.drain(..4);
        Ok(Some(frame))
    }

    /// Bytes held that are not yet a whole frame.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }
}

/// Splits concatenated 32-byte hashes; at most [`limits::PROOF_HASHES_MAX`] of them.
pub fn split_hashes(bytes: &[u8]) -> Result<Vec<Digest>, WireError> {
    if !bytes.len().is_multiple_of(32) || bytes.len() / 32 > limits::PROOF_HASHES_MAX {
        return Err(WireError::Field("proof"));
    }
    bytes.chunks_exact(32).map(|c| Digest::try_from(c).map_err(WireError::from)).collect()
}

/// Concatenates hashes.
pub fn join_hashes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}
