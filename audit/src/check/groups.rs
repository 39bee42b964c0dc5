//! Whether entries about groups prove what is said of them.

use puente_audit_log::Receipt;
use puente_model::{NodeUri, Origin};
use puente_wire::{Entry, GroupEntry, GroupEvent};

use super::Words;
use crate::class::Class;
use crate::groups::short;

/// An entry about a group, whose log it stands in, and where.
struct Exhibit {
    node: NodeUri,
    origin: String,
    index: u64,
    entry: GroupEntry,
}

impl Exhibit {
    fn of((bytes, receipt): &(Vec<u8>, Receipt)) -> Option<Self> {
        let Ok(Entry::Group(entry)) = Entry::decode(bytes) else { return None };
        let origin: Origin = receipt.head().origin().parse().ok()?;
        Some(Self { node: origin.node(), origin: origin.to_string(), index: receipt.index().0, entry })
    }

    /// The epoch that began, and what it is known by.
    fn epoch(&self) -> Option<u64> {
        match self.entry.what {
            GroupEvent::Epoch { epoch, .. } => Some(epoch),
            _ => None,
        }
    }

    /// The epoch that the node was in, or had left, after the entry.
    fn reached(&self) -> Option<u64> {
        match self.entry.what {
            GroupEvent::Epoch { epoch, .. } | GroupEvent::Left { epoch, .. } => Some(epoch),
            GroupEvent::Held { .. } => None,
        }
    }
}

/// Says what verified entries about groups prove.
pub(super) fn conclude(words: &mut Words, class: Class, entries: &[(Vec<u8>, Receipt)]) {
    let exhibits: Vec<Exhibit> = entries.iter().filter_map(Exhibit::of).collect();
    let pairs = || exhibits.iter().enumerate().flat_map(|(i, one)| exhibits[i + 1..].iter().map(move |two| (one, two)));
    let same_log = |one: &Exhibit, two: &Exhibit| one.origin == two.origin && one.entry.group == two.entry.group;
    match class {
        Class::GroupForked => {
            let differ = |one: &Exhibit, two: &Exhibit| {
                let epoch = one.epoch().is_some() && one.epoch() == two.epoch();
                epoch && one.entry.group == two.entry.group && one.entry.what != two.entry.what
            };
            match pairs().find(|(one, two)| differ(one, two)) {
                Some((one, two)) => words.say(format!(
                    "{} and {} recorded epoch {} of {} differently: the group is forked, or one of the two recorded what was not so.",
                    short(&one.node),
                    short(&two.node),
                    one.epoch().unwrap_or_default(),
                    one.entry.group
                )),
                None => words.fail("The entries verify, but say nothing different of one epoch of one group."),
            }
        }
        Class::GroupBack => {
            let ordered = |one: &Exhibit, two: &Exhibit| {
                let (first, second) = if one.index < two.index { (one, two) } else { (two, one) };
                let (Some(before), Some(after)) = (first.reached(), second.reached()) else { return None };
                let left = matches!(second.entry.what, GroupEvent::Left { .. });
                let leaves_twice = left && matches!(first.entry.what, GroupEvent::Left { .. });
                let back = if left { before != after || leaves_twice } else { after <= before };
                (same_log(one, two) && one.index != two.index && back).then_some((first.index, before, second.index, after))
            };
            match pairs().find_map(|(one, two)| ordered(one, two)) {
                Some((first, before, second, after)) => words.say(format!(
                    "Entry {first} of the log is about epoch {before} of the group, and entry {second}, after it, about epoch {after}."
                )),
                None => words.fail("The entries verify, but do not go back to an epoch that was over."),
            }
        }
        _ => match pairs().find(|(one, two)| same_log(one, two) && skips(one, two)) {
            // That nothing stands between two entries cannot be seen from the two.
            Some(_) => words.gap(
                "The entries stand in the log as shown, and epochs lie between them; that the log holds none of those is seen from the copied log alone: verify it.",
            ),
            None => words.fail("The entries verify, but no epoch lies between them."),
        },
    }
}

fn skips(one: &Exhibit, two: &Exhibit) -> bool {
    let (first, second) = if one.index < two.index { (one, two) } else { (two, one) };
    matches!((first.epoch(), second.epoch()), (Some(before), Some(after)) if after > before.saturating_add(1))
}
