//! Processes that die in the middle, and the closing of periods.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use puente_model::ExchangeId;
use puente_wire::PairKind;
use serde_json::json;

use super::acts::about_vehicle;
use super::cast::{AUDITORS, Agency, FGE_BC, FGR, NATIONS, TX_DPS};
use super::process::{Begun, Ran};
use super::stage::{Asked, Question, Stage};
use super::words::Text;
use crate::cli::Failure;
use crate::control_api::{Command, Concluded};

/// How long a question may take to become durable.
const ASKING: Duration = Duration::from_secs(15);

impl Stage {
    /// SIGKILL to the holder and to the asker, each with a question under way.
    pub(super) fn crashes(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActCrash);
        self.holder_dies()?;
        self.asker_dies()
    }

    fn holder_dies(&mut self) -> Result<(), Failure> {
        let (holder, asker) = (self.name(TX_DPS), self.name(FGE_BC));
        self.teller.say(Text::CrashHolder, &[&holder, &asker]);
        let vin = self.vehicle(TX_DPS.id, 2)?.vin;
        let params = [("vin", vin.as_str())];
        let question = about_vehicle(&params);
        let (begun, exchange) = self.freeze_and_ask(&question)?;
        self.node(TX_DPS)?.kill();
        self.expect_half(&question, exchange)?;
        self.node(TX_DPS)?.start()?;
        self.teller.doing(Text::DoingCrash, &[]);
        let asked = Asked { ran: begun.wait()? };
        self.note(&question, &asked);
        let right = asked.conclusion() == "answered" && asked.exchange() == exchange.to_string();
        self.once(&question, exchange, right, &asked.why())
    }

    fn asker_dies(&mut self) -> Result<(), Failure> {
        let (asker, holder) = (self.name(TX_DPS), self.name(FGR));
        self.teller.say(Text::CrashAsker, &[&asker, &holder]);
        let vin = self.vehicle(FGR.id, 1)?.vin;
        let params = [("vin", vin.as_str())];
        let question = Question { asker: TX_DPS, holder: FGR, officer: "o-77", ..about_vehicle(&params) };
        let (begun, exchange) = self.freeze_and_ask(&question)?;
        self.expect_half(&question, exchange)?;
        self.node(TX_DPS)?.kill();
        begun.abandon();
        self.node(FGR)?.thaw();
        self.node(TX_DPS)?.start()?;
        self.teller.doing(Text::DoingCrash, &[]);
        // Whoever asked is gone; what came of it stands in the logs.
        let value = json!({"conclusion": "answered", "outcome": self.logged_outcome(&question, exchange)?});
        self.note(&question, &Asked { ran: Ran { code: 0, value, line: String::new() } });
        self.once(&question, exchange, true, "")
    }

    /// Stops the holder where it is, asks it, and waits until the question is durable in the asker's log.
    fn freeze_and_ask(&mut self, question: &Question<'_>) -> Result<(Begun, ExchangeId), Failure> {
        let known: HashSet<ExchangeId> = self.questions(question)?.into_iter().map(|(id, _)| id).collect();
        let dir = self.node_dir(question.asker);
        self.node(question.holder)?.freeze();
        let mut begun = self.program.begin(&question.args(&dir))?;
        let until = Instant::now() + ASKING;
        loop {
            let new = self.questions(question)?.into_iter().find(|(id, _)| !known.contains(id));
            if let Some((id, _)) = new {
                return Ok((begun, id));
            }
            if Instant::now() > until || !begun.running() {
                self.node(question.holder)?.thaw();
                let words = begun.wait().map(|ran| Asked { ran }.why()).unwrap_or_else(|f| f.message);
                return Err(Failure::unavailable("demo", format!("a question was not recorded in time: {words}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The asker's questions to this holder, and whether each has its end.
    fn questions(&self, question: &Question<'_>) -> Result<Vec<(ExchangeId, bool)>, Failure> {
        let pairs = self.pairs_between(question.asker, question.holder)?;
        let end = |id| {
            let of = pairs.iter().filter(move |p| p.pair.exchange() == Some(id)).map(|p| p.pair.kind());
            of.into_iter().any(|kind| matches!(kind, PairKind::Answer | PairKind::Refusal))
        };
        let own =
            pairs.iter().filter(|p| p.pair.kind() == PairKind::Query && p.pair.from.as_str() == question.asker.uri());
        Ok(own.filter_map(|p| p.pair.exchange()).map(|id| (id, end(id))).collect())
    }

    fn expect_half(&mut self, question: &Question<'_>, exchange: ExchangeId) -> Result<(), Failure> {
        let half = self.questions(question)?.into_iter().any(|(id, ended)| id == exchange && !ended);
        self.teller.expect(half, Text::StillUnanswered, &[], "");
        Ok(())
    }

    /// What the ANSWER says, once the asker's log holds it.
    fn logged_outcome(&self, question: &Question<'_>, exchange: ExchangeId) -> Result<String, Failure> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let pairs = self.pairs_between(question.asker, question.holder)?;
            let outcome =
                pairs.iter().filter(|p| p.pair.exchange() == Some(exchange)).find_map(|p| match &p.pair.body {
                    puente_wire::PairBody::Answer { outcome, .. } => Some(outcome.to_string()),
                    _ => None,
                });
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            if Instant::now() > until {
                return Ok(String::new());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn once(&mut self, question: &Question<'_>, exchange: ExchangeId, right: bool, why: &str) -> Result<(), Failure> {
        let kinds = [PairKind::Query, PairKind::Answer];
        let (holds, words) = self.both_hold(question.asker, question.holder, &exchange.to_string(), &kinds)?;
        self.teller.expect(holds && right, Text::CrashDone, &[&words], why);
        Ok(())
    }

    /// Closes all periods and copies every log for the auditors of both nations.
    pub(super) fn close_and_copy(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActClose);
        self.teller.doing(Text::DoingClose, &[]);
        let (mut closed, mut why) = (true, String::new());
        for agency in self.cast.agencies {
            match self.control(agency, Command::ClosePeriods)? {
                Concluded::PeriodsClosed { unreachable, .. } if unreachable.is_empty() => {}
                other => {
                    closed = false;
                    why = format!("{}: {other:?}", agency.id);
                }
            }
        }
        self.teller.expect(closed, Text::Closed, &[], &why);
        self.teller.say(Text::CopiesStory, &[]);
        let mut jobs = Vec::new();
        for (nation, ..) in NATIONS {
            for agency in self.cast.agencies {
                let (dir, to) = (self.node_dir(agency), self.copy_dir(nation, agency));
                let whose = if agency.nation() == *nation { "own" } else { "foreign" };
                let args = ["--dir", &dir, "log", "export", &to, "--auditor", whose];
                jobs.push(args.iter().map(|a| (*a).to_owned()).collect());
            }
        }
        let mut sizes = Vec::new();
        for ran in self.program.all(&jobs)? {
            sizes.push(ran.done()?.get("size").and_then(serde_json::Value::as_u64).unwrap_or(0));
        }
        for (agency, size) in self.cast.agencies.iter().zip(sizes) {
            let text = self.teller.text(Text::Copied, &[&size.to_string()]);
            self.teller.row(agency.id, &text);
        }
        Ok(())
    }

    /// Where the auditors of a nation find the copy of this agency's log.
    pub(super) fn copy_dir(&self, nation: &str, agency: &Agency) -> String {
        self.at(&format!("copies/{nation}/{}", agency.folder()))
    }

    /// The first auditor of a nation.
    pub(super) fn auditor_of(nation: &str) -> &'static str {
        AUDITORS.iter().find(|(_, n)| *n == nation).map_or("", |(name, _)| name)
    }
}
