//! Seeds on every core, until one of them fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::quietly;

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What a seed gives; none if it fails. Its words are not printed.
pub fn tried<R>(tell: impl FnOnce() -> R) -> Option<R> {
    quietly(|| catch_unwind(AssertUnwindSafe(tell)).ok())
}

/// Tells so many seeds from `first` on, each in a world of its own, and adds up what they give; with a seed that failed,
/// if one did: the others then stop.
pub fn all<T: Default + Send, R>(
    first: u64,
    seeds: u64,
    tell: impl Fn(u64) -> R + Sync,
    add: impl Fn(&mut T, R) + Sync,
) -> (T, Option<u64>) {
    let (next, failed, sum) = (AtomicU64::new(first), Mutex::new(None), Mutex::new(T::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    match tried(|| tell(seed)) {
                        Some(one) => add(&mut sum.lock().unwrap(), one),
                        None => *failed.lock().unwrap() = Some(seed),
                    }
                }
            });
        }
    });
    (sum.into_inner().unwrap(), failed.into_inner().unwrap())
}
