use puente_model::limits::FIELD_BYTES_MAX;

use super::{cells, firearm, record_type, vehicle};
use crate::{DecodeError, FieldMask, Lang, Problem, Record};

fn text_of(type_name: &str, record: &Record, path: &str) -> Option<String> {
    let leaves = record_type(type_name).leaves(record.bytes()).unwrap();
    leaves.into_iter().find(|l| l.path == path).map(|l| String::from_utf8(l.value).unwrap())
}

fn problems(type_name: &str, row: &[(&str, &str)]) -> Vec<(String, &'static str)> {
    let base = if type_name == "Vehicle" { vehicle(row) } else { firearm(row) };
    let errors = record_type(type_name).parse_row(&base).unwrap_err();
    errors.into_iter().map(|e| (e.column.clone(), e.code())).collect()
}

#[test]
fn a_row_becomes_a_record_in_normal_form() {
    let parsed = record_type("Vehicle").parse_row(&vehicle(&[])).unwrap();
    assert!(parsed.warnings.is_empty() && parsed.overrides.is_empty());
    let get = |path: &str| text_of("Vehicle", &parsed.record, path);
    assert_eq!(get("vehicle/plate").as_deref(), Some("BXR4821"));
    assert_eq!(get("vehicle/make").as_deref(), Some("CHEVROLET"));
    assert_eq!(get("vehicle/model_year").as_deref(), Some("1989"));
    assert_eq!(get("vehicle/status").as_deref(), Some("active"));
    assert_eq!(get("vehicle/colour"), None);

    let parsed = record_type("Firearm").parse_row(&firearm(&[])).unwrap();
    let get = |path: &str| text_of("Firearm", &parsed.record, path);
    assert_eq!(get("firearm/serial").as_deref(), Some("ABC12345"));
    assert_eq!(get("firearm/serial_status").as_deref(), Some("readable"));
    assert_eq!(get("firearm/make").as_deref(), Some("SMITH & WESSON"));
    assert_eq!(get("firearm/calibre").as_deref(), Some("9X19"));
    assert_eq!(get("firearm/traced").as_deref(), Some("false"), "an answer 'no' is not an absent answer");
    assert_eq!(get("firearm/automatic"), None);
    assert_eq!(get("firearm/extra_marks/001").as_deref(), Some("import stamp"));
}

#[test]
fn columns_may_be_named_as_forms_name_them() {
    let row = cells(&[("NIV", "1M8GDM9AXKP042788"), ("Estado", "Robo vigente"), ("ORI", "TX2270100")]);
    let parsed = record_type("Vehicle").parse_row(&row).unwrap();
    assert_eq!(text_of("Vehicle", &parsed.record, "vehicle/status").as_deref(), Some("active"));
}

#[test]
fn bad_rows_say_which_column_and_how_to_mend_it() {
    let wrong = |row: &[(&str, &str)], column: &str, code: &'static str| {
        assert_eq!(problems("Vehicle", row), [(column.to_owned(), code)]);
    };
    wrong(&[("vin", "1M8GDM9A1KP042788")], "vin", "check-digit");
    wrong(&[("status", "gone")], "status", "not-in-list");
    wrong(&[("status", "")], "status", "missing");
    wrong(&[("model_year", "1.5")], "model_year", "not-a-number");
    wrong(&[("model_year", "1885")], "model_year", "out-of-range");
    wrong(&[("plate_jurisdiction", "")], "plate_jurisdiction", "missing");
    wrong(&[("VIN", "1M8GDM9AXKP042788")], "vin", "duplicate-column");
    wrong(&[("remarks", "a\u{1b}b")], "remarks", "control-character");
    wrong(&[("remarks", &"x".repeat(FIELD_BYTES_MAX + 1))], "remarks", "too-long");

    let errors = record_type("Vehicle").parse_row(&vehicle(&[("palte", "X")])).unwrap_err();
    assert_eq!(errors[0].to_string(), "column 'palte': no such column (did you mean 'plate'?); rename or remove it");
    assert!(errors[0].message(Lang::Es).starts_with("no existe"));
    let errors = record_type("Vehicle").parse_row(&vehicle(&[("status", "gone")])).unwrap_err();
    assert_eq!(errors[0].detail, "active, located, cleared, cancelled");
    // Every flaw of a row is reported at once, and no value of the row is repeated.
    let errors = record_type("Vehicle").parse_row(&vehicle(&[("vin", "SECRETVALUE"), ("status", "gone")])).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(!format!("{errors:?}").contains("SECRET"));
}

