//! Datagrams of QUIC on a byte stream, where UDP is blocked: `u16 length ‖ datagram`.

use crate::WireError;

/// Bytes of one datagram on a byte stream, without its length.
pub const DATAGRAM_BYTES_MAX: usize = 1_472;

/// Writes one datagram with its length behind `out`.
///
/// # Errors
/// Empty, or longer than [`DATAGRAM_BYTES_MAX`]: the sender's own mistake; nothing is written.
pub fn encode_datagram(datagram: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    let length = checked(datagram.len())?;
    out.reserve(2 + datagram.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(datagram);
    Ok(())
}

/// Cuts a byte stream into datagrams; holds what was pushed and not taken yet.
#[derive(Debug, Default)]
pub struct DatagramBuffer {
    bytes: Vec<u8>,
    /// Bytes at the beginning that were taken.
    taken: usize,
}

impl DatagramBuffer {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole datagram.
    ///
    /// # Errors
    /// A length of 0 or over [`DATAGRAM_BYTES_MAX`]: the stream is to be closed.
    pub fn next_datagram(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(checked(u16::from_be_bytes(*prefix).into())?);
        let Some(datagram) = rest.get(..length) else { return Ok(None) };
        self.taken += 2 + length;
        Ok(Some(datagram.to_vec()))
    }

    /// Bytes held that were not taken yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.taken
    }
}

fn checked(bytes: usize) -> Result<u16, WireError> {
    match u16::try_from(bytes) {
        Ok(0) => Err(WireError::Field("length of a datagram")),
        Ok(length) if bytes <= DATAGRAM_BYTES_MAX => Ok(length),
        _ => Err(WireError::TooLarge { what: "datagram", bytes, max: DATAGRAM_BYTES_MAX }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        datagrams.iter().for_each(|datagram| encode_datagram(datagram, &mut out).unwrap());
        out
    }

    #[test]
    fn datagrams_come_whole_however_the_stream_is_cut() {
        let sent = vec![vec![1; 1], vec![2; DATAGRAM_BYTES_MAX], vec![3; 700]];
        let stream = encoded(&sent);
        for piece in [1, 2, 3, 1_000, stream.len()] {
            let (mut buffer, mut got) = (DatagramBuffer::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                buffer.push(bytes);
                while let Some(datagram) = buffer.next_datagram().unwrap() {
                    got.push(datagram);
                }
                assert!(buffer.pending() < 2 + DATAGRAM_BYTES_MAX);
            }
            assert!(got == sent, "pieces of {piece}");
            assert_eq!(buffer.pending(), 0);
        }
    }

    #[test]
    fn lengths_of_nothing_and_too_much_are_refused_on_both_sides() {
        let mut out = Vec::new();
        assert!(encode_datagram(&[], &mut out).is_err());
        assert!(encode_datagram(&[0; DATAGRAM_BYTES_MAX + 1], &mut out).is_err());
        assert!(out.is_empty());
        for prefix in [[0, 0], (DATAGRAM_BYTES_MAX as u16 + 1).to_be_bytes(), [0xff, 0xff]] {
            let mut buffer = DatagramBuffer::default();
            buffer.push(&prefix);
            assert!(buffer.next_datagram().is_err(), "{prefix:?}");
        }
    }
}
