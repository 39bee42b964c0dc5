//! What ends, and the notices of it: at 30, 14, 7 and 1 day before the end and at the end, each once, however often the
//! node is started.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use puente_charter::{Charter, CharterStatus};
use puente_model::{Jurisdiction, Millis};

use crate::ca;
use crate::files;
use crate::renewal::Life;

/// Days before an end at which it is told; 0 is the end itself.
pub const NOTICE_DAYS: [u32; 5] = [30, 14, 7, 1, 0];
const DAY: u64 = 86_400_000;

/// That something ends soon, or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which of [`NOTICE_DAYS`].
    pub days: u32,
    /// Stable name, never translated.
    pub code: &'static str,
    /// In words.
    pub message: String,
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What it is: `charter`, `charter-grace`, `certificate`, `root`, `legal-basis`, `api-key` or `officers`. Stable, never
    /// translated.
    pub what: &'static str,
    /// Which one, where there are several; of officers only how many: who they are is nobody's business but theirs.
    pub name: String,
    /// When it ends.
    pub end: Millis,
    /// How long it lives, of what is told of in the last third of its life alone.
    pub life: Option<u64>,
}

impl Ending {
    fn new(what: &'static str, name: impl Into<String>, end: Millis) -> Self {
        Self { what, name: name.into(), end, life: None }
    }

    /// The end of a node's certificate.
    pub fn certificate(life: Life) -> Self {
        Self { life: Some(life.end.since(life.begin)), ..Self::new("certificate", "", life.end) }
    }

    /// The end of an API key of the node's: its id, how long it was granted for, and until when.
    pub fn api_key(id: String, granted: Millis, end: Millis) -> Self {
        Self { life: Some(end.since(granted)), ..Self::new("api-key", id, end) }
    }

    /// The end of so many officers' grants on one day: the first of them, and for how long they were granted.
    pub fn officers(count: usize, life: u64, end: Millis) -> Self {
        Self { life: Some(life), ..Self::new("officers", count.to_string(), end) }
    }

    /// The newest notice that is due. What is renewed at two thirds of its life is told of only once it should have been;
    /// a key that was granted for a week is not told of on its first day.
    pub fn stage(&self, now: Millis) -> Option<u32> {
        let left = self.end.since(now);
        let told = |days: &&u32| left <= u64::from(**days) * DAY;
        let late = |days: &&u32| self.life.is_none_or(|life| u64::from(**days) * DAY <= life / 3);
        NOTICE_DAYS.iter().filter(late).rev().find(told).copied()
    }

    /// Stable name of the notice.
    fn code(&self, now: Millis) -> &'static str {
        match (self.what, self.end <= now) {
            ("charter", false) => "charter-ends",
            ("charter", true) | ("charter-grace", false) => "charter-grace",
            ("charter-grace", true) => "charter-expired",
            ("certificate", false) => "certificate-ends",
            ("certificate", true) => "certificate-ended",
            ("root", false) => "root-ends",
            ("root", true) => "root-ended",
            ("api-key", false) => "api-key-ends",
            ("api-key", true) => "api-key-ended",
            ("officers", false) => "officer-grants-end",
            ("officers", true) => "officer-grants-ended",
            (_, false) => "legal-basis-ends",
            (_, true) => "legal-basis-lapsed",
        }
    }

    /// The newest notice that is due, in words.
    pub fn notice(&self, now: Millis) -> Option<Notice> {
        let stage = self.stage(now)?;
        let (days, end, name) = (self.end.since(now).div_ceil(DAY), self.end, &self.name);
        let message = match (self.what, self.end <= now) {
            ("charter", false) => format!("the charter ends in {days} days"),
            ("charter", true) => "the charter has ended: nothing new is admitted, and its grace runs".to_owned(),
            ("charter-grace", false) => {
                format!("the charter has ended: nothing new is admitted, and exchange stops in {days} days")
            }
            ("charter-grace", true) => "the charter and its grace have ended: nothing is exchanged".to_owned(),
            ("certificate", false) => format!("this node's certificate ends at {end}"),
            ("certificate", true) => format!("this node's certificate ended at {end}: no peer speaks with it"),
            ("root", false) => format!("a root of this nation ends in {days} days: no certificate outlives it"),
            ("root", true) => "a root of this nation has ended: its certificates count for nothing".to_owned(),
            ("api-key", false) => format!("the API key {name} ends in {days} days"),
            ("api-key", true) => format!("the API key {name} has ended: its program is let in no more"),
            ("officers", false) => format!("officers' grants that end in {days} days: {name}"),
            ("officers", true) => format!("officers' grants that have ended, so that nobody asks with them: {name}"),
            (_, false) => format!("the legal basis '{name}' lapses in {days} days"),
            (_, true) => format!("the legal basis '{name}' has lapsed"),
        };
        Some(Notice { days: stage, code: self.code(now), message })
    }
}

/// Everything of a node's papers that ends, the gravest first.
pub fn endings(charter: &Charter, nation: &Jurisdiction, certificate: Option<Life>, now: Millis) -> Vec<Ending> {
    let common = charter.common();
    let mut out = vec![Ending::new("charter", "", common.expires)];
    if matches!(charter.status(now), CharterStatus::Grace { .. } | CharterStatus::Expired) {
        out.push(Ending::new("charter-grace", "", common.expires.plus(u64::from(common.grace_days) * DAY)));
    }
    out.extend(certificate.map(Ending::certificate));
    let roots = charter.ca_roots(nation).iter().filter_map(|root| ca::root_end(root));
    out.extend(roots.map(|end| Ending::new("root", nation.as_str(), end)));
    out.extend(charter.legal_bases().iter().map(|base| Ending::new("legal-basis", base.id.to_string(), base.expires)));
    out
}

