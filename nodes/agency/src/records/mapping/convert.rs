//! From the text of a column to the text that the catalogue reads.

use std::collections::BTreeMap;

/// A step that changes a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
    /// Letters and digits only.
    Strip,
}

/// What is done to a column's text, in this order.
#[derive(Debug, Clone, Default)]
pub(super) struct Convert {
    pub(super) steps: Vec<Step>,
    /// Characters that are left out.
    pub(super) remove: String,
    pub(super) date: Option<DateForm>,
    /// What stands in the column → what it means.
    pub(super) codes: Option<BTreeMap<String, String>>,
}

/// Why a text could not be converted. Holds no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unconverted {
    /// It is not written as `date` says.
    Date,
    /// `codes` does not have it.
    Code,
}

impl Unconverted {
    /// Stable name.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Date => "date-form",
            Self::Code => "code-unknown",
        }
    }
}

impl Convert {
    /// The text for the catalogue; empty if there is none.
    pub(super) fn apply(&self, text: &str) -> Result<String, Unconverted> {
        let mut text = text.trim().to_owned();
        text.retain(|c| !self.remove.contains(c));
        for step in &self.steps {
            text = match step {
                Step::Upper => text.to_uppercase(),
                Step::Lower => text.to_lowercase(),
                Step::Strip => text.chars().filter(|c| c.is_alphanumeric()).collect(),
            };
        }
        if text.is_empty() {
            return Ok(text);
        }
        if let Some(form) = &self.date {
            text = form.read(&text).ok_or(Unconverted::Date)?;
        }
        match &self.codes {
            Some(codes) => codes.get(&text).cloned().ok_or(Unconverted::Code),
            None => Ok(text),
        }
    }
}

/// How a column writes dates: `YYYY`, `MM`, `DD` and what stands between them; `*` at the end passes over the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DateForm {
    parts: Vec<Part>,
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Literal(char),
}

impl DateForm {
    /// Reads a form; none if it does not have year, month and day once each.
    pub(super) fn parse(form: &str) -> Option<Self> {
        let (mut rest, open) = form.strip_suffix('*').map_or((form, false), |form| (form, true));
        let mut parts = Vec::new();
        while let Some(first) = rest.chars().next() {
            let (part, len) = match rest {
                _ if rest.starts_with("YYYY") => (Part::Year, 4),
                _ if rest.starts_with("MM") => (Part::Month, 2),
                _ if rest.starts_with("DD") => (Part::Day, 2),
                _ => (Part::Literal(first), first.len_utf8()),
            };
            parts.push(part);
            rest = &rest[len..];
        }
        let once = |part| parts.iter().filter(|p| **p == part).count() == 1;
        (parts.len() <= 16 && once(Part::Year) && once(Part::Month) && once(Part::Day)).then_some(Self { parts, open })
    }

    /// ISO form of a text. The catalogue checks that there is such a day.
    fn read(&self, text: &str) -> Option<String> {
        let mut rest = text;
        let (mut year, mut month, mut day) = ("", "", "");
        for part in &self.parts {
            let (slot, len) = match part {
                Part::Year => (&mut year, 4),
                Part::Month => (&mut month, 2),
                Part::Day => (&mut day, 2),
                Part::Literal(c) => {
                    rest = rest.strip_prefix(*c)?;
                    continue;
                }
            };
            let (digits, more) = rest.split_at_checked(len)?;
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (*slot, rest) = (digits, more);
        }
        (rest.is_empty() || self.open).then(|| format!("{year}-{month}-{day}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_the_column_writes_them() {
        let read = |form: &str, text: &str| DateForm::parse(form).unwrap().read(text);
        assert_eq!(read("DD/MM/YYYY", "31/01/2024").as_deref(), Some("2024-01-31"));
        assert_eq!(read("YYYYMMDD", "20240131").as_deref(), Some("2024-01-31"));
        assert_eq!(read("YYYY-MM-DD*", "2024-01-31 00:00:00+01").as_deref(), Some("2024-01-31"));
        for bad in ["1/01/2024", "31/01/24", "31-01-2024", "31/01/2024 ", "aa/01/2024", "", "３１/01/2024"] {
            assert_eq!(read("DD/MM/YYYY", bad), None, "{bad}");
        }
        for bad in ["", "DD/MM", "DD/DD/YYYY/MM", "DD/MM/YY", &format!("DDMMYYYY{}", "/".repeat(14))] {
            assert_eq!(DateForm::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn steps_come_before_dates_and_codes() {
        let codes = BTreeMap::from([("R1".to_owned(), "active".to_owned())]);
        let convert = Convert { steps: vec![Step::Strip, Step::Upper], codes: Some(codes), ..Convert::default() };
        assert_eq!(convert.apply(" r-1 ").as_deref(), Ok("active"));
        assert_eq!(convert.apply("r2"), Err(Unconverted::Code));
        assert_eq!(convert.apply(" - ").as_deref(), Ok(""), "nothing is no code");
        let convert = Convert { remove: "-·".to_owned(), steps: vec![Step::Lower], ..Convert::default() };
        assert_eq!(convert.apply("A-B·Ñ C").as_deref(), Ok("abñ c"));
    }
}
