//! What other members say: checked against their logs, recorded, kept.

use puente_audit_log::ClaimedReceipt;
use puente_charter::Charter;
use puente_corridor::{Opened, PostId};
use puente_model::{Digest, EventKind, Millis, NodeUri, Secret32, digest};
use puente_wire::{Alert, Entry, Event, Header, decode_said, label, proto};

use super::ALERTS_MAX;
use super::stored::StoredAlert;
use crate::engine::{Engine, Then};
use crate::ledger::Intent;

/// What a member said counts for nothing: it does not follow from an entry of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not follow from an entry of its author's log")]
pub struct Worthless;

impl Engine {
    /// A member said something. It is taken in before its post is acknowledged; a repeat changes nothing.
    pub(crate) fn heard(&mut self, now: Millis, opened: &Opened) {
        use proto::said::Body;
        let taken = match decode_said(&opened.content) {
            Ok(Body::Alert(alert)) => self.alert_came(now, opened, alert),
            Ok(Body::Acknowledged(said)) => self.acknowledgement_came(now, opened, said),
            Ok(Body::Cancelled(said)) => self.cancellation_came(now, opened, &said),
            Ok(Body::Ask(ask)) => {
                self.asked_in_group(now, &opened.from, ask);
                Ok(())
            }
            Err(_) => Err(Worthless),
        };
        if taken.is_err() {
            self.count_group_fault();
        }
    }

    /// A member has a post of this node's.
    pub(crate) fn reached(&mut self, now: Millis, post: PostId, node: &NodeUri) {
        let Some(leaf) = self.alerts.posts.get(&post).copied() else { return };
        let Some(alert) = self.alerts.known.get_mut(&leaf) else { return };
        let Some(hop) = alert.hops.iter_mut().find(|hop| hop.node == node.as_str() && hop.reached_at == 0) else {
            return;
        };
        hop.reached_at = now.0;
        let puts = vec![alert.put(&leaf)];
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
    }

    fn alert_came(&mut self, now: Millis, opened: &Opened, said: proto::AlertSigned) -> Result<(), Worthless> {
        let signed = said.signed.as_ref().ok_or(Worthless)?;
        let (event, leaf) = proven_event(&self.charter, &opened.from, signed, Some((&said.detail_salt, &said.alert)))?;
        let alert = Alert::decode(&said.alert).map_err(|_| Worthless)?;
        let (Some(purpose), Some(basis)) = (event.purpose, event.basis) else { return Err(Worthless) };
        if event.kind != EventKind::AlertSign || alert.group != opened.group.as_str() {
            return Err(Worthless);
        }
        let cancelled = self.alerts.known.get(&leaf);
        if cancelled.is_some_and(|known| !known.alert.is_empty()) || alert.expires_at <= now {
            return Ok(());
        }
        let (cancelled_at, reason) = cancelled.map(|c| (c.cancelled_at, c.reason.clone())).unwrap_or_default();
        if self.alerts.of(opened.from.as_str()) >= ALERTS_MAX {
            return Err(Worthless);
        }
        let kept = StoredAlert {
            from: opened.from.to_string(),
            alert: said.alert,
            signed: said.signed,
            detail_salt: said.detail_salt,
            signed_at: event.at.0,
            delivered_at: now.0,
            cancelled_at,
            reason,
            purpose: purpose.code(),
            basis: basis.to_string(),
            expires_at: alert.expires_at.0,
            ..StoredAlert::default()
        };
        self.keep(now, leaf, kept, Some((leaf, opened.from.clone())));
        self.forget_old_alerts(now);
        Ok(())
    }

    fn acknowledgement_came(
        &mut self,
        now: Millis,
        opened: &Opened,
        said: proto::AlertAcknowledged,
    ) -> Result<(), Worthless> {
        let acknowledged = said.acknowledged.as_ref().ok_or(Worthless)?;
        let (event, _) = proven_event(&self.charter, &opened.from, acknowledged, None)?;
        let (EventKind::AlertAck, Some(leaf)) = (event.kind, event.quoted) else { return Err(Worthless) };
        let Some(mut known) = self.alerts.known.get(&leaf).cloned() else { return Err(Worthless) };
        let hop = known.hops.iter_mut().find(|hop| hop.node == opened.from.as_str());
        let Some(hop) = hop.filter(|_| event.peer.as_ref() == Some(&self.node)) else { return Err(Worthless) };
        if hop.acknowledged_at == 0 {
            (hop.acknowledged_at, hop.role) = (event.at.0, event.role.map_or(0, |role| role.code()));
            hop.acknowledged = said.acknowledged;
            // Whoever acknowledges it has it, whatever became of the word of its node.
            hop.reached_at = if hop.reached_at == 0 { now.0 } else { hop.reached_at };
            self.keep(now, leaf, known, None);
        }
        Ok(())
    }

