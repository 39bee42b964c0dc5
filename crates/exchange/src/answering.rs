//! The holder answers, and releases once the asker's receipt has come.

use puente_evidence::{AnswerTree, sealing};
use puente_model::{
    CountBand, Digest, ExchangeId, FieldClass, LeafIndex, Millis, Mode, NodeUri, Outcome, Secret32, digest,
};
use puente_wire::{Explanation, PairBody, PairKind, QueryPayload, Terms, fault::FaultCode, label, proto};
use zeroize::Zeroize as _;

use crate::api::Effect;
use crate::control::{Problem, receipt_aside};
use crate::engine::{Engine, Route, Then, aside};
use crate::groups::with_psk;
use crate::holder::HoldStage;
use crate::judging::Say;
use crate::ledger::{Intent, Recorded};
use crate::persist;

impl Engine {
    /// Builds the ANSWER or REFUSAL and records it together with the QUERY.
    pub(crate) fn answer(&mut self, now: Millis, exchange: ExchangeId, say: Say) {
        if let Err(reason) = self.try_answer(now, exchange, say) {
            // Nothing was recorded: the asker may repeat the same number.
            let parked = self.holds.get(&exchange).is_some_and(|hold| hold.stored.query_index.is_some());
            if parked {
                self.parked_again(now, exchange);
            } else if let Some(hold) = self.holds.remove(&exchange)
                && let Some(route) = hold.route
            {
                let fault = proto::Fault {
                    code: FaultCode::LogUnavailable.code(),
                    text: reason.clone(),
                    retry_after_millis: 5_000,
                    exchange_id: exchange.0.to_vec(),
                };
                self.send(route, proto::frame::Body::Fault(fault), true);
            }
            self.emit(Effect::Alarm(crate::api::Alarm::StoreUnavailable(reason)));
        }
    }

