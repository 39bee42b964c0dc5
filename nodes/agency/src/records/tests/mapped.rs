//! An agency's own tables, read in place: the same rows in PostgreSQL and in SQLite, the same answers.

use super::cluster::{Cluster, OWNER};
use super::*;
use crate::records::{Severity, StoreAt, check_mapping};

const VIN: &str = "1M8GDM9AXKP042788";
const SAMPLE: &str = include_str!("../../../samples/mapping.toml");

/// Rows as an agency has them: codes of its own, dates of its own, and some that are wrong.
const ROWS: &str = "
    INSERT INTO robados VALUES (1, '1m8gdm9axkp042788', 'ABC123', '02', 'Nissan', 2014, '31/01/2024', '1');
    INSERT INTO robados VALUES (2, NULL, 'XYZ987', '19', 'FORD', 2020, '01/02/2024', '2');
    INSERT INTO robados VALUES (3, NULL, 'XYZ987', '28', 'FORD', 2021, NULL, '1');
    INSERT INTO robados VALUES (4, NULL, 'BAD001', '02', 'FORD', 2021, '31/02/2024', '1');
    INSERT INTO robados VALUES (5, NULL, 'BAD002', '02', 'FORD', 2021, '2024-01-31', '1');
    INSERT INTO robados VALUES (6, NULL, 'BAD003', '02', 'FORD', 2021, NULL, '9');
    INSERT INTO robados VALUES (7, NULL, 'BAD004', '19', NULL, NULL, NULL, '1');
    INSERT INTO robados VALUES (8, NULL, 'BAD004', '02', NULL, NULL, 'never', '1');
    INSERT INTO robados VALUES (9, NULL, 'abc 999', '02', NULL, NULL, NULL, '1');
    INSERT INTO robados VALUES (10, NULL, 'TWICE1', '02', NULL, NULL, NULL, '1');
    INSERT INTO robados VALUES (11, NULL, 'TWICE1', '02', NULL, NULL, NULL, '1');
";
const COLUMNS: &str = "(folio integer PRIMARY KEY, num_serie varchar(40), placas varchar(20), entidad text,
    marca text, modelo integer, fecha_robo text, estatus text)";

fn vehicle(bytes: &[u8]) -> std::collections::BTreeMap<String, String> {
    let catalogue = Catalogue::builtin().unwrap();
    let rows = catalogue.record_type("Vehicle").unwrap().rows(bytes, puente_catalogue::Lang::En).unwrap();
    rows.into_iter().map(|row| (row.name, row.value)).collect()
}

fn mapped(dir: &NodeDir, store: StoreAt, mapping: &str) -> RecordSettings {
    std::fs::write(dir.path().join("mapping.toml"), mapping).unwrap();
    RecordSettings { store, mapping: Some("mapping.toml".into()), ..RecordSettings::default() }
}

fn plate(plate: &str, place: &str) -> Vec<(String, String)> {
    vec![key("vehicle.plate", &format!("{plate}\u{1f}{place}")), key("vehicle.plate_ocr", "any")]
}

