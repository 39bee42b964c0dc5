//! `group`: what membership costs with few members and with many, and what an alert to all of them costs.
//!
//! Two members are kept: the founder, who makes every commit that is measured, and another, who processes it. All others
//! are leaves of the tree with true certificates and keys. That is enough, since neither what a commit costs its maker nor
//! what it costs whoever processes it depends on others' states.
//!
//! A group is measured twice. *Fresh*: the founder made it and added everybody, so that only its own path has keys and a
//! commit is encrypted to nearly every leaf. *Settled*: members have committed, so that the tree has keys inside. Each of
//! these commits as whoever rejoins does, from the group's public state ([`puente_group::Rejoin`]): its leaf and path get the same fresh
//! keys as by a commit from inside, and nobody has to hold one state per member, each of which processes every commit.

pub mod people;
pub mod room;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use puente_group::limits::MEMBERS_MAX;
use puente_model::Digest;
use serde_json::{Value, json};

use crate::goal::at_most;
use crate::peers::Sizes;
use crate::process::Served;
use crate::stats::{Sample, median, round};
use crate::{Failure, echo, log, machine, pki};
use people::{Member, People};
use room::{Cost, Created, Room};

/// A founder, one who looks on, one to remove, one to add.
const MEMBERS_MIN: usize = 4;
/// Who gets an alert.
const ALERTED: usize = 50;
/// What an alert says, in bytes.
const ALERT_BYTES: usize = 256;
/// Secrets that are exported in one pass.
const SECRETS: usize = 2_000;
/// The commits that are measured.
const KINDS: [&str; 3] = ["add", "remove", "rekey"];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many members the groups have.
    pub members: Vec<usize>,
    /// How many members commit, at most, before a group counts as settled.
    pub committers: usize,
    /// Passes of each figure.
    pub passes: usize,
    /// Folder for everything; on the disk that is to be measured.
    pub folder: PathBuf,
}

/// A number of members that a group can have here.
///
/// # Errors
/// It is none, or one that cannot be measured.
pub fn size(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(size) if (MEMBERS_MIN..=MEMBERS_MAX).contains(&size) => Ok(size),
        _ => Err(format!("a group is measured with {MEMBERS_MIN} to {MEMBERS_MAX} members")),
    }
}

/// What was measured of one group in one situation.
struct Row {
    members: usize,
    settled: bool,
    committed: usize,
    costs: [Vec<Cost>; 3],
    told: Value,
}

impl Row {
    fn situation(&self) -> &'static str {
        if self.settled { "settled" } else { "fresh" }
    }

    fn of(&self, kind: usize, what: impl Fn(&Cost) -> f64) -> f64 {
        median(self.costs[kind].iter().map(what))
    }

    fn show(&self) -> Value {
        let mut shown = json!({
            "situation": self.situation(), "members": self.members, "members_that_committed": self.committed,
        });
        for (kind, name) in KINDS.iter().enumerate() {
            shown[*name] = json!({
                "stage_ms": round(self.of(kind, |c| c.stage)), "merge_ms": round(self.of(kind, |c| c.merge)),
                "process_ms": round(self.of(kind, |c| c.process)),
                "merge_writes_bytes": round(self.of(kind, |c| c.written)),
                "commit_bytes": round(self.of(kind, |c| c.commit)),
            });
        }
        shown["add"]["welcome_bytes"] = round(self.of(0, |c| c.welcome));
        shown["add"]["join_ms"] = round(self.of(0, |c| c.join));
        if !self.told.is_null() {
            shown["create"] = self.told.clone();
        }
        shown
    }
}

/// By which power of the number of members a figure grows: 1 is in step with them, 0 not at all.
fn power(members: [usize; 2], figures: [f64; 2]) -> f64 {
    (figures[1] / figures[0]).ln() / (members[1] as f64 / members[0] as f64).ln()
}

