//! Conversions that a profile may name.

use std::collections::BTreeMap;

use puente_model::Digest;
use serde::Deserialize;

use super::decimal::Decimal;

/// UCUM unit, base unit, exact factor (definitions of 1959 and of the US gallon).
const UNITS: &[(&str, &str, &str)] = &[
    ("[lb_av]", "kg", "0.45359237"),
    ("[oz_av]", "kg", "0.028349523125"),
    ("g", "kg", "0.001"),
    ("mg", "kg", "0.000001"),
    ("t", "kg", "1000"),
    ("kg", "kg", "1"),
    ("[gal_us]", "L", "3.785411784"),
    ("mL", "L", "0.001"),
    ("L", "L", "1"),
];

const MONTHS: [&[&str]; 12] = [
    &["JAN", "ENE", "JANUARY", "ENERO", "1", "01"],
    &["FEB", "FEBRUARY", "FEBRERO", "2", "02"],
    &["MAR", "MARCH", "MARZO", "3", "03"],
    &["APR", "ABR", "APRIL", "ABRIL", "4", "04"],
    &["MAY", "MAYO", "5", "05"],
    &["JUN", "JUNE", "JUNIO", "6", "06"],
    &["JUL", "JULY", "JULIO", "7", "07"],
    &["AUG", "AGO", "AUGUST", "AGOSTO", "8", "08"],
    &["SEP", "SEPTEMBER", "SEPTIEMBRE", "9", "09"],
    &["OCT", "OCTOBER", "OCTUBRE", "10"],
    &["NOV", "NOVEMBER", "NOVIEMBRE", "11"],
    &["DEC", "DIC", "DECEMBER", "DICIEMBRE", "12"],
];

/// Which day of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Day {
    /// The first.
    First,
    /// The last.
    Last,
}

/// What becomes of values that a table of `map` does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Otherwise {
    /// The row is refused.
    #[default]
    Refuse,
    /// The value is kept as it is.
    Keep,
}

const fn point() -> char {
    '.'
}

const fn digits() -> usize {
    20
}

const fn january() -> u32 {
    1
}

/// How the text of one or several columns becomes the text of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Convert {
    /// As it is.
    #[default]
    Copy,
    /// By a table.
    Map {
        /// Published value → value of the field.
        values: BTreeMap<String, String>,
        /// For all others.
        #[serde(default)]
        otherwise: Otherwise,
    },
    /// A decimal number, exactly, without exponent and thousands separators.
    Decimal {
        /// What stands before the fraction.
        #[serde(default = "point")]
        point: char,
        /// What groups thousands.
        #[serde(default)]
        thousands: Option<char>,
    },
    /// A decimal number in another UCUM unit, multiplied without rounding.
    Unit {
        /// Unit of the published number.
        of: String,
        /// Unit of the field.
        to: String,
        /// What stands before the fraction.
        #[serde(default = "point")]
        point: char,
        /// What groups thousands.
        #[serde(default)]
        thousands: Option<char>,
    },
    /// A date written in another order: `YYYY`, `MM` and `DD` with whatever stands between them.
    Date {
        /// For example `DD/MM/YYYY`.
        format: String,
    },
    /// Year and month (a number or its English or Spanish name) as a date.
    Month {
        /// Which day.
        day: Day,
        /// The month in which the year begins: 10 for the US federal fiscal year.
        #[serde(default = "january")]
        year_starts: u32,
    },
    /// Several columns with this between them.
    Join {
        /// What stands between.
        with: String,
    },
    /// A short name of the row, the same whenever these columns are: a prefix and hexadecimal digits of SHA-256.
    Name {
        /// What stands before the digits.
        prefix: String,
        /// How many digits, 16 to 40.
        #[serde(default = "digits")]
        digits: usize,
    },
}

