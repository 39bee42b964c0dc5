//! What the API needs of a node beside its commands.

use puente_charter::OfficerError;
use puente_exchange::outbox;
use puente_model::{Millis, OfficerId};

use super::{Node, now};
use crate::api::{Desk, Half, KNOWN_MAX, KNOWN_MILLIS};
use crate::control::failure;
use crate::control_api::{Answer, Question};
use crate::load::Bearings;

impl Node {
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Catalogue and charter that are in force now.
    pub(crate) fn bearings_now(&self) -> Bearings {
        Bearings { charter: self.now.charter.load_full(), ..self.bearings.clone() }
    }

    /// Whether an officer's grant stands in the log and is in force.
    pub(crate) fn officer_in_force(&self, id: &OfficerId) -> Result<(), OfficerError> {
        self.roll.officer(id, now()).map(|_| ())
    }

    /// Puts a question; with `half` as the second half of its exchange's id.
    pub(crate) async fn put(&self, question: Question, half: Option<Half>) -> Answer {
        self.query(question, half).await
    }

    /// Remembers, once, what was put before this start.
    pub(crate) async fn questions_known(&self) -> Result<(), Answer> {
        let read = || async {
            let (peers, log) = (self.others(), self.bearings.config.log);
            let since = Millis(now().0.saturating_sub(KNOWN_MILLIS));
            let found =
                self.on_disk(move |disk| Ok(outbox::recent(&disk.store()?, &peers, log, since, KNOWN_MAX))).await?;
            let found = found.map_err(|text| failure("disk", text, "restore the evidence store from a backup"))?;
            found.into_iter().for_each(|exchange| self.desk.once.put(exchange.half(), exchange, None));
            Ok(())
        };
        self.desk.once.read.get_or_try_init(read).await.map(|_| ())
    }
}
