mod builtin;
mod extra;
mod persons;
mod properties;
mod queries;
mod rows;
mod shared_data;
mod traces;

use std::collections::BTreeMap;

use crate::{Catalogue, RecordType};

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: std::sync::OnceLock<Catalogue> = std::sync::OnceLock::new();
    CATALOGUE.get_or_init(|| Catalogue::builtin().unwrap())
}

fn record_type(name: &str) -> &'static RecordType {
    catalogue().record_type(name).unwrap()
}

fn cells(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Cells of a row with every important field, changed by `change`.
fn vehicle(change: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut row = cells(&[
        ("vin", "1M8GDM9AXKP042788"),
        ("plate", "BXR-4821"),
        ("plate_jurisdiction", "US-TX"),
        ("make", "chevy"),
        ("model_year", "1989"),
        ("status", "active"),
        ("theft_date", "2026-01-31"),
        ("entering_agency", "us/epcso"),
        ("owner_name", "Synthetic Person"),
        ("informant", "Synthetic Witness"),
        ("remarks", "line one\nline two"),
    ]);
    row.extend(cells(change));
    row
}

fn firearm(change: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut row = cells(&[
        ("firearm_id", "BC-2026-17"),
        ("serial", "abc-12345"),
        ("make", "S&W"),
        ("calibre", "9 mm Luger"),
        ("type", "pistola"),
        ("status", "asegurada"),
        ("traced", "no"),
        ("barrel_mm", "102"),
        ("extra_marks", "star on frame | import stamp"),
        ("holder_agency", "mx/fge-bc"),
        ("event_place", "MX-02004"),
    ]);
    row.extend(cells(change));
    row
}
