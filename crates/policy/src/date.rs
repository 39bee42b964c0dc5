use puente_model::{Millis, days_from_civil};

/// Parses `YYYY-MM-DD` as the first instant of that day, UTC.
pub(crate) fn parse(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let day = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?)?;
    Some(Millis(u64::try_from(day).ok()? * 86_400_000))
}

/// The date of an instant, `YYYY-MM-DD`.
pub(crate) fn show(at: Millis) -> String {
    at.to_string().chars().take_while(|c| *c != 'T').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for day in 0..60_000_u64 {
            let at = Millis(day * 86_400_000);
            assert_eq!(parse(&show(at)), Some(at));
        }
    }

    #[test]
    fn other_texts_are_not_dates() {
        for bad in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "26-01-01",
            "2026/01/01",
            "2026-01-00",
            "",
            "1969-12-31",
            "２０２６-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
