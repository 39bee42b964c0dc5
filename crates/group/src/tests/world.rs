//! Two nations, their nodes and what those keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use openmls::prelude::{Capabilities, Credential, CredentialWithKey, Lifetime, SignatureScheme};
use openmls_traits::signatures::{Signer, SignerError};
use puente_model::{LeafIndex, Millis, NodeUri};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SignatureAlgorithm, date_time_ymd,
};

use crate::chain::Chain;
use crate::*;

/// 2090-01-01: what the machine's clock says must not matter.
pub(super) const NOW: Millis = Millis(3_786_912_000_000);
pub(super) const DAY: u64 = 86_400_000;

pub(super) const A: &str = "puente://mx/fge-bc/n1";
pub(super) const B: &str = "puente://us/sdpd/n1";
pub(super) const C: &str = "puente://mx/sspc/n1";
pub(super) const D: &str = "puente://us/atf-sd/n1";
pub(super) const NAMES: [&str; 10] = [
    A,
    B,
    C,
    D,
    "puente://mx/tijuana/n1",
    "puente://us/chula-vista/n1",
    "puente://mx/mexicali/n1",
    "puente://us/calexico/n1",
    "puente://mx/tecate/n1",
    "puente://us/imperial/n1",
];
/// In the charter, and suspended.
pub(super) const SUSPENDED: &str = "puente://us/suspended/n1";
/// In no charter.
pub(super) const STRANGER: &str = "puente://us/stranger/n1";

pub(super) fn uri(text: &str) -> NodeUri {
    text.parse().unwrap()
}

pub(super) struct Root {
    pub(super) der: Vec<u8>,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

pub(super) fn root(name: &str) -> Root {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Root { der, issuer: Issuer::new(params, key) }
}

/// The parameters of a good certificate.
pub(super) fn certificate(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2085, 1, 1);
    params.not_after = date_time_ymd(2095, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A key that signs leaves.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) pair: Arc<KeyPair>,
    pub(super) scheme: Scheme,
}

impl Key {
    pub(super) fn new(scheme: Scheme) -> Self {
        let algorithm: &'static SignatureAlgorithm = match scheme {
            Scheme::Ed25519 => &PKCS_ED25519,
            Scheme::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        };
        Self { pair: Arc::new(KeyPair::generate_for(algorithm).unwrap()), scheme }
    }

    /// The secret as the node reads it from its key file.
    pub(super) fn soft(&self) -> SoftKey {
        SoftKey::from_pkcs8(&self.pair.serialize_der()).unwrap()
    }

    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key_raw()
    }
}

/// A leaf with whatever in it; signs truly.
#[derive(Clone)]
pub(super) struct Forged {
    pub(super) credential: Credential,
    pub(super) key: Key,
    pub(super) capabilities: Capabilities,
    pub(super) lifetime: Lifetime,
}

impl Forged {
    pub(super) fn new(chain: Vec<Vec<u8>>, key: Key) -> Self {
        Self {
            credential: Chain::new(chain).unwrap().credential(),
            key,
            capabilities: leaf::capabilities(Suite::X25519),
            lifetime: group::lifetime(NOW),
        }
    }

    pub(super) fn with_key(&self) -> CredentialWithKey {
        CredentialWithKey { credential: self.credential.clone(), signature_key: self.key.public().into() }
    }
}

impl Signer for Forged {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        self.key.soft().sign(payload).map_err(|_| SignerError::SigningError)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        self.key.scheme.mls()
    }
}

/// What a node wrote durably.
#[derive(Default, Clone)]
pub(super) struct Disk(pub(super) BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    pub(super) fn write(&mut self, changes: Changes) {
        for (key, value) in changes.into_puts() {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
    }

    pub(super) fn pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.0.keys().cloned().collect()
    }
}

pub(super) struct Node {
    pub(super) id: Identity,
    pub(super) key: Key,
    pub(super) stock: Stock,
    pub(super) stock_disk: Disk,
    pub(super) group: Option<Group>,
    pub(super) disk: Disk,
}

impl Node {
    pub(super) fn group(&mut self) -> &mut Group {
        self.group.as_mut().unwrap()
    }

    pub(super) fn keep<T>(&mut self, done: (T, Changes)) -> T {
        self.disk.write(done.1);
        done.0
    }

    /// The process dies and starts again.
    pub(super) fn restart(&mut self) {
        let id = self.group().id();
        self.group = Some(Group::load(id, self.disk.pairs()).unwrap());
        self.stock = Stock::load(self.stock_disk.pairs()).unwrap();
    }

    pub(super) fn stage(&mut self, world: &World, intent: &Intent) -> Result<Pending, GroupError> {
        let id = self.id.clone();
        let done = self.group().stage(&id, intent, &world.trust, NOW)?;
        Ok(self.keep(done))
    }

    pub(super) fn merge(&mut self, pending: &Pending, ordered: &Ordered) -> Result<Merged, GroupError> {
        let done = self.group().merge(pending, ordered)?;
        Ok(self.keep(done))
    }

    pub(super) fn process(&mut self, world: &World, commit: &[u8], o: &Ordered) -> Result<Processed, GroupError> {
        let done = self.group().process(commit, o, &world.trust)?;
        Ok(self.keep(done))
    }

    pub(super) fn join(
        &mut self,
        w: &World,
        welcome: &[u8],
        commit: &[u8],
        o: &Ordered,
    ) -> Result<NodeUri, GroupError> {
        let old = self.disk.keys();
        let joined = self.stock.join(&self.id, welcome, commit, o, &w.trust, &[], old)?;
        self.disk.write(joined.group_changes);
        self.stock_disk.write(joined.stock_changes);
        self.group = Some(joined.group);
        Ok(joined.by)
    }

