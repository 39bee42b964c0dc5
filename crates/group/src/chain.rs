//! A leaf's certificates inside an MLS credential (RFC 9420 §5.3): `Certificate cert_data<V>`, one after another.

use openmls::prelude::{Credential, CredentialType};

use crate::leaf::LeafError;
use crate::limits::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};

/// Longest length that this encoding of lengths can say in two bytes.
const TWO_BYTES: usize = 1 << 14;

/// DER certificates, a node's own first, without the root: within the limits, otherwise unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain(Vec<Vec<u8>>);

impl Chain {
    pub(crate) fn new(certificates: Vec<Vec<u8>>) -> Result<Self, LeafError> {
        let bytes: usize = certificates.iter().map(|c| c.len() + 2).sum();
        if certificates.is_empty() || certificates.iter().any(Vec::is_empty) {
            return Err(LeafError::NoChain);
        }
        if certificates.len() > CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(LeafError::ChainTooLarge);
        }
        Ok(Self(certificates))
    }

    pub(crate) fn of(credential: &Credential) -> Result<Self, LeafError> {
        if credential.credential_type() != CredentialType::X509 {
            return Err(LeafError::NotX509);
        }
        let mut bytes = credential.serialized_content();
        if bytes.len() > CHAIN_BYTES_MAX {
            return Err(LeafError::ChainTooLarge);
        }
        let mut certificates = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = length(bytes).ok_or(LeafError::NoChain)?;
            let (certificate, rest) = rest.split_at_checked(length).ok_or(LeafError::NoChain)?;
            certificates.push(certificate.to_vec());
            bytes = rest;
        }
        Self::new(certificates)
    }

    /// The node's own certificate.
    pub(crate) fn own(&self) -> &[u8] {
        self.0.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// Those between it and the root.
    pub(crate) fn others(&self) -> &[Vec<u8>] {
        self.0.get(1..).unwrap_or_default()
    }

    pub(crate) fn credential(&self) -> Credential {
        let mut bytes = Vec::new();
        for certificate in &self.0 {
            let length = certificate.len();
            // Lengths are below CHAIN_BYTES_MAX, so one or two bytes say them.
            match u8::try_from(length) {
                Ok(short) if short < 64 => bytes.push(short),
                _ => bytes.extend_from_slice(&(0x4000 | u16::try_from(length).unwrap_or_default()).to_be_bytes()),
            }
            bytes.extend_from_slice(certificate);
        }
        Credential::new(CredentialType::X509, bytes)
    }
}

const _: () = assert!(CHAIN_BYTES_MAX < TWO_BYTES);

/// A length as QUIC and MLS write it, shortest form only, and what follows; longer than two bytes is over every limit.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [first, rest @ ..] if *first < 64 => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] if *first < 128 => {
            let value = usize::from(u16::from_be_bytes([first & 0x3f, *second]));
            (value >= 64).then_some((value, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_as_it_was_written() {
        for sizes in [vec![1], vec![63, 64], vec![700, 900, 20, 5_000]] {
            let chain = Chain::new(sizes.iter().map(|n| vec![7; *n]).collect()).unwrap();
            assert_eq!(Chain::of(&chain.credential()), Ok(chain));
        }
    }

    #[test]
    fn both_sides_of_every_limit() {
        let whole = |n: usize, size: usize| Chain::new(vec![vec![1; size]; n]);
        assert!(whole(CHAIN_CERTIFICATES_MAX, 100).is_ok());
        assert_eq!(whole(CHAIN_CERTIFICATES_MAX + 1, 100), Err(LeafError::ChainTooLarge));
        assert!(whole(1, CHAIN_BYTES_MAX - 2).is_ok());
        assert_eq!(whole(1, CHAIN_BYTES_MAX - 1), Err(LeafError::ChainTooLarge));
        assert_eq!(Chain::new(vec![]), Err(LeafError::NoChain));
        assert_eq!(Chain::new(vec![vec![1], vec![]]), Err(LeafError::NoChain));
    }

    #[test]
    fn what_is_no_chain_is_named() {
        let read = |bytes: &[u8]| Chain::of(&Credential::new(CredentialType::X509, bytes.to_vec()));
        for bytes in [&[][..], &[5, 1], &[0], &[0x40, 5, 1, 2, 3, 4, 5], &[0x40], &[0x80, 0, 0, 1, 9], &[1, 9, 7]] {
            assert_eq!(read(bytes), Err(LeafError::NoChain), "{bytes:?}");
        }
        assert_eq!(read(&[1; CHAIN_BYTES_MAX + 1]), Err(LeafError::ChainTooLarge));
        assert_eq!(Chain::of(&Credential::new(CredentialType::Basic, vec![1, 9])), Err(LeafError::NotX509));
    }
}
