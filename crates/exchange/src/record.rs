//! Entries of this node's own, ready to be recorded: numbered, veiled, sealed to auditors.

use prost::Message as _;
use puente_model::{Digest, ExchangeId, Jurisdiction, Millis, NodeUri, Secret32};
use puente_wire::{Entry, Event, Header, Pair, PairKind, Veiled, fault::FaultCode, label, proto};
use rand_core::RngCore as _;

use crate::api::LocalEvent;
use crate::engine::{Engine, Then};
use crate::ledger::Intent;
use crate::peer::Own;
use crate::persist;
use crate::seeds::NoSeeds;

impl Engine {
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// The index that the next enqueued entry will have: entries are recorded in the order they are enqueued.
    pub(crate) fn next_index(&self) -> u64 {
        self.ledger.next_index()
    }

    /// Encodes an entry of an exchange: in the clear between nations, veiled within one.
    pub(crate) fn wrap(&mut self, now: Millis, pair: Pair) -> Result<Wrapped, NoSeeds> {
        if !pair.is_domestic() {
            let entry = Entry::Pair(pair).encode();
            let leaf = puente_audit_log::leaf_hash(&entry);
            return Ok(Wrapped { entry, leaf, header: Vec::new(), salt: Vec::new(), asides: Vec::new(), before: None });
        }
        let salt = Secret32::new(self.random());
        let (entry, header) = veiled(pair, &salt);
        self.veil(now, entry, header, &salt)
    }

    /// Seals a veiled entry's header to the own auditors.
    pub(crate) fn veil(
        &mut self,
        now: Millis,
        entry: Vec<u8>,
        header: Vec<u8>,
        salt: &Secret32,
    ) -> Result<Wrapped, NoSeeds> {
        let leaf = puente_audit_log::leaf_hash(&entry);
        let nation = self.node.jurisdiction();
        let made = self.seeds.seal_header(&self.charter, &nation, (leaf, salt, &header), now, &mut self.rng)?;
        let aside = aside(&leaf, proto::aside::Body::SealedHeader(made.value));
        Ok(Wrapped { entry, leaf, header, salt: salt.expose().to_vec(), asides: vec![aside], before: made.entry })
    }

    /// Takes the next number towards a peer for an entry of this node's.
    pub(crate) fn number(
        &mut self,
        peer: &NodeUri,
        wrapped: &Wrapped,
        kind: PairKind,
        exchange: Option<ExchangeId>,
        own_proven: Option<proto::Proven>,
        index: u64,
    ) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let Some(peer) = self.peers.get_mut(peer) else { return Vec::new() };
        let seq = peer.next_seq;
        peer.next_seq += 1;
        let own = Own { leaf: wrapped.leaf, kind, exchange, index, proven: own_proven, voided: 0, closed: false };
        let puts = vec![peer.own_put(seq, &own), peer.numbering_put()];
        peer.own_leaves.insert(own.leaf, seq);
        peer.own.insert(seq, own);
        puts
    }

    /// The fields that every entry of this node's has.
    pub(crate) fn pair(&self, to: &NodeUri, now: Millis, body: puente_wire::PairBody) -> Pair {
        Pair {
            from: self.node.clone(),
            to: to.clone(),
            log: self.log_number,
            seq: puente_model::Seq(self.peers.get(to).map_or(1, |p| p.next_seq)),
            minute: now.minute(),
            charter: self.vector.clone(),
            policy_hash: self.policy_hash,
            body,
        }
    }

    pub(crate) fn nations(&self, peer: &NodeUri) -> (Jurisdiction, Jurisdiction) {
        (self.node.jurisdiction(), peer.jurisdiction())
    }

    /// Records a local event; the caller may add to it before it is sealed.
    pub(crate) fn record_event(
        &mut self,
        now: Millis,
        local: LocalEvent,
        complete: impl FnOnce(&mut Event),
        then: Then,
    ) {
        let detail = local.detail.clone();
        let mut event = self.event(now, local);
        complete(&mut event);
        let collected = match &then {
            Then::Collected(batch) => Some(persist::collected_key(&batch.0)),
            _ => None,
        };
        let mut intent = self.event_intent(now, event, detail, then);
        if let Some(key) = collected {
            // In the same batch as the entry: both stand, or neither.
            let index = self.next_index() + intent.entries.len().saturating_sub(1) as u64;
            intent.puts.push((key, Some(index.to_be_bytes().to_vec())));
        }
        self.enqueue(now, intent);
    }

    /// A local event under what is in force now; its detail is given to [`Engine::event_intent`].
    pub(crate) fn event(&self, now: Millis, local: LocalEvent) -> Event {
        let mut event = Event::new(local.kind, now, self.vector.clone());
        event.record_type = local.record_type;
        event.count = local.count;
        event.purpose = local.purpose;
        event.basis = local.basis;
        event.role = local.role;
        event.policy_hash = Some(self.policy_hash);
        event
    }

    /// One local event as an intent (the Seeds entry before it, if it needs one).
    pub(crate) fn event_intent(&mut self, now: Millis, event: Event, detail: Vec<u8>, then: Then) -> Intent<Then> {
        Intent { then, ..self.opened_event(now, event, detail).intent }
    }

    /// The same, and what opens the event's entry to everybody.
    pub(crate) fn opened_event(&mut self, now: Millis, mut event: Event, detail: Vec<u8>) -> OpenedEvent {
        let detail_salt = Secret32::new(self.random());
        if !detail.is_empty() {
            event.detail = Some(puente_model::digest(label::DETAIL, &[detail_salt.expose(), &detail]));
        }
        let stage = event.kind.stage();
        let header = Header::Event(event).encode();
        let salt = Secret32::new(self.random());
        let commitment = Header::commit(&header, &salt);
        let entry = Entry::Veiled(Veiled { stage, minute: now.minute(), commitment }).encode();
        let leaf = puente_audit_log::leaf_hash(&entry);
        let mut puts = Vec::new();
        if !detail.is_empty() {
            puts.push((persist::detail_key(&leaf.0), Some([detail_salt.expose().as_slice(), &detail].concat())));
        }
        let proven = proto::Proven {
            entry: entry.clone(),
            header: header.clone(),
            header_salt: salt.expose().to_vec(),
            ..proto::Proven::default()
        };
        let then = Then::Nothing;
        let intent = match self.veil(now, entry.clone(), header.clone(), &salt) {
            Ok(wrapped) => {
                let entries = wrapped.before.into_iter().chain([wrapped.entry]).collect();
                Intent { entries, puts, asides: wrapped.asides, then }
            }
            // Without an auditor's key the event is recorded all the same; its header stays here, to be
            // opened on challenge.
            Err(_) => {
                puts.push((persist::header_key(&leaf.0), Some([salt.expose().as_slice(), &header].concat())));
                Intent { entries: vec![entry], puts, asides: Vec::new(), then }
            }
        };
        OpenedEvent { intent, proven, detail_salt }
    }
}

