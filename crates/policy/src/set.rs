use std::collections::BTreeSet;

use puente_model::{Digest, FieldClass, Label, Millis, RefusalReason, digest};

use crate::date;
use crate::engine::Engine;
use crate::error::PolicyError;
use crate::explain::{self, Explanation};
use crate::load;
use crate::request::{OFFENCE_CHARS_MAX, Request};
use crate::rule::{Effect, Rule};
use crate::verdict::{Grant, Refusal, Verdict};
use crate::vocabulary::{BasisInfo, Vocabulary};

const SET_LABEL: Label = Label("puente/v1/policy-set");

/// The policies of one node: validated, sliced by direction and kind, and named by one hash.
///
/// Nothing in it changes; a node that adopts other policies or another charter loads another set.
#[derive(Debug)]
pub struct PolicySet {
    vocabulary: Vocabulary,
    rules: Vec<Rule>,
    engine: Engine,
    hash: Digest,
    /// Every instant at which a verdict can change by itself, ascending.
    expiries: Vec<Millis>,
}

/// What the rules say, before it is put in words.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Refused before any rule was asked.
    Screened { reason: RefusalReason, en: String, es: String },
    /// A rule did not evaluate.
    Failed { rule: Option<usize> },
    /// At least one forbid matched.
    Forbidden { rules: Vec<usize> },
    /// No permit in force matched; the expired ones that did.
    Ungranted { expired: Vec<usize> },
    /// At least one permit in force matched, and no forbid.
    Granted { permits: Vec<usize>, hides: Vec<usize> },
}

impl PolicySet {
    /// Reads policy files, given as name and Cedar text, in any order.
    ///
    /// # Errors
    /// [`PolicyError::Rules`] lists everything that is wrong, with file, line, column and mend;
    /// [`PolicyError::Vocabulary`] if the vocabulary cannot make a schema. A set with any finding is not loaded.
    pub fn load(files: &[(String, String)], vocabulary: &Vocabulary) -> Result<Self, PolicyError> {
        stacker::grow(load::STACK_BYTES, || Self::read(&normalise(files), vocabulary))
    }

    fn read(files: &[(String, String)], vocabulary: &Vocabulary) -> Result<Self, PolicyError> {
        let load::Loaded { rules, policies } = load::load(files, vocabulary)?;
        let engine = Engine::new(vocabulary, &rules, &policies).ok_or_else(|| PolicyError::Vocabulary {
            what: "the rules could not be sliced by kind".to_owned(),
            mend: "check that kinds are named once",
        })?;
        let permits = rules.iter().filter_map(|r| match &r.effect {
            Effect::Permit { expires, .. } => Some(*expires),
            _ => None,
        });
        let expiries: BTreeSet<Millis> = permits.chain(vocabulary.legal_bases.iter().map(|b| b.expires)).collect();
        let parts: Vec<&[u8]> = files.iter().flat_map(|(n, t)| [n.as_bytes(), t.as_bytes()]).collect();
        let hash = digest(SET_LABEL, &parts);
        let vocabulary = vocabulary.clone();
        Ok(Self { vocabulary, rules, engine, hash, expiries: expiries.into_iter().collect() })
    }

