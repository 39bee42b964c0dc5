use puente_audit_log::LogPath;
use puente_ledger::LedgerOrigin;

/// What may be asked for. Nothing else has a name here, so that no path leads anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// The signed head, or a file of the log.
    Log(LogPath),
    /// The sidecar.
    Asides,
    /// The newest head that the charter's quorum cosigned.
    Cosigned,
    /// Names of the ledgers of this node's groups.
    LedgerNames,
    /// The head of one of them, or a file of it.
    Ledger(LedgerOrigin, LogPath),
    /// Names of the charter's files.
    CharterNames,
    /// One of them.
    Charter(String),
}

/// The longest name of a charter's file, in bytes.
const NAME_BYTES_MAX: usize = 128;

impl Resource {
    /// Reads the path of a request: as it is written, nothing decoded, no other spelling.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if let Some(name) = path.strip_prefix("ledgers/") {
            return if name.is_empty() { Some(Self::LedgerNames) } else { ledger_file(name) };
        }
        match path.strip_prefix("charter/") {
            Some("") => Some(Self::CharterNames),
            Some(name) => is_charter_file(name).then(|| Self::Charter(name.to_owned())),
            None if path == "asides" => Some(Self::Asides),
            None if path == "cosigned" => Some(Self::Cosigned),
            None => path.parse().ok().map(Self::Log),
        }
    }
}

/// A ledger's name, and a file of it.
fn ledger_file(name: &str) -> Option<Resource> {
    // No file of a log is called so, but a part of a group's name may be.
    let number = name.rfind("/ledger")? + 1;
    let end = number + name.get(number..)?.find('/')?;
    Some(Resource::Ledger(name.get(..end)?.parse().ok()?, name.get(end + 1..)?.parse().ok()?))
}

/// A part of the charter or its signatures, by its name.
pub(super) fn is_charter_file(name: &str) -> bool {
    let stem = name.strip_suffix(".sig").unwrap_or(name).strip_suffix(".toml").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !stem.is_empty() && name.len() <= NAME_BYTES_MAX && stem.bytes().all(plain)
}

/// The one range of bytes that a request asks for: first, and last if it is named. Other forms are none: the answer is
/// then the whole.
pub(super) fn range(header: &str) -> Option<(u64, Option<u64>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let first = number(first)?;
    let last = if last.is_empty() { None } else { Some(number(last)?) };
    last.is_none_or(|last| last >= first).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_these_paths() {
        let log = |path: &str| Resource::parse(path).map(|r| matches!(r, Resource::Log(_)));
        for path in ["/checkpoint", "/tile/0/000", "/tile/1/x001/234.p/7", "/tile/entries/x001/x234/067"] {
            assert_eq!(log(path), Some(true), "{path}");
        }
        assert_eq!(Resource::parse("/asides"), Some(Resource::Asides));
        assert_eq!(Resource::parse("/charter/"), Some(Resource::CharterNames));
        assert_eq!(Resource::parse("/ledgers/"), Some(Resource::LedgerNames));
        for ledger in ["group/frontera/otay/ledger1", "group/a/ledger2/tile/0/ledger17"] {
            for file in ["checkpoint", "tile/0/000", "tile/1/x001/234.p/7", "tile/entries/067.p/1"] {
                let expected = Resource::Ledger(ledger.parse().unwrap(), file.parse().unwrap());
                assert_eq!(Resource::parse(&format!("/ledgers/{ledger}/{file}")), Some(expected), "{ledger} {file}");
            }
        }
        for name in ["common-1.toml", "annex-mx-2.toml.sig"] {
            assert_eq!(Resource::parse(&format!("/charter/{name}")), Some(Resource::Charter(name.to_owned())));
        }
    }

    #[test]
    fn no_path_leads_anywhere_else() {
        for path in [
            "",
            "/",
            "checkpoint",
            "//checkpoint",
            "/checkpoint/",
            "/./checkpoint",
            "/tile/../checkpoint",
            "/../node.toml",
            "/tile/0/../../../keys/log.key",
            "/%2e%2e/keys/log.key",
            "/tile/0/%2e%2e",
            "/asides/",
            "/asides.tmp",
            "/tile",
            "/tile/",
            "/tile/0",
            "/tile/0/",
            "/tile/00/000",
            "/tile/64/000",
            "/tile/0/0",
            "/tile/0/x000/001",
            "/tile/0/000.p/0",
            "/tile/0/000.p/256",
            "/tile/0/000.p/01",
            "/tile/0/000.p/1/",
            "/tile/entries/-01",
            "/tile/entries/99999999999999999999",
            "/charter",
            "/charter/pin",
            "/charter/..",
            "/charter/../keys/log.key",
            "/charter/.toml",
            "/charter/a/b.toml",
            "/charter/a%2fb.toml",
            "/charter/..toml",
            "/charter/.hidden.toml",
            "/charter/common-1.toml.sig.sig",
            "/charter/común.toml",
            "/ledgers",
            "/ledgers//checkpoint",
            "/ledgers/checkpoint",
            "/ledgers/group/otay/checkpoint",
            "/ledgers/group/otay/ledger1",
            "/ledgers/group/otay/ledger1/",
            "/ledgers/group/otay/ledger01/checkpoint",
            "/ledgers/group/otay/ledger1/asides",
            "/ledgers/group/otay/ledger1/ledgers/",
            "/ledgers/group/../ledger1/checkpoint",
            "/ledgers/../keys/log.key",
            "/evidence.db",
            "/keys/log.key",
            "/control.sock",
            "/tile/0/000\0",
            "/CHECKPOINT",
        ] {
            assert_eq!(Resource::parse(path), None, "{path}");
        }
        assert_eq!(Resource::parse(&format!("/charter/{}.toml", "a".repeat(124))), None);
    }

    #[test]
    fn one_range_of_bytes() {
        assert_eq!(range("bytes=0-"), Some((0, None)));
        assert_eq!(range("bytes=5-5"), Some((5, Some(5))));
        for odd in [
            "bytes=-5",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "bytes=a-",
            "items=0-1",
            "bytes=+1-2",
            "bytes=",
            "0-1",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(range(odd), None, "{odd}");
        }
    }
}