/// A local event to be recorded, and what opens it to others.
pub(crate) struct OpenedEvent {
    pub(crate) intent: Intent<Then>,
    /// Its entry, the last of the intent's, still without its receipt.
    pub(crate) proven: proto::Proven,
    pub(crate) detail_salt: Secret32,
}

impl OpenedEvent {
    /// Leaf hash of the event's entry.
    pub(crate) fn leaf(&self) -> Digest {
        puente_audit_log::leaf_hash(&self.proven.entry)
    }
}

/// An entry of a domestic exchange under its veil, and the header that it commits to.
pub(crate) fn veiled(pair: Pair, salt: &Secret32) -> (Vec<u8>, Vec<u8>) {
    let (stage, minute) = (pair.stage(), pair.minute);
    let header = Header::Pair(pair).encode();
    let commitment = Header::commit(&header, salt);
    (Entry::Veiled(Veiled { stage, minute, commitment }).encode(), header)
}

/// An entry ready to be recorded, and what travels or stays beside it.
#[derive(Debug)]
pub(crate) struct Wrapped {
    pub(crate) entry: Vec<u8>,
    pub(crate) leaf: Digest,
    /// Of a veiled entry; empty otherwise.
    pub(crate) header: Vec<u8>,
    pub(crate) salt: Vec<u8>,
    pub(crate) asides: Vec<Vec<u8>>,
    /// A Seeds entry that must stand before it.
    pub(crate) before: Option<Vec<u8>>,
}

impl Wrapped {
    /// As it travels, still without its receipt.
    pub(crate) fn proven(&self, escrow: Option<proto::Escrow>) -> proto::Proven {
        proto::Proven {
            entry: self.entry.clone(),
            receipt: Vec::new(),
            header: self.header.clone(),
            header_salt: self.salt.clone(),
            escrow,
        }
    }
}

pub(crate) fn aside(leaf: &Digest, body: proto::aside::Body) -> Vec<u8> {
    proto::Aside { leaf_hash: leaf.0.to_vec(), body: Some(body) }.encode_to_vec()
}

/// Opens what travelled: the pair entry, in the clear or under its veil, and its leaf hash.
pub(crate) fn unwrap(proven: &proto::Proven) -> Result<(Pair, Digest), FaultCode> {
    let leaf = puente_audit_log::leaf_hash(&proven.entry);
    let code = |error: puente_wire::WireError| match error {
        puente_wire::WireError::TooLarge { .. } => FaultCode::Oversized,
        puente_wire::WireError::Version(_) => FaultCode::Version,
        _ => FaultCode::Malformed,
    };
    match Entry::decode(&proven.entry).map_err(code)? {
        Entry::Pair(pair) if proven.header.is_empty() && proven.header_salt.is_empty() => Ok((pair, leaf)),
        Entry::Veiled(veiled) => {
            let salt: [u8; 32] = proven.header_salt.as_slice().try_into().map_err(|_| FaultCode::Malformed)?;
            if Header::commit(&proven.header, &Secret32::new(salt)) != veiled.commitment {
                return Err(FaultCode::BadCommitment);
            }
            match Header::decode(&proven.header).map_err(code)? {
                Header::Pair(pair)
                    if pair.is_domestic() && pair.stage() == veiled.stage && pair.minute == veiled.minute =>
                {
                    Ok((pair, leaf))
                }
                _ => Err(FaultCode::Malformed),
            }
        }
        _ => Err(FaultCode::Malformed),
    }
}
