//! Nodes of two nations with key packages, and members of a group with what they keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use puente_group::{Changes, Group, GroupId, Identity, SoftKey, Stock, Suite, Trust};
use puente_model::{Millis, NodeUri};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519, SanType,
};

use crate::Failure;
use crate::world::now;

/// The suite of every group here: the default one.
pub const SUITE: Suite = Suite::X25519;

/// What a node wrote durably.
#[derive(Debug, Clone, Default)]
pub struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    /// Takes changes over; how many bytes they have.
    pub fn write(&mut self, changes: Changes) -> usize {
        let mut bytes = 0;
        for (key, value) in changes.into_puts() {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
        bytes
    }

    fn pairs(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.0.iter().map(|(key, value)| (key.clone(), value.clone()))
    }
}

/// A node that can be added to groups.
#[derive(Debug)]
pub struct Person {
    /// Its certificate, and the key that signs its leaves.
    pub identity: Identity,
    /// What others add it with.
    pub package: Vec<u8>,
    stock: Disk,
}

impl Person {
    /// Its key packages as they were at first, so that one can serve again.
    ///
    /// # Errors
    /// None that can happen.
    pub fn stock(&self) -> Result<Stock, Failure> {
        Ok(Stock::load(self.stock.pairs())?)
    }
}

/// Nodes of two nations, one certificate each.
#[derive(Debug)]
pub struct People {
    /// What their charter says.
    pub trust: Trust,
    /// When everything here happens.
    pub now: Millis,
    /// All of them.
    pub all: Vec<Person>,
}

impl People {
    /// So many.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn new(count: usize) -> Result<Self, Failure> {
        let (now, codes) = (now(), ["mx", "us"]);
        let roots = [authority()?, authority()?];
        let ders = roots.each_ref().map(|root| [root.der().to_vec()]);
        let mut nations = Vec::new();
        for (code, der) in codes.iter().zip(&ders) {
            nations.push((code.parse()?, &der[..]));
        }
        let names = (0..count).map(|at| format!("puente://{}/agency-{at}/n1", codes[at % 2]).parse());
        let names: Vec<NodeUri> = names.collect::<Result<_, _>>()?;
        let trust = Trust::new(nations, names.iter().map(|name| (name.clone(), false)))?;
        let mut all = Vec::with_capacity(count);
        for (at, name) in names.iter().enumerate() {
            let key = KeyPair::generate_for(&PKCS_ED25519)?;
            let certificate = leaf(name)?.signed_by(&key, &roots[at % 2])?.der().to_vec();
            let signer = Arc::new(SoftKey::from_pkcs8(&key.serialize_der())?);
            let identity = Identity::new(vec![certificate], signer, &trust, now)?;
            let (mut stock, mut disk) = (Stock::new(), Disk::default());
            disk.write(stock.replenish(&identity, SUITE, now)?);
            let package = stock.published(&identity, SUITE, now)?.into_iter().next().ok_or("no key package")?.bytes;
            all.push(Person { identity, package, stock: disk });
        }
        Ok(Self { trust, now, all })
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Failure> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(name: &NodeUri) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names = vec![SanType::URI(name.as_str().try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// A member whose state is kept.
#[derive(Debug)]
pub struct Member {
    /// Its place among the people.
    pub at: usize,
    /// The group as it holds it.
    pub group: Group,
    disk: Disk,
}

impl Member {
    /// Whoever has just come in.
    pub fn new(at: usize, group: Group, changes: Changes) -> Self {
        let mut disk = Disk::default();
        disk.write(changes);
        Self { at, group, disk }
    }

    /// Writes what an operation handed out; how many bytes that were.
    pub fn keep(&mut self, changes: Changes) -> usize {
        self.disk.write(changes)
    }

    /// The same member once more, so that the same can be done to it again.
    ///
    /// # Errors
    /// What it keeps is not whole.
    pub fn copy(&self, id: GroupId) -> Result<Self, Failure> {
        let group = Group::load(id, self.disk.pairs())?;
        Ok(Self { at: self.at, group, disk: self.disk.clone() })
    }
}
