//! What a question costs: played through in memory, with the real encodings and this node's own log beside it.

use puente_audit_log::{ClaimedCheckpoint, TileReader};
use puente_charter::Charter;
use puente_exchange::api::Draft;
use puente_exchange::rehearsal::{Cost, Foreseen, Made, Party, Plan, Shelf, rehearse};
use puente_model::{Digest, NodeUri, TreeSize};
use puente_words::{say, text};
use serde_json::{Value, json};

use super::Context;
use super::disclosure::lines;
use super::log::{Files, key};
use crate::files;
use crate::load::Bearings;

/// The exchange whose cost is wanted.
pub(super) struct Wanted<'a> {
    pub(super) bearings: &'a Bearings,
    pub(super) draft: &'a Draft,
    pub(super) kind: &'a puente_catalogue::QueryKindSpec,
    pub(super) policy_hash: Digest,
    pub(super) asker: &'a NodeUri,
    pub(super) holder: &'a NodeUri,
    /// The parameters are those of the catalogue's sample.
    pub(super) sample: bool,
}

/// What it costs; or why that is not known.
pub(super) struct Costs {
    found: Result<Vec<Cost>, String>,
    size: TreeSize,
    sample: bool,
}

/// The newest of a member's logs.
fn log_of(charter: &Charter, node: &NodeUri) -> u32 {
    let logs = charter.member(node).map_or(1, |member| member.logs.len());
    u32::try_from(logs).unwrap_or(u32::MAX).max(1)
}

/// Size and root of this node's log, as last published; none before the first head.
fn head(context: &Context) -> Result<Option<(TreeSize, Digest)>, String> {
    let note = match files::read(&context.dir.log().join("checkpoint")) {
        Ok(note) => note,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let key = key(context).map_err(|failure| failure.message)?;
    let head = ClaimedCheckpoint::parse(&note).and_then(|claimed| claimed.verify(&key));
    head.map(|head| Some((head.size(), head.root()))).map_err(|error| error.to_string())
}

/// Plays the exchange through for every answer that is wanted.
pub(super) fn costs(context: &Context, wanted: &Wanted<'_>, answers: &[Foreseen<'_>]) -> Costs {
    let tiles = Files::new(context.dir.log());
    let sample = wanted.sample;
    match head(context) {
        Ok(head) => {
            let size = head.map_or(TreeSize(0), |(size, _)| size);
            Costs { found: played(context, wanted, (head, &tiles), answers), size, sample }
        }
        Err(why) => Costs { found: Err(why), size: TreeSize(0), sample },
    }
}

/// The epoch of a group that the exchange belongs to, where the charter has groups: one as long as any.
fn binding(charter: &Charter, asker: &NodeUri, holder: &NodeUri) -> Option<(String, u64)> {
    let group = puente_ledger::pair(charter.federation(), asker, holder)?;
    (!charter.corridors().is_empty()).then(|| (group.to_string(), 1))
}

