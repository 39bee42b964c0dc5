//! Whose certificates count, as the charter says: one set of roots per nation, never pooled.

use std::collections::{BTreeMap, HashMap, HashSet};

use puente_charter::{Charter, certificate};
use puente_model::{AuditorUri, Jurisdiction, Millis, NodeUri};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::refusal::PeerRefusal;

/// Intermediate certificates that a chain may have.
pub(crate) const INTERMEDIATES_MAX: usize = 4;
/// One certificate, in bytes of DER.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// Which end of the handshake presents the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presenter {
    /// The side that dialled.
    Client,
    /// The side that was dialled.
    Server,
}

/// A snapshot of the charter, as handshakes need it: roots are parsed once, not per handshake.
///
/// Promise: [`Trust::verify`] accepts exactly the certificates whose one URI names an active member other than this
/// node, not kept out here, and whose chain ends in a root of that member's own nation; [`Trust::verify_auditor`] those whose one URI names
/// an auditor of the charter and whose chain ends in a root of that auditor's own nation.
#[derive(Debug)]
pub(crate) struct Trust {
    own: NodeUri,
    nations: Vec<(Jurisdiction, Vec<TrustAnchor<'static>>)>,
    members: HashMap<NodeUri, Member>,
    /// Kept out here, whatever the charter says: why.
    barred: BTreeMap<NodeUri, String>,
    auditors: HashSet<AuditorUri>,
}

/// What a dial and a handshake need to know of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// `host:port`.
    pub(crate) endpoints: Vec<String>,
    /// Nobody may exchange with it.
    pub(crate) suspended: bool,
}

/// A root of the charter that the TLS stack cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a certificate authority of '{nation}' in the charter cannot be used: {why}")]
pub struct RootError {
    /// Whose.
    pub nation: Jurisdiction,
    /// Why.
    pub why: String,
}

impl Trust {
    /// What the charter says, for the node `own`.
    pub(crate) fn of(charter: &Charter, own: NodeUri) -> Result<Self, RootError> {
        let roots = charter.jurisdictions().map(|code| (code.clone(), charter.ca_roots(code)));
        let members = charter
            .members()
            .iter()
            .map(|m| (m.uri.clone(), Member { endpoints: m.endpoints.clone(), suspended: !m.is_active() }));
        let auditors = charter.jurisdictions().flat_map(|code| charter.auditors(code));
        // A verified charter holds no name that makes no URI.
        Ok(Self::new(own, roots, members)?.with_auditors(auditors.filter_map(|auditor| auditor.uri().ok())))
    }

    pub(crate) fn new<'r>(
        own: NodeUri,
        roots: impl IntoIterator<Item = (Jurisdiction, &'r [Vec<u8>])>,
        members: impl IntoIterator<Item = (NodeUri, Member)>,
    ) -> Result<Self, RootError> {
        let mut nations = Vec::new();
        for (nation, ders) in roots {
            let mut anchors = Vec::with_capacity(ders.len());
            for der in ders {
                let der = CertificateDer::from(der.as_slice());
                let anchor = webpki::anchor_from_trusted_cert(&der)
                    .map_err(|error| RootError { nation: nation.clone(), why: error.to_string() })?;
                anchors.push(anchor.to_owned());
            }
            nations.push((nation, anchors));
        }
        let members = members.into_iter().collect();
        Ok(Self { own, nations, members, barred: BTreeMap::new(), auditors: HashSet::new() })
    }

    /// The same, less those that this node keeps out.
    pub(crate) fn barring(mut self, barred: BTreeMap<NodeUri, String>) -> Self {
        self.barred = barred;
        self
    }

    /// With the auditors who may read the log.
    pub(crate) fn with_auditors(mut self, auditors: impl IntoIterator<Item = AuditorUri>) -> Self {
        self.auditors = auditors.into_iter().collect();
        self
    }

    /// The node that reads this.
    pub(crate) const fn own(&self) -> &NodeUri {
        &self.own
    }

    /// A member with whom this node may exchange.
    pub(crate) fn active(&self, uri: &NodeUri) -> Result<&Member, PeerRefusal> {
        match self.members.get(uri) {
            _ if *uri == self.own => Err(PeerRefusal::OwnName(uri.clone())),
            None => Err(PeerRefusal::NotInCharter(uri.clone())),
            Some(member) if member.suspended => Err(PeerRefusal::Suspended(uri.clone())),
            Some(_) if self.barred.contains_key(uri) => Err(PeerRefusal::Blocked(uri.clone())),
            Some(member) => Ok(member),
        }
    }

