//! A witness that is no node: the protocol's own judge, its memory, and a line that can be cut.

use std::collections::BTreeMap;

use puente_audit_log::witness::{ClaimedSubmission, LogRule, Remembered, Witness};
use puente_audit_log::{Checkpoint, Signer as _, empty_root};
use puente_charter::Charter;
use puente_ledger::LedgerOrigin;
use puente_model::{Millis, TreeSize};

use super::world;

/// A witness that serves the logs of every member, and the ledgers of every group, from their beginning.
#[derive(Debug, Default)]
pub struct Server {
    pub unreachable: bool,
    remembered: BTreeMap<String, Remembered>,
    pub cosigned: usize,
}

impl Server {
    /// The newest head of a log that it cosigned.
    pub fn newest(&self, origin: &str) -> Result<Option<Vec<u8>>, String> {
        if self.unreachable {
            return Err("connection refused".to_owned());
        }
        let head = self.remembered.get(origin).map(|known| known.cosigned(&world::cosigner(None)).unwrap());
        Ok(head.map(|head| head.note_bytes().to_vec()))
    }

    pub fn submit(&mut self, now: Millis, charter: &Charter, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        if self.unreachable {
            return Err("connection refused".to_owned());
        }
        let signer = world::cosigner(None);
        let witness = Witness::new(signer.verifier().clone()).unwrap();
        let claimed = match ClaimedSubmission::parse(body) {
            Ok(claimed) => claimed,
            Err(error) => return Ok((400, error.to_string().into_bytes())),
        };
        let log = charter.members().iter().flat_map(|m| &m.logs).find(|log| log.origin.as_str() == claimed.origin());
        let rule = log.map(|log| {
            let empty = Checkpoint::new(log.origin.as_str(), TreeSize(0), empty_root()).unwrap();
            LogRule::new(log.origin.as_str(), vec![log.vkey.parse().unwrap()]).unwrap().pinned(empty).unwrap()
        });
        let rule = rule.or_else(|| {
            let ledger: LedgerOrigin = claimed.origin().parse().ok()?;
            let keys = puente_corridor::rules(charter, ledger.group()).ok()?.keys(&ledger);
            let empty = Checkpoint::new(claimed.origin(), TreeSize(0), empty_root()).unwrap();
            let keys = keys.into_iter().map(|(_, key)| key).collect();
            Some(LogRule::new(claimed.origin(), keys).unwrap().pinned(empty).unwrap())
        });
        match witness.submit(now, &claimed, rule.as_ref(), self.remembered.get(claimed.origin())) {
            Ok(advance) => {
                let remembered = advance.persist(|_| Ok::<(), ()>(())).unwrap();
                let line = remembered.cosign(&signer).unwrap();
                self.remembered.insert(claimed.origin().to_owned(), remembered);
                self.cosigned += 1;
                Ok((200, format!("{line}\n").into_bytes()))
            }
            Err(refusal) => Ok((refusal.status(), refusal.body().into_bytes())),
        }
    }
}
