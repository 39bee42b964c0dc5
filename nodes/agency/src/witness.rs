//! This node as a witness of its partners' logs, and its way to witnesses that are no nodes.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use puente_audit_log::witness::monitoring_path;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_model::NodeUri;
use puente_model::limits::NOTE_BYTES_MAX;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::config::NodeDir;
use crate::files;
use crate::keys::Vault;

/// How long one submission may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where Debian and others keep the certificates of the web's authorities.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// `[witnesses]` of `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessesConfig {
    /// PEM file with the authorities of witnesses over HTTPS, relative to the node's folder; those of the system without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl WitnessesConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The name under which a node is a witness, in its key and in the charter: `mx-fge-bc-n1`.
pub(crate) fn name(node: &NodeUri) -> String {
    node.as_str().trim_start_matches("puente://").replace('/', "-")
}

/// The node's witness key; made if there is none. None while its log is suspended: a node that came back from a backup has
/// forgotten what it signed as a witness, so that key is put out of use for good.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn signer(
    dir: &NodeDir,
    vault: &Vault,
    node: &NodeUri,
    suspended: bool,
) -> io::Result<Option<Ed25519Signer>> {
    let path = dir.witness_key();
    if suspended {
        if path.exists() {
            files::rename(&path, &path.with_extension("key.retired"))?;
            tracing::warn!(
                "this node's witness key is out of use: what it signed is forgotten; a new one comes with the log"
            );
        }
        return Ok(None);
    }
    if !path.exists() {
        let seed = files::fresh_secret()?;
        let text = zeroize::Zeroizing::new(format!("{}\n", hex::encode(seed.expose())));
        vault.create_as(&dir.store_key(), &path, text.as_bytes())?;
    }
    let seed = vault.secret(&path)?;
    Ed25519Signer::new(&name(node), KeyKind::CosignatureV1, &seed).map(Some).map_err(io::Error::other)
}

/// The witness as it stands in the common part (TOML).
pub(crate) fn stanza(node: &NodeUri, signer: &Ed25519Signer) -> String {
    format!(
        "[[witness]]\nname = \"{}\"\njurisdiction = \"{}\"\nvkey = \"{}\"\nurl = \"{node}\"\n",
        name(node),
        node.jurisdiction(),
        signer.verifier(),
    )
}

/// Submits heads to witnesses over HTTP (C2SP tlog-witness). Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpWitnesses {
    agent: Agent,
}

impl HttpWitnesses {
    /// A client that believes the authorities in `ca` (PEM), else those of the system.
    ///
    /// # Errors
    /// `ca` cannot be read or holds no certificate.
    pub fn new(ca: Option<&Path>) -> io::Result<Self> {
        let roots = match ca {
            Some(path) => roots(path)?,
            // Without any, witnesses over HTTPS cannot be reached, and status says so.
            None => roots(Path::new(SYSTEM_ROOTS)).unwrap_or_default(),
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("puente/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(PATIENCE))
            .tls_config(tls)
            .build();
        Ok(Self { agent: Agent::new_with_config(config) })
    }

    /// Posts a submission; gives status and body. Blocks.
    ///
    /// # Errors
    /// The witness cannot be reached, in words.
    pub fn submit(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let to = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let answer = self.agent.post(&to).header("content-type", "text/plain; charset=utf-8").send(body);
        let mut answer = answer.map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), read(&mut answer)?))
    }
}

impl HttpWitnesses {
    /// The newest head of a log that the witness cosigned (C2SP tlog-witness, monitoring); none if it knows none. Blocks.
    ///
    /// # Errors
    /// The witness cannot be reached, in words.
    pub fn newest(&self, url: &str, origin: &str) -> Result<Option<Vec<u8>>, String> {
        let to = format!("{}/{}", url.trim_end_matches('/'), monitoring_path(origin));
        let mut answer = self.agent.get(&to).call().map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 => read(&mut answer).map(Some),
            404 => Ok(None),
            status => Err(format!("it answers {status}")),
        }
    }
}

fn read(answer: &mut ureq::http::Response<ureq::Body>) -> Result<Vec<u8>, String> {
    let mut read = Vec::new();
    let most = NOTE_BYTES_MAX as u64 + 1;
    answer.body_mut().as_reader().take(most).read_to_end(&mut read).map_err(|error| error.to_string())?;
    Ok(read)
}

