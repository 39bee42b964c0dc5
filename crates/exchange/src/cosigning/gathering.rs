//! This node's own heads gather the cosignatures of the charter's quorum.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use puente_audit_log::witness::{WitnessReply, encode_submission};
use puente_audit_log::{NoteSignature, SignedCheckpoint};
use puente_charter::Witness;
use puente_model::{Digest, Millis, NodeUri};
use puente_wire::proto;

use super::cover::{Cover, StoredCover};
use super::{GATHER_PAUSE_MILLIS, WitnessStanding};
use crate::api::{Alarm, ConnectionId, Effect};
use crate::control::Problem;
use crate::engine::{Engine, Then, Timer};
use crate::ledger::Intent;
use crate::{minor, persist};

/// How long a witness may take to answer, in milliseconds.
const ANSWER_MILLIS: u64 = 15_000;
/// How long a head is held to while witnesses are missing and the log grows, in milliseconds.
const ROUND_MILLIS: u64 = 60_000;
/// How long a witness is left alone that could not be reached, in milliseconds: doubled each time, up to the last.
const LEFT_ALONE_MILLIS: (u64, u64) = (1_000, 60_000);
/// How often in a row a witness may refuse before an operator hears of it.
const REFUSALS_BORNE: u32 = 3;

/// What this node's heads lack, and who was asked for it.
#[derive(Default)]
pub(crate) struct Gathering {
    round: Option<Round>,
    not_before: Millis,
    due: Option<Millis>,
    pub(crate) cover: Cover,
    witnesses: BTreeMap<String, Known>,
    /// By the SHA-256 of the submission.
    asked: BTreeMap<Digest, Asked>,
}

/// One head, on its way to the quorum.
struct Round {
    head: SignedCheckpoint,
    by: BTreeSet<String>,
    began: Millis,
}

#[derive(Default)]
struct Known {
    /// What it said that it cosigned last.
    size: Option<u64>,
    at: Option<Millis>,
    /// Not asked before this.
    again: Millis,
    failures: u32,
    trouble: Option<String>,
}

struct Asked {
    witness: String,
    head: SignedCheckpoint,
    until: Millis,
    /// Where the question went; none: over HTTP.
    connection: Option<ConnectionId>,
}

impl Gathering {
    /// Takes up what the store holds.
    pub(crate) fn restore(&mut self, now: Millis, stored: Option<Vec<u8>>, size: u64) {
        let stored = stored.and_then(|bytes| StoredCover::decode(bytes.as_slice()).ok()).unwrap_or_default();
        self.cover = Cover::restore(stored, size);
        self.cover.came(now, size);
    }

    pub(crate) fn standing(&self, name: &str, own: bool) -> WitnessStanding {
        let known = self.witnesses.get(name);
        WitnessStanding {
            name: name.to_owned(),
            cosigned: known.and_then(|known| known.size),
            at: known.and_then(|known| known.at),
            trouble: known.and_then(|known| known.trouble.clone()),
            own,
        }
    }

    pub(crate) fn put_clock_back(&mut self, back: u64) {
        let earlier = |at: Millis| Millis(at.0.saturating_sub(back));
        self.not_before = earlier(self.not_before);
        self.due = self.due.map(earlier);
        self.cover.put_clock_back(back);
        if let Some(round) = &mut self.round {
            round.began = earlier(round.began);
        }
        for known in self.witnesses.values_mut() {
            known.again = earlier(known.again);
        }
        for asked in self.asked.values_mut() {
            asked.until = earlier(asked.until);
        }
    }

    /// Other witnesses, or other keys: what was gathered so far may count for nothing.
    pub(crate) fn begin_anew(&mut self) {
        self.round = None;
        self.asked.clear();
        self.witnesses.clear();
    }

    fn fails(&mut self, now: Millis, witness: &str, why: String) {
        let known = self.witnesses.entry(witness.to_owned()).or_default();
        let (first, last) = LEFT_ALONE_MILLIS;
        known.again = now.plus(first.saturating_mul(1 << known.failures.min(16)).min(last));
        known.failures = known.failures.saturating_add(1);
        known.trouble = Some(why);
    }
}

impl Engine {
    /// The own log has grown, a witness can be reached, or it is time: asks whoever is missing.
    pub(crate) fn gather(&mut self, now: Millis) {
        let charter = std::sync::Arc::clone(&self.charter);
        let policy = charter.witness_policy();
        if policy.is_none() {
            return;
        }
        let stale = |round: &Round, size| now.since(round.began) >= ROUND_MILLIS && size > round.head.size().0;
        let size = self.ledger.size();
        if self.gathering.round.as_ref().is_none_or(|round| stale(round, size)) {
            let Some(head) = self.ledger.head().cloned() else { return };
            if head.size().0 <= self.gathering.cover.cosigned() {
                return;
            }
            if now < self.gathering.not_before {
                self.gather_at(self.gathering.not_before);
                return;
            }
            self.gathering.not_before = now.plus(GATHER_PAUSE_MILLIS);
            self.gathering.round = Some(Round { head, by: BTreeSet::new(), began: now });
        }
        let Some(round) = &self.gathering.round else { return };
        let by: BTreeSet<&str> = round.by.iter().map(String::as_str).collect();
        let missing: BTreeSet<&str> = policy.missing(&by).into_iter().collect();
        let wanted = policy.witnesses().iter().filter(|w| missing.contains(w.name.as_str()));
        for witness in wanted.cloned().collect::<Vec<_>>() {
            self.ask_witness(now, &witness);
        }
        let again = self.gathering.witnesses.iter().filter(|(name, _)| missing.contains(name.as_str()));
        let again = again.map(|(_, known)| known.again).filter(|at| *at > now);
        let until = self.gathering.asked.values().map(|asked| asked.until);
        if let Some(due) = again.chain(until).min() {
            self.gather_at(due);
        }
    }

