//! This node as a witness of its partners' logs.

use std::collections::{BTreeMap, BTreeSet};

use puente_audit_log::witness::{Advance, ClaimedSubmission, LogRule, Refusal, Remembered, Witness};
use puente_audit_log::{Checkpoint, Signer, VerifierKey};
use puente_charter::{Charter, LogEntry};
use puente_ledger::LedgerOrigin;
use puente_model::{Digest, Millis, NodeUri, TreeSize};
use puente_wire::fault::FaultCode;
use puente_wire::proto;

use crate::api::{Alarm, ConnectionId, Effect};
use crate::control::Problem;
use crate::engine::{Engine, Then};
use crate::ledger::Intent;
use crate::persist;

/// Characters of a log's name that are looked at.
const ORIGIN_CHARS_MAX: usize = 512;
/// How many ledgers of one group are served, counted from the first.
const LEDGERS_PER_GROUP_MAX: u32 = 64;
/// Submissions that one partner may make in one minute: of its own log, and of its groups' ledgers.
const SUBMISSIONS_PER_MINUTE_MAX: u32 = 600;

/// What this node remembers as a witness.
#[derive(Default)]
pub(crate) struct Witnessing {
    /// None: this node has no key to cosign with.
    desk: Option<Desk>,
    /// By the log's name, as far as it was asked for in this run.
    remembered: BTreeMap<String, Option<Remembered>>,
    /// Logs of which a head is on its way to the disk.
    busy: BTreeSet<String>,
    /// Submissions by partner in the running minute.
    asked: BTreeMap<NodeUri, (u64, u32)>,
}

struct Desk {
    witness: Witness,
    signer: Box<dyn Signer + Send>,
}

/// A head that is to be remembered, and then cosigned.
#[derive(Debug)]
pub(crate) struct Cosignable {
    /// Who asks; none: this node itself.
    connection: Option<ConnectionId>,
    submission: Digest,
    origin: String,
    advance: Advance,
}

/// What is said to a submission: HTTP status and body.
type Judgement = (u16, Vec<u8>);

impl Witnessing {
    pub(crate) fn new(signer: Box<dyn Signer + Send>) -> Self {
        // A key of another kind cosigns nothing.
        let witness = Witness::new(signer.verifier().clone()).ok();
        Self { desk: witness.map(|witness| Desk { witness, signer }), ..Self::default() }
    }

    pub(crate) fn key(&self) -> Option<&VerifierKey> {
        self.desk.as_ref().map(|desk| desk.witness.key())
    }
}

impl Engine {
    /// Whether a witness of the charter is this node.
    pub(crate) fn is_own_witness(&self, witness: &puente_charter::Witness) -> bool {
        witness.url.as_deref() == Some(self.node.as_str())
    }

    /// The charter names this node as a witness, with the key that it has.
    fn is_witness(&self) -> bool {
        let Some(key) = self.witnessing.key() else { return false };
        let mut witnesses = self.charter.witness_policy().witnesses().iter();
        witnesses.any(|w| self.is_own_witness(w) && self.quorum.key(&w.name) == Some(key))
    }

    pub(crate) fn on_submit(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        submit: &proto::Submit,
    ) -> Result<(), Problem> {
        let submission = Digest::of(&submit.submission);
        let count = self.witnessing.asked.entry(peer.clone()).or_default();
        if count.0 != now.minute().0 {
            *count = (now.minute().0, 0);
        }
        count.1 += 1;
        let judged = if count.1 > SUBMISSIONS_PER_MINUTE_MAX {
            Some((429, b"too many submissions in one minute\n".to_vec()))
        } else {
            self.judge_submission(now, Some(connection), submission, &submit.submission)
        };
        if let Some((status, body)) = judged {
            self.send_judged(connection, submission, status, body);
        }
        Ok(())
    }

