//! Small pure functions that check one value and give its normal form.
//!
//! A check digit that is decisive rejects (and a person may override it with a
//! reason); one that genuine identifiers fail in practice only warns. Every
//! normal form is a fixed point: checking it again gives it back.

mod date;
mod decimal;
mod identity;
mod licence;
mod mexico;
mod place;
mod plate;
mod serial;
mod text;
mod vin;

use crate::problem::Problem;

pub(crate) use date::{day_number, instant_of, swap_day_and_month, younger_than};
pub(crate) use text::{fold, has_forbidden_character};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// In order.
    Valid {
        /// The normal form.
        normalised: String,
    },
    /// Accepted, and doubtful.
    Warn {
        /// The normal form.
        normalised: String,
        /// What is doubtful.
        problem: Problem,
    },
    /// The text tells a state; `normalised` is empty where there is no value to match on.
    State {
        /// The state's code, for example `obliterated`.
        state: &'static str,
        /// The normal form of what can be read.
        normalised: String,
    },
    /// Not accepted.
    Reject {
        /// What is wrong.
        problem: Problem,
        /// The normal form that an override accepts; only where the problem can be overridden.
        if_overridden: Option<String>,
    },
}

impl Verdict {
    pub(crate) const fn valid(normalised: String) -> Self {
        Self::Valid { normalised }
    }

    pub(crate) const fn reject(problem: Problem) -> Self {
        Self::Reject { problem, if_overridden: None }
    }
}

macro_rules! validators {
    ($($(#[$doc:meta])* $v:ident = $name:literal => $check:path),+ $(,)?) => {
        /// A check by the name that a `.proto` file gives it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Validator { $($(#[$doc])* $v),+ }

        impl Validator {
            /// Every validator.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The name in a `.proto` file.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$v => $name),+ }
            }

            /// The validator of a name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }

            /// Checks one value and gives its normal form.
            pub fn check(self, value: &str) -> Verdict {
                match self { $(Self::$v => $check(value)),+ }
            }
        }
    };
}

validators! {
    /// Printable text on one line, single spaces.
    Text = "text" => text::text,
    /// As text, upper case.
    Name = "name" => text::name,
    /// Text of several lines.
    Narrative = "narrative" => text::narrative,
    /// A number or mark of a file or list, upper case.
    Reference = "reference" => text::reference,
    /// An agency: `jurisdiction/agency`, or a nine-character ORI.
    Agency = "agency" => text::agency,
    /// A nine-character originating agency identifier.
    Ori = "ori" => text::ori,
    /// Number of a Mexican criminal case file.
    Nuc = "nuc" => identity::nuc,
    /// SHA-256 in hexadecimal.
    Sha256 = "sha256" => text::sha256,
    /// Vehicle identification number (NIV).
    Vin = "vin" => vin::vin,
    /// Registration plate.
    Plate = "plate" => plate::plate,
    /// Country and state that issued a plate, for example `US-TX`.
    PlateJurisdiction = "plate_jurisdiction" => plate::jurisdiction,
    /// Serial number of a firearm.
    FirearmSerial = "firearm_serial" => serial::firearm_serial,
    /// United States federal firearms licence.
    Ffl = "ffl" => licence::ffl,
    /// Mexican population registry key.
    Curp = "curp" => mexico::curp,
    /// Mexican taxpayer key.
    Rfc = "rfc" => mexico::rfc,
    /// Mexican bank account key.
    Clabe = "clabe" => mexico::clabe,
    /// Key of a Mexican voter's card: its form only.
    ClaveElector = "clave_elector" => identity::clave_elector,
    /// Number of a passport, of any country.
    Passport = "passport" => identity::passport,
    /// Alien registration number of the United States.
    ANumber = "a_number" => identity::a_number,
    /// Mexican municipality: INEGI state (2) and municipality (3).
    Cvegeo = "cvegeo" => place::cvegeo,
    /// US county: FIPS state (2) and county (3).
    Fips = "fips" => place::fips,
    /// `MX-` and a CVEGEO, or `US-` and a FIPS county.
    Place = "place" => place::place,
    /// A square of one kilometre (MGRS), never finer.
    Cell1Km = "cell_1km" => place::cell_1km,
    /// A country, or a country and its state, for example `MX-SIN`.
    Territory = "territory" => plate::jurisdiction,
    /// ISO 3166-1 alpha-2.
    Country = "country" => place::country,
    /// A number that is not negative, with decimals.
    Decimal = "decimal" => decimal::decimal,
    /// RFC 3339 full-date.
    Date = "date" => date::date,
    /// RFC 3339 date-time, kept in UTC with milliseconds.
    DateTime = "datetime" => date::datetime,
}

/// Upper case without the separators that people put into identifiers.
fn squeeze(value: &str, separators: &[char]) -> String {
    value
        .chars()
        .filter(|c| !c.is_whitespace() && !separators.contains(c))
        .map(|c| if c == 'ñ' { 'Ñ' } else { c.to_ascii_uppercase() })
        .collect()
}

/// The number that a run of ASCII digits says; `None` for anything else.
fn digits(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests;
