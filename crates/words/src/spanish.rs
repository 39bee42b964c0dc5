//! `po/es.po`, in memory.

use std::collections::HashMap;
use std::sync::OnceLock;

use polib::message::MessageView;

use crate::template::Template;

const PO: &str = include_str!("../po/es.po");
/// How much of that depth it takes to look for messages that were joined.
const JOINT_DEPTH: usize = 3;
/// Joints of one text at which it is split on trial.
const JOINTS_MAX: usize = 8;
/// How deep messages stand within messages at most: an error, its cause, the cause's cause …
const DEPTH_MAX: usize = 6;

/// One message of the catalogue, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Not of our sources: the library that parses command lines says it (context `clap`), or the operating system
    /// (context `system`).
    pub foreign: bool,
    /// English: the text of the source.
    pub id: String,
    /// Spanish; empty if nobody has translated it yet.
    pub text: String,
}

/// Every message of the catalogue.
///
/// # Errors
/// The catalogue cannot be read; where and why.
pub fn entries() -> Result<Vec<Entry>, String> {
    let catalog = polib::po_file::parse_from_reader(PO.as_bytes()).map_err(|error| error.to_string())?;
    let entry = |message: &dyn MessageView| Entry {
        foreign: message.msgctxt().is_some_and(|context| !context.is_empty()),
        id: message.msgid().to_owned(),
        text: message.msgstr().unwrap_or_default().to_owned(),
    };
    Ok(catalog.messages().map(entry).collect())
}

/// The Spanish words.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// By what the sources hold, placeholders included.
    ids: HashMap<String, String>,
    whole: HashMap<String, String>,
    /// The one that says most itself comes first.
    templates: Vec<(Template, Template)>,
}

/// The catalogue, read when it is first needed; without a single word if it is broken, which a test forbids.
pub(crate) fn words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| Words::new(entries().unwrap_or_default()))
}

/// The English of a message, its values by name, its Spanish.
type Made<'w, 'e> = (&'w Template, Vec<(&'w str, &'e str)>, &'w Template);

impl Words {
    fn new(entries: Vec<Entry>) -> Self {
        let mut words = Self::default();
        for Entry { id, text, .. } in entries.into_iter().filter(|entry| !entry.text.is_empty()) {
            let (from, to) = (Template::parse(&id), Template::parse(&text));
            words.ids.insert(id, text);
            match (from.whole(), to.whole()) {
                (Some(from), Some(to)) => {
                    words.whole.insert(from.to_owned(), to.to_owned());
                }
                _ => words.templates.push((from, to)),
            }
        }
        words.templates.sort_by_key(|(from, _)| std::cmp::Reverse(from.weight()));
        words
    }

    pub(crate) fn text(&self, english: &str) -> Option<&str> {
        self.ids.get(english).map(String::as_str)
    }

    pub(crate) fn say(&self, english: &str) -> Option<String> {
        self.part(english, DEPTH_MAX).or_else(|| self.lines(english))
    }

    /// A message, or messages that were joined.
    fn part(&self, english: &str, depth: usize) -> Option<String> {
        // What says "; " itself is one message; else two that are both known are no value of a third.
        let two = || self.split(english, "; ", depth, |head, tail| head && tail);
        let one = self.whole.contains_key(english) || self.template(english).is_some_and(|(from, ..)| from.says("; "));
        let both = if one { None } else { two() };
        both.or_else(|| self.message(english, depth)).or_else(|| self.joined(english, depth))
    }

    /// `file.toml:3:1: what is wrong; what to do`: the longest end that is a message, and what stands before it, which
    /// may be a name.
    fn joined(&self, english: &str, depth: usize) -> Option<String> {
        let two = self.split(english, "; ", depth, |head, tail| head || tail);
        two.or_else(|| self.split(english, ": ", depth, |_, tail| tail))
    }

    /// Two messages at the first joint where enough of them is known.
    fn split(&self, english: &str, joint: &str, depth: usize, enough: fn(bool, bool) -> bool) -> Option<String> {
        let depth = depth.checked_sub(JOINT_DEPTH)?;
        english.match_indices(joint).take(JOINTS_MAX).find_map(|(at, _)| {
            let (head, tail) = (&english[..at], &english[at + joint.len()..]);
            let said = |text: &str| text.contains(' ').then(|| self.part(text, depth)).flatten();
            let (head_said, tail_said) = (said(head), said(tail));
            enough(head_said.is_some(), tail_said.is_some()).then(|| {
                let words = |said: Option<String>, text: &str| said.unwrap_or_else(|| text.to_owned());
                format!("{}{joint}{}", words(head_said, head), words(tail_said, tail))
            })
        })
    }

