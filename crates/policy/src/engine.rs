//! The only place where Cedar is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy as cedar;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression,
};
use puente_model::{AgencyId, QueryKind};

use crate::request::{Direction, Request};
use crate::rule::{Effect, Rule};
use crate::vocabulary::Vocabulary;

/// Rules (by index) that matched a request.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// Permits, expired ones included; empty where a forbid matched.
    pub(crate) permits: Vec<usize>,
    pub(crate) forbids: Vec<usize>,
    pub(crate) hides: Vec<usize>,
}

/// A rule did not evaluate, or the request could not be put to Cedar: never a permit.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) rule: Option<usize>,
}

/// The rules that can apply to one direction and kind.
#[derive(Debug, Default)]
struct Slice {
    rules: cedar::PolicySet,
    hides: cedar::PolicySet,
    has_permits: bool,
}

#[derive(Debug)]
pub(crate) struct Engine {
    names: Names,
    agency_roles: BTreeSet<String>,
    slices: BTreeMap<(Direction, QueryKind), Slice>,
    reads_offence: bool,
    authorizer: Authorizer,
}

#[derive(Debug)]
struct Names {
    agency: EntityTypeName,
    kind: EntityTypeName,
    action: EntityTypeName,
    basis: EntityTypeName,
    nation: EntityTypeName,
    agency_role: EntityTypeName,
    purpose: EntityTypeName,
    role: EntityTypeName,
    step: EntityTypeName,
    mode: EntityTypeName,
    urgency: EntityTypeName,
    handling: EntityTypeName,
}

impl Names {
    fn new() -> Option<Self> {
        let name = |text: &str| EntityTypeName::from_str(text).ok();
        Some(Self {
            agency: name("Agency")?,
            kind: name("Kind")?,
            action: name("Action")?,
            basis: name("Basis")?,
            nation: name("Nation")?,
            agency_role: name("AgencyRole")?,
            purpose: name("Purpose")?,
            role: name("Role")?,
            step: name("Step")?,
            mode: name("Mode")?,
            urgency: name("Urgency")?,
            handling: name("Handling")?,
        })
    }
}

fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

fn entity(name: &EntityTypeName, id: &str) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid(name, id))
}

/// Whether a rule names the offence, or uses the context otherwise than by its attributes; yes where it cannot be told.
/// Cedar's JSON form has escapes in names resolved.
fn reads_offence(policy: &cedar::Policy) -> bool {
    let Ok(json) = policy.to_json() else { return true };
    let text = json.to_string();
    let uses = text.matches("{\"Var\":\"context\"}").count();
    let attributes = text.matches("\"left\":{\"Var\":\"context\"}}").count();
    text.contains("offence") || uses != attributes
}

impl Engine {
    /// Slices the policies, whose ids are the indices of `rules`, by direction and kind.
    pub(crate) fn new(vocabulary: &Vocabulary, rules: &[Rule], policies: &[cedar::Policy]) -> Option<Self> {
        let mut slices: BTreeMap<(Direction, QueryKind), Slice> = BTreeMap::new();
        for direction in Direction::ALL {
            for kind in &vocabulary.kinds {
                let slice = slices.entry((*direction, kind.kind.clone())).or_default();
                for (rule, policy) in rules.iter().zip(policies) {
                    let applies = rule.directions.contains(direction);
                    if !applies || rule.kind.as_ref().is_some_and(|k| *k != kind.kind) {
                        continue;
                    }
                    let set = match rule.effect {
                        Effect::Hide { .. } => &mut slice.hides,
                        _ => &mut slice.rules,
                    };
                    set.add(policy.clone()).ok()?;
                    slice.has_permits |= matches!(rule.effect, Effect::Permit { .. });
                }
            }
        }
        let agency_roles = vocabulary.agency_roles.iter().cloned().collect();
        let reads_offence = policies.iter().any(reads_offence);
        Some(Self { names: Names::new()?, agency_roles, slices, reads_offence, authorizer: Authorizer::new() })
    }

    /// Whether any rule's outcome can depend on the offence.
    pub(crate) fn reads_offence(&self) -> bool {
        self.reads_offence
    }

    /// Whether any rule could permit questions of this kind in this direction.
    pub(crate) fn has_permits(&self, direction: Direction, kind: &QueryKind) -> bool {
        self.slices.get(&(direction, kind.clone())).is_some_and(|s| s.has_permits)
    }

