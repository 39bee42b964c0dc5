use std::path::Path;

use puente_catalogue::Catalogue;
use puente_model::{Lang, Millis};

use super::super::output::{Exit, Failure, Report};
use super::super::run_at;

/// 2026-12-01.
const NOW: Millis = Millis(1_796_083_200_000);

fn puente(lang: Lang, words: &[&str]) -> Result<Report, Failure> {
    run_at(std::iter::once("puente").chain(words.iter().copied()), NOW, lang)
}

fn ok(words: &[&str]) -> Report {
    puente(Lang::En, words).unwrap_or_else(|f| panic!("{words:?}: {} {:?}", f.message, f.details))
}

/// A node's folder, so that files can be brought in.
fn node(folder: &Path) -> String {
    let dir = folder.join("n1").display().to_string();
    ok(&["--dir", &dir, "node", "init", "--uri", "puente://us/tx-dps/n1"]);
    dir
}

#[test]
fn everything_is_listed_and_shown_with_labels_of_both_languages() {
    let catalogue = Catalogue::builtin().unwrap();
    let listed = ok(&["catalogue", "list"]);
    assert_eq!(listed.json["types"].as_array().unwrap().len(), catalogue.record_types().len());
    assert_eq!(listed.json["kinds"].as_array().unwrap().len(), catalogue.query_kinds().len());
    assert!(puente(Lang::Es, &["catalogue", "list"]).unwrap().text.contains("Situación de un vehículo por NIV"));
    let types = catalogue.record_types().iter().map(|t| (t.name(), t.fields(), "fields"));
    let kinds = catalogue.query_kinds().iter().map(|k| (k.kind().as_str(), k.params(), "params"));
    for (name, fields, list) in types.chain(kinds) {
        let (en, es) = (ok(&["catalogue", "show", name]), puente(Lang::Es, &["catalogue", "show", name]).unwrap());
        assert!(en.text.lines().chain(es.text.lines()).all(|l| l.chars().count() <= 120), "{name}");
        for (i, field) in fields.iter().enumerate() {
            assert!(en.text.contains(&field.labels.en) && es.text.contains(&field.labels.es), "{name}.{}", field.name);
            let told = &en.json[list][i];
            assert_eq!(
                (&told["label"]["es"], &told["class"]),
                (&field.labels.es.as_str().into(), &field.class().as_str().into())
            );
        }
        assert_eq!(ok(&["catalogue", "schema", name]).json["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
}

#[test]
fn templates_and_examples_of_every_type_are_imported_without_a_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let dir = node(folder.path());
    for record_type in Catalogue::builtin().unwrap().record_types() {
        let name = record_type.name();
        let template = ok(&["catalogue", "sample", name, "--format", "template"]);
        for (format, ending) in [("csv", "csv"), ("jsonl", "jsonl")] {
            let sample = ok(&["--dir", &dir, "catalogue", "sample", name, "--format", format, "--count", "3"]);
            assert!(
                format != "csv" || sample.text.starts_with(&template.text),
                "{name}: the example fills the template"
            );
            let file = folder.path().join(format!("{name}.{ending}")).display().to_string();
            std::fs::write(&file, &sample.text).unwrap();
            let words = ["--dir", &dir, "import", &file, "--type", name, "--authority", "example", "--dry-run"];
            let report = ok(&words);
            assert_eq!((report.exit, &report.json["accepted"]), (Exit::Ok, &3.into()), "{name}: {}", report.json);
            assert_eq!(report.json["warnings"], 0, "{name}: {}", report.json);
        }
    }
}

#[test]
fn examples_name_the_agency_that_is_meant_and_are_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = node(folder.path());
    let one = ok(&["--dir", &dir, "catalogue", "sample", "vehicle"]);
    assert_eq!(one.json["samples"][0]["entering_agency"], "us/tx-dps", "the node's own");
    let other = ok(&["--dir", &dir, "catalogue", "sample", "Vehicle", "--agency", "mx/fge-bc"]);
    assert_eq!(other.json["samples"][0]["entering_agency"], "mx/fge-bc");
    assert_eq!(ok(&["--dir", &dir, "catalogue", "sample", "Vehicle"]).text, one.text);
    let next = ok(&["--dir", &dir, "catalogue", "sample", "Vehicle", "--first", "2"]);
    assert_ne!(next.json["samples"][0]["vin"], one.json["samples"][0]["vin"]);
    let question = ok(&["catalogue", "sample", "vehicle.status"]);
    assert_eq!(question.json["samples"][0]["vin"], one.json["samples"][0]["vin"], "asks for the example of its number");
}

#[test]
fn a_name_that_is_none_and_counts_beyond_the_limit_are_refused() {
    let failure = puente(Lang::En, &["catalogue", "show", "Vehicel"]).unwrap_err();
    assert_eq!((failure.code, failure.exit), ("unknown-type", Exit::Usage));
    assert!(failure.details["valid"].as_array().unwrap().contains(&"Vehicle".into()));
    let asked = |count: &str| puente(Lang::En, &["catalogue", "sample", "Vehicle", "--count", count]);
    assert_eq!(asked("100001").unwrap_err().exit, Exit::Usage);
    assert_eq!(asked("0").unwrap_err().exit, Exit::Usage);
    assert_eq!(asked("1000").unwrap().json["samples"].as_array().unwrap().len(), 1_000);
}

#[test]
fn what_is_brought_in_for_training_is_marked_and_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let dir = node(folder.path());
    let sample = ok(&["--dir", &dir, "catalogue", "sample", "Vehicle", "--count", "3"]);
    let file = folder.path().join("invented.jsonl").display().to_string();
    std::fs::write(&file, &sample.text).unwrap();
    let report = ok(&["--dir", &dir, "import", &file, "--type", "Vehicle", "--training"]);
    assert_eq!((&report.json["accepted"], &report.json["training"]), (&3.into(), &true.into()), "{}", report.json);
    assert!(
        report.text.starts_with("TRAINING / ADIESTRAMIENTO\n") && report.text.ends_with("TRAINING / ADIESTRAMIENTO\n")
    );
    let staged = |name: &str| {
        let files = std::fs::read_dir(Path::new(&dir).join(name)).into_iter().flatten();
        files.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "staged")).count()
    };
    // No node runs: the batch waits, in the folder of training alone.
    assert_eq!((staged("training/imports"), staged("imports")), (1, 0));
}
