//! The one door for leaves.
//!
//! `openmls` treats an X.509 credential as opaque bytes. Wherever a leaf can enter a group, [`judge`] decides: a key
//! package before it is added, every member of the tree that a Welcome or a group info brings, every Add, the leaf of an
//! update path, an external commit. Update proposals do not exist here: members renew by committing.

use std::collections::BTreeMap;

use openmls::prelude::{Capabilities, CredentialType, ExtensionType, LeafNode, ProtocolVersion};
use openmls::treesync::LeafNodeSource;
use puente_charter::certificate::CertificateError;
use puente_model::{Jurisdiction, Millis, NodeUri};

use crate::chain::Chain;
use crate::limits::{CLOCK_SKEW_MILLIS_MAX, KEY_PACKAGE_MARGIN_MILLIS, KEY_PACKAGE_MILLIS};
use crate::suite::Suite;
use crate::trust::Trust;

/// The group context extension that holds a group's policy.
pub(crate) const POLICY: ExtensionType = ExtensionType::Unknown(0xF0A1);

/// Why a leaf may not stand in a group. One variant a check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// Another kind of credential.
    #[error("the leaf's credential is not a chain of X.509 certificates")]
    NotX509,
    /// Its content is no chain.
    #[error("the leaf's credential holds no readable chain of certificates")]
    NoChain,
    /// Over the limits.
    #[error(
        "the leaf's chain is over its limits: at most {} certificates, {} bytes",
        crate::limits::CHAIN_CERTIFICATES_MAX,
        crate::limits::CHAIN_BYTES_MAX
    )]
    ChainTooLarge,
    /// The certificate names no node, or not one.
    #[error("the leaf's certificate is no node's: {0}")]
    Names(#[from] CertificateError),
    /// A nation without roots in the charter.
    #[error("'{0}' is not in the charter")]
    UnknownNation(Jurisdiction),
    /// No root of its nation vouches for it.
    #[error("no certificate authority of '{0}' issued the leaf's certificate")]
    UnknownIssuer(Jurisdiction),
    /// Another nation's root does.
    #[error("an authority of '{by}' issued a certificate with a name of '{of}'")]
    OtherNation {
        /// Whose name.
        of: Jurisdiction,
        /// Whose root.
        by: Jurisdiction,
    },
    /// Its time is over.
    #[error("the leaf's certificate has expired")]
    Expired,
    /// Its time has not come.
    #[error("the leaf's certificate is not valid yet")]
    NotYetValid,
    /// Its authority took it back.
    #[error("the leaf's certificate was revoked")]
    Revoked,
    /// A signature in the chain is not its issuer's.
    #[error("a signature in the leaf's chain is bad")]
    BadSignature,
    /// An algorithm that is not in use here.
    #[error("the leaf's chain uses an algorithm that groups do not use")]
    Algorithm,
    /// Not made for nodes.
    #[error("the leaf's certificate is not made for authentication of nodes")]
    WrongUsage,
    /// Something else is wrong with the chain.
    #[error("the leaf's chain does not hold: {0}")]
    BadChain(String),
    /// The certified key is not the one that the leaf signs with.
    #[error("the leaf signs with another key than the one in its certificate")]
    OtherKey,
    /// The key is of another kind than the group's ciphersuite signs with.
    #[error("the leaf's key does not fit the group's ciphersuite")]
    WrongScheme,
    /// Of a group of another ciphersuite.
    #[error("the key package is made for ciphersuite {found:#06x}; the group has {expected:#06x}")]
    OtherSuite {
        /// The group's.
        expected: u16,
        /// The key package's.
        found: u16,
    },
    /// Nobody of the charter.
    #[error("{0} is not a member of the charter")]
    NotInCharter(NodeUri),
    /// Nobody may exchange with it.
    #[error("{0} is suspended")]
    Suspended(NodeUri),
    /// A leaf gives way only to one of the same node.
    #[error("the leaf of {expected} would be replaced by one of {found}")]
    OtherMember {
        /// Whose leaf it is.
        expected: NodeUri,
        /// Whom the new one names.
        found: NodeUri,
    },
    /// One node, one leaf.
    #[error("{0} already has a leaf in the group")]
    SecondLeaf(NodeUri),
    /// One key, one node.
    #[error("{found} signs with the key of {other}")]
    ReusedKey {
        /// Whose leaf is judged.
        found: NodeUri,
        /// Who has that key already.
        other: NodeUri,
    },
    /// Over, or nearly.
    #[error("the key package is too old: less than {} days of its life are left", KEY_PACKAGE_MARGIN_MILLIS / 86_400_000)]
    TooOld,
    /// Promises to live longer than key packages do.
    #[error("the key package would live longer than {} days", KEY_PACKAGE_MILLIS / 86_400_000)]
    LivesTooLong,
    /// Cannot do what the group needs.
    #[error("the leaf does not say that it supports {0}, which groups require")]
    Capability(&'static str),
}

/// What a leaf is judged against.
pub(crate) struct Bench<'a> {
    pub(crate) trust: &'a Trust,
    pub(crate) suite: Suite,
    pub(crate) at: Millis,
}

