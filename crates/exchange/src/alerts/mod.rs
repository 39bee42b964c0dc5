//! Alerts: said to everybody in a group, after the Common Alerting Protocol.
//!
//! ```text
//! publish ─▶ ALERT_SIGN durable ─▶ said to the group ─▶ ALERT_DELIVER at each member ─▶ ALERT_ACK where an officer acknowledges
//!                                       ▲                     │ reached                        │ said to the group of two
//!    cancel ─▶ ALERT_CANCEL durable ────┘                     ▼                                ▼
//!                                                 who has it, since when; who acknowledged it, when
//! ```
//!
//! An alert is signed by standing in its author's log: ALERT_SIGN with its receipt travels with it, so that whoever has it can
//! prove who said it. Its id is that entry's leaf hash; a second copy of it counts for nothing. Members that are offline get
//! it when they come back, unless it has ended.

mod arriving;
mod saying;
mod stored;

use std::collections::BTreeMap;

use puente_corridor::PostId;
use puente_model::{
    Digest, EventKind, LegalBasisId, Millis, Mode, NodeUri, Purpose, QueryKind, RefusalReason, Role, Step, Urgency,
    limits,
};
use puente_policy::{Direction, Request, Verdict};
use puente_wire::{Alert, Officer, proto};

pub use self::arriving::{Worthless, proven_event};
pub use self::stored::{Hop, Standing, list};
use self::stored::{StoredAlert, StoredSaying};
use crate::api::{Conclusion, LocalEvent, Ticket};
use crate::engine::Engine;
use crate::question::explain;

/// What a rule calls the making of an alert.
pub const PUBLISH: &str = "alert.publish";
/// What a rule calls an officer's acknowledgement of one.
pub const ACKNOWLEDGE: &str = "alert.ack";
/// What a rule calls the cancelling of one.
pub const CANCEL: &str = "alert.cancel";

/// Alerts of one author that are kept at a node.
pub const ALERTS_MAX: usize = 500;
/// How long an alert is kept after its end, in milliseconds (90 days).
const KEPT_MILLIS: u64 = 90 * 86_400_000;
/// How long after an alert's end what is said about it is still delivered, in milliseconds (a day).
const AFTER_MILLIS: u64 = 86_400_000;

/// An alert that is to be published.
#[derive(Clone)]
pub struct AlertDraft {
    /// What is said.
    pub alert: Alert,
    /// Why.
    pub purpose: Purpose,
    /// On which legal basis.
    pub basis: LegalBasisId,
    /// Who.
    pub officer: Officer,
}

impl std::fmt::Debug for AlertDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlertDraft({:?})", self.alert)
    }
}

/// What this node knows of alerts.
#[derive(Default)]
pub(crate) struct Alerts {
    known: BTreeMap<Digest, StoredAlert>,
    /// Own posts that carry an alert.
    posts: BTreeMap<PostId, Digest>,
    /// What stands in the log and is still to be said, by its leaf hash.
    sayings: BTreeMap<Digest, StoredSaying>,
}

impl Alerts {
    fn of(&self, author: &str) -> usize {
        self.known.values().filter(|alert| alert.from == author).count()
    }
}

type Errors = Vec<(String, String, String)>;

fn wrong(field: &str, what: &str, mend: &str) -> Errors {
    vec![(field.to_owned(), what.to_owned(), mend.to_owned())]
}

/// What is to be done with an alert, as rules and the log see it.
struct Act<'a> {
    kind: &'static str,
    purpose: Purpose,
    basis: &'a LegalBasisId,
    handling: puente_model::Handling,
    officer: &'a Officer,
}

impl Engine {
    pub(crate) fn publish_alert(&mut self, now: Millis, ticket: Ticket, draft: &AlertDraft) {
        if let Err(errors) = self.check_alert(now, draft) {
            return self.tell(ticket, Conclusion::Invalid { errors });
        }
        let AlertDraft { alert, purpose, basis, officer } = draft;
        let act = Act { kind: PUBLISH, purpose: *purpose, basis, handling: alert.handling, officer };
        if self.refuses_alert(now, ticket, &act) {
            return;
        }
        let local = LocalEvent {
            kind: EventKind::AlertSign,
            record_type: String::new(),
            count: 1,
            purpose: Some(*purpose),
            basis: Some(basis.clone()),
            role: Some(officer.role),
            detail: Vec::new(),
        };
        let (event, bytes) = (self.event(now, local), alert.encode());
        let mut made = self.opened_event(now, event, bytes.clone());
        let signed = proto::AlertSigned {
            signed: Some(made.proven.clone()),
            detail_salt: made.detail_salt.expose().to_vec(),
            alert: bytes.clone(),
        };
        let leaf = made.leaf();
        let kept = StoredAlert {
            alert: bytes,
            signed: Some(made.proven.clone()),
            detail_salt: made.detail_salt.expose().to_vec(),
            signed_at: now.0,
            purpose: purpose.code(),
            basis: basis.to_string(),
            expires_at: alert.expires_at.0,
            // Who made it stays here and in the detail that this node keeps.
            officer: officer.id.to_string(),
            ..StoredAlert::default()
        };
        made.intent.puts.push(kept.put(&leaf));
        self.alerts.known.insert(leaf, kept);
        let saying = StoredSaying::new(&alert.group, alert.expires_at, proto::said::Body::Alert(signed));
        self.record_and_say(now, made, saying, Some((ticket, Conclusion::Alerted { alert: leaf })));
        self.forget_old_alerts(now);
    }

