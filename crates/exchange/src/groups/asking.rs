//! One question to a whole group: recorded for each member, said to all once, judged and answered by each on its own.
//!
//! Each member's exchange is one of two nodes like any other, in the group's epoch: its QUERY has a number of its own, and its
//! answer, receipt and release travel on the connection of the two. What is said to the group is what else would travel in
//! an Ask to each. A member that is not heard of is asked on a stream, too, as soon as it can be reached.

use std::collections::BTreeMap;

use puente_ledger::GroupId;
use puente_model::{ExchangeId, LeafIndex, Millis, NodeUri, RefusalReason, limits};
use puente_wire::proto::{self, Message as _};
use puente_wire::{Explanation, SAID_BYTES_MAX};

use crate::api::{Conclusion, Draft, Put, Ticket};
use crate::asker::AskStage;
use crate::engine::{Engine, Then};
use crate::judging::words;
use crate::ledger::Intent;
use crate::question::{Manner, Worded, explain};

impl Engine {
    /// Puts a question to every member of a group.
    pub(crate) fn group_question(&mut self, now: Millis, ticket: Ticket, group: &GroupId, draft: Draft) {
        let found = self.groups.corridors.as_ref().and_then(|corridors| {
            let group = corridors.group(group)?;
            let members: Vec<NodeUri> = group.members().filter(|node| **node != self.node).cloned().collect();
            Some((group.epoch(), members))
        });
        let wrong = |field: &str, what: &str, mend: String| {
            let errors = vec![(field.to_owned(), what.to_owned(), mend)];
            Conclusion::Invalid { errors }
        };
        let Some((epoch, members)) = found else {
            let names: Vec<String> = self.groups().into_iter().map(|standing| standing.group.to_string()).collect();
            let what = "this node is not in that group, or enters it anew";
            return self.tell(ticket, wrong("group", what, format!("use one of: {}", names.join(", "))));
        };
        let may = |engine: &Self, node: &NodeUri| engine.admits(node) && !engine.kept.blocked.contains_key(node);
        let Some(first) = members.iter().find(|node| may(self, node)).cloned() else {
            let mend = "see 'puente peer list'".to_owned();
            return self.tell(ticket, wrong("group", "no member of that group can be asked", mend));
        };
        if self.draining {
            let code = puente_wire::fault::FaultCode::Overloaded;
            return self.tell(ticket, Conclusion::Faulted { exchange: None, code });
        }
        // Each goes on by itself.
        let draft = Draft { stays: true, half: None, ..draft };
        let params = match self.check_draft(now, &Draft { to: first, ..draft.clone() }) {
            Ok(params) => params,
            Err(errors) => return self.tell(ticket, Conclusion::Invalid { errors }),
        };
        let worded = match Worded::new(now, &draft, &params, &mut self.rng) {
            Ok(worded) => worded,
            Err(text) => return self.tell(ticket, wrong("question", &text, "ask for less at once".to_owned())),
        };
        let (mut put, mut asked) = (Vec::new(), Vec::new());
        for node in members {
            let draft = Draft { to: node.clone(), ..draft.clone() };
            let outcome: Put = if may(self, &node) {
                match self.judged_outbound(now, &draft, &params, true) {
                    Ok(()) => {
                        let manner = Manner { said_to_group: true, ..Manner::default() };
                        let binding = Some((group.as_str().to_owned(), epoch));
                        self.record_worded(now, None, (&draft, manner), &worded, binding).map_err(|text| {
                            let words =
                                Explanation { at: now, text_en: text.clone(), text_es: text, ..Explanation::default() };
                            (RefusalReason::Failed, words)
                        })
                    }
                    Err(refusal) => {
                        self.record_refused_outbound(now, &draft, refusal.reason, Then::Nothing);
                        Err((refusal.reason, explain(now, &refusal)))
                    }
                }
            } else {
                let words = words(
                    now,
                    "not an active member, or blocked here",
                    "no es integrante activo, o está bloqueado aquí",
                );
                Err((RefusalReason::Scope, words))
            };
            asked.extend(outcome.as_ref().ok().copied());
            put.push((node, outcome));
        }
        let then = Then::SayAsks(group.clone(), asked);
        self.enqueue(now, Intent { entries: Vec::new(), puts: Vec::new(), asides: Vec::new(), then });
        let then = Then::Tell(ticket, Box::new(Conclusion::GroupAsked { members: put }));
        self.enqueue(now, Intent { entries: Vec::new(), puts: Vec::new(), asides: Vec::new(), then });
    }

