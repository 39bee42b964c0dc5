//! Whether entries of a member's log and of its group's ledger prove what is said of them.

use puente_audit_log::Receipt;
use puente_ledger::{Body, Entry as LedgerEntry, LedgerOrigin, Rules, proposers};
use puente_wire::{Entry, GroupEntry, GroupEvent, LedgerPlace};

use super::{Checker, Words};
use crate::groups::short;

type Proven = (Vec<u8>, Receipt);

fn of_ledger((_, receipt): &&Proven) -> bool {
    receipt.head().origin().parse::<LedgerOrigin>().is_ok()
}

/// A member's EPOCH, and what stands where it says that its commit was ordered.
pub(super) fn unordered(words: &mut Words, entries: &[Proven], checker: &Checker<'_>) {
    let group = |(bytes, _): &Proven| match Entry::decode(bytes) {
        Ok(Entry::Group(entry)) => Some(entry),
        _ => None,
    };
    let epoch = entries.iter().find_map(|one| match group(one) {
        Some(GroupEntry { group, what: GroupEvent::Epoch { epoch, commit, ordered, .. }, .. }) => {
            Some((group, epoch, commit, ordered))
        }
        _ => None,
    });
    let Some((group, epoch, commit, ordered)) = epoch else {
        return words.fail("The entries verify, but none of them is an EPOCH.");
    };
    let Some(place) = ordered else {
        let ledger = LedgerPlace::new(1, 0).and_then(|place| place.origin(&group).parse().ok());
        let of_corridor = match checker {
            Checker::Charter(charter) => {
                ledger.map(|ledger: LedgerOrigin| proposers(charter, ledger.group()).is_some())
            }
            Checker::Key(_) | Checker::Nobody => None,
        };
        return match of_corridor {
            Some(true) => words.say(format!(
                "{group} is a corridor, whose ledger orders every commit; the EPOCH names no place in it."
            )),
            Some(false) => words.fail(format!("{group} is no corridor of the charter: its commits need no ledger.")),
            None => words.gap("Which groups have a ledger is said by the charter alone: give --charter and --pin."),
        };
    };
    let origin = place.origin(&group);
    let at = |(_, receipt): &&Proven| receipt.head().origin() == origin && receipt.index().0 == place.index();
    let Some((bytes, receipt)) = entries.iter().find(at) else {
        return words.fail("The entries verify, but what stands at the place that the EPOCH names is not among them.");
    };
    if let Ok(entry) = LedgerEntry::parse(bytes)
        && let Body::Commit { epoch: ended, commit: found, .. } = entry.draft().body
        && (entry.draft().ledger.to_string(), entry.draft().index) == (origin.clone(), place.index())
        && ended.checked_add(1) == Some(epoch)
        && found == commit
    {
        // Why it counts for nothing, the entries before it say.
        return words.gap(format!(
            "The commit of the EPOCH stands at index {} of {origin}; whether it counts there is seen from the whole ledger: verify its copy.",
            place.index()
        ));
    }
    let cosigned = match checker {
        Checker::Charter(charter) => origin.parse().ok().and_then(|ledger: LedgerOrigin| {
            let rules = Rules::of_group(charter, ledger.group())?.ok()?;
            Some(rules.quorum().check(receipt.head()).is_ok())
        }),
        Checker::Key(_) | Checker::Nobody => None,
    };
    match cosigned {
        Some(true) => words.say(format!(
            "Index {} of {origin}, under a head that the witnesses' quorum cosigned, is not the commit that the EPOCH names.",
            place.index()
        )),
        _ => words.gap(format!(
            "Index {} of {origin} is not the commit that the EPOCH names, but the quorum's cosignatures are not shown: a proposer alone says so.",
            place.index()
        )),
    }
}

/// A ledger's entry that quotes HELD entries: that one is missing is seen from its holder's log alone.
pub(super) fn held(words: &mut Words, entries: &[Proven]) {
    let quoted = entries.iter().find(of_ledger).and_then(|(bytes, _)| LedgerEntry::parse(bytes).ok());
    match quoted.as_ref().map(|entry| &entry.draft().body) {
        Some(Body::Commit { held, .. }) if !held.is_empty() => {
            let names: Vec<&str> = held.keys().map(short).collect();
            words.gap(format!(
                "The ledger names as holders: {}. Whether a holder's log holds the entry that is quoted is seen from that log: verify its copy.",
                names.join(", ")
            ));
        }
        _ => words.fail("The entries verify, but none of them is a ledger's entry that quotes holders."),
    }
}