/// What both databases answer.
fn answers(reader: &RecordReader) {
    let find = |keys: &[(String, String)]| find(reader, "Vehicle", keys, 100);
    let status = || reader.health().status();
    let by_vin = find(&[key("vehicle.vin", VIN)]).unwrap();
    assert_eq!(by_vin.len(), 1);
    let shown = vehicle(&by_vin[0]);
    let value = |field: &str| shown.get(field).map(String::as_str);
    assert_eq!(value("vin"), Some(VIN), "converted");
    assert_eq!((value("make"), value("theft_date")), (Some("NISSAN"), Some("2024-01-31")));
    assert_eq!((value("plate_jurisdiction"), value("status")), (Some("MX-BCN"), Some("active")));
    assert_eq!(value("entering_agency"), Some("mx/fge-bc"), "a constant");
    // Codes are looked up the other way round, and each place is its own.
    assert_eq!(vehicle(&find(&plate("XYZ987", "MX-NLE")).unwrap()[0])["model_year"], "2020");
    assert_eq!(vehicle(&find(&plate("XYZ987", "MX-TAM")).unwrap()[0])["model_year"], "2021");
    assert!(find(&plate("XYZ987", "MX-BCN")).unwrap().is_empty());
    assert!(find(&plate("XYZ987", "US-TX")).unwrap().is_empty(), "no code means it");
    assert_eq!(find(&[key("vehicle.plate_only", "XYZ987")]).unwrap().len(), 2);
    assert_eq!(super::find(reader, "Vehicle", &[key("vehicle.plate_only", "XYZ987")], 1).unwrap().len(), 1);
    assert_eq!(find(&plate("TWICE1", "MX-BCN")).unwrap().len(), 1, "two rows of the same content are one record");
    assert!(super::find(reader, "Firearm", &[key("firearm.serial", "X")], 10).unwrap().is_empty());

    // A row that is no record is never half an answer, and says which field without its value.
    assert_eq!((status().rows_invalid, status().failed), (0, 0));
    for (plate_number, field) in
        [("BAD001", "theft_date"), ("BAD002", "theft_date (date-form)"), ("BAD003", "status (code-unknown)")]
    {
        let error = find(&plate(plate_number, "MX-BCN")).unwrap_err();
        assert!(error.contains(field) && error.contains("1 of 1"), "{error}");
        assert!(!error.contains(plate_number) && !error.contains("2024"), "{error}");
    }
    let error = find(&[key("vehicle.plate_only", "BAD004")]).unwrap_err();
    assert!(error.contains("1 of 2"), "one good row beside a bad one: {error}");
    assert_eq!((status().rows_invalid, status().failed), (4, 4));
    assert!(status().last_invalid.is_some_and(|what| what.contains("theft_date")));
    assert_eq!(status().down, None, "a bad row is not a lost database");
    assert_eq!(find(&plate("BAD004", "MX-NLE")).unwrap().len(), 1);

    // A key that the tables cannot be searched by.
    let error = find(&[key("vehicle.plate_ocr", "A8C123")]).unwrap_err();
    assert!(error.contains("serves none"), "{error}");
    assert_eq!(find(&[key("vehicle.plate_only_ocr", "A8C123")]).unwrap().len(), 1, "an expression");

    // Whatever a question holds is a value.
    for hostile in
        ["' OR '1'='1", "'; DROP TABLE robados; --", "\\", "%", "{a,b}", "{\"a\"}", "NULL", "\0", "a\u{1f}b\u{1f}c"]
    {
        for name in ["vehicle.vin", "vehicle.plate", "vehicle.plate_only", "vehicle.plate_only_ocr"] {
            assert!(find(&[key(name, hostile)]).unwrap().is_empty(), "{name} {hostile:?}");
        }
        assert!(find(&plate(hostile, "MX-BCN")).unwrap().is_empty());
        assert!(find(&plate("ABC123", hostile)).unwrap().is_empty());
        assert!(super::find(reader, hostile, &plate("ABC123", "MX-BCN"), 1).unwrap().is_empty());
        assert!(find(&[key(hostile, "x")]).is_err(), "no such key is served");
    }
    assert_eq!(find(&plate("ABC123", "MX-BCN")).unwrap().len(), 1, "nothing was dropped");
}

#[test]
fn own_tables_in_postgres_are_read_in_place_and_never_written() {
    let Some(mut cluster) = Cluster::start() else { return };
    let rows = ROWS.replace("robados", "padron.robados");
    cluster.execute(&format!(
        "CREATE SCHEMA padron; CREATE TABLE padron.robados {COLUMNS}; {rows}
         CREATE INDEX ON padron.robados (upper(num_serie)); CREATE INDEX ON padron.robados (placas, entidad);
         CREATE USER reader; GRANT USAGE ON SCHEMA padron TO reader; GRANT SELECT ON padron.robados TO reader"
    ));
    let temp = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(temp.path());
    let settings = mapped(&dir, StoreAt::try_from(cluster.url("reader", "postgres")).unwrap(), SAMPLE);
    let runtime = runtime();
    let reader = runtime.block_on(open(&dir, &settings)).unwrap();
    postgres::up(&reader.health());
    answers(&reader);
    assert_eq!(reader.health().status().rows_strayed, 0);

    // What is no index is said, what may write too; nothing may be imported.
    let catalogue = Catalogue::builtin().unwrap();
    let codes = |settings: &RecordSettings| -> Vec<(Severity, &'static str, String)> {
        let findings = check_mapping(&dir, settings, &catalogue).unwrap();
        findings.into_iter().map(|f| (f.severity, f.code, f.at)).collect()
    };
    let line = |what: &str| SAMPLE.lines().position(|line| line.starts_with(what)).unwrap() + 1;
    let at = |what: &str| format!("{}:{}", dir.path().join("mapping.toml").display(), line(what));
    assert_eq!(codes(&settings), [(Severity::Warning, "no-index", at("\"vehicle.plate_only_ocr\""))]);
    let owner =
        RecordSettings { store: StoreAt::try_from(cluster.url(OWNER, "postgres")).unwrap(), ..settings.clone() };
    assert_eq!(codes(&owner)[0], (Severity::Warning, "may-write", at("table")));
    assert!(matches!(RecordStore::open_with(&dir, &settings), Err(RecordsError::InPlace)));
    // Even a user that may write cannot, over these connections.
    let by_owner = runtime.block_on(open(&dir, &owner)).unwrap();
    postgres::up(&by_owner.health());
    cluster.execute(
        "CREATE FUNCTION padron.sly(text) RETURNS text VOLATILE LANGUAGE plpgsql AS
         $$ BEGIN DELETE FROM padron.robados; RETURN $1; END $$",
    );
    let sly = SAMPLE.replace("upper(num_serie)", "padron.sly(num_serie)");
    let sly = runtime.block_on(open(&dir, &mapped(&dir, owner.store.clone(), &sly))).unwrap();
    postgres::up(&sly.health());
    let error = find(&sly, "Vehicle", &[key("vehicle.vin", VIN)], 1).unwrap_err();
    assert!(error.contains("25006"), "a read-only transaction: {error}");
    assert_eq!(find(&by_owner, "Vehicle", &[key("vehicle.vin", VIN)], 1).unwrap().len(), 1);

    // A table that changes under the node is seen when the server comes back, and nothing is half answered meanwhile.
    cluster.execute("ALTER TABLE padron.robados RENAME COLUMN estatus TO situacion");
    assert!(find(&reader, "Vehicle", &[key("vehicle.vin", VIN)], 1).is_err());
    cluster.kill();
    cluster.run();
    postgres::eventually("the mapping is found not to fit", || {
        reader.health().status().down.is_some_and(|(why, _)| why.contains("there is no column 'estatus'"))
    });
    cluster.execute("ALTER TABLE padron.robados RENAME COLUMN situacion TO estatus");
    postgres::up(&reader.health());
    assert_eq!(find(&reader, "Vehicle", &[key("vehicle.vin", VIN)], 1).unwrap().len(), 1);
}

