//! What officers do with alerts.

use puente_exchange::alerts;
use puente_exchange::api::Input;
use puente_model::{Digest, OfficerId};

use super::{Node, concluded, now};
use crate::alerts::{Shown, Wished};
use crate::control::failure;
use crate::control_api::Answer;

impl Node {
    /// Says something to everybody in a group.
    pub(super) async fn publish_alert(&self, mut wished: Wished) -> Answer {
        // Within a federation a corridor's own name says enough.
        if !wished.group.contains('/') {
            wished.group = format!("{}/{}", self.now.charter.load().federation(), wished.group);
        }
        match self.roll.officer(&wished.officer, now()) {
            Ok(officer) => {
                let draft = Box::new(wished.draft(officer, now()));
                concluded(self.driver.wish(|ticket| Input::PublishAlert { ticket, draft }).await)
            }
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }

    /// An officer acknowledges another node's alert.
    pub(super) async fn acknowledge_alert(&self, alert: Digest, officer: &OfficerId, note: String) -> Answer {
        match self.roll.officer(officer, now()) {
            Ok(officer) => {
                let wish = |ticket| Input::AcknowledgeAlert { ticket, alert, officer, note };
                concluded(self.driver.wish(wish).await)
            }
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }

    /// An officer cancels an alert of this node's.
    pub(super) async fn cancel_alert(&self, alert: Digest, officer: &OfficerId, reason: String) -> Answer {
        match self.roll.officer(officer, now()) {
            Ok(officer) => {
                let wish = |ticket| Input::CancelAlert { ticket, alert, officer, reason };
                concluded(self.driver.wish(wish).await)
            }
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }

    /// The alerts that this node made or was told.
    pub(super) async fn alerts(&self) -> Answer {
        match self.on_disk(move |disk| Ok(alerts::list(&disk.store()?))).await {
            Ok(Ok(found)) => {
                let now = now();
                Answer::Alerts { alerts: found.iter().map(|one| Shown::of(one, now)).collect() }
            }
            Ok(Err(text)) => failure("disk", text, "restore the evidence store from a backup"),
            Err(answer) => answer,
        }
    }
}
