//! Messages with places for values: `"{path}: {error}"`.

/// A piece of a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A placeholder's name; its number where it has none.
    Value(String),
}

/// A format string, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

impl Template {
    /// Takes a format string of Rust's apart; what follows a colon in a placeholder does not matter here.
    pub(crate) fn parse(format: &str) -> Self {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut unnamed = 0;
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let doubled = rest[at..].starts_with("{{") || rest[at..].starts_with("}}");
            let end = rest[at..].find('}').map(|end| at + end);
            match end {
                _ if doubled => {
                    text.push_str(&rest[at..=at]);
                    rest = &rest[at + 2..];
                }
                Some(end) if rest[at..].starts_with('{') => {
                    let name = rest[at + 1..end].split(':').next().unwrap_or_default();
                    let name = match name {
                        "" => (unnamed.to_string(), unnamed += 1).0,
                        name => name.to_owned(),
                    };
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(Piece::Value(name));
                    rest = &rest[end + 1..];
                }
                _ => {
                    text.push_str(&rest[at..=at]);
                    rest = &rest[at + 1..];
                }
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Self(pieces)
    }

    /// The text, if it has no place for values.
    pub(crate) fn whole(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of its values, in order, each once.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.0 {
            if let Piece::Value(name) = piece
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    /// How much of a message the template says itself, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum()
    }

    /// The values of a message that was made from this template: each as short as it can be, but for the last.
    pub(crate) fn values<'a>(&self, message: &'a str) -> Option<Vec<(&str, &'a str)>> {
        let mut values: Vec<(&str, &'a str)> = Vec::new();
        let mut rest = message;
        let mut pieces = self.0.as_slice();
        while let [piece, after @ ..] = pieces {
            let (name, end, taken) = match (piece, after) {
                (Piece::Text(text), []) => return (rest == text).then_some(values),
                (Piece::Text(text), _) => {
                    rest = rest.strip_prefix(text.as_str())?;
                    pieces = after;
                    continue;
                }
                (Piece::Value(name), []) => (name, rest.len(), after),
                // The end of the message, not the first place that looks like it.
                (Piece::Value(name), [Piece::Text(last)]) => (name, rest.strip_suffix(last.as_str())?.len(), after),
                (Piece::Value(name), [Piece::Text(next), ..]) => (name, rest.find(next.as_str())?, after),
                // Two values without a word between: nobody can say where one ends.
                (Piece::Value(_), [Piece::Value(_), ..]) => return None,
            };
            let value = &rest[..end];
            match values.iter().find(|(known, _)| known == name) {
                Some((_, known)) if *known != value => return None,
                Some(_) => {}
                None => values.push((name, value)),
            }
            rest = &rest[end..];
            pieces = taken;
        }
        rest.is_empty().then_some(values)
    }

    /// Whether its own words hold this.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(words)))
    }

    /// The message with these values; a value that is not among them leaves its place empty.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(name) => out.push_str(&value(name).unwrap_or_default()),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_come_out_of_messages_again() {
        let template = Template::parse("{path}: {0:?} of {{n}}, not {}");
        assert_eq!(template.names(), ["path", "0"]);
        let two = Template::parse("{path}: {error}");
        assert_eq!(two.values("a: b: c"), Some(vec![("path", "a"), ("error", "b: c")]));
        assert_eq!(two.values("a"), None);
        assert_eq!(Template::parse("{}{}").values("ab"), None);
        assert_eq!(Template::parse("all of it").whole(), Some("all of it"));
        assert_eq!(Template::parse("{a} and {a}").values("1 and 1"), Some(vec![("a", "1")]));
        assert_eq!(Template::parse("{a} and {a}").values("1 and 2"), None);
        assert_eq!(Template::parse("no {a} here").values("no x.here here"), Some(vec![("a", "x.here")]));
        assert_eq!(Template::parse("'{}' ends").values("'it' ends' ends"), Some(vec![("0", "it' ends")]));
        assert_eq!(Template::parse("a } b { c").whole(), Some("a } b { c"));
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_found(a in "[a-z0-9/.]{0,12}", b in "\\PC{0,20}") {
            let template = Template::parse("cannot read {0}: {error}; try again");
            let message = template.fill(|name| Some(if name == "0" { a.clone() } else { b.clone() }));
            prop_assert_eq!(template.values(&message), Some(vec![("0", a.as_str()), ("error", b.as_str())]));
        }

        #[test]
        fn no_text_breaks_it(format in "\\PC{0,40}", message in "\\PC{0,40}") {
            let template = Template::parse(&format);
            let _ = template.values(&message);
            let _ = template.fill(|name| Some(name.to_owned()));
        }
    }
}