    /// Which rules match. The kind and basis must be of the vocabulary.
    pub(crate) fn ask(&self, request: &Request) -> Result<Matched, Failed> {
        let Some(slice) = self.slices.get(&(request.direction, request.kind.clone())) else {
            return Ok(Matched::default());
        };
        let failed = || Failed { rule: None };
        let (question, entities) = self.question(request).ok_or_else(failed)?;
        let mut matched = Matched::default();
        let (decision, rules) = self.run(&question, &slice.rules, &entities)?;
        match decision {
            Decision::Allow => matched.permits = rules,
            Decision::Deny => matched.forbids = rules,
        }
        if decision == Decision::Allow && !slice.hides.is_empty() {
            (_, matched.hides) = self.run(&question, &slice.hides, &entities)?;
        }
        Ok(matched)
    }

    fn run(
        &self,
        question: &cedar::Request,
        set: &cedar::PolicySet,
        entities: &Entities,
    ) -> Result<(Decision, Vec<usize>), Failed> {
        let response = self.authorizer.is_authorized(question, set, entities);
        let index = |id: &cedar::PolicyId| AsRef::<str>::as_ref(id).parse::<usize>().ok();
        let errors: Vec<_> = response.diagnostics().errors().collect();
        if let Some(error) = errors.first() {
            let cedar::AuthorizationError::PolicyEvaluationError(error) = error;
            return Err(Failed { rule: index(error.policy_id()) });
        }
        let rules: Option<Vec<usize>> = response.diagnostics().reason().map(index).collect();
        let mut rules = rules.ok_or(Failed { rule: None })?;
        rules.sort_unstable();
        Ok((response.decision(), rules))
    }

    fn question(&self, request: &Request) -> Option<(cedar::Request, Entities)> {
        let names = &self.names;
        let mut pairs = vec![
            ("holder".to_owned(), entity(&names.agency, request.holder.as_str())),
            ("purpose".to_owned(), entity(&names.purpose, request.purpose.as_str())),
            ("basis".to_owned(), entity(&names.basis, request.basis.as_str())),
            ("step".to_owned(), entity(&names.step, request.step.as_str())),
            ("mode".to_owned(), entity(&names.mode, request.mode.as_str())),
            ("officer_role".to_owned(), entity(&names.role, request.officer_role.as_str())),
            ("urgency".to_owned(), entity(&names.urgency, request.urgency.as_str())),
            ("handling".to_owned(), entity(&names.handling, request.handling.as_str())),
            ("same_nation".to_owned(), RestrictedExpression::new_bool(request.same_nation())),
            ("facts_stated".to_owned(), RestrictedExpression::new_bool(request.facts_stated)),
            ("suspicion_stated".to_owned(), RestrictedExpression::new_bool(request.suspicion_stated)),
            ("case_stated".to_owned(), RestrictedExpression::new_bool(request.case_stated)),
            ("order_stated".to_owned(), RestrictedExpression::new_bool(request.order_stated)),
            ("bound".to_owned(), RestrictedExpression::new_bool(request.bound)),
        ];
        if let Some(offence) = &request.offence {
            pairs.push(("offence".to_owned(), RestrictedExpression::new_string(offence.clone())));
        }
        let context = Context::from_pairs(pairs).ok()?;
        let mut agencies = vec![self.agency(&request.agency, &request.agency_roles)?];
        if request.agency != request.holder {
            agencies.push(self.agency(&request.holder, &request.holder_roles)?);
        }
        let entities = Entities::from_entities(agencies, None).ok()?;
        let question = cedar::Request::new(
            uid(&names.agency, request.agency.as_str()),
            uid(&names.action, request.direction.action()),
            uid(&names.kind, request.kind.as_str()),
            context,
            None,
        );
        Some((question.ok()?, entities))
    }

    fn agency(&self, id: &AgencyId, roles: &BTreeSet<String>) -> Option<Entity> {
        let names = &self.names;
        let known = roles.iter().filter(|r| self.agency_roles.contains(*r)).map(|r| entity(&names.agency_role, r));
        let attributes = HashMap::from([
            ("jurisdiction".to_owned(), entity(&names.nation, id.jurisdiction().as_str())),
            ("roles".to_owned(), RestrictedExpression::new_set(known)),
        ]);
        Entity::new(uid(&names.agency, id.as_str()), attributes, HashSet::new()).ok()
    }
}
