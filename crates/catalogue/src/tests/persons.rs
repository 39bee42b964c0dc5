//! Persons: found however offices write one name, and never where the law keeps them out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use puente_model::{AgencyId, Millis};

use super::{catalogue, cells, record_type};
use crate::{Field, MatchKey, Problem};

/// A row of one of the four types about persons.
fn person(name: &str, change: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut row = cells(&[
        ("record_id", "R-1"),
        ("surname_1", "Pérez"),
        ("surname_2", "de la Cruz"),
        ("given_names", "María Guadalupe"),
        ("birth_date", "1985-03-12"),
        ("sex", "mujer"),
        ("protection", "none"),
        ("holder_agency", "mx/fge-bc"),
    ]);
    row.extend(match name {
        "Person" => cells(&[("recorded_on", "2026-01-05"), ("standing", "imputado")]),
        "WantedPerson" => cells(&[
            ("issued_on", "2026-01-05"),
            ("warrant_no", "OA-17/2026"),
            ("warrant_status", "vigente"),
            ("issuing_authority", "Juzgado Primero"),
            ("offence", "Homicidio"),
            ("extradition", "international"),
        ]),
        "MissingPerson" => {
            cells(&[("reported_on", "2026-01-05"), ("folio", "F-17"), ("missing_status", "desaparecida")])
        }
        _ => cells(&[
            ("detained_at", "2026-01-05T10:00:00-08:00"),
            ("folio", "RND-17"),
            ("grounds", "flagrancia"),
            ("detention_status", "in-custody"),
            ("custody_agency", "mx/fge-bc"),
            ("place", "MX-02004"),
        ]),
    });
    row.extend(cells(change));
    row
}

const KINDS: [(&str, &str, &str); 4] = [
    ("person.index", "Person", "person"),
    ("person.wanted", "WantedPerson", "wanted"),
    ("person.missing", "MissingPerson", "missing"),
    ("person.detained", "Detention", "detention"),
];

#[test]
fn the_four_types_write_the_first_twenty_fields_alike() {
    let common = |name: &str| -> Vec<String> {
        let fields = record_type(name).fields().iter().filter(|field| field.number <= 20);
        let text = |field: &Field| {
            let codes = field.codes.as_ref().map(|codes| codes.name().to_owned());
            let Field { number, name, labels, marks, kind, validator, required, repeated, .. } = field;
            format!("{number} {name} {labels:?} {marks:?} {kind:?} {validator:?} {required} {repeated} {codes:?}")
        };
        fields.map(text).collect()
    };
    let first = common("Person");
    assert_eq!(first.len(), 20);
    for (_, name, _) in KINDS {
        assert_eq!(common(name), first, "{name}");
    }
}

fn published(name: &str, row: &BTreeMap<String, String>) -> Vec<MatchKey> {
    let record_type = record_type(name);
    let record = record_type.parse_row(row).unwrap_or_else(|e| panic!("{name}: {e:?}")).record;
    record_type.match_keys_of(&record).unwrap()
}

/// Name of the first key by which the question finds the record.
fn found(kind: &str, given: &[(&str, &str)], keys: &[MatchKey]) -> Option<String> {
    let kind = catalogue().query_kind(kind).unwrap();
    let params = kind.parse_params(&cells(given)).unwrap_or_else(|e| panic!("{e:?}"));
    kind.lookup_keys(&params).iter().find(|key| keys.contains(key)).map(|key| key.name.to_string())
}

fn ask<'a>(given: &'a str, one: &'a str, two: &'a str, birth: &'a str) -> [(&'static str, &'a str); 4] {
    [("given_names", given), ("surname_1", one), ("surname_2", two), ("birth_date", birth)]
}

#[test]
fn a_person_is_found_however_offices_write_the_name() {
    for (kind, name, prefix) in KINDS {
        let keys = published(name, &person(name, &[]));
        for (given, key) in [
            (ask("MARIA GUADALUPE", "PEREZ", "CRUZ", "1985-03-12"), "name"),
            (ask("maría guadalupe", "de Pérez", "De la Cruz", "1985-03-12"), "name"),
            (ask("Maria Guadalupe", "Cruz", "Perez", "1985-03-12"), "name_swapped"),
            (ask("Ma. Guadalupe", "Perez", "Cruz", "1985-03-12"), "name_first"),
            (ask("Guadalupe", "Perez", "Cruz", "1985-03-12"), "name_first"),
            (ask("Maria Guadalupe", "Perez", "Cruz", "1985-12-03"), "name_day_month"),
            (ask("Maria Guadalupe", "Perez", "", "1985-03-12"), "name_one"),
            (ask("Maria Guadalupe", "Cruz", "", "1985-03-12"), "name_other"),
            (ask("Maria Guadalupe", "Perez", "", "1985-12-03"), "name_one_day_month"),
        ] {
            assert_eq!(found(kind, &given, &keys), Some(format!("{prefix}.{key}")), "{kind} {given:?}");
        }
        for given in [
            ask("Maria Guadalupe", "Perez", "Cruz", "1985-03-13"),
            ask("Maria Guadalupe", "Peres", "Cruz", "1985-03-12"),
            ask("Rosa", "Perez", "Cruz", "1985-03-12"),
        ] {
            assert_eq!(found(kind, &given, &keys), None, "{kind} {given:?}");
        }
    }
}

#[test]
fn a_record_with_one_surname_is_found_by_either() {
    let keys = published("Person", &person("Person", &[("surname_1", "Cruz"), ("surname_2", "")]));
    let given = ask("Maria Guadalupe", "Perez", "Cruz", "1985-03-12");
    assert_eq!(found("person.index", &given, &keys).as_deref(), Some("person.name_one"));
}

