//! What officers do with questions that were put earlier.

use puente_exchange::api::Input;
use puente_exchange::lead::{Facts, Finding};
use puente_exchange::outbox::{self, Filter, LIST_MAX};
use puente_exchange::{inbox, matters};
use puente_model::limits::DEADLINE_MILLIS_MAX;
use puente_model::{ExchangeId, Millis, NodeUri, OfficerId, Urgency};

use super::{Node, concluded, now};
use crate::control::failure;
use crate::control_api::Answer;
use crate::inbox::{Decided, ToReview, Waiting};
use crate::outbox::{Examined, LIST_DEFAULT, Shown, ShownMatter, Wanted};

impl Node {
    pub(super) fn others(&self) -> Vec<NodeUri> {
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

    /// An officer confirms or refutes a hit; the step-2 question after CONFIRM goes on by itself.
    pub(super) async fn examine(&self, examined: Examined) -> Answer {
        let Examined { exchange, officer, facts, confirmed } = examined;
        let facts = match Facts::new(&facts) {
            Ok(facts) => facts,
            Err(error) => return failure("facts", error, "state the facts with --facts"),
        };
        let officer = match self.roll.officer(&officer, now()) {
            Ok(officer) => officer,
            Err(error) => return failure("officer", error, "list the officers with 'puente officer list'"),
        };
        let finding = match confirmed {
            None => Finding::Refuted,
            Some(more) => Finding::Confirmed {
                due_at: now().plus(more.due_in_millis.min(DEADLINE_MILLIS_MAX)),
                urgency: if more.justification.is_empty() { Urgency::Routine } else { Urgency::Urgent },
                justification: more.justification,
                offence: more.offence,
                stays: true,
            },
        };
        let wish = |ticket| Input::Examine { ticket, exchange, officer, facts, finding };
        concluded(self.driver.wish(wish).await)
    }

    /// The questions that wait for a person's decision.
    pub(super) async fn inbox(&self) -> Answer {
        match self.on_disk(move |disk| Ok(inbox::list(&disk.store()?))).await {
            Ok(Ok(parked)) => {
                let questions: Vec<_> = parked.iter().map(|one| Waiting::of(one, now())).collect();
                let urgent = parked.iter().filter(|one| one.urgency == Urgency::Urgent).count();
                Answer::Inbox { questions, urgent }
            }
            Ok(Err(text)) => failure("disk", text, "restore the evidence store from a backup"),
            Err(answer) => answer,
        }
    }

    /// The answers to be reviewed.
    pub(super) async fn reviews(&self) -> Answer {
        match self.on_disk(move |disk| Ok(inbox::reviews(&disk.store()?))).await {
            Ok(Ok(found)) => {
                let reviews: Vec<_> = found.iter().map(|one| ToReview::of(one, now())).collect();
                let due = reviews.iter().filter(|one| one.overdue).count();
                Answer::Reviews { reviews, due }
            }
            Ok(Err(text)) => failure("disk", text, "restore the evidence store from a backup"),
            Err(answer) => answer,
        }
    }

    /// An officer looked at one of them.
    pub(super) async fn reviewed(&self, exchange: ExchangeId, officer: &OfficerId, note: String) -> Answer {
        match self.roll.officer(officer, now()) {
            Ok(officer) => {
                concluded(self.driver.wish(|ticket| Input::Reviewed { ticket, exchange, officer, note }).await)
            }
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }

    /// The matters that this node brought.
    pub(super) async fn matters(&self) -> Answer {
        let (peers, log) = (self.others(), self.bearings.config.log);
        let catalogue = self.bearings.catalogue.clone();
        match self.on_disk(move |disk| Ok(matters::list(&disk.store()?, &peers, log, &catalogue))).await {
            Ok(Ok(found)) => {
                let now = now();
                Answer::Matters { matters: found.iter().map(|one| ShownMatter::of(one, now)).collect() }
            }
            Ok(Err(text)) => failure("disk", text, "restore the evidence store from a backup"),
            Err(answer) => answer,
        }
    }

    /// A question that waits, for an officer whose role decides on it.
    pub(super) async fn inspect(&self, exchange: ExchangeId, officer: &OfficerId) -> Answer {
        match self.roll.officer(officer, now()) {
            Ok(officer) => concluded(self.driver.wish(|ticket| Input::Inspect { ticket, exchange, officer }).await),
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
        }
    }

    /// A person's decision.
    pub(super) async fn decide(&self, exchange: ExchangeId, officer: &OfficerId, decided: Decided) -> Answer {
        let decision = match decided.decision() {
            Ok(decision) => decision,
            Err(error) => return failure("decision", error, "see 'puente inbox --help'"),
        };
        match self.roll.officer(officer, now()) {
            Ok(officer) => {
                concluded(self.driver.wish(|ticket| Input::Decide { ticket, exchange, officer, decision }).await)
            }
            Err(error) => failure("officer", error, "list the officers with 'puente officer list'"),
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
