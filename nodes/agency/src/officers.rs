//! Officers: what the operator wants (`officers.toml`) and what the log knows (`officers.recorded.toml`).
//!
//! **Only officers whose grant stands in the log may ask.** People and commands
//! edit `officers.toml`; the differences to what is recorded become GRANT and
//! REVOKE events; when an event is durable in the log, [`OfficerBook::recorded`]
//! moves that one change into the recorded file. So an edit by hand takes
//! effect like a command does, and never without an entry. A node does this at
//! start, before it serves anybody, and the `officer` command does it through
//! the control socket of a running node.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use puente_charter::{OfficerError, OfficerRecord, Officers, REVIEW_MILLIS};
use puente_exchange::api::LocalEvent;
use puente_model::{EventKind, Label, Millis, OfficerId};

use crate::approval::{self, AccessChange};
use crate::config::NodeDir;
use crate::files;
use crate::ops::expiry::Ending;

/// Why the officers could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OfficerBookError {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its content.
    #[error(transparent)]
    Officer(#[from] OfficerError),
}

/// One difference between what is wanted and what is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The officer as wanted (for REVOKE of a removed line: as recorded, revoked now).
    pub record: OfficerRecord,
    /// GRANT, BREAK_GLASS (a grant in an emergency), REVIEW (of one) or REVOKE.
    pub kind: EventKind,
}

/// Both files of one node.
#[derive(Debug, Clone)]
pub struct OfficerBook {
    dir: NodeDir,
    wanted: Officers,
    recorded: Officers,
}

impl OfficerBook {
    /// Reads both files; one that does not exist is empty.
    ///
    /// # Errors
    /// A file cannot be read or is malformed.
    pub fn open(dir: &NodeDir) -> Result<Self, OfficerBookError> {
        let wanted = read(dir.officers())?;
        let recorded = in_force(dir)?;
        Ok(Self { dir: dir.clone(), wanted, recorded })
    }

    /// Officers whose grants stand in the log: only these may ask.
    pub fn in_force(&self) -> &Officers {
        &self.recorded
    }

    /// Officers as the operator wants them.
    pub fn wanted(&self) -> &Officers {
        &self.wanted
    }

    /// Writes down a new officer as wanted; it may ask once [`changes`](Self::changes) are recorded.
    ///
    /// # Errors
    /// The id exists, the record is invalid, or the file cannot be written.
    pub fn add(&mut self, record: OfficerRecord) -> Result<(), OfficerBookError> {
        if self.recorded.find(&record.id).is_some() {
            return Err(OfficerError::Exists.into());
        }
        let mut wanted = self.wanted.clone();
        wanted.add(record)?;
        self.write_wanted(wanted)
    }

    /// Writes down what the review of an access in an emergency found.
    ///
    /// # Errors
    /// There is nothing to review, or the file cannot be written.
    pub fn review(&mut self, id: &OfficerId, found: &str) -> Result<(), OfficerBookError> {
        let mut wanted = self.wanted.clone();
        wanted.review(id, found)?;
        self.write_wanted(wanted)
    }

    /// Writes down the end of an officer's grant.
    ///
    /// # Errors
    /// There is no such officer, or the file cannot be written.
    pub fn revoke(&mut self, id: &OfficerId, now: Millis) -> Result<(), OfficerBookError> {
        let mut wanted = self.wanted.clone();
        wanted.revoke(id, now)?;
        self.write_wanted(wanted)
    }

    /// Writes down the end of every grant that has not ended, all at once; returns whose they were.
    ///
    /// # Errors
    /// There is no reason for it, or the file cannot be written.
    pub fn revoke_all(&mut self, now: Millis, why: &str) -> Result<Vec<OfficerId>, OfficerBookError> {
        let mut wanted = self.wanted.clone();
        let ended = wanted.revoke_all(now, why)?;
        self.write_wanted(wanted)?;
        Ok(ended)
    }

    fn write_wanted(&mut self, wanted: Officers) -> Result<(), OfficerBookError> {
        write(self.dir.officers(), &wanted)?;
        self.wanted = wanted;
        Ok(())
    }

