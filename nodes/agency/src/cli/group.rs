//! `puente group`: the groups that this node is in.

use clap::Subcommand;
use puente_model::NodeUri;
use puente_words::{say, text};
use serde_json::{Value, json};

use super::output::{Failure, Report, table};
use super::{Context, client};
use crate::control_api::{Answer, Command, GroupWant};

/// `puente group`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups that this node is in, each with its epoch and members.
    List,
    /// Give a group fresh keys now; every node does so by itself once a day.
    Rekey {
        /// The group, for example frontera/otay.
        group: String,
    },
    /// Take a member out of a group at once; it stays out until somebody adds it again. The charter stays as it is.
    Remove {
        /// The group.
        group: String,
        /// The member, for example puente://us/tx-dps/n1.
        node: NodeUri,
    },
    /// Let a node in that was removed, and that the charter has in the group.
    Add {
        /// The group.
        group: String,
        /// The node.
        node: NodeUri,
    },
}

pub(super) fn run(context: &Context, command: GroupCommand) -> Result<Report, Failure> {
    let (group, want) = match command {
        GroupCommand::List => return list(context),
        GroupCommand::Rekey { group } => (group, GroupWant::Rekey),
        GroupCommand::Remove { group, node } => (group, GroupWant::Remove { node }),
        GroupCommand::Add { group, node } => (group, GroupWant::Add { node }),
    };
    let mut node = client::running(context)?;
    match client::call(&mut node, Command::Group { group: group.clone(), want }, None)? {
        Answer::Done => Ok(Report::new(json!({"group": group}), "")
            .note("the group was told: its members take it in as soon as the commit is ordered")
            .hint("'puente group list' shows the next epoch")),
        _ => Err(client::unexpected()),
    }
}

fn list(context: &Context) -> Result<Report, Failure> {
    let mut node = client::running(context)?;
    let Answer::Groups { groups } = client::call(&mut node, Command::Groups, None)? else {
        return Err(client::unexpected());
    };
    let lang = context.lang;
    let shown = |group: &Value| {
        let members: Vec<&str> = group["members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let epoch = match group["epoch"].as_u64() {
            Some(epoch) => say(lang, &format!("epoch {epoch}")).into_owned(),
            None => text(lang, "enters anew").to_owned(),
        };
        (group["group"].as_str().unwrap_or_default().to_owned(), format!("{epoch}: {}", members.join(", ")))
    };
    let rows: Vec<(String, String)> = groups.iter().map(shown).collect();
    let report = Report::new(json!({"groups": groups}), table(&rows));
    Ok(if groups.is_empty() {
        report.note("this node is in no group: the charter names its corridors")
    } else {
        report
    })
}
