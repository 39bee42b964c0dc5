//! The asker's last step: the content key comes, the body is opened, and the end is recorded.

use puente_evidence::{CheckedSealed, ReplyKey, SealError};
use puente_model::{Digest, EventKind, ExchangeId, Handling, Millis, Mode, NodeUri, Outcome, Secret32};
use puente_wire::{Pair, PairBody, fault::FaultCode, proto};
use zeroize::Zeroize as _;

use crate::api::{Answered, Conclusion, LocalEvent};
use crate::asker::{AskStage, Asking};
use crate::control::{Problem, plain_event, receipt_aside};
use crate::engine::{Engine, Route, Then, unwrap};
use crate::groups::with_psk;
use crate::ledger::Intent;
use crate::period::RECORDED;
use crate::persist::{self, Why};
use crate::question::of_mode;

impl Engine {
    pub(crate) fn on_release(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        release: proto::Release,
        redelivered: bool,
    ) -> Result<(), Problem> {
        let proven = release.release.ok_or(Problem::from(FaultCode::Malformed))?;
        let (pair, leaf) = unwrap(&proven)?;
        let PairBody::Release { terms, quoted, receipt: receipt_hash, sealed_key } = &pair.body else {
            return Err(FaultCode::OutOfOrder.into());
        };
        let exchange = terms.exchange;
        let fault = |code| Problem::Fault(code, Some(exchange));
        if pair.from != *peer || pair.to != self.node {
            return Err(fault(FaultCode::Misaddressed));
        }
        if !self.asks.contains_key(&exchange) {
            match self.load_ask(peer, exchange) {
                Ok(Some(ask)) => {
                    self.asks.insert(exchange, ask);
                }
                _ => return Err(fault(FaultCode::UnknownExchange)),
            }
        }
        let Some(ask) = self.asks.get(&exchange) else { return Err(fault(FaultCode::UnknownExchange)) };
        let Some((answer, answer_leaf)) = ask.answer.clone() else { return Err(fault(FaultCode::OutOfOrder)) };
        if ask.peer != *peer || *quoted != answer_leaf || answer.terms() != Some(terms) {
            return Err(fault(FaultCode::BadCommitment));
        }
        let known = self.peers.get(peer).ok_or(fault(FaultCode::NotAMember))?;
        if let Some(recorded) = known.theirs.get(&pair.seq.0).copied() {
            if recorded.leaf != leaf {
                return Err(fault(FaultCode::Replayed));
            }
            if redelivered {
                self.confirm(now, route.connection, leaf, RECORDED, recorded.index);
            }
            self.forget_ended(exchange);
            return Ok(());
        }
        if pair.seq.0 <= known.theirs_closed {
            return Err(fault(FaultCode::NumberClosed));
        }
        if pair.log != known.log_number {
            return Err(fault(FaultCode::WrongLog));
        }
        if pair.minute.start().0 > now.0 + puente_model::limits::CLOCK_SKEW_MILLIS_MAX {
            return Err(fault(FaultCode::FutureDated));
        }
        let late = ask.stage == AskStage::RecordingEnd;
        if ask.stage != AskStage::AwaitingRelease && !late {
            return Err(Problem::Ignore);
        }
        if ask.receipts.as_ref().is_some_and(|sent| !sent.contains(receipt_hash)) {
            return Err(fault(FaultCode::BadReceipt));
        }
        if puente_evidence::sealing::sealed_key_hash(&release.sealed_key) != *sealed_key {
            return Err(fault(FaultCode::BadCommitment));
        }
        let verified = {
            let Some(known) = self.peers.get_mut(peer) else { return Err(fault(FaultCode::NotAMember)) };
            known.log.receipt(&proven.receipt, &leaf)
        };
        if let Err(problem) = verified {
            return Err(self.head_problem(now, peer, problem));
        }
        self.record_release(now, exchange, proven, pair.seq.0, leaf, release.sealed_key, redelivered.then_some(route));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn record_release(
        &mut self,
        now: Millis,
        exchange: ExchangeId,
        proven: proto::Proven,
        seq: u64,
        leaf: Digest,
        sealed_key: Vec<u8>,
        redelivered: Option<Route>,
    ) {
        let (mut asides, before) = self.seal_received(now, &proven, &leaf);
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        asides.push(receipt_aside(&leaf, &proven.receipt));
        let opened = open(ask, &sealed_key);
        ask.stored.release = Some(proto::Proven { receipt: Vec::new(), ..proven.clone() });
        ask.stored.sealed_key = sealed_key;
        if let Ok((key, _)) = &opened {
            ask.stored.content_key = key.expose().to_vec();
            // What opened is not disputed; what does not open is proven with it.
            ask.stored.psk.zeroize();
        }
        ask.stage = AskStage::RecordingEnd;
        ask.stored.why = 0;
        ask.stored.told = ask.ticket.is_some();
        let peer = ask.peer.clone();
        let mut puts = vec![ask.put(exchange), (persist::open_ask_key(&ask.peer, exchange), None)];
        let answer_leaf = ask.answer.as_ref().map(|(_, leaf)| *leaf).unwrap_or_default();
        let query_leaf = ask.query_leaf;
        let in_training = of_mode(ask.query.terms().map_or(Mode::Open, |terms| terms.mode), "");
        let terms = ask.answer.as_ref().and_then(|(pair, _)| pair.terms().cloned());
        let index = self.next_index() + before.len() as u64;
        if let Some(known) = self.peers.get_mut(&peer) {
            puts.push(known.take(seq, leaf, Some(exchange), index));
        }
        let entries = before.into_iter().chain([proven.entry]).collect();
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Nothing });
        if let Some(route) = redelivered {
            self.confirm(now, route.connection, leaf, RECORDED, index);
        }
        match opened {
            Ok((_, body)) => {
                let fields: Vec<_> = body.tree.fields().map(|(p, v)| (p.to_owned(), v.to_vec())).collect();
                let opened = plain_event(EventKind::Opened, fields.len() as u64, Vec::new());
                let event = LocalEvent { record_type: in_training, ..opened };
                let complete = |e: &mut puente_wire::Event| {
                    e.quoted = Some(answer_leaf);
                    e.exchange = Some(exchange);
                    e.peer = Some(peer);
                };
                let answered = Answered {
                    exchange,
                    outcome: self.outcome_of(exchange),
                    handling: terms.map_or(Handling::H3, |t| t.handling),
                    fields,
                    obligations: body.obligations,
                    explanation: None,
                    answer_leaf,
                    query_leaf,
                };
                let then = Then::End(exchange, Box::new(Conclusion::Answered(Box::new(answered))));
                self.record_event(now, event, complete, then);
            }
            Err(error) => self.dispute(now, exchange, answer_leaf, error.to_string().into_bytes()),
        }
    }

    /// Records a DISPUTE: what the peer committed to and what it delivered do not fit.
    pub(crate) fn dispute(&mut self, now: Millis, exchange: ExchangeId, leaf: Digest, detail: Vec<u8>) {
        let mut peer = None;
        if let Some(ask) = self.asks.get_mut(&exchange) {
            ask.stored.why = Why::Disputed.code();
            peer = Some(ask.peer.clone());
        }
        let mut puts = self.ask_put(exchange);
        puts.extend(peer.iter().map(|peer| (persist::open_ask_key(peer, exchange), None)));
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        let event = plain_event(EventKind::Dispute, 1, detail);
        let complete = |e: &mut puente_wire::Event| {
            e.quoted = Some(leaf);
            e.exchange = Some(exchange);
            e.peer = peer;
        };
        let then = Then::End(exchange, Box::new(Conclusion::Disputed { exchange }));
        self.record_event(now, event, complete, then);
    }

    /// The content key did not come: that is recorded.
    pub(crate) fn unreleased(&mut self, now: Millis, exchange: ExchangeId) {
        let Some(ask) = self.asks.get_mut(&exchange) else { return };
        ask.stage = AskStage::RecordingEnd;
        ask.stored.why = Why::Unreleased.code();
        let (peer, leaf) = (ask.peer.clone(), ask.answer.as_ref().map(|(_, leaf)| *leaf));
        let puts = vec![ask.put(exchange), (persist::open_ask_key(&ask.peer, exchange), None)];
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        let event = plain_event(EventKind::Unreleased, 1, Vec::new());
        let complete = |e: &mut puente_wire::Event| {
            e.quoted = leaf;
            e.exchange = Some(exchange);
            e.peer = Some(peer);
        };
        let then = Then::End(exchange, Box::new(Conclusion::Unreleased { exchange }));
        self.record_event(now, event, complete, then);
    }

    /// Tells the asker, and forgets an exchange that has ended.
    pub(crate) fn end_ask(&mut self, now: Millis, exchange: ExchangeId, conclusion: Conclusion) {
        let Some(mut ask) = self.drop_ask(exchange) else { return };
        if let Some(ticket) = ask.ticket {
            if !std::mem::replace(&mut ask.stored.told, true) {
                // Whoever waits came after the end was on its way to the disk.
                let puts = vec![ask.put(exchange)];
                self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
            }
            self.tell(ticket, conclusion);
        }
    }

    /// Drops an ended exchange that was loaded to judge a repeat.
    pub(crate) fn forget_ended(&mut self, exchange: ExchangeId) {
        if self.asks.get(&exchange).is_some_and(|a| a.stage == AskStage::RecordingEnd && a.ticket.is_none()) {
            self.drop_ask(exchange);
        }
    }

    fn outcome_of(&self, exchange: ExchangeId) -> Outcome {
        match self.asks.get(&exchange).and_then(|a| a.answer.as_ref()) {
            Some((Pair { body: PairBody::Answer { outcome, .. }, .. }, _)) => *outcome,
            _ => Outcome::NoHit,
        }
    }
}

/// Opens the content key, the body and its tree.
fn open(ask: &Asking, sealed_key: &[u8]) -> Result<(Secret32, puente_evidence::VerifiedBody), SealError> {
    let reply_key: [u8; 32] = ask.stored.reply_key.as_slice().try_into().map_err(|_| SealError::Field("reply_key"))?;
    let reply_key = ReplyKey::from_private(Secret32::new(reply_key)).map_err(SealError::Hpke)?;
    let Some((Pair { body: PairBody::Answer { terms, commitment, .. }, .. }, leaf)) = &ask.answer else {
        return Err(SealError::Commitment);
    };
    let sealed = ask.stored.sealed.as_ref().ok_or(SealError::Field("body"))?;
    let checked = CheckedSealed::check(terms.mode, sealed, *commitment)?;
    let key = with_psk(terms, &ask.stored.psk, |psk| {
        puente_evidence::sealing::open_content_key(terms.mode, &reply_key, psk, *leaf, sealed_key)
    })?;
    let body = checked.open(&key)?;
    Ok((key, body))
}