impl Convert {
    /// Whether it can work on so many columns; else what is wrong and how to mend it.
    pub(crate) fn check(&self, columns: usize) -> Result<(), (String, String)> {
        let wrong = |what: &str, mend: String| Err((what.to_owned(), mend));
        match self {
            _ if columns == 0 => wrong("no column", "name one in 'from'".to_owned()),
            Self::Join { .. } => Ok(()),
            Self::Name { prefix, digits } => match (prefix.len(), digits) {
                (0..=20, 16..=40) => Ok(()),
                _ => wrong("the name is too short or too long", "prefix up to 20 bytes, 16 to 40 digits".to_owned()),
            },
            Self::Month { year_starts: 1..=12, .. } if columns == 2 => Ok(()),
            Self::Month { .. } => wrong("a month", "'from' names year and month; year_starts is 1 to 12".to_owned()),
            _ if columns > 1 => wrong("several columns", "only join, name and month take several".to_owned()),
            Self::Unit { of, to, .. } if factor(of, to).is_none() => {
                let known: Vec<String> = UNITS.iter().map(|(of, to, _)| format!("{of} to {to}")).collect();
                wrong("these units", format!("use one of: {}", known.join(", ")))
            }
            Self::Date { format } if ["YYYY", "MM", "DD"].iter().any(|p| format.matches(p).count() != 1) => {
                wrong("the date's format", "write it with YYYY, MM and DD, for example DD/MM/YYYY".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The field's text; empty where the column is. On failure what the conversion takes.
    pub(crate) fn apply(&self, parts: &[&str]) -> Result<String, &'static str> {
        let text = parts.first().copied().unwrap_or_default().trim();
        if text.is_empty() && !matches!(self, Self::Join { .. } | Self::Name { .. }) {
            return Ok(String::new());
        }
        match self {
            Self::Copy => Ok(text.to_owned()),
            Self::Map { values, otherwise } => match (values.get(text), otherwise) {
                (Some(value), _) => Ok(value.clone()),
                (None, Otherwise::Keep) => Ok(text.to_owned()),
                (None, Otherwise::Refuse) => Err("one of the values of its table"),
            },
            Self::Decimal { point, thousands } => decimal(text, *point, *thousands).map(|d| d.to_string()),
            Self::Unit { of, to, point, thousands } => {
                let number = decimal(text, *point, *thousands)?;
                let factor = factor(of, to).ok_or("a known unit")?;
                number.times(factor).map(|d| d.to_string()).ok_or("a number of fewer digits")
            }
            Self::Date { format } => date(text, format).ok_or("a date in the profile's format"),
            Self::Month { day, year_starts } => {
                let month = parts.get(1).copied().unwrap_or_default();
                month_day(text, month, *day, *year_starts).ok_or("a year and a month")
            }
            Self::Join { with } => Ok(parts.iter().map(|p| p.trim()).collect::<Vec<_>>().join(with)),
            Self::Name { prefix, digits } => {
                let whole = parts.iter().map(|p| p.trim()).collect::<Vec<_>>().join("\u{1f}");
                let name = Digest::of(whole.as_bytes()).to_string();
                Ok(format!("{prefix}{}", name.get(..*digits).unwrap_or(&name)))
            }
        }
    }
}

fn decimal(text: &str, point: char, thousands: Option<char>) -> Result<Decimal, &'static str> {
    Decimal::parse(text, point, thousands).ok_or("a decimal number")
}

fn factor(of: &str, to: &str) -> Option<Decimal> {
    let (_, _, factor) = UNITS.iter().find(|(from, base, _)| *from == of && *base == to)?;
    Decimal::parse(factor, '.', None)
}

fn date(text: &str, format: &str) -> Option<String> {
    let part = |name: &str| {
        let at = format.find(name)?;
        let digits = text.get(at..at + name.len())?;
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)
    };
    let (year, month, day) = (part("YYYY")?, part("MM")?, part("DD")?);
    // What stands between them is what the format says.
    let rebuilt = format.replace("YYYY", year).replace("MM", month).replace("DD", day);
    (rebuilt == text).then(|| format!("{year}-{month}-{day}"))
}

fn month_day(year: &str, month: &str, day: Day, year_starts: u32) -> Option<String> {
    let month = month.trim().to_uppercase();
    let month = u32::try_from(MONTHS.iter().position(|names| names.contains(&month.as_str()))?).ok()? + 1;
    let year: u32 = year.parse().ok().filter(|y| (1850..=9999).contains(y))?;
    // A fiscal year is named after the calendar year in which it ends.
    let year = if year_starts > 1 && month >= year_starts { year - 1 } else { year };
    let day = match (day, month) {
        (Day::First, _) => 1,
        (Day::Last, 2) if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        (Day::Last, 2) => 28,
        (Day::Last, 4 | 6 | 9 | 11) => 30,
        (Day::Last, _) => 31,
    };
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(toml: &str, parts: &[&str]) -> Result<String, &'static str> {
        let convert: Convert = toml::from_str(toml).unwrap();
        convert.check(parts.len()).unwrap();
        convert.apply(parts)
    }

