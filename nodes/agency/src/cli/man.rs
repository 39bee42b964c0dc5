//! `puente man`: the manual, made from the definition of the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use puente_words::manual;
use serde_json::json;

use super::args::Cli;
use super::output::{Failure, Report};
use crate::files;

/// `puente man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for them, for example /usr/local/share/man.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub(super) fn write(args: &ManArgs) -> Result<Report, Failure> {
    let pages = manual::pages(&Cli::command()).map_err(|error| Failure::unavailable("man", error.to_string()))?;
    for (path, page) in &pages {
        let path = args.out.join(path);
        let folder = path.parent().unwrap_or(&args.out);
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
        files::replace(&path, page, false).map_err(|error| Failure::file(&path, &error))?;
    }
    let value = json!({"folder": args.out.display().to_string(), "pages": pages.len()});
    let hint = format!("read them with: man -M {} puente", args.out.display());
    Ok(Report::new(value, format!("{}\n", args.out.display())).hint(hint))
}
