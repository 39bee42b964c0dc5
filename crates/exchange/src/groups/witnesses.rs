//! Heads of groups' ledgers before the charter's witnesses, and what those know of a ledger.

use puente_audit_log::witness::{WitnessReply as Answer, encode_submission};
use puente_audit_log::{NoteSignature, SignedCheckpoint};
use puente_charter::Witness;
use puente_corridor::Input as Told;
use puente_ledger::{GroupId, LedgerOrigin, WitnessReply};
use puente_model::{Digest, Millis, NodeUri, TreeSize};
use puente_wire::proto;

use crate::control::Problem;
use crate::cosigning::About;
use crate::engine::Engine;

impl Engine {
    fn witness_named(&self, name: &str) -> Option<Witness> {
        self.charter.witness_policy().witnesses().iter().find(|witness| witness.name == name).cloned()
    }

    /// Submits a ledger's head. A witness that cannot be reached is asked again by whoever proposes.
    pub(super) fn submit_ledger(
        &mut self,
        now: Millis,
        group: GroupId,
        name: &str,
        old: TreeSize,
        proof: &[Digest],
        head: SignedCheckpoint,
    ) {
        let Some(witness) = self.witness_named(name) else { return };
        let Ok(body) = encode_submission(old, proof, &head) else { return };
        let about = About::Ledger { group, head };
        // Not reached: nothing is known of it, and nothing is told.
        let _ = self.submit_to(now, &witness, body, about);
    }

    /// What came of it.
    pub(crate) fn ledger_submitted(
        &mut self,
        now: Millis,
        witness: String,
        (group, head): (GroupId, SignedCheckpoint),
        answer: Result<(u16, Vec<u8>), String>,
    ) {
        let Some(key) = self.quorum.key(&witness).cloned() else { return };
        let Ok((status, body)) = answer else { return };
        let reply = match Answer::read(status, &body, &head, &key) {
            Ok(Answer::Cosigned(cosigned, _)) => {
                let lines: Vec<NoteSignature> =
                    cosigned.signatures().iter().filter(|line| line.names(&key)).cloned().collect();
                WitnessReply::Cosigned(lines)
            }
            Ok(Answer::Knows(size)) => WitnessReply::Conflict(size),
            Err(error) if error.is_passing() => return,
            Err(_) => WitnessReply::Refused,
        };
        self.tell_groups(now, Told::Witness { group, witness, head, reply });
    }

    /// Asks a witness what it knows of a ledger.
    pub(super) fn seek_head(&mut self, now: Millis, group: GroupId, name: &str, ledger: LedgerOrigin) {
        let Some(witness) = self.witness_named(name) else { return };
        if let Some(head) = self.seek_at(now, &witness, group.clone(), &ledger) {
            self.tell_groups(now, Told::WitnessHead { group, witness: witness.name, ledger, head });
        }
    }

    /// What a witness knows of a ledger. Its word alone: the head is verified by whoever asked.
    pub(crate) fn sought(&mut self, now: Millis, witness: String, origin: &str, head: Option<Vec<u8>>) {
        let Ok(ledger) = origin.parse::<LedgerOrigin>() else { return };
        let asked = (witness, ledger);
        let Some((group, _)) = self.gathering.sought.remove(&asked) else { return };
        let (witness, ledger) = asked;
        self.tell_groups(now, Told::WitnessHead { group, witness, ledger, head });
    }

    pub(crate) fn on_sought(&mut self, now: Millis, peer: &NodeUri, sought: proto::Sought) -> Result<(), Problem> {
        let mut witnesses = self.charter.witness_policy().witnesses().iter();
        let at_peer = witnesses.find(|witness| witness.url.as_deref() == Some(peer.as_str()));
        let Some(witness) = at_peer.map(|witness| witness.name.clone()) else { return Err(Problem::Ignore) };
        let head = Some(sought.checkpoint).filter(|head| !head.is_empty());
        self.sought(now, witness, &sought.origin, head);
        Ok(())
    }
}
