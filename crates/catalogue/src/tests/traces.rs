//! Plate reads and firearm traces: windows, duplicates, what is missing, whose results are whose.

use std::collections::BTreeMap;

use proptest::prelude::*;
use puente_model::{AgencyId, Millis, Step};

use super::{catalogue, cells, record_type};
use crate::schema::edit_distance;
use crate::{Match, Problem};

/// How the question concerns the record, if one of its keys finds it.
fn asks(
    kind: &str,
    given: &BTreeMap<String, String>,
    row: &BTreeMap<String, String>,
    asker: &str,
    now: &str,
) -> Option<Match> {
    let kind = catalogue().query_kind(kind).unwrap();
    let record_type = record_type(kind.record_type());
    let record = record_type.parse_row(row).unwrap_or_else(|e| panic!("{e:?}")).record;
    let params = kind.parse_params(given).unwrap_or_else(|e| panic!("{e:?}"));
    let keys = kind.lookup_keys(&params);
    let published = record_type.match_keys_of(&record).unwrap();
    if !keys.iter().any(|key| published.contains(key)) {
        return None;
    }
    let asker: AgencyId = asker.parse().unwrap();
    let now = crate::validate::instant_of(now).unwrap_or(Millis(0));
    kind.concerns(record_type, Step::HitNoHit, record.bytes(), &params, &keys, &asker, now).unwrap()
}

fn read(change: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut row = cells(&[
        ("read_id", "L-1"),
        ("plate", "ABC1230"),
        ("plate_jurisdiction", "US-TX"),
        ("read_at", "2026-03-02T23:30:00Z"),
        ("cell", "13RCR5812"),
        ("hot_list", "true"),
        ("verification", "unverified"),
        ("expires_at", "2026-04-01T00:00:00Z"),
        ("holder_agency", "us/tx-dps"),
    ]);
    row.extend(cells(change));
    row
}

fn window<'a>(plate: &'a str, from: &'a str, until: &'a str) -> BTreeMap<String, String> {
    cells(&[("plate", plate), ("plate_jurisdiction", "US-TX"), ("from", from), ("until", until)])
}

#[test]
fn plate_reads_are_found_inside_a_window_of_72_hours_and_until_they_lapse() {
    let row = read(&[]);
    let ask = |plate, from, until, now| asks("plate.reads", &window(plate, from, until), &row, "mx/fge-bc", now);
    let (from, until, now) = ("2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z");
    let key = |found: Option<Match>| found.and_then(|m| m.key).map(|k| k.to_string());
    assert_eq!(key(ask("ABC1230", from, until, now)).as_deref(), Some("plate_read.plate"));
    assert_eq!(key(ask("A8C123O", from, until, now)).as_deref(), Some("plate_read.plate_ocr"));
    assert_eq!(ask("ABC1230", from, "2026-03-02T23:29:59Z", now), None, "the same day, after the window");
    assert_eq!(ask("ABC1230", from, until, "2026-04-01T00:00:00Z"), None, "it lapsed");
    let mut elsewhere = window("ABC1230", from, until);
    elsewhere.insert("cell".to_owned(), "13RCR5813".to_owned());
    assert_eq!(asks("plate.reads", &elsewhere, &row, "mx/fge-bc", now), None);
    let kind = catalogue().query_kind("plate.reads").unwrap();
    for (from, until) in
        [("2026-03-01T00:00:00Z", "2026-03-04T00:00:00.001Z"), ("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z")]
    {
        let errors = kind.parse_params(&window("ABC1230", from, until)).unwrap_err();
        assert_eq!((errors[0].column.as_str(), errors[0].problem), ("until", Problem::BadWindow));
    }
    assert!(kind.parse_params(&window("ABC1230", "2026-03-01T00:00:00Z", "2026-03-04T00:00:00Z")).is_ok());
    assert!(kind.parse_params(&cells(&[("plate", "ABC1230")])).is_err(), "a question without a window");
    assert!(kind.states_order(["plate", "court_order"].into_iter()) && !kind.states_order(["plate"].into_iter()));
}

#[test]
fn a_plate_on_no_hot_list_gives_no_hit_and_is_gone_after_thirty_days_whatever_it_says() {
    let (from, until) = ("2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z");
    let params = window("ABC1230", from, until);
    let kind = catalogue().query_kind("plate.reads").unwrap();
    let found = |step: Step, change: &[(&str, &str)], now: &str| {
        let row = read(&[&[("expires_at", "2099-01-01T00:00:00Z")], change].concat());
        let record = record_type("PlateRead").parse_row(&row).unwrap().record;
        let params = kind.parse_params(&params).unwrap();
        let keys = kind.lookup_keys(&params);
        let (asker, now) = ("mx/fge-bc".parse().unwrap(), crate::validate::instant_of(now).unwrap());
        kind.concerns(record_type("PlateRead"), step, record.bytes(), &params, &keys, &asker, now).unwrap().is_some()
    };
    let (soon, last, after) = ("2026-03-04T00:00:00Z", "2026-04-01T23:30:00Z", "2026-04-01T23:30:00.001Z");
    for other in [&[("hot_list", "")][..], &[("hot_list", "no")]] {
        assert!(!found(Step::HitNoHit, other, soon), "step 1 says no more than that it is on a hot list");
        assert!(found(Step::CoreData, other, soon) && found(Step::CoreData, other, last));
        assert!(!found(Step::CoreData, other, after), "thirty days have passed");
    }
    assert!(found(Step::HitNoHit, &[], soon) && found(Step::CoreData, &[], "2026-09-01T00:00:00Z"));
}