    pub(crate) fn acknowledge_alert(
        &mut self,
        now: Millis,
        ticket: Ticket,
        alert: Digest,
        officer: &Officer,
        note: &str,
    ) {
        let Some(known) = self.alerts.known.get(&alert).filter(|known| !known.is_own() && !known.alert.is_empty())
        else {
            return self.tell(ticket, Conclusion::UnknownAlert { alert });
        };
        if known.acknowledged_at > 0 {
            return self.tell(ticket, Conclusion::Alerted { alert });
        }
        let (Ok(content), Some(purpose), Ok(basis), Ok(from)) = (
            Alert::decode(&known.alert),
            Purpose::from_code(known.purpose),
            known.basis.parse::<LegalBasisId>(),
            known.from.parse::<NodeUri>(),
        ) else {
            return self.tell(ticket, Conclusion::UnknownAlert { alert });
        };
        if let Some(errors) = bad_words(note).or_else(|| expired(now, officer)) {
            return self.tell(ticket, Conclusion::Invalid { errors });
        }
        let act = Act { kind: ACKNOWLEDGE, purpose, basis: &basis, handling: content.handling, officer };
        if self.refuses_alert(now, ticket, &act) {
            return;
        }
        let detail = format!("{} {note}", officer.id).into_bytes();
        let mut event = self.about_alert(now, EventKind::AlertAck, alert, Some(from.clone()));
        event.role = Some(officer.role);
        let mut made = self.opened_event(now, event, detail);
        let said = proto::AlertAcknowledged { acknowledged: Some(made.proven.clone()) };
        if let Some(known) = self.alerts.known.get_mut(&alert) {
            known.acknowledged_at = now.0;
            made.intent.puts.push(known.put(&alert));
        }
        // For its author alone, if the two have a group.
        let group = self.binding(&from).map_or_else(|| content.group.clone(), |(group, _)| group);
        let until = content.expires_at.max(now).plus(AFTER_MILLIS);
        let saying = StoredSaying::new(&group, until, proto::said::Body::Acknowledged(said));
        self.record_and_say(now, made, saying, Some((ticket, Conclusion::Alerted { alert })));
    }

    pub(crate) fn cancel_alert(&mut self, now: Millis, ticket: Ticket, alert: Digest, officer: &Officer, reason: &str) {
        let Some(known) = self.alerts.known.get(&alert).filter(|known| known.is_own()) else {
            return self.tell(ticket, Conclusion::UnknownAlert { alert });
        };
        if known.cancelled_at > 0 {
            return self.tell(ticket, Conclusion::Alerted { alert });
        }
        let (Ok(content), Some(purpose), Ok(basis)) =
            (Alert::decode(&known.alert), Purpose::from_code(known.purpose), known.basis.parse::<LegalBasisId>())
        else {
            return self.tell(ticket, Conclusion::UnknownAlert { alert });
        };
        let no_reason = || reason.trim().is_empty().then(|| wrong("reason", "a cancellation says why", "say why"));
        if let Some(errors) = no_reason().or_else(|| bad_words(reason)).or_else(|| expired(now, officer)) {
            return self.tell(ticket, Conclusion::Invalid { errors });
        }
        let act = Act { kind: CANCEL, purpose, basis: &basis, handling: content.handling, officer };
        if self.refuses_alert(now, ticket, &act) {
            return;
        }
        let mut event = self.about_alert(now, EventKind::AlertCancel, alert, None);
        event.role = Some(officer.role);
        let mut made = self.opened_event(now, event, reason.as_bytes().to_vec());
        let said = proto::AlertCancelled {
            cancelled: Some(made.proven.clone()),
            detail_salt: made.detail_salt.expose().to_vec(),
            reason: reason.to_owned(),
        };
        if let Some(known) = self.alerts.known.get_mut(&alert) {
            (known.cancelled_at, known.reason) = (now.0, reason.to_owned());
            made.intent.puts.push(known.put(&alert));
        }
        let until = content.expires_at.max(now).plus(AFTER_MILLIS);
        let saying = StoredSaying::new(&content.group, until, proto::said::Body::Cancelled(said));
        self.record_and_say(now, made, saying, Some((ticket, Conclusion::Alerted { alert })));
    }

