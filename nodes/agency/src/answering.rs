//! `[answering]` of node.toml: what this agency says to whoever it refuses, and how long its hits may be confirmed.

use puente_exchange::Appeal;
use puente_model::limits;
use serde::{Deserialize, Serialize};

/// Days for which a hit may be confirmed, unless told otherwise.
const HIT_DAYS: u32 = 30;

fn hit_days() -> u32 {
    HIT_DAYS
}

/// `[answering]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Answering {
    /// How to appeal against a refusal, in English; empty: refusals say nothing of it unless a rule does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub appeal_en: String,
    /// The same in Spanish.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub appeal_es: String,
    /// Days after which a step-1 hit can no longer be quoted at step 2: 1 to 365.
    pub hit_days: u32,
}

impl Default for Answering {
    fn default() -> Self {
        Self { appeal_en: String::new(), appeal_es: String::new(), hit_days: HIT_DAYS }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    appeal_en: String,
    #[serde(default)]
    appeal_es: String,
    #[serde(default = "hit_days")]
    hit_days: u32,
}

impl TryFrom<Raw> for Answering {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { appeal_en, appeal_es, hit_days } = raw;
        let bad = |text: &String| text.chars().count() > limits::WORDS_CHARS_MAX || text.chars().any(char::is_control);
        if bad(&appeal_en) || bad(&appeal_es) {
            return Err(format!(
                "an appeal has at most {} characters and no control characters",
                limits::WORDS_CHARS_MAX
            ));
        }
        if appeal_en.trim().is_empty() != appeal_es.trim().is_empty() {
            return Err("say how to appeal in both languages: appeal_en and appeal_es".to_owned());
        }
        if !(1..=365).contains(&hit_days) {
            return Err("hit_days is 1 to 365".to_owned());
        }
        Ok(Self { appeal_en, appeal_es, hit_days })
    }
}

impl Answering {
    /// The appeal as the engine gives it.
    pub fn appeal(&self) -> Appeal {
        Appeal { en: self.appeal_en.clone(), es: self.appeal_es.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Answering, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn appeals_stand_in_both_languages_within_their_limit() {
        assert_eq!(parse("").unwrap(), Answering::default());
        let most = "ñ".repeat(limits::WORDS_CHARS_MAX);
        assert!(parse(&format!("appeal_en = \"{most}\"\nappeal_es = \"{most}\"")).is_ok());
        for bad in [
            format!("appeal_en = \"{most}x\"\nappeal_es = \"x\""),
            "appeal_en = \"write to us\"".to_owned(),
            "appeal_en = \"a\\u001b[2J\"\nappeal_es = \"b\"".to_owned(),
            "hit_days = 0".to_owned(),
            "hit_days = 366".to_owned(),
            "apeal_en = \"x\"".to_owned(),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
