use super::vocabulary;
use crate::{Cases, Direction, PolicySet, Request, Verdict};
use puente_model::{Purpose, RefusalReason};

macro_rules! example {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../../nodes/agency/policies/", $name, "/inbound.cedar")),
            include_str!(concat!("../../../../nodes/agency/policies/", $name, "/outbound.cedar")),
            include_str!(concat!("../../../../nodes/agency/policies/", $name, "/cases.toml")),
        )
    };
}

const EXAMPLES: [(&str, &str, &str, &str); 4] =
    [example!("mx-fge-bc"), example!("mx-fgr"), example!("us-tx-dps"), example!("us-ca-doj")];

const ALERTS: &str = include_str!("../../../../nodes/agency/policies/common/alerts.cedar");
const PERSONS: &str = include_str!("../../../../nodes/agency/policies/common/persons.cedar");
const PLATES: &str = include_str!("../../../../nodes/agency/policies/common/plates.cedar");
const SEIZURES: &str = include_str!("../../../../nodes/agency/policies/common/seizures.cedar");
const TRACES: &str = include_str!("../../../../nodes/agency/policies/common/traces.cedar");
const COMMON_CASES: &str = include_str!("../../../../nodes/agency/policies/common/cases.toml");

fn files(inbound: &str, outbound: &str) -> Vec<(String, String)> {
    let common = [
        ("alerts.cedar", ALERTS),
        ("persons.cedar", PERSONS),
        ("plates.cedar", PLATES),
        ("seizures.cedar", SEIZURES),
        ("traces.cedar", TRACES),
    ];
    let all = [("inbound.cedar", inbound), ("outbound.cedar", outbound)].into_iter().chain(common);
    all.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The agency of an example's folder.
fn agency(name: &str) -> puente_model::AgencyId {
    name.replacen('-', "/", 1).parse().unwrap()
}

#[test]
fn the_shared_policies_judge_their_cases_for_every_agency() {
    for (name, inbound, outbound, _) in EXAMPLES {
        let set = PolicySet::load(&files(inbound, outbound), &vocabulary()).unwrap_or_else(|e| panic!("{name}\n{e}"));
        let cases = COMMON_CASES.replacen("agency = \"us/tx-dps\"", &format!("agency = \"{}\"", agency(name)), 1);
        let cases = Cases::parse("cases.toml", &cases).unwrap_or_else(|e| panic!("{name}: {e}"));
        for result in cases.run(&set) {
            assert!(result.passed(), "{name}, {}: {}", result.name, result.differences.join("; "));
        }
    }
}

#[test]
fn the_example_policies_judge_their_cases() {
    let mut judged = 0;
    for (name, inbound, outbound, cases) in EXAMPLES {
        let set = PolicySet::load(&files(inbound, outbound), &vocabulary()).unwrap_or_else(|e| panic!("{name}\n{e}"));
        let cases = Cases::parse("cases.toml", cases).unwrap_or_else(|e| panic!("{name}: {e}"));
        for result in cases.run(&set) {
            assert!(result.passed(), "{name}, {}: {}", result.name, result.differences.join("; "));
            judged += 1;
        }
    }
    assert!(judged > 60, "{judged}");
}

#[test]
fn immigration_enforcement_is_barred_even_where_a_basis_covers_it() {
    let mut wide = vocabulary();
    wide.legal_bases.iter_mut().for_each(|b| b.purposes.push(Purpose::ImmigrationEnforcement));
    for (name, inbound, outbound, _) in EXAMPLES {
        let set = PolicySet::load(&files(inbound, outbound), &wide).unwrap();
        let own = agency(name);
        let other = if name.starts_with("mx") { "us/tx-dps" } else { "mx/fgr" };
        let other: puente_model::AgencyId = other.parse().unwrap();
        for direction in Direction::ALL {
            let (agency, holder) = match direction {
                Direction::Outbound => (own.clone(), other.clone()),
                Direction::Inbound => (other.clone(), own.clone()),
            };
            let purpose = Purpose::ImmigrationEnforcement;
            let request = Request { direction: *direction, agency, holder, purpose, ..super::question() };
            match set.judge(&request, super::today()) {
                Verdict::Refuse(r) => assert_eq!(r.reason, RefusalReason::HumanRights, "{name}: {r:?}"),
                Verdict::Permit(g) => panic!("{name}: permitted by {:?}", g.rules),
            }
        }
    }
}

#[test]
fn the_order_of_files_and_the_kind_of_line_end_do_not_matter() {
    let (_, inbound, outbound, _) = EXAMPLES[0];
    let files = files(inbound, outbound);
    let crlf = |(name, text): (String, String)| (name, text.replace('\n', "\r\n"));
    let one = PolicySet::load(&files, &vocabulary()).unwrap();
    let turned: Vec<_> = files.iter().rev().cloned().map(crlf).collect();
    let two = PolicySet::load(&turned, &vocabulary()).unwrap();
    assert_eq!(one.hash(), two.hash());
    let mut edited = files;
    edited[1].1.push_str("\n// edited");
    let edited = PolicySet::load(&edited, &vocabulary()).unwrap();
    assert_ne!(one.hash(), edited.hash());
}
