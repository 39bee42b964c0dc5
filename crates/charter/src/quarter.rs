use std::fmt;
use std::str::FromStr;

use puente_model::Millis;

use crate::Defect;

/// A calendar quarter in UTC, for example `2026Q4`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quarter(String);

impl Quarter {
    /// The quarter that an instant falls in.
    pub fn of(now: Millis) -> Self {
        let date = now.min(crate::text::INSTANT_MAX).to_string();
        let month: u8 = date.get(5..7).and_then(|m| m.parse().ok()).unwrap_or(1);
        Self(format!("{}Q{}", date.get(..4).unwrap_or("1970"), (month - 1) / 3 + 1))
    }

    /// The quarter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The quarter that an instant falls in, as text, for example `2026Q4`.
pub fn quarter_of(now: Millis) -> String {
    Quarter::of(now).0
}

impl FromStr for Quarter {
    type Err = Defect;

    fn from_str(text: &str) -> Result<Self, Defect> {
        let ok = match text.as_bytes() {
            [year @ .., b'Q', b'1'..=b'4'] => year.len() == 4 && year.iter().all(u8::is_ascii_digit) && text >= "1970",
            _ => false,
        };
        if ok { Ok(Self(text.to_owned())) } else { Err(Defect::Quarter { found: text.chars().take(40).collect() }) }
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_instant;

    #[test]
    fn quarters_begin_in_january() {
        for (date, quarter) in [
            ("1970-01-01", "1970Q1"),
            ("2026-03-31T23:59:59.999Z", "2026Q1"),
            ("2026-04-01", "2026Q2"),
            ("2026-09-30", "2026Q3"),
            ("2026-11-22", "2026Q4"),
        ] {
            assert_eq!(quarter_of(parse_instant(date).unwrap()), quarter);
            assert_eq!(quarter.parse::<Quarter>().unwrap().as_str(), quarter);
        }
        assert_eq!(quarter_of(Millis(u64::MAX)), "9999Q4");
        for bad in ["2026Q0", "2026Q5", "2026q1", "26Q1", "", "Q1", "1969Q4", "20é6Q1"] {
            assert!(bad.parse::<Quarter>().is_err(), "{bad}");
        }
    }
}
