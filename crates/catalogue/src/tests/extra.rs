//! Adding a record type is adding a `.proto` file, and nothing else.

use puente_model::Step;

use super::cells;
use crate::{Catalogue, CatalogueError, Lang, Record};

const VESSEL: &str = r#"
syntax = "proto3";
package agency.v1;
import "puente/v1/catalogue_options.proto";

message OutboardMotor {
  option (puente.v1.record) = {
    name: "OutboardMotor"
    label_en: "Outboard motor" label_es: "Motor fuera de borda"
    match_keys: { name: "motor.serial_make" fields: "serial" fields: "make" form: KEY_FORM_ALNUM }
    match_keys: { name: "motor.hull" fields: "hulls" form: KEY_FORM_EXACT }
    step2_fields: "serial" step2_fields: "make" step2_fields: "power" step2_fields: "status"
  };
  string serial = 2 [(puente.v1.field) = { label_en: "Serial" label_es: "Serie" validator: "reference" required: true identifying: true }];
  string make = 5 [(puente.v1.field) = { label_en: "Make" label_es: "Marca" validator: "name" required: true }];
  int32 power = 3 [(puente.v1.field) = { label_en: "Power" label_es: "Potencia" unit: "kW" min: -1 max: 1000 }];
  repeated string hulls = 9 [(puente.v1.field) = { label_en: "Hulls" label_es: "Cascos" validator: "reference" identifying: true }];
  MotorStatus status = 1 [(puente.v1.field) = { label_en: "Status" label_es: "Estado" required: true }];
  string finder = 127 [(puente.v1.field) = { label_en: "Finder" label_es: "Hallador" validator: "name" source_revealing: true }];
}
enum MotorStatus { MOTOR_STATUS_UNSPECIFIED = 0; MOTOR_STATUS_STOLEN = 1; MOTOR_STATUS_FOUND = 2; }

message MotorStatusQuery {
  option (puente.v1.query) = {
    kind: "motor.status" label_en: "Motor status" label_es: "Situación de un motor" record_type: "OutboardMotor"
    lookups: { key: "motor.serial_make" }
    steps: { step: 1 } steps: { step: 2 fields: "status" }
  };
  string serial = 1 [(puente.v1.field) = { of: "serial" required: true }];
  string make = 2 [(puente.v1.field) = { of: "make" required: true }];
}
"#;

fn compile(text: &str) -> Result<Catalogue, CatalogueError> {
    Catalogue::compile(&[("agency/v1/vessel.proto".to_owned(), text.to_owned())])
}

#[test]
fn a_proto_file_alone_adds_a_record_type_from_import_to_answer() {
    let catalogue = compile(VESSEL).unwrap();
    let motor = catalogue.record_type("OutboardMotor").unwrap();

    // Import.
    let row = cells(&[
        ("Serie", "om-77 12"),
        ("make", "Yamaha"),
        ("power", "85"),
        ("hulls", "H1|H2"),
        ("status", "stolen"),
        ("finder", "someone"),
    ]);
    let parsed = motor.parse_row(&row).unwrap();
    assert_eq!(Record::decode(motor, parsed.record.bytes()).unwrap(), parsed.record);
    let leaves = motor.leaves(parsed.record.bytes()).unwrap();
    let shown: Vec<(&str, &str)> =
        leaves.iter().map(|l| (l.path.as_str(), std::str::from_utf8(&l.value).unwrap())).collect();
    assert_eq!(
        shown,
        [
            ("outboard_motor/finder", "SOMEONE"),
            ("outboard_motor/hulls/000", "H1"),
            ("outboard_motor/hulls/001", "H2"),
            ("outboard_motor/make", "YAMAHA"),
            ("outboard_motor/power", "85"),
            ("outboard_motor/serial", "OM-77 12"),
            ("outboard_motor/status", "stolen"),
        ]
    );
    assert_eq!(
        motor.parse_row(&cells(&[("serial", "1"), ("make", "x"), ("status", "sunk")])).unwrap_err()[0].detail,
        "stolen, found"
    );

    // Question.
    let kind = catalogue.query_kind("motor.status").unwrap();
    let params = kind.parse_params(&cells(&[("serial", "OM7712"), ("make", "yamaha")])).unwrap();
    let params = kind.params_from_pairs(params.pairs()).unwrap();
    let keys = motor.match_keys_of(&parsed.record).unwrap();
    assert_eq!(keys.len(), 3);
    assert!(kind.lookup_keys(&params).iter().all(|k| keys.contains(k)));

    // Answer.
    let mask = kind.step(Step::CoreData).unwrap().default_mask;
    let released = motor.mask(parsed.record.bytes(), mask).unwrap();
    let rows = motor.rows(&released, Lang::En).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].label.as_str(), rows[0].value.as_str()), ("Status", "stolen"));
    let usual = motor.default_mask(Step::CoreData);
    assert_eq!(motor.names_of(usual), ["status", "serial", "power", "make"]);
    let rows = motor.rows(&motor.mask(parsed.record.bytes(), usual).unwrap(), Lang::Es).unwrap();
    assert!(rows.iter().any(|r| r.label == "Potencia" && r.value == "85 kW"));
}

