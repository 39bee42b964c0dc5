//! A group of three, made once a process, and its entrances. Keys are random, so that bytes of another process fit nothing:
//! an input is either bytes as they are, or changes of what this process made.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use puente_group::{
    commit_hash, Changes, Group, GroupId, Identity, Intent, Ordered, Rejoin, SoftKey, Stock, Suite, Trust,
};
use puente_model::{LeafIndex, Millis, NodeUri};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, PKCS_ED25519};

const NAMES: [&str; 4] = ["puente://mx/a/n1", "puente://us/b/n1", "puente://mx/c/n1", "puente://us/d/n1"];
const ID: GroupId = GroupId([7; 32]);

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything that a stranger's bytes are tried on, and good bytes of each kind.
pub struct Three {
    trust: Trust,
    now: Millis,
    nodes: Vec<Identity>,
    /// What the convener and a member keep, and a fourth node's key packages.
    convener: Pairs,
    member: Pairs,
    stock: Pairs,
    commit: Vec<u8>,
    welcome: Vec<u8>,
    package: Vec<u8>,
    message: Vec<u8>,
    info: Vec<u8>,
}

/// The pairs that stand after these changes.
fn keep(pairs: &mut Pairs, changes: Changes) {
    for (key, value) in changes.into_puts() {
        pairs.retain(|(other, _)| *other != key);
        pairs.extend(value.map(|value| (key, value)));
    }
}

fn order(epoch: u64, commit: &[u8], index: u64, now: Millis) -> Ordered {
    Ordered::by_ledger(ID, epoch, commit_hash(commit), LeafIndex(index), now)
}

impl Three {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Millis(u64::try_from(now.as_millis()).unwrap_or_default());
        let root = || {
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.self_signed(&key).unwrap().der().to_vec(), Issuer::new(params, key))
        };
        let roots = [("mx", root()), ("us", root())];
        let ders = roots.each_ref().map(|(_, (der, _))| [der.clone()]);
        let nations = roots.iter().zip(&ders).map(|((name, _), der)| (name.parse().unwrap(), &der[..]));
        let members = NAMES.iter().map(|name| (name.parse::<NodeUri>().unwrap(), false));
        let trust = Trust::new(nations.collect::<Vec<_>>(), members).unwrap();
        let identity = |name: &&str| {
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.subject_alt_names = vec![SanType::URI((*name).try_into().unwrap())];
            let issuer = &roots.iter().find(|(nation, _)| name[9..].starts_with(nation)).unwrap().1 .1;
            let der = params.signed_by(&key, issuer).unwrap().der().to_vec();
            let soft = SoftKey::from_pkcs8(&key.serialize_der()).unwrap();
            Identity::new(vec![der], Arc::new(soft), &trust, now).unwrap()
        };
        let nodes: Vec<Identity> = NAMES.iter().map(identity).collect();
        let mut stocks: Vec<(Stock, Pairs)> = Vec::new();
        for node in &nodes {
            let (mut stock, mut pairs) = (Stock::new(), Pairs::new());
            keep(&mut pairs, stock.replenish(node, Suite::X25519, now).unwrap());
            stocks.push((stock, pairs));
        }
        let package = |at: usize| stocks[at].0.published(&nodes[at], Suite::X25519, now).unwrap()[0].bytes.clone();
        let (mut convener, mut member) = (Pairs::new(), Pairs::new());
        let (mut group, changes) = Group::create(ID, Suite::X25519, b"otay", &nodes[0], &trust, now).unwrap();
        keep(&mut convener, changes);
        let add = vec![package(1), package(2)];
        let package = package(3);
        let (pending, changes) = group.stage(&nodes[0], &Intent { add, ..Intent::default() }, &trust, now).unwrap();
        keep(&mut convener, changes);
        let ordered = order(0, pending.commit(), 0, now);
        let (merged, changes) = group.merge(&pending, &ordered).unwrap();
        keep(&mut convener, changes);
        let welcome = merged.welcome.unwrap();
        let join = stocks[1].0.join(&nodes[1], &welcome, pending.commit(), &ordered, &trust, &[], Vec::new());
        keep(&mut member, join.unwrap().group_changes);
        // The convener has room for the next commit; a copy of it makes one that brings the fourth in.
        let (message, changes) = group.seal(&nodes[0], b"aad", b"a stolen pickup", &trust).unwrap();
        keep(&mut convener, changes);
        let info = group.info(&nodes[0]).unwrap();
        let mut copy = Group::load(ID, convener.clone()).unwrap();
        let intent = Intent { add: vec![package.clone()], ..Intent::default() };
        let (pending, _) = copy.stage(&nodes[0], &intent, &trust, now).unwrap();
        let (merged, _) = copy.merge(&pending, &order(1, pending.commit(), 1, now)).unwrap();
        let stock = stocks.swap_remove(3).1;
        let (commit, welcome) = (pending.commit().to_vec(), merged.welcome.unwrap());
        Self { trust, now, nodes, convener, member, stock, commit, welcome, package, message, info }
    }

    /// Good bytes, by the name of the target.
    pub fn good(&self) -> [(&'static str, &[u8]); 5] {
        [
            ("group-commit", &self.commit),
            ("group-welcome", &self.welcome),
            ("group-key-package", &self.package),
            ("group-message", &self.message),
            ("group-info", &self.info),
        ]
    }
}

