//! How often one address may ask about one log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::http::network_of;

/// Pairs of address and log that are counted at once; with more, whoever is new waits.
const COUNTED_MAX: usize = 8_192;
const MINUTE: Duration = Duration::from_secs(60);

/// A bucket a pair of address and log: a minute's worth of requests at once, and as many every minute.
#[derive(Debug)]
pub(crate) struct Pace {
    per_minute: u32,
    /// When everything that was granted is paid for, on the caller's clock.
    paid: Mutex<HashMap<(IpAddr, String), Duration>>,
}

impl Pace {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: per_minute.max(1), paid: Mutex::default() }
    }

    /// Grants one request, or says how long to wait. `log` is a name out of the configuration: strangers' names would
    /// fill the memory.
    pub(crate) fn take(&self, from: IpAddr, log: &str, now: Duration) -> Result<(), Duration> {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (network_of(from), log.to_owned());
        if paid.len() >= COUNTED_MAX && !paid.contains_key(&key) {
            paid.retain(|_, paid| *paid > now);
            if paid.len() >= COUNTED_MAX {
                return Err(MINUTE);
            }
        }
        let cost = MINUTE / self.per_minute;
        let start = paid.get(&key).copied().unwrap_or_default().max(now);
        let after = start + cost;
        if after > now + MINUTE {
            return Err(after - now - MINUTE);
        }
        paid.insert(key, after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_one_at_a_time() {
        let pace = Pace::new(6);
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let now = Duration::from_secs(1_000);
        for _ in 0..6 {
            pace.take(one, "a", now).unwrap();
        }
        assert_eq!(pace.take(one, "a", now), Err(Duration::from_secs(10)));
        // Another log, and another address, have their own.
        pace.take(one, "b", now).unwrap();
        pace.take(other, "a", now).unwrap();
        pace.take(one, "a", now + Duration::from_secs(10)).unwrap();
        assert!(pace.take(one, "a", now + Duration::from_secs(10)).is_err());
    }

    #[test]
    fn addresses_do_not_fill_the_memory() {
        let pace = Pace::new(1);
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..COUNTED_MAX {
            pace.take(address(n), "a", MINUTE).unwrap();
        }
        assert_eq!(pace.take(address(COUNTED_MAX), "a", MINUTE), Err(MINUTE));
        assert_eq!(pace.paid.lock().unwrap().len(), COUNTED_MAX);
        // A minute later the old ones are paid for.
        pace.take(address(COUNTED_MAX), "a", 2 * MINUTE).unwrap();
        assert_eq!(pace.paid.lock().unwrap().len(), 1);
    }
}
