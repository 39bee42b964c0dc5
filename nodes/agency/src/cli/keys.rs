//! Private keys in files, and their public halves in the forms that the charter wants.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_charter::quarter_of;
use puente_evidence::HpkeKeyPair;
use puente_model::{Origin, Secret32};
use serde_json::json;

use super::Context;
use super::args::KeyUse;
use super::output::{Failure, Report};
use crate::files;

/// `puente charter keygen`.
pub(super) fn generate(context: &Context, name: &str, kind: KeyUse, out: &Path) -> Result<Report, Failure> {
    let secret = files::fresh_secret().map_err(|error| Failure::unavailable("random", error.to_string()))?;
    let (public, stanza) = match kind {
        KeyUse::Governance => {
            slug(name)?;
            let public = STANDARD.encode(signing_key(&secret).verifying_key().as_bytes());
            let stanza = format!("[[jurisdiction.governance_key]]\nname = \"{name}\"\nkey = \"{public}\"\n");
            (public, stanza)
        }
        KeyUse::Log => {
            let origin: Origin =
                name.parse().map_err(|error: puente_model::NameError| Failure::usage("name", error.to_string()))?;
            let public = vkey(&origin, &secret)?;
            let stanza = format!("origin = \"{origin}\"\nvkey = \"{public}\"\n");
            (public, stanza)
        }
        KeyUse::Seal => {
            slug(name)?;
            let pair = HpkeKeyPair::from_private(secret.clone())
                .map_err(|error| Failure::unavailable("key", error.to_string()))?;
            let public = STANDARD.encode(pair.public());
            let quarter = quarter_of(context.now);
            let stanza = format!("[[auditor.seal_keys]]\nquarter = \"{quarter}\"\nkey = \"{public}\"\n");
            (public, stanza)
        }
    };
    if let Some(parent) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
        files::make_private_dir(parent).map_err(|error| Failure::file(parent, &error))?;
    }
    files::create_secret(out, &secret).map_err(|error| Failure::file(out, &error))?;
    let kind = match kind {
        KeyUse::Governance => "governance",
        KeyUse::Log => "log",
        KeyUse::Seal => "seal",
    };
    let value = json!({"name": name, "kind": kind, "public": public, "file": out.display().to_string()});
    Ok(Report::new(value, stanza).note(format!("wrote the private key to {}: keep it secret", out.display())))
}

pub(super) fn slug(name: &str) -> Result<(), Failure> {
    let ok = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    let error = || {
        Failure::usage("name", "a key's name has lower-case letters, digits and hyphens, at most 64")
            .hint("for example --name mx-gov-1")
    };
    ok.then_some(()).ok_or_else(error)
}

/// The Ed25519 key of a seed.
pub(super) fn signing_key(seed: &Secret32) -> SigningKey {
    SigningKey::from_bytes(seed.expose())
}

/// The C2SP verifier key of a log's seed.
pub(crate) fn vkey(origin: &Origin, seed: &Secret32) -> Result<String, Failure> {
    let signer = Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, seed)
        .map_err(|error| Failure::unavailable("key", error.to_string()))?;
    Ok(signer.verifier().to_string())
}

/// Reads a private key that this program wrote.
pub(super) fn read(path: &Path) -> Result<Secret32, Failure> {
    files::read_secret(path).map_err(|error| {
        let failure = Failure::file(path, &error);
        match error.kind() {
            std::io::ErrorKind::InvalidData => Failure { exit: super::Exit::Usage, code: "key", ..failure }
                .hint("make one with 'puente charter keygen'"),
            _ => failure,
        }
    })
}
