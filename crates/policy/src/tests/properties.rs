use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use puente_model::{Handling, Millis, Mode, Purpose, RefusalReason, Role, Step, Urgency};

use super::{forbid, set, today, vocabulary};
use crate::{Direction, Judge, PolicySet, Request, Verdict};

const DAY: u64 = 86_400_000;
const INBOUND: &str = include_str!("../../../../nodes/agency/policies/us-tx-dps/inbound.cedar");
const OUTBOUND: &str = include_str!("../../../../nodes/agency/policies/us-tx-dps/outbound.cedar");

/// A set whose grants end on different days.
fn rules() -> &'static Arc<PolicySet> {
    static SET: OnceLock<Arc<PolicySet>> = OnceLock::new();
    SET.get_or_init(|| Arc::new(set(&text())))
}

fn text() -> String {
    let mut month = 0;
    let ended = |part: &str| {
        month = month % 12 + 1;
        part.replacen("2030-12-31", &format!("2027-{month:02}-15"), 1)
    };
    let both = format!("{INBOUND}\n{OUTBOUND}");
    both.split_inclusive(";\n").map(ended).collect()
}

/// The same set with one more forbid, for each of several conditions.
fn stricter() -> &'static Vec<PolicySet> {
    static SETS: OnceLock<Vec<PolicySet>> = OnceLock::new();
    SETS.get_or_init(|| {
        ["when { context.same_nation }", "unless { context.case_stated }", "when { context.step == Step::\"1\" }", ""]
            .iter()
            .map(|when| set(&(text() + &forbid("one-more", when))))
            .collect()
    })
}

prop_compose! {
    fn requests()(
        direction in prop::sample::select(Direction::ALL),
        agency in prop::sample::select(vec!["mx/fge-bc", "mx/fgr", "us/tx-dps", "us/ca-doj"]),
        holder in prop::sample::select(vec!["mx/fgr", "us/tx-dps"]),
        roles in prop::collection::btree_set(prop::sample::select(vec!["state-police", "unknown", "federal-prosecutor"]), 0..3),
        kind in prop::sample::select(vec!["vehicle.status", "plate.status", "firearm.status", "not.known"]),
        step in prop::sample::select(Step::ALL),
        purpose in prop::sample::select(Purpose::ALL),
        basis in prop::sample::select(vec!["mx-us-mlat-1987", "mx-us-stolen-vehicles-1981", "us-28cfr20", "unknown"]),
        officer_role in prop::sample::select(Role::ALL),
        urgency in prop::sample::select(Urgency::ALL),
        handling in prop::sample::select(Handling::ALL),
        offence in prop::option::of("[a-z\"\\\\]{0,70}"),
        (facts_stated, suspicion_stated, case_stated, order_stated, bound) in any::<(bool, bool, bool, bool, bool)>(),
    ) -> Request {
        Request {
            direction,
            agency: agency.parse().unwrap(),
            agency_roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            holder: holder.parse().unwrap(),
            holder_roles: BTreeSet::new(),
            kind: kind.parse().unwrap(),
            step,
            purpose,
            basis: basis.parse().unwrap(),
            officer_role,
            urgency,
            mode: Mode::Open,
            handling,
            offence,
            facts_stated,
            suspicion_stated,
            case_stated,
            order_stated,
            bound,
        }
    }
}

fn times() -> impl Strategy<Value = Millis> {
    (0..500_u64, any::<bool>()).prop_map(|(day, last)| Millis(today().0 + day * DAY - u64::from(last)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_permit_names_rules_in_force_and_reveals_only_known_fields(request in requests(), now in times()) {
        let set = rules();
        match set.judge(&request, now) {
            Verdict::Permit(grant) => {
                prop_assert!(!grant.rules.is_empty());
                let ends = set.grants_by_expiry();
                for rule in &grant.rules {
                    prop_assert!(ends.iter().any(|(end, id)| id == rule && now < *end), "{rule}");
                }
                prop_assert!(request.step != Step::HitNoHit || grant.fields.is_empty());
                prop_assert!(request.direction == Direction::Inbound || grant.fields.is_empty());
                prop_assert_eq!(grant.fields.len(), grant.field_numbers.len());
                prop_assert!(grant.handling >= request.handling);
                let vocabulary = vocabulary();
                let kind = vocabulary.kind(&request.kind).unwrap();
                for field in &grant.fields {
                    let info = kind.fields.iter().find(|f| f.name == *field).unwrap();
                    prop_assert!(!info.sensitive && !info.source_revealing, "{field}");
                }
            }
            Verdict::Refuse(refusal) => {
                prop_assert!(refusal.reason != RefusalReason::Failed, "{refusal:?}");
                prop_assert!(!refusal.explain_en.is_empty() && !refusal.explain_es.is_empty());
            }
        }
    }

    #[test]
    fn one_more_forbid_never_permits(request in requests(), now in times()) {
        if !rules().judge(&request, now).is_permit() {
            for set in stricter() {
                prop_assert!(!set.judge(&request, now).is_permit());
            }
        }
    }

    #[test]
    fn time_only_takes_away(request in requests(), now in times(), later in 0..500 * DAY) {
        if !rules().judge(&request, now).is_permit() {
            prop_assert!(!rules().judge(&request, now.plus(later)).is_permit());
        }
    }

    #[test]
    fn memory_changes_nothing(asked in prop::collection::vec((requests(), times()), 1..20), picks in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 40), capacity in 0..6_usize) {
        let mut judge = Judge::new(Arc::clone(rules()), capacity);
        for (which, when) in picks {
            let (request, now) = (&which.get(&asked).0, when.get(&asked).1);
            prop_assert_eq!(&*judge.judge(request, now), &rules().judge(request, now));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_agrees_with_the_judge(request in requests(), now in times()) {
        let explanation = rules().explain(&request, now);
        prop_assert_eq!(&explanation.verdict, &rules().judge(&request, now));
        if let Verdict::Permit(grant) = &explanation.verdict {
            let decided: BTreeSet<_> = explanation.deciding.iter().collect();
            prop_assert_eq!(decided, grant.rules.iter().collect());
        }
        for rule in &explanation.near {
            prop_assert!(rules().grants_by_expiry().iter().any(|(end, id)| id == rule && now < *end));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z@(){}\"\\[\\]:;=&|!?<>.,/* \n0-9\u{e1}]{0,200}") {
        let _ = super::try_set(&text);
    }
}