fn roots(path: &Path) -> io::Result<Vec<Certificate<'static>>> {
    let named = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| named(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.map_err(|_| named("not a PEM file of certificates".to_owned()))?;
    if read.is_empty() {
        return Err(named("holds no certificate".to_owned()));
    }
    Ok(read.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use puente_model::{Secret32, TreeSize};

    use super::*;
    use crate::keys::PassphraseSource;

    #[test]
    fn the_key_is_made_once_and_put_out_of_use_with_the_log() {
        let temp = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(temp.path().to_owned());
        files::make_private_dir(&dir.keys()).unwrap();
        files::create_secret(&dir.store_key(), &files::fresh_secret().unwrap()).unwrap();
        let vault = Vault::new(PassphraseSource::Ask);
        let node: NodeUri = "puente://mx/fge-bc/n1".parse().unwrap();
        let key = |suspended| signer(&dir, &vault, &node, suspended).unwrap().map(|s| s.verifier().to_string());
        let first = key(false).unwrap();
        assert!(first.starts_with("mx-fge-bc-n1+"), "{first}");
        assert_eq!(key(false), Some(first.clone()));
        // The log came back from a backup: what was signed as a witness since is forgotten.
        assert_eq!((key(true), dir.witness_key().exists()), (None, false));
        assert_eq!(key(true), None);
        assert_ne!(key(false), Some(first));
        let stanza = stanza(&node, &signer(&dir, &vault, &node, false).unwrap().unwrap());
        let witness: puente_charter::Witness = toml::from_str::<
            std::collections::BTreeMap<String, Vec<puente_charter::Witness>>,
        >(&stanza)
        .unwrap()["witness"][0]
            .clone();
        let policy = [witness];
        puente_charter::WitnessPolicy::new(&policy, &[], "mx-fge-bc-n1").unwrap();
    }

    /// A witness of a log at work over TLS, with the file of its authority.
    async fn served(dir: &Path, log: &Ed25519Signer) -> (std::net::SocketAddr, Ed25519Signer, PathBuf) {
        use puente_audit_log::{Checkpoint, witness::LogRule};
        let key = || Ed25519Signer::new("us1", KeyKind::CosignatureV1, &Secret32::new([7; 32])).unwrap();
        let empty = Checkpoint::new(log.verifier().name(), TreeSize(0), puente_audit_log::empty_root()).unwrap();
        let rule = LogRule::new(log.verifier().name(), vec![log.verifier().clone()]).unwrap().pinned(empty).unwrap();
        let rules = BTreeMap::from([(log.verifier().name().to_owned(), rule)]);
        let store = puente_witness::Store::open(&dir.join("state")).unwrap();
        let desk = puente_witness::Desk::open(Box::new(key()), rules, store, dir.join("evidence"), 600).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let secret = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], secret).unwrap();
        let (kept, tls) = tokio::sync::watch::channel(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config))));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let limits = puente_witness::Limits::default();
        let forever = async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        };
        tokio::spawn(puente_witness::serve(listener, tls, Arc::new(desk), limits, forever));
        (at, key(), ca)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_real_witness_over_https_cosigns_what_is_submitted() {
        use puente_audit_log::witness::{WitnessReply, encode_submission};
        let temp = tempfile::tempdir().unwrap();
        let log = Ed25519Signer::new("mx/a/n1/log1", KeyKind::Ed25519, &Secret32::new([1; 32])).unwrap();
        let (at, witness, ca) = served(temp.path(), &log).await;
        let tree = puente_audit_log::Log::empty("mx/a/n1/log1").unwrap();
        let sealed = tree.stage(&[b"one".to_vec()]).unwrap().sign(&log).unwrap();
        let head = sealed.batch().head.clone();
        let body = encode_submission(TreeSize(0), &[], &head).unwrap();
        let url = format!("https://localhost:{}", at.port());
        let (trusting, sent) = (HttpWitnesses::new(Some(&ca)).unwrap(), body.clone());
        let to = url.clone();
        let (status, answer) = tokio::task::spawn_blocking(move || trusting.submit(&to, &sent)).await.unwrap().unwrap();
        let reply = WitnessReply::read(status, &answer, &head, witness.verifier()).unwrap();
        assert!(matches!(reply, WitnessReply::Cosigned(head, _) if head.signatures().len() == 2));
        // Again, from the beginning: it says what it knows.
        let again = HttpWitnesses::new(Some(&ca)).unwrap();
        let to = format!("{url}/");
        let (status, answer) = tokio::task::spawn_blocking(move || again.submit(&to, &body)).await.unwrap().unwrap();
        assert_eq!((status, answer), (409, b"1\n".to_vec()));
        // Another authority's certificate is not believed.
        let other = temp.path().join("other.pem");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&other, made.cert.pem()).unwrap();
        let doubting = HttpWitnesses::new(Some(&other)).unwrap();
        let refused = tokio::task::spawn_blocking(move || doubting.submit(&url, b"old 0\n\n")).await.unwrap();
        assert!(refused.unwrap_err().contains("certificate"));
    }

    #[test]
    fn a_witness_that_cannot_be_reached_is_named_by_its_trouble() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = HttpWitnesses::new(None).unwrap();
        assert!(!client.submit(&format!("http://{nobody}/"), b"old 0\n\n").unwrap_err().is_empty());
        assert!(HttpWitnesses::new(Some(Path::new("/dev/null"))).unwrap_err().to_string().contains("/dev/null"));
    }
}
