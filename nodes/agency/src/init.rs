//! Making a node in one command: folder, keys, configuration, example policies, and a test of what was made.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use puente_audit_log::{Ed25519Signer, KeyError, KeyKind, Signer as _};
use puente_charter::certificate;
use puente_model::{Digest, Millis, NodeUri, Origin};

use crate::ca::{self, Algorithm, CaError, Subject};
use crate::config::{ConfigError, NodeConfig, NodeDir};
use crate::files;
use crate::keys::{KeysConfig, PassphraseSource, Vault};
use crate::load::{Bearings, LoadError};

const SAMPLE: &str = include_str!("../samples/node.toml");

/// Days of a certificate that is issued at once.
const CERTIFICATE_DAYS: u32 = 14;

macro_rules! example {
    ($name:literal) => {
        [
            $name,
            include_str!(concat!("../policies/", $name, "/inbound.cedar")),
            include_str!(concat!("../policies/", $name, "/outbound.cedar")),
            include_str!(concat!("../policies/", $name, "/cases.toml")),
        ]
    };
}

/// Example policies by agency: inbound, outbound, cases.
const POLICIES: [[&str; 4]; 4] =
    [example!("mx-fge-bc"), example!("mx-fgr"), example!("us-tx-dps"), example!("us-ca-doj")];

/// Rules that every example shares, one file a topic, and the questions that they must judge right.
const COMMON: &[(&str, &str)] = &[
    ("alerts.cedar", include_str!("../policies/common/alerts.cedar")),
    ("persons.cedar", include_str!("../policies/common/persons.cedar")),
    ("plates.cedar", include_str!("../policies/common/plates.cedar")),
    ("seizures.cedar", include_str!("../policies/common/seizures.cedar")),
    ("traces.cedar", include_str!("../policies/common/traces.cedar")),
];
const COMMON_CASES: &str = include_str!("../policies/common/cases.toml");
/// The agency that the shared cases are written for.
const COMMON_AGENCY: &str = "agency = \"us/tx-dps\"";

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The node's name.
    pub uri: NodeUri,
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// Address that peers dial; `listen` unless given.
    pub endpoint: Option<String>,
    /// The agency's name in English; the URI's agency unless given.
    pub name_en: Option<String>,
    /// The agency's name in Spanish.
    pub name_es: Option<String>,
    /// The agency's roles in the charter.
    pub roles: Vec<String>,
    /// Authority that issues the certificate at once; else a signing request is left.
    pub ca: Option<PathBuf>,
    /// Folder from which the charter is copied.
    pub charter: Option<PathBuf>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Origin of the node's log.
    pub origin: Origin,
    /// C2SP verifier key of the log.
    pub vkey: String,
    /// Address that peers dial.
    pub endpoint: String,
    /// The member, as it stands in an annex (TOML).
    pub stanza: String,
    /// The node as a witness of its partners' logs, as it may stand in the common part (TOML).
    pub witness: String,
    /// Which example policies were copied.
    pub policies: &'static str,
    /// The self-test: what was tried, and how it went.
    pub checks: Vec<(&'static str, Result<String, String>)>,
}

/// Why no node was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{0} exists: there is a node in this folder already; choose another with --dir")]
    Exists(PathBuf),
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The certificate or signing request.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The configuration, as it was written.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The log key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The name.
    #[error(transparent)]
    Name(#[from] puente_model::NameError),
    /// A member's text cannot stand in TOML.
    #[error("'{0}' cannot be used: names have no control characters, quotes or backslashes")]
    Text(String),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> InitError + '_ {
    move |error| InitError::File { path: path.to_owned(), error }
}