/// How figures grow from one size to the next.
fn growth(from: &Row, to: &Row) -> Value {
    let members = [from.members, to.members];
    let mut grown = json!({
        "situation": to.situation(), "from": from.members, "to": to.members,
        "members": round(to.members as f64 / from.members as f64),
    });
    for (kind, name) in KINDS.iter().enumerate() {
        let of = |what: fn(&Cost) -> f64| [from, to].map(|row| row.of(kind, what));
        let ratio = |[from, to]: [f64; 2]| round(to / from);
        let bytes = of(|c| c.commit);
        grown[*name] = json!({
            "commit_bytes": ratio(bytes), "commit_bytes_power": round(power(members, bytes)),
            "make": ratio(of(Cost::make)), "process": ratio(of(|c| c.process)),
        });
    }
    grown["add"]["welcome_bytes"] = round(to.of(0, |c| c.welcome) / from.of(0, |c| c.welcome));
    grown
}

/// Runs all of it.
///
/// # Errors
/// A group refuses what it should take; the disk fails.
pub fn measure(plan: &Plan, mut say: impl FnMut(&str)) -> Result<Value, Failure> {
    let machine = machine::describe();
    let mut sizes = plan.members.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let people = People::new(sizes.last().copied().unwrap_or_default().max(ALERTED + 1))?;
    let mut rows = Vec::new();
    for &size in &sizes {
        for settled in [false, true] {
            let row = row(plan, &people, size, settled)?;
            say(&format!("{size} members, {}, of whom {} committed", row.situation(), row.committed));
            rows.push(row);
        }
    }
    let of = |settled| rows.iter().filter(move |row| row.settled == settled);
    let pairs = [false, true].map(|settled| of(settled).zip(of(settled).skip(1)));
    let growths: Vec<Value> = pairs.into_iter().flatten().map(|(from, to)| growth(from, to)).collect();
    let goals: Vec<Value> = [false, true].into_iter().flat_map(|settled| goals(of(settled))).collect();
    Ok(json!({
        "bench": "group",
        "machine": machine,
        "passes": plan.passes,
        "what": "one member's work, in memory, by the wall clock; commits by the founder, processed by one other member; \
                 a settled group is one in which members_that_committed, evenly spread, have committed, each as whoever rejoins",
        "rows": rows.iter().map(Row::show).collect::<Vec<_>>(),
        "growth": {
            "what": "each figure over that of the size before; powers: 1 in step with the members, 0 not at all",
            "from_one_size_to_the_next": growths,
        },
        "exchange_secret_us": round(exchange_secret(plan, &people)?),
        "alert": alert(plan, &people)?,
        "goals": goals,
    }))
}

/// From the smallest group that is no toy to the largest.
fn goals<'r>(rows: impl Iterator<Item = &'r Row>) -> Vec<Value> {
    let rows: Vec<&Row> = rows.filter(|row| row.members >= 50).collect();
    let (Some(from), Some(to)) = (rows.first(), rows.last()) else { return Vec::new() };
    if from.members == to.members {
        return Vec::new();
    }
    let grown = |what: fn(&Cost) -> f64| power([from.members, to.members], [from, to].map(|row| row.of(2, what)));
    let named = |what: &str| {
        format!(
            "{what} of a rekeying, {}, power of the members from {} to {}",
            to.situation(),
            from.members,
            to.members
        )
    };
    if to.settled {
        vec![
            at_most(&named("bytes"), 0.5, grown(|c| c.commit)),
            at_most(&named("time to make and merge"), 1.0, grown(Cost::make)),
            at_most(&named("time to process"), 1.0, grown(|c| c.process)),
        ]
    } else {
        vec![
            at_most(&named("bytes"), 1.1, grown(|c| c.commit)),
            at_most(&named("time to make and merge"), 1.1, grown(Cost::make)),
        ]
    }
}

