//! `puente lessons`: learning to audit on invented logs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use puente_model::AgencyId;

use super::Context;
use super::output::{Failure, Report};
use crate::demo::lessons::{self, Answer, Found, Start};

/// `puente lessons`.
#[derive(Debug, Args)]
pub struct LessonsArgs {
    /// What to do; without it the lessons are listed.
    #[command(subcommand)]
    command: Option<LessonsCommand>,
}

/// What to do with a lesson.
#[derive(Debug, Subcommand)]
enum LessonsCommand {
    /// Begin a lesson: --dir names a new or empty folder for it, lesson-NAME unless given.
    Start {
        /// Its name in the list.
        name: String,
        /// Chooses what happened: the same number, the same case. Chance unless given; it is written down nowhere.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// For teachers: where the cast works, kept and used again for further lessons. Whoever reads it knows the answers.
        #[arg(long, value_name = "FOLDER")]
        stage: Option<PathBuf>,
    },
    /// Judge an answer by auditing the copies again, and say how one sees it.
    Check {
        /// The lesson's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// What was found: the class in square brackets, 'sound', or 'could-not-tell'.
        #[arg(long, value_name = "CLASS", required_unless_present = "give_up")]
        found: Option<Found>,
        /// Who answers for it, for example us/tx-dps.
        #[arg(long, value_name = "AGENCY", value_parser = lessons::agency)]
        by: Option<AgencyId>,
        /// The entry that the finding names.
        #[arg(long, value_name = "N")]
        entry: Option<u64>,
        /// Show the answer.
        #[arg(long, conflicts_with_all = ["found", "by", "entry"])]
        give_up: bool,
    },
}

pub(super) fn run(context: &Context, args: LessonsArgs) -> Result<Report, Failure> {
    match args.command {
        None => Ok(lessons::list(context.lang)),
        Some(LessonsCommand::Start { name, seed, stage }) => {
            // The current folder is what --dir says if it is not given: no folder for a lesson.
            let dir = context.dir.path();
            let dir = (dir != std::path::Path::new(".")).then(|| dir.to_owned());
            lessons::start(&Start { name, dir, seed, stage }, context.lang)
        }
        Some(LessonsCommand::Check { folder, found, by, entry, give_up: _ }) => {
            let answer = found.map(|found| Answer { found, by, entry });
            lessons::check(&folder, answer.as_ref(), context.now, context.lang)
        }
    }
}