    /// None: it is cosigned once it is durable.
    pub(super) fn judge_submission(
        &mut self,
        now: Millis,
        connection: Option<ConnectionId>,
        submission: Digest,
        bytes: &[u8],
    ) -> Option<Judgement> {
        let claimed = match ClaimedSubmission::parse(bytes) {
            Ok(claimed) => claimed,
            Err(error) => return Some(said(&error.into())),
        };
        let origin = claimed.origin().to_owned();
        let rule = if self.is_witness() { self.log_rule(&origin) } else { None };
        let Some((owner, rule)) = rule else { return Some(said(&Refusal::UnknownLog)) };
        if self.witnessing.busy.contains(&origin) {
            return Some((429, b"another head of this log is being cosigned\n".to_vec()));
        }
        if let Err(text) = self.recall(&origin, &rule) {
            self.emit(Effect::Alarm(Alarm::StoreUnavailable(text)));
            return Some((503, b"this witness cannot read what it remembers\n".to_vec()));
        }
        let Witnessing { desk: Some(desk), remembered, .. } = &self.witnessing else {
            return Some(said(&Refusal::UnknownLog));
        };
        let known = remembered.get(&origin).and_then(Option::as_ref);
        match desk.witness.submit(now, &claimed, Some(&rule), known) {
            Ok(advance) => {
                let put = (persist::remembered_key(&origin), Some(advance.record()));
                let cosignable = Cosignable { connection, submission, origin: origin.clone(), advance };
                self.witnessing.busy.insert(origin);
                let then = Then::Cosign(Box::new(cosignable));
                self.enqueue(now, Intent { entries: Vec::new(), puts: vec![put], asides: Vec::new(), then });
                None
            }
            Err(refusal) => {
                let judgement = said(&refusal);
                self.heed(now, owner.as_ref(), &origin, refusal);
                Some(judgement)
            }
        }
    }

    /// What a refusal says of the log, or of this node.
    fn heed(&mut self, now: Millis, owner: Option<&NodeUri>, log: &str, refusal: Refusal) {
        match refusal {
            // Two signed heads of one size: whoever brought them, the log's own key convicts it.
            Refusal::OtherRoot(Some(split)) => {
                let (one, other) = (split.one.note_bytes().to_vec(), split.other.note_bytes().to_vec());
                match owner {
                    Some(owner) => self.convict(now, owner, one, other, FaultCode::InconsistentHead),
                    None => self.emit(Effect::Alarm(Alarm::LedgerFork { ledger: log.to_owned(), one, other })),
                }
            }
            Refusal::Forgotten(forgotten) => {
                let shown = forgotten.shown.note_bytes().to_vec();
                self.emit(Effect::Alarm(Alarm::CosignatureForgotten { log: log.to_owned(), shown }));
            }
            _ => {}
        }
    }

    /// The charter's word on a log: whose it is, and what a witness needs to know of it. A group's ledger is nobody's.
    fn log_rule(&self, origin: &str) -> Option<(Option<NodeUri>, LogRule)> {
        if let Ok(ledger) = origin.parse::<LedgerOrigin>() {
            return Some((None, ledger_rule(&self.charter, &ledger)?));
        }
        let (owner, log) = self.charter.members().iter().find_map(|member| {
            let log = member.logs.iter().find(|log| log.origin.as_str() == origin)?;
            Some((member.uri.clone(), log))
        })?;
        Some((Some(owner), rule_of(log)?))
    }

