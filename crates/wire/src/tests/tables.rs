//! The tables of the protocol specification say what the code does.
#![allow(clippy::disallowed_methods, reason = "tests read the specification")]

use std::path::PathBuf;

use puente_model::{
    CountBand, EventKind, FieldClass, Handling, Mode, Outcome, Purpose, RefusalReason, Role, Stage, Step, Urgency,
    limits,
};

use crate::PairKind;
use crate::fault::FaultCode;

fn file(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// Rows of the table behind `<!-- codes: NAME -->`, as cells.
fn table(spec: &str, name: &str) -> Vec<Vec<String>> {
    let mark = format!("<!-- codes: {name} -->\n");
    let at = spec.find(&mark).unwrap_or_else(|| panic!("proto/README.md has no table {name}")) + mark.len();
    let rows = spec[at..].lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn code_tables_are_the_code() {
    let spec = file("proto/README.md");
    let mut checked = 0;
    macro_rules! same {
        ($($t:ident),+) => {$(
            let written: Vec<_> = table(&spec, stringify!($t)).into_iter().map(|r| (r[0].clone(), r[1].clone())).collect();
            let coded: Vec<_> = $t::ALL.iter().map(|v| (v.code().to_string(), v.as_str().to_owned())).collect();
            assert_eq!(written, coded, stringify!($t));
            checked += 1;
        )+};
    }
    same!(
        Purpose,
        Role,
        Handling,
        Mode,
        Step,
        Urgency,
        Stage,
        Outcome,
        RefusalReason,
        EventKind,
        CountBand,
        FieldClass,
        FaultCode
    );
    for (row, kind) in table(&spec, "EventKind").iter().zip(EventKind::ALL) {
        assert_eq!(row[2], kind.stage().as_str(), "{kind}");
    }
    for (row, code) in table(&spec, "FaultCode").iter().zip(FaultCode::ALL) {
        assert_eq!(row[3], code.mend(), "{code}");
    }
    let kinds: Vec<_> = (1..=6).filter_map(|n| PairKind::try_from(n).ok()).collect();
    assert!(PairKind::try_from(7).is_err());
    let written: Vec<_> = table(&spec, "PairKind").into_iter().map(|r| (r[0].clone(), r[1].clone())).collect();
    let coded: Vec<_> = kinds.iter().map(|k| ((*k as i32).to_string(), k.as_str_name().to_owned())).collect();
    assert_eq!(written, coded);
    // Thirteen lists of codes, the pair kinds and the limits: no table that nobody compares.
    assert_eq!(spec.matches("<!-- codes: ").count(), checked + 2);
}

#[test]
fn the_limits_table_is_the_code() {
    macro_rules! values {
        ($($name:ident),+ $(,)?) => { vec![$((stringify!($name), limits::$name as u64)),+] };
    }
    let coded = values![
        FRAME_BYTES_MAX,
        QUERY_BYTES_MAX,
        ENTRY_BYTES_MAX,
        BATCH_ENTRIES_MAX,
        STREAMS_PER_PEER_MAX,
        QUERIES_PER_PEER_PER_MINUTE_MAX,
        QUERIES_PER_OFFICER_PER_MINUTE_MAX,
        RECORDS_PER_ANSWER_MAX,
        ANSWER_LEAVES_MAX,
        ANSWER_BYTES_MAX,
        CLOCK_SKEW_MILLIS_MAX,
        DEADLINE_MILLIS_MAX,
        UNRECEIPTED_ANSWERS_MAX,
        CHARTER_BYTES_MAX,
        NOTE_SIGNATURES_MAX,
        NOTE_BYTES_MAX,
        PROOF_HASHES_MAX,
        ESCROW_SEED_MILLIS,
        ESCROW_OPENING_BYTES_MAX,
        IMPORT_LINE_BYTES_MAX,
        FIELD_BYTES_MAX,
        HOLES_PER_PERIOD_MAX,
        PARAMS_PER_QUERY_MAX,
        FACTS_CHARS_MAX,
        PARKED_PER_PEER_MAX,
        WORDS_CHARS_MAX,
        NATIONS_MAX,
        PART_SIGNATURES_MAX,
        PARTS_AHEAD_MAX,
        HEADLINE_CHARS_MAX,
        ACTION_CHARS_MAX,
        ALERT_MILLIS_MAX,
        ASKS_PER_POST_MAX,
    ];
    let written = table(&file("proto/README.md"), "limits");
    let written: Vec<_> = written.iter().map(|row| (row[0].as_str(), row[1].parse::<u64>().unwrap())).collect();
    assert_eq!(written, coded);
    let declared = file("crates/model/src/limits.rs");
    let declared: Vec<_> =
        declared.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    assert_eq!(declared, coded.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "limits.rs and the table");
}

#[test]
fn every_label_is_listed() {
    let spec = file("proto/README.md");
    let section = &spec[spec.find("## 14. Labels").unwrap()..spec.find("## 15.").unwrap()];
    for line in file("crates/wire/src/label.rs").lines() {
        if let Some(label) = line.split("Label(\"puente/v1/").nth(1) {
            let label = label.split('"').next().unwrap();
            assert!(section.contains(&format!("`{label}`")), "{label}");
        }
    }
}
