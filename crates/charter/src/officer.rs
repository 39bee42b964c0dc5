use std::fmt;

use puente_model::{Millis, OfficerId, Role};
use serde::{Deserialize, Serialize};

use crate::check::text;
use crate::text::{line_of, maybe_when, one, when};

/// An officer's individual identity under its agency. Personal data: [`fmt::Debug`] hides it.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OfficerRecord {
    /// Identity within the agency.
    #[serde(with = "one")]
    pub id: OfficerId,
    /// Name of the person.
    pub name: String,
    /// What the officer may be asked to do.
    #[serde(with = "one")]
    pub role: Role,
    /// Since when.
    #[serde(with = "when")]
    pub granted: Millis,
    /// First instant at which the grant no longer counts.
    #[serde(with = "when")]
    pub expires: Millis,
    /// When it was revoked, if it was.
    #[serde(default, with = "maybe_when", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Millis>,
    /// Why everybody's grant was revoked with it; empty where it alone was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revoked_for: String,
    /// Why access was granted in an emergency; empty for an ordinary grant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub emergency: String,
    /// What the review of an access in an emergency found; empty until it was reviewed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub review: String,
}

/// How long an access in an emergency lasts at most, in milliseconds.
pub const EMERGENCY_MILLIS_MAX: u64 = 24 * 3_600_000;
/// How long after its grant an access in an emergency is to be reviewed, in milliseconds.
pub const REVIEW_MILLIS: u64 = 3 * 86_400_000;
/// Characters of a reason or a finding at most.
const REASON_CHARS_MAX: usize = 500;

impl OfficerRecord {
    /// Whether access was granted in an emergency.
    pub const fn is_emergency(&self) -> bool {
        !self.emergency.is_empty()
    }

    /// When the review of an access in an emergency is due; none if there is nothing to review any more.
    pub fn review_due(&self) -> Option<Millis> {
        (self.is_emergency() && self.review.is_empty()).then(|| self.granted.plus(REVIEW_MILLIS))
    }
}

impl fmt::Debug for OfficerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfficerRecord")
            .field("role", &self.role)
            .field("granted", &self.granted)
            .field("expires", &self.expires)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}

/// Why an officer may not act, or a list of officers was not accepted. Names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfficerError {
    /// No officer has this id.
    #[error("no officer has this id; list them with 'puente officer list'")]
    Unknown,
    /// The grant begins later.
    #[error("the officer's grant begins at {at}")]
    NotYet {
        /// When.
        at: Millis,
    },
    /// The grant ended.
    #[error("the officer's grant expired at {at}; grant it anew")]
    Expired {
        /// When.
        at: Millis,
    },
    /// The grant was revoked.
    #[error("the officer's grant was revoked at {at}")]
    Revoked {
        /// When.
        at: Millis,
    },
    /// An officer with this id exists already.
    #[error("an officer with this id exists already; ids are never used again")]
    Exists,
    /// The grant's dates or name are wrong.
    #[error("an officer needs a name of 1 to 200 characters and a grant that ends after it begins")]
    Invalid,
    /// An access in an emergency lasts too long, or is explained at too great length.
    #[error("access in an emergency lasts at most 24 hours; reason and review have at most 500 characters")]
    Emergency,
    /// A reason for which everybody's grant would be revoked.
    #[error("revoking everybody needs a reason of 1 to 500 characters")]
    Reason,
    /// The access needs no review.
    #[error("only an access in an emergency is reviewed, and only once")]
    NoReview,
    /// The file does not parse.
    #[error("{file}, line {line}: {message}")]
    Toml {
        /// File name.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

/// An agency's officers: the file `officers.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Officers {
    #[serde(default, rename = "officer")]
    records: Vec<OfficerRecord>,
}

