use std::collections::BTreeSet;

use super::{catalogue, cells, firearm, record_type, vehicle};
use crate::{Lang, Params, QueryKindSpec};

fn kind(name: &str) -> &'static QueryKindSpec {
    catalogue().query_kind(name).unwrap()
}

fn params(name: &str, given: &[(&str, &str)]) -> Params {
    kind(name).parse_params(&cells(given)).unwrap()
}

/// Whether the question finds the record.
fn finds(name: &str, given: &[(&str, &str)], row: &std::collections::BTreeMap<String, String>) -> bool {
    let record_type = record_type(kind(name).record_type());
    let record = record_type.parse_row(row).unwrap().record;
    let published: BTreeSet<_> = record_type.match_keys_of(&record).unwrap().into_iter().collect();
    kind(name).lookup_keys(&params(name, given)).iter().any(|key| published.contains(key))
}

#[test]
fn a_vehicle_is_found_by_vin_and_by_plate() {
    let row = vehicle(&[]);
    assert!(finds("vehicle.status", &[("vin", "1m8gdm9axkp042788")], &row));
    assert!(!finds("vehicle.status", &[("vin", "1GNSKBKC4FR000004")], &row));
    assert!(finds("plate.status", &[("plate", "BXR 4821"), ("plate_jurisdiction", "US-TX")], &row));
    assert!(finds("plate.status", &[("plate", "BXR 4821")], &row), "the jurisdiction may be unknown");
    assert!(finds("plate.status", &[("plate", "8XR4B2I"), ("plate_jurisdiction", "US-TX")], &row), "as a camera reads");
    assert!(!finds("plate.status", &[("plate", "BXR4821"), ("plate_jurisdiction", "US-CA")], &row));
}

#[test]
fn a_firearm_is_found_by_what_is_written_on_it() {
    let row = firearm(&[]);
    let ask = |serial, calibre| [("serial", serial), ("make", "smith and wesson"), ("calibre", calibre)];
    assert!(finds("firearm.status", &ask("ABC 12345", "9mm"), &row));
    assert!(!finds("firearm.status", &ask("ABC12345", "9mm corto"), &row), ".380 is not 9x19");
    assert!(finds("firearm.status", &ask("ABC12345", ""), &row), "the calibre may be unknown");
    assert!(finds("firearm.status", &ask("ABC12?45", "9mm"), &row), "one unreadable character");
    assert!(!finds("firearm.status", &ask("ABC12346", "9mm"), &row), "another firearm");
    let partial = firearm(&[("serial", "ABC12?45")]);
    assert!(finds("firearm.status", &ask("ABC12345", "9mm"), &partial));
    assert!(finds("firearm.status", &ask("ABC12?45", "9mm"), &partial));
    let comparable = firearm(&[("calibre", ".223")]);
    assert!(finds("firearm.status", &ask("ABC12345", "5.56 NATO"), &comparable));
    let restored = firearm(&[("serial_status", "restored")]);
    assert!(finds("firearm.status", &ask("ABC12345", "9mm"), &restored));
}

#[test]
fn a_seizure_is_found_by_what_agencies_share_and_a_published_figure_is_no_seizure() {
    let row = cells(&[
        ("seizure_id", "BC-S-1"),
        ("joint_seizure_id", "TJ-2026-0007"),
        ("agencies", "mx/fge-bc | us/cbp-ofo"),
        ("date", "2026-03-01"),
        ("place", "MX-02004"),
        ("port_or_sector", "Otay Mesa"),
        ("commodity_class", "droga"),
        ("dockets", "CP 17/2026 | CP 18/2026"),
    ]);
    assert!(finds("seizure.search", &[("joint_seizure_id", "tj 2026-0007")], &row));
    assert!(finds("seizure.search", &[("docket", "CP18/2026")], &row), "any of its dockets");
    assert!(!finds("seizure.search", &[("docket", "CP19/2026")], &row));
    let link = |date, place| [("date", date), ("place", place), ("commodity_class", "drug")];
    assert!(finds("seizure.link", &link("2026-03-01", "MX-02004"), &row));
    assert!(!finds("seizure.link", &link("2026-03-02", "MX-02004"), &row));
    let port = [("date", "2026-03-01"), ("port_or_sector", "OTAY-MESA"), ("commodity_class", "drug")];
    assert!(finds("seizure.link", &port, &row));
    let published: std::collections::BTreeMap<_, _> =
        row.into_iter().chain(cells(&[("date_precision", "month")])).collect();
    assert!(!finds("seizure.link", &port, &published), "a month's figure is not that day's seizure");
}