    /// What the log does not know yet, in the order in which it must be recorded. An officer who was removed from
    /// the file is revoked as of `now`; one whose name, role or dates were edited is revoked and must be added anew
    /// under another id (ids are never used again). A grant that was revoked before the log had it never was: REVOKE alone is
    /// recorded, and the id is used up.
    pub fn changes(&self, now: Millis) -> Vec<Change> {
        let mut out = Vec::new();
        for recorded in self.recorded.iter().filter(|r| r.revoked.is_none()) {
            let wanted = self.wanted.find(&recorded.id);
            let revoked = match wanted {
                Some(wanted) if same(wanted, recorded) => wanted.revoked,
                _ => Some(now),
            };
            if revoked.is_some() {
                let revoked_for = wanted.map(|wanted| wanted.revoked_for.clone()).unwrap_or_default();
                let record = OfficerRecord { revoked, revoked_for, ..recorded.clone() };
                out.push(Change { record, kind: EventKind::Revoke });
            }
        }
        for recorded in self.recorded.iter().filter(|r| r.review_due().is_some()) {
            if let Some(wanted) = self.wanted.find(&recorded.id).filter(|wanted| !wanted.review.is_empty()) {
                let record = OfficerRecord { review: wanted.review.clone(), ..recorded.clone() };
                out.push(Change { record, kind: EventKind::Review });
            }
        }
        for wanted in self.wanted.iter().filter(|w| self.recorded.find(&w.id).is_none()) {
            let record = OfficerRecord { review: String::new(), ..wanted.clone() };
            let kind = match wanted.revoked {
                Some(_) => EventKind::Revoke,
                None if record.is_emergency() => EventKind::BreakGlass,
                None => EventKind::Grant,
            };
            out.push(Change { record, kind });
        }
        out
    }

    /// Moves a change into the recorded file. Call it only when the change's event is durable in the log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn recorded(&mut self, change: &Change) -> Result<(), OfficerBookError> {
        let mut recorded = self.recorded.clone();
        match (change.kind, change.record.revoked) {
            (EventKind::Revoke, Some(at)) => {
                if recorded.find(&change.record.id).is_none() {
                    let (revoked, revoked_for) = (None, String::new());
                    recorded.add(OfficerRecord { revoked, revoked_for, ..change.record.clone() })?;
                }
                recorded.revoke(&change.record.id, at)?;
            }
            (EventKind::Review, _) => {
                recorded.review(&change.record.id, &change.record.review)?;
            }
            _ => recorded.add(change.record.clone())?,
        }
        write(self.dir.officers_recorded(), &recorded)?;
        self.recorded = recorded;
        Ok(())
    }
}

/// The same but for their ends and reviews.
fn same(one: &OfficerRecord, other: &OfficerRecord) -> bool {
    let OfficerRecord { revoked, revoked_for, review, .. } = one.clone();
    *one == OfficerRecord { revoked, revoked_for, review, ..other.clone() }
}

impl AccessChange for Change {
    const OF: approval::Change = approval::Change::Officers;
    const LABEL: Label = Label("puente/v1/approval/officers");

    fn kind(&self) -> EventKind {
        self.kind
    }

    fn detail(&self) -> Vec<u8> {
        self.event().detail
    }
}

impl Change {
    /// The event that the log must hold before this change takes effect. Who it is about is committed, not shown.
    pub fn event(&self) -> LocalEvent {
        let revoked = self.record.revoked.map_or(0, |at| at.0);
        let mut detail = serde_json::json!({
            "officer": self.record.id.as_str(),
            "name": self.record.name,
            "role": self.record.role.as_str(),
            "granted": self.record.granted.0,
            "expires": self.record.expires.0,
            "revoked": revoked,
        });
        if let Some(object) = detail.as_object_mut().filter(|_| !self.record.revoked_for.is_empty()) {
            object.insert("revoked_for".to_owned(), self.record.revoked_for.as_str().into());
        }
        let emergency = self.record.is_emergency();
        if let Some(object) = detail.as_object_mut().filter(|_| emergency) {
            object.insert("reason".to_owned(), self.record.emergency.as_str().into());
            object.insert("review_due".to_owned(), self.record.granted.plus(REVIEW_MILLIS).0.into());
            object.insert("review".to_owned(), self.record.review.as_str().into());
        }
        LocalEvent {
            kind: self.kind,
            record_type: String::new(),
            count: 1,
            purpose: None,
            basis: None,
            role: Some(self.record.role),
            detail: detail.to_string().into_bytes(),
        }
    }
}

