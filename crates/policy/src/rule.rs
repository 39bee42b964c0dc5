//! What a rule's annotations say, checked as strictly as its Cedar text.

use std::collections::{BTreeMap, BTreeSet};

use puente_model::{FieldClass, Handling, Millis, QueryKind, RefusalReason, Role};

use crate::date;
use crate::error::{Finding, finding};
use crate::request::Direction;
use crate::vocabulary::{Vocabulary, slug};

/// The longest explanation of a forbid, in characters.
const EXPLAIN_CHARS_MAX: usize = 500;

/// In `@reveals`: the names of the keys under which records were found.
const MATCH_KEY: &str = "match-key";

/// One rule of a policy file.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    /// Directions that it applies to.
    pub(crate) directions: Vec<Direction>,
    /// The kind that its scope names; none for every kind.
    pub(crate) kind: Option<QueryKind>,
    pub(crate) effect: Effect,
}

#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Permit {
        expires: Millis,
        fields: BTreeSet<String>,
        handling: Option<Handling>,
        obligations: BTreeSet<String>,
        /// The asker may learn under which keys records were found.
        match_key: bool,
        /// Roles of the persons one of whom decides before anything is answered; none if no person needs to.
        decide: Option<BTreeSet<Role>>,
        /// Hours after which an answer that no person decided on is to be reviewed.
        review: Option<u32>,
    },
    Forbid {
        reason: RefusalReason,
        explain_en: String,
        explain_es: String,
        /// How to appeal; empty for the agency's own words.
        appeal_en: String,
        appeal_es: String,
    },
    /// Withholds fields without refusing.
    Hide { fields: BTreeSet<String> },
}

/// A rule as Cedar parsed it, with the text that it came from.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    /// Byte offsets of the rule in `text`, its annotations included.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) permit: bool,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) directions: Vec<Direction>,
    /// The scope names both actions, or none.
    pub(crate) open_action: bool,
    pub(crate) kind: Option<QueryKind>,
}

const PERMIT_ASK: &[&str] = &["id", "expires", "handling", "obligation"];
const PERMIT_ANSWER: &[&str] = &["id", "expires", "fields", "reveals", "handling", "obligation", "decide", "review"];
const FORBID: &[&str] = &["id", "reason", "explain_en", "explain_es", "appeal_en", "appeal_es"];

/// Who decides where a rule says `@decide("human")`.
const DECIDERS: &[Role] = &[Role::Investigator, Role::ForensicExaminer, Role::Customs, Role::Prosecutor, Role::Analyst];
/// The longest time until a review, in hours (30 days).
const REVIEW_HOURS_MAX: u32 = 720;
const HIDE: &[&str] = &["id", "hide"];

/// Refusal reasons that a rule may give; the others belong to the protocol.
const REASONS: &[RefusalReason] = &[
    RefusalReason::NoLegalBasis,
    RefusalReason::Scope,
    RefusalReason::Sovereignty,
    RefusalReason::OngoingOperation,
    RefusalReason::SourceProtection,
    RefusalReason::StatutoryBar,
    RefusalReason::Quality,
    RefusalReason::HumanRights,
];

/// Collects findings while a rule's annotations are read.
struct Reader<'a> {
    source: &'a Source<'a>,
    findings: Vec<Finding>,
}