    /// The newest head of a log that this node cosigned, with its cosignature.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn cosigned_of(&mut self, origin: &str) -> Result<Option<Vec<u8>>, String> {
        let rule = if self.is_witness() { self.log_rule(origin) } else { None };
        let Some((_, rule)) = rule else { return Ok(None) };
        self.recall(origin, &rule)?;
        let Witnessing { desk: Some(desk), remembered, .. } = &self.witnessing else { return Ok(None) };
        let known = remembered.get(origin).and_then(Option::as_ref);
        let head = known.and_then(|known| known.cosigned(&*desk.signer).ok());
        Ok(head.map(|head| head.note_bytes().to_vec()))
    }

    pub(crate) fn on_seek(&mut self, connection: ConnectionId, seek: &proto::Seek) -> Result<(), Problem> {
        let origin: String = seek.origin.chars().take(ORIGIN_CHARS_MAX).collect();
        match self.cosigned_of(&origin) {
            Ok(head) => {
                let sought = proto::Sought { origin, checkpoint: head.unwrap_or_default() };
                self.send_control(connection, proto::frame::Body::Sought(sought));
            }
            // Nothing is said: whoever says that there is none has groups founded a second time.
            Err(text) => self.emit(Effect::Alarm(Alarm::StoreUnavailable(text))),
        }
        Ok(())
    }

    /// Brings to mind what is remembered of a log.
    fn recall(&mut self, origin: &str, rule: &LogRule) -> Result<(), String> {
        if !self.witnessing.remembered.contains_key(origin) {
            let stored = self.store.get(&persist::remembered_key(origin))?;
            let known = stored.map(|bytes| Remembered::parse(&bytes, rule)).transpose().map_err(|e| e.to_string())?;
            self.witnessing.remembered.insert(origin.to_owned(), known);
        }
        let known = self.witnessing.remembered.get(origin).and_then(Option::as_ref);
        known.map_or(Ok(()), |known| known.fits(rule)).map_err(|error| error.to_string())
    }

    /// What is remembered of a log is durable: it may be cosigned.
    pub(crate) fn cosign(&mut self, now: Millis, cosignable: Cosignable) {
        let Cosignable { connection, submission, origin, advance } = cosignable;
        self.witnessing.busy.remove(&origin);
        let Ok(remembered) = advance.persist(|_| Ok::<_, std::convert::Infallible>(()));
        let Some(desk) = &self.witnessing.desk else { return };
        let line = remembered.cosign(&*desk.signer);
        self.witnessing.remembered.insert(origin, Some(remembered));
        let Ok(line) = line else { return };
        let body = format!("{line}\n").into_bytes();
        match connection {
            Some(connection) => self.send_judged(connection, submission, 200, body),
            None => {
                // The charter's witness is called as its key is.
                let own = self.witnessing.key().map(|key| key.name().to_owned()).unwrap_or_default();
                self.submitted(now, submission, &own, Ok((200, body)));
            }
        }
    }

    fn send_judged(&mut self, connection: ConnectionId, submission: Digest, status: u16, body: Vec<u8>) {
        let judged = proto::Judged { submission: submission.0.to_vec(), status: status.into(), body };
        self.send_control(connection, proto::frame::Body::Judged(judged));
    }
}

fn said(refusal: &Refusal) -> Judgement {
    (refusal.status(), refusal.body().into_bytes())
}

/// Ledgers of the charter's corridors, and of groups of two, are served; a ledger begins empty.
fn ledger_rule(charter: &Charter, ledger: &LedgerOrigin) -> Option<LogRule> {
    if ledger.number() > LEDGERS_PER_GROUP_MAX {
        return None;
    }
    let rules = puente_corridor::rules(charter, ledger.group()).ok()?;
    let origin = ledger.to_string();
    let keys = rules.keys(ledger).into_iter().map(|(_, key)| key).collect();
    let empty = Checkpoint::new(&origin, TreeSize(0), puente_audit_log::empty_root()).ok()?;
    LogRule::new(&origin, keys).ok()?.pinned(empty).ok()
}

/// A log begins at the head that the annex pins, or empty.
fn rule_of(log: &LogEntry) -> Option<LogRule> {
    let origin = log.origin.as_str();
    let first = log.first_head.as_ref();
    let (size, root) = first.map_or((0, puente_audit_log::empty_root()), |first| (first.size, first.root));
    let pin = Checkpoint::new(origin, TreeSize(size), root).ok()?;
    let rule = LogRule::new(origin, vec![log.vkey.parse().ok()?]).ok()?.pinned(pin).ok()?;
    match log.closed_at {
        Some(end) => rule.closed_at(TreeSize(end)).ok(),
        None => Some(rule),
    }
}
