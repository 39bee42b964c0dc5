//! How values stand in TOML: one small serde module per form.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_model::{Millis, days_from_civil};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn parse<'de, T, D>(text: &str) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    text.parse().map_err(D::Error::custom)
}

fn decode<'de, D: Deserializer<'de>>(text: &str) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(text).map_err(|_| D::Error::custom("this is not padded standard Base64"))
}

/// A value that is parsed from a string and printed to one.
pub(crate) mod one {
    use super::*;

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        parse::<T, D>(&String::deserialize(from)?)
    }

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }
}

/// As [`one`], for a key that may be absent.
pub(crate) mod maybe {
    use super::*;

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        one::deserialize(from).map(Some)
    }

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }
}

/// As [`one`], for a list.
pub(crate) mod many {
    use super::*;

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        Vec::<String>::deserialize(from)?.iter().map(|text| parse::<T, D>(text)).collect()
    }

    pub(crate) fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }
}

/// 32 bytes in Base64.
pub(crate) mod key32 {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let bytes = decode::<D>(&String::deserialize(from)?)?;
        bytes.try_into().map_err(|_| D::Error::custom("a key has 32 bytes (44 characters of Base64)"))
    }

    pub(crate) fn serialize<S: Serializer>(value: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(value))
    }
}

/// A list of byte strings in Base64.
pub(crate) mod blobs {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|text| decode::<D>(text)).collect()
    }

    pub(crate) fn serialize<S: Serializer>(values: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|bytes| STANDARD.encode(bytes)))
    }
}

/// An instant: a TOML date (its first instant, UTC) or date-time ending in `Z`, quoted or not.
pub(crate) mod when {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
        let text = match toml::Value::deserialize(from)? {
            toml::Value::Datetime(found) => found.to_string(),
            toml::Value::String(found) => found,
            _ => return Err(D::Error::custom(DATE_FORM)),
        };
        parse_instant(&text).ok_or_else(|| D::Error::custom(DATE_FORM))
    }

    pub(crate) fn serialize<S: Serializer>(value: &Millis, to: S) -> Result<S::Ok, S::Error> {
        let text = print_instant(*value);
        text.parse::<toml::value::Datetime>().map_err(S::Error::custom)?.serialize(to)
    }
}

/// As [`when`], for a key that may be absent.
pub(crate) mod maybe_when {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Millis>, D::Error> {
        when::deserialize(from).map(Some)
    }

    pub(crate) fn serialize<S: Serializer>(value: &Option<Millis>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => when::serialize(value, to),
            None => to.serialize_none(),
        }
    }
}

const DATE_FORM: &str = "a date is 2026-11-22 or 2026-11-22T08:00:00Z (UTC)";

/// The last instant that four digits of a year can print: 9999-12-31T23:59:59.999Z.
pub(crate) const INSTANT_MAX: Millis = Millis(253_402_300_799_999);

/// `2026-11-22T08:00:00Z`, with milliseconds only where they are not zero.
pub(crate) fn print_instant(value: Millis) -> String {
    let text = value.min(INSTANT_MAX).to_string();
    match text.strip_suffix(".000Z") {
        Some(whole) => format!("{whole}Z"),
        None => text,
    }
}

/// Reads RFC 3339, UTC only, years 1970 to 9999, at most three digits of fraction.
pub(crate) fn parse_instant(text: &str) -> Option<Millis> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, time.strip_suffix(['Z', 'z'])?),
        None => (text, "00:00:00"),
    };
    let (year, month, day) = fields(date, '-', [4, 2, 2])?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (hour, minute, second) = fields(clock, ':', [2, 2, 2])?;
    if fraction.is_empty() || fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").parse().ok()?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // A day before 1970 has no instant here.
    let day = u64::try_from(days_from_civil(year, month, day)?).ok()?;
    let seconds = day * 86_400 + u64::from(hour * 3_600 + minute * 60 + second);
    Some(Millis(seconds * 1_000 + millis))
}

fn fields(text: &str, separator: char, widths: [usize; 3]) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(separator);
    let mut next = |width: usize| {
        let part = parts.next()?;
        let ok = part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
        if ok { part.parse().ok() } else { None }
    };
    let out = (next(widths[0])?, next(widths[1])?, next(widths[2])?);
    parts.next().is_none().then_some(out)
}

/// The line (from 1) on which byte `at` of `text` stands.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_utc_and_real() {
        assert_eq!(parse_instant("1970-01-01"), Some(Millis(0)));
        assert_eq!(parse_instant("2024-02-29T12:34:56.789Z"), Some(Millis(1_709_210_096_789)));
        assert_eq!(parse_instant("2024-02-29T12:34:56.7Z"), Some(Millis(1_709_210_096_700)));
        for bad in [
            "2023-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "2023-1-1",
            "1969-12-31",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00+01:00",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:60Z",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00.1234Z",
            "2023-01-01T00:00:00:00Z",
            "",
            "+023-01-01",
        ] {
            assert_eq!(parse_instant(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn instants_round_trip(ms in 0..=INSTANT_MAX.0) {
            prop_assert_eq!(parse_instant(&print_instant(Millis(ms))), Some(Millis(ms)));
        }

        #[test]
        fn hostile_dates_never_panic(text in "\\PC{0,40}") {
            let _ = parse_instant(&text);
        }
    }
}
