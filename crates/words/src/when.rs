//! Times for people: UTC, which counts, and what the clocks of the places show that a time concerns.
//!
//! ```text
//! 2026-12-31 06:00 UTC (2026-12-30 22:00 America/Tijuana -08:00, 00:00 America/Chicago -06:00)
//! ```
//!
//! A local time always stands with the IANA name of its zone and its offset, because a nation has several zones, some
//! of Mexico's border municipalities keep the summer time of the United States and the rest of Mexico keeps none, and
//! an hour comes twice when clocks are put back. Programs read RFC 3339 in UTC.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use puente_model::Millis;

/// How long an instant is as [`Millis`] prints it.
const INSTANT_LEN: usize = "2026-12-31T06:00:00.000Z".len();
/// How long a minute is as `puente_model::Minute` prints it.
const MINUTE_LEN: usize = "2026-12-31T06:00Z".len();

/// The zone of a nation's capital, for want of a better one; none for a nation that nobody has entered here.
pub fn capital_zone(nation: &str) -> Option<&'static str> {
    match nation {
        "mx" => Some("America/Mexico_City"),
        "us" => Some("America/New_York"),
        _ => None,
    }
}

/// The clocks of the places that a time concerns, in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub struct Clocks(Vec<(String, TimeZone)>);

impl Clocks {
    /// The clocks of zones with these IANA names, each once; a name that `zones` does not know is left out.
    pub fn of<N: AsRef<str>>(names: impl IntoIterator<Item = N>, zones: &TimeZoneDatabase) -> Self {
        let mut clocks: Vec<(String, TimeZone)> = Vec::new();
        for name in names {
            let name = name.as_ref();
            if !clocks.iter().any(|(known, _)| known == name)
                && let Ok(zone) = zones.get(name)
            {
                clocks.push((name.to_owned(), zone));
            }
        }
        Self(clocks)
    }

    /// An instant, to the minute: in UTC, then on every clock. A date stands beside a local time where it is another
    /// than that of UTC.
    pub fn instant(&self, at: Millis) -> String {
        let utc = timestamp(at).strftime("%Y-%m-%d %H:%M UTC");
        let local = self.local(at);
        if local.is_empty() { utc.to_string() } else { format!("{utc} ({local})") }
    }

    /// What the clocks alone show; empty where there is none.
    pub fn local(&self, at: Millis) -> String {
        let at = timestamp(at);
        let utc = at.to_zoned(TimeZone::UTC).date();
        let local = |(name, zone): &(String, TimeZone)| {
            let here = at.to_zoned(zone.clone());
            let form = if here.date() == utc { "%H:%M" } else { "%Y-%m-%d %H:%M" };
            format!("{} {name} {}", here.strftime(form), here.strftime("%:z"))
        };
        self.0.iter().map(local).collect::<Vec<_>>().join(", ")
    }

    /// A text with the instants and minutes of the model in it, as it is meant for people.
    pub fn spell(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let (mut rest, mut within) = (text, false);
        while let Some(next) = rest.chars().next() {
            match (!within).then(|| leading(rest)).flatten() {
                Some((at, len)) => {
                    out.push_str(&self.instant(at));
                    rest = &rest[len..];
                    within = true;
                }
                None => {
                    out.push(next);
                    rest = &rest[next.len_utf8()..];
                    // Not in the middle of a longer number or name.
                    within = next.is_alphanumeric();
                }
            }
        }
        out
    }
}

/// Whether a text holds an instant or a minute that [`Clocks::spell`] would spell.
pub fn tells_time(text: &str) -> bool {
    text.char_indices().any(|(at, _)| leading(&text[at..]).is_some())
}

/// The last instant of the calendar stands for all that lie beyond it.
fn timestamp(at: Millis) -> Timestamp {
    let at = i64::try_from(at.0).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    at.unwrap_or(Timestamp::MAX)
}

