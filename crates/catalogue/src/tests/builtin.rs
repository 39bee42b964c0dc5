use puente_model::{FieldClass, Step};

use super::{catalogue, record_type};
use crate::{Catalogue, Lang};

#[test]
fn the_catalogue_has_what_it_promises() {
    let names: Vec<&str> = catalogue().record_types().iter().map(crate::RecordType::name).collect();
    assert_eq!(
        names,
        [
            "CrimeSeries",
            "Detention",
            "Firearm",
            "MissingPerson",
            "Person",
            "PlateRead",
            "Seizure",
            "TraceRequest",
            "TraceResult",
            "Vehicle",
            "WantedPerson"
        ]
    );
    let kinds: Vec<(&str, &str)> = catalogue().query_kinds().iter().map(|k| (k.kind().as_str(), k.number())).collect();
    let expected = [
        ("firearm.status", "Q1"),
        ("firearm.trace.result", "Q2"),
        ("firearm.trace.submit", "Q2"),
        ("person.detained", "Q9"),
        ("person.index", "Q8"),
        ("person.missing", "Q9"),
        ("person.wanted", "Q9"),
        ("plate.reads", "Q7"),
        ("plate.status", "Q6"),
        ("seizure.link", "Q12"),
        ("seizure.search", "Q12"),
        ("vehicle.status", "Q5"),
    ];
    assert_eq!(kinds, expected);
    for kind in catalogue().query_kinds() {
        let record = catalogue().record_type(kind.record_type()).unwrap();
        let step1 = kind.step(Step::HitNoHit).unwrap();
        assert!(step1.default_mask.is_empty(), "step 1 reveals the hit flag only");
        let Some(step2) = kind.step(Step::CoreData) else {
            assert!(kind.is_directed(), "{}: only a matter to be taken up ends at its first answer", kind.kind());
            continue;
        };
        assert!(record.class_of(step2.default_mask) <= FieldClass::Identifying, "{}", kind.kind());
        assert!(step2.default_mask.is_subset_of(record.all_fields()));
        assert_eq!(kind.step(Step::Evidence), None);
    }
}

#[test]
fn people_read_both_languages() {
    let vin = record_type("Vehicle").field("vin").unwrap();
    assert_eq!((vin.labels.get(Lang::En), vin.labels.get(Lang::Es)), ("VIN", "NIV"));
    assert!(vin.marks.identifying && !vin.marks.sensitive);
    for record_type in catalogue().record_types() {
        for field in record_type.fields() {
            assert!(!field.labels.en.is_empty() && !field.labels.es.is_empty(), "{}", field.path);
            for code in field.codes.iter().flat_map(|list| list.codes()) {
                assert!(!code.labels.en.is_empty() && !code.labels.es.is_empty(), "{}", code.text);
            }
        }
    }
}

#[test]
fn marks_give_classes_and_names_give_masks() {
    let vehicle = record_type("Vehicle");
    let mask = vehicle.mask_of(["make", "status"]).unwrap();
    assert_eq!(vehicle.class_of(mask), FieldClass::Plain);
    assert_eq!(vehicle.class_of(mask.with(1)), FieldClass::Identifying);
    assert_eq!(vehicle.class_of(vehicle.all_fields()), FieldClass::SourceRevealing);
    assert_eq!(vehicle.class_of(crate::FieldMask::EMPTY), FieldClass::None);
    assert_eq!(vehicle.names_of(mask), ["make", "status"]);
    let error = vehicle.mask_of(["vim"]).unwrap_err();
    assert_eq!(error.closest, "vin");
    assert_eq!(error.to_string(), "Vehicle has no field 'vim'; did you mean 'vin'?");
}

#[test]
fn the_digest_sees_meaning_and_not_layout() {
    let text = "syntax = \"proto3\"; package x.v1; import \"puente/v1/catalogue_options.proto\";\n\
        message Radio { option (puente.v1.record) = { name: \"Radio\" label_en: \"Radio\" label_es: \"Radio\" };\n\
        string serial = 1 [(puente.v1.field) = { label_en: \"S\" label_es: \"S\" }]; }";
    let digest = |text: &str| Catalogue::compile(&[("x.proto".into(), text.into())]).unwrap().digest();
    assert_eq!(digest(text), digest(&format!("// a comment\n\n{text}\n")));
    assert_ne!(digest(text), digest(&text.replace("label_en: \"S\"", "label_en: \"T\"")));
    assert_ne!(digest(text), catalogue().digest());
    assert_eq!(Catalogue::builtin().unwrap().digest(), catalogue().digest());
}

#[test]
fn start_up_is_cheap() {
    // A generous bound for an unoptimised build on a busy machine; the release build takes a few milliseconds.
    #[expect(clippy::disallowed_methods, reason = "the test measures time")]
    let start = std::time::Instant::now();
    Catalogue::builtin().unwrap();
    let elapsed = start.elapsed();
    eprintln!("catalogue compiled in {elapsed:?}");
    assert!(elapsed.as_secs() < 5);
}
