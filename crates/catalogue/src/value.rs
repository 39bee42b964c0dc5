//! One value: from the wire to canonical text, and to what people read.

use crate::codec::{DecodeError, WireField, WireValue};
use crate::schema::{Field, FieldKind};
use crate::validate::has_forbidden_character;
use puente_model::Lang;

/// A value's text: borrowed from the record, or made from a number.
#[derive(Clone)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Made(String),
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl Field {
    /// Checks one value of the wire and gives its canonical text.
    pub(crate) fn decode<'a>(&self, wire: WireField<'a>) -> Result<Text<'a>, DecodeError> {
        let bad = DecodeError::BadValue(self.number);
        let number = match (wire.value, self.kind) {
            (WireValue::Bytes(bytes), FieldKind::Text) => {
                if bytes.is_empty() || bytes.len() > puente_model::limits::FIELD_BYTES_MAX {
                    return Err(bad);
                }
                let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::BadText(self.number))?;
                if has_forbidden_character(text, self.allows_lines()) {
                    return Err(DecodeError::BadText(self.number));
                }
                return Ok(Text::Borrowed(text));
            }
            (WireValue::Varint(n), kind) if kind != FieldKind::Text => n,
            _ => return Err(DecodeError::WrongType(self.number)),
        };
        if number == 0 && !self.presence && !self.repeated {
            return Err(bad);
        }
        let in_bounds = |n: i128| self.bounds.is_none_or(|(min, max)| (i128::from(min)..=i128::from(max)).contains(&n));
        match self.kind {
            FieldKind::Bool if number <= 1 => Ok(Text::Borrowed(if number == 1 { "true" } else { "false" })),
            FieldKind::Unsigned if in_bounds(number.into()) => Ok(Text::Made(number.to_string())),
            FieldKind::Signed if in_bounds(number.cast_signed().into()) => {
                Ok(Text::Made(number.cast_signed().to_string()))
            }
            FieldKind::Code => {
                let code = u32::try_from(number).ok().and_then(|n| self.codes.as_ref()?.by_number(n)).ok_or(bad)?;
                Ok(Text::Made(code.text.clone()))
            }
            _ => Err(bad),
        }
    }

    /// A normal value as people read it.
    pub fn display(&self, value: &str, lang: Lang) -> String {
        match self.kind {
            FieldKind::Bool => match (value, lang) {
                ("true", Lang::En) => "yes".to_owned(),
                ("true", Lang::Es) => "sí".to_owned(),
                _ => "no".to_owned(),
            },
            FieldKind::Code => match self.codes.as_ref().and_then(|list| list.by_text(value)) {
                Some(code) if !code.labels.get(lang).is_empty() => code.labels.get(lang).to_owned(),
                _ => value.to_owned(),
            },
            FieldKind::Unsigned | FieldKind::Signed if !self.unit.is_empty() => format!("{value} {}", self.unit),
            _ => value.to_owned(),
        }
    }
}
