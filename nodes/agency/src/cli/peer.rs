//! `puente peer`: who this node exchanges with, apart from what the charter says.

use clap::Subcommand;
use puente_model::NodeUri;
use puente_words::texts;
use serde_json::json;

use super::output::{Failure, Report};
use super::{Context, client, peers};
use crate::control_api::{Answer, Command, Concluded};

/// Longest reason of a block, in characters.
const REASON_MAX: usize = 200;

/// `puente peer`.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// List the members of the charter, with their connections if the node runs.
    List,
    /// Try one member step by step, with the time that each takes; contacts nobody else and asks nothing.
    Test {
        /// The member, for example puente://us/tx-dps/n1.
        peer: NodeUri,
    },
    /// Exchange nothing more with a peer, at once: connections close, no content key leaves. The charter stays as it is.
    Block {
        /// The peer, for example puente://us/tx-dps/n1.
        peer: NodeUri,
        /// Why; stands in the log and in status.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Take a block away.
    Unblock {
        /// The peer.
        peer: NodeUri,
    },
}

texts! {
    /// What it says.
    enum Text {
        Blocked: "blocked";
        Unblocked: "no longer blocked";
        Tell: "tell your governance office: only the annex suspends a member for everybody";
    }
}

pub(super) fn run(context: &Context, command: PeerCommand) -> Result<Report, Failure> {
    let (peer, reason) = match command {
        PeerCommand::List => return peers::list(context),
        PeerCommand::Test { peer } => return peers::test(context, &peer),
        PeerCommand::Block { peer, reason } => (peer, Some(reason)),
        PeerCommand::Unblock { peer } => (peer, None),
    };
    if let Some(reason) = &reason
        && (reason.trim().is_empty() || reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control))
    {
        return Err(Failure::usage("reason", format!("a reason has 1 to {REASON_MAX} characters on one line"))
            .hint("say in a few words why; name no person"));
    }
    let mut node = client::running(context)?;
    let command = match reason.clone() {
        Some(reason) => Command::Block { peer: peer.clone(), reason },
        None => Command::Unblock { peer: peer.clone() },
    };
    let Answer::Concluded(concluded) = client::call(&mut node, command, None)? else {
        return Err(client::unexpected());
    };
    match *concluded {
        Concluded::Recorded { index } => {
            let word = if reason.is_some() { Text::Blocked } else { Text::Unblocked }.get(context.lang);
            let value = json!({"peer": peer.as_str(), "blocked": reason.is_some(), "index": index});
            let report = Report::new(value, format!("{peer}  {word}\n"));
            Ok(if reason.is_some() { report.hint(Text::Tell.get(context.lang)) } else { report })
        }
        Concluded::Invalid { errors } => {
            let first = errors.into_iter().next();
            let (message, hint) = first.map(|e| (format!("{peer}: {}", e.message), e.mend)).unwrap_or_default();
            Err(Failure::usage("no-such-peer", message).hint(hint))
        }
        closed @ (Concluded::LogUnavailable | Concluded::LogSuspended) => Err(client::log_closed(&closed)),
        _ => Err(client::unexpected()),
    }
}
