use std::collections::BTreeSet;

use puente_model::{Digest, FieldClass, Handling, RefusalReason, Role};
use serde_json::{Value, json};

/// What the policies say about one question at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be asked, or answered with these fields.
    Permit(Grant),
    /// It may not.
    Refuse(Refusal),
}

/// What a permitted question may get, and under which conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Fields of the record type that the answer may reveal. Always empty outbound and at step 1 (hit or no hit).
    pub fields: BTreeSet<String>,
    /// The same fields by their numbers on the wire.
    pub field_numbers: BTreeSet<u32>,
    /// The most sensitive class among the fields.
    pub field_class: FieldClass,
    /// The strictest of the question's handling code and of every rule that granted it.
    pub handling: Handling,
    /// Obligations of every rule that granted it, for example `confirm-before-seizure`.
    pub obligations: BTreeSet<String>,
    /// The asker may learn the names of the keys under which records were found, for example `vehicle.plate_ocr`.
    pub match_key: bool,
    /// Roles of the persons one of whom must decide before anything is answered; none if no person needs to. Where
    /// several rules want a person, only who suits all of them.
    pub decide: Option<BTreeSet<Role>>,
    /// Hours after which an answer that no person decided on is to be reviewed: the soonest of every rule.
    pub review_hours: Option<u32>,
    /// Ids of the rules that granted it, at least one, sorted.
    pub rules: Vec<String>,
    /// Hash of the policy set that decided.
    pub policy_hash: Digest,
}

/// Why a question is refused, in words for both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as it stands in the clear in a REFUSAL.
    pub reason: RefusalReason,
    /// The rule that refused it; none when no rule permits it.
    pub rule: Option<String>,
    /// The explanation in English.
    pub explain_en: String,
    /// The explanation in Spanish.
    pub explain_es: String,
    /// What the asker can do, in English.
    pub next_step_en: String,
    /// What the asker can do, in Spanish.
    pub next_step_es: String,
    /// How to appeal, in English, if the deciding rule says so.
    pub appeal_en: String,
    /// How to appeal, in Spanish.
    pub appeal_es: String,
    /// Hash of the policy set that decided.
    pub policy_hash: Digest,
}

impl Verdict {
    /// Whether it is a permit.
    pub fn is_permit(&self) -> bool {
        matches!(self, Self::Permit(_))
    }

    /// The hash of the policy set that decided.
    pub fn policy_hash(&self) -> Digest {
        match self {
            Self::Permit(grant) => grant.policy_hash,
            Self::Refuse(refusal) => refusal.policy_hash,
        }
    }

    /// The machine form: codes as text, the hash in hexadecimal.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Permit(g) => json!({
                "verdict": "permit",
                "rules": g.rules,
                "fields": g.fields,
                "field_class": g.field_class.as_str(),
                "handling": g.handling.as_str(),
                "obligations": g.obligations,
                "match_key": g.match_key,
                "decide": g.decide.as_ref().map(|roles| roles.iter().map(|r| r.as_str()).collect::<Vec<_>>()),
                "review_hours": g.review_hours,
                "policy_hash": g.policy_hash.to_string(),
            }),
            Self::Refuse(r) => json!({
                "verdict": "refuse",
                "reason": r.reason.as_str(),
                "rule": r.rule,
                "explain_en": r.explain_en,
                "explain_es": r.explain_es,
                "next_step_en": r.next_step_en,
                "next_step_es": r.next_step_es,
                "appeal_en": r.appeal_en,
                "appeal_es": r.appeal_es,
                "policy_hash": r.policy_hash.to_string(),
            }),
        }
    }
}

impl Refusal {
    pub(crate) fn new(
        reason: RefusalReason,
        rule: Option<String>,
        en: String,
        es: String,
        policy_hash: Digest,
    ) -> Self {
        let (next_en, next_es) = next_step(reason);
        Self {
            reason,
            rule,
            explain_en: en,
            explain_es: es,
            next_step_en: next_en.to_owned(),
            next_step_es: next_es.to_owned(),
            appeal_en: String::new(),
            appeal_es: String::new(),
            policy_hash,
        }
    }
}

/// What an asker can do after a refusal, in English and Spanish.
const fn next_step(reason: RefusalReason) -> (&'static str, &'static str) {
    match reason {
        RefusalReason::NoLegalBasis => (
            "name a legal basis in force that covers the purpose, or ask by mutual legal assistance",
            "indique una base legal vigente que cubra la finalidad, o pida asistencia jurídica mutua",
        ),
        RefusalReason::Scope => (
            "have an officer or agency whose role covers this question ask it",
            "que la formule una persona o institución cuyo rol cubra esta consulta",
        ),
        RefusalReason::Sovereignty => (
            "ask by mutual legal assistance through the central authorities",
            "pida asistencia jurídica mutua por medio de las autoridades centrales",
        ),
        RefusalReason::OngoingOperation => (
            "contact the holder's liaison officer; ask again later",
            "contacte al enlace de la institución; vuelva a preguntar después",
        ),
        RefusalReason::SourceProtection => (
            "contact the holder's liaison officer; the source will not be shown",
            "contacte al enlace de la institución; la fuente no se mostrará",
        ),
        RefusalReason::StatutoryBar => (
            "the law bars this answer here; ask by mutual legal assistance or with a court order",
            "la ley impide esta respuesta aquí; pida asistencia jurídica mutua o con orden judicial",
        ),
        RefusalReason::Quality => (
            "complete the question as explained and send it again",
            "complete la consulta como se explica y envíela de nuevo",
        ),
        RefusalReason::HumanRights => (
            "raise the matter with the oversight body; the question will not be answered",
            "plantee el asunto ante el órgano de control; la consulta no se responderá",
        ),
        _ => ("ask again later or contact the holder's operator", "pregunte después o contacte a la institución"),
    }
}