#[test]
fn a_plate_read_is_due_after_thirty_days_or_when_it_says_so_whichever_is_first() {
    let due = |change: &[(&str, &str)]| {
        let row = read(&[&[("expires_at", "2099-01-01T00:00:00Z"), ("hot_list", "no")], change].concat());
        let kind = record_type("PlateRead");
        kind.due_at(kind.parse_row(&row).unwrap().record.bytes()).unwrap().map(|at| at.to_string())
    };
    assert_eq!(due(&[]).as_deref(), Some("2026-04-01T23:30:00.001Z"));
    let early = "2026-03-20T00:00:00.000Z";
    assert_eq!(due(&[("expires_at", early)]).as_deref(), Some(early));
    // On a hot list it is kept as long as it says, and not for ever.
    assert_eq!(due(&[("hot_list", "yes")]).as_deref(), Some("2099-01-01T00:00:00.000Z"));
    let when = |name: &str| record_type(name).erased_when();
    let said = "expires_at,read_at+30d!hot_list=true";
    assert_eq!(when("PlateRead").as_deref(), Some(said));
    assert_eq!(when("Seizure").as_deref(), Some("date+3653d"), "ten years, leap days and all");
    // A warrant that has lapsed holds no more; nobody said that it is not kept.
    assert_eq!(when("WantedPerson"), None);
}

fn request(change: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut row = cells(&[
        ("request_id", "BC-T-1"),
        ("request_date", "2026-03-01"),
        ("priority", "routine"),
        ("crime_code", "0999"),
        ("requesting_agency", "mx/fge-bc"),
        ("serial", "ABC12345"),
        ("make", "Glock"),
        ("type", "pistol"),
        ("calibre", "9mm"),
        ("model", "17"),
        ("country_of_manufacture", "AT"),
        ("importer", "GLOCK INC"),
    ]);
    row.extend(cells(change));
    row
}

#[test]
fn an_incomplete_request_is_not_sent_and_says_what_is_missing() {
    let kind = catalogue().query_kind("firearm.trace.submit").unwrap();
    let missing = |change: &[(&str, &str)]| {
        let errors = kind.parse_params(&request(change)).err().unwrap_or_default();
        assert!(errors.iter().all(|e| e.problem == Problem::Missing), "{errors:?}");
        errors.into_iter().map(|e| e.column).collect::<Vec<_>>()
    };
    assert!(missing(&[]).is_empty());
    assert_eq!(missing(&[("importer", ""), ("crime_code", ""), ("model", "")]), ["crime_code", "model", "importer"]);
    assert_eq!(missing(&[("priority", "urgent")]), ["justification"]);
    assert_eq!(missing(&[("serial", ""), ("serial_status", "readable")]), ["serial"]);
    assert!(missing(&[("serial", "obliterated")]).is_empty(), "a matter of its own, with nothing to look up");
}

#[test]
fn a_duplicate_is_one_character_and_thirty_days_away_and_no_more() {
    let own = request(&[("request_id", "FGR-9"), ("requesting_agency", "mx/fgr")]);
    let duplicate = |change: &[(&str, &str)]| {
        asks("firearm.trace.submit", &request(change), &own, "mx/fge-bc", "2026-03-05T00:00:00Z").is_some()
    };
    assert!(duplicate(&[]));
    assert!(duplicate(&[("serial", "ABC12346")]), "another digit");
    assert!(duplicate(&[("serial", "ABC1234")]), "one digit lost");
    assert!(duplicate(&[("serial", "ABC123345")]), "one digit twice");
    assert!(!duplicate(&[("serial", "ABC12354")]), "two digits changed places");
    assert!(duplicate(&[("request_date", "2026-03-31")]));
    assert!(!duplicate(&[("request_date", "2026-04-01")]));
    assert!(!duplicate(&[("make", "Colt")]));
    assert!(!duplicate(&[("request_id", "FGR-9")]), "the same request again, completed");
    assert!(catalogue().query_kind("firearm.trace.submit").unwrap().finds_duplicates());
}

#[test]
fn results_are_found_by_who_asked_for_them_alone_and_say_what_is_missing() {
    let result = |change: &[(&str, &str)]| {
        let mut row = cells(&[
            ("trace_no", "T-2026-1"),
            ("request_id", "BC-T-1"),
            ("requesting_agency", "mx/fge-bc"),
            ("trace_status", "open"),
        ]);
        row.extend(cells(change));
        row
    };
    let given = cells(&[("request_id", "bc-t-1")]);
    let ask = |row, asker| asks("firearm.trace.result", &given, &row, asker, "2026-03-05T00:00:00Z");
    assert_eq!(ask(result(&[]), "mx/fge-bc").unwrap().pending, None);
    assert_eq!(ask(result(&[]), "mx/fgr"), None, "another agency's");
    let waiting = result(&[("trace_status", "pending-data"), ("missing_fields", "importer|model")]);
    let owed = vec!["importer".to_owned(), "model".to_owned()];
    assert_eq!(ask(waiting, "mx/fge-bc").unwrap().pending, Some(owed));
    let errors = record_type("TraceResult").parse_row(&result(&[("trace_status", "closed")])).unwrap_err();
    assert_eq!(errors.iter().map(|e| e.column.as_str()).collect::<Vec<_>>(), ["disposition", "closed_on"]);
}

proptest! {
    #[test]
    fn requests_are_duplicates_exactly_at_edit_distance_one(a in "[AB1]{2,6}", b in "[AB1]{2,6}") {
        let own = request(&[("request_id", "FGR-9"), ("serial", &a)]);
        let found = asks("firearm.trace.submit", &request(&[("serial", &b)]), &own, "mx/fge-bc", "2026-03-05T00:00:00Z");
        prop_assert_eq!(found.is_some(), edit_distance(&a, &b) <= 1, "{} {}", a, b);
    }
}
