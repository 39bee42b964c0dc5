//! Which files a backup holds, and where they go.

/// Longest path within a backup, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Longest chain of folders.
const DEPTH_MAX: usize = 16;
/// What may lie in a node's folder.
const TOP: [&str; 12] = [
    "node.toml",
    "keys",
    "charter",
    "policies",
    "officers.toml",
    "officers.recorded.toml",
    "adopted.recorded.toml",
    "records.db",
    "imports",
    "evidence.db",
    "journal",
    "log",
];
/// Folders beside them: logs that came before, and the operator's own record types.
const MORE: [&str; 2] = ["closed", "catalogue"];

/// A name that leads somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the backup names a file that no node has: '{0}'")]
pub struct PlaceError(pub String);

/// Refuses every name that is not a plain relative path of a node's file: an archive must not write elsewhere.
///
/// # Errors
/// [`PlaceError`], with the name made harmless.
pub fn check_name(name: &str) -> Result<(), PlaceError> {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty() && *part != "." && *part != ".." && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    let known = parts.first().is_some_and(|first| TOP.contains(first) || MORE.contains(first));
    let ok = name.len() <= NAME_BYTES_MAX && parts.len() <= DEPTH_MAX && parts.iter().all(plain) && known;
    let shown: String = name.escape_debug().take(80).collect();
    ok.then_some(()).ok_or(PlaceError(shown))
}