fn played(
    context: &Context,
    wanted: &Wanted<'_>,
    (head, tiles): (Option<(TreeSize, Digest)>, &dyn TileReader),
    answers: &[Foreseen<'_>],
) -> Result<Vec<Cost>, String> {
    let charter = &wanted.bearings.charter;
    // How large the other log is is not known here: it is taken to be as large as this one.
    let shelf = |node| Shelf { node, log: log_of(charter, node), head, tiles };
    let plan = Plan {
        asker: shelf(wanted.asker),
        holder: shelf(wanted.holder),
        charter,
        policy_hash: wanted.policy_hash,
        draft: wanted.draft,
        kind: wanted.kind,
        now: context.now,
        binding: binding(charter, wanted.asker, wanted.holder),
    };
    let seed = files::fresh_secret().map_err(|error| error.to_string())?;
    answers.iter().map(|answer| rehearse(&plan, answer, *seed.expose())).collect()
}

impl Costs {
    /// The human form.
    pub(super) fn text(&self, context: &Context) -> String {
        let lang = context.lang;
        let mut out = format!("{}\n", lines(text(lang, "what it costs:"), 0));
        let costs = match &self.found {
            Ok(costs) => costs,
            Err(why) => {
                let english = format!("it would not come about: {why}");
                out.push_str(&format!("{}\n", lines(&say(lang, &english), 2)));
                return out;
            }
        };
        for cost in costs {
            out.push_str(&format!("  {}:\n", cost.outcome));
            let mut add = |indent: usize, english: &str| {
                out.push_str(&format!("{}\n", lines(&say(lang, english), indent)));
            };
            let ((mine, my_bytes), (theirs, their_bytes)) =
                (cost.entries_of(Party::Asker), cost.entries_of(Party::Holder));
            let (signed, countersigned) = cost.heads;
            add(4, &format!("log of who asks: {mine} entries, {my_bytes} bytes; heads signed: {signed}"));
            if cost.frames.is_empty() {
                continue;
            }
            add(
                4,
                &format!("log of who is asked: {theirs} entries, {their_bytes} bytes; heads signed: {countersigned}"),
            );
            let (there, back) = (cost.sent_by(Party::Asker), cost.sent_by(Party::Holder));
            let (frames, trips) = (cost.frames.len(), cost.round_trips);
            add(
                4,
                &format!("on the line: {frames} frames, {there} bytes there, {back} bytes back; round trips: {trips}"),
            );
        }
        let mut notes = Vec::new();
        if let Some(hourly) = costs.iter().map(|cost| cost.hourly.as_slice()).max_by_key(|hourly| hourly.len())
            && !hourly.is_empty()
        {
            let (count, bytes) = (hourly.len(), hourly.iter().map(|made| made.bytes).sum::<usize>());
            let english = format!("once an hour, for all questions: {count} entries with seeds, {bytes} bytes");
            notes.push(say(lang, &english).into_owned());
        }
        let size = self.size;
        let english = format!("counted beside {size} entries; the other log is taken to be as large");
        notes.push(say(lang, &english).into_owned());
        if self.sample {
            notes.push(
                text(lang, "without parameters of your own: counted with those of the catalogue's sample").to_owned(),
            );
        }
        notes.push(
            text(lang, "records: one, like the catalogue's sample; what QUIC and TLS add is not in it").to_owned(),
        );
        for note in notes {
            out.push_str(&format!("{}\n", lines(&note, 2)));
        }
        out
    }

    /// The machine form.
    pub(super) fn to_json(&self) -> Value {
        let made = |list: &[Made]| {
            let one = |made: &Made| json!({"by": made.by.as_str(), "what": made.what, "bytes": made.bytes});
            list.iter().map(one).collect::<Vec<_>>()
        };
        let one = |cost: &Cost| {
            let (asker, holder) = (cost.entries_of(Party::Asker), cost.entries_of(Party::Holder));
            json!({
                "outcome": cost.outcome,
                "asker": {"entries": asker.0, "entry_bytes": asker.1, "heads_signed": cost.heads.0,
                    "bytes_sent": cost.sent_by(Party::Asker)},
                "holder": {"entries": holder.0, "entry_bytes": holder.1, "heads_signed": cost.heads.1,
                    "bytes_sent": cost.sent_by(Party::Holder)},
                "round_trips": cost.round_trips,
                "entries": made(&cost.entries),
                "frames": made(&cost.frames),
                "hourly": made(&cost.hourly),
            })
        };
        let (answers, unknown) = match &self.found {
            Ok(costs) => (Some(costs.iter().map(one).collect::<Vec<_>>()), None),
            Err(why) => (None, Some(why)),
        };
        json!({"params": if self.sample { "sample" } else { "given" }, "log_entries": self.size.0,
            "answers": answers, "unknown": unknown})
    }
}
