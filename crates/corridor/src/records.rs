//! The records of a group's order as they are kept: numbered, in order, and no more of them than are needed.

use std::collections::BTreeMap;

use puente_audit_log::ClaimedCheckpoint;
use puente_ledger::{Engine, GroupId, Record};
use puente_model::{Digest, Millis};

use crate::api::Put;
use crate::kept::{self, Kind};

/// What is kept under one number.
struct Kept {
    /// Hash of its bytes.
    hash: Digest,
    /// The record, if it is of a kind that only its like says again; entries and rosters are the engine's.
    record: Option<Record>,
}

/// The records of one group's order. They outlive this node's membership: auditors read them, and whoever comes in again is
/// to be shown what extends them.
#[derive(Default)]
pub(crate) struct Records {
    kept: BTreeMap<u64, Kept>,
    /// The newest cosigned head of each ledger, by the ledger's name.
    heads: BTreeMap<String, Vec<u8>>,
    /// When it is looked next what of them is not needed any more.
    pub(crate) prune_at: Millis,
}

impl Records {
    /// Reads them again; what they are is the engine's to say.
    pub(crate) fn load(&mut self, number: u64, record: &Record) {
        self.note_head(record);
        self.kept.insert(number, Kept::of(record, &record.encode()));
    }

    /// One more.
    pub(crate) fn push(&mut self, group: &GroupId, record: &Record) -> Put {
        self.note_head(record);
        let number = self.kept.last_key_value().map_or(0, |(last, _)| last + 1);
        self.put(group, number, record.encode(), record)
    }

    /// These, in the place of all that there are. What stays where it stands is not written again.
    pub(crate) fn replace(&mut self, group: &GroupId, records: &[Record]) -> Vec<Put> {
        let mut numbers: Vec<u64> = self.kept.keys().copied().collect();
        let over = numbers.split_off(records.len().min(numbers.len()));
        let next = numbers.last().map_or(0, |last| last + 1);
        let mut puts = Vec::new();
        for (number, record) in numbers.into_iter().chain(next..).zip(records) {
            self.note_head(record);
            let bytes = record.encode();
            if self.kept.get(&number).is_none_or(|kept| kept.hash != Digest::of(&bytes)) {
                puts.push(self.put(group, number, bytes, record));
            }
        }
        for number in over {
            self.kept.remove(&number);
            puts.push((key(group, number), None));
        }
        puts
    }

    /// What changes if only what is needed is kept: commits of entries from `since` on, so that members that are not further
    /// behind can follow. Nothing while a commit waits to be settled.
    pub(crate) fn prune(&mut self, group: &GroupId, ledger: &Engine, since: Millis) -> Vec<Put> {
        let loose = self.kept.values().filter_map(|kept| kept.record.clone()).collect();
        ledger.prune(loose, since).map(|records| self.replace(group, &records)).unwrap_or_default()
    }

    /// The newest cosigned head of each ledger.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.heads.values()
    }

    fn put(&mut self, group: &GroupId, number: u64, bytes: Vec<u8>, record: &Record) -> Put {
        self.kept.insert(number, Kept::of(record, &bytes));
        (key(group, number), Some(bytes))
    }

    fn note_head(&mut self, record: &Record) {
        let (Record::Accepted { head, .. } | Record::Verified { head, .. }) = record else { return };
        if let Ok(claimed) = ClaimedCheckpoint::parse(head) {
            self.heads.insert(claimed.claimed().origin().to_owned(), head.clone());
        }
    }
}

impl Kept {
    fn of(record: &Record, bytes: &[u8]) -> Self {
        use Record::{Commit, Held, Kept, Staged};
        let loose = matches!(record, Commit(_) | Held { .. } | Kept { .. } | Staged { .. });
        Self { hash: Digest::of(bytes), record: loose.then(|| record.clone()) }
    }
}

fn key(group: &GroupId, number: u64) -> Vec<u8> {
    kept::key(group, Kind::Order, &number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(names: &[&str]) -> Vec<Record> {
        names.iter().map(|name| Record::Commit(name.as_bytes().into())).collect()
    }

    #[test]
    fn what_is_kept_is_what_was_put_last_and_no_more_is_written_than_changed() {
        let group: GroupId = "frontera/otay".parse().unwrap();
        let (mut records, mut disk) = (Records::default(), BTreeMap::new());
        let apply = |disk: &mut BTreeMap<Vec<u8>, Vec<u8>>, puts: Vec<Put>| {
            let written = puts.len();
            for (key, value) in puts {
                match value {
                    Some(value) => drop(disk.insert(key, value)),
                    None => assert!(disk.remove(&key).is_some()),
                }
            }
            written
        };
        let read = |disk: &BTreeMap<Vec<u8>, Vec<u8>>| {
            disk.values().map(|bytes| Record::decode(bytes).unwrap()).collect::<Vec<_>>()
        };
        for record in commits(&["a", "b", "c", "d"]) {
            let put = records.push(&group, &record);
            apply(&mut disk, vec![put]);
        }
        for (names, written) in
            [(&["a", "b", "d"][..], 2), (&["a", "b", "d"], 0), (&["a"], 2), (&["x", "y"], 2), (&[], 2)]
        {
            let puts = records.replace(&group, &commits(names));
            assert_eq!((apply(&mut disk, puts), read(&disk)), (written, commits(names)));
            let again = records.push(&group, &commits(&["z"])[0]);
            apply(&mut disk, vec![again]);
            assert_eq!(read(&disk), commits(&[names, &["z"]].concat()));
            let puts = records.replace(&group, &commits(names));
            apply(&mut disk, puts);
        }
    }
}