#[test]
fn signed_numbers_round_trip() {
    let catalogue = compile(VESSEL).unwrap();
    let motor = catalogue.record_type("OutboardMotor").unwrap();
    let row = cells(&[("serial", "1"), ("make", "x"), ("status", "found"), ("power", "-1")]);
    let record = motor.parse_row(&row).unwrap().record;
    assert!(motor.leaves(record.bytes()).unwrap().iter().any(|l| l.value == b"-1"));
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_a_mend() {
    let line_of = |needle: &str| VESSEL.lines().position(|l| l.contains(needle)).map(|l| l as u32 + 1);
    let check = |from: &str, to: &str, line: &str, message: &str| {
        assert!(VESSEL.contains(from), "{from}");
        let error = compile(&VESSEL.replace(from, to)).unwrap_err();
        assert_eq!(error.file, "agency/v1/vessel.proto");
        assert!(error.message.contains(message), "{error}");
        assert_eq!(error.line, line_of(line), "{error}");
        assert!(!error.mend.is_empty());
    };
    check("string serial = 2", "strin serial = 2", "string serial = 2", "strin");
    check("package agency.v1;", "package agency.v1", "import", "expected");
    check("unit: \"kW\"", "units: \"kW\"", "int32 power", "FieldMark");
    check(
        "validator: \"reference\" required",
        "validator: \"ref\" required",
        "string serial = 2",
        "no validator 'ref'",
    );
    check("int32 power", "double power", "int32 power", "flat");
    check("finder = 127", "finder = 128", "string finder", "too large");
    check("label_en: \"Finder\"", "", "string finder", "label");
    check("fields: \"hulls\"", "fields: \"hull\"", "message OutboardMotor", "no field 'hull'");
    check("step2_fields: \"serial\"", "step2_fields: \"serail\"", "message OutboardMotor", "no field 'serail'");
    check("name: \"OutboardMotor\"", "name: \"Vehicle\"", "message OutboardMotor", "two record types");
    check("name: \"motor.hull\"", "name: \"vehicle.vin\"", "message OutboardMotor", "vehicle.vin");
    check("form: KEY_FORM_EXACT", "", "message OutboardMotor", "no form");
    check("of: \"serial\"", "of: \"serie\"", "string serial = 1", "no field 'serie'");
    check(
        "of: \"make\" required",
        "label_en: \"M\" label_es: \"M\" required",
        "message MotorStatusQuery",
        "needs field 'make'",
    );
    check("key: \"motor.serial_make\" }", "key: \"motor.x\" }", "message MotorStatusQuery", "no match key");
    check(
        "record_type: \"OutboardMotor\"",
        "record_type: \"Boat\"",
        "message MotorStatusQuery",
        "no record type 'Boat'",
    );
    check("kind: \"motor.status\"", "kind: \"vehicle.status\"", "message MotorStatusQuery", "two query kinds");
    check("steps: { step: 1 }", "steps: { step: 4 }", "message MotorStatusQuery", "steps");
    check("MOTOR_STATUS_FOUND = 2", "MOTOR_STATUS_FOUND = 2; Stolen = 3", "MotorStatus status", "means two codes");
    check("import \"puente", "import \"punte", "import", "not found");
}

#[test]
fn files_cannot_replace_each_other() {
    let error = Catalogue::compile(&[("puente/v1/vehicle.proto".to_owned(), VESSEL.to_owned())]).unwrap_err();
    assert_eq!(error.file, "puente/v1/vehicle.proto");
    let big = "/".repeat(crate::PROTO_TEXT_BYTES_MAX + 1);
    assert!(Catalogue::compile(&[("x.proto".to_owned(), big)]).unwrap_err().message.contains("too large"));
    let many: Vec<_> = (0..=crate::PROTO_FILES_MAX).map(|i| (format!("{i}.proto"), String::new())).collect();
    assert!(Catalogue::compile(&many).unwrap_err().message.contains("too many"));
}
