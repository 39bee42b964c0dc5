//! A corridor: a group of all agencies that makes itself, is asked at once, told at once, and cut off from at once.

use std::time::{Duration, Instant};

use puente_catalogue::Lang;
use serde_json::Value;

use super::acts::about_vehicle;
use super::cast::{AGENCIES, Agency, CA_DOJ, FEDERATION, FGE_BC, FGR, TX_DPS};
use super::process::{Begun, Ran};
use super::stage::{Question, Stage};
use super::text_of;
use super::words::Text;
use crate::cli::Failure;

/// How long the corridor may take to make itself, or to take a member out.
const COMING_ABOUT: Duration = Duration::from_secs(120);
/// How long an alert may take to whoever is there.
const ARRIVING: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

impl Stage {
    /// The corridor's name within the federation.
    pub(super) fn corridor_name(&self) -> &'static str {
        self.cast.corridor.map_or("", |corridor| corridor.name)
    }

    /// Its full name as a group.
    pub(super) fn group(&self) -> String {
        format!("{FEDERATION}/{}", self.corridor_name())
    }

    /// The epoch that these are in together and with nobody else; none while they are not.
    pub(super) fn together(&self, agencies: &[&Agency]) -> Result<Option<u64>, Failure> {
        let group = self.group();
        let mut epochs = Vec::new();
        for agency in agencies {
            let listed = self.program.json(&["--dir", &self.node_dir(agency), "group", "list"])?;
            let groups = listed.get("groups").and_then(Value::as_array).cloned().unwrap_or_default();
            let own = groups.iter().find(|one| text_of(one, &["group"]) == group);
            let members = own.and_then(|own| own.get("members")).and_then(Value::as_array).map_or(0, Vec::len);
            let epoch = own.and_then(|own| own.get("epoch")).and_then(Value::as_u64);
            epochs.push(epoch.filter(|_| members == agencies.len()));
        }
        Ok(epochs.first().copied().flatten().filter(|first| epochs.iter().all(|epoch| *epoch == Some(*first))))
    }

    /// Waits until they are together, in an epoch after this one.
    pub(super) fn wait_together(&self, agencies: &[&Agency], after: u64) -> Result<Option<u64>, Failure> {
        let until = Instant::now() + COMING_ABOUT;
        loop {
            match self.together(agencies)?.filter(|epoch| *epoch > after) {
                None if Instant::now() < until => std::thread::sleep(AGAIN),
                found => return Ok(found),
            }
        }
    }

    /// Publishes an alert to the corridor; its name.
    pub(super) fn alert(&self, from: &Agency, officer: &str, headline: Text, place: &str) -> Result<String, Failure> {
        let dir = self.node_dir(from);
        let (en, es) = (headline.get(Lang::En), headline.get(Lang::Es));
        let published = self.program.json(&[
            "--dir",
            &dir,
            "alert",
            "publish",
            "--group",
            self.corridor_name(),
            "--severity",
            "severe",
            "--area",
            place,
            "--en",
            en,
            "--es",
            es,
            "--purpose",
            "criminal-investigation",
            "--basis",
            "mx-us-mlat-1987",
            "--officer",
            officer,
        ])?;
        Ok(text_of(&published, &["alert"]).to_owned())
    }

    /// What a node knows of an alert; null if nothing.
    pub(super) fn known(&self, agency: &Agency, id: &str) -> Result<Value, Failure> {
        let listed = self.program.json(&["--dir", &self.node_dir(agency), "alert", "list"])?;
        let alerts = listed.get("alerts").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(alerts.into_iter().find(|alert| text_of(alert, &["id"]) == id).unwrap_or(Value::Null))
    }

    pub(super) fn arrives(&self, agency: &Agency, id: &str) -> Result<bool, Failure> {
        let until = Instant::now() + ARRIVING;
        while self.known(agency, id)?.is_null() {
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(AGAIN);
        }
        Ok(true)
    }

    /// What the author of an alert sees once all have it and somebody acknowledged it: milliseconds until the last member had
    /// it, none if somebody has not; and whether there was an acknowledgement.
    pub(super) fn hops(&self, author: &Agency, id: &str) -> Result<(Option<u64>, bool), Failure> {
        let until = Instant::now() + ARRIVING;
        let (mut slowest, mut acknowledged) = (None, false);
        while (!acknowledged || slowest.is_none()) && Instant::now() < until {
            std::thread::sleep(AGAIN);
            let known = self.known(author, id)?;
            let hops = known.get("hops").and_then(Value::as_array).cloned().unwrap_or_default();
            let after: Vec<Option<u64>> =
                hops.iter().map(|hop| hop.get("after_millis").and_then(Value::as_u64)).collect();
            slowest = after.iter().copied().collect::<Option<Vec<u64>>>().and_then(|all| all.into_iter().max());
            acknowledged = hops.iter().any(|hop| !text_of(hop, &["acknowledged_at"]).is_empty());
        }
        Ok((slowest, acknowledged))
    }

    /// Everybody is asked, and told, at once; somebody is away meanwhile; somebody is taken out.
    pub(super) fn corridor(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActCorridor);
        self.teller.doing(Text::DoingCorridor, &[]);
        let all: Vec<&Agency> = AGENCIES.iter().collect();
        let epoch = self.wait_together(&all, 0)?;
        let shown = epoch.unwrap_or_default().to_string();
        self.teller.expect(
            epoch.is_some(),
            Text::CorridorMade,
            &[self.corridor_name(), &shown],
            "the members are not together",
        );

        self.ask_corridor()?;
        self.alert_corridor()?;
        self.relayed()?;
        self.away_and_back()?;
        self.taken_out()
    }

    /// One question to all: each judges and answers by itself.
    fn ask_corridor(&mut self) -> Result<(), Failure> {
        let vin = self.vehicle(TX_DPS.id, 3)?.vin;
        let (asker, params) = (self.name(FGE_BC), [("vin", vin.as_str())]);
        self.teller.say(Text::CorridorStory, &[&asker]);
        let asked = self.ask_all(&about_vehicle(&params))?;
        let members = asked.value.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        for member in &members {
            self.teller.row(text_of(member, &["node"]), text_of(member, &["answer", "outcome"]));
        }
        let answered = |agency: &Agency, outcome: &str| {
            let of = |member: &&Value| text_of(member, &["node"]) == agency.uri();
            members.iter().find(of).is_some_and(|member| text_of(member, &["answer", "outcome"]) == outcome)
        };
        let right = answered(TX_DPS, "HIT_UNCONFIRMED") && answered(CA_DOJ, "NO_HIT") && answered(FGR, "NO_HIT");
        self.teller.expect(right, Text::CorridorAnswered, &[], &format!("{} {}", asked.code, asked.value));
        Ok(())
    }

    /// Puts a question to the whole corridor, whomever it names, and lets it run.
    pub(super) fn begin_to_all(&self, question: &Question<'_>) -> Result<Begun, Failure> {
        let mut args = question.args(&self.node_dir(question.asker));
        let to = args.iter().position(|arg| arg == "--to").unwrap_or_default();
        args.splice(to..to + 2, ["--group".to_owned(), self.corridor_name().to_owned()]);
        self.program.begin(&args)
    }

    /// Puts a question to the whole corridor and waits for all.
    pub(super) fn ask_all(&self, question: &Question<'_>) -> Result<Ran, Failure> {
        self.begin_to_all(question)?.wait()
    }

    /// An alert reaches everybody, and its author sees when, and who acknowledged it.
    fn alert_corridor(&mut self) -> Result<(), Failure> {
        let place = Text::AlertPlace.get(self.teller.lang);
        let id = self.alert(FGE_BC, "o-1042", Text::AlertPickup, place)?;
        let mut everybody = true;
        for agency in [FGR, TX_DPS, CA_DOJ] {
            everybody &= self.arrives(agency, &id)?;
        }
        let ack = ["--dir", &self.node_dir(TX_DPS), "alert", "ack", &id, "--officer", "o-77"];
        self.program.json(&ack)?;
        let (slowest, acknowledged) = self.hops(FGE_BC, &id)?;
        let shown = slowest.map_or_else(|| "?".to_owned(), |millis| millis.to_string());
        self.teller.expect(everybody && slowest.is_some(), Text::AlertReached, &[&shown], "somebody did not get it");
        let name = self.name(TX_DPS);
        self.teller.expect(acknowledged, Text::AlertAcknowledged, &[&name], "nobody acknowledged it");
        Ok(())
    }

    /// Two that only call never meet: a third node passes on what it cannot read.
    fn relayed(&mut self) -> Result<(), Failure> {
        let place = Text::AlertPlace.get(self.teller.lang);
        let (from, to) = (self.name(CA_DOJ), self.name(FGR));
        self.teller.say(Text::RelayStory, &[&from, &to]);
        let status = self.program.run(&["--dir", &self.node_dir(CA_DOJ), "node", "status"])?;
        let peers = status.value.get("peers").and_then(Value::as_array).cloned().unwrap_or_default();
        let other = peers.iter().find(|peer| text_of(peer, &["peer"]) == FGR.uri());
        let apart = other.and_then(|peer| peer.get("connections")).and_then(Value::as_u64) == Some(0);
        let id = self.alert(CA_DOJ, "o-512", Text::AlertPlates, place)?;
        let told = self.arrives(FGR, &id)? && self.arrives(TX_DPS, &id)?;
        self.teller.expect(apart && told, Text::Relayed, &[&to], "they were connected, or it did not arrive");
        Ok(())
    }

    /// Whoever was away hears of what still stands, and of the epochs meanwhile.
    fn away_and_back(&mut self) -> Result<(), Failure> {
        let place = Text::AlertPlace.get(self.teller.lang);
        let name = self.name(CA_DOJ);
        self.teller.say(Text::AwayStory, &[&name]);
        self.teller.doing(Text::DoingCorridor, &[]);
        let all: Vec<&Agency> = AGENCIES.iter().collect();
        let before = self.together(&all)?.unwrap_or_default();
        self.node(CA_DOJ)?.stop();
        let id = self.alert(TX_DPS, "o-77", Text::AlertCrossed, place)?;
        let group = self.group();
        self.program.json(&["--dir", &self.node_dir(FGE_BC), "group", "rekey", &group])?;
        self.node(CA_DOJ)?.start()?;
        let told = self.arrives(CA_DOJ, &id)?;
        let epoch = self.wait_together(&all, before)?;
        let shown = epoch.unwrap_or_default().to_string();
        self.teller.expect(told && epoch.is_some(), Text::CaughtUp, &[&shown], "it did not catch up");
        Ok(())
    }

    /// Whoever is taken out is told nothing more.
    fn taken_out(&mut self) -> Result<(), Failure> {
        let place = Text::AlertPlace.get(self.teller.lang);
        let (name, group) = (self.name(FGR), self.group());
        self.teller.say(Text::RemovalStory, &[&name]);
        self.teller.doing(Text::DoingCorridor, &[]);
        self.program.json(&["--dir", &self.node_dir(FGE_BC), "group", "remove", &group, &FGR.uri()])?;
        let rest = [FGE_BC, TX_DPS, CA_DOJ];
        let epoch = self.wait_together(&rest, 0)?;
        let id = self.alert(FGE_BC, "o-1042", Text::AlertFound, place)?;
        let told = self.arrives(TX_DPS, &id)? && self.arrives(CA_DOJ, &id)?;
        let silent = self.known(FGR, &id)?.is_null();
        let shown = epoch.unwrap_or_default().to_string();
        let holds = epoch.is_some() && told && silent;
        self.teller.expect(holds, Text::Removed, &[&shown], "it was told, or the others were not");
        Ok(())
    }
}
