//! How the node's folder grows: a line a day, and what follows from it.

use std::fs;
use std::io;
use std::path::Path;

use crate::config::NodeDir;
use crate::files;

/// Days that are remembered.
const DAYS_MAX: usize = 60;
/// Levels of folders below the node's that are counted.
const DEPTH_MAX: usize = 12;

/// Bytes of what grows: journal, log, stores.
fn measure(dir: &NodeDir) -> u64 {
    let places = [dir.journal(), dir.log(), dir.evidence(), dir.records()];
    places.iter().map(|place| bytes(place, 0)).fold(0, u64::saturating_add)
}

fn bytes(path: &Path, depth: usize) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    if depth == DEPTH_MAX {
        return 0;
    }
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.map(|entry| bytes(&entry.path(), depth + 1)).fold(0, u64::saturating_add)
}

/// Day (since 1970) and bytes, oldest first.
fn known(dir: &NodeDir) -> Vec<(u64, u64)> {
    let text = files::read_text(&dir.growth()).unwrap_or_default();
    let pair = |line: &str| {
        let (day, bytes) = line.split_once(' ')?;
        Some((day.parse().ok()?, bytes.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Writes down how large the folder is on this day (since 1970). Blocks.
///
/// # Errors
/// The file cannot be written.
pub fn note(dir: &NodeDir, day: u64) -> io::Result<()> {
    let mut days = known(dir);
    days.retain(|(known, _)| *known != day);
    days.push((day, measure(dir)));
    days.sort_unstable();
    let first = days.len().saturating_sub(DAYS_MAX);
    let text: String = days.iter().skip(first).map(|(day, bytes)| format!("{day} {bytes}\n")).collect();
    files::replace(&dir.growth(), text.as_bytes(), true)
}

/// Days until `free` bytes are used up, if the folder grows on as it did; none if that cannot be told yet, or never.
pub fn days_left(dir: &NodeDir, free: u64) -> Option<u64> {
    let days = known(dir);
    let ((first, least), (last, most)) = (*days.first()?, *days.last()?);
    let (over, grown) = (last.checked_sub(first).filter(|days| *days > 0)?, most.checked_sub(least)?);
    let left = u128::from(free) * u128::from(over) / u128::from(grown).max(1);
    (grown > 0).then(|| u64::try_from(left).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_gives_a_forecast_and_forgets_old_days() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        assert_eq!(days_left(&dir, 1_000), None);
        fs::create_dir(dir.log()).unwrap();
        for day in 0..100_u64 {
            fs::write(dir.log().join("tile"), vec![0; usize::try_from(day).unwrap() * 10]).unwrap();
            note(&dir, 20_000 + day).unwrap();
        }
        assert_eq!(known(&dir).len(), DAYS_MAX);
        // Ten bytes a day.
        assert_eq!(days_left(&dir, 1_000), Some(100));
        note(&dir, 20_099).unwrap();
        assert_eq!(known(&dir).len(), DAYS_MAX, "a day has one line");
        fs::write(dir.growth(), "nonsense\n1 x\n").unwrap();
        assert_eq!(days_left(&dir, 1_000), None);
    }
}