    /// The set's hash: over names and texts, sorted by name, line ends as LF.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The vocabulary that the set was validated against.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Ids of all rules, in the order of file name and position.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|r| r.id.as_str())
    }

    /// Permits by id with their expiry, soonest first: what an operator must renew.
    pub fn grants_by_expiry(&self) -> Vec<(Millis, &str)> {
        let mut grants: Vec<_> = self.rules.iter().filter_map(|r| Some((r.expires()?, r.id.as_str()))).collect();
        grants.sort_unstable();
        grants
    }

    /// Judges one question at `now`.
    ///
    /// Denies by default: without a permit in force, on a forbid, on a legal basis that is unknown, expired or does not
    /// cover the purpose, and on any evaluation error (reason `failed`).
    pub fn judge(&self, request: &Request, now: Millis) -> Verdict {
        let refuse = |reason, rule: Option<usize>, en: String, es: String| {
            let rule = rule.map(|i| self.rules[i].id.clone());
            Verdict::Refuse(Refusal::new(reason, rule, en, es, self.hash))
        };
        match self.outcome(request, now) {
            Outcome::Screened { reason, en, es } => refuse(reason, None, en, es),
            Outcome::Failed { rule } => refuse(
                RefusalReason::Failed,
                rule,
                "a policy rule could not be evaluated, so the question is refused".to_owned(),
                "no se pudo evaluar una regla, por lo que la consulta se rechaza".to_owned(),
            ),
            Outcome::Forbidden { rules } => {
                let forbid = rules.iter().find_map(|i| match &self.rules[*i].effect {
                    Effect::Forbid { reason, explain_en, explain_es, appeal_en, appeal_es } => {
                        Some((*i, *reason, [explain_en, explain_es, appeal_en, appeal_es]))
                    }
                    _ => None,
                });
                match forbid {
                    Some((i, reason, [en, es, appeal_en, appeal_es])) => {
                        let rule = Some(self.rules[i].id.clone());
                        let refusal = Refusal::new(reason, rule, en.clone(), es.clone(), self.hash);
                        let (appeal_en, appeal_es) = (appeal_en.clone(), appeal_es.clone());
                        Verdict::Refuse(Refusal { appeal_en, appeal_es, ..refusal })
                    }
                    None => refuse(RefusalReason::Failed, None, String::new(), String::new()),
                }
            }
            Outcome::Ungranted { expired } => {
                let (reason, en, es) = explain::ungranted(self, request, now, &expired);
                refuse(reason, None, en, es)
            }
            Outcome::Granted { permits, hides } => Verdict::Permit(self.grant(request, &permits, &hides)),
        }
    }

    /// Judges one question and says which rule decided, what nearly permitted it, and which single changes would turn
    /// the verdict. Costs hundreds of evaluations: for people, not for the exchange.
    pub fn explain(&self, request: &Request, now: Millis) -> Explanation {
        explain::explain(self, request, now)
    }

    pub(crate) fn rule(&self, index: usize) -> &Rule {
        &self.rules[index]
    }

    /// Whether the words that an asker may choose freely are known ones: only then is a decision worth remembering.
    pub(crate) fn knows(&self, request: &Request) -> bool {
        self.vocabulary.kind(&request.kind).is_some()
            && self.vocabulary.basis(&request.basis).is_some()
            && !request.offence.as_deref().is_some_and(too_long)
    }

    pub(crate) fn reads_offence(&self) -> bool {
        self.engine.reads_offence()
    }

    pub(crate) fn could_permit(&self, request: &Request) -> bool {
        self.engine.has_permits(request.direction, &request.kind)
    }

    /// The number of the stretch between two expiries that `now` lies in: verdicts are constant within one.
    pub(crate) fn stretch(&self, now: Millis) -> usize {
        self.expiries.partition_point(|e| *e <= now)
    }

    pub(crate) fn outcome(&self, request: &Request, now: Millis) -> Outcome {
        if let Some(screened) = self.screen(request, now) {
            return screened;
        }
        match self.engine.ask(request) {
            Err(failed) => Outcome::Failed { rule: failed.rule },
            Ok(matched) if !matched.forbids.is_empty() => Outcome::Forbidden { rules: matched.forbids },
            Ok(matched) => {
                let in_force = |i: &usize| self.rules[*i].expires().is_some_and(|e| now < e);
                let (permits, expired): (Vec<usize>, Vec<usize>) = matched.permits.into_iter().partition(in_force);
                if permits.is_empty() {
                    Outcome::Ungranted { expired }
                } else {
                    Outcome::Granted { permits, hides: matched.hides }
                }
            }
        }
    }

    /// What can be refused without asking a rule.
    fn screen(&self, request: &Request, now: Millis) -> Option<Outcome> {
        let screened = |reason, en: String, es: String| Some(Outcome::Screened { reason, en, es });
        let Some(kind) = self.vocabulary.kind(&request.kind) else {
            return screened(
                RefusalReason::Scope,
                format!("{} is not a query kind of the catalogue", request.kind),
                format!("{} no es un tipo de consulta del catálogo", request.kind),
            );
        };
        if !kind.steps.contains(&request.step) {
            return screened(
                RefusalReason::Scope,
                format!("{} has no step {}", request.kind, request.step),
                format!("{} no tiene paso {}", request.kind, request.step),
            );
        }
        if request.offence.as_deref().is_some_and(too_long) {
            return screened(
                RefusalReason::Quality,
                format!("the offence code is longer than {OFFENCE_CHARS_MAX} characters"),
                format!("el código del delito tiene más de {OFFENCE_CHARS_MAX} caracteres"),
            );
        }
        let (basis, purpose) = (&request.basis, request.purpose);
        let (en, es) = match self.vocabulary.basis(basis) {
            None => (
                format!("the charter has no legal basis '{basis}'"),
                format!("la carta no contiene la base legal '{basis}'"),
            ),
            Some(BasisInfo { expires, .. }) if *expires <= now => (
                format!("the legal basis '{basis}' ended on {}", date::show(*expires)),
                format!("la base legal '{basis}' terminó el {}", date::show(*expires)),
            ),
            Some(info) if !info.purposes.contains(&purpose) => (
                format!("the legal basis '{basis}' does not cover the purpose {purpose}"),
                format!("la base legal '{basis}' no cubre la finalidad {purpose}"),
            ),
            Some(_) => return None,
        };
        screened(RefusalReason::NoLegalBasis, en, es)
    }

    fn grant(&self, request: &Request, permits: &[usize], hides: &[usize]) -> Grant {
        let mut grant = Grant {
            fields: BTreeSet::new(),
            field_numbers: BTreeSet::new(),
            field_class: FieldClass::None,
            handling: request.handling,
            obligations: BTreeSet::new(),
            match_key: false,
            decide: None,
            review_hours: None,
            rules: Vec::with_capacity(permits.len()),
            policy_hash: self.hash,
        };
        for index in permits {
            let rule = &self.rules[*index];
            if let Effect::Permit { fields, handling, obligations, match_key, decide, review, .. } = &rule.effect {
                grant.match_key |= *match_key;
                grant.decide = match (grant.decide.take(), decide) {
                    (Some(one), Some(two)) => Some(one.intersection(two).copied().collect()),
                    (one, two) => one.or_else(|| two.clone()),
                };
                grant.review_hours = [grant.review_hours, *review].into_iter().flatten().min();
                grant.fields.extend(fields.iter().cloned());
                grant.handling = handling.map_or(grant.handling, |h| grant.handling.combine(h));
                grant.obligations.extend(obligations.iter().cloned());
                grant.rules.push(rule.id.clone());
            }
        }
        grant.rules.sort_unstable();
        for index in hides {
            if let Effect::Hide { fields } = &self.rules[*index].effect {
                grant.fields.retain(|f| !fields.contains(f));
            }
        }
        // Step 1 is hit or no hit, whatever a rule says.
        if request.step == puente_model::Step::HitNoHit {
            grant.fields.clear();
        }
        if let Some(kind) = self.vocabulary.kind(&request.kind) {
            for field in kind.fields.iter().filter(|f| grant.fields.contains(&f.name)) {
                grant.field_numbers.insert(field.number);
                grant.field_class = grant.field_class.max(field.class());
            }
        }
        grant
    }
}

fn too_long(offence: &str) -> bool {
    offence.chars().count() > OFFENCE_CHARS_MAX
}

impl Rule {
    /// The first instant at which a permit no longer stands; none for rules that do not end.
    pub(crate) fn expires(&self) -> Option<Millis> {
        match &self.effect {
            Effect::Permit { expires, .. } => Some(*expires),
            _ => None,
        }
    }
}

/// Sorted by name, line ends as LF, without a byte-order mark: the texts that are hashed and read.
fn normalise(files: &[(String, String)]) -> Vec<(String, String)> {
    let clean = |text: &str| text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut files: Vec<_> = files.iter().map(|(name, text)| (name.clone(), clean(text))).collect();
    files.sort();
    files
}
