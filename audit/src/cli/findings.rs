//! `puente-audit findings`: what was found while watching, who sees to it, what the agency replied.

use clap::Subcommand;
use puente_words::{say, text, texts};
use serde_json::{Value, json};

use super::{Cli, now, out, print_json, words};
use crate::{Act, Acts, AuditError, Casebook, Conclusion, Handling, Kept, Lang};

texts! {
    /// How a finding stands with people.
    enum Text {
        Nobody: "nobody";
        Waits: "no reply";
    }
}

/// What is done about findings.
#[derive(Debug, Subcommand)]
pub(super) enum FindingsCommand {
    /// List the findings that monitor keeps, the oldest first.
    List {
        /// Only those that are given to nobody, or to which nothing was replied.
        #[arg(long)]
        open: bool,
    },
    /// Show one finding, with everything that was done about it.
    Show {
        /// Its name, or the beginning of it.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Give a finding to somebody who sees to it.
    Assign {
        /// Its name, or the beginning of it.
        #[arg(value_name = "ID")]
        id: String,
        /// Who.
        #[arg(value_name = "NAME")]
        to: String,
    },
    /// Enter what the agency replied.
    Reply {
        /// Its name, or the beginning of it.
        #[arg(value_name = "ID")]
        id: String,
        /// Who said so: the agency, and its person.
        #[arg(long, value_name = "NAME")]
        from: String,
        /// What was said.
        #[arg(value_name = "TEXT")]
        text: String,
    },
}

pub(super) fn run(cli: &Cli, command: &FindingsCommand) -> Result<Conclusion, AuditError> {
    let kept = Casebook::kept(&cli.state)?;
    let mut acts = Acts::open(&cli.state)?;
    match command {
        FindingsCommand::List { open } => {
            let waits =
                |one: &&Kept| acts.of(&one.id).is_none_or(|of| of.assigned_to.is_none() || of.replies.is_empty());
            let listed: Vec<&Kept> = kept.iter().filter(|one| !open || waits(one)).collect();
            if cli.json {
                let all = listed.iter().map(|one| value(one, acts.of(&one.id)));
                print_json(&json!({ "findings": all.collect::<Result<Vec<Value>, _>>()? }))?;
            } else if listed.is_empty() {
                words(text(cli.lang(), "There is none."));
            } else {
                listed.iter().try_for_each(|one| line(cli.lang(), one, acts.of(&one.id)))?;
            }
        }
        FindingsCommand::Show { id } => show(cli, named(&kept, id)?, &acts)?,
        FindingsCommand::Assign { id, to } => {
            let one = named(&kept, id)?;
            acts.add(&one.id, Act::Assigned { to: to.clone() }, now())?;
            show(cli, one, &acts)?;
        }
        FindingsCommand::Reply { id, from, text } => {
            let one = named(&kept, id)?;
            acts.add(&one.id, Act::Reply { from: from.clone(), text: text.clone() }, now())?;
            show(cli, one, &acts)?;
        }
    }
    Ok(Conclusion::Sound)
}

/// The finding whose name begins so.
fn named<'k>(kept: &'k [Kept], id: &str) -> Result<&'k Kept, AuditError> {
    let mut found = kept.iter().filter(|one| !id.is_empty() && one.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(AuditError::NoFinding { id: id.chars().take(40).collect() }),
        (Some(_), Some(_)) => Err(AuditError::ManyFindings { id: id.chars().take(40).collect() }),
    }
}

fn value(one: &Kept, handling: Option<&Handling>) -> Result<Value, AuditError> {
    let failed = |error: serde_json::Error| AuditError::Unreadable(error.to_string());
    let mut value: Value = serde_json::from_str(&one.line).map_err(failed)?;
    value["handling"] = serde_json::to_value(handling.cloned().unwrap_or_default()).map_err(failed)?;
    Ok(value)
}

fn line(lang: Lang, one: &Kept, handling: Option<&Handling>) -> Result<(), AuditError> {
    let to = handling.and_then(|of| of.assigned_to.as_deref()).unwrap_or(Text::Nobody.get(lang));
    let replies = handling.map_or(0, |of| of.replies.len());
    let replied = match replies {
        0 => Text::Waits.get(lang).to_owned(),
        many => say(lang, &format!("{many} replies")).into_owned(),
    };
    let sentence = if lang == Lang::Es { &one.es } else { &one.en };
    out(&format!("{}  {}  {to}, {replied}: {sentence}", one.id, one.first_seen))
}

fn show(cli: &Cli, one: &Kept, acts: &Acts) -> Result<(), AuditError> {
    let (lang, handling) = (cli.lang(), acts.of(&one.id));
    if cli.json {
        return print_json(&value(one, handling)?);
    }
    line(lang, one, handling)?;
    if let Some(evidence) = &one.evidence {
        out(&format!("  {} {evidence}", text(lang, "evidence:")))?;
    }
    for reply in handling.map(|of| of.replies.as_slice()).unwrap_or_default() {
        out(&format!("  {}  {}: {}", reply.at, reply.from, reply.text.replace('\n', "\n    ")))?;
    }
    Ok(())
}
