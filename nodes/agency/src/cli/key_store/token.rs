//! `puente keys move --to-token`.

use std::path::Path;

use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use puente_audit_log::Signer as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Movable, MoveArgs, key_failure, name, stopped};
use crate::cli::Context;
use crate::cli::output::{Failure, Report};
use crate::config::NodeConfig;
use crate::keys::{Care, KeyRoom, Kind, Private, Token, TokenError, TokenSigner, Work};
use crate::signer::LogSigner;

/// What the log's key signs so that it is seen to work: no checkpoint reads so.
const TRIAL: &[u8] = b"puente/v1/token-trial";

fn failure(error: &TokenError) -> Failure {
    Failure::unavailable("token", error.to_string()).hint(error.mend())
}

/// Gives the token its PIN, once.
pub(super) fn try_pin(context: &Context) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| crate::cli::load_failure(error.into()))?;
    let room = KeyRoom::open_with(context.vault.clone(), &config.keys, Care::TryOnce).map_err(key_failure)?;
    let Some(token) = room.token() else {
        return Err(Failure::usage("no-token", "[keys] of node.toml names no token")
            .hint("name 'module' and 'token' in [keys] of node.toml"));
    };
    token.ask(Work::LogIn).map_err(|error| failure(&error))?;
    Ok(Report::new(json!({"token": token.name()}), format!("{}\n", token.name())).note("the token takes the PIN"))
}

/// Brings keys in. What is in already, and is the same key, stays as it is: it can be run again.
pub(super) fn bring_in(context: &Context, args: &MoveArgs) -> Result<Report, Failure> {
    stopped(context)?;
    let config = NodeConfig::load(&context.dir).map_err(|error| crate::cli::load_failure(error.into()))?;
    let room = KeyRoom::open(context.vault.clone(), &config.keys).map_err(key_failure)?;
    let labels = [(Movable::Log, config.keys.log_label(config.log)), (Movable::Tls, config.keys.tls_key.clone())];
    let wanted = |which: Movable| args.keys.is_empty() || args.keys.contains(&which);
    let chosen: Vec<_> = labels
        .into_iter()
        .filter(|(which, _)| wanted(*which))
        .filter_map(|(which, label)| Some((which, label?)))
        .collect();
    let (Some(token), false) = (room.token(), chosen.is_empty()) else {
        return Err(Failure::usage("no-token", "[keys] of node.toml names no token and label for this key")
            .hint("name 'module', 'token', and 'log_key' or 'tls_key' in [keys] of node.toml"));
    };
    let mut moved = Vec::new();
    for (which, label) in chosen {
        let path = match which {
            Movable::Log => context.dir.log_key_of(config.log),
            Movable::Tls => context.dir.tls_key(),
        };
        match which {
            Movable::Log => log_key(context, token, &config, &label, &path)?,
            Movable::Tls => tls_key(context, &room, token, &label, &path)?,
        }
        moved.push((label, path));
    }
    if args.delete_files {
        for (_, path) in &moved {
            std::fs::remove_file(path).map_err(|error| Failure::file(path, &error))?;
        }
    }
    let value = json!({"token": token.name(), "deleted": args.delete_files,
        "keys": moved.iter().map(|(label, path)| json!({"label": label, "file": name(path)})).collect::<Vec<_>>()});
    let text: String = moved.iter().map(|(label, path)| format!("{label}  {}\n", name(path))).collect();
    let report = Report::new(value, text).note("the token signs with these keys from the next start on");
    Ok(if args.delete_files {
        report.note("the files are deleted: the keys never leave the token, and nothing undoes this")
    } else {
        report.hint(
            "the files still hold the keys: put them away and delete them here; with them the move is undone by taking \
             the label out of [keys], without them it is not",
        )
    })
}

/// The key is in, whether it was before or is now.
fn import(token: &Token, label: &str, kind: Kind, private: Private, public: &[u8]) -> Result<(), Failure> {
    match token.public(label, kind) {
        Ok(held) if held == public => return Ok(()),
        Ok(_) => {
            return Err(Failure::usage("label-taken", format!("the token holds another key '{label}'"))
                .hint("choose another label in [keys] of node.toml"));
        }
        Err(TokenError::NoKey { .. }) => {}
        Err(error) => return Err(failure(&error)),
    }
    token.ask(Work::Import { label: label.to_owned(), private }).map_err(|error| failure(&error))?;
    match token.public(label, kind) {
        Ok(held) if held == public => Ok(()),
        Ok(_) => Err(Failure::unavailable("token", "the token does not show the key that it was given")),
        Err(error) => Err(failure(&error)),
    }
}

fn log_key(context: &Context, token: &Token, config: &NodeConfig, label: &str, path: &Path) -> Result<(), Failure> {
    let origin = config.origin().map_err(|error| Failure::usage("config", error.to_string()))?;
    let seed = context.vault.secret(path).map_err(|error| Failure::file(path, &error))?;
    let signer =
        LogSigner::new(origin.as_str(), &seed).map_err(|error| Failure::usage("log-key", error.to_string()))?;
    let public = signer.verifier().public().to_vec();
    let private = Private::Ed25519 { seed: Zeroizing::new(seed.expose().to_vec()), public: public.clone() };
    import(token, label, Kind::Ed25519, private, &public)?;
    let held = TokenSigner::new(token.clone(), label.to_owned(), origin.as_str()).map_err(|error| failure(&error))?;
    // Ed25519 gives the same bytes wherever it is computed.
    match held.try_sign(TRIAL) {
        Ok(signature) if signature == signer.sign(TRIAL) => Ok(()),
        Ok(_) => Err(Failure::unavailable("token", "the token does not sign as the key does: the file stays in use")
            .hint("take 'log_key' out of [keys] of node.toml; the token's Ed25519 is not RFC 8032's")),
        Err(error) => Err(failure(&error)),
    }
}

fn tls_key(context: &Context, room: &KeyRoom, token: &Token, label: &str, path: &Path) -> Result<(), Failure> {
    let unfit = || {
        Failure::usage("tls-key", "keys/tls.key.pem is no ECDSA P-256 key in PKCS#8")
            .hint("have a certificate issued for a P-256 key: 'puente ca issue'")
    };
    let pem = context.vault.read(path).map_err(|error| Failure::file(path, &error))?;
    let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unfit())? else {
        return Err(unfit());
    };
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der()).map_err(|_| unfit())?;
    let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| unfit())?;
    let public = pair.public_key().as_ref().to_vec();
    let private = Private::P256 { scalar: Zeroizing::new(scalar.as_ref().to_vec()), public: public.clone() };
    import(token, label, Kind::P256, private, &public)?;
    // TLS itself says whether it is the certificate's key.
    let cert = context.dir.tls_cert();
    let chain = crate::files::read(&cert).map_err(|error| Failure::file(&cert, &error))?;
    let leaf =
        CertificateDer::from_pem_slice(&chain).map_err(|error| Failure::usage("certificate", error.to_string()))?;
    let own = puente_charter::certificate::peer_uri(&leaf)
        .map_err(|error| Failure::usage("certificate", error.to_string()))?;
    room.identity(&context.dir, &own).map(|_| ()).map_err(key_failure)
}
