use std::time::Duration;

/// A token bucket: so many bytes per second, and one second's worth at once after a pause. The clock is the caller's.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    /// When everything that was granted so far is paid for, on the caller's clock.
    paid: Duration,
}

/// What may be sent at once after a pause.
const BURST: Duration = Duration::from_secs(1);

impl Bucket {
    pub(super) const fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid: Duration::ZERO }
    }

    /// Grants `bytes`; how long to wait before sending them.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // The clock starts at zero: nothing is saved up before that.
        let start = self.paid.max(now.saturating_sub(BURST));
        self.paid = start.saturating_add(cost);
        self.paid.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_more_than_the_rate_gets_through_and_no_less() {
        let mut bucket = Bucket::new(1_000);
        let (mut now, mut sent) = (Duration::from_secs(10), 0_u64);
        let end = now + Duration::from_secs(20);
        while now < end {
            now += bucket.take(100, now);
            sent += 100;
        }
        // Twenty seconds and one of burst, and the grant that ran over.
        assert!((20_900..=21_100).contains(&sent), "{sent}");
    }

    #[test]
    fn a_pause_saves_up_one_second_and_no_more() {
        let mut bucket = Bucket::new(1_000);
        let now = Duration::from_secs(3_600);
        assert_eq!(bucket.take(1_000, now), Duration::ZERO);
        assert_eq!(bucket.take(500, now), SECOND / 2);
        // Whoever took more than the bucket holds waits for all of it.
        assert_eq!(bucket.take(10_000, now), SECOND / 2 + 10 * SECOND);
        let later = now + Duration::from_secs(600);
        assert_eq!(bucket.take(1_001, later), SECOND / 1_000);
    }

    #[test]
    fn absurd_numbers_only_wait() {
        let mut bucket = Bucket::new(0);
        assert!(bucket.take(u64::MAX, SECOND) > Duration::from_secs(1 << 32));
        assert!(bucket.take(u64::MAX, SECOND) > Duration::from_secs(1 << 32));
    }
}
