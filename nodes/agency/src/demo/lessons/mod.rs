//! `puente lessons`: logs that the demo's cast made in training, with one forgery to be found in them, or none.
//!
//! What happened is written down nowhere in a lesson's folder: an answer is judged by auditing the copies again. A digest
//! of what was handed out shows whether these are still the lesson's own.

mod folder;
mod forgeries;
mod judge;
mod prepared;
mod sheet;
mod words;

use std::path::{Path, PathBuf};

use puente_catalogue::Lang;
use serde_json::{Value, json};

use super::words::fill;
use crate::cli::{Failure, Report};
use forgeries::{
    ANSWER_CHANGED, ANSWER_DENIED, BACK_DATED, BIT_OF_ENTRY, BIT_OF_TILE, Event, FILE_LACKS, FORGED_RECEIPT, Forgery,
    NO_ESCROW, NO_RECEIPT, OLDER, PERIOD_CHANGED, PURPOSE_CHANGED, QUESTION_HIDDEN, SWAPPED, TWO_HISTORIES,
};
use prepared::Prepared;
use words::Text;

pub use judge::{Answer, Found, agency, check};

/// One lesson.
pub(super) struct Lesson {
    /// Its name, never translated.
    name: &'static str,
    title: Text,
    /// In a line.
    about: Text,
    /// What is told to begin with.
    scene: Text,
    /// How one goes about it.
    look: Text,
    /// What may have happened.
    forgeries: &'static [&'static Forgery],
    /// Whether it may be that nothing happened.
    honest: bool,
    /// Whether logs are looked at one by one first.
    one_by_one: bool,
    /// Whether evidence is written in every case, and worth a look.
    evidence: bool,
}

/// The lessons, in order of difficulty.
const LESSONS: &[Lesson] = &[
    Lesson {
        name: "courier",
        title: Text::Courier,
        about: Text::CourierAbout,
        scene: Text::CourierScene,
        look: Text::CourierLook,
        forgeries: &[&BIT_OF_ENTRY, &BIT_OF_TILE, &SWAPPED, &FILE_LACKS],
        honest: false,
        one_by_one: true,
        evidence: false,
    },
    Lesson {
        name: "last-days",
        title: Text::Days,
        about: Text::DaysAbout,
        scene: Text::DaysScene,
        look: Text::DaysLook,
        forgeries: &[&OLDER],
        honest: false,
        one_by_one: true,
        evidence: false,
    },
    Lesson {
        name: "letter",
        title: Text::Letter,
        about: Text::LetterAbout,
        scene: Text::LetterScene,
        look: Text::LetterLook,
        forgeries: &[],
        honest: true,
        one_by_one: false,
        evidence: false,
    },
    Lesson {
        name: "denial",
        title: Text::Denial,
        about: Text::DenialAbout,
        scene: Text::DenialScene,
        look: Text::DenialLook,
        forgeries: &[&ANSWER_DENIED, &QUESTION_HIDDEN],
        honest: false,
        one_by_one: false,
        evidence: true,
    },
    Lesson {
        name: "two-stories",
        title: Text::Faces,
        about: Text::FacesAbout,
        scene: Text::FacesScene,
        look: Text::FacesLook,
        forgeries: &[&TWO_HISTORIES],
        honest: false,
        one_by_one: true,
        evidence: true,
    },
    Lesson {
        name: "correction",
        title: Text::Correction,
        about: Text::CorrectionAbout,
        scene: Text::CorrectionScene,
        look: Text::CorrectionLook,
        forgeries: &[&ANSWER_CHANGED, &PURPOSE_CHANGED, &BACK_DATED, &PERIOD_CHANGED],
        honest: false,
        one_by_one: false,
        evidence: true,
    },
    Lesson {
        name: "beside-the-log",
        title: Text::Beside,
        about: Text::BesideAbout,
        scene: Text::BesideScene,
        look: Text::BesideLook,
        forgeries: &[&NO_RECEIPT, &FORGED_RECEIPT, &NO_ESCROW],
        honest: false,
        one_by_one: false,
        evidence: false,
    },
    Lesson {
        name: "audit",
        title: Text::Exam,
        about: Text::ExamAbout,
        scene: Text::ExamScene,
        look: Text::ExamLook,
        forgeries: forgeries::ALL,
        honest: true,
        one_by_one: false,
        evidence: false,
    },
];