impl Source<'_> {
    /// Reads the rule, or lists everything that is wrong with its annotations.
    pub(crate) fn read(&self, vocabulary: &Vocabulary) -> Result<Rule, Vec<Finding>> {
        let mut reader = Reader { source: self, findings: Vec::new() };
        let hide = !self.permit && self.annotations.contains_key("hide");
        let inbound = self.directions == [Direction::Inbound];
        let known = match (self.permit, hide, inbound) {
            (true, _, true) => PERMIT_ANSWER,
            (true, _, false) => PERMIT_ASK,
            (false, true, _) => HIDE,
            (false, false, _) => FORBID,
        };
        for key in self.annotations.keys() {
            if !known.contains(&key.as_str()) {
                let what = match (self.permit, hide) {
                    (true, _) if inbound => "a permit to answer",
                    (true, _) => "a permit to ask",
                    (_, true) => "a forbid that hides fields",
                    _ => "a forbid",
                };
                let list = known.iter().map(|k| format!("@{k}")).collect::<Vec<_>>().join(", ");
                let key_text: String = key.chars().take(40).collect();
                reader.add(key, format!("@{key_text} is not an annotation of {what}"), format!("use only {list}"));
            }
        }
        if self.permit && self.open_action {
            reader.add(
                "",
                "a permit must say whether it is to ask or to answer",
                "write action == Action::\"ask\" or action == Action::\"answer\" in its scope",
            );
        }
        let id = reader.id();
        let effect = if self.permit {
            reader.permit(inbound, vocabulary)
        } else if hide {
            reader.hide(inbound, vocabulary)
        } else {
            reader.forbid()
        };
        match (id, effect) {
            (Some(id), Some(effect)) if reader.findings.is_empty() => {
                Ok(Rule { id, directions: self.directions.clone(), kind: self.kind.clone(), effect })
            }
            _ => Err(reader.findings),
        }
    }

    /// Where an annotation stands; the rule itself if it is not there.
    fn offset(&self, key: &str) -> usize {
        let rule = self.text.get(self.start..self.end).unwrap_or_default();
        let name = |at: usize| rule[at + 1..].trim_start();
        let found = rule.match_indices('@').find(|(at, _)| {
            let rest = name(*at);
            !key.is_empty()
                && rest.strip_prefix(key).is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        self.start + found.map_or(0, |(at, _)| at)
    }
}

impl Reader<'_> {
    fn add(&mut self, key: &str, message: impl Into<String>, mend: impl Into<String>) {
        let at = self.source.offset(key);
        self.findings.push(finding(self.source.file, self.source.text, at, message, mend));
    }

    fn need(&mut self, key: &str, mend: &str) -> Option<String> {
        let value = self.source.annotations.get(key).cloned();
        if value.is_none() {
            let what = if self.source.permit { "permit" } else { "forbid" };
            self.add("id", format!("this {what} has no @{key}"), mend);
        }
        value
    }

    fn id(&mut self) -> Option<String> {
        let id = self.need("id", "give it a name of its own, for example @id(\"answer-vehicle-core\")")?;
        if !slug(&id) {
            let mend = "use lower-case letters, digits and hyphens, at most 64";
            self.add("id", "the @id is not a rule name", mend);
            return None;
        }
        Some(id)
    }

    fn permit(&mut self, inbound: bool, vocabulary: &Vocabulary) -> Option<Effect> {
        let expires = self.expires();
        let fields = if inbound {
            let mend = "name each field that the answer may reveal, or write @fields(\"\") for hit or no hit only";
            let text = self.need("fields", mend);
            text.and_then(|t| self.fields("fields", &t, vocabulary))
        } else {
            Some(BTreeSet::new())
        };
        let match_key = fields.as_ref().is_some_and(|fields| self.reveals(fields, vocabulary));
        let handling = match self.source.annotations.get("handling").map(|t| t.parse::<Handling>()) {
            None => None,
            Some(Ok(handling)) => Some(handling),
            Some(Err(e)) => {
                self.add("handling", "the @handling is not a handling code", format!("use one of: {}", e.valid));
                None
            }
        };
        let obligations = self.source.annotations.get("obligation").cloned();
        let obligations = match obligations {
            None => BTreeSet::new(),
            Some(text) => {
                self.words("obligation", &text, "hyphenated words, for example confirm-before-seizure", slug)?
            }
        };
        let decide = match self.source.annotations.get("decide").cloned() {
            None => None,
            Some(text) => Some(self.decide(&text)?),
        };
        let review = match self.source.annotations.get("review").cloned() {
            None => None,
            Some(text) => Some(self.review(&text)?),
        };
        if decide.is_some() && review.is_some() {
            let mend = "keep @decide where a person decides, @review where an answer is looked at afterwards";
            self.add("review", "what a person decided on needs no @review", mend);
        }
        Some(Effect::Permit { expires: expires?, fields: fields?, handling, obligations, match_key, decide, review })
    }

    /// `human`, or the roles one of which decides.
    fn decide(&mut self, text: &str) -> Option<BTreeSet<Role>> {
        if text.trim() == "human" {
            return Some(DECIDERS.iter().copied().collect());
        }
        let mend = "write human, or roles of officers, for example prosecutor, analyst";
        let words = self.words("decide", text, mend, |w| w.parse::<Role>().is_ok())?;
        let roles: BTreeSet<Role> = words.iter().filter_map(|w| w.parse().ok()).collect();
        if roles.is_empty() {
            self.add("decide", "the @decide names nobody", mend);
            return None;
        }
        Some(roles)
    }

    /// `24h`, `7d`: hours.
    fn review(&mut self, text: &str) -> Option<u32> {
        let text = text.trim();
        let hours = match (text.strip_suffix('h'), text.strip_suffix('d')) {
            (Some(n), _) => n.parse::<u32>().ok(),
            (_, Some(n)) => n.parse::<u32>().ok().and_then(|n| n.checked_mul(24)),
            _ => None,
        };
        let hours = hours.filter(|hours| (1..=REVIEW_HOURS_MAX).contains(hours));
        if hours.is_none() {
            self.add("review", "the @review is no time", "write hours or days, for example 24h or 7d; at most 30d");
        }
        hours
    }

    fn expires(&mut self) -> Option<Millis> {
        let text = self.need("expires", "give it an end, for example @expires(\"2027-06-30\")")?;
        let expires = date::parse(&text);
        if expires.is_none() {
            let mend = "write YYYY-MM-DD; the grant stands until that day begins, UTC";
            self.add("expires", "the @expires is not a date", mend);
        }
        expires
    }

    fn hide(&mut self, inbound: bool, vocabulary: &Vocabulary) -> Option<Effect> {
        if !inbound {
            let mend = "write action == Action::\"answer\" in its scope";
            self.add("hide", "fields can be hidden only in answers", mend);
        }
        let text = self.source.annotations.get("hide").cloned()?;
        let fields = self.fields("hide", &text, vocabulary)?;
        if fields.is_empty() {
            self.add("hide", "the @hide names no field", "name the fields to withhold, or remove the rule");
        }
        Some(Effect::Hide { fields })
    }

    fn forbid(&mut self) -> Option<Effect> {
        let valid = REASONS.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(", ");
        let reason = self.need("reason", &format!("give one of: {valid}"));
        let reason = reason.and_then(|text| {
            let found = REASONS.iter().copied().find(|r| r.as_str() == text);
            if found.is_none() {
                self.add("reason", "the @reason is not one that a rule may give", format!("use one of: {valid}"));
            }
            found
        });
        let explain_en = self.explain("explain_en", "say in English why, naming the statute or rule");
        let explain_es = self.explain("explain_es", "say the same in Spanish");
        let appeal = |key: &str| self.source.annotations.contains_key(key);
        let (mut appeal_en, mut appeal_es) = (String::new(), String::new());
        if appeal("appeal_en") || appeal("appeal_es") {
            appeal_en = self.explain("appeal_en", "say in English how to appeal")?;
            appeal_es = self.explain("appeal_es", "say in Spanish how to appeal")?;
        }
        Some(Effect::Forbid { reason: reason?, explain_en: explain_en?, explain_es: explain_es?, appeal_en, appeal_es })
    }

    fn explain(&mut self, key: &str, mend: &str) -> Option<String> {
        let text = self.need(key, mend)?;
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.chars().count() > EXPLAIN_CHARS_MAX || trimmed.chars().any(char::is_control) {
            let message = format!("the @{key} is empty, has control characters or more than {EXPLAIN_CHARS_MAX}");
            self.add(key, message, mend);
            return None;
        }
        Some(trimmed.to_owned())
    }

    /// A comma-separated list of distinct words that pass `check`.
    fn words(&mut self, key: &str, text: &str, mend: &str, check: fn(&str) -> bool) -> Option<BTreeSet<String>> {
        let mut out = BTreeSet::new();
        if text.trim().is_empty() {
            return Some(out);
        }
        for word in text.split(',').map(str::trim) {
            if !check(word) || !out.insert(word.to_owned()) {
                let shown: String = word.chars().take(40).flat_map(char::escape_default).collect();
                self.add(key, format!("'{shown}' in @{key} is malformed or stands twice"), mend);
                return None;
            }
        }
        Some(out)
    }

    /// Fields of the kind that the rule's scope names.
    fn fields(&mut self, key: &str, text: &str, vocabulary: &Vocabulary) -> Option<BTreeSet<String>> {
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let fields = self.words(key, text, "name each field; there is no wildcard", word)?;
        if fields.is_empty() {
            return Some(fields);
        }
        let Some(kind) = self.source.kind.as_ref().and_then(|k| vocabulary.kind(k)) else {
            let mend = "write resource == Kind::\"...\" in its scope, one rule for each kind";
            self.add(key, "a rule that names fields must name their query kind", mend);
            return None;
        };
        let mut sound = true;
        for field in &fields {
            if !kind.fields.iter().any(|f| f.name == *field) {
                let list = kind.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("{} has no field '{field}'", kind.record_type);
                self.add(key, message, format!("use names from: {list}"));
                sound = false;
            }
        }
        sound.then_some(fields)
    }

    /// Sensitive and source-revealing fields are granted only by a rule that says so. Whether it also shows the keys
    /// that matched.
    fn reveals(&mut self, fields: &BTreeSet<String>, vocabulary: &Vocabulary) -> bool {
        let classes = [FieldClass::Sensitive, FieldClass::SourceRevealing];
        let text = self.source.annotations.get("reveals").cloned().unwrap_or_default();
        let check: fn(&str) -> bool =
            |w| [FieldClass::Sensitive.as_str(), FieldClass::SourceRevealing.as_str(), MATCH_KEY].contains(&w);
        let mend = "use any of sensitive, source-revealing, match-key";
        let Some(named) = self.words("reveals", &text, mend, check) else { return false };
        let match_key = named.contains(MATCH_KEY);
        let Some(kind) = self.source.kind.as_ref().and_then(|k| vocabulary.kind(k)) else { return match_key };
        for class in classes {
            let marked = |f: &&crate::FieldInfo| match class {
                FieldClass::Sensitive => f.sensitive,
                _ => f.source_revealing,
            };
            let hit = kind.fields.iter().filter(|f| fields.contains(&f.name)).find(marked);
            if let (Some(field), false) = (hit, named.contains(class.as_str())) {
                let message = format!("the field '{}' is {class}", field.name);
                let mend = format!("remove it, or say @reveals(\"{class}\") if this rule means to show it");
                self.add("fields", message, mend);
            }
        }
        match_key
    }
}
