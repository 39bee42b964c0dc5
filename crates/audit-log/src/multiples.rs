//! Many signatures of one key: its multiples are computed once, and each signature costs half as much.

use std::fmt;
use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::{Digest as _, Sha512};

/// Multiples of a point in a row: by 1 to 128.
const ROW: usize = 128;
/// Digits of a scalar to the base 256.
const DIGITS: usize = 32;

/// A point by every digit at every place: 640 KiB.
struct Table(Vec<EdwardsPoint>);

impl Table {
    fn of(point: EdwardsPoint) -> Self {
        let mut multiples = Vec::with_capacity(DIGITS * ROW);
        let mut unit = point;
        for _ in 0..DIGITS {
            let mut multiple = unit;
            for _ in 1..ROW {
                multiples.push(multiple);
                multiple += unit;
            }
            multiples.push(multiple);
            unit = multiple + multiple;
        }
        Self(multiples)
    }

    /// Adds the point by a scalar to `sum`. The time tells what the scalar is: for public ones only.
    fn add_by(&self, scalar: &Scalar, sum: &mut EdwardsPoint) {
        let mut carry = 0;
        for (row, byte) in self.0.chunks_exact(ROW).zip(scalar.as_bytes()) {
            // A digit above 128 is one of the next place, less the rest: scalars are below 2^253, and nothing is carried out.
            let digit = usize::from(*byte) + carry;
            carry = usize::from(digit > ROW);
            let multiple = |by: usize| by.checked_sub(1).and_then(|at| row.get(at));
            if carry == 0 {
                if let Some(point) = multiple(digit) {
                    *sum += point;
                }
            } else if let Some(point) = multiple(2 * ROW - digit) {
                *sum -= point;
            }
        }
    }
}

static BASE: LazyLock<Table> = LazyLock::new(|| Table::of(ED25519_BASEPOINT_POINT));

/// A key's multiples, for verifying many of its signatures.
pub(crate) struct Multiples {
    public: [u8; 32],
    /// Of the key's negative.
    negative: Table,
}

impl Multiples {
    /// The multiples of a public key, if it is a point: 640 KiB, and the time of thirty verifications.
    pub(crate) fn of(public: &[u8; 32]) -> Option<Self> {
        let point = CompressedEdwardsY(*public).decompress()?;
        Some(Self { public: *public, negative: Table::of(-point) })
    }

    /// RFC 8032 without the cofactor: `S` is canonical, and `S·B − k·A`, computed for each signature alone, has the very
    /// bytes of `R`. This is what `ed25519_dalek::VerifyingKey::verify` computes, the additions in another order; batches
    /// would let some signatures pass that are refused one by one.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let (r, s) = signature.split_at(32);
        let Some(s) = s.try_into().ok().and_then(|s| Option::<Scalar>::from(Scalar::from_canonical_bytes(s))) else {
            return false;
        };
        let k = Sha512::new().chain_update(r).chain_update(self.public).chain_update(message).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&k.into());
        let mut sum = EdwardsPoint::identity();
        self.negative.add_by(&k, &mut sum);
        BASE.add_by(&s, &mut sum);
        sum.compress().as_bytes() == r
    }
}