impl Lesson {
    fn find(name: &str) -> Result<&'static Self, Failure> {
        LESSONS.iter().find(|lesson| lesson.name == name).ok_or_else(|| {
            Failure::usage("no-such-lesson", format!("no lesson is called '{name}'"))
                .hint("'puente lessons' lists their names")
        })
    }

    /// The one after it.
    fn next(&self) -> Option<&'static Self> {
        let at = LESSONS.iter().position(|lesson| lesson.name == self.name)?;
        LESSONS.get(at + 1)
    }

    /// What happens under this seed.
    fn event(&self, seed: u64) -> Event {
        let mut events = Event::of(self.forgeries);
        if self.honest {
            events.push(Event::Honest);
        }
        let at = seed.checked_rem(events.len() as u64).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| events.get(at).copied()).unwrap_or(Event::Honest)
    }

    fn to_json(&self, lang: Lang) -> Value {
        json!({"name": self.name, "title": self.title.get(lang), "about": self.about.get(lang)})
    }
}

/// Every lesson.
pub fn list(lang: Lang) -> Report {
    let line = |(at, lesson): (usize, &Lesson)| {
        format!("{}. {:<16}{}\n{:19}{}\n", at + 1, lesson.name, lesson.title.get(lang), "", lesson.about.get(lang))
    };
    let text: String = LESSONS.iter().enumerate().map(line).collect();
    let value = json!({"lessons": LESSONS.iter().map(|lesson| lesson.to_json(lang)).collect::<Vec<_>>()});
    let first = LESSONS.first().map_or("", |lesson| lesson.name);
    Report::new(value, text).hint(format!("begin with: puente lessons start {first}")).in_training()
}

/// How a lesson is begun.
#[derive(Debug, Clone)]
pub struct Start {
    /// Which.
    pub name: String,
    /// New or empty folder for it; `lesson-NAME` where the command is run, unless given.
    pub dir: Option<PathBuf>,
    /// Chooses what happened; chance unless given. It is not written down.
    pub seed: Option<u64>,
    /// Folder of the cast, which is kept and used again.
    pub stage: Option<PathBuf>,
}

/// Has the cast do its part, lets happen what happens, and lays the lesson out.
///
/// # Errors
/// There is no such lesson, its folder is not empty, or the cast could not do its part.
pub fn start(start: &Start, lang: Lang) -> Result<Report, Failure> {
    let lesson = Lesson::find(&start.name)?;
    let dir = start.dir.clone().unwrap_or_else(|| PathBuf::from(format!("lesson-{}", lesson.name)));
    let dir = super::empty(&dir)?;
    let seed = match start.seed {
        Some(seed) => seed,
        None => chance()?,
    };
    let temporary = Temporary::unless(start.stage.as_deref());
    let path = temporary.path();
    crate::files::make_private_dir(path).map_err(|error| Failure::file(path, &error))?;
    let prepared = Prepared::at(path, lang)?;
    let pin = folder::lay_out(lesson, lesson.event(seed), &prepared, &dir)?;
    let sheet = sheet::name(lang);
    let shown = dir.display().to_string();
    let text = format!(
        "{}\n{}\n",
        fill(Text::Made.get(lang), &[lesson.name, lesson.title.get(lang)]),
        fill(Text::MadeIn.get(lang), &[&shown, sheet]),
    );
    let value = json!({"lesson": lesson.name, "dir": shown, "read": sheet, "pin": pin});
    Ok(Report::new(value, text).in_training())
}

fn chance() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Failure::unavailable("randomness", error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Where the cast works: a folder that was named, or one that goes with this value. It holds every key.
struct Temporary {
    path: PathBuf,
    goes: bool,
}

impl Temporary {
    fn unless(named: Option<&Path>) -> Self {
        let name = format!("puente-lesson-{}-{}", crate::cli::now().0, std::process::id());
        let path = named.map_or_else(|| std::env::temp_dir().join(name), Path::to_owned);
        Self { path, goes: named.is_none() }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.goes {
            // Whatever is left is invented; the next start has a folder of its own.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
