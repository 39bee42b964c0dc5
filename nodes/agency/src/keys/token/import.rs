//! Bringing a key that was made outside into a token.

use cryptoki::error::Error;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::Session;
use zeroize::Zeroizing;

/// Curve parameters as modules want them: by name (PKCS#11 3.0), or by object identifier (RFC 8410).
const EDWARDS: [&[u8]; 2] = [b"\x13\x0cedwards25519", b"\x06\x03\x2b\x65\x70"];
/// Object identifier of P-256.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

/// A private key on its way into the token.
pub(crate) enum Private {
    /// Seed and public key.
    Ed25519 { seed: Zeroizing<Vec<u8>>, public: Vec<u8> },
    /// Scalar and uncompressed point.
    P256 { scalar: Zeroizing<Vec<u8>>, public: Vec<u8> },
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private(..)")
    }
}

/// Creates both halves; false if the label is taken.
pub(super) fn import(session: &Session, label: &str, private: &Private) -> Result<bool, Error> {
    let name = Attribute::Label(label.as_bytes().to_vec());
    if !session.find_objects(std::slice::from_ref(&name))?.is_empty() {
        return Ok(false);
    }
    let (kind, secret, public, curves): (_, _, _, &[&[u8]]) = match private {
        Private::Ed25519 { seed, public } => (KeyType::EC_EDWARDS, seed, public, &EDWARDS),
        Private::P256 { scalar, public } => (KeyType::EC, scalar, public, &[P256]),
    };
    let mut last = None;
    for curve in curves {
        match create(session, &name, kind, secret, public, curve) {
            Ok(()) => return Ok(true),
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(true), Err)
}

fn create(
    session: &Session,
    name: &Attribute,
    kind: KeyType,
    secret: &[u8],
    public: &[u8],
    curve: &[u8],
) -> Result<(), Error> {
    let id = Attribute::Id(puente_model::Digest::of(public).0[..16].to_vec());
    let common =
        [Attribute::KeyType(kind), Attribute::Token(true), Attribute::EcParams(curve.to_vec()), name.clone(), id];
    let mut hidden = common.to_vec();
    hidden.extend([
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Value(secret.to_vec()),
    ]);
    let made = session.create_object(&hidden);
    if let Some(Attribute::Value(copy)) = hidden.last_mut() {
        zeroize::Zeroize::zeroize(copy);
    }
    let made = made?;
    // In an OCTET STRING of DER, as PKCS#11 has it.
    let length = u8::try_from(public.len()).unwrap_or_default();
    let point = [&[4, length], public].concat();
    let mut shown = common.to_vec();
    shown.extend([
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcPoint(point),
    ]);
    if let Err(error) = session.create_object(&shown) {
        // Half a key is none.
        let _ = session.destroy_object(made);
        return Err(error);
    }
    Ok(())
}
