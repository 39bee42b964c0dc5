use std::collections::HashMap;

use crate::labels::Labels;
use crate::validate::fold;

/// One code of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The enum value's number: what stands on the wire.
    pub number: u32,
    /// The code as text: what people type, and what an answer tree holds.
    pub text: String,
    /// Label for people.
    pub labels: Labels,
    /// Codes that a record with this code is also found under.
    pub comparable: Vec<String>,
}

/// A code list: an enum of the descriptors.
#[derive(Debug, Clone)]
pub struct CodeList {
    name: String,
    codes: Vec<Code>,
    by_spelling: HashMap<String, usize>,
    by_number: HashMap<u32, usize>,
}

impl CodeList {
    /// Builds a list; `Err` names a spelling that means two codes.
    pub(crate) fn new(name: String, codes: Vec<(Code, Vec<String>)>) -> Result<Self, String> {
        let mut list = Self {
            name,
            codes: Vec::new(),
            by_spelling: HashMap::new(),
            by_number: HashMap::with_capacity(codes.len()),
        };
        for (code, synonyms) in codes {
            let index = list.codes.len();
            for spelling in std::iter::once(&code.text).chain(&synonyms) {
                let other = list.by_spelling.insert(fold(spelling), index);
                if other.is_some_and(|other| other != index) || fold(spelling).is_empty() {
                    return Err(spelling.clone());
                }
            }
            list.by_number.insert(code.number, index);
            list.codes.push(code);
        }
        // Labels are spellings too, where they do not mean another code.
        for (index, code) in list.codes.iter().enumerate() {
            for label in [&code.labels.en, &code.labels.es] {
                list.by_spelling.entry(fold(label)).or_insert(index);
            }
        }
        Ok(list)
    }

    /// The enum's full name, for example `puente.v1.Calibre`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every code, in the file's order.
    pub fn codes(&self) -> &[Code] {
        &self.codes
    }

    /// The code that people write this way: its text, a synonym or a label,
    /// whatever the case, blanks and punctuation.
    pub fn find(&self, spelling: &str) -> Option<&Code> {
        self.by_spelling.get(&fold(spelling)).and_then(|i| self.codes.get(*i))
    }

    /// The code with exactly this text.
    pub fn by_text(&self, text: &str) -> Option<&Code> {
        self.find(text).filter(|c| c.text == text)
    }

    /// The code of a wire number.
    pub fn by_number(&self, number: u32) -> Option<&Code> {
        self.by_number.get(&number).and_then(|i| self.codes.get(*i))
    }

    /// Every code's text, comma separated: for error messages.
    pub(crate) fn choices(&self) -> String {
        let shown: Vec<&str> = self.codes.iter().take(40).map(|c| c.text.as_str()).collect();
        shown.join(", ")
    }
}
