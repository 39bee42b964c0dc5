//! `puente demo --scenario safe-cities`: small municipal nodes of both nations in one corridor, on one machine.
//!
//! What towns have to expect: they ask everybody at once, tell everybody at once, lose power, elect another government,
//! and now and then one of them can be trusted no more.

mod cast;

use std::time::Instant;

use serde_json::{Value, json};

use super::cast::Agency;
use super::process::Ran;
use super::stage::{Question, Stage};
use super::text_of;
use super::words::Text;
use crate::cli::Failure;
use cast::{ACUNA, EL_PASO, INVESTIGATOR, JUAREZ, LAREDO, NUEVO_LAREDO, OJINAGA, PATROL, TIJUANA};

pub(in crate::demo) use cast::cast;

/// Everybody whom the acts name is among the first of the cast.
pub(crate) const FEWEST: u32 = 20;
/// How many municipalities the cast has.
pub(crate) const MOST: u32 = 50;

/// A municipality of the first pairs, in a question of the street.
fn about<'q>(asker: &'static Agency, params: &'q [(&'q str, &'q str)]) -> Question<'q> {
    Question {
        asker,
        holder: LAREDO,
        kind: "vehicle.status",
        step: "1",
        purpose: "vehicle-recovery",
        basis: "mx-us-stolen-vehicles-1981",
        officer: PATROL,
        params,
        more: &[],
    }
}

/// What a question to all came to.
struct Answers {
    /// Members that answered, with their outcome, and milliseconds after which the answer was there.
    of: Vec<(String, String, u64)>,
}

impl Answers {
    fn of(ran: &Ran) -> Self {
        let members = ran.value.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let answer = |member: &Value| {
            let after = member.get("after_millis").and_then(Value::as_u64)?;
            let outcome = text_of(member, &["answer", "outcome"]);
            (!outcome.is_empty()).then(|| (text_of(member, &["node"]).to_owned(), outcome.to_owned(), after))
        };
        let mut of: Vec<_> = members.iter().filter_map(answer).collect();
        of.sort_by_key(|(_, _, after)| *after);
        Self { of }
    }

    /// Who answered, and with what, for messages. Holds no content.
    fn why(&self, ran: &Ran) -> String {
        let outcomes: Vec<String> = self.of.iter().map(|(node, outcome, _)| format!("{node} {outcome}")).collect();
        let states = ran.value.get("states").unwrap_or(&Value::Null);
        format!("exit code {}, {states}, {}", ran.code, outcomes.join(", "))
    }

    /// True if all of `members` answered, and this one alone has a hit.
    fn one_hit(&self, members: usize, hit: &Agency) -> bool {
        let hits: Vec<&str> =
            self.of.iter().filter(|(_, outcome, _)| outcome != "NO_HIT").map(|(node, ..)| node.as_str()).collect();
        self.of.len() == members && hits == [hit.uri()]
    }

    /// Milliseconds until the first, half and all answers were there.
    fn times(&self) -> [u64; 3] {
        let after = |n: usize| self.of.get(n).map_or(0, |(_, _, after)| *after);
        [0, self.of.len().div_ceil(2).saturating_sub(1), self.of.len().saturating_sub(1)].map(after)
    }
}

