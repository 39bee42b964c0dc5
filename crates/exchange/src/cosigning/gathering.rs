//! This node's own heads gather the cosignatures of the charter's quorum.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use puente_audit_log::witness::{WitnessReply, encode_submission};
use puente_audit_log::{NoteSignature, SignedCheckpoint};
use puente_charter::Witness;
use puente_ledger::{GroupId, LedgerOrigin};
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
    /// By the SHA-256 of the submission and the witness: several may be asked for the same.
    asked: BTreeMap<(Digest, String), Asked>,
    /// Heads of ledgers that witnesses were asked for, by witness and ledger: for which group, since when.
    pub(crate) sought: BTreeMap<(String, LedgerOrigin), (GroupId, Millis)>,
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
    about: About,
    until: Millis,
    /// Where the question went; none: over HTTP.
    connection: Option<ConnectionId>,
}

/// Whose head it is.
pub(crate) enum About {
    /// This node's own log.
    Own(SignedCheckpoint),
    /// A ledger of one of its groups.
    Ledger { group: GroupId, head: SignedCheckpoint },
}

impl Asked {
    fn is_own(&self, witness: &str) -> bool {
        matches!(self.about, About::Own(_)) && self.witness == witness
    }
}

/// How a witness is reached.
enum Way {
    Line(ConnectionId),
    Http(String),
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
        // Groups hear of another charter by themselves, and ask again.
        self.asked.clear();
        self.sought.clear();
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
        let late: Vec<(Digest, String)> =
            self.gathering.asked.iter().filter(|(_, a)| a.until <= now).map(|(id, _)| id.clone()).collect();
        for submission in late {
            let asked = self.gathering.asked.remove(&submission);
            if let Some(Asked { witness, about: About::Own(_), .. }) = asked {
                self.gathering.fails(now, &witness, "it did not answer in time".to_owned());
            }
        }
        self.gather(now);
    }

    fn ask_witness(&mut self, now: Millis, witness: &Witness) {
        let known = self.gathering.witnesses.entry(witness.name.clone()).or_default();
        if known.again > now || self.gathering.asked.values().any(|asked| asked.is_own(&witness.name)) {
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
        if let Err(why) = self.submit_to(now, witness, body, About::Own(head)) {
            self.gathering.fails(now, &witness.name, why.to_owned());
        }
    }

    /// Submits to a witness wherever it is: what comes of it comes back with what it is about.
    ///
    /// # Errors
    /// Why it cannot be reached now.
    pub(crate) fn submit_to(
        &mut self,
        now: Millis,
        witness: &Witness,
        body: Vec<u8>,
        about: About,
    ) -> Result<(), &'static str> {
        let submission = Digest::of(&body);
        let mut asked =
            Asked { witness: witness.name.clone(), about, until: now.plus(ANSWER_MILLIS), connection: None };
        if self.is_own_witness(witness) {
            self.gathering.asked.insert((submission, witness.name.clone()), asked);
            if let Some(judged) = self.judge_submission(now, None, submission, &body) {
                self.submitted(now, submission, &witness.name, Ok(judged));
            }
            return Ok(());
        }
        match self.way_to(witness)? {
            Way::Line(connection) => {
                asked.connection = Some(connection);
                self.send_control(connection, proto::frame::Body::Submit(proto::Submit { submission: body }));
            }
            Way::Http(url) => {
                self.emit(Effect::Submit { submission, witness: witness.name.clone(), url, body });
            }
        }
        self.gathering.asked.insert((submission, witness.name.clone()), asked);
        Ok(())
    }

    /// How a witness is reached; a node that is not connected is dialled.
    fn way_to(&mut self, witness: &Witness) -> Result<Way, &'static str> {
        let url = witness.url.as_deref().ok_or("the charter does not say where it is")?;
        let Ok(node) = url.parse::<NodeUri>() else { return Ok(Way::Http(url.to_owned())) };
        let connection = self.line_to(&node).ok_or("no connection to its node stands")?;
        if self.connections.get(&connection).is_none_or(|line| line.minor < minor::COSIGN) {
            return Err("its node speaks an older minor version of the protocol");
        }
        Ok(Way::Line(connection))
    }

    /// Asks a witness for the newest head of a ledger that it cosigned. This node's own answer is given at once.
    pub(crate) fn seek_at(
        &mut self,
        now: Millis,
        witness: &Witness,
        group: GroupId,
        ledger: &LedgerOrigin,
    ) -> Option<Option<Vec<u8>>> {
        if self.is_own_witness(witness) {
            return self.cosigned_of(&ledger.to_string()).ok();
        }
        let way = self.way_to(witness).ok()?;
        self.gathering.sought.retain(|_, (_, since)| now.since(*since) < ROUND_MILLIS);
        self.gathering.sought.insert((witness.name.clone(), ledger.clone()), (group, now));
        let origin = ledger.to_string();
        match way {
            Way::Line(connection) => {
                self.send_control(connection, proto::frame::Body::Seek(proto::Seek { origin }));
            }
            Way::Http(url) => self.emit(Effect::Seek { witness: witness.name.clone(), url, origin }),
        }
        None
    }

    /// A connection is gone: what was asked on it is asked again.
    pub(crate) fn witness_lost(&mut self, now: Millis, connection: ConnectionId) {
        let gone = self.gathering.asked.extract_if(.., |_, asked| asked.connection == Some(connection));
        for (_, asked) in gone.collect::<Vec<_>>() {
            if matches!(asked.about, About::Own(_)) {
                self.gathering.fails(now, &asked.witness, "the connection to its node was lost".to_owned());
            }
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
        let mut asked = self.gathering.asked.iter();
        let awaited = asked.find(|((of, _), asked)| *of == submission && asked.connection == Some(connection));
        if let Some(witness) = awaited.map(|((_, witness), _)| witness.clone()) {
            self.submitted(now, submission, &witness, Ok((status, judged.body)));
        }
        Ok(())
    }

    /// What became of a submission: the witness's status and body, or why it could not be reached.
    pub(crate) fn submitted(
        &mut self,
        now: Millis,
        submission: Digest,
        witness: &str,
        answer: Result<(u16, Vec<u8>), String>,
    ) {
        let asked = self.gathering.asked.remove(&(submission, witness.to_owned()));
        let Some(Asked { witness, about, .. }) = asked else { return };
        let shown = match about {
            About::Own(head) => head,
            About::Ledger { group, head } => return self.ledger_submitted(now, witness, (group, head), answer),
        };
        let Some(key) = self.quorum.key(&witness).cloned() else { return };
        let reply = answer.and_then(|(status, body)| {
            WitnessReply::read(status, &body, &shown, &key).map_err(|error| {
                if !error.is_passing() {
                    self.refused(witness.clone(), error.to_string());
                }
                error.to_string()
            })
        });
        match reply {
            Err(why) => self.gathering.fails(now, &witness, why),
            Ok(WitnessReply::Knows(size)) => {
                let known = self.gathering.witnesses.entry(witness.clone()).or_default();
                let before = known.size.replace(size.0);
                if size > shown.size() {
                    // It says so; whether this log lost its tail shows when it, or a partner, shows the head.
                    let own = shown.size().0;
                    self.emit(Effect::Alarm(Alarm::WitnessAhead { witness: witness.clone(), size: size.0, own }));
                    self.gathering.fails(now, &witness, format!("it says that it knows {} entries", size.0));
                } else if before == Some(size.0) {
                    self.gathering.fails(now, &witness, format!("it says again that it knows {} entries", size.0));
                }
            }
            Ok(WitnessReply::Cosigned(head, at)) => {
                let known = self.gathering.witnesses.entry(witness.clone()).or_default();
                *known = Known { size: Some(head.size().0), at: Some(at), ..Known::default() };
                let lines: Vec<NoteSignature> = head.signatures().iter().filter(|l| l.names(&key)).cloned().collect();
                self.cosigned_by(now, &witness, &head, &lines);
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
