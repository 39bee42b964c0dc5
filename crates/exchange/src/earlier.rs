//! Matters that were accepted from peers: what a later question is compared with, so that one matter is not begun twice.
//!
//! Nothing of it is published. The keys under which a question would find an accepted one are kept as digests with a
//! secret of this node's; what they lead to is compared in full, and the other asker learns that there is one, and the
//! leaf hash of the QUERY by which the two agencies can agree which goes on.

use puente_catalogue::{MatchKey, QueryKindSpec, RecordType};
use puente_model::{Digest, ExchangeId, Label, Millis, Mode, NodeUri, Outcome, Step, digest};
use puente_wire::{PairBody, QueryPayload};

use crate::engine::Engine;
use crate::finding::Asked;
use crate::holder::Holding;
use crate::persist;

/// Names a match key in the store; local to a node.
const MATTER: Label = Label("puente/v1/local/matter");
/// Accepted matters that one key leads to and that are compared.
const COMPARED_MAX: usize = 256;

/// A matter that was accepted before, and the name of the key under which it was found.
pub(crate) struct Earlier {
    pub(crate) query_leaf: Digest,
    pub(crate) key: String,
}

type Put = (Vec<u8>, Option<Vec<u8>>);

fn named(secret: &[u8], mode: Mode, key: &MatchKey) -> [u8; 32] {
    digest(MATTER, &[secret, mode.as_str().as_bytes(), key.name.as_bytes(), key.value.as_bytes()]).0
}

impl Engine {
    /// A matter accepted from anybody that this question says again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn earlier(
        &self,
        now: Millis,
        exchange: ExchangeId,
        mode: Mode,
        (kind, record_type): (&QueryKindSpec, &RecordType),
        asked: &Asked,
    ) -> Result<Option<Earlier>, String> {
        let Some(hold) = self.holds.get(&exchange) else { return Ok(None) };
        let asker = hold.peer.agency();
        let compare = |held: &Holding| -> Option<Earlier> {
            let payload = QueryPayload::decode(&held.stored.payload).ok()?;
            let record = kind.record_of(record_type, &kind.params_from_pairs(&payload.params).ok()?)?;
            let bytes = record.bytes();
            let concerns = kind.concerns(record_type, Step::HitNoHit, bytes, &asked.params, &asked.keys, &asker, now);
            let key = concerns.ok()??.key?;
            Some(Earlier { query_leaf: held.query_leaf, key: key.to_string() })
        };
        // Accepted a moment ago, and not yet in the store.
        let accepted = |held: &Holding| {
            let Some((pair, _)) = &held.answer else { return false };
            let of_kind = pair.terms().is_some_and(|t| t.kind == *kind.kind() && t.mode == mode);
            of_kind && matches!(pair.body, PairBody::Answer { outcome: Outcome::NoHit, .. })
        };
        let others = self.holds.iter().filter(|(id, held)| **id != exchange && accepted(held));
        if let Some(earlier) = others.into_iter().find_map(|(_, held)| compare(held)) {
            return Ok(Some(earlier));
        }
        let Some(secret) = self.store.get(&persist::matter_secret_key())? else { return Ok(None) };
        for key in &asked.keys {
            let prefix = persist::matter_key(&named(&secret, mode, key), None);
            for (found, peer) in self.store.scan(&prefix, &[], COMPARED_MAX)? {
                let Some(id) = found.last_chunk::<16>().map(|id| ExchangeId(*id)).filter(|id| *id != exchange) else {
                    continue;
                };
                let peer: NodeUri = std::str::from_utf8(&peer)
                    .map_err(|e| e.to_string())?
                    .parse()
                    .map_err(|e: puente_model::NameError| e.to_string())?;
                let Some(held) = self.load_hold(&peer, id)? else { continue };
                if let Some(earlier) = compare(&held) {
                    return Ok(Some(earlier));
                }
            }
        }
        Ok(None)
    }

    /// What is kept so that later questions find this one, once it is accepted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn offers(
        &mut self,
        exchange: ExchangeId,
        mode: Mode,
        (kind, record_type): (&QueryKindSpec, &RecordType),
        asked: &Asked,
    ) -> Result<Vec<Put>, String> {
        let Some(record) = kind.record_of(record_type, &asked.params) else { return Ok(Vec::new()) };
        let keys = record_type.match_keys_of(&record).map_err(|e| e.to_string())?;
        let Some(peer) = self.holds.get(&exchange).map(|hold| hold.peer.clone()) else { return Ok(Vec::new()) };
        let mut puts = Vec::new();
        let secret = match (self.matter_secret.clone(), self.store.get(&persist::matter_secret_key())?) {
            (_, Some(secret)) => secret,
            // On its way to the disk.
            (Some(secret), None) => secret,
            (None, None) => {
                let secret = self.random::<32>().to_vec();
                puts.push((persist::matter_secret_key(), Some(secret.clone())));
                secret
            }
        };
        self.matter_secret = Some(secret.clone());
        let put = |key: &MatchKey| {
            let name = named(&secret, mode, key);
            (persist::matter_key(&name, Some(exchange)), Some(peer.as_str().as_bytes().to_vec()))
        };
        puts.extend(keys.iter().map(put));
        Ok(puts)
    }
}
