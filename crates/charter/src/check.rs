//! Small checks that several parts share.

use std::collections::HashSet;

use crate::Defect;

/// Lower-case letters, digits and inner hyphens, 1 to 64 bytes.
pub(crate) fn slug(what: &'static str, found: &str) -> Result<(), Defect> {
    let ok = !found.is_empty()
        && found.len() <= 64
        && found.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !found.starts_with('-')
        && !found.ends_with('-');
    if ok { Ok(()) } else { Err(Defect::Slug { found: found.chars().take(80).collect(), what }) }
}

/// A text for people: 1 to 200 characters on one line.
pub(crate) fn text(key: &'static str, found: &str) -> Result<(), Defect> {
    let ok = !found.trim().is_empty() && found.chars().count() <= 200 && !found.chars().any(char::is_control);
    if ok { Ok(()) } else { Err(Defect::Text { key }) }
}

/// `min ≤ found ≤ max`.
pub(crate) fn range(key: &'static str, found: u64, min: u64, max: u64) -> Result<(), Defect> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(Defect::Range { key, min, max }) }
}

/// No name stands twice.
pub(crate) fn distinct<'a>(what: &'static str, names: impl IntoIterator<Item = &'a str>) -> Result<(), Defect> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(Defect::Twice { what, name: name.to_owned() }),
        None => Ok(()),
    }
}