/// Where a leaf comes from, which says what else must hold.
#[derive(Clone, Copy)]
pub(crate) enum Door<'a> {
    /// A key package is about to be used: it must be fresh.
    Add,
    /// It stands in a tree that somebody hands over.
    Tree,
    /// It takes the place of this member's.
    Replace(&'a NodeUri),
}

/// Who stands in a group, and with which signature key.
#[derive(Debug, Default, Clone)]
pub(crate) struct Roster {
    keys: BTreeMap<NodeUri, Vec<u8>>,
}

impl Roster {
    /// Takes a leaf that [`judge`] accepted in.
    fn admit(&mut self, uri: NodeUri, key: &[u8]) -> Result<(), LeafError> {
        if self.keys.contains_key(&uri) {
            return Err(LeafError::SecondLeaf(uri));
        }
        if let Some((other, _)) = self.keys.iter().find(|(_, k)| k.as_slice() == key) {
            return Err(LeafError::ReusedKey { found: uri, other: other.clone() });
        }
        self.keys.insert(uri, key.to_vec());
        Ok(())
    }

    /// Takes a leaf in that stands in the group already: it was judged when it came in.
    pub(crate) fn standing(&mut self, uri: NodeUri, key: &[u8]) {
        self.keys.insert(uri, key.to_vec());
    }

    pub(crate) fn leave(&mut self, uri: &NodeUri) {
        self.keys.remove(uri);
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Judges a leaf and takes it into the roster: the only way into one.
pub(crate) fn judge(
    bench: &Bench<'_>,
    door: Door<'_>,
    leaf: &LeafNode,
    roster: &mut Roster,
) -> Result<NodeUri, LeafError> {
    let chain = Chain::of(leaf.credential())?;
    let (uri, scheme, key) = bench.trust.proves(&chain, bench.at)?;
    if key != leaf.signature_key().as_slice() {
        return Err(LeafError::OtherKey);
    }
    if scheme != bench.suite.scheme() {
        return Err(LeafError::WrongScheme);
    }
    if let Door::Replace(expected) = door
        && *expected != uri
    {
        return Err(LeafError::OtherMember { expected: expected.clone(), found: uri });
    }
    bench.trust.active(&uri)?;
    capable(leaf.capabilities(), bench.suite)?;
    if let (Door::Add, LeafNodeSource::KeyPackage(life)) = (door, leaf.leaf_node_source()) {
        fresh(Millis(life.not_after().saturating_mul(1_000)), bench.at)?;
    }
    roster.admit(uri.clone(), &key)?;
    Ok(uri)
}

/// That a key package lives long enough, and not longer than it may.
pub(crate) fn fresh(not_after: Millis, at: Millis) -> Result<(), LeafError> {
    if not_after < at.plus(KEY_PACKAGE_MARGIN_MILLIS) {
        return Err(LeafError::TooOld);
    }
    if not_after > at.plus(KEY_PACKAGE_MILLIS + CLOCK_SKEW_MILLIS_MAX) {
        return Err(LeafError::LivesTooLong);
    }
    Ok(())
}

/// Whom a leaf that stands in the group names; it was judged when it came in.
pub(crate) fn uri_of(leaf: &LeafNode) -> Result<NodeUri, LeafError> {
    let chain = Chain::of(leaf.credential())?;
    Ok(puente_charter::certificate::peer_uri(chain.own())?)
}

/// What every leaf says that it supports.
pub(crate) fn capabilities(suite: Suite) -> Capabilities {
    let extensions = [POLICY, ExtensionType::LastResort];
    Capabilities::new(None, Some(&[suite.mls()]), Some(&extensions), None, Some(&[CredentialType::X509]))
}

fn capable(capabilities: &Capabilities, suite: Suite) -> Result<(), LeafError> {
    let needs = [
        (capabilities.versions().contains(&ProtocolVersion::Mls10), "MLS 1.0"),
        (capabilities.ciphersuites().contains(&suite.mls().into()), "the group's ciphersuite"),
        (capabilities.extensions().contains(&POLICY), "the group policy extension"),
        (capabilities.credentials().contains(&CredentialType::X509), "X.509 credentials"),
    ];
    match needs.into_iter().find(|(has, _)| !has) {
        Some((_, what)) => Err(LeafError::Capability(what)),
        None => Ok(()),
    }
}
