//! One JSON object a line: flat, its values texts, numbers, yes or no, or lists of these.

use std::collections::BTreeMap;
use std::fmt;

use puente_catalogue::Lang;
use puente_words::text;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// Keys that one object may have.
const KEYS_MAX: usize = 1_000;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    Duplicate,
    Nested,
    TooMany,
    NoObject,
    NoEnd,
    NoJson,
}

impl Defect {
    /// In words.
    pub(crate) fn get(self, lang: Lang) -> &'static str {
        let words = match self {
            Self::Duplicate => "a key stands twice",
            Self::Nested => "a value is a text, a number, true or false, null, or a list of these",
            Self::TooMany => "the object has too many keys",
            Self::NoObject => "a row is one JSON object, for example {\"vin\":\"...\",\"status\":\"stolen\"}",
            Self::NoEnd => "the object does not end",
            Self::NoJson => "this is not JSON",
        };
        text(lang, words)
    }
}

/// A line that is no row; holds no value of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Byte of the line at which reading stopped, from 1.
    pub(crate) column: usize,
    pub(crate) what: Defect,
}

/// Column → text, as a CSV row would give it.
pub(crate) fn cells(line: &str) -> Result<BTreeMap<String, String>, BadLine> {
    let Cells(cells) = serde_json::from_str(line).map_err(|error| {
        // serde_json quotes offending values in the errors of `invalid_type`: keep the kind only.
        let what = match error.classify() {
            serde_json::error::Category::Data => data_error(&error.to_string()),
            serde_json::error::Category::Eof => Defect::NoEnd,
            _ => Defect::NoJson,
        };
        BadLine { column: error.column(), what }
    })?;
    Ok(cells)
}

fn data_error(text: &str) -> Defect {
    let known = [(DUPLICATE, Defect::Duplicate), (NESTED, Defect::Nested), (TOO_MANY, Defect::TooMany)];
    known.into_iter().find(|(words, _)| text.starts_with(words)).map_or(Defect::NoObject, |(_, defect)| defect)
}

// What the visitors below say to serde, which hands out no other kind of error.
const DUPLICATE: &str = "duplicate";
const NESTED: &str = "nested";
const TOO_MANY: &str = "too many";

/// An object's values as text, those of a list joined with `|`.
#[derive(Clone)]
pub(crate) struct Cells(pub(crate) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells, A::Error> {
                use serde::de::Error as _;
                let mut out = BTreeMap::new();
                while let Some((key, Cell(value))) = map.next_entry::<String, Cell>()? {
                    if out.len() >= KEYS_MAX {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                    if out.insert(key, value).is_some() {
                        return Err(A::Error::custom(DUPLICATE));
                    }
                }
                Ok(Cells(out))
            }
        }

        from.deserialize_map(Object)
    }
}

/// One value as text; a list's values joined with `|`.
struct Cell(String);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Value { in_list: false })
    }
}

struct Value {
    in_list: bool,
}

struct Item(String);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Value { in_list: true }).map(|Cell(text)| Self(text))
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NESTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell(text.to_owned()))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell(value.to_string()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Cell, E> {
        Ok(Cell(value.to_string()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell(value.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell(value.to_string()))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Cell, E> {
        Ok(Cell(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell, A::Error> {
        use serde::de::Error as _;
        if self.in_list {
            return Err(A::Error::custom(NESTED));
        }
        let mut out = String::new();
        let mut first = true;
        while let Some(Item(text)) = list.next_element::<Item>()? {
            if !std::mem::replace(&mut first, false) {
                out.push('|');
            }
            out.push_str(&text);
        }
        Ok(Cell(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Cell, A::Error> {
        use serde::de::Error as _;
        Err(A::Error::custom(NESTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_texts() {
        let line = r#"{"a":"x","b":7,"c":true,"d":null,"e":["1","2",3],"f":-2,"g":1.5}"#;
        let got = cells(line).unwrap();
        let want = [("a", "x"), ("b", "7"), ("c", "true"), ("d", ""), ("e", "1|2|3"), ("f", "-2"), ("g", "1.5")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn each_defect_has_its_words_and_no_value() {
        let table = [
            (r#"{"a":1,"a":2}"#, Defect::Duplicate),
            (r#"{"a":{"b":"canary"}}"#, Defect::Nested),
            (r#"{"a":[["canary"]]}"#, Defect::Nested),
            (r#"["canary"]"#, Defect::NoObject),
            (r#""canary""#, Defect::NoObject),
            (r#"{"a":"canary""#, Defect::NoEnd),
            ("canary", Defect::NoJson),
        ];
        for (line, defect) in table {
            assert_eq!(cells(line).unwrap_err().what, defect, "{line}");
        }
        let many = (0..=KEYS_MAX).map(|i| format!("\"k{i}\":1")).collect::<Vec<_>>().join(",");
        assert_eq!(cells(&format!("{{{many}}}")).unwrap_err().what, Defect::TooMany);
        // Depth costs no stack.
        assert!(cells(&"[".repeat(100_000)).is_err());
        assert!(cells(&format!("{{\"a\":{}", "[".repeat(100_000))).is_err());
    }
}