impl fmt::Debug for Multiples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Multiples")
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
    use puente_model::{Digest, Secret32, TreeSize};

    use super::*;
    use crate::checkpoint::{Checkpoint, CheckpointError, ClaimedCheckpoint};
    use crate::key::{Ed25519Signer, KeyKind, Signer as _};
    use crate::note::NoteError;

    /// Both ways of verifying agree; what they say.
    fn verdict(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let quick = Multiples::of(key.as_bytes()).unwrap().accepts(message, signature);
        assert_eq!(quick, key.verify(message, &Signature::from_bytes(signature)).is_ok(), "{signature:?}");
        quick
    }

    fn scalar(seed: &[u8]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&Sha512::digest(seed).into())
    }

    fn challenge(r: &[u8; 32], public: &[u8; 32], message: &[u8]) -> Scalar {
        let k = Sha512::new().chain_update(r).chain_update(public).chain_update(message).finalize();
        Scalar::from_bytes_mod_order_wide(&k.into())
    }

    #[test]
    fn a_key_for_many_is_the_same_key() {
        let signer = Ed25519Signer::new("mx.example/log1", KeyKind::Ed25519, &Secret32::new([5; 32])).unwrap();
        let key = signer.verifier().clone().for_many();
        assert_eq!(&key, signer.verifier());
        assert_eq!(key.to_string(), signer.verifier().to_string());
        let head = Checkpoint::new("mx.example/log1", TreeSize(7), Digest::of(b"root")).unwrap().sign(&signer).unwrap();
        let note = head.note_bytes().to_vec();
        assert_eq!(ClaimedCheckpoint::parse(&note).unwrap().verify(&key), Ok(head));
        let forged = String::from_utf8(note).unwrap().replace("\n7\n", "\n8\n");
        let refused = ClaimedCheckpoint::parse(forged.as_bytes()).unwrap().verify(&key);
        assert!(matches!(refused, Err(CheckpointError::Note(NoteError::BadSignature { .. }))), "{refused:?}");
    }

    #[test]
    fn any_multiple_is_the_one_of_the_library() {
        let point = ED25519_BASEPOINT_POINT * scalar(b"point") + EIGHT_TORSION[1];
        let table = Table::of(point);
        let largest = Scalar::ZERO - Scalar::ONE;
        let few = (0..600_u64).map(Scalar::from);
        for scalar in few.chain((0..200_u32).map(|n| scalar(&n.to_be_bytes()))).chain([largest]) {
            let mut sum = EdwardsPoint::identity();
            table.add_by(&scalar, &mut sum);
            // Even with a part of small order: the scalar counts as the number that it is.
            assert_eq!(sum, point * scalar);
        }
    }

    #[test]
    fn a_signature_is_good_as_it_stands_and_in_no_other_form() {
        let signer = SigningKey::from_bytes(&[5; 32]);
        let key = signer.verifying_key();
        let good = signer.sign(b"head").to_bytes();
        assert!(verdict(&key, b"head", &good));
        assert!(!verdict(&key, b"heads", &good));
        for bit in 0..512 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verdict(&key, b"head", &bad), "bit {bit}");
        }
        // S and the group's order: the same number, in another form.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut bad = good;
        let mut carry = 0;
        for (byte, more) in bad[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!verdict(&key, b"head", &bad));
    }

    /// Signatures made by who holds the key so that some verifiers take them and others do not.
    #[test]
    fn parts_of_small_order_are_judged_as_one_by_one() {
        let (private, nonce) = (scalar(b"private"), scalar(b"nonce"));
        let (mut taken, mut refused) = (0, 0);
        for torsion in EIGHT_TORSION {
            for (in_key, in_r) in [(true, false), (false, true), (true, true)] {
                let part = |with: bool| if with { torsion } else { EdwardsPoint::identity() };
                let public = (ED25519_BASEPOINT_POINT * private + part(in_key)).compress();
                let key = VerifyingKey::from_bytes(public.as_bytes()).unwrap();
                let r = (ED25519_BASEPOINT_POINT * nonce + part(in_r)).compress();
                for n in 0..16_u32 {
                    let message = n.to_be_bytes();
                    let s = nonce + challenge(r.as_bytes(), public.as_bytes(), &message) * private;
                    let signature = [*r.as_bytes(), s.to_bytes()].concat().try_into().unwrap();
                    match verdict(&key, &message, &signature) {
                        true => taken += 1,
                        false => refused += 1,
                    }
                }
            }
        }
        assert!(taken > 0 && refused > 0, "{taken} {refused}");
        // The neutral point as R, in its own form and in another one.
        let signer = SigningKey::from_bytes(&[5; 32]);
        let key = signer.verifying_key();
        let mut other = [0xff; 32];
        (other[0], other[31]) = (0xee, 0x7f);
        for (r, good) in [(EdwardsPoint::identity().compress().0, true), (other, false)] {
            let s = challenge(&r, key.as_bytes(), b"head") * signer.to_scalar();
            assert_eq!(verdict(&key, b"head", &[r, s.to_bytes()].concat().try_into().unwrap()), good);
        }
    }
}