#[test]
fn an_override_needs_a_reason_and_is_never_silent() {
    let bad = ("vin", "1M8GDM9A1KP042788");
    let parsed = record_type("Vehicle")
        .parse_row(&vehicle(&[bad, ("vin.override", "restamped frame, seen by examiner")]))
        .unwrap();
    assert_eq!(text_of("Vehicle", &parsed.record, "vehicle/vin").as_deref(), Some("1M8GDM9A1KP042788"));
    assert_eq!(parsed.overrides.len(), 1);
    assert_eq!((parsed.overrides[0].field.as_str(), parsed.overrides[0].problem), ("vin", Problem::CheckDigit));
    assert_eq!(parsed.overrides[0].reason, "restamped frame, seen by examiner");
    // No reason, no exception; and what is not a check digit cannot be overridden.
    assert_eq!(problems("Vehicle", &[bad, ("vin.override", "ok")])[0].1, "bad-override");
    assert_eq!(problems("Vehicle", &[bad, ("vin.override", "  ")])[0].1, "check-digit");
    let short = [("vin", "1M8GDM9A1KP04278"), ("vin.override", "restamped frame")];
    assert_eq!(problems("Vehicle", &short), [("vin".to_owned(), "bad-length")]);
    // One that is not needed is said so and not recorded.
    let parsed = record_type("Vehicle").parse_row(&vehicle(&[("vin.override", "no need at all")])).unwrap();
    assert!(parsed.overrides.is_empty());
    assert_eq!(parsed.warnings[0].problem, Problem::BadOverride);
}

#[test]
fn an_obliterated_serial_is_a_state_and_is_never_matched() {
    let firearm_type = record_type("Firearm");
    for row in [
        firearm(&[("serial", "OBLITERATED")]),
        firearm(&[("serial", ""), ("serial_status", "obliterated")]),
        firearm(&[("serial", "S/N")]),
        firearm(&[("serial", ""), ("serial_status", "sin número")]),
    ] {
        let parsed = firearm_type.parse_row(&row).unwrap();
        assert_eq!(text_of("Firearm", &parsed.record, "firearm/serial"), None);
        assert_eq!(firearm_type.match_keys_of(&parsed.record).unwrap(), []);
    }
    assert_eq!(problems("Firearm", &[("serial_status", "obliterated")]), [("serial".to_owned(), "state-conflict")]);
    assert_eq!(
        problems("Firearm", &[("serial", "AB?123"), ("serial_status", "readable")]),
        [("serial".to_owned(), "state-conflict")]
    );
    assert_eq!(problems("Firearm", &[("serial", "")]), [("serial_status".to_owned(), "missing")]);
}

#[test]
fn masking_drops_fields_and_keeps_the_rest_canonical() {
    let vehicle_type = record_type("Vehicle");
    let record = vehicle_type.parse_row(&vehicle(&[])).unwrap().record;
    let allowed = vehicle_type.mask_of(["vin", "status", "theft_date"]).unwrap();
    let masked = vehicle_type.mask(record.bytes(), allowed).unwrap();
    let paths: Vec<String> = vehicle_type.leaves(&masked).unwrap().into_iter().map(|l| l.path).collect();
    assert_eq!(paths, ["vehicle/status", "vehicle/theft_date", "vehicle/vin"]);
    assert_eq!(vehicle_type.present(&masked).unwrap(), allowed);
    assert_eq!(Record::decode(vehicle_type, &masked).unwrap().bytes(), masked);
    assert!(vehicle_type.mask(record.bytes(), FieldMask::EMPTY).unwrap().is_empty());
    assert_eq!(vehicle_type.mask(record.bytes(), vehicle_type.all_fields()).unwrap(), record.bytes());
    assert!(vehicle_type.mask(&record.bytes()[..record.bytes().len() - 1], allowed).is_err());
}