    #[test]
    fn every_conversion_does_what_it_says() {
        let pounds = "kind='unit'\nof='[lb_av]'\nto='kg'";
        let fiscal = "kind='month'\nday='first'\nyear_starts=10";
        let ends = "kind='month'\nday='last'";
        let map = "kind='map'\nvalues={'Land Only'='land'}";
        for (toml, parts, want) in [
            ("kind='copy'", &[" a "][..], Ok("a")),
            (map, &["Land Only"], Ok("land")),
            (map, &["Sea"], Err("one of the values of its table")),
            ("kind='map'\nvalues={}\notherwise='keep'", &["Sea"], Ok("Sea")),
            ("kind='decimal'", &["6.6e-05"], Ok("0.000066")),
            ("kind='decimal'\nthousands=','", &["1,234.50"], Ok("1234.5")),
            ("kind='decimal'", &["many"], Err("a decimal number")),
            (pounds, &["100"], Ok("45.359237")),
            (pounds, &[""], Ok("")),
            ("kind='date'\nformat='DD/MM/YYYY'", &["31/12/2024"], Ok("2024-12-31")),
            ("kind='date'\nformat='DD/MM/YYYY'", &["31-12-2024"], Err("a date in the profile's format")),
            ("kind='date'\nformat='YYYYMMDD'", &["20241231"], Ok("2024-12-31")),
            ("kind='date'\nformat='DD/MM/YYYY'", &["31/12/20245"], Err("a date in the profile's format")),
            (fiscal, &["2019", "OCT"], Ok("2018-10-01")),
            (fiscal, &["2019", "SEP"], Ok("2019-09-01")),
            (ends, &["2024", "02"], Ok("2024-02-29")),
            (ends, &["2100", "feb"], Ok("2100-02-28")),
            (ends, &["2024", "Diciembre"], Ok("2024-12-31")),
            (ends, &["2024", "13"], Err("a year and a month")),
            ("kind='join'\nwith=' / '", &["a", "b"], Ok("a / b")),
        ] {
            assert_eq!(convert(toml, parts), want.map(str::to_owned), "{toml} {parts:?}");
        }
        let name = |parts: &[&str]| convert("kind='name'\nprefix='X-'\ndigits=16", parts).unwrap();
        assert_eq!(name(&["a", "b"]).len(), 18);
        assert_eq!(name(&["a", "b"]), name(&["a ", "b"]));
        assert_ne!(name(&["a", "b"]), name(&["ab", ""]));
    }

    #[test]
    fn what_cannot_work_is_refused_before_any_row() {
        for (toml, columns) in [
            ("kind='copy'", 2),
            ("kind='copy'", 0),
            ("kind='month'\nday='first'", 1),
            ("kind='month'\nday='first'\nyear_starts=13", 2),
            ("kind='unit'\nof='stone'\nto='kg'", 1),
            ("kind='unit'\nof='[lb_av]'\nto='L'", 1),
            ("kind='date'\nformat='DD/MM'", 1),
            ("kind='name'\nprefix=''\ndigits=4", 1),
        ] {
            let convert: Convert = toml::from_str(toml).unwrap();
            assert!(convert.check(columns).is_err(), "{toml}");
        }
        assert!(toml::from_str::<Convert>("kind='magic'").is_err());
    }
}
