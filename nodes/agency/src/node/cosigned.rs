//! How far cosignatures have come: the file beside the log, and what an operator hears of it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use puente_audit_log::ClaimedCheckpoint;
use puente_exchange::Cosigning;
use puente_model::Millis;
use serde_json::{Value, json};

use crate::config::NodeDir;
use crate::disk::NodeDisk;
use crate::files;
use crate::ops::check::{Check, State, w};

/// Entries that wait this long for cosignatures deserve a look, in milliseconds.
const PENDING_WARN_MILLIS: u64 = 5 * 60_000;

/// How long to wait until the files show what was cosigned.
const PUBLISHED: Duration = Duration::from_secs(10);

/// Keeps the newest cosigned head in `log/cosigned`, where whoever reads the log finds it: never an older one, and never one
/// of more entries than the files beside it show.
pub(super) fn keeping(dir: &NodeDir, disk: &NodeDisk) -> Box<dyn Fn(Vec<u8>) + Send> {
    let (path, disk, newest) = (dir.cosigned(), disk.clone(), Arc::new(Mutex::new(0)));
    Box::new(move |note| {
        let (path, disk, newest) = (path.clone(), disk.clone(), Arc::clone(&newest));
        tokio::spawn(async move {
            let size = ClaimedCheckpoint::parse(&note).map_or(u64::MAX, |head| head.claimed().size().0);
            let until = Instant::now() + PUBLISHED;
            while disk.status().published < size {
                if Instant::now() > until {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(tokio::task::spawn_blocking(move || put(&path, &note, size, &newest)).await);
        });
    })
}

fn put(path: &Path, note: &[u8], size: u64, newest: &Mutex<u64>) {
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    if size > *newest {
        match files::replace(path, note, false) {
            Ok(()) => *newest = size,
            // The engine has it, and gives the next one soon.
            Err(error) => tracing::warn!(%error, "the cosigned head could not be written beside the log"),
        }
    }
}

fn minutes(now: Millis, since: Millis) -> u64 {
    now.since(since) / 60_000
}

/// Whether heads are cosigned; none while the charter wants none.
pub(super) fn check(cosigning: Option<&Cosigning>, size: u64, now: Millis) -> Option<Check> {
    let (name, cosigning) = ("cosignatures", cosigning?);
    let fix =
        w("'puente node status --json' says which witness lacks; see that it runs, and what the charter says of it");
    let not = |state, code, cause, evidence: String| Some(Check::not(state, name, code, cause, evidence, fix));
    let held: Vec<&str> = cosigning.peers.iter().filter(|p| p.held_back).map(|p| p.peer.as_str()).collect();
    if !held.is_empty() {
        let cause =
            w("partners' logs lack cosignatures for longer than the charter bears: nothing is disclosed to them");
        return not(State::Warn, "partners-uncosigned", cause, held.join(", "));
    }
    let shown = format!("{} of {size} entries", cosigning.own);
    match cosigning.pending_since {
        Some(since) if now.since(since) > PENDING_WARN_MILLIS => {
            let cause =
                w("this node's log waits for cosignatures: past the charter's bound partners disclose nothing to it");
            not(State::Warn, "uncosigned", cause, format!("{shown}, since {} min", minutes(now, since)))
        }
        _ => Some(Check::ok(name, w("the log is cosigned by the charter's quorum"), shown)),
    }
}

/// For status, in numbers.
pub(super) fn show(cosigning: &Cosigning, now: Millis) -> Value {
    let seconds = |since: Option<Millis>| since.map(|since| now.since(since) / 1_000);
    let witnesses = cosigning.witnesses.iter().map(|witness| {
        json!({
            "name": witness.name,
            "itself": witness.own,
            "cosigned": witness.cosigned,
            "at": witness.at.map(|at| at.to_string()),
            "trouble": witness.trouble,
        })
    });
    let peers = cosigning.peers.iter().map(|peer| {
        json!({
            "peer": peer.peer.as_str(),
            "cosigned": peer.cosigned,
            "accepted": peer.accepted,
            "pending_seconds": seconds(peer.pending_since),
            "held_back": peer.held_back,
        })
    });
    json!({
        "cosigned": cosigning.own,
        "pending_seconds": seconds(cosigning.pending_since),
        "witnesses": witnesses.collect::<Vec<_>>(),
        "partners_pending": peers.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use puente_exchange::PeerCosigning;

    use super::*;

    fn cosigning() -> Cosigning {
        Cosigning { own: 5, pending_since: Some(Millis(1_000)), witnesses: Vec::new(), peers: Vec::new() }
    }

    #[test]
    fn what_waits_too_long_is_shown_and_what_is_held_back_first() {
        let code = |cosigning: &Cosigning, now| check(Some(cosigning), 9, Millis(now)).map(|c| (c.state, c.code));
        assert!(check(None, 9, Millis(9)).is_none());
        assert_eq!(code(&cosigning(), 2_000).unwrap().0, State::Ok);
        assert_eq!(code(&cosigning(), 301_001), Some((State::Warn, "uncosigned")));
        let peer = PeerCosigning {
            peer: "puente://mx/fgr/n1".parse().unwrap(),
            cosigned: 1,
            accepted: 2,
            pending_since: Some(Millis(1)),
            held_back: true,
        };
        let held = Cosigning { peers: vec![peer], ..cosigning() };
        assert_eq!(code(&held, 2_000), Some((State::Warn, "partners-uncosigned")));
        assert_eq!(show(&held, Millis(5_001))["partners_pending"][0]["pending_seconds"], 5);
    }
}