    /// The node that a chain proves; `expected` is whom this node dialled, if it dialled.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        presenter: Presenter,
        expected: Option<&NodeUri>,
        now: UnixTime,
    ) -> Result<NodeUri, PeerRefusal> {
        sizes(leaf, intermediates)?;
        let uri = certificate::peer_uri(leaf)?;
        self.chain(&uri.jurisdiction(), leaf, intermediates, presenter, now)?;
        self.active(&uri)?;
        match expected {
            Some(expected) if *expected != uri => {
                Err(PeerRefusal::WrongPeer { expected: expected.clone(), found: uri })
            }
            _ => Ok(uri),
        }
    }

    /// The auditor that a chain proves, and the last second in which its certificate is valid. The auditor dials.
    pub(crate) fn verify_auditor(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(AuditorUri, Millis), PeerRefusal> {
        sizes(leaf, intermediates)?;
        let names = certificate::auditor_names(leaf)?;
        self.chain(&names.uri.jurisdiction(), leaf, intermediates, Presenter::Client, now)?;
        self.auditor(&names.uri)?;
        Ok((names.uri, names.not_after))
    }

    /// That the charter in force lists this auditor.
    pub(crate) fn auditor(&self, uri: &AuditorUri) -> Result<(), PeerRefusal> {
        if self.auditors.contains(uri) { Ok(()) } else { Err(PeerRefusal::NoSuchAuditor(uri.clone())) }
    }

    /// That a chain ends in a root of this very nation.
    fn chain(
        &self,
        nation: &Jurisdiction,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        presenter: Presenter,
        now: UnixTime,
    ) -> Result<(), PeerRefusal> {
        let Some((_, anchors)) = self.nations.iter().find(|(code, _)| code == nation) else {
            return Err(PeerRefusal::UnknownNation(nation.clone()));
        };
        let cert = EndEntityCert::try_from(leaf).map_err(|error| named(error, nation))?;
        let chain = |anchors: &[TrustAnchor<'static>]| {
            let usage = match presenter {
                Presenter::Client => KeyUsage::client_auth(),
                Presenter::Server => KeyUsage::server_auth(),
            };
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            cert.verify_for_usage(algorithms, anchors, intermediates, now, usage, None, None).map(|_| ())
        };
        match chain(anchors) {
            Ok(()) => Ok(()),
            Err(webpki::Error::UnknownIssuer) => {
                let other = |(code, anchors): &&(Jurisdiction, Vec<_>)| code != nation && chain(anchors).is_ok();
                Err(match self.nations.iter().find(other) {
                    Some((by, _)) => PeerRefusal::OtherNation { of: nation.clone(), by: by.clone() },
                    None => PeerRefusal::UnknownIssuer(nation.clone()),
                })
            }
            Err(error) => Err(named(error, nation)),
        }
    }
}

fn sizes(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), PeerRefusal> {
    let too_large = |der: &CertificateDer<'_>| der.len() > CERTIFICATE_BYTES_MAX;
    if intermediates.len() > INTERMEDIATES_MAX || too_large(leaf) || intermediates.iter().any(too_large) {
        return Err(PeerRefusal::ChainTooLong { max: INTERMEDIATES_MAX });
    }
    Ok(())
}

fn named(error: webpki::Error, nation: &Jurisdiction) -> PeerRefusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => PeerRefusal::Expired,
        E::CertNotValidYet { .. } => PeerRefusal::NotYetValid,
        E::CaUsedAsEndEntity => PeerRefusal::Names(certificate::CertificateError::Authority),
        E::UnknownIssuer => PeerRefusal::UnknownIssuer(nation.clone()),
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => PeerRefusal::WrongUsage,
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | E::SignatureAlgorithmMismatch => PeerRefusal::Algorithm,
        E::InvalidSignatureForPublicKey => PeerRefusal::BadSignature,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => PeerRefusal::Names(certificate::CertificateError::Malformed),
        other => PeerRefusal::BadChain(other.to_string()),
    }
}