    /// The QUERYs stand: they are said to the group, as many at once as a post holds.
    pub(crate) fn say_asks(&mut self, now: Millis, group: &GroupId, exchanges: &[ExchangeId]) {
        let (mut asks, mut bytes, mut payload, mut until) = (Vec::new(), 0, Vec::new(), now);
        for exchange in exchanges {
            let Some(ask) = self.asks.get(exchange) else { continue };
            let index = ask.stored.query_index;
            (payload, until) = (ask.stored.payload.clone(), until.max(ask.due_at));
            let salt = ask.stored.salt.clone();
            let Some(mut query) = ask.stored.query.clone() else { continue };
            let Ok(recorded) = self.ledger.recorded(LeafIndex(index)) else { continue };
            query.receipt = recorded.receipt();
            let one = proto::AskOf { query: Some(query), salt };
            let size = one.encoded_len();
            if asks.len() == limits::ASKS_PER_POST_MAX || bytes + size + payload.len() > SAID_BYTES_MAX - 1_024 {
                self.say_these(now, group, &payload, std::mem::take(&mut asks), until);
                bytes = 0;
            }
            bytes += size;
            asks.push(one);
        }
        self.say_these(now, group, &payload, asks, until);
    }

    /// After a restart: questions to a group may stand in the log and never have been said. Whoever is reached is asked on a
    /// stream; the others may hear of them through a third node, and twice is as good as once.
    pub(crate) fn say_asks_again(&mut self, now: Millis) {
        let Some(corridors) = &self.groups.corridors else { return };
        let mut unsaid = BTreeMap::<(GroupId, Vec<u8>), Vec<ExchangeId>>::new();
        for (exchange, ask) in &self.asks {
            let open = ask.stage == AskStage::AwaitingReply && ask.due_at > now;
            let Some(terms) = ask.query.terms().filter(|terms| open && !terms.group.is_empty()) else { continue };
            // A group of two has nobody who could pass it on.
            let Ok(group) = terms.group.parse::<GroupId>() else { continue };
            let reached = self.peers.get(&ask.peer).is_some_and(|known| known.ready.is_some());
            if !reached && corridors.pair(&ask.peer).is_none_or(|(pair, _)| *pair != group) {
                unsaid.entry((group, ask.stored.payload.clone())).or_default().push(*exchange);
            }
        }
        for ((group, _), exchanges) in unsaid {
            self.say_asks(now, &group, &exchanges);
        }
    }

    fn say_these(&mut self, now: Millis, group: &GroupId, payload: &[u8], asks: Vec<proto::AskOf>, until: Millis) {
        if asks.is_empty() {
            return;
        }
        // Whoever is connected sees the head before what stands under it.
        let lines: Vec<_> = self.peers.values().filter_map(|known| known.ready).collect();
        lines.into_iter().for_each(|line| self.show_head(line));
        let ask = proto::GroupAsk { payload: payload.to_vec(), asks };
        let content = proto::Said { body: Some(proto::said::Body::Ask(ask)) }.encode_to_vec();
        if let Some(corridors) = &mut self.groups.corridors {
            // What cannot be said is asked on streams.
            let _ = corridors.say(now, group, &content, until);
        }
        self.carry_groups(now);
    }

    /// A member asks a group: what it asks of this node is taken up as if it came on a stream.
    pub(crate) fn asked_in_group(&mut self, now: Millis, from: &NodeUri, said: proto::GroupAsk) {
        let own = |ask: &proto::AskOf| {
            let query = ask.query.as_ref().and_then(|query| crate::engine::unwrap(query).ok());
            query.is_some_and(|(pair, _)| pair.to == self.node && pair.from == *from)
        };
        let mine: Vec<proto::AskOf> = said.asks.into_iter().filter(own).collect();
        for ask in mine {
            if !self.admits(from) {
                return;
            }
            if self.peers.get(from).is_some_and(|known| known.log.doubted().is_some()) {
                return;
            }
            let ask = proto::Ask { query: ask.query, payload: said.payload.clone(), salt: ask.salt };
            // Whatever keeps it from being taken up now is told on a stream, where it is asked again.
            if self.on_ask(now, from, None, ask).is_err() {
                self.count_group_fault();
            }
        }
    }
}
