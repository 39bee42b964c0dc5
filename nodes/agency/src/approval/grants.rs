//! From what operators want to what the log knows: the way of every change of who may do what.

use puente_exchange::api::{Conclusion, LocalEvent};
use puente_model::{Digest, EventKind, Label, LeafIndex, Millis, digest};

use super::{Approvals, Change, Consent};
use crate::driver::DriverHandle;

/// One difference between what is wanted and what is recorded: of officers, or of API keys.
pub trait AccessChange {
    /// What two operators approve, where they must.
    const OF: Change;
    /// What two operators sign: these labels never change.
    const LABEL: Label;

    /// The kind of its entry.
    fn kind(&self) -> EventKind;

    /// The details of its entry.
    fn detail(&self) -> Vec<u8>;

    /// Whether somebody may do by it what was not allowed before. Only that waits for two operators: taking access away
    /// and reviewing it need nobody else.
    fn is_grant(&self) -> bool {
        matches!(self.kind(), EventKind::Grant | EventKind::BreakGlass)
    }
}

/// What two operators approve together where they must: every grant of these changes; none without one.
pub fn grants_digest<C: AccessChange>(changes: &[C]) -> Option<Digest> {
    let mut details: Vec<Vec<u8>> = changes.iter().filter(|c| c.is_grant()).map(C::detail).collect();
    details.sort();
    let parts: Vec<&[u8]> = details.iter().map(Vec::as_slice).collect();
    (!parts.is_empty()).then(|| digest(C::LABEL, &parts))
}

/// What came of settling changes with the log.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// What was recorded, and where.
    pub(crate) recorded: Vec<(EventKind, LeafIndex)>,
    /// Grants that wait for two operators.
    pub(crate) waiting: usize,
    /// Changes that the log did not take.
    pub(crate) failed: usize,
}

/// Has the log record these changes in their order: every one that takes away or reviews, and the grants, unless they
/// wait for two operators. `event` makes a change's entry, `recorded` notes that the log holds it.
///
/// # Errors
/// What `recorded` says; what was recorded before stays.
pub(crate) async fn settle<C: AccessChange, E>(
    driver: &DriverHandle,
    approvals: &Approvals,
    changes: &[C],
    now: Millis,
    event: impl Fn(&C) -> LocalEvent,
    mut recorded: impl FnMut(&C) -> Result<(), E>,
) -> Result<Settled, E> {
    let consent = match grants_digest(changes) {
        Some(grants) => approvals.consent(C::OF, Digest::default(), grants, now).unwrap_or_else(|error| {
            // Without the rule nothing is granted; taking away needs none.
            tracing::error!("approvals: {error}; {}", error.mend());
            Consent::Waits(Vec::new())
        }),
        None => Consent::Free,
    };
    let mut settled = Settled::default();
    for change in changes {
        let mut event = event(change);
        match &consent {
            Consent::Waits(_) if change.is_grant() => {
                settled.waiting += 1;
                continue;
            }
            Consent::Given(approved) if change.is_grant() => event.detail = approved.stamp(&event.detail),
            _ => {}
        }
        let (of, kind) = (C::OF, change.kind());
        match driver.event(event).await {
            Ok(Conclusion::Recorded { index }) => {
                recorded(change)?;
                settled.recorded.push((kind, index));
            }
            // Not in the log: not in force.
            _ => {
                tracing::error!(%of, %kind, "a change could not be recorded");
                settled.failed += 1;
            }
        }
    }
    if settled.waiting > 0 {
        tracing::warn!(of = %C::OF, grants = settled.waiting, "grants wait for two operators");
    }
    Ok(settled)
}
