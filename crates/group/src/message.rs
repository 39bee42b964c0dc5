//! Messages to the whole group: group questions and alerts.

use std::fmt;

use openmls::prelude::{ContentType, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage};
use puente_model::NodeUri;
use tls_codec::DeserializeBytes as _;
use zeroize::Zeroizing;

use crate::chain::Chain;
use crate::error::{GroupError, of_message};
use crate::group::{Group, limit};
use crate::identity::Identity;
use crate::limits::{AAD_BYTES_MAX, MESSAGE_BYTES_MAX, PAST_EPOCHS_MAX, SEALED_BYTES_MAX};
use crate::process::group_of;
use crate::store::Changes;
use crate::trust::Trust;

/// A message that was opened.
pub struct Opened {
    /// Who sent it; still a member. It counts only if this is who delivered it, or a relay was allowed.
    pub from: NodeUri,
    /// The epoch that it was sent in: this one, or the one before.
    pub epoch: u64,
    /// What it says in the clear; signed.
    pub aad: Vec<u8>,
    /// Its content; wiped when dropped.
    pub content: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened(from {} in epoch {}, {} bytes)", self.from, self.epoch, self.content.len())
    }
}

impl Group {
    /// Seals a message once for all members. Padded to [`PADDING_BYTES`](crate::limits::PADDING_BYTES).
    ///
    /// # Errors
    /// [`GroupError::SuspendedInside`] while a member may not read it; limits.
    pub fn seal(
        &mut self,
        me: &Identity,
        aad: &[u8],
        content: &[u8],
        trust: &Trust,
    ) -> Result<(Vec<u8>, Changes), GroupError> {
        limit("bytes of a message", content.len(), MESSAGE_BYTES_MAX)?;
        limit("bytes that a message says in the clear", aad.len(), AAD_BYTES_MAX)?;
        self.mls()?;
        if let Some(uri) = self.members().find(|uri| trust.active(uri).is_err()) {
            return Err(GroupError::SuspendedInside(uri.clone()));
        }
        let key = self.mls()?.own_leaf_node().map(|leaf| leaf.signature_key().as_slice());
        if *me.uri() != self.me || key != Some(me.key()) {
            return Err(GroupError::NotItsIdentity);
        }
        self.transact(|mls, provider, _| {
            mls.set_aad(aad.to_vec());
            let sealed = mls.create_message(provider, me, content);
            let sealed = sealed.map_err(|error| GroupError::Library(error.to_string()))?;
            sealed.to_bytes().map_err(|error| GroupError::Library(error.to_string()))
        })
    }

    /// Opens a message of another member. The changes hold that it was opened: make them durable before acting on it,
    /// else it opens again after a crash.
    ///
    /// # Errors
    /// [`GroupError::Early`] for one of a coming epoch: hold it back ([`Early`](crate::Early)) until the commits arrived.
    pub fn open(&mut self, sealed: &[u8]) -> Result<(Opened, Changes), GroupError> {
        limit("bytes of a sealed message", sealed.len(), SEALED_BYTES_MAX)?;
        let at = self.standing.epoch;
        self.mls()?;
        let malformed = || GroupError::Malformed("sealed message");
        let read = MlsMessageIn::tls_deserialize_exact_bytes(sealed).map_err(|_| malformed())?;
        let MlsMessageBodyIn::PrivateMessage(message) = read.extract() else { return Err(malformed()) };
        let message = ProtocolMessage::from(message);
        if message.content_type() != ContentType::Application {
            return Err(malformed());
        }
        if group_of(message.group_id().as_slice()) != Some(self.id) {
            return Err(GroupError::OtherGroup);
        }
        let epoch = message.epoch().as_u64();
        if epoch > at {
            return Err(GroupError::Early { at, found: epoch });
        }
        if epoch.saturating_add(PAST_EPOCHS_MAX as u64) < at {
            return Err(GroupError::TooOld { at, found: epoch });
        }
        let members = self.standing.members.clone();
        self.transact(|mls, provider, _| {
            let processed = mls.process_message(provider, message).map_err(|e| of_message(e, at, epoch))?;
            let chain = Chain::of(processed.credential())?;
            let from = puente_charter::certificate::peer_uri(chain.own()).map_err(crate::LeafError::from)?;
            let aad = processed.aad().to_vec();
            let content = match processed.into_content() {
                ProcessedMessageContent::ApplicationMessage(message) => Zeroizing::new(message.into_bytes()),
                ProcessedMessageContent::OwnPrivateMessage => return Err(GroupError::OwnMessage),
                _ => return Err(malformed()),
            };
            if !members.contains_key(&from) {
                return Err(GroupError::SenderRemoved(from));
            }
            limit("bytes of a message", content.len(), MESSAGE_BYTES_MAX)?;
            Ok(Opened { from, epoch, aad, content })
        })
    }
}