fn sqlite_mapping() -> String {
    SAMPLE.replace("schema = \"padron\"\n", "").replace(
        "{ expression = \"translate(placas, 'OQIBSZ', '001852')\" }",
        "{ expression = \"replace(replace(placas, 'B', '8'), 'O', '0')\" }",
    )
}

fn agency_file(path: &std::path::Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch(&format!("CREATE TABLE robados {COLUMNS}; {ROWS}")).unwrap();
    database
        .execute_batch("CREATE INDEX a ON robados (upper(num_serie)); CREATE INDEX b ON robados (placas, entidad);")
        .unwrap();
}

#[test]
fn own_tables_in_a_sqlite_file_are_read_in_place_and_never_written() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, path) = (NodeDir::new(temp.path()), temp.path().join("agency.db"));
    agency_file(&path);
    let before = std::fs::read(&path).unwrap();
    let settings = mapped(&dir, StoreAt::File("agency.db".into()), &sqlite_mapping());
    let runtime = runtime();
    let reader = runtime.block_on(open(&dir, &settings)).unwrap();
    answers(&reader);
    assert!(std::fs::read(&path).unwrap() == before, "the file is as it was");
    let findings = check_mapping(&dir, &settings, &Catalogue::builtin().unwrap()).unwrap();
    assert_eq!(findings.iter().map(|f| f.code).collect::<Vec<_>>(), ["no-index"]);

    // The file goes, comes back as another: each is seen by itself.
    let vin = [key("vehicle.vin", VIN)];
    std::fs::remove_file(&path).unwrap();
    assert!(find(&reader, "Vehicle", &vin, 1).is_err());
    assert!(reader.health().status().down.is_some());
    let waits = runtime.block_on(open(&dir, &settings)).unwrap();
    assert!(waits.health().status().down.is_some(), "a node can start without it");
    agency_file(&path);
    for reader in [&reader, &waits] {
        assert_eq!(find(reader, "Vehicle", &vin, 1).unwrap().len(), 1);
        assert_eq!(reader.health().status().down, None);
    }
    std::fs::write(&path, "no database at all, but a long enough text to look like one".repeat(100)).unwrap();
    assert!(find(&waits, "Vehicle", &vin, 1).is_err());

    // A lookup that takes too long is interrupted.
    std::fs::remove_file(&path).unwrap();
    let database = rusqlite::Connection::open(&path).unwrap();
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS folio, 'x' || i AS num_serie,
        'x' AS placas, '02' AS entidad, '' AS marca, 1 AS modelo, '' AS fecha_robo, '1' AS estatus FROM n";
    database.execute_batch(&format!("CREATE VIEW robados AS {endless}")).unwrap();
    let quick = RecordSettings { statement_timeout_ms: 100, ..settings };
    let reader = runtime.block_on(open(&dir, &quick)).unwrap();
    let error = find(&reader, "Vehicle", &vin, 1).unwrap_err();
    assert!(error.contains("statement_timeout_ms"), "{error}");
    assert_eq!(reader.health().status().down, None);
}

