//! `puente peer`.

use clap::Subcommand;
use puente_model::NodeUri;

use super::output::{Failure, Report};
use super::{Context, peers};

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
}

pub(super) fn run(context: &Context, command: PeerCommand) -> Result<Report, Failure> {
    match command {
        PeerCommand::List => peers::list(context),
        PeerCommand::Test { peer } => peers::test(context, &peer),
    }
}