impl Officers {
    /// Reads the file; `file` is its name for errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, OfficerError> {
        let error =
            |line, message: &str| OfficerError::Toml { file: file.to_owned(), line, message: message.to_owned() };
        let read: Self = toml::from_str(text)
            .map_err(|e| error(line_of(text, e.span().map_or(0, |span| span.start)), e.message()))?;
        let mut out = Self::default();
        for record in read.records {
            out.add(record)?;
        }
        Ok(out)
    }

    /// Prints the file.
    pub fn to_toml(&self) -> Result<String, OfficerError> {
        let error =
            |e: toml::ser::Error| OfficerError::Toml { file: "officers".to_owned(), line: 1, message: e.to_string() };
        toml::to_string_pretty(self).map_err(error)
    }

    /// Adds an officer. An id is never used again, so that old entries stay unambiguous.
    pub fn add(&mut self, record: OfficerRecord) -> Result<(), OfficerError> {
        if record.granted >= record.expires || text("name", &record.name).is_err() {
            return Err(OfficerError::Invalid);
        }
        let long = |text: &str| text.chars().count() > REASON_CHARS_MAX;
        let lasting = record.expires.since(record.granted) > EMERGENCY_MILLIS_MAX;
        if long(&record.emergency)
            || long(&record.review)
            || long(&record.revoked_for)
            || (record.is_emergency() && lasting)
        {
            return Err(OfficerError::Emergency);
        }
        if self.find(&record.id).is_some() {
            return Err(OfficerError::Exists);
        }
        self.records.push(record);
        Ok(())
    }

    /// Revokes an officer from `now` on; a second revocation changes nothing.
    pub fn revoke(&mut self, id: &OfficerId, now: Millis) -> Result<&OfficerRecord, OfficerError> {
        let record = self.records.iter_mut().find(|r| &r.id == id).ok_or(OfficerError::Unknown)?;
        record.revoked.get_or_insert(now);
        Ok(record)
    }

    /// Revokes every grant that has not ended, from `now` on; returns whose they were. A second time it finds nobody.
    ///
    /// # Errors
    /// The reason is empty or too long.
    pub fn revoke_all(&mut self, now: Millis, why: &str) -> Result<Vec<OfficerId>, OfficerError> {
        let why = why.trim();
        if why.is_empty() || why.chars().count() > REASON_CHARS_MAX {
            return Err(OfficerError::Reason);
        }
        let lasting = self.records.iter_mut().filter(|r| r.revoked.is_none() && now < r.expires);
        let end = |record: &mut OfficerRecord| {
            record.revoked = Some(now);
            why.clone_into(&mut record.revoked_for);
            record.id.clone()
        };
        Ok(lasting.map(end).collect())
    }

    /// Writes down what the review of an access in an emergency found.
    ///
    /// # Errors
    /// There is no such officer, nothing to review, or the text is empty or too long.
    pub fn review(&mut self, id: &OfficerId, found: &str) -> Result<&OfficerRecord, OfficerError> {
        let record = self.records.iter_mut().find(|r| &r.id == id).ok_or(OfficerError::Unknown)?;
        if !record.is_emergency() || !record.review.is_empty() || found.trim().is_empty() {
            return Err(OfficerError::NoReview);
        }
        if found.chars().count() > REASON_CHARS_MAX {
            return Err(OfficerError::Emergency);
        }
        found.trim().clone_into(&mut record.review);
        Ok(record)
    }

    /// Every officer, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &OfficerRecord> {
        self.records.iter()
    }

    /// An officer, active or not.
    pub fn find(&self, id: &OfficerId) -> Option<&OfficerRecord> {
        self.records.iter().find(|r| &r.id == id)
    }

    /// An officer who may act now.
    pub fn active(&self, id: &OfficerId, now: Millis) -> Result<&OfficerRecord, OfficerError> {
        let record = self.find(id).ok_or(OfficerError::Unknown)?;
        match record.revoked {
            Some(at) if now >= at => Err(OfficerError::Revoked { at }),
            _ if now < record.granted => Err(OfficerError::NotYet { at: record.granted }),
            _ if now >= record.expires => Err(OfficerError::Expired { at: record.expires }),
            _ => Ok(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[[officer]]
id = "o-1042"
name = "Ana Ruiz"
role = "investigator"
granted = 2026-01-01
expires = 2027-01-01T00:00:00Z
"#;

    #[test]
    fn officers_act_only_while_granted() {
        let mut officers = Officers::parse("officers.toml", FILE).unwrap();
        let id: OfficerId = "o-1042".parse().unwrap();
        let (granted, expires) = (Millis(1_767_225_600_000), Millis(1_798_761_600_000));
        assert_eq!(officers.active(&id, Millis(granted.0 - 1)), Err(OfficerError::NotYet { at: granted }));
        assert!(officers.active(&id, granted).is_ok());
        assert!(officers.active(&id, Millis(expires.0 - 1)).is_ok());
        assert_eq!(officers.active(&id, expires), Err(OfficerError::Expired { at: expires }));
        assert_eq!(officers.active(&"x".parse().unwrap(), granted), Err(OfficerError::Unknown));
        let at = Millis(granted.0 + 1_234);
        officers.revoke(&id, at).unwrap();
        officers.revoke(&id, expires).unwrap();
        assert!(officers.active(&id, granted).is_ok());
        assert_eq!(officers.active(&id, at), Err(OfficerError::Revoked { at }));
        assert_eq!(Officers::parse("o", &officers.to_toml().unwrap()), Ok(officers));
    }

    #[test]
    fn all_that_lasts_is_revoked_at_once_for_a_reason() {
        let next = FILE.replace("o-1042", "o-7").replace("2027-01-01T00:00:00Z", "2026-02-01");
        let mut officers = Officers::parse("o", &format!("{FILE}{next}")).unwrap();
        let now = Millis(1_772_323_200_000);
        for bad in [" ".to_owned(), "x".repeat(501)] {
            assert_eq!(officers.revoke_all(now, &bad), Err(OfficerError::Reason));
        }
        let id: OfficerId = "o-1042".parse().unwrap();
        assert_eq!(officers.revoke_all(now, " the government changed "), Ok(vec![id.clone()]), "the other has ended");
        assert_eq!(officers.active(&id, now), Err(OfficerError::Revoked { at: now }));
        assert_eq!(officers.find(&id).unwrap().revoked_for, "the government changed");
        assert_eq!(Officers::parse("o", &officers.to_toml().unwrap()).as_ref(), Ok(&officers));
        let before = officers.clone();
        assert_eq!(officers.revoke_all(now.plus(1), "again"), Ok(vec![]));
        assert_eq!(officers, before);
    }

    #[test]
    fn access_in_an_emergency_is_short_explained_and_reviewed() {
        let file = |hours: u64| {
            let expires = Millis(1_767_225_600_000 + hours * 3_600_000);
            let file = FILE.replace("2027-01-01T00:00:00Z", &expires.to_string());
            format!("{file}emergency = \"a child was taken\"\n")
        };
        assert_eq!(Officers::parse("o", &file(25)), Err(OfficerError::Emergency));
        let mut officers = Officers::parse("o", &file(24)).unwrap();
        let id: OfficerId = "o-1042".parse().unwrap();
        let due = officers.find(&id).unwrap().review_due();
        assert_eq!(due, Some(Millis(1_767_225_600_000 + REVIEW_MILLIS)));
        assert_eq!(officers.review(&id, " "), Err(OfficerError::NoReview));
        officers.review(&id, "it was needed").unwrap();
        assert_eq!(officers.find(&id).unwrap().review_due(), None);
        assert_eq!(officers.review(&id, "again"), Err(OfficerError::NoReview));
        assert_eq!(Officers::parse("o", &officers.to_toml().unwrap()), Ok(officers));
        let mut ordinary = Officers::parse("o", FILE).unwrap();
        assert_eq!(ordinary.review(&id, "x"), Err(OfficerError::NoReview));
    }

    #[test]
    fn debug_and_errors_hide_the_person() {
        let officers = Officers::parse("officers.toml", FILE).unwrap();
        let text = format!("{officers:?}");
        assert!(!text.contains("Ruiz") && !text.contains("o-1042"), "{text}");
    }

    #[test]
    fn bad_files_name_the_line() {
        let unknown = FILE.replace("name =", "nombre =");
        let error = Officers::parse("officers.toml", &unknown).unwrap_err().to_string();
        assert!(error.starts_with("officers.toml, line 4: unknown field"), "{error}");
        assert_eq!(Officers::parse("o", &format!("{FILE}{FILE}")), Err(OfficerError::Exists));
        assert_eq!(Officers::parse("o", &FILE.replace("2027", "2025")), Err(OfficerError::Invalid));
        let role = FILE.replace("\"investigator\"", "\"boss\"");
        assert!(Officers::parse("o", &role).unwrap_err().to_string().contains("line 5"));
    }
}