    /// One timer, at the earliest time that anything is due.
    fn gather_at(&mut self, due: Millis) {
        if self.gathering.due.is_none_or(|at| due < at) {
            if let Some(at) = self.gathering.due.replace(due) {
                self.never(at, Timer::Gather);
            }
            self.at(due, Timer::Gather);
        }
    }

    pub(crate) fn gather_due(&mut self, now: Millis) {
        self.gathering.due = None;
        let late: Vec<Digest> =
            self.gathering.asked.iter().filter(|(_, a)| a.until <= now).map(|(id, _)| *id).collect();
        for submission in late {
            if let Some(asked) = self.gathering.asked.remove(&submission) {
                self.gathering.fails(now, &asked.witness, "it did not answer in time".to_owned());
            }
        }
        self.gather(now);
    }

    fn ask_witness(&mut self, now: Millis, witness: &Witness) {
        let known = self.gathering.witnesses.entry(witness.name.clone()).or_default();
        if known.again > now || self.gathering.asked.values().any(|asked| asked.witness == witness.name) {
            return;
        }
        // Before it has answered in this run: what it cosigned when the quorum did.
        let old = known.size.unwrap_or_else(|| self.gathering.cover.cosigned());
        let Some(head) = self.gathering.round.as_ref().map(|round| round.head.clone()) else { return };
        let size = head.size();
        let proof = if old == 0 || old >= size.0 {
            Vec::new()
        } else {
            let Ok(proof) = self.ledger.consistency(old, size.0) else { return };
            proof
        };
        let Ok(body) = encode_submission(puente_model::TreeSize(old.min(size.0)), &proof, &head) else { return };
        let submission = Digest::of(&body);
        let name = witness.name.clone();
        let mut went = None;
        if self.is_own_witness(witness) {
            let until = now.plus(ANSWER_MILLIS);
            self.gathering.asked.insert(submission, Asked { witness: name, head, until, connection: None });
            if let Some(judged) = self.judge_submission(now, None, submission, &body) {
                self.submitted(now, &submission, Ok(judged));
            }
            return;
        }
        match witness.url.as_deref() {
            None => return self.gathering.fails(now, &name, "the charter does not say where it is".to_owned()),
            Some(url) => match url.parse::<NodeUri>() {
                Ok(node) => {
                    let Some(connection) = self.line_to(&node) else {
                        return self.gathering.fails(now, &name, "no connection to its node stands".to_owned());
                    };
                    if self.connections.get(&connection).is_none_or(|line| line.minor < minor::COSIGN) {
                        let why = "its node speaks an older minor version of the protocol";
                        return self.gathering.fails(now, &name, why.to_owned());
                    }
                    went = Some(connection);
                    self.send_control(connection, proto::frame::Body::Submit(proto::Submit { submission: body }));
                }
                Err(_) => {
                    let (witness, url) = (name.clone(), url.to_owned());
                    self.emit(Effect::Submit { submission, witness, url, body });
                }
            },
        }
        let asked = Asked { witness: name, head, until: now.plus(ANSWER_MILLIS), connection: went };
        self.gathering.asked.insert(submission, asked);
    }

    /// A connection is gone: what was asked on it is asked again.
    pub(crate) fn witness_lost(&mut self, now: Millis, connection: ConnectionId) {
        let gone = self.gathering.asked.extract_if(.., |_, asked| asked.connection == Some(connection));
        for (_, asked) in gone.collect::<Vec<_>>() {
            self.gathering.fails(now, &asked.witness, "the connection to its node was lost".to_owned());
        }
        self.gather(now);
    }

    /// A node is ready: if it is a witness, it need not be left alone any longer.
    pub(crate) fn witness_ready(&mut self, now: Millis, peer: &NodeUri) {
        let charter = std::sync::Arc::clone(&self.charter);
        let policy = charter.witness_policy();
        for witness in policy.witnesses().iter().filter(|w| w.url.as_deref() == Some(peer.as_str())) {
            if let Some(known) = self.gathering.witnesses.get_mut(&witness.name) {
                (known.again, known.failures) = (now, 0);
            }
        }
        self.gather(now);
    }

