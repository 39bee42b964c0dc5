//! What the specification says of the ledger is what the code does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the specification")]

mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use puente_ledger::*;
use puente_model::{Digest, Millis};
use world::*;

/// Rows of the table behind `<!-- ledger: NAME -->`, as cells.
fn table(name: &str) -> Vec<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto/README.md");
    let spec = std::fs::read_to_string(path).unwrap();
    let mark = format!("<!-- ledger: {name} -->\n");
    let at = spec.find(&mark).unwrap_or_else(|| panic!("proto/README.md has no table {name}")) + mark.len();
    let rows = spec[at..].lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_limits_of_the_ledger_are_those_of_the_specification() {
    let coded = [
        ("COMMIT_BYTES_MAX", COMMIT_BYTES_MAX as u64),
        ("HOLDERS_MAX", HOLDERS_MAX as u64),
        ("SEATS_MAX", SEATS_MAX as u64),
        ("GROUP_NAME_BYTES_MAX", GROUP_NAME_BYTES_MAX as u64),
        ("LEDGER_NUMBER_MAX", u64::from(LEDGER_NUMBER_MAX)),
        ("REBOOT_SIGNATURES_MAX", REBOOT_SIGNATURES_MAX as u64),
        ("ENTRIES_MAX", ENTRIES_MAX as u64),
        ("ENTRIES_BYTES_MAX", ENTRIES_BYTES_MAX as u64),
        ("PLAIN_BYTES_MAX", PLAIN_BYTES_MAX as u64),
        ("MESSAGE_BYTES_MAX", MESSAGE_BYTES_MAX as u64),
        ("ROSTER_MAX", ROSTER_MAX as u64),
        ("SILENCE_MILLIS", SILENCE_MILLIS),
    ];
    let written: Vec<(String, String)> = table("limits").into_iter().map(|r| (r[0].clone(), r[1].clone())).collect();
    let coded = coded.map(|(name, value)| (name.to_owned(), value.to_string()));
    assert_eq!(written, coded);
}

#[test]
fn the_lines_of_an_entry_are_those_of_the_specification() {
    let held = BTreeMap::from([(node(NODES[0]), Digest::default())]);
    let commit = Body::Commit { epoch: 1, at: Millis(7), commit: Digest::default(), held };
    let bodies = [commit, Body::Close { next: ledger(2) }];
    for (column, body) in bodies.into_iter().enumerate() {
        let draft = Draft { ledger: ledger(1), index: 0, charter: vector("1.mx1.us1"), body }.to_string();
        let lines: Vec<&str> = draft.lines().collect();
        let rows: Vec<Vec<String>> = table("entry").into_iter().filter(|row| !row[column + 1].is_empty()).collect();
        assert_eq!(lines.len(), rows.len());
        for (line, row) in lines.into_iter().zip(rows) {
            let first = line.split(' ').next().unwrap();
            let written = if row[0] == "kind" { &row[column + 1] } else { &row[0] };
            assert_eq!(&format!("`{first}`"), written);
        }
    }
}

/// A message that gives a reason, as protobuf: the code in the one place, a name that reads as what the code wants.
fn reads(field: u8, inner: u8, code: u8, names: [&str; 2]) -> bool {
    let text = |tag: u8, text: &str| match text.len() {
        0 => vec![],
        length => [&[tag, length as u8], text.as_bytes()].concat(),
    };
    let why = [vec![8, code], text(0x12, names[0]), text(0x1a, names[1])].concat();
    let body = [&[0x0a, 32][..], &[7; 32], &[inner, why.len() as u8], &why].concat();
    Message::decode(&[&[field, body.len() as u8][..], &body].concat()).is_ok()
}

#[test]
fn the_reasons_are_those_of_the_specification() {
    let rows = table("reasons");
    let names = ["", "puente://mx/a/n1", "group/a/ledger1", "mx", "1.mx1"];
    // Refused is field 7, its reason field 2; Answer is field 2, its reason field 4.
    for (message, field, inner) in [("`Refused`", 0x3a, 0x12), ("`Answer`", 0x12, 0x22)] {
        for code in 1..=127 {
            let row = rows.iter().find(|row| row[0] == code.to_string());
            let row = row.filter(|row| row[1] == "both" || row[1] == message);
            let readable: Vec<[&str; 2]> = names
                .iter()
                .flat_map(|name| [[*name, ""], [*name, "1.mx1"]])
                .filter(|names| reads(field, inner, code, *names))
                .collect();
            let Some(row) = row else {
                assert!(readable.is_empty(), "{message} reads {code}, which the table does not have");
                continue;
            };
            let wants = |field: &str| row[3].contains(&format!("`{field}`"));
            let named = |names: &[&str; 2]| [!names[0].is_empty(), !names[1].is_empty()];
            assert_eq!(
                readable.iter().map(named).collect::<Vec<_>>(),
                [[wants("name"), wants("found_name")]],
                "{row:?}"
            );
        }
    }
}