/// Makes a node. Nothing existing is overwritten.
///
/// # Errors
/// There is a node already, the authority is another nation's, or a file cannot be written.
pub fn init(dir: &NodeDir, plan: &Plan, now: Millis) -> Result<Made, InitError> {
    if dir.config().exists() {
        return Err(InitError::Exists(dir.config()));
    }
    let stanza = Stanza::new(plan)?;
    let config_text = config_text(plan);
    let config = NodeConfig::parse("node.toml", &config_text)?;
    let origin = config.origin()?;
    for folder in [dir.path().to_owned(), dir.keys()] {
        files::make_private_dir(&folder).map_err(file(&folder))?;
    }
    for folder in [dir.charter(), dir.policies()] {
        files::make_dir(&folder).map_err(file(&folder))?;
    }
    // The certificate first: a foreign authority refuses before anything else is there.
    match &plan.ca {
        Some(authority) => {
            let subject = Subject::Fresh(Algorithm::P256);
            ca::issue(authority, Some(&plan.uri), &subject, CERTIFICATE_DAYS, &dir.keys(), now)?;
        }
        None => ca::request(&plan.uri, Algorithm::P256, &dir.tls_key(), &dir.tls_csr())?,
    }
    let seed = files::fresh_secret().map_err(file(&dir.log_key()))?;
    files::create_secret(&dir.log_key(), &seed).map_err(file(&dir.log_key()))?;
    let store = files::fresh_secret().map_err(file(&dir.store_key()))?;
    files::create_secret(&dir.store_key(), &store).map_err(file(&dir.store_key()))?;
    let witness = crate::witness::signer(dir, &Vault::new(PassphraseSource::Ask), &plan.uri, false)
        .map_err(file(&dir.witness_key()))?;
    let witness = witness.map(|signer| crate::witness::stanza(&plan.uri, &signer)).unwrap_or_default();
    let vkey = Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, &seed)?.verifier().to_string();
    let policies = copy_policies(dir, &plan.uri)?;
    if let Some(from) = &plan.charter {
        copy_charter(from, &dir.charter())?;
    }
    // The configuration last: a folder without it is no node.
    files::create(&dir.config(), config_text.as_bytes(), false).map_err(file(&dir.config()))?;
    let endpoint = stanza.endpoint.clone();
    let stanza = stanza.toml(&origin, &vkey);
    Ok(Made { origin, vkey, endpoint, stanza, witness, policies, checks: self_test(dir) })
}

fn config_text(plan: &Plan) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some(("node", _)) => format!("node = \"{}\"\n", plan.uri),
        Some(("listen", _)) => format!("listen = \"{}\"\n", plan.listen),
        _ => format!("{line}\n"),
    };
    SAMPLE.lines().map(line).collect()
}

struct Stanza {
    uri: NodeUri,
    name_en: String,
    name_es: String,
    roles: Vec<String>,
    endpoint: String,
}

impl Stanza {
    fn new(plan: &Plan) -> Result<Self, InitError> {
        let agency = plan.uri.agency().to_string();
        let plain = |text: Option<&String>| {
            let text = text.unwrap_or(&agency).clone();
            let bad = text.chars().any(|c| c.is_control() || c == '"' || c == '\\');
            if bad { Err(InitError::Text(text.escape_debug().to_string())) } else { Ok(text) }
        };
        let mut roles = Vec::new();
        for role in &plan.roles {
            roles.push(plain(Some(role))?);
        }
        Ok(Self {
            uri: plan.uri.clone(),
            name_en: plain(plan.name_en.as_ref())?,
            name_es: plain(plan.name_es.as_ref().or(plan.name_en.as_ref()))?,
            roles,
            endpoint: plain(Some(plan.endpoint.as_ref().unwrap_or(&plan.listen.to_string())))?,
        })
    }

    fn toml(&self, origin: &Origin, vkey: &str) -> String {
        let roles: Vec<String> = self.roles.iter().map(|role| format!("\"{role}\"")).collect();
        format!(
            "[[member]]\nuri = \"{}\"\nname_en = \"{}\"\nname_es = \"{}\"\nroles = [{}]\nendpoints = [\"{}\"]\n\n\
             [[member.log]]\norigin = \"{origin}\"\nvkey = \"{vkey}\"\n",
            self.uri,
            self.name_en,
            self.name_es,
            roles.join(", "),
            self.endpoint,
        )
    }
}