    pub(crate) fn on_judged(
        &mut self,
        now: Millis,
        connection: ConnectionId,
        judged: proto::Judged,
    ) -> Result<(), Problem> {
        let malformed = || Problem::from(puente_wire::fault::FaultCode::Malformed);
        let submission = Digest::try_from(judged.submission.as_slice()).map_err(|_| malformed())?;
        let status = u16::try_from(judged.status).map_err(|_| malformed())?;
        // Whoever was not asked has nothing to say; whoever was late is asked again.
        let awaited = self.gathering.asked.get(&submission);
        if awaited.is_some_and(|asked| asked.connection == Some(connection)) {
            self.submitted(now, &submission, Ok((status, judged.body)));
        }
        Ok(())
    }

    /// What became of a submission: the witness's status and body, or why it could not be reached.
    pub(crate) fn submitted(&mut self, now: Millis, submission: &Digest, answer: Result<(u16, Vec<u8>), String>) {
        let Some(asked) = self.gathering.asked.remove(submission) else { return };
        let Some(key) = self.quorum.key(&asked.witness).cloned() else { return };
        let reply = answer.and_then(|(status, body)| {
            WitnessReply::read(status, &body, &asked.head, &key).map_err(|error| {
                if !error.is_passing() {
                    let (witness, why) = (asked.witness.clone(), error.to_string());
                    self.refused(witness, why);
                }
                error.to_string()
            })
        });
        match reply {
            Err(why) => self.gathering.fails(now, &asked.witness, why),
            Ok(WitnessReply::Knows(size)) => {
                let known = self.gathering.witnesses.entry(asked.witness.clone()).or_default();
                let before = known.size.replace(size.0);
                if size > asked.head.size() {
                    // It says so; whether this log lost its tail shows when it, or a partner, shows the head.
                    let own = asked.head.size().0;
                    self.emit(Effect::Alarm(Alarm::WitnessAhead { witness: asked.witness.clone(), size: size.0, own }));
                    self.gathering.fails(now, &asked.witness, format!("it says that it knows {} entries", size.0));
                } else if before == Some(size.0) {
                    self.gathering.fails(
                        now,
                        &asked.witness,
                        format!("it says again that it knows {} entries", size.0),
                    );
                }
            }
            Ok(WitnessReply::Cosigned(head, at)) => {
                let known = self.gathering.witnesses.entry(asked.witness.clone()).or_default();
                *known = Known { size: Some(head.size().0), at: Some(at), ..Known::default() };
                let lines: Vec<NoteSignature> = head.signatures().iter().filter(|l| l.names(&key)).cloned().collect();
                self.cosigned_by(now, &asked.witness, &head, &lines);
            }
        }
        self.gather(now);
    }

    /// A refusal that stays is told once: a witness may be a moment behind with the charter.
    fn refused(&mut self, witness: String, why: String) {
        let known = self.gathering.witnesses.entry(witness.clone()).or_default();
        if known.failures == REFUSALS_BORNE {
            self.emit(Effect::Alarm(Alarm::WitnessRefuses { witness, why }));
        }
    }

    fn cosigned_by(&mut self, now: Millis, witness: &str, head: &SignedCheckpoint, lines: &[NoteSignature]) {
        let Some(round) = self.gathering.round.as_mut().filter(|round| round.head.checkpoint() == head.checkpoint())
        else {
            return;
        };
        let Ok(more) = round.head.with_signatures(lines) else { return };
        round.head = more;
        round.by.insert(witness.to_owned());
        let by: BTreeSet<&str> = round.by.iter().map(String::as_str).collect();
        if !self.charter.witness_policy().is_met_by(&by) {
            return;
        }
        let Some(Round { head, .. }) = self.gathering.round.take() else { return };
        self.gathering.cover.reach(head.size().0, head.note_bytes());
        let put = (persist::own_cover_key(self.log_number), Some(self.gathering.cover.stored()));
        self.enqueue(now, Intent { entries: Vec::new(), puts: vec![put], asides: Vec::new(), then: Then::Nothing });
        self.emit(Effect::Cosigned { checkpoint: head.note_bytes().to_vec() });
        let ready: Vec<ConnectionId> = self.peers.values().filter_map(|peer| peer.ready).collect();
        for connection in ready {
            self.show_cosigned(connection);
        }
        self.release_covered(now, None);
    }

    /// Shows a partner the newest head that the quorum cosigned.
    pub(crate) fn show_cosigned(&mut self, connection: ConnectionId) {
        let cover = &self.gathering.cover;
        let Some(checkpoint) = cover.head().map(<[u8]>::to_vec) else { return };
        let size = cover.cosigned();
        let Some(line) = self.connections.get_mut(&connection) else { return };
        let base = line.sent_head.min(size);
        line.sent_head = line.sent_head.max(size);
        let Ok(proof) = self.ledger.consistency(base, size) else { return };
        let head = proto::Head { checkpoint, base, proof: puente_wire::join_hashes(&proof) };
        self.send_control(connection, proto::frame::Body::Head(head));
    }
}