impl Stage {
    fn members(&self) -> Vec<&'static Agency> {
        self.cast.agencies.iter().collect()
    }

    /// The acts; their figures.
    pub(super) fn cities(&mut self) -> Result<Value, Failure> {
        let formed = self.come_together()?;
        let resident = self.resident();
        let question = self.ask_everybody()?;
        let alert = self.tell_everybody()?;
        self.power_cut()?;
        self.election()?;
        self.mistrusted()?;
        Ok(json!({
            "members": self.cast.agencies.len(),
            "formed_millis": formed,
            "question": question,
            "alert": alert,
            "resident_mib": resident,
        }))
    }

    fn come_together(&mut self) -> Result<u64, Failure> {
        self.teller.act(Text::ActCities);
        self.teller.doing(Text::DoingCorridor, &[]);
        let began = Instant::now();
        let epoch = self.wait_together(&self.members(), 0)?;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (members, epoch_shown) = (self.cast.agencies.len().to_string(), epoch.unwrap_or_default().to_string());
        let values = [self.corridor_name(), &members, &epoch_shown];
        self.teller.expect(epoch.is_some(), Text::CitiesTogether, &values, "the members are not together");
        Ok(took)
    }

    /// What the largest node holds in memory, and all of them, in MiB; null where the system does not say.
    fn resident(&mut self) -> Value {
        let of = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        };
        let each: Option<Vec<u64>> = self.nodes.values().map(|node| node.pid().and_then(of)).collect();
        let Some(each) = each else { return Value::Null };
        let mib = |kib: u64| kib.div_ceil(1_024);
        let (largest, all) = (mib(each.iter().copied().max().unwrap_or(0)), mib(each.iter().sum()));
        self.teller.say(Text::CitiesSmall, &[&largest.to_string(), &all.to_string()]);
        json!({"largest": largest, "all": all})
    }

    /// A patrol asks everybody about one vehicle.
    fn ask_everybody(&mut self) -> Result<Value, Failure> {
        self.teller.act(Text::ActCitiesAsk);
        let asker = self.name(TIJUANA);
        let others = self.cast.agencies.len() - 1;
        self.teller.say(Text::CitiesAskStory, &[&asker, &others.to_string()]);
        let vin = self.vehicle(LAREDO.id, 0)?.vin;
        let params = [("vin", vin.as_str())];
        let ran = self.ask_all(&about(TIJUANA, &params))?;
        let answers = Answers::of(&ran);
        let [first, half, all] = answers.times();
        let shown = [others.to_string(), first.to_string(), half.to_string(), all.to_string()];
        let values = shown.each_ref().map(String::as_str);
        let holds = answers.one_hit(others, LAREDO);
        self.teller.expect(holds, Text::CitiesAnswered, &values, &answers.why(&ran));
        Ok(json!({"answers": answers.of.len(), "first_millis": first, "half_millis": half, "all_millis": all}))
    }

    /// An alert to everybody; two acknowledge it.
    fn tell_everybody(&mut self) -> Result<Value, Failure> {
        self.teller.act(Text::ActCitiesAlert);
        let author = self.name(EL_PASO);
        self.teller.say(Text::CitiesAlertStory, &[&author]);
        let id = self.alert(EL_PASO, INVESTIGATOR, Text::AlertPickup, "El Paso – Ciudad Juárez")?;
        let mut everybody = true;
        for agency in self.cast.agencies.iter().filter(|agency| agency.id != EL_PASO.id) {
            everybody &= self.arrives(agency, &id)?;
        }
        let dir = self.node_dir(JUAREZ);
        self.program.json(&["--dir", &dir, "alert", "ack", &id, "--officer", PATROL])?;
        let (slowest, acknowledged) = self.hops(EL_PASO, &id)?;
        let shown = slowest.map_or_else(|| "?".to_owned(), |millis| millis.to_string());
        self.teller.expect(everybody && slowest.is_some(), Text::AlertReached, &[&shown], "somebody did not get it");
        let name = self.name(JUAREZ);
        self.teller.expect(acknowledged, Text::AlertAcknowledged, &[&name], "nobody acknowledged it");
        Ok(json!({"last_millis": slowest}))
    }

    /// Whoever was without power hears of alerts that stand and of questions still open.
    fn power_cut(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActPowerCut);
        let (away, asker) = (self.name(OJINAGA), self.name(JUAREZ));
        self.teller.say(Text::PowerCutStory, &[&away, &asker]);
        self.node(OJINAGA)?.kill();
        let id = self.alert(JUAREZ, INVESTIGATOR, Text::AlertPlates, "Ojinaga – Presidio")?;
        let vin = self.vehicle(OJINAGA.id, 0)?.vin;
        let params = [("vin", vin.as_str())];
        let asking = self.begin_to_all(&about(JUAREZ, &params))?;
        // Everybody else has answered long before it is back.
        self.teller.doing(Text::DoingPowerCut, &[]);
        std::thread::sleep(std::time::Duration::from_secs(2));
        self.node(OJINAGA)?.start()?;
        let told = self.arrives(OJINAGA, &id)?;
        self.teller.expect(told, Text::PowerBackAlert, &[], "the alert did not come");
        let ran = asking.wait()?;
        let answers = Answers::of(&ran);
        let holds = answers.one_hit(self.cast.agencies.len() - 1, OJINAGA);
        self.teller.expect(holds, Text::PowerBackAnswer, &[&away], &answers.why(&ran));
        Ok(())
    }

    /// Another government: nobody of the one before may ask, and the node has fresh keys in the group.
    fn election(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActElection);
        let name = self.name(NUEVO_LAREDO);
        self.teller.say(Text::ElectionStory, &[&name]);
        let dir = self.node_dir(NUEVO_LAREDO);
        let before = self.together(&self.members())?.unwrap_or_default();
        let reason = Text::ElectionReason.get(self.teller.lang);
        self.program.json(&["--dir", &dir, "officer", "revoke", "--all", "--reason", reason])?;
        let vin = self.vehicle(LAREDO.id, 1)?.vin;
        let params = [("vin", vin.as_str())];
        let question = about(NUEVO_LAREDO, &params);
        let refused = self.ask(&question)?;
        let sent = !refused.exchange().is_empty();
        self.teller.expect(refused.ran.code != 0 && !sent, Text::ElectionRefused, &[], &refused.why());
        let expires = super::founding::day(crate::cli::now().plus(90 * 86_400_000));
        let appoint = ["officer", "add", "o-31", "--name", "Agente 31", "--role", "patrol", "--expires", &expires];
        self.program.json(&[&["--dir", dir.as_str()][..], &appoint[..]].concat())?;
        let asked = self.ask(&Question { officer: "o-31", ..question })?;
        let hit = asked.conclusion() == "answered" && asked.outcome() == "HIT_UNCONFIRMED";
        self.teller.expect(hit, Text::ElectionAsks, &[], &asked.why());
        self.teller.doing(Text::DoingCorridor, &[]);
        self.program.json(&["--dir", &dir, "group", "rekey", &self.group()])?;
        let epoch = self.wait_together(&self.members(), before)?;
        let shown = epoch.unwrap_or_default().to_string();
        self.teller.expect(epoch.is_some(), Text::ElectionRekeyed, &[&shown], "the group has no new epoch");
        Ok(())
    }

    /// Whoever can be trusted no more is out of the group for all at once; its history stays what it was.
    fn mistrusted(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActMistrusted);
        let (name, by) = (self.name(ACUNA), self.name(TIJUANA));
        self.teller.say(Text::MistrustedStory, &[&name, &by]);
        self.teller.doing(Text::DoingCorridor, &[]);
        self.program.json(&["--dir", &self.node_dir(TIJUANA), "group", "remove", &self.group(), &ACUNA.uri()])?;
        let rest: Vec<&Agency> = self.members().into_iter().filter(|agency| agency.id != ACUNA.id).collect();
        let epoch = self.wait_together(&rest, 0)?;
        let id = self.alert(TIJUANA, INVESTIGATOR, Text::AlertFound, "Tijuana")?;
        let mut told = true;
        for agency in rest.iter().filter(|agency| agency.id != TIJUANA.id) {
            told &= self.arrives(agency, &id)?;
        }
        let silent = self.known(ACUNA, &id)?.is_null();
        let shown = epoch.unwrap_or_default().to_string();
        let holds = epoch.is_some() && told && silent;
        self.teller.expect(holds, Text::Removed, &[&shown], "it was told, or the others were not");
        Ok(())
    }
}