/// One group in one situation.
fn row(plan: &Plan, people: &People, size: usize, settled: bool) -> Result<Row, Failure> {
    // The last of its members is the one that is added where adding is measured.
    let (mut room, _) = Room::create(people, size - 1)?;
    let mut committed = if settled { room.settle(plan.committers)? } else { 0 };
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for _ in 0..plan.passes {
        costs[0].push(room.cost(&room.adding(size - 1))?);
    }
    room.grow(size - 1)?;
    if settled {
        committed += 1;
        room.rejoin(size - 1)?;
    }
    for _ in 0..plan.passes {
        costs[1].push(room.cost(&room.removing(size / 2))?);
        costs[2].push(room.cost(&puente_group::Intent::default())?);
    }
    let told = if settled { Value::Null } else { created(plan, people, size)? };
    Ok(Row { members: size, settled, committed, costs, told })
}

/// What making a group of this size costs its founder.
fn created(plan: &Plan, people: &People, size: usize) -> Result<Value, Failure> {
    let mut made = Vec::new();
    for _ in 0..plan.passes {
        made.push(Room::create(people, size)?.1);
    }
    let of = |what: fn(&Created) -> f64| round(median(made.iter().map(what)));
    Ok(json!({
        "ms": of(|c| c.ms), "commits": of(|c| c.commits), "commits_bytes": of(|c| c.commits_bytes),
        "last_welcome_bytes": of(|c| c.welcome_bytes),
    }))
}

/// What a group of two takes to export the secret of one exchange, in microseconds: both of its nodes do, for every question.
fn exchange_secret(plan: &Plan, people: &People) -> Result<f64, Failure> {
    let (room, _) = Room::create(people, 2)?;
    let mut each = Vec::new();
    for pass in 0..plan.passes {
        let began = Instant::now();
        for number in 0..SECRETS {
            let leaf = Digest::of(&[pass.to_be_bytes(), number.to_be_bytes()].concat());
            std::hint::black_box(room.founder.group.psk(&leaf)?);
        }
        each.push(room::millis(began.elapsed()) * 1_000.0 / SECRETS as f64);
    }
    Ok(median(each))
}

/// One seals, fifty open, one after another on one core; beside what a network cannot save.
fn alert(plan: &Plan, people: &People) -> Result<Value, Failure> {
    let (room, _) = Room::create(people, ALERTED + 1)?;
    let mut others: Vec<Member> = Vec::with_capacity(ALERTED);
    for at in 1..=ALERTED {
        others.push(room.join(at)?);
    }
    let mut founder = room.founder.copy(room.id)?;
    let (mut seals, mut opens, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sealed_bytes, mut written) = (0, 0);
    for pass in 0..plan.passes {
        let content = vec![u8::try_from(pass % 256)?; ALERT_BYTES];
        let began = Instant::now();
        let me = &people.all[founder.at].identity;
        let (sealed, changes) = founder.group.seal(me, b"alert", &content, &people.trust)?;
        let seal = began.elapsed();
        founder.keep(changes);
        let mut all = seal;
        for other in &mut others {
            let began = Instant::now();
            let (opened, changes) = other.group.open(&sealed)?;
            let took = began.elapsed();
            if *opened.content != content {
                return Err("an alert was opened to something else".into());
            }
            written = other.keep(changes);
            opens.push(room::millis(took));
            all += took;
        }
        seals.push(room::millis(seal));
        lasts.push(room::millis(all));
        sealed_bytes = sealed.len();
    }
    let round_trip = room::millis(Duration::from_secs_f64(echo_p50(plan, sealed_bytes)? / 1e6));
    let sync = log::sync_p50(&plan.folder.join("sync"), written, 500)? / 1e3;
    let (seal, open, last) = (median(seals), median(opens), median(lasts));
    Ok(json!({
        "what": "one of 51 members seals once, the 50 others open it one after another on one core, in memory. Nodes open it \
                 side by side, so that the last of them is as far as seal, way and one open. Not measured: fifty nodes on a \
                 network, connections, the delivery room's own record",
        "members": ALERTED + 1, "content_bytes": ALERT_BYTES, "sealed_bytes": sealed_bytes,
        "seal_ms": round(seal), "open_ms": round(open), "an_open_writes_bytes": written,
        "fdatasync_of_as_much_p50_ms": round(sync),
        "until_the_last_of_50_opened_on_one_core_ms": round(last),
        "loopback_quic_round_trip_p50_ms": round(round_trip),
        "ratio_to_the_round_trip": round(last / round_trip),
        "seal_and_one_open_ratio_to_the_round_trip": round((seal + open) / round_trip),
    }))
}

