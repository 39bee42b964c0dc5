//! Which keys open what now: both files, read again whenever one changes, and how much each key has asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use puente_model::{Digest, Millis, OfficerId, Role};

use super::keys::{ApiKey, KeyBook, KeyBookError, KeyChange, KeyId, KeyRecord, Scope};
use crate::approval::grants::{self, Settled};
use crate::approval::{AccessChange as _, Approvals};
use crate::config::NodeDir;
use crate::driver::DriverHandle;
use crate::files::Reread;
use crate::ops::expiry::Ending;

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It shows no key.
    Missing,
    /// What it shows is no key of this node's.
    Unknown,
    /// The key has ended.
    Expired,
    /// The key was revoked.
    Revoked,
}

/// Who asks: a program, for an officer.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) key: KeyId,
    pub(crate) officer: OfficerId,
    pub(crate) scopes: BTreeSet<Scope>,
}

/// The keys of a running node.
pub(crate) struct Ring {
    dir: NodeDir,
    book: Mutex<Reread<KeyBook, 2>>,
    spent: Arc<Mutex<HashMap<KeyId, Spent>>>,
    /// One settles at a time: nothing is recorded twice.
    settling: tokio::sync::Mutex<()>,
}

impl Ring {
    pub(crate) fn new(dir: NodeDir) -> Self {
        let book = Mutex::new(Reread::new([dir.api_keys(), dir.api_keys_recorded()]));
        Self { dir, book, spent: Arc::default(), settling: tokio::sync::Mutex::default() }
    }

    fn granted(&self, id: KeyId) -> Option<KeyRecord> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        match book.now(|| KeyBook::open(&self.dir)) {
            Ok(book) => book.granted(id),
            // Half a change opens nothing: no key does until the file is whole again.
            Err(error) => {
                tracing::error!("API keys: {error}");
                None
            }
        }
    }

    /// Whoever shows a key of this node's that is in force.
    pub(crate) fn caller(&self, shown: Option<&str>, now: Millis) -> Result<Caller, Denied> {
        let key = shown.ok_or(Denied::Missing).and_then(|text| ApiKey::parse(text).ok_or(Denied::Unknown))?;
        let record = self.granted(key.id);
        // An id that nobody has costs the same as a wrong secret.
        let kept = record.as_ref().map_or(Digest([0; 32]), |record| record.hash);
        let is = key.is(&kept);
        match record {
            Some(record) if is && record.is_revoked() => Err(Denied::Revoked),
            Some(record) if is && !record.is_open(now) => Err(Denied::Expired),
            Some(record) if is => Ok(Caller { key: record.id, officer: record.officer, scopes: record.scopes }),
            _ => Err(Denied::Unknown),
        }
    }

    /// How many grants the log does not hold yet.
    pub(crate) fn waiting(&self, now: Millis) -> usize {
        KeyBook::open(&self.dir).map_or(0, |book| book.changes(now).iter().filter(|change| change.is_grant()).count())
    }

    /// When the keys end. None of a file that cannot be read: nobody is let in with it, and the log says so.
    pub(crate) fn endings(&self, now: Millis) -> Vec<Ending> {
        KeyBook::open(&self.dir).map_or(Vec::new(), |book| book.endings(now))
    }

    /// How many keys are in force.
    pub(crate) fn open(&self, now: Millis) -> usize {
        let book = KeyBook::open(&self.dir);
        book.map_or(0, |book| {
            book.wanted().iter().filter(|key| book.granted(key.id).is_some_and(|key| key.is_open(now))).count()
        })
    }

    /// Records what the log does not know yet: every revocation, and the grants, unless they wait for two operators.
    /// `role` says which role an officer has.
    pub(crate) async fn settle(
        &self,
        driver: &DriverHandle,
        approvals: &Approvals,
        role: impl Fn(&OfficerId) -> Option<Role>,
        now: Millis,
    ) -> Result<Settled, KeyBookError> {
        let _alone = self.settling.lock().await;
        let mut book = KeyBook::open(&self.dir)?;
        let changes = book.changes(now);
        let event = |change: &KeyChange| change.event(role(&change.record.officer));
        grants::settle(driver, approvals, &changes, now, event, |change| book.recorded(change)).await
    }

    /// Lets one more request of a key begin, or says in how many seconds to come again.
    pub(crate) fn enter(&self, key: KeyId, limits: Pace, now: Instant) -> Result<Pass, u64> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let one = spent.entry(key).or_default();
        if one.under_way >= limits.at_once {
            return Err(1);
        }
        let each = Duration::from_secs(60) / limits.per_minute.max(1);
        let burst = Duration::from_secs(6).max(each);
        let paid = one.paid.map_or(now, |paid| paid.max(now));
        if paid + each > now + burst {
            return Err((paid + each - now - burst).as_secs() + 1);
        }
        one.paid = Some(paid + each);
        one.under_way += 1;
        Ok(Pass { spent: Arc::clone(&self.spent), key })
    }
}

/// How much one key may ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) per_minute: u32,
    pub(crate) at_once: usize,
}

#[derive(Default)]
struct Spent {
    under_way: usize,
    /// When everything that was let in so far is paid for.
    paid: Option<Instant>,
}

/// A request that was let in; it is over when this is dropped.
pub(crate) struct Pass {
    spent: Arc<Mutex<HashMap<KeyId, Spent>>>,
    key: KeyId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = spent.get_mut(&self.key) {
            one.under_way = one.under_way.saturating_sub(1);
            if one.under_way == 0 && one.paid.is_none_or(|paid| paid <= Instant::now()) {
                spent.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_pace_and_no_more_at_once_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Ring::new(NodeDir::new(folder.path()));
        let (one, other) = (ApiKey::generate().unwrap().id, ApiKey::generate().unwrap().id);
        let pace = Pace { per_minute: 60, at_once: 3 };
        let now = Instant::now() + Duration::from_secs(3_600);
        let held: Vec<Pass> = (0..3).map(|_| ring.enter(one, pace, now).unwrap_or_else(|_| panic!())).collect();
        assert_eq!(ring.enter(one, pace, now).err(), Some(1));
        assert!(ring.enter(other, pace, now).is_ok());
        drop(held);
        // Six seconds' worth at once, three of which are spent.
        for _ in 0..3 {
            assert!(ring.enter(one, pace, now).is_ok());
        }
        assert_eq!(ring.enter(one, pace, now).err(), Some(2));
        assert!(ring.enter(one, pace, now + Duration::from_secs(1)).is_ok());
        assert!(ring.enter(one, pace, now + Duration::from_secs(1)).is_err());
    }
}
