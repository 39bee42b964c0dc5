//! What stands in the log is said to a group: once its entry is durable, with its receipt.

use puente_ledger::GroupId;
use puente_model::{Digest, LeafIndex, Millis};

use super::Alerts;
use super::stored::{StoredAlert, StoredHop, StoredSaying, each};
use crate::api::{Conclusion, Ticket};
use crate::engine::{Engine, Then, Timer};
use crate::ledger::Intent;
use crate::persist;
use crate::record::OpenedEvent;

/// Until what could not be said is tried again, in milliseconds.
const AGAIN_MILLIS: u64 = 10_000;

impl Engine {
    /// Takes up what the store holds of alerts.
    pub(crate) fn restore_alerts(&mut self, now: Millis) -> Result<(), String> {
        let known: Vec<(Digest, StoredAlert)> = each(&*self.store, persist::ALERTS)?;
        let sayings: Vec<(Digest, StoredSaying)> = each(&*self.store, persist::SAYINGS)?;
        let post = |(leaf, alert): &(Digest, StoredAlert)| {
            Some((puente_corridor::PostId(alert.post.as_slice().try_into().ok()?), *leaf))
        };
        let posts = known.iter().filter_map(post).collect();
        for (leaf, _) in &sayings {
            self.at(now, Timer::Say(*leaf));
        }
        self.alerts = Alerts { known: known.into_iter().collect(), posts, sayings: sayings.into_iter().collect() };
        self.forget_old_alerts(now);
        Ok(())
    }

    /// Records an event; once it stands, whoever waits is told and the group hears of it.
    pub(super) fn record_and_say(
        &mut self,
        now: Millis,
        made: OpenedEvent,
        saying: StoredSaying,
        tell: Option<(Ticket, Conclusion)>,
    ) {
        let leaf = made.leaf();
        let Intent { entries, mut puts, asides, .. } = made.intent;
        let index = self.next_index() + entries.len().saturating_sub(1) as u64;
        let saying = StoredSaying { index, log: self.log_number, ..saying };
        puts.push(saying.put(&leaf));
        self.alerts.sayings.insert(leaf, saying);
        let tell = tell.map(|(ticket, conclusion)| (ticket, Box::new(conclusion)));
        self.enqueue(now, Intent { entries, puts, asides, then: Then::Say(leaf, tell) });
    }

    /// The entry is durable: it is said now, or as soon as it can be.
    pub(crate) fn say_recorded(&mut self, now: Millis, leaf: Digest) {
        let Some(saying) = self.alerts.sayings.get(&leaf) else { return };
        let done = |engine: &mut Self| {
            engine.alerts.sayings.remove(&leaf);
            let puts = vec![(persist::saying_key(&leaf), None)];
            engine.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
        };
        // A log that was closed proves nothing more; and what has ended is of no use to anybody.
        if saying.until <= now.0 || saying.log != self.log_number {
            return done(self);
        }
        let receipt = self.ledger.recorded(LeafIndex(saying.index)).ok().filter(|proven| *proven.leaf() == leaf);
        let content = receipt.and_then(|proven| saying.content(proven.receipt()));
        let group = saying.group.parse::<GroupId>().ok();
        let (until, carries_alert) = (Millis(saying.until), saying.carries_alert());
        let (Some(content), Some(group)) = (content, group) else { return done(self) };
        let Some(corridors) = &mut self.groups.corridors else { return };
        let said = corridors.say(now, &group, &content, until);
        let members: Vec<String> = corridors
            .group(&group)
            .map(|group| group.members().filter(|node| **node != self.node).map(ToString::to_string).collect())
            .unwrap_or_default();
        match said {
            Ok(post) => {
                // The post is written first: what follows may be lost, and is done again then.
                self.carry_groups(now);
                if let (true, Some(alert)) = (carries_alert, self.alerts.known.get_mut(&leaf)) {
                    alert.post = post.0.to_vec();
                    let hop = |node| StoredHop { node, ..StoredHop::default() };
                    alert.hops = members.into_iter().map(hop).collect();
                    let puts = vec![alert.put(&leaf)];
                    self.alerts.posts.insert(post, leaf);
                    self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
                }
                done(self);
            }
            // Not in the group at this moment, or too much is on its way.
            Err(_) => self.at(now.plus(AGAIN_MILLIS), Timer::Say(leaf)),
        }
    }

    /// Alerts that ended long ago.
    pub(super) fn forget_old_alerts(&mut self, now: Millis) {
        let old =
            |alert: &StoredAlert| Millis(alert.expires_at.max(alert.cancelled_at)).plus(super::KEPT_MILLIS) <= now;
        let gone: Vec<Digest> = self.alerts.known.extract_if(.., |_, alert| old(alert)).map(|(leaf, _)| leaf).collect();
        if gone.is_empty() {
            return;
        }
        self.alerts.posts.retain(|_, leaf| !gone.contains(leaf));
        let puts = gone.iter().map(|leaf| (persist::alert_key(leaf), None)).collect();
        self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
    }
}