    pub(super) fn seal(&mut self, world: &World, content: &[u8]) -> Vec<u8> {
        let id = self.id.clone();
        let done = self.group().seal(&id, b"aad", content, &world.trust).unwrap();
        self.keep(done)
    }

    pub(super) fn open(&mut self, sealed: &[u8]) -> Result<Opened, GroupError> {
        let done = self.group().open(sealed)?;
        Ok(self.keep(done))
    }

    /// A key package that nobody used yet.
    pub(super) fn key_package(&mut self, suite: Suite) -> Vec<u8> {
        if self.stock.left(&self.id, suite, NOW).unwrap().is_low() {
            let changes = self.stock.replenish(&self.id, suite, NOW).unwrap();
            self.stock_disk.write(changes);
        }
        self.stock.published(&self.id, suite, NOW).unwrap().swap_remove(0).bytes
    }
}

pub(super) struct World {
    pub(super) mx: Root,
    pub(super) us: Root,
    pub(super) trust: Trust,
    pub(super) index: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let (mx, us) = (root("Root of MX"), root("Root of US"));
        let trust = trust(&mx, &us, &[]);
        Self { mx, us, trust, index: 0 }
    }

    /// The same nations; these nodes are suspended, too.
    pub(super) fn suspending(&self, suspended: &[&str]) -> Trust {
        trust(&self.mx, &self.us, suspended)
    }

    pub(super) fn root_of(&self, name: &str) -> &Root {
        if name.starts_with("puente://mx/") { &self.mx } else { &self.us }
    }

    pub(super) fn issue(&self, name: &str, key: &Key) -> Vec<u8> {
        issue(certificate(name), key, self.root_of(name))
    }

    pub(super) fn identity(&self, name: &str, key: &Key) -> Identity {
        Identity::new(vec![self.issue(name, key)], Arc::new(key.soft()), &self.trust, NOW).unwrap()
    }

    pub(super) fn node(&self, name: &str, scheme: Scheme) -> Node {
        let key = Key::new(scheme);
        Node {
            id: self.identity(name, &key),
            key,
            stock: Stock::new(),
            stock_disk: Disk::default(),
            group: None,
            disk: Disk::default(),
        }
    }

    /// The ledger orders a commit.
    pub(super) fn order(&mut self, group: GroupId, epoch: u64, commit: &[u8]) -> Ordered {
        self.index += 1;
        Ordered::by_ledger(group, epoch, commit_hash(commit), LeafIndex(self.index), NOW)
    }

    pub(super) fn order_pending(&mut self, pending: &Pending) -> Ordered {
        self.order(pending.group(), pending.epoch(), pending.commit())
    }

    /// A group of nodes; the first made it and added the others.
    pub(super) fn group_of(&mut self, names: &[&str], suite: Suite) -> Vec<Node> {
        let mut nodes: Vec<Node> = names.iter().map(|name| self.node(name, suite.scheme())).collect();
        let id = GroupId([self.index as u8; 32]);
        let created = Group::create(id, suite, b"policy", &nodes[0].id, &self.trust, NOW).unwrap();
        let group = nodes[0].keep(created);
        nodes[0].group = Some(group);
        if nodes.len() > 1 {
            let add = nodes[1..].iter_mut().map(|node| node.key_package(suite)).collect();
            let pending = nodes[0].stage(self, &Intent { add, ..Intent::default() }).unwrap();
            let ordered = self.order_pending(&pending);
            let merged = nodes[0].merge(&pending, &ordered).unwrap();
            let welcome = merged.welcome.unwrap();
            for node in &mut nodes[1..] {
                node.join(self, &welcome, pending.commit(), &ordered).unwrap();
            }
        }
        agree(&nodes);
        nodes
    }

    /// One node commits, the ledger orders it, all others of `nodes` process it.
    pub(super) fn commit(&mut self, nodes: &mut [Node], by: usize, intent: &Intent) -> (Merged, Pending, Ordered) {
        let pending = nodes[by].stage(self, intent).unwrap();
        let ordered = self.order_pending(&pending);
        let merged = nodes[by].merge(&pending, &ordered).unwrap();
        for (i, node) in nodes.iter_mut().enumerate() {
            if i != by {
                node.process(self, pending.commit(), &ordered).unwrap();
            }
        }
        (merged, pending, ordered)
    }
}

pub(super) fn issue(params: CertificateParams, key: &Key, by: &Root) -> Vec<u8> {
    params.signed_by(&*key.pair, &by.issuer).unwrap().der().to_vec()
}

pub(super) fn trust(mx: &Root, us: &Root, suspended: &[&str]) -> Trust {
    let (mx, us) = ([mx.der.clone()], [us.der.clone()]);
    let roots = [("mx".parse().unwrap(), &mx[..]), ("us".parse().unwrap(), &us[..])];
    let members = NAMES.iter().map(|name| (uri(name), suspended.contains(name)));
    Trust::new(roots, members.chain([(uri(SUSPENDED), true)])).unwrap()
}

/// All are in the same epoch with the same secrets and the same members.
pub(super) fn agree(nodes: &[Node]) {
    let seen: Vec<_> = nodes.iter().map(|node| node.group.as_ref().unwrap()).collect();
    let leaf = puente_model::Digest::of(b"a QUERY");
    for group in &seen[1..] {
        assert_eq!(group.epoch_hash(), seen[0].epoch_hash());
        assert_eq!(group.epoch(), seen[0].epoch());
        assert_eq!(group.psk(&leaf).unwrap().expose(), seen[0].psk(&leaf).unwrap().expose());
        assert!(group.members().eq(seen[0].members()));
    }
}