/// Which notices were given: a file in the node's folder, a line each.
#[derive(Debug)]
pub struct Notices {
    path: PathBuf,
    given: BTreeSet<String>,
    count: u64,
}

fn line(ending: &Ending, days: u32) -> String {
    format!("{} {} {} {days}", ending.what, ending.end, ending.name)
}

impl Notices {
    /// What was told before. A file that cannot be read counts as empty: better told twice than never.
    pub fn open(path: &Path) -> Self {
        let text = files::read_text(path).unwrap_or_default();
        Self { path: path.to_owned(), given: text.lines().map(str::to_owned).collect(), count: 0 }
    }

    /// Notices given since the start.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Notices that are due and were not given; from now on they were. What has been renewed is forgotten.
    ///
    /// # Errors
    /// They could not be written down: the next start tells them again.
    pub fn due<'e>(&mut self, endings: &'e [Ending], now: Millis) -> (Vec<&'e Ending>, std::io::Result<()>) {
        let due: Vec<(&Ending, String)> = endings.iter().filter_map(|e| Some((e, line(e, e.stage(now)?)))).collect();
        let lines: BTreeSet<String> = due.iter().map(|(_, line)| line.clone()).collect();
        let fresh: Vec<&Ending> =
            due.into_iter().filter(|(_, line)| !self.given.contains(line)).map(|(ending, _)| ending).collect();
        if lines == self.given {
            return (fresh, Ok(()));
        }
        self.count = self.count.saturating_add(fresh.len() as u64);
        self.given = lines;
        let text: String = self.given.iter().map(|line| format!("{line}\n")).collect();
        (fresh, files::replace(&self.path, text.as_bytes(), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_795_305_600_000);

    fn ends_in(days: u64) -> Ending {
        Ending::new("legal-basis", "mlat-1987", NOW.plus(days * DAY))
    }

    #[test]
    fn notices_come_at_thirty_fourteen_seven_and_one_day() {
        let table =
            [(31, None), (30, Some(30)), (15, Some(30)), (14, Some(14)), (7, Some(7)), (2, Some(7)), (1, Some(1))];
        for (days, notice) in table {
            assert_eq!(ends_in(days).stage(NOW), notice, "{days}");
        }
        assert_eq!(ends_in(0).stage(NOW), Some(0));
        assert_eq!(ends_in(0).code(NOW), "legal-basis-lapsed");
        // What is renewed at two thirds of fourteen days is not told of at thirty, fourteen and seven.
        let certificate = |days: u64, life: u64| Ending { life: Some(life * DAY), ..ends_in(days) }.stage(NOW);
        assert_eq!((certificate(14, 14), certificate(5, 14), certificate(1, 14)), (None, None, Some(1)));
        assert_eq!((certificate(31, 90), certificate(30, 90), certificate(6, 90)), (None, Some(30), Some(7)));
    }

    #[test]
    fn an_api_key_is_told_of_in_the_last_third_of_its_life() {
        let key = |life: u64, left: u64| {
            let end = NOW.plus(left * DAY);
            Ending::api_key("0011223344556677".to_owned(), Millis(end.0 - life * DAY), end).notice(NOW)
        };
        let days = |life, left| key(life, left).map(|notice| notice.days);
        let of_ninety = [31, 30, 14, 7, 1, 0].map(|left| days(90, left));
        assert_eq!(of_ninety, [None, Some(30), Some(14), Some(7), Some(1), Some(0)]);
        assert_eq!([7, 3, 1].map(|left| days(7, left)), [None, None, Some(1)]);
        let told = key(90, 14).unwrap();
        assert_eq!((told.code, &*told.message), ("api-key-ends", "the API key 0011223344556677 ends in 14 days"));
        assert_eq!(key(90, 0).unwrap().code, "api-key-ended");
    }

    #[test]
    fn officers_are_told_of_by_their_number_alone() {
        let told = |left: u64| Ending::officers(3, 365 * DAY, NOW.plus(left * DAY)).notice(NOW);
        let days = [31, 30, 14, 7, 1, 0].map(|left| told(left).map(|notice| notice.days));
        assert_eq!(days, [None, Some(30), Some(14), Some(7), Some(1), Some(0)]);
        let notice = told(7).unwrap();
        assert_eq!((notice.code, &*notice.message), ("officer-grants-end", "officers' grants that end in 7 days: 3"));
        assert_eq!(told(0).unwrap().code, "officer-grants-ended");
    }

    #[test]
    fn each_notice_is_given_once_whatever_is_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notices.recorded");
        let (endings, mut given) = ([ends_in(20), ends_in(100)], Vec::new());
        for day in 0..25 {
            let mut notices = Notices::open(&path);
            for _ in 0..3 {
                let now = NOW.plus(day * DAY);
                let (due, written) = notices.due(&endings, now);
                written.unwrap();
                given.extend(due.into_iter().map(|ending| (day, ending.notice(now).unwrap().message)));
            }
        }
        let days: Vec<u64> = given.iter().map(|(day, _)| *day).collect();
        assert_eq!(days, [0, 6, 13, 19, 20], "{given:?}");
        // What was renewed is told of anew.
        let renewed = [ends_in(60)];
        let mut notices = Notices::open(&path);
        assert!(notices.due(&renewed, NOW).0.is_empty());
        assert_eq!(notices.due(&renewed, NOW.plus(31 * DAY)).0.len(), 1);
        assert_eq!(notices.count(), 1);
    }
}
