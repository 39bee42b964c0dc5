use puente_model::Millis;

/// Parses `YYYY-MM-DD` as the first instant of that day, UTC.
pub(crate) fn parse(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        _ => return None,
    };
    if year < 1970 || day == 0 || day > days {
        return None;
    }
    // Days since 1970-01-01 (Howard Hinnant's `days_from_civil`, for years after 0).
    let y = if month <= 2 { year - 1 } else { year };
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = (y % 400) * 365 + (y % 400) / 4 - (y % 400) / 100 + day_of_year;
    let since = (y / 400) * 146_097 + day_of_era - 719_468;
    Some(Millis(since * 86_400_000))
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
