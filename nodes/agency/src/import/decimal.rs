//! Decimal numbers as people publish them, multiplied without rounding.

/// Digits of a number; what 128 bits hold.
const DIGITS_MAX: u32 = 38;

/// A decimal number, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: u128,
    /// How many of the digits stand behind the point.
    places: u32,
}

impl Decimal {
    /// Reads `-12.50`, `6.6e-05` and, where `thousands` says what parts groups, `1,234.5`. `point` stands before the
    /// fraction.
    pub(crate) fn parse(text: &str, point: char, thousands: Option<char>) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 64)?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once(point).unwrap_or((mantissa, ""));
        let mut groups = thousands.map_or_else(|| vec![whole], |t| whole.split(t).collect());
        // 1,234,567: groups of three, but for the first.
        let first = groups.remove(0);
        if groups.iter().any(|g| g.len() != 3) || (!groups.is_empty() && !(1..=3).contains(&first.len())) {
            return None;
        }
        let mut digits: u128 = 0;
        let mut any = false;
        for c in first.chars().chain(groups.into_iter().flat_map(str::chars)).chain(fraction.chars()) {
            digits = digits.checked_mul(10)?.checked_add(c.to_digit(10)?.into())?;
            any = true;
        }
        let places = i32::try_from(fraction.len()).ok()? - exponent;
        let mut number = Self { negative: negative && digits > 0, digits, places: u32::try_from(places.max(0)).ok()? };
        for _ in places..0 {
            number.digits = number.digits.checked_mul(10)?;
        }
        (any && number.places <= 2 * DIGITS_MAX).then(|| number.short())
    }

    /// Without zeros at the end of the fraction.
    fn short(mut self) -> Self {
        while self.places > 0 && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.places -= 1;
        }
        self
    }

    /// The exact product; none if it has more digits than 128 bits hold.
    pub(crate) fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        let places = self.places + other.places;
        Some(Self { negative: self.negative != other.negative && digits > 0, digits, places }.short())
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = self.places as usize;
        let digits = format!("{:0>width$}", self.digits, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        f.write_str(if self.negative { "-" } else { "" })?;
        f.write_str(whole)?;
        if fraction.is_empty() { Ok(()) } else { write!(f, ".{fraction}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        Decimal::parse(text, '.', None).map(|d| d.to_string())
    }

    #[test]
    fn published_numbers_are_read_exactly() {
        for (text, want) in [
            ("8.3799469484296", "8.3799469484296"),
            ("6.61386786e-05", "0.0000661386786"),
            ("1E3", "1000"),
            ("1.50", "1.5"),
            ("-0.0", "0"),
            ("007", "7"),
            ("+2", "2"),
            (".5", "0.5"),
            ("5.", "5"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
        for text in ["", "-", ".", "1,5", "1e", "1e99", "abc", "1.2.3", "١", &"9".repeat(40)] {
            assert_eq!(read(text), None, "{text}");
        }
        let grouped = |text| Decimal::parse(text, '.', Some(',')).map(|d| d.to_string());
        assert_eq!(grouped("1,234,567.8").as_deref(), Some("1234567.8"));
        for text in ["12,34", "1,2345", ",123", "1234,567"] {
            assert_eq!(grouped(text), None, "{text}");
        }
        assert_eq!(Decimal::parse("1.234,5", ',', Some('.')).map(|d| d.to_string()).as_deref(), Some("1234.5"));
    }

    #[test]
    fn products_are_not_rounded() {
        let product =
            |a: &str, b: &str| Some(Decimal::parse(a, '.', None)?.times(Decimal::parse(b, '.', None)?)?.to_string());
        assert_eq!(product("8.3799469484296", "0.45359237").as_deref(), Some("3.801079996812450042152"));
        assert_eq!(product("2.20462262e-05", "0.45359237").as_deref(), Some("0.000009999999991614094"));
        assert_eq!(product("-2", "0.5").as_deref(), Some("-1"));
        assert_eq!(product("99999999999999999999", "99999999999999999999"), None);
    }
}