/// The one of this process.
pub fn three() -> &'static Three {
    static MADE: OnceLock<Three> = OnceLock::new();
    MADE.get_or_init(Three::new)
}

/// `0 ‖ bytes`, or `1 ‖ (u16be place ‖ what its byte is changed by)*` of good bytes; a change by nothing cuts them there.
fn bytes(data: &[u8], good: &[u8]) -> Option<Vec<u8>> {
    let (kind, data) = data.split_first()?;
    if kind % 2 == 0 {
        return Some(data.to_vec());
    }
    let mut bytes = good.to_vec();
    for change in data.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len().max(1);
        match change[2] {
            0 => bytes.truncate(place),
            by => bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= by),
        }
    }
    Some(bytes)
}

/// A commit that the ledger ordered, whatever it is: a member takes it, or stays as it was.
pub fn commit(data: &[u8]) {
    let three = three();
    let Some(bytes) = bytes(data, &three.commit) else { return };
    let _ = puente_group::peek(&bytes);
    let moves = puente_group::moves(&bytes);
    let mut group = Group::load(ID, three.member.clone()).unwrap();
    let before = (group.epoch(), group.epoch_hash());
    match group.process(&bytes, &order(1, &bytes, 1, three.now), &three.trust) {
        Ok((done, _)) => {
            let moves = moves.unwrap();
            assert_eq!((bytes == three.commit, group.epoch(), done.added.len()), (true, 2, moves.added.len()));
        }
        Err(_) => assert_eq!((group.epoch(), group.epoch_hash()), before),
    }
}

/// A Welcome that belongs to a commit which was ordered.
pub fn welcome(data: &[u8]) {
    let three = three();
    let Some(bytes) = bytes(data, &three.welcome) else { return };
    let mut stock = Stock::load(three.stock.clone()).unwrap();
    let ordered = order(1, &three.commit, 1, three.now);
    let joined = stock.join(&three.nodes[3], &bytes, &three.commit, &ordered, &three.trust, &[], Vec::new());
    if let Ok(joined) = joined {
        assert_eq!((joined.group.epoch(), joined.group.members().count()), (2, 4));
    }
}

/// What somebody is to be added with.
pub fn key_package(data: &[u8]) {
    let three = three();
    let Some(bytes) = bytes(data, &three.package) else { return };
    let claimed = puente_group::claimed_node(&bytes);
    let mut group = Group::load(ID, three.convener.clone()).unwrap();
    let intent = Intent { add: vec![bytes], ..Intent::default() };
    if group.stage(&three.nodes[0], &intent, &three.trust, three.now).is_ok() {
        assert_eq!(claimed.unwrap(), *three.nodes[3].uri());
    }
}

/// Something said to all.
pub fn message(data: &[u8]) {
    let three = three();
    let Some(bytes) = bytes(data, &three.message) else { return };
    let mut group = Group::load(ID, three.member.clone()).unwrap();
    if let Ok((opened, _)) = group.open(&bytes) {
        assert_eq!((&opened.content[..], &opened.from), (&b"a stolen pickup"[..], three.nodes[0].uri()));
    }
}

/// The group as another member shows it.
pub fn info(data: &[u8]) {
    let three = three();
    let Some(bytes) = bytes(data, &three.info) else { return };
    if let Ok(shown) = Rejoin::start(&bytes, &three.nodes[1], &three.trust, three.now) {
        assert_eq!((shown.group(), shown.epoch(), shown.members().len()), (ID, 1, 3));
    }
}

/// What nodes say to each other about a group.
pub fn corridor_message(data: &[u8]) {
    if let Ok(message) = puente_corridor::Message::decode(data) {
        let encoded = message.encode();
        assert!(encoded.len() <= puente_corridor::MESSAGE_BYTES_MAX);
        assert_eq!(puente_corridor::Message::decode(&encoded).as_ref(), Ok(&message));
    }
}