#[test]
fn documents_and_aliases_find_too() {
    let row = person(
        "Person",
        &[
            ("curp", "MUXL900820MCHXXR02"),
            ("passport", "g12345678"),
            ("passport_country", "mx"),
            ("a_number", "A12345678"),
            ("clave_elector", "GRMRJN85031202H400"),
            ("aliases", "La Güera | Lupe"),
        ],
    );
    let keys = published("Person", &row);
    for (given, key) in [
        (vec![("curp", "muxl900820mchxxr02")], "person.curp"),
        (vec![("passport", "G-12345678"), ("passport_country", "MX")], "person.passport"),
        (vec![("a_number", "A-012345678")], "person.a_number"),
        (vec![("clave_elector", "GRMRJN85031202H400")], "person.clave_elector"),
        (vec![("alias", "guera"), ("birth_date", "1985-03-12")], "person.alias"),
    ] {
        assert_eq!(found("person.index", &given, &keys).as_deref(), Some(key));
    }
    let kind = catalogue().query_kind("person.index").unwrap();
    let errors = kind.parse_params(&cells(&[("surname_1", "Perez"), ("given_names", "Ana")])).unwrap_err();
    assert_eq!(errors[0].code(), "nothing-to-match", "a name without a date of birth is no key");
}

#[test]
fn juveniles_victims_and_protected_persons_are_never_in_an_index() {
    let hidden = |name: &str, change: &[(&str, &str)]| {
        let row = person(name, change);
        let parsed = record_type(name).parse_row(&row).unwrap();
        let warned = parsed.warnings.iter().any(|w| w.problem == Problem::NeverFound);
        let keys = record_type(name).match_keys_of(&parsed.record).unwrap();
        assert_eq!(warned, keys.is_empty(), "{name} {change:?}: whoever brings it in is told");
        keys.is_empty()
    };
    for name in ["Person", "WantedPerson", "Detention"] {
        assert!(!hidden(name, &[]));
        for protection in ["juvenile", "victim", "protected"] {
            assert!(hidden(name, &[("protection", protection)]), "{name} {protection}");
        }
        assert!(hidden(name, &[("birth_date", "2008-01-06")]), "{name}: seventeen, a day before eighteen");
        assert!(!hidden(name, &[("birth_date", "2008-01-05")]), "{name}: eighteen that day");
    }
    assert!(hidden("Detention", &[("birth_date", ""), ("age_years", "17")]));
    assert!(!hidden("Detention", &[("birth_date", ""), ("age_years", "18"), ("curp", "MUXL900820MCHXXR02")]));
    assert!(hidden("WantedPerson", &[("warrant_status", "cancelled")]));
    // Children are who a list of missing persons is for.
    assert!(!hidden("MissingPerson", &[("birth_date", "2018-01-06"), ("protection", "juvenile")]));
    assert!(hidden("MissingPerson", &[("protection", "protected")]));
}

#[test]
fn a_hidden_or_lapsed_record_is_passed_over_even_if_a_store_finds_it() {
    let kind = catalogue().query_kind("person.wanted").unwrap();
    let wanted = record_type("WantedPerson");
    let params = kind.parse_params(&cells(&ask("Maria Guadalupe", "Perez", "Cruz", "1985-03-12"))).unwrap();
    let asker: AgencyId = "us/tx-dps".parse().unwrap();
    let concerns = |change: &[(&str, &str)], day: u64| {
        let record = wanted.parse_row(&person("WantedPerson", change)).unwrap().record;
        let now = Millis(day * 86_400_000);
        kind.concerns(
            wanted,
            puente_model::Step::HitNoHit,
            record.bytes(),
            &params,
            &kind.lookup_keys(&params),
            &asker,
            now,
        )
        .unwrap()
    };
    let day = 20_500;
    assert_eq!(concerns(&[], day).unwrap().key.as_deref(), Some("wanted.name"));
    assert_eq!(concerns(&[("protection", "victim")], day), None);
    let end = Millis(day * 86_400_000).to_string();
    assert!(concerns(&[("expires_on", &end[..10])], day).is_some(), "to the end of that day");
    assert_eq!(concerns(&[("expires_on", &end[..10])], day + 1), None);
}

#[test]
fn m_alone_is_no_sex() {
    let errors = record_type("Person").parse_row(&person("Person", &[("sex", "M")])).unwrap_err();
    assert_eq!((errors[0].column.as_str(), errors[0].problem), ("sex", Problem::NotInList));
}

proptest! {
    #[test]
    fn both_orders_and_one_surname_always_meet(
        given in "[A-Z]{3,8}( [A-Z]{3,8})?", one in "(DE LA |DEL )?[A-ZÑÁ]{4,9}", two in "(DE |DE LOS )?[A-ZÑÉ]{4,9}",
        year in 1940_u32..2000, month in 1_u32..13, day in 1_u32..13,
    ) {
        let birth = format!("{year}-{month:02}-{day:02}");
        let change = [("given_names", given.as_str()), ("surname_1", &one), ("surname_2", &two), ("birth_date", &birth)];
        let keys = published("Person", &person("Person", &change));
        let swapped = format!("{year}-{day:02}-{month:02}");
        for question in [
            ask(&given, &one, &two, &birth),
            ask(&given, &two, &one, &birth),
            ask(&given, &one, "", &birth),
            ask(&given, &two, "", &birth),
            ask(&given, &one, &two, &swapped),
        ] {
            prop_assert!(found("person.index", &question, &keys).is_some(), "{:?}", question);
        }
        let distinct: BTreeSet<&MatchKey> = keys.iter().collect();
        prop_assert_eq!(distinct.len(), keys.len());
    }
}
