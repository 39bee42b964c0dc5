//! A closed loop: so many operations under way, a new one begins when one ends.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::stats::Sample;

/// Bytes that one operation sends and gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of the request.
    pub request: usize,
    /// Of the response.
    pub response: usize,
}

/// Keeps `in_flight` operations under way for `duration`.
///
/// # Errors
/// An operation failed.
pub async fn closed_loop<F, O>(in_flight: usize, duration: Duration, operation: O) -> Result<Sample, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send,
    O: Fn() -> F + Clone + Send + 'static,
{
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for _ in 0..in_flight {
        let operation = operation.clone();
        loops.spawn(async move {
            let mut latencies = Vec::new();
            while began.elapsed() < duration {
                let start = Instant::now();
                operation().await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, Failure>(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = loops.join_next().await {
        all.extend(latencies??);
    }
    Ok(Sample::new(all, began.elapsed()))
}