/// The instant or minute at the beginning of a text, and how many bytes it takes.
fn leading(text: &str) -> Option<(Millis, usize)> {
    if !text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let read = |text: &str| {
        let at: Timestamp = text.parse().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(Millis)
    };
    let instant = text.get(..INSTANT_LEN).filter(|shown| shown.ends_with('Z') && shown.as_bytes()[19] == b'.');
    if let Some(at) = instant.and_then(read) {
        return Some((at, INSTANT_LEN));
    }
    let minute = text.get(..MINUTE_LEN).and_then(|shown| shown.strip_suffix('Z'))?;
    Some((read(&format!("{minute}:00Z"))?, MINUTE_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        let at: Timestamp = text.parse().unwrap();
        Millis(u64::try_from(at.as_millisecond()).unwrap())
    }

    fn clocks(names: &[&str]) -> Clocks {
        Clocks::of(names, &TimeZoneDatabase::bundled())
    }

    #[test]
    fn both_sides_of_the_border_and_utc() {
        let both = clocks(&["America/Tijuana", "America/Chicago"]);
        assert_eq!(
            both.instant(at("2026-12-31T06:00:59.999Z")),
            "2026-12-31 06:00 UTC (2026-12-30 22:00 America/Tijuana -08:00, 00:00 America/Chicago -06:00)"
        );
        assert_eq!(clocks(&[]).instant(at("2024-02-29T12:34:56.789Z")), "2024-02-29 12:34 UTC");
        let known = clocks(&["America/Tijuana", "America/Tijuana", "America/Nowhere"]);
        assert_eq!(known.instant(at("2026-06-01T12:00:00Z")), "2026-06-01 12:00 UTC (05:00 America/Tijuana -07:00)");
        assert!(both.instant(Millis(u64::MAX)).starts_with("9999-12-30 22:00 UTC ("));
    }

    /// Mexico put its clocks forward for the last time in 2022; border municipalities go on as the United States do.
    #[test]
    fn summer_time_of_each_country() {
        let border = clocks(&["America/Mexico_City", "America/Tijuana", "America/Ciudad_Juarez", "America/Phoenix"]);
        let shown = |text: &str| {
            let shown = border.instant(at(text));
            let inner = shown.split_once('(').unwrap().1.trim_end_matches(')').to_owned();
            inner.split(", ").map(|local| local.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shown("2022-07-01T18:00:00Z"), ["-05:00", "-07:00", "-06:00", "-07:00"]);
        assert_eq!(shown("2023-07-01T18:00:00Z"), ["-06:00", "-07:00", "-06:00", "-07:00"]);
        assert_eq!(shown("2027-01-15T18:00:00Z"), ["-06:00", "-08:00", "-07:00", "-07:00"]);
        assert_eq!(shown("2027-07-15T18:00:00Z"), ["-06:00", "-07:00", "-06:00", "-07:00"]);
    }

    /// On 14 March 2027 there is no 02:30 in Texas, and on 7 November 01:30 comes twice; nothing of it in Mexico City.
    #[test]
    fn the_hour_that_is_left_out_and_the_one_that_comes_twice() {
        let both = clocks(&["America/Chicago", "America/Mexico_City"]);
        let shown = |text: &str| both.instant(at(text)).split_once('(').unwrap().1.to_owned();
        assert_eq!(shown("2027-03-14T07:59:00Z"), "01:59 America/Chicago -06:00, 01:59 America/Mexico_City -06:00)");
        assert_eq!(shown("2027-03-14T08:00:00Z"), "03:00 America/Chicago -05:00, 02:00 America/Mexico_City -06:00)");
        assert_eq!(shown("2027-11-07T06:30:00Z"), "01:30 America/Chicago -05:00, 00:30 America/Mexico_City -06:00)");
        assert_eq!(shown("2027-11-07T07:30:00Z"), "01:30 America/Chicago -06:00, 01:30 America/Mexico_City -06:00)");
    }

    #[test]
    fn what_the_model_prints_is_spelled_and_nothing_else() {
        let clocks = clocks(&["America/Chicago"]);
        let one = "2027-01-15 18:00 UTC (12:00 America/Chicago -06:00)";
        assert_eq!(clocks.spell("ended 2027-01-15T18:00:00.000Z; ask"), format!("ended {one}; ask"));
        assert_eq!(clocks.spell("¡2027-01-15T18:00Z!"), format!("¡{one}!"));
        for text in
            ["2026-11-22T08:00:00Z", "x2027-01-15T18:00Z", "2027-13-15T18:00Z", "2027-01-15", "12027-01-15T18:00Z"]
        {
            assert_eq!(clocks.spell(text), text);
        }
        assert!(tells_time("at 2027-01-15T18:00Z") && !tells_time("at 2027-01-15T18:00:00Z"));
    }

    #[test]
    fn every_capital_has_a_zone_that_exists() {
        let zones = TimeZoneDatabase::bundled();
        assert!(["mx", "us"].iter().all(|nation| zones.get(capital_zone(nation).unwrap()).is_ok()));
        assert_eq!(capital_zone("xx"), None);
    }
}
