use puente_model::{Lang, Millis, Purpose, RefusalReason, Role};

use super::{core_question, forbid, permit, question, set, today};
use crate::{ALTERNATIVES_MAX, Attribute, Request};

const WHEN: &str = "when { context.step == Step::\"2\" && context.facts_stated && context.officer_role == \
                    Role::\"investigator\" && context.purpose == Purpose::\"vehicle-recovery\" }";

#[test]
fn a_refusal_names_the_single_changes_that_would_permit_it() {
    let set = set(&permit("core", "status", "", WHEN));
    let explanation = set.explain(&Request { officer_role: Role::Patrol, ..core_question() }, today());
    assert_eq!(explanation.near, ["core"]);
    assert_eq!(explanation.alternatives.len(), 1);
    let change = &explanation.alternatives[0].changes[0];
    assert_eq!(
        (change.attribute, change.from.as_str(), change.to.as_str()),
        (Attribute::OfficerRole, "patrol", "investigator")
    );
    let en = explanation.lines(Lang::En).join("\n");
    assert!(en.contains("it would be permitted with officer's role = investigator (core)"), "{en}");
    let es = explanation.lines(Lang::Es).join("\n");
    assert!(es.contains("se permitiría con rol de quien pregunta = investigator (core)"), "{es}");
    assert_eq!(explanation.to_json()["alternatives"][0]["changes"][0]["to"], "investigator");
    assert_eq!(explanation.to_json()["verdict"]["reason"], "scope");
}

#[test]
fn two_changes_are_named_where_one_does_not_suffice() {
    let set = set(&permit("core", "status", "", WHEN));
    let explanation = set.explain(&question(), today());
    assert_eq!(explanation.alternatives.len(), 1, "{explanation:?}");
    let changed: Vec<_> = explanation.alternatives[0].changes.iter().map(|c| c.attribute).collect();
    assert_eq!(changed, [Attribute::Step, Attribute::FactsStated]);
    let text = explanation.to_string();
    assert!(text.contains("step = 2 and statement of facts = yes (core)"), "{text}");
}

#[test]
fn a_basis_that_does_not_cover_the_purpose_points_at_both_ways_out() {
    let set = set(&permit("any", "", "", ""));
    let explanation = set.explain(&Request { purpose: Purpose::Prosecution, ..question() }, today());
    let ways: Vec<_> =
        explanation.alternatives.iter().map(|a| (a.changes[0].attribute, a.changes[0].to.as_str())).collect();
    assert!(ways.contains(&(Attribute::Basis, "mx-us-mlat-1987")), "{ways:?}");
    assert!(ways.contains(&(Attribute::Purpose, "vehicle-recovery")), "{ways:?}");
}

#[test]
fn a_permit_names_what_it_stands_on() {
    let text = permit("core", "status", "@handling(\"H1\")", WHEN)
        + &forbid("bar", "when { context.urgency == Urgency::\"urgent\" }");
    let explanation = set(&text).explain(&core_question(), today());
    assert_eq!(explanation.deciding, ["core"]);
    let urgent = explanation.alternatives.iter().find(|a| a.changes[0].attribute == Attribute::Urgency).unwrap();
    assert_eq!(urgent.rules, ["bar"]);
    let text = explanation.to_string();
    assert!(text.contains("permitted by: core") && text.contains("fields: status"), "{text}");
    assert!(text.contains("it would be refused with urgency = urgent (bar)"), "{text}");
}

#[test]
fn expired_permits_and_bars_are_named() {
    let rules = set(&permit("old", "", "", ""));
    let later = Millis(today().0 + 366 * 86_400_000);
    let explanation = rules.explain(&question(), later);
    assert_eq!(explanation.expired[0].0, "old");
    assert!(explanation.to_string().contains("old: ended on 2027-06-30"), "{explanation}");
    let text = permit("answer", "", "", "") + &forbid("bar", "unless { context.same_nation }");
    let explanation = set(&text).explain(&question(), today());
    assert_eq!(explanation.deciding, ["bar"]);
    assert!(explanation.alternatives.is_empty() && explanation.near.is_empty());
    assert!(explanation.to_string().starts_with("refused (statutory-bar): barred\ndecided by: bar"), "{explanation}");
    assert_eq!(explanation.to_json()["verdict"]["reason"], RefusalReason::StatutoryBar.as_str());
}

#[test]
fn explanations_are_bounded() {
    let when = "when { context.facts_stated && (context.suspicion_stated || context.case_stated || context.urgency == \
                Urgency::\"urgent\" || context.officer_role != Role::\"investigator\" || context.basis != \
                Basis::\"mx-us-stolen-vehicles-1981\" || principal.roles.contains(AgencyRole::\"state-police\") || \
                context.purpose != Purpose::\"vehicle-recovery\") }";
    let explanation = set(&permit("a", "", "", when)).explain(&question(), today());
    assert!(!explanation.alternatives.is_empty() && explanation.alternatives.len() <= ALTERNATIVES_MAX);
}
