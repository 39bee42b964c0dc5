//! Latencies and medians.

use std::time::Duration;

/// What one cell of a measurement gave in one pass.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Operations per second.
    pub per_second: f64,
    /// Half of the operations took no longer, in microseconds.
    pub p50: f64,
    /// All but one in a hundred took no longer, in microseconds.
    pub p99: f64,
}

impl Sample {
    /// From the latencies of all operations within `elapsed`.
    pub fn new(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        let at = |part: f64| {
            let last = latencies.len().saturating_sub(1);
            let index = ((latencies.len() as f64 * part) as usize).min(last);
            latencies.get(index).map_or(f64::NAN, |l| l.as_secs_f64() * 1e6)
        };
        Self { per_second: latencies.len() as f64 / elapsed.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
    }
}

/// The middle value; with an even count the mean of the two in the middle. Not a number if there is none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => f64::midpoint(values[n / 2 - 1], values[n / 2]),
        n => values[n / 2],
    }
}

/// Medians of the same cell over all passes.
pub fn medians(passes: &[Sample]) -> Sample {
    Sample {
        per_second: median(passes.iter().map(|s| s.per_second)),
        p50: median(passes.iter().map(|s| s.p50)),
        p99: median(passes.iter().map(|s| s.p99)),
    }
}

/// Rounded to three significant digits or to the unit: what a reader can use.
pub fn round(value: f64) -> serde_json::Value {
    if !value.is_finite() {
        return serde_json::Value::Null;
    }
    let unit = match value.abs() {
        v if v >= 100.0 => 1.0,
        v if v >= 10.0 => 0.1,
        v if v >= 1.0 => 0.01,
        _ => 0.001,
    };
    // Division by the inverse keeps decimals short in print.
    let inverse = (1.0_f64 / unit).round();
    let rounded = (value * inverse).round() / inverse;
    if inverse == 1.0 { serde_json::json!(rounded as i64) } else { serde_json::json!(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
        let sample = Sample::new((1..=100).map(Duration::from_micros).collect(), Duration::from_secs(2));
        assert_eq!((sample.per_second, sample.p50, sample.p99), (50.0, 51.0, 100.0));
        assert!(Sample::new(Vec::new(), Duration::from_secs(1)).p50.is_nan());
        assert_eq!(round(0.70449), serde_json::json!(0.704));
        assert_eq!(round(123.4), serde_json::json!(123));
    }
}