/// The mapping's key finds more than the catalogue would: what strays is left out and counted.
#[test]
fn a_mapping_cannot_widen_a_question() {
    let temp = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(temp.path());
    agency_file(&temp.path().join("agency.db"));
    let wide =
        sqlite_mapping().replace("{ expression = \"upper(num_serie)\" }", "{ expression = \"'1M8GDM9AXKP042788'\" }");
    let settings = mapped(&dir, StoreAt::File("agency.db".into()), &wide.replace("'31/02", "'31/01"));
    let database = rusqlite::Connection::open(temp.path().join("agency.db")).unwrap();
    database.execute_batch("DELETE FROM robados WHERE placas LIKE 'BAD%'").unwrap();
    let reader = runtime().block_on(open(&dir, &settings)).unwrap();
    let found = find(&reader, "Vehicle", &[key("vehicle.vin", VIN)], 100).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(reader.health().status().rows_strayed, 5);
}

#[test]
fn what_a_mapping_gets_wrong_is_named_with_its_line_and_mend() {
    let temp = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(temp.path());
    agency_file(&temp.path().join("agency.db"));
    let good = sqlite_mapping();
    let runtime = runtime();
    let open = |text: &str| {
        let settings = mapped(&dir, StoreAt::File("agency.db".into()), text);
        match runtime.block_on(open(&dir, &settings)) {
            Ok(_) => (String::new(), String::new()),
            Err(error) => (error.to_string(), error.mend()),
        }
    };
    assert_eq!(open(&good).0, "");
    // In the file alone.
    for (from, to, says, mend) in [
        ("[Vehicle", "[Vehicel", "there is no record type 'Vehicel'", "did you mean 'Vehicle'?"),
        ("make = {", "maker = {", "there is no field of Vehicle 'maker'", "did you mean 'make'?"),
        ("status = {", "# status = {", "must have 'status'", "add status"),
        ("\"vehicle.vin\" = {", "\"vehicle.vim\" = {", "no match key of Vehicle 'vehicle.vim'", "vehicle.vin"),
        ("\"vehicle.vin\" = {", "# {", "nothing says how records are found by 'vehicle.vin'", "unserved"),
        (
            "columns = [\"placas\"]",
            "columns = [\"placas\", \"entidad\"]",
            "this key has 1 parts",
            "one column for each",
        ),
        ("column = \"marca\"", "column = \"marca\", constant = \"FORD\"", "either 'column' or 'constant'", "keep one"),
        ("upper(num_serie)", "upper(num_serie)) OR (1=1", "closes what was not opened", "one expression"),
        ("upper(num_serie)", "(SELECT num_serie FROM robados)", "reads no other table", "one expression"),
        ("DD/MM/YYYY", "DD/MM/YY", "YYYY, MM and DD", "DD/MM/YYYY"),
        ("\"strip\", \"upper\"", "\"stripp\"", "unknown variant", "samples/mapping.toml"),
        ("order = ", "ordered = ", "unknown field", "samples/mapping.toml"),
        ("table = \"robados\"", "table = \"\"", "1 to 63 bytes", "bare name"),
    ] {
        // A type's name stands in each of its sections.
        let text = if from.starts_with('[') { good.replace(from, to) } else { good.replacen(from, to, 1) };
        assert_ne!(text, good, "{from}");
        let (message, what_to_do) = open(&text);
        assert!(message.contains(says), "{to}: {message}");
        assert!(what_to_do.contains(mend), "{to}: {what_to_do}");
        assert!(message.contains("mapping.toml:"), "{message}");
    }
    // Against the database.
    let line = |what: &str| good.lines().position(|line| line.contains(what)).unwrap() + 1;
    for (from, to, says) in [
        ("table = \"robados\"", "table = \"robado\"", "there is no table or view 'robado'; did you mean 'robados'?"),
        ("column = \"marca\"", "column = \"marco\"", "there is no column 'marco'; did you mean 'marca'?"),
        ("order = \"folio\"", "order = \"folios\"", "there is no column 'folios'; did you mean 'folio'?"),
        ("columns = [\"placas\"]", "columns = [\"placa\"]", "there is no column 'placa'; did you mean 'placas'?"),
        ("upper(num_serie)", "uper(num_serie)", "'vehicle.vin' cannot be looked up: no such function: uper"),
        ("upper(num_serie)", "upper(num_seria)", "'vehicle.vin' cannot be looked up: no such column"),
        ("table = \"robados\"", "table = \"robados\\\"; DROP TABLE robados; --\"", "there is no table or view"),
        ("column = \"marca\"", "column = \"marca\\\", \\\"folio\"", "there is no column"),
    ] {
        let text = good.replacen(from, to, 1);
        let (message, _) = open(&text);
        assert!(message.contains(says), "{to}: {message}");
        assert!(message.contains(&format!("mapping.toml:{}:", line(from))), "{to}: {message}");
    }
    assert_eq!(open(&good).0, "", "nothing was dropped");
    let (message, _) = open(&format!("{good}\n{}", " ".repeat(crate::records::MAPPING_BYTES_MAX as usize)));
    assert!(message.contains("larger than"), "{message}");
}
