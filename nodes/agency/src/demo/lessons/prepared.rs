//! The stage of every lesson: the demo's cast has founded its federation, asked and answered, all in training, and its
//! logs are copied for an auditor of Mexico.

use std::path::{Path, PathBuf};

use puente_catalogue::Lang;
use puente_model::Secret32;

use super::super::acts::about_vehicle;
use super::super::cast::{AGENCIES, Agency, FGE_BC, TRAINING, TX_DPS};
use super::super::stage::Stage;
use super::super::tamper::log_key;
use super::super::teller::Teller;
use crate::cli::Failure;
use crate::files;

/// The nation whose auditor the learner is.
pub(super) const NATION: &str = "mx";
/// Seed of the invented records.
const SEED: u64 = 42;
/// Records of each agency.
const RECORDS: usize = 40;
/// Says that everything below was made to its end.
const MADE: &str = "lessons.stage";

/// A folder in which the cast has done all that lessons need. It holds the honest logs and every key: not for those who
/// learn.
#[derive(Debug)]
pub(super) struct Prepared {
    root: PathBuf,
}

impl Prepared {
    /// The cast in this folder: what it left there earlier, or what it does now, in separate processes.
    pub(super) fn at(root: &Path, lang: Lang) -> Result<Self, Failure> {
        if root.join(MADE).is_file() {
            return Ok(Self { root: root.to_owned() });
        }
        let root = super::super::folder(Some(root))?;
        play(&root, lang)?;
        let made = root.join(MADE);
        files::create(&made, format!("{}\n", crate::training::BANNER).as_bytes(), false)
            .map_err(|e| Failure::file(&made, &e))?;
        Ok(Self { root })
    }

    /// A path below the folder.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The copies that the learner gets, before anybody changed one.
    pub(super) fn copies(&self) -> PathBuf {
        self.path("copies").join(NATION)
    }

    /// A copy of this agency's log from before the last questions.
    pub(super) fn before(&self, agency: &Agency) -> PathBuf {
        self.path("before").join(agency.folder())
    }

    /// With what this agency signs its log.
    pub(super) fn key(&self, agency: &Agency) -> Result<Secret32, Failure> {
        log_key(&self.root, agency)
    }
}

fn play(root: &Path, lang: Lang) -> Result<(), Failure> {
    let mut stage = Stage::new(root.to_owned(), TRAINING, SEED, RECORDS, Teller::new(lang, None))?;
    stage.training = true;
    stage.found()?;
    stage.bring_in_records()?;
    stage.stolen_vehicle()?;
    stage.firearms()?;
    for agency in AGENCIES {
        let to = stage.at(&format!("before/{}", agency.folder()));
        let whose = if agency.nation() == NATION { "own" } else { "foreign" };
        let args = ["--dir", &stage.node_dir(agency), "log", "export", &to, "--auditor", whose];
        stage.program.json(&args)?;
    }
    // Everybody signs further heads, which somebody else keeps.
    stage.statutory_refusal()?;
    stage.domestic()?;
    let vin = stage.vehicle(TX_DPS.id, 3)?.vin;
    let params = [("vin", vin.as_str())];
    let asked = stage.ask(&about_vehicle(&params))?;
    let answered = asked.conclusion() == "answered";
    stage.close_and_copy()?;
    stage.stop();
    let failed = stage.teller.failures().first().cloned();
    let failed = failed.or_else(|| (!answered).then(|| format!("{}: {}", FGE_BC.id, asked.why())));
    match failed {
        None => Ok(()),
        Some(why) => Err(Failure::unavailable("lesson", format!("the cast of the lesson did not do its part: {why}"))
            .hint("try again in an empty folder")),
    }
}
