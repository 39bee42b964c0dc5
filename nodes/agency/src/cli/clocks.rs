//! The clocks on which a command's times are shown to people.

use puente_model::NodeUri;
use puente_words::{Clocks, tells_time};

use super::Context;
use super::output::{Failure, Report};
use crate::config::NodeConfig;
use crate::load::Bearings;

impl Context {
    /// For times that concern this node: its own clock and those of the other nations of the charter; UTC alone where
    /// there is no node.
    pub(crate) fn clocks(&self) -> Clocks {
        match Bearings::load(&self.dir) {
            Ok(bearings) => bearings.config.time_zones.clocks(&bearings.config.node, &[], Some(&bearings.charter)),
            Err(_) => self.clocks_with(None),
        }
    }

    /// For times that concern this node and a partner.
    pub(crate) fn clocks_with(&self, partner: Option<&str>) -> Clocks {
        let Ok(config) = NodeConfig::load(&self.dir) else { return Clocks::default() };
        let partner: Option<NodeUri> = partner.and_then(|uri| uri.parse().ok());
        config.time_zones.clocks(&config.node, &partner.iter().collect::<Vec<_>>(), None)
    }
}

/// Rows with the times in their values as people read them.
pub(super) fn spelled(rows: Vec<(String, String)>, clocks: &Clocks) -> Vec<(String, String)> {
    rows.into_iter().map(|(label, value)| (label, clocks.spell(&value))).collect()
}

/// The words about the work, with the times in them as people read them; data stay as they are.
pub(super) fn said(context: &Context, result: Result<Report, Failure>) -> Result<Report, Failure> {
    let told = match &result {
        Ok(report) => report.notes.iter().chain(&report.hints).any(|text| tells_time(text)),
        Err(failure) => std::iter::once(&failure.message).chain(&failure.hint).any(|text| tells_time(text)),
    };
    if context.json || !told {
        return result;
    }
    let clocks = context.clocks();
    match result {
        Ok(mut report) => {
            report.notes.iter_mut().chain(&mut report.hints).for_each(|text| *text = clocks.spell(text));
            Ok(report)
        }
        Err(mut failure) => {
            failure.message = clocks.spell(&failure.message);
            failure.hint = failure.hint.map(|hint| clocks.spell(&hint));
            Err(failure)
        }
    }
}
