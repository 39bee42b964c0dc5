//! Records that are erased under one ERASE, as a file says which.

use std::io;

use puente_exchange::api::LocalEvent;
use puente_model::{Digest, EventKind, Label, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::files;
use crate::records::identity;
use crate::training;

const ROOT: Label = Label("puente/v1/erased");

/// Records of one type that are erased under one ERASE.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    record_type: String,
    /// Why they had to go.
    rule: String,
    /// Invented ones.
    training: bool,
    /// Over the salt and the identities, ascending.
    root: String,
    /// Their identities.
    records: Vec<String>,
    /// SHA-256 of their bytes, by which what opens their commitments is found.
    openings: Vec<String>,
}

fn parsed<C: FromIterator<Digest>>(digests: &[String]) -> io::Result<C> {
    digests.iter().map(|text| text.parse().map_err(|_| io::ErrorKind::InvalidData.into())).collect()
}

impl Batch {
    /// Of these canonical bytes.
    pub(super) fn of<'r>(
        record_type: &str,
        rule: &str,
        training: bool,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> io::Result<Self> {
        let salt = files::fresh_secret()?;
        let (mut identities, openings): (Vec<Digest>, Vec<String>) =
            records.map(|bytes| (identity(record_type, bytes), Digest::of(bytes).to_string())).unzip();
        identities.sort_unstable();
        let mut covered: Vec<&[u8]> = vec![salt.expose().as_slice()];
        covered.extend(identities.iter().map(|record| record.as_bytes().as_slice()));
        let root = digest(ROOT, &covered).to_string();
        let records = identities.iter().map(Digest::to_string).collect();
        let (record_type, rule) = (record_type.to_owned(), rule.to_owned());
        Ok(Self { record_type, rule, training, root, records, openings })
    }

    /// A name that no other has.
    pub(super) fn name(&self) -> &str {
        &self.root
    }

    pub(super) fn record_type(&self) -> &str {
        &self.record_type
    }

    /// Identities of the records.
    pub(super) fn records(&self) -> io::Result<Vec<Digest>> {
        parsed(&self.records)
    }

    /// SHA-256 of the records' bytes.
    pub(super) fn openings<C: FromIterator<Digest>>(&self) -> io::Result<C> {
        parsed(&self.openings)
    }

    /// The entry that says that they go.
    pub(super) fn event(&self) -> LocalEvent {
        let count = self.records.len() as u64;
        let Self { record_type, rule, root, .. } = self;
        let detail = json!({"root": root, "count": count, "record_type": record_type, "rule": rule});
        let event = LocalEvent {
            kind: EventKind::Erase,
            record_type: record_type.clone(),
            count,
            purpose: None,
            basis: None,
            role: None,
            detail: detail.to_string().into_bytes(),
        };
        if self.training { training::marked(event) } else { event }
    }
}