/// The examples of this agency, else of the first of its nation, else the first, with this agency's id in place of theirs.
fn copy_policies(dir: &NodeDir, uri: &NodeUri) -> Result<&'static str, InitError> {
    let agency = uri.agency().as_str().replace('/', "-");
    let nation = format!("{}-", uri.jurisdiction());
    let chosen =
        POLICIES.iter().find(|p| p[0] == agency).or_else(|| POLICIES.iter().find(|p| p[0].starts_with(&nation)));
    let [name, inbound, outbound, cases] = chosen.unwrap_or(&POLICIES[0]);
    // The shared cases are this agency's as soon as they name it.
    let shared = COMMON_CASES.replacen(COMMON_AGENCY, &format!("agency = \"{}\"", uri.agency()), 1);
    let theirs = format!("\"{}\"", name.replacen('-', "/", 1));
    let named = |text: &str| text.replace(&theirs, &format!("\"{}\"", uri.agency()));
    let own = [("inbound.cedar", named(inbound)), ("outbound.cedar", named(outbound)), ("cases.toml", named(cases))];
    let common = COMMON.iter().map(|(file_name, text)| (*file_name, (*text).to_owned()));
    for (file_name, text) in own.into_iter().chain(common).chain([("cases-common.toml", shared)]) {
        let path = dir.policies().join(file_name);
        files::create(&path, text.as_bytes(), false).map_err(file(&path))?;
    }
    Ok(name)
}

fn copy_charter(from: &Path, to: &Path) -> Result<(), InitError> {
    for entry in std::fs::read_dir(from).map_err(file(from))? {
        let path = entry.map_err(file(from))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if name == "pin" || name.ends_with(".toml") || name.ends_with(".toml.sig") {
            let bytes = files::read(&path).map_err(file(&path))?;
            let target = to.join(name);
            files::create(&target, &bytes, false).map_err(file(&target))?;
        }
    }
    Ok(())
}

/// Tries what a start needs, without starting: configuration, keys, certificate, charter, policies.
pub fn self_test(dir: &NodeDir) -> Vec<(&'static str, Result<String, String>)> {
    let config = NodeConfig::load(dir);
    let mut out = Vec::new();
    let uri = config.as_ref().ok().map(|c| c.node.clone());
    out.push(("configuration", config.map(|c| c.node.to_string()).map_err(|e| format!("{e}; {}", e.mend))));
    let (number, keys) = NodeConfig::load(dir).map_or((1, KeysConfig::default()), |config| (config.log, config.keys));
    for (what, path) in [("log key", dir.log_key_of(number)), ("store key", dir.store_key())] {
        if let (Some(label), "log key") = (keys.log_label(number), what) {
            out.push((what, Ok(format!("'{label}' in a token"))));
            continue;
        }
        let read = files::read(&path).map(zeroize::Zeroizing::new).and_then(|bytes| {
            if crate::keys::is_sealed(&bytes) {
                return Ok("under a passphrase");
            }
            files::secret_of(&bytes).map(|_| "a plain file: 'puente keys protect' encrypts it")
        });
        out.push((what, read.map(ToOwned::to_owned).map_err(|e| format!("{}: {e}", path.display()))));
    }
    out.push(("certificate", certificate_test(dir, uri.as_ref(), &keys)));
    if dir.charter_pin().exists() {
        let bearings = Bearings::load(dir);
        let policies = bearings.as_ref().ok().map(|b| b.policies(dir));
        let words = |e: &LoadError| format!("{e}; {}", e.mend());
        let member = bearings.as_ref().map_err(words).and_then(|b| match b.charter.member(&b.config.node) {
            Some(_) => Ok(format!("version {}, names this node", b.charter.vector())),
            None => Err(format!("version {} does not name this node; add the stanza to the annex", b.charter.vector())),
        });
        out.push(("charter", member));
        if let Some(policies) = policies {
            out.push(("policies", policies.map(|p| format!("{} rules", p.rules().count())).map_err(|e| words(&e))));
        }
    } else {
        out.push(("charter", Err("none yet: put parts, signatures and pin into charter/".to_owned())));
    }
    out
}