    fn template<'w, 'e>(&'w self, english: &'e str) -> Option<Made<'w, 'e>> {
        self.templates.iter().find_map(|(from, to)| Some((from, from.values(english)?, to)))
    }

    fn message(&self, english: &str, depth: usize) -> Option<String> {
        if let Some(text) = self.whole.get(english) {
            return Some(text.clone());
        }
        let (_, values, to) = self.template(english)?;
        Some(to.fill(|name| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            // A single word is a value (a name, a code, a path), whatever else it means.
            let within = (depth > 0 && value.contains(' ')).then(|| self.part(value, depth - 1)).flatten();
            Some(within.unwrap_or_else(|| (*value).to_owned()))
        }))
    }

    /// Each line by itself, whatever it is set in by.
    fn lines(&self, english: &str) -> Option<String> {
        if !english.contains('\n') {
            return None;
        }
        let mut found = false;
        let line = |line: &str| {
            let text = line.trim_start();
            let blank = &line[..line.len() - text.len()];
            let said = self.part(text, DEPTH_MAX);
            found |= said.is_some();
            format!("{blank}{}", said.unwrap_or_else(|| text.to_owned()))
        };
        let lines: Vec<String> = english.split('\n').map(line).collect();
        found.then(|| lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn small() -> Words {
        let entry = |id: &str, text: &str| Entry { foreign: false, id: id.to_owned(), text: text.to_owned() };
        Words::new(vec![
            entry("{0} rows are wrong", "hay {0} renglones mal"),
            entry("the disk is full", "el disco está lleno"),
            entry("cannot write {path}: {cause}", "no se puede escribir {path}: {cause}"),
            entry("to", "a"),
        ])
    }

    #[test]
    fn messages_within_messages_are_said_too() {
        let words = small();
        let said = |english| words.say(english);
        assert_eq!(said("the disk is full").as_deref(), Some("el disco está lleno"));
        let whole = "cannot write a.csv: b.csv: the disk is full";
        assert_eq!(said(whole).as_deref(), Some("no se puede escribir a.csv: b.csv: el disco está lleno"));
        assert_eq!(words.text("to"), Some("a"));
        assert_eq!(said("cannot write to: x").as_deref(), Some("no se puede escribir to: x"), "a name, not a word");
        assert_eq!(said("nobody wrote this"), None);
        let joined = "node.toml:3:1: the disk is full; 7 rows are wrong";
        assert_eq!(said(joined).as_deref(), Some("node.toml:3:1: el disco está lleno; hay 7 renglones mal"));
        assert_eq!(said("a thing: nobody wrote this"), None);
        let lines = "two things\n  7 rows are wrong\n    the disk is full";
        assert_eq!(said(lines).as_deref(), Some("two things\n  hay 7 renglones mal\n    el disco está lleno"));
    }

    #[test]
    fn the_catalogue_is_whole() {
        let entries = entries().unwrap();
        let mut seen = BTreeSet::new();
        for Entry { foreign, id, text } in &entries {
            assert!(!text.is_empty(), "not translated: {id}");
            assert!(seen.insert((*foreign, id.clone())), "twice: {id}");
            let (from, to) = (Template::parse(id), Template::parse(text));
            let (mut said, mut meant) = (to.names(), from.names());
            said.sort_unstable();
            meant.sort_unstable();
            assert_eq!(said, meant, "the values of: {id}");
        }
    }

    /// No message may be taken for another one.
    #[test]
    fn every_message_is_found_whatever_its_values() {
        let words = words();
        for Entry { id, text, .. } in entries().unwrap() {
            let (from, to) = (Template::parse(&id), Template::parse(&text));
            let value = |name: &str| Some(format!("<{name}>"));
            let (english, spanish) = (from.fill(value), to.fill(value));
            assert_eq!(words.say(&english), Some(spanish), "{id}");
        }
    }
}
