use puente_model::{Millis, days_from_civil};

use super::{Verdict, digits};
use crate::problem::Problem;

/// Whether the Gregorian calendar has this day.
pub(super) fn is_day(year: u32, month: u32, day: u32) -> bool {
    days_from_civil(year, month, day).is_some()
}

/// Year, month and day of `YYYY-MM-DD` (also with '/'), if there is such a day from 1850 on.
fn full_date(text: &[u8]) -> Option<(u32, u32, u32)> {
    let [y0, y1, y2, y3, s1, m0, m1, s2, d0, d1] = *<&[u8; 10]>::try_from(text).ok()?;
    let (y, m, d) = (digits(&[y0, y1, y2, y3])?, digits(&[m0, m1])?, digits(&[d0, d1])?);
    (s1 == s2 && matches!(s1, b'-' | b'/') && (1850..=9999).contains(&y) && is_day(y, m, d)).then_some((y, m, d))
}

/// RFC 3339 full-date. Day-first forms are refused: they read two ways across a border.
pub(super) fn date(text: &str) -> Verdict {
    match full_date(text.trim().as_bytes()) {
        Some((y, m, d)) => Verdict::valid(format!("{y:04}-{m:02}-{d:02}")),
        None => Verdict::reject(Problem::BadDate),
    }
}

/// RFC 3339 date-time from 1970 on, kept in UTC with milliseconds.
pub(super) fn datetime(text: &str) -> Verdict {
    match instant(text.trim().as_bytes()) {
        Some(millis) => Verdict::valid(millis.to_string()),
        None => Verdict::reject(Problem::BadDate),
    }
}

/// The instant of a normal date-time.
pub(crate) fn instant_of(text: &str) -> Option<Millis> {
    instant(text.as_bytes())
}

/// Days from 1970-01-01 to a normal date, or to the day of a normal date-time.
pub(crate) fn day_number(text: &str) -> Option<i64> {
    full_date(text.get(..10)?.as_bytes()).and_then(|(y, m, d)| days_from_civil(y, m, d))
}

/// A normal date with day and month swapped, where that is another day.
pub(crate) fn swap_day_and_month(date: &str) -> Option<String> {
    let (y, m, d) = full_date(date.as_bytes())?;
    (m != d && d <= 12).then(|| format!("{y:04}-{d:02}-{m:02}"))
}

/// Whether somebody born on `birth` was younger than `years` on the day of `event`.
pub(crate) fn younger_than(years: u32, birth: &str, event: &str) -> Option<bool> {
    let (y, m, d) = full_date(birth.get(..10)?.as_bytes())?;
    let event = full_date(event.get(..10)?.as_bytes())?;
    Some((y + years, m, d) > event)
}

fn instant(text: &[u8]) -> Option<Millis> {
    let (day, rest) = text.split_at_checked(10)?;
    let (y, m, d) = full_date(day)?;
    let (clock, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't' | b' ', h0, h1, b':', m0, m1, b':', s0, s1] = *clock else { return None };
    let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[m0, m1])?, digits(&[s0, s1])?);
    let (fraction, zone) = match rest {
        [b'.', rest @ ..] => rest.split_at(rest.iter().position(|b| !b.is_ascii_digit())?),
        _ => (&[][..], rest),
    };
    if hour > 23 || minute > 59 || second > 59 || (rest.first() == Some(&b'.') && fraction.is_empty()) {
        return None;
    }
    let mut padded = [b'0'; 3];
    padded.iter_mut().zip(fraction).for_each(|(to, from)| *to = *from);
    let offset_minutes: i64 = match *zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (h, m) = (digits(&[h0, h1])?, digits(&[m0, m1])?);
            if h > 23 || m > 59 {
                return None;
            }
            i64::from(h * 60 + m) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second) - offset_minutes * 60;
    let millis = (days_from_civil(y, m, d)? * 86_400 + seconds) * 1000 + i64::from(digits(&padded)?);
    u64::try_from(millis).ok().filter(|ms| *ms < 253_402_300_800_000).map(Millis)
}
