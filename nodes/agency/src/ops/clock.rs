//! Watches the wall clock against one that only goes forward.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Differences between two looks that count as a jump.
const JUMP: Duration = Duration::from_secs(2);
/// How long a jump is remembered.
const MEMORY: Duration = Duration::from_secs(600);
/// Jumps remembered.
const JUMPS_MAX: usize = 64;

/// A jump of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// How long ago.
    pub ago: Duration,
    /// By how much, in milliseconds; negative backwards.
    pub millis: i64,
}

/// Remembers jumps of the wall clock; call [`ClockWatch::look`] every second or so.
#[derive(Debug)]
pub struct ClockWatch(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    wall: SystemTime,
    steady: Instant,
    jumps: VecDeque<(Instant, i64)>,
}

/// Milliseconds from one instant of the wall clock to another.
fn millis(from: SystemTime, to: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    to.duration_since(from).map_or_else(|before| -whole(before.duration()), whole)
}

impl ClockWatch {
    /// Starts from both clocks as they are.
    pub fn new(wall: SystemTime, steady: Instant) -> Self {
        Self(Mutex::new(Seen { wall, steady, jumps: VecDeque::new() }))
    }

    /// Compares both clocks.
    pub fn look(&self, wall: SystemTime, steady: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = i64::try_from(steady.saturating_duration_since(seen.steady).as_millis()).unwrap_or(i64::MAX);
        let jump = millis(seen.wall, wall).saturating_sub(expected);
        (seen.wall, seen.steady) = (wall, steady);
        if u128::from(jump.unsigned_abs()) >= JUMP.as_millis() {
            if seen.jumps.len() == JUMPS_MAX {
                seen.jumps.pop_front();
            }
            seen.jumps.push_back((steady, jump));
        }
        while seen.jumps.front().is_some_and(|(at, _)| steady.saturating_duration_since(*at) > MEMORY) {
            seen.jumps.pop_front();
        }
    }

    /// Jumps of the last ten minutes, oldest first.
    pub fn jumps(&self, steady: Instant) -> Vec<Jump> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            seen.jumps.iter().map(|(at, millis)| Jump { ago: steady.saturating_duration_since(*at), millis: *millis });
        recent.filter(|jump| jump.ago <= MEMORY).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_seen_both_ways_and_forgotten_after_ten_minutes() {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        let watch = ClockWatch::new(wall, steady);
        let s = Duration::from_secs;
        watch.look(wall + s(1), steady + s(1));
        // Slow drift and small corrections are no jumps.
        watch.look(wall + s(3), steady + s(2));
        assert!(watch.jumps(steady + s(2)).is_empty());
        watch.look(wall + s(3_604), steady + s(3));
        watch.look(wall + s(5), steady + s(4));
        let jumps: Vec<i64> = watch.jumps(steady + s(4)).iter().map(|j| j.millis).collect();
        assert_eq!(jumps, [3_600_000, -3_600_000]);
        assert_eq!(watch.jumps(steady + s(604)).len(), 1);
        assert!(watch.jumps(steady + s(605)).is_empty());
    }
}