    pub(crate) fn try_answer(&mut self, now: Millis, exchange: ExchangeId, say: Say) -> Result<(), String> {
        let hold = self.holds.get(&exchange).ok_or("the exchange is gone")?;
        let (peer, quoted, query_seq) = (hold.peer.clone(), hold.query_leaf, hold.query.seq.0);
        let mut terms = hold.query.terms().cloned().ok_or("a QUERY without terms")?;
        let (mut sealed, mut plain, mut content_key) = (None, None, Vec::new());
        let (kind, commitment, opening);
        let mut hit = false;
        let body: Box<dyn FnOnce(Terms, Digest) -> PairBody> = match say {
            Say::Refuse(reason, mut explanation) => {
                if explanation.appeal_en.is_empty() {
                    explanation.appeal_en.clone_from(&self.appeal.en);
                    explanation.appeal_es.clone_from(&self.appeal.es);
                }
                let (made, c, o) = self.plain(terms.mode, &explanation);
                (plain, kind, commitment, opening) = (Some(made), PairKind::Refusal, c, o);
                Box::new(move |terms, escrow| PairBody::Refusal { terms, reason, commitment: c, escrow, quoted })
            }
            Say::Nothing(outcome, explanation, count, handling) => {
                let (made, c, o) = self.plain(terms.mode, &explanation);
                (plain, kind, commitment, opening) = (Some(made), PairKind::Answer, c, o);
                terms.handling = handling;
                hit = matches!(outcome, Outcome::HitUnconfirmed | Outcome::HitConfirmed);
                let count = CountBand::of(count);
                Box::new(move |terms, escrow| PairBody::Answer {
                    terms,
                    outcome,
                    field_class: FieldClass::None,
                    count,
                    commitment: c,
                    escrow,
                    quoted,
                })
            }
            Say::Disclose { fields, count, grant } => {
                terms.handling = grant.handling;
                let tree = AnswerTree::build(fields, &mut self.rng).map_err(|e| e.to_string())?;
                let obligations = grant.obligations.iter().cloned().collect();
                let made = sealing::seal_body(terms.mode, &tree, now, obligations, &mut self.rng)
                    .map_err(|e| e.to_string())?;
                content_key = made.key.expose().to_vec();
                (kind, commitment, opening) = (PairKind::Answer, made.commitment, content_key.clone());
                sealed = Some(made.sealed);
                let (count, field_class, c) = (CountBand::of(count), grant.field_class, made.commitment);
                Box::new(move |terms, escrow| PairBody::Answer {
                    terms,
                    outcome: Outcome::CoreData,
                    field_class,
                    count,
                    commitment: c,
                    escrow,
                    quoted,
                })
            }
        };
        let (escrow, escrow_hash, mut before) = self.make_escrow(now, &peer, exchange, kind, commitment, &opening)?;
        let pair = self.pair(&peer, now, body(terms, escrow_hash));
        let wrapped = self.wrap(now, pair.clone()).map_err(|e| e.to_string())?;
        let hold = self.holds.get(&exchange).ok_or("the exchange is gone")?;
        let query = hold.stored.query.clone().ok_or("a held exchange without its QUERY")?;
        // The QUERY of a question that a person decided on stands recorded already.
        let parked = hold.stored.query_index.is_some();
        let (mut asides, mut query_entry) = (Vec::new(), None);
        if !parked {
            let (sealed, seeds) = self.seal_received(now, &query, &quoted);
            asides = sealed;
            before.extend(seeds);
            query_entry = Some(query.entry.clone());
        }
        before.extend(wrapped.before.clone());
        let index = self.next_index() + before.len() as u64 + u64::from(!parked);
        let mut puts = self.number(&peer, &wrapped, kind, Some(exchange), None, index);
        if parked {
            puts.push((persist::parked_key(&peer, exchange), None));
        } else if let Some(known) = self.peers.get_mut(&peer) {
            puts.push(known.take(query_seq, quoted, Some(exchange), index - 1));
        }
        let hold = self.holds.get_mut(&exchange).ok_or("the exchange is gone")?;
        hold.stored.answer = Some(wrapped.proven(Some(escrow.clone())));
        hold.stored.answer_index = index;
        hold.stored.answer_leaf = wrapped.leaf.0.to_vec();
        hold.stored.sealed = sealed;
        hold.stored.plain = plain;
        if content_key.is_empty() {
            hold.stored.psk.zeroize();
        }
        hold.stored.content_key = content_key;
        hold.stage = HoldStage::Recording;
        hold.answer = Some((pair, wrapped.leaf));
        if !parked {
            asides.push(receipt_aside(&quoted, &hold.query_receipt));
            if let Some(escrow) = &query.escrow {
                asides.push(aside(&quoted, proto::aside::Body::Escrow(escrow.clone())));
            }
        }
        asides.push(aside(&wrapped.leaf, proto::aside::Body::Escrow(escrow)));
        asides.extend(wrapped.asides);
        puts.push(hold.put(exchange));
        puts.append(&mut hold.offers);
        puts.push((persist::open_hold_key(&peer, exchange), Some(Vec::new())));
        if hit {
            puts.push((persist::hit_key(&wrapped.leaf.0), Some(exchange.0.to_vec())));
        }
        let due = hold.due_at;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.unreceipted.insert((due, exchange));
        }
        let entries = before.into_iter().chain(query_entry).chain([wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Reply(exchange) });
        Ok(())
    }

    /// A salted explanation: what travels, its commitment, its opening.
    pub(crate) fn plain(&mut self, mode: Mode, explanation: &Explanation) -> (proto::Plain, Digest, Vec<u8>) {
        let salt = Secret32::new(self.random());
        let payload = explanation.encode();
        let commitment = Explanation::commit(mode, &payload, &salt);
        let opening = [salt.expose().as_slice(), &payload].concat();
        (proto::Plain { payload, salt: salt.expose().to_vec() }, commitment, opening)
    }

    pub(crate) fn answer_recorded(&mut self, now: Millis, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        if hold.stage != HoldStage::Recording {
            return;
        }
        hold.stage = HoldStage::AwaitingReceipt;
        let (decider, peer) = (hold.decider.take(), hold.peer.clone());
        let answer = hold.answer.as_ref().map(|(pair, _)| (pair.seq.0, pair.kind()));
        // Nobody holds a stream open for a person's decision: the answer is delivered.
        // Nor for a question that was said to a group.
        let delivered = hold.route.is_none() && (hold.stored.query_index.is_some() || hold.said_to_group);
        if let Some(ticket) = decider {
            self.tell_decided(ticket, exchange);
        }
        if let (true, Some((seq, kind))) = (delivered, answer) {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.deliveries.push(seq, kind);
            }
            if self.line_to(&peer).is_some() {
                self.redeliver(now, &peer);
            }
            return;
        }
        self.send_reply(exchange, recorded.last().cloned());
    }

    pub(crate) fn send_reply(&mut self, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(hold) = self.holds.get(&exchange) else { return };
        let Some(route) = hold.route else { return };
        let index = LeafIndex(hold.stored.answer_index);
        let Some(recorded) = recorded.or_else(|| self.ledger.recorded(index).ok()) else { return };
        let Some(hold) = self.holds.get(&exchange) else { return };
        if hold.answer.as_ref().is_none_or(|(_, leaf)| leaf != recorded.leaf()) {
            return;
        }
        let mut answer = hold.stored.answer.clone().unwrap_or_default();
        answer.receipt = recorded.receipt();
        let content = match (&hold.stored.sealed, &hold.stored.plain) {
            (Some(sealed), _) => Some(proto::reply::Content::Sealed(sealed.clone())),
            (_, Some(plain)) => Some(proto::reply::Content::Plain(plain.clone())),
            _ => None,
        };
        let reply = proto::Reply { answer: Some(answer), content };
        self.send_proven(route, proto::frame::Body::Reply(reply), false);
    }

    pub(crate) fn on_acknowledge(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        ack: &proto::Acknowledge,
    ) -> Result<(), Problem> {
        let exchange =
            ExchangeId::try_from(ack.exchange_id.as_slice()).map_err(|_| Problem::from(FaultCode::Malformed))?;
        let fault = |code| Problem::Fault(code, Some(exchange));
        if !self.hold_in_memory(peer, exchange)? {
            return Err(fault(FaultCode::UnknownExchange));
        }
        let Some(hold) = self.holds.get_mut(&exchange) else { return Err(fault(FaultCode::UnknownExchange)) };
        if hold.peer != *peer {
            return Err(fault(FaultCode::UnknownExchange));
        }
        let Some((_, leaf)) = hold.answer else { return Err(fault(FaultCode::OutOfOrder)) };
        match hold.stage {
            HoldStage::LookingUp | HoldStage::Parked | HoldStage::Recording => {
                return Err(fault(FaultCode::OutOfOrder));
            }
            HoldStage::RecordingRelease => {
                hold.route = Some(route);
                return Ok(());
            }
            HoldStage::Released => {
                hold.route = Some(route);
                self.send_release(exchange, None);
                self.forget_held(exchange);
                return Ok(());
            }
            HoldStage::AwaitingReceipt => {}
        }
        let theirs = self.accept_receipt(now, peer, exchange, &leaf, &ack.receipt)?;
        let Some(hold) = self.holds.get_mut(&exchange) else { return Ok(()) };
        hold.route = Some(route);
        if !self.may_still_release(now, peer, exchange) {
            self.holds.remove(&exchange);
            return Ok(());
        }
        self.release_or_withhold(now, exchange, digest(label::RECEIPT, &[&ack.receipt]), theirs.0).map_err(|text| {
            self.emit(Effect::Alarm(crate::api::Alarm::StoreUnavailable(text)));
            fault(FaultCode::LogUnavailable)
        })
    }

    /// Verifies and keeps the asker's receipt for an answer. Returns where it stands in the asker's log.
    pub(crate) fn accept_receipt(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        exchange: ExchangeId,
        leaf: &Digest,
        receipt: &[u8],
    ) -> Result<LeafIndex, Problem> {
        let verified = match self.peers.get_mut(peer) {
            Some(known) => known.log.receipt(receipt, leaf),
            None => return Err(FaultCode::NotAMember.into()),
        };
        let theirs = match verified {
            Ok(verified) => verified.index(),
            Err(problem) => {
                return Err(match self.head_problem(now, peer, problem) {
                    Problem::Fault(code, _) => Problem::Fault(code, Some(exchange)),
                    other => other,
                });
            }
        };
        let intent = Intent {
            entries: Vec::new(),
            puts: vec![self.receipted(peer, exchange)],
            asides: vec![receipt_aside(leaf, receipt)],
            then: Then::Nothing,
        };
        self.enqueue(now, intent);
        Ok(theirs)
    }

    /// The asker owes no receipt for this answer any more.
    pub(crate) fn receipted(&mut self, peer: &NodeUri, exchange: ExchangeId) -> (Vec<u8>, Option<Vec<u8>>) {
        // What awaits a receipt is in memory.
        let due = self.holds.get(&exchange).map(|hold| hold.due_at);
        if let (Some(known), Some(due)) = (self.peers.get_mut(peer), due) {
            known.unreceipted.remove(&(due, exchange));
        }
        (persist::open_hold_key(peer, exchange), None)
    }

    pub(crate) fn record_release_entry(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        receipt: Digest,
    ) -> Result<(), String> {
        let hold = self.holds.get(&exchange).ok_or("the exchange is gone")?;
        let peer = hold.peer.clone();
        let (answer, quoted) = hold.answer.clone().ok_or("a held exchange without its ANSWER")?;
        let terms = answer.terms().cloned().ok_or("an ANSWER without terms")?;
        let payload = QueryPayload::decode(&hold.stored.payload).map_err(|e| e.to_string())?;
        let key: [u8; 32] = hold.stored.content_key.as_slice().try_into().map_err(|_| "no content key")?;
        let key = Secret32::new(key);
        let sealed_key = with_psk(&terms, &hold.stored.psk, |psk| {
            sealing::seal_content_key(terms.mode, &payload.reply_key, psk, quoted, &key, &mut self.rng)
        });
        let sealed_key = sealed_key.map_err(|e| e.to_string())?;
        let hash = sealing::sealed_key_hash(&sealed_key);
        let pair = self.pair(&peer, now, PairBody::Release { terms, quoted, receipt, sealed_key: hash });
        let wrapped = self.wrap(now, pair).map_err(|e| e.to_string())?;
        let before: Vec<_> = wrapped.before.clone().into_iter().collect();
        let index = self.next_index() + before.len() as u64;
        let mut puts = self.number(&peer, &wrapped, PairKind::Release, Some(exchange), None, index);
        let hold = self.holds.get_mut(&exchange).ok_or("the exchange is gone")?;
        hold.stored.release = Some(wrapped.proven(None));
        hold.stored.release_index = index;
        hold.stored.sealed_key = sealed_key;
        // The same RELEASE is repeated: nothing is sealed with it again.
        hold.stored.psk.zeroize();
        hold.stage = HoldStage::RecordingRelease;
        puts.push(hold.put(exchange));
        let entries = before.into_iter().chain([wrapped.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides: wrapped.asides, then: Then::Release(exchange) });
        Ok(())
    }

    pub(crate) fn release_recorded(&mut self, exchange: ExchangeId, recorded: &[Recorded]) {
        let Some(hold) = self.holds.get_mut(&exchange) else { return };
        hold.stage = HoldStage::Released;
        self.send_release(exchange, recorded.last().cloned());
        self.forget_held(exchange);
    }

    pub(crate) fn send_release(&mut self, exchange: ExchangeId, recorded: Option<Recorded>) {
        let Some(hold) = self.holds.get(&exchange) else { return };
        let Some(route) = hold.route else { return };
        let index = LeafIndex(hold.stored.release_index);
        let Some(recorded) = recorded.or_else(|| self.ledger.recorded(index).ok()) else { return };
        let Some(hold) = self.holds.get(&exchange) else { return };
        let mut release = hold.stored.release.clone().unwrap_or_default();
        if puente_audit_log::leaf_hash(&release.entry) != *recorded.leaf() {
            return;
        }
        release.receipt = recorded.receipt();
        let frame = proto::Release { release: Some(release), sealed_key: hold.stored.sealed_key.clone() };
        self.send_proven(route, proto::frame::Body::Release(frame), true);
    }
}