    fn cancellation_came(
        &mut self,
        now: Millis,
        opened: &Opened,
        said: &proto::AlertCancelled,
    ) -> Result<(), Worthless> {
        let detail = Some((&said.detail_salt[..], said.reason.as_bytes()));
        let cancelled = said.cancelled.as_ref().ok_or(Worthless)?;
        let (event, own) = proven_event(&self.charter, &opened.from, cancelled, detail)?;
        let (EventKind::AlertCancel, Some(leaf)) = (event.kind, event.quoted) else { return Err(Worthless) };
        if said.reason.chars().count() > puente_model::limits::WORDS_CHARS_MAX {
            return Err(Worthless);
        }
        let mut known = match self.alerts.known.get(&leaf) {
            Some(known) if known.from == opened.from.as_str() => known.clone(),
            Some(_) => return Err(Worthless),
            // It overtook its alert: that is shown as cancelled when it comes.
            None if self.alerts.of(opened.from.as_str()) >= ALERTS_MAX => return Err(Worthless),
            None => StoredAlert { from: opened.from.to_string(), signed_at: event.at.0, ..StoredAlert::default() },
        };
        if known.cancelled_at == 0 {
            (known.cancelled_at, known.reason) = (event.at.0, said.reason.clone());
            self.keep(now, leaf, known, Some((own, opened.from.clone())));
        }
        Ok(())
    }

    /// Keeps what an alert has become; with what was delivered, if that is to be recorded.
    fn keep(&mut self, now: Millis, leaf: Digest, kept: StoredAlert, delivered: Option<(Digest, NodeUri)>) {
        let put = kept.put(&leaf);
        self.alerts.known.insert(leaf, kept);
        let mut intent = match delivered {
            Some((quoted, from)) => {
                let event = self.about_alert(now, EventKind::AlertDeliver, quoted, Some(from));
                self.event_intent(now, event, Vec::new(), Then::Nothing)
            }
            None => Intent { entries: Vec::new(), puts: Vec::new(), asides: Vec::new(), then: Then::Nothing },
        };
        intent.puts.push(put);
        self.enqueue(now, intent);
    }
}

/// Verifies that an event stands in a member's log: its entry, what its header and detail are, its receipt under a head that
/// the member's log signed. Whether that head is of one history with all others, heads and auditors tell.
///
/// # Errors
/// [`Worthless`].
pub fn proven_event(
    charter: &Charter,
    from: &NodeUri,
    proven: &proto::Proven,
    detail: Option<(&[u8], &[u8])>,
) -> Result<(Event, Digest), Worthless> {
    let Ok(Entry::Veiled(veiled)) = Entry::decode(&proven.entry) else { return Err(Worthless) };
    let salt: [u8; 32] = proven.header_salt.as_slice().try_into().map_err(|_| Worthless)?;
    if Header::commit(&proven.header, &Secret32::new(salt)) != veiled.commitment {
        return Err(Worthless);
    }
    let Ok(Header::Event(event)) = Header::decode(&proven.header) else { return Err(Worthless) };
    if let Some((salt, bytes)) = detail {
        let salt: [u8; 32] = salt.try_into().map_err(|_| Worthless)?;
        if event.detail != Some(digest(label::DETAIL, &[&salt, bytes])) {
            return Err(Worthless);
        }
    }
    if (event.kind.stage(), event.at.minute()) != (veiled.stage, veiled.minute) {
        return Err(Worthless);
    }
    let leaf = puente_audit_log::leaf_hash(&proven.entry);
    let receipt = ClaimedReceipt::parse(&proven.receipt).map_err(|_| Worthless)?;
    let origin = receipt.checkpoint().claimed().origin().to_owned();
    let member = charter.member(from).ok_or(Worthless)?;
    let log = member.logs.iter().find(|log| log.origin.as_str() == origin).ok_or(Worthless)?;
    let key = log.vkey.parse().map_err(|_| Worthless)?;
    let receipt = receipt.verify(&leaf, &key).map_err(|_| Worthless)?;
    match log.closed_at {
        Some(end) if receipt.head().size().0 > end => Err(Worthless),
        _ => Ok((event, leaf)),
    }
}