#[test]
fn people_read_rows_in_their_language() {
    let firearm_type = record_type("Firearm");
    let record = firearm_type.parse_row(&firearm(&[])).unwrap().record;
    let show = |lang| {
        let rows = firearm_type.rows(record.bytes(), lang).unwrap();
        rows.into_iter().map(|r| format!("{}: {}", r.label, r.value)).collect::<Vec<_>>()
    };
    let (en, es) = (show(Lang::En), show(Lang::Es));
    assert!(en.contains(&"Calibre: 9x19 mm Parabellum".to_owned()), "{en:?}");
    assert!(en.contains(&"Barrel length: 102 mm".to_owned()), "{en:?}");
    assert!(en.contains(&"Trace requested: no".to_owned()), "{en:?}");
    assert!(es.contains(&"Tipo: pistola".to_owned()), "{es:?}");
    assert!(es.contains(&"Situación: asegurada".to_owned()), "{es:?}");
}

#[test]
fn debug_output_shows_no_content() {
    let vehicle_type = record_type("Vehicle");
    let parsed = vehicle_type.parse_row(&vehicle(&[])).unwrap();
    let bytes = parsed.record.bytes();
    let shown = format!(
        "{parsed:?} {:?} {:?} {:?}",
        vehicle_type.match_keys_of(&parsed.record).unwrap(),
        vehicle_type.leaves(bytes).unwrap(),
        vehicle_type.rows(bytes, Lang::En).unwrap(),
    );
    for secret in ["1M8GDM9AXKP042788", "BXR4821", "SYNTHETIC"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn hostile_records_get_their_own_errors() {
    let vehicle_type = record_type("Vehicle");
    let refuse = |bytes: &[u8]| Record::decode(vehicle_type, bytes).unwrap_err();
    assert_eq!(refuse(&[0x0a, 0]), DecodeError::BadValue(1), "an empty text is an absent text");
    assert_eq!(refuse(&[0x0a, 1, 0xff]), DecodeError::BadText(1));
    assert_eq!(refuse(&[0x0a, 2, 0x1b, b'c']), DecodeError::BadText(1));
    assert_eq!(refuse(&[0x0a, 1, b'A', 0x0a, 1, b'A']), DecodeError::NotCanonical(1));
    assert_eq!(refuse(&[0x08, 1]), DecodeError::WrongType(1));
    assert_eq!(refuse(&[0x38, 0]), DecodeError::BadValue(7));
    assert_eq!(refuse(&[0x38, 1]), DecodeError::BadValue(7), "outside its bounds");
    assert_eq!(refuse(&[0x50, 9]), DecodeError::BadValue(10), "not a code of its list");
    assert_eq!(refuse(&[0x50, 0]), DecodeError::BadValue(10));
    assert_eq!(refuse(&[0xf8, 0x07, 1]), DecodeError::UnknownField(127));
    let long = [vec![0xb2, 0x01, 0x81, 0x20], vec![b'a'; FIELD_BYTES_MAX + 1]].concat();
    assert_eq!(refuse(&long), DecodeError::BadValue(22));
    // Lines are kept where the field is a narrative, nowhere else.
    assert!(Record::decode(vehicle_type, &[0xb2, 0x01, 3, b'a', b'\n', b'b']).is_ok());
    assert_eq!(refuse(&[0x0a, 3, b'a', b'\n', b'b']), DecodeError::BadText(1));
    // A bool is 0 or 1; here 0 is an answer.
    let firearm_type = record_type("Firearm");
    assert!(Record::decode(firearm_type, &[0x60, 0]).is_ok());
    assert_eq!(Record::decode(firearm_type, &[0x60, 2]).unwrap_err(), DecodeError::BadValue(12));
    let many = [0x6a, 1, b'a'].repeat(crate::REPEATED_VALUES_MAX + 1);
    assert_eq!(Record::decode(firearm_type, &many).unwrap_err(), DecodeError::NotCanonical(13));
}

#[test]
fn a_row_of_nonsense_columns_is_cheap_to_refuse() {
    let row = (0..10_000).map(|i| (format!("column {i}"), "x".to_owned())).collect();
    let errors = record_type("Vehicle").parse_row(&row).unwrap_err();
    assert!(errors.len() <= crate::BAD_COLUMNS_PER_ROW_MAX + record_type("Vehicle").fields().len());
}
