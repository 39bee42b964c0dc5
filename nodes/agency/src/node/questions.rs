//! What officers do with questions that were put earlier.

use puente_exchange::api::Input;
use puente_exchange::outbox::{self, Filter, LIST_MAX};
use puente_model::{ExchangeId, Millis, NodeUri, OfficerId};

use super::{Node, concluded, now};
use crate::control::failure;
use crate::control_api::Answer;
use crate::outbox::{LIST_DEFAULT, Shown, Wanted};

impl Node {
    fn others(&self) -> Vec<NodeUri> {
        let own = &self.bearings.config.node;
        self.bearings.charter.members().iter().map(|m| m.uri.clone()).filter(|uri| uri != own).collect()
    }

    fn shown(&self, questions: &[outbox::Question]) -> Vec<Shown> {
        let (now, lines) = (now(), self.driver.status().peers);
        let started = Millis(now.0.saturating_sub(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0)));
        questions.iter().map(|question| Shown::of(question, &lines, started, now)).collect()
    }

    /// The questions of this node's that are wanted.
    pub(super) async fn questions(&self, wanted: Wanted) -> Answer {
        let (peers, log) = (self.others(), self.bearings.config.log);
        let limit = wanted.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
        let filter = Filter { officer: wanted.officer, to: wanted.to, open: wanted.open, limit };
        self.read(move |store| outbox::list(store, &peers, log, &filter)).await
    }

    /// Where one question stands.
    pub(super) async fn question_status(&self, exchange: ExchangeId) -> Answer {
        let peers = self.others();
        self.read(move |store| outbox::find(store, &peers, exchange).map(|found| found.into_iter().collect())).await
    }

    async fn read(
        &self,
        work: impl FnOnce(&dyn puente_exchange::api::Store) -> Result<Vec<outbox::Question>, String> + Send + 'static,
    ) -> Answer {
        match self.on_disk(move |disk| Ok(work(&disk.store()?))).await {
            Ok(Ok(questions)) => Answer::Questions { questions: self.shown(&questions) },
            Ok(Err(text)) => failure("disk", text, "restore the evidence store from a backup"),
            Err(answer) => answer,
        }
    }

    /// An answer again, for an officer whose grant is in force.
    pub(super) async fn look(&self, exchange: ExchangeId, officer: &OfficerId) -> Answer {
        match self.roll.officer(officer, now()) {
            Ok(officer) => concluded(self.driver.wish(|ticket| Input::Look { ticket, exchange, officer }).await),
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }
}