    fn check_alert(&self, now: Millis, draft: &AlertDraft) -> Result<(), Errors> {
        let AlertDraft { alert, officer, .. } = draft;
        if let Some(fault) = alert.fault() {
            return Err(wrong("alert", fault, "see 'puente alert publish --help'"));
        }
        if alert.observed_at.0 > now.0 + limits::CLOCK_SKEW_MILLIS_MAX {
            return Err(wrong("observed", "it was not seen in the future", "give the time at which it was seen"));
        }
        if alert.expires_at <= now || alert.expires_at.since(now) > limits::ALERT_MILLIS_MAX {
            let what = "the alert has ended, or ends more than 30 days ahead";
            return Err(wrong("expires", what, "give an end between now and 30 days from now"));
        }
        let groups = self.groups();
        let standing = groups.iter().find(|standing| standing.group.as_str() == alert.group);
        if standing.is_none_or(|standing| standing.epoch.is_none()) {
            let valid: Vec<&str> = groups.iter().map(|standing| standing.group.as_str()).collect();
            let mend = format!("use one of: {}", valid.join(", "));
            return Err(wrong("group", "this node is not in that group, or enters it anew", &mend));
        }
        if self.alerts.of("") >= ALERTS_MAX {
            return Err(wrong(
                "alert",
                "too many alerts of this node's stand or ended lately",
                "wait until some are over",
            ));
        }
        match (expired(now, officer), self.draining) {
            (Some(errors), _) => Err(errors),
            (None, true) => Err(wrong("node", "this node is about to stop", "start it, then try again")),
            (None, false) => Ok(()),
        }
    }

    /// Judges what an officer wants with an alert; tells and records a refusal.
    fn refuses_alert(&mut self, now: Millis, ticket: Ticket, act: &Act<'_>) -> bool {
        let Ok(kind) = act.kind.parse::<QueryKind>() else { return true };
        let request = Request {
            direction: Direction::Outbound,
            agency: self.node.agency(),
            agency_roles: self.own_roles.clone(),
            holder: self.node.agency(),
            holder_roles: self.own_roles.clone(),
            kind,
            step: Step::HitNoHit,
            purpose: act.purpose,
            basis: act.basis.clone(),
            officer_role: act.officer.role,
            urgency: Urgency::Routine,
            mode: Mode::Open,
            handling: act.handling,
            offence: None,
            facts_stated: false,
            suspicion_stated: false,
            case_stated: false,
            order_stated: false,
            bound: true,
        };
        let Verdict::Refuse(refusal) = &*self.judge.judge(&request, now) else { return false };
        let (reason, explanation) = (refusal.reason, explain(now, refusal));
        self.record_refused_alert(now, ticket, act, reason, explanation);
        true
    }

    fn record_refused_alert(
        &mut self,
        now: Millis,
        ticket: Ticket,
        act: &Act<'_>,
        reason: RefusalReason,
        explanation: puente_wire::Explanation,
    ) {
        let local = LocalEvent {
            kind: EventKind::OutboundRefused,
            record_type: act.kind.to_owned(),
            count: 1,
            purpose: Some(act.purpose),
            basis: Some(act.basis.clone()),
            role: Some(act.officer.role),
            detail: act.officer.id.as_str().as_bytes().to_vec(),
        };
        let conclusion = Conclusion::Refused { exchange: None, reason, explanation };
        let then = crate::engine::Then::Tell(ticket, Box::new(conclusion));
        self.record_event(now, local, |event| event.reason = Some(reason), then);
    }

    /// An event that quotes an alert.
    fn about_alert(&self, now: Millis, kind: EventKind, alert: Digest, peer: Option<NodeUri>) -> puente_wire::Event {
        let local = LocalEvent {
            kind,
            record_type: String::new(),
            count: 1,
            purpose: None,
            basis: None,
            role: None,
            detail: Vec::new(),
        };
        let mut event = self.event(now, local);
        (event.quoted, event.peer) = (Some(alert), peer);
        event
    }
}

fn bad_words(text: &str) -> Option<Errors> {
    let bad = text.chars().count() > limits::WORDS_CHARS_MAX || text.chars().any(char::is_control);
    bad.then(|| wrong("text", "the words are too long, or hold control characters", "use at most 500 characters"))
}

fn expired(now: Millis, officer: &Officer) -> Option<Errors> {
    (officer.expires <= now).then(|| wrong("officer", "the officer's grant has expired", "have the grant renewed"))
}

/// Names a role, for whoever shows what became of an alert.
fn role(code: u32) -> Option<Role> {
    Role::from_code(code)
}
