//! Whose certificates make a leaf, as the charter says: one set of roots per nation, never pooled.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use puente_charter::{Charter, certificate};
use puente_model::{Jurisdiction, Millis, NodeUri};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::chain::Chain;
use crate::leaf::LeafError;
use crate::suite::Scheme;

/// Why a charter, or a list of revoked certificates, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A root of the charter.
    #[error("a certificate authority of '{nation}' in the charter cannot be used: {why}")]
    Root {
        /// Whose.
        nation: Jurisdiction,
        /// Why.
        why: String,
    },
    /// A list of revoked certificates.
    #[error("a revocation list of '{nation}' cannot be used: {why}")]
    RevocationList {
        /// Whose.
        nation: Jurisdiction,
        /// Why.
        why: String,
    },
    /// Of a nation that is not in the charter.
    #[error("'{0}' is not in the charter: its revocation list has no place here")]
    UnknownNation(Jurisdiction),
}

struct Nation {
    code: Jurisdiction,
    roots: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
}

/// A snapshot of the charter as leaves need it: roots are parsed once, not per leaf.
///
/// Leaves of an ordered commit are judged with the trust of the charter version that its ledger entry names, so that no
/// two members judge differently.
pub struct Trust {
    nations: Vec<Nation>,
    /// Every member; true: suspended.
    members: HashMap<NodeUri, bool>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} nations, {} members)", self.nations.len(), self.members.len())
    }
}

impl Trust {
    /// What a charter says.
    ///
    /// # Errors
    /// A root that is no certificate.
    pub fn of(charter: &Charter) -> Result<Self, TrustError> {
        let roots = charter.jurisdictions().map(|code| (code.clone(), charter.ca_roots(code)));
        let members = charter.members().iter().map(|member| (member.uri.clone(), !member.is_active()));
        Self::new(roots, members)
    }

    /// The same from its parts: the roots of every nation, and every member with whether it is suspended.
    ///
    /// # Errors
    /// A root that is no certificate.
    pub fn new<'r>(
        roots: impl IntoIterator<Item = (Jurisdiction, &'r [Vec<u8>])>,
        members: impl IntoIterator<Item = (NodeUri, bool)>,
    ) -> Result<Self, TrustError> {
        let mut nations = Vec::new();
        for (code, ders) in roots {
            let mut roots = Vec::with_capacity(ders.len());
            for der in ders {
                let der = CertificateDer::from(der.as_slice());
                let anchor = webpki::anchor_from_trusted_cert(&der);
                let anchor =
                    anchor.map_err(|error| TrustError::Root { nation: code.clone(), why: error.to_string() })?;
                roots.push(anchor.to_owned());
            }
            nations.push(Nation { code, roots, lists: Vec::new() });
        }
        Ok(Self { nations, members: members.into_iter().collect() })
    }

    /// The same, less what a nation's authority revoked: DER of a CRL. Certificates whose issuer gave no list count as
    /// not revoked, and a list's own end is not looked at: a stale list still revokes.
    ///
    /// For this node's own choices (whom it adds, which group it joins). Leaves of ordered commits are judged without,
    /// unless the same list reached every member: two members that judge differently part ways.
    ///
    /// # Errors
    /// No list, or of a nation that is not in the charter.
    pub fn revoking(mut self, nation: &Jurisdiction, der: &[u8]) -> Result<Self, TrustError> {
        let list = OwnedCertRevocationList::from_der(der)
            .map_err(|error| TrustError::RevocationList { nation: nation.clone(), why: error.to_string() })?;
        let Some(of) = self.nations.iter_mut().find(|n| n.code == *nation) else {
            return Err(TrustError::UnknownNation(nation.clone()));
        };
        of.lists.push(list.into());
        Ok(self)
    }

    /// The same for a group into which only these members of the charter belong: everybody else counts as not in it.
    #[must_use]
    pub fn among(mut self, members: &BTreeSet<NodeUri>) -> Self {
        self.members.retain(|node, _| members.contains(node));
        self
    }

    /// That a node is a member, and not suspended.
    ///
    /// # Errors
    /// [`LeafError::NotInCharter`], [`LeafError::Suspended`].
    pub fn active(&self, uri: &NodeUri) -> Result<(), LeafError> {
        match self.members.get(uri) {
            None => Err(LeafError::NotInCharter(uri.clone())),
            Some(true) => Err(LeafError::Suspended(uri.clone())),
            Some(false) => Ok(()),
        }
    }

    /// Whom a chain proves at a moment, how the certified key signs, and the key.
    pub(crate) fn proves(&self, chain: &Chain, at: Millis) -> Result<(NodeUri, Scheme, Vec<u8>), LeafError> {
        let uri = certificate::peer_uri(chain.own())?;
        let code = uri.jurisdiction();
        let Some(nation) = self.nations.iter().find(|n| n.code == code) else {
            return Err(LeafError::UnknownNation(code));
        };
        let der = CertificateDer::from(chain.own());
        let own = EndEntityCert::try_from(&der).map_err(|error| named(error, &code))?;
        let others: Vec<CertificateDer<'_>> =
            chain.others().iter().map(|c| CertificateDer::from(c.as_slice())).collect();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_millis(at.0));
        match verify(nation, &own, &others, time) {
            Ok(()) => {}
            Err(webpki::Error::UnknownIssuer) => {
                let other = |n: &&Nation| n.code != code && verify(n, &own, &others, time).is_ok();
                return Err(match self.nations.iter().find(other) {
                    Some(by) => LeafError::OtherNation { of: code.clone(), by: by.code.clone() },
                    None => LeafError::UnknownIssuer(code),
                });
            }
            Err(error) => return Err(named(error, &code)),
        }
        let info = own.subject_public_key_info();
        let (scheme, key) = Scheme::of_info(info.as_ref()).ok_or(LeafError::Algorithm)?;
        Ok((uri, scheme, key.to_vec()))
    }
}

fn verify(
    nation: &Nation,
    own: &EndEntityCert<'_>,
    others: &[CertificateDer<'_>],
    time: UnixTime,
) -> Result<(), webpki::Error> {
    let lists: Vec<&CertRevocationList<'_>> = nation.lists.iter().collect();
    // None where there are no lists: the builder refuses to build for nothing.
    let revocation = RevocationOptionsBuilder::new(&lists).ok();
    let revocation = revocation.map(|options| options.with_status_policy(UnknownStatusPolicy::Allow).build());
    // The purpose that nodes' certificates have anyway; one without stated purposes will do.
    let usage = KeyUsage::client_auth();
    own.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &nation.roots, others, time, usage, revocation, None)
        .map(|_| ())
}

fn named(error: webpki::Error, nation: &Jurisdiction) -> LeafError {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => LeafError::Expired,
        E::CertNotValidYet { .. } => LeafError::NotYetValid,
        E::CertRevoked => LeafError::Revoked,
        E::UnknownIssuer => LeafError::UnknownIssuer(nation.clone()),
        E::InvalidSignatureForPublicKey => LeafError::BadSignature,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => LeafError::WrongUsage,
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | E::SignatureAlgorithmMismatch => LeafError::Algorithm,
        E::CaUsedAsEndEntity => LeafError::Names(certificate::CertificateError::Authority),
        E::BadDer | E::BadDerTime | E::TrailingData(_) => LeafError::Names(certificate::CertificateError::Malformed),
        other => LeafError::BadChain(other.to_string()),
    }
}