/// Days for which grants that have ended are still told of.
pub const ENDED_DAYS: u64 = 30;
const DAY: u64 = 86_400_000;

/// When grants end that were not revoked: day by day, and for [`ENDED_DAYS`] after it. Access in an emergency is meant to
/// end, and is not told of.
pub fn endings(officers: &Officers, now: Millis) -> Vec<Ending> {
    let lately =
        |o: &&OfficerRecord| o.revoked.is_none() && !o.is_emergency() && o.expires.plus(ENDED_DAYS * DAY) > now;
    // Of each day: how many, the longest that one was granted for, the first end.
    let mut days: BTreeMap<u64, (usize, u64, Millis)> = BTreeMap::new();
    for officer in officers.iter().filter(lately) {
        let (life, end) = (officer.expires.since(officer.granted), officer.expires);
        let day = days.entry(end.0 / DAY).or_insert((0, life, end));
        *day = (day.0 + 1, day.1.max(life), day.2.min(end));
    }
    days.into_values().map(|(count, life, end)| Ending::officers(count, life, end)).collect()
}

/// How many grants have their end told of now.
pub fn told(officers: &Officers, now: Millis) -> usize {
    let due = endings(officers, now).into_iter().filter(|ending| ending.stage(now).is_some());
    due.filter_map(|ending| ending.name.parse::<usize>().ok()).sum()
}

/// Officers whose grants stand in the log, whatever is wanted.
///
/// # Errors
/// The recorded file cannot be read or is malformed.
pub fn in_force(dir: &NodeDir) -> Result<Officers, OfficerBookError> {
    read(dir.officers_recorded())
}