fn certificate_test(dir: &NodeDir, uri: Option<&NodeUri>, keys: &KeysConfig) -> Result<String, String> {
    if !dir.tls_cert().exists() && dir.tls_csr().exists() {
        return Err(format!("none yet: have {} signed into {}", dir.tls_csr().display(), dir.tls_cert().display()));
    }
    let shown = ca::show(&dir.tls_cert()).map_err(|e| e.to_string())?;
    let names = certificate::names(&shown.der).map_err(|e| e.to_string())?;
    if Some(&names.uri) != uri {
        return Err(format!("it names {}, not this node; have it issued anew", names.uri));
    }
    if let Some(label) = &keys.tls_key {
        return Ok(format!("{} until {}; its key is '{label}' in a token", names.uri, names.not_after));
    }
    if files::read(&dir.tls_key()).is_ok_and(|bytes| crate::keys::is_sealed(&bytes)) {
        return Ok(format!("{} until {}; its key is under a passphrase", names.uri, names.not_after));
    }
    let vault = crate::keys::Vault::new(crate::keys::PassphraseSource::Ask);
    let (_, pem) = crate::renewal::credentials(dir, &vault).map_err(|(path, e)| format!("{}: {e}", path.display()))?;
    let pem = std::str::from_utf8(&pem).unwrap_or_default();
    let key = rcgen::KeyPair::from_pem(pem).map_err(|_| "keys/tls.key.pem is not a private key".to_owned())?;
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    if Digest::of(&spki) != names.key_digest {
        return Err("it belongs to another key than keys/tls.key.pem; have it issued anew".to_owned());
    }
    Ok(format!("{} until {}", names.uri, names.not_after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_795_305_600_000);

    fn plan(uri: &str) -> Plan {
        Plan {
            uri: uri.parse().unwrap(),
            listen: "127.0.0.1:7401".parse().unwrap(),
            endpoint: None,
            name_en: Some("State prosecutor".to_owned()),
            name_es: None,
            roles: vec!["state-prosecutor".to_owned()],
            ca: None,
            charter: None,
        }
    }

    #[test]
    fn a_node_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path().join("n1"));
        let made = init(&dir, &plan("puente://mx/fge-bc/n1"), NOW).unwrap();
        assert_eq!((made.origin.as_str(), made.policies), ("mx/fge-bc/n1/log1", "mx-fge-bc"));
        assert!(made.vkey.starts_with("mx/fge-bc/n1/log1+"));
        let annex = format!("federation = \"f\"\njurisdiction = \"mx\"\nnumber = 1\ncommon = 1\n{}", made.stanza);
        puente_charter::Part::from_toml("annex", &annex).unwrap();
        let config = NodeConfig::load(&dir).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7401");
        assert!(dir.tls_csr().exists() && !dir.tls_cert().exists());
        assert!(made.checks.iter().any(|(what, how)| *what == "certificate" && how.is_err()));
        assert!(matches!(init(&dir, &plan("puente://mx/fge-bc/n1"), NOW), Err(InitError::Exists(_))));
    }

    #[test]
    fn an_authority_issues_at_once_for_its_own_nation() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        crate::ca::init(&"us".parse().unwrap(), &ca, Algorithm::P256, 100, NOW).unwrap();
        let dir = NodeDir::new(folder.path().join("n1"));
        let made = init(&dir, &Plan { ca: Some(ca.clone()), ..plan("puente://us/tx-dps/n1") }, NOW).unwrap();
        for (what, how) in &made.checks {
            assert!(how.is_ok() || *what == "charter", "{what}: {how:?}");
        }
        let dir = NodeDir::new(folder.path().join("n2"));
        let error = init(&dir, &Plan { ca: Some(ca), ..plan("puente://mx/fgr/n1") }, NOW).unwrap_err();
        assert!(matches!(error, InitError::Ca(CaError::OtherNation { .. })), "{error}");
        assert!(!dir.config().exists());
    }
}