/// A bare QUIC echo of the sealed bytes on this machine, one in flight, in microseconds.
fn echo_p50(plan: &Plan, bytes: usize) -> Result<f64, Failure> {
    let folder = plan.folder.join("echo");
    std::fs::create_dir_all(&folder)?;
    pki::make(&folder)?;
    let server = Served::start(&["echo-server"], &folder)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let sizes = Sizes { request: bytes, response: 64 };
    let mut samples: Vec<Sample> = Vec::new();
    runtime.block_on(async {
        let client = echo::Client::connect(&folder, server.address).await?;
        for _ in 0..plan.passes {
            samples.push(client.measure(1, Duration::from_millis(500), sizes).await?);
        }
        Ok::<_, Failure>(())
    })?;
    Ok(median(samples.iter().map(|sample| sample.p50)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_can_be_measured() {
        assert_eq!(size("4"), Ok(4));
        assert_eq!(size(" 1000"), Ok(MEMBERS_MAX));
        for text in ["", "3", "1001", "-4", "4.0", "many"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_grow_by_a_power_of_the_members() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}");
        near(power([50, 200], [10.0, 40.0]), 1.0);
        near(power([50, 200], [10.0, 10.0]), 0.0);
        near(power([50, 200], [10.0, 20.0]), 0.5);
        near(power([50, 200], [10.0, 160.0]), 2.0);
    }

    fn row_of(members: usize, settled: bool, bytes: f64) -> Row {
        let cost =
            Cost { commit: bytes, stage: 1.0, merge: 1.0, process: 1.0, written: 0.0, welcome: bytes, join: 0.0 };
        Row { members, settled, committed: 0, costs: [vec![cost], vec![cost], vec![cost]], told: Value::Null }
    }

    #[test]
    fn growth_is_told_from_size_to_size() {
        let grown = growth(&row_of(50, false, 1_000.0), &row_of(200, false, 4_000.0));
        assert_eq!((&grown["members"], &grown["rekey"]["commit_bytes"]), (&json!(4.0), &json!(4.0)));
        assert_eq!((&grown["rekey"]["commit_bytes_power"], &grown["add"]["welcome_bytes"]), (&json!(1.0), &json!(4.0)));
        let met = |rows: &[Row]| goals(rows.iter()).iter().map(|goal| goal["met"] == true).collect::<Vec<_>>();
        assert_eq!(met(&[row_of(4, true, 1.0), row_of(50, true, 10.0), row_of(200, true, 40.0)]), [false, true, true]);
        assert_eq!(met(&[row_of(50, true, 10.0), row_of(200, true, 12.0)]), [true, true, true]);
        assert_eq!(met(&[row_of(50, true, 10.0)]), [] as [bool; 0]);
    }

    #[test]
    fn a_settled_group_has_short_commits() {
        let plan = Plan { members: vec![16], committers: 16, passes: 1, folder: PathBuf::new() };
        let people = People::new(16).unwrap();
        let [fresh, settled] = [false, true].map(|settled| row(&plan, &people, 16, settled).unwrap());
        assert_eq!((fresh.committed, settled.committed), (0, 16));
        for (kind, name) in KINDS.iter().enumerate() {
            assert!(settled.of(kind, |c| c.commit) < fresh.of(kind, |c| c.commit), "{name}");
        }
        assert_eq!((&fresh.told["commits"], settled.told.is_null()), (&json!(1.0), true));
    }
}