fn read(path: PathBuf) -> Result<Officers, OfficerBookError> {
    match files::read_text(&path) {
        Ok(text) => Ok(Officers::parse(&path.display().to_string(), &text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Officers::default()),
        Err(error) => Err(OfficerBookError::File { path, error }),
    }
}

fn write(path: PathBuf, officers: &Officers) -> Result<(), OfficerBookError> {
    let text = officers.to_toml()?;
    files::replace(&path, text.as_bytes(), true).map_err(|error| OfficerBookError::File { path, error })
}

#[cfg(test)]
mod tests {
    use puente_model::Role;

    use super::*;

    fn ana() -> OfficerRecord {
        OfficerRecord {
            id: "o-1042".parse().unwrap(),
            name: "Ana Ruiz".to_owned(),
            role: Role::Investigator,
            granted: Millis(1_000),
            emergency: String::new(),
            review: String::new(),
            expires: Millis(9_000_000),
            revoked: None,
            revoked_for: String::new(),
        }
    }

    #[test]
    fn nobody_may_ask_before_the_grant_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        let mut book = OfficerBook::open(&dir).unwrap();
        book.add(ana()).unwrap();
        assert!(book.in_force().find(&ana().id).is_none());
        let mut book = OfficerBook::open(&dir).unwrap();
        let changes = book.changes(Millis(2_000));
        assert_eq!(changes, [Change { record: ana(), kind: EventKind::Grant }]);
        book.recorded(&changes[0]).unwrap();
        assert!(book.changes(Millis(2_000)).is_empty());
        assert!(OfficerBook::open(&dir).unwrap().in_force().active(&ana().id, Millis(2_000)).is_ok());

        book.revoke(&ana().id, Millis(3_000)).unwrap();
        let changes = book.changes(Millis(4_000));
        assert_eq!((changes.len(), changes[0].kind), (1, EventKind::Revoke));
        book.recorded(&changes[0]).unwrap();
        let book = OfficerBook::open(&dir).unwrap();
        assert!(book.changes(Millis(5_000)).is_empty());
        assert!(book.in_force().active(&ana().id, Millis(3_000)).is_err());
    }

    #[test]
    fn the_end_of_every_grant_is_recorded_one_by_one_wherever_it_breaks_off() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        let mut book = OfficerBook::open(&dir).unwrap();
        for id in ["o-1", "o-2", "o-3"] {
            book.add(OfficerRecord { id: id.parse().unwrap(), ..ana() }).unwrap();
        }
        for grant in book.changes(Millis(2_000)).into_iter().take(2) {
            book.recorded(&grant).unwrap();
        }
        assert_eq!(book.revoke_all(Millis(3_000), "another government").unwrap().len(), 3);
        // The third never was: nobody has to approve what nobody wants any more.
        let left = |book: &OfficerBook| -> Vec<_> {
            let changes = book.changes(Millis(9_000));
            let right = |c: &Change| (c.kind, c.record.revoked) == (EventKind::Revoke, Some(Millis(3_000)));
            assert!(changes.iter().all(right), "{changes:?}");
            changes.iter().map(|change| change.record.id.to_string()).collect()
        };
        assert_eq!(left(&book), ["o-1", "o-2", "o-3"]);
        let first = book.changes(Millis(4_000)).remove(0);
        book.recorded(&first).unwrap();
        // The process ends here, and the command is given again.
        let mut book = OfficerBook::open(&dir).unwrap();
        assert!(book.revoke_all(Millis(5_000), "once more").unwrap().is_empty());
        assert_eq!(left(&book), ["o-2", "o-3"]);
        for change in book.changes(Millis(6_000)) {
            book.recorded(&change).unwrap();
        }
        let book = OfficerBook::open(&dir).unwrap();
        assert!(left(&book).is_empty());
        for id in ["o-1", "o-2", "o-3"] {
            let refused = book.in_force().active(&id.parse().unwrap(), Millis(3_000)).map(|_| ());
            assert_eq!(refused, Err(OfficerError::Revoked { at: Millis(3_000) }));
        }
    }

    #[test]
    fn edits_by_hand_are_recorded_like_commands() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        let mut book = OfficerBook::open(&dir).unwrap();
        book.add(ana()).unwrap();
        let grant = book.changes(Millis(2_000)).remove(0);
        book.recorded(&grant).unwrap();
        // Promoted by hand: the recorded grant ends.
        let text = std::fs::read_to_string(dir.officers()).unwrap().replace("investigator", "prosecutor");
        std::fs::write(dir.officers(), text).unwrap();
        let book = OfficerBook::open(&dir).unwrap();
        let changes = book.changes(Millis(7_000));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].record.revoked, Some(Millis(7_000)));
        // Removed by hand: the same.
        std::fs::write(dir.officers(), "").unwrap();
        assert_eq!(OfficerBook::open(&dir).unwrap().changes(Millis(7_000)), changes);
    }

    #[test]
    fn ids_are_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(folder.path());
        let mut book = OfficerBook::open(&dir).unwrap();
        book.add(ana()).unwrap();
        let grant = book.changes(Millis(2_000)).remove(0);
        book.recorded(&grant).unwrap();
        std::fs::write(dir.officers(), "").unwrap();
        let mut book = OfficerBook::open(&dir).unwrap();
        assert!(matches!(book.add(ana()), Err(OfficerBookError::Officer(OfficerError::Exists))));
    }

    #[test]
    fn ends_are_told_of_day_by_day_and_name_nobody() {
        let at = |days: u64| Millis(days * DAY);
        let granted = |id: &str, from: u64, days: u64, emergency: &str, revoked: Option<Millis>| OfficerRecord {
            id: id.parse().unwrap(),
            granted: at(from),
            expires: at(from + days),
            emergency: emergency.to_owned(),
            revoked,
            ..ana()
        };
        let mut officers = Officers::default();
        for record in [
            granted("o-1", 0, 365, "", None),
            granted("o-2", 200, 165, "", None),
            granted("o-3", 0, 370, "", None),
            granted("o-4", 0, 365, "", Some(at(9))),
            granted("o-5", 364, 1, "a child is missing", None),
        ] {
            officers.add(record).unwrap();
        }
        let ends = |day: u64| -> Vec<(String, Millis)> {
            endings(&officers, at(day)).into_iter().map(|ending| (ending.name, ending.end)).collect()
        };
        let both = vec![("2".to_owned(), at(365)), ("1".to_owned(), at(370))];
        assert_eq!((ends(300), ends(394)), (both.clone(), both));
        assert_eq!(ends(395), [("1".to_owned(), at(370))], "thirty days after its end");
        assert_eq!([300, 335, 340, 366].map(|day| told(&officers, at(day))), [0, 2, 3, 3]);
    }

    #[test]
    fn events_debug_without_the_person() {
        let change = Change { record: ana(), kind: EventKind::Grant };
        let text = format!("{change:?} {:?}", change.event());
        assert!(!text.contains("Ruiz") && !text.contains("o-1042"), "{text}");
    }
}