#[test]
fn a_question_that_could_match_nothing_is_not_sent() {
    let refused = |name: &str, given: &[(&str, &str)]| {
        let errors = kind(name).parse_params(&cells(given)).unwrap_err();
        (errors[0].column.clone(), errors[0].code())
    };
    assert_eq!(refused("vehicle.status", &[]), ("vin".to_owned(), "missing"));
    assert_eq!(refused("vehicle.status", &[("vin", "1M8GDM9A1KP042788")]), ("vin".to_owned(), "check-digit"));
    assert_eq!(refused("vehicle.status", &[("vim", "x")]).1, "unknown-column");
    let obliterated = [("serial", "obliterated"), ("make", "Colt")];
    assert_eq!(refused("firearm.status", &obliterated).0, "serial");
    let two_gaps = [("serial", "A??123"), ("make", "Colt")];
    assert_eq!(refused("firearm.status", &two_gaps), ("serial".to_owned(), "nothing-to-match"));
}

#[test]
fn parameters_travel_in_one_form_only() {
    let plate = kind("plate.status");
    let ours = params("plate.status", &[("plate", "bxr-4821"), ("plate_jurisdiction", "us-tx")]);
    let pairs: Vec<(&str, &str)> = ours.pairs().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("plate", "BXR4821"), ("plate_jurisdiction", "US-TX")]);
    assert_eq!(plate.params_from_pairs(ours.pairs()).unwrap(), ours);
    let refuse = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        plate.params_from_pairs(&pairs).unwrap_err()[0].code()
    };
    assert_eq!(refuse(&[("plate", "bxr4821")]), "not-normalised");
    assert_eq!(refuse(&[("plate", "BXR4821 ")]), "not-normalised");
    assert_eq!(refuse(&[("LIC", "BXR4821")]), "not-normalised", "only a parameter's own name travels");
    assert_eq!(refuse(&[("plate_jurisdiction", "US-TX"), ("plate", "BXR4821")]), "not-normalised");
    assert_eq!(refuse(&[("plate", "BXR4821"), ("plate", "BXR4821")]), "not-normalised");
    assert_eq!(refuse(&[("plate", "BXR4821"), ("plate_jurisdiction", "")]), "not-normalised");
    assert_eq!(refuse(&[("colour", "RED"), ("plate", "BXR4821")]), "unknown-column");
    assert_eq!(refuse(&[]), "missing");
    assert_eq!(refuse(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")]), "not-normalised");
    assert!(!format!("{ours:?}").contains("BXR"), "{ours:?}");
}

#[test]
fn an_override_travels_with_the_question() {
    let spec = kind("vehicle.status");
    let ours = params("vehicle.status", &[("vin", "1M8GDM9A1KP042788"), ("vin.override", "read from the frame")]);
    assert_eq!(ours.overrides().len(), 1);
    assert_eq!(ours.get("vin.override"), Some("read from the frame"));
    assert_eq!(spec.params_from_pairs(ours.pairs()).unwrap(), ours);
    assert!(!format!("{ours:?}").contains("frame"));
    // Without it the holder refuses; one that is not needed is not in the only form.
    assert_eq!(spec.params_from_pairs(&ours.pairs()[..1]).unwrap_err()[0].code(), "check-digit");
    let needless = [("vin", "1M8GDM9AXKP042788"), ("vin.override", "just in case")];
    let pairs: Vec<_> = needless.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(spec.params_from_pairs(&pairs).unwrap_err()[0].code(), "not-normalised");
}

#[test]
fn parameters_take_after_the_fields_they_mean() {
    let serial = &kind("firearm.status").params()[0];
    assert!(serial.marks.identifying && serial.required);
    assert_eq!(serial.labels.get(Lang::Es), "Matrícula");
    let ours = params("firearm.status", &[("serial", "1"), ("make", "hk"), ("calibre", "5.56")]);
    let rows = kind("firearm.status").rows(&ours, Lang::En);
    assert_eq!(rows[1], ("Make".to_owned(), "HECKLER & KOCH".to_owned()));
    assert_eq!(rows[2], ("Calibre".to_owned(), "5.56x45 mm NATO".to_owned()));
}
