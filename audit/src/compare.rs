//! One numbering as two logs show it: what one holds and the other does not.

use std::collections::{BTreeMap, BTreeSet};

use puente_audit_log::root_of;
use puente_model::Digest;

use crate::numbering::{Numbered, Track};

/// A number that the two logs do not agree on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    pub(crate) seq: u64,
    pub(crate) author: Option<Numbered>,
    pub(crate) receiver: Option<Numbered>,
}

/// Up to which number both logs agree by their periods: the same entries close it, and both give its root.
pub(crate) fn agreed(author: &Track, receiver: &Track) -> u64 {
    let pairs = author.periods.iter().zip(&receiver.periods);
    pairs.take_while(|(a, b)| a.leaf == b.leaf && a.matches && b.matches).last().map_or(0, |(a, _)| a.last)
}

/// Both logs hold the same periods, and both give their roots: only what came after is left to compare.
pub(crate) fn same_periods(author: &Track, receiver: &Track) -> bool {
    author.periods.len() == receiver.periods.len()
        && agreed(author, receiver) == author.periods.last().map_or(0, |p| p.last)
}

/// The numbers above `agreed` on which two lists differ, the first found by halving.
pub(crate) fn differences(
    author: &BTreeMap<u64, Numbered>,
    receiver: &BTreeMap<u64, Numbered>,
    agreed: u64,
    holes: &BTreeSet<u64>,
) -> Vec<Difference> {
    let above = agreed.saturating_add(1)..;
    let list = |map: &BTreeMap<u64, Numbered>| -> Vec<(u64, Numbered)> {
        map.range(above.clone()).filter(|(seq, _)| !holes.contains(seq)).map(|(s, e)| (*s, *e)).collect()
    };
    let (a, b) = (list(author), list(receiver));
    let leaves = |list: &[(u64, Numbered)]| list.iter().map(|(_, e)| e.leaf).collect::<Vec<_>>();
    let Some(first) = first_divergence(&leaves(&a), &leaves(&b)) else { return Vec::new() };
    let rest = |list: &[(u64, Numbered)]| list.iter().skip(first).copied().collect::<BTreeMap<_, _>>();
    let (a, b) = (rest(&a), rest(&b));
    let numbers: BTreeSet<u64> = a.keys().chain(b.keys()).copied().collect();
    let of = |seq| Difference { seq, author: a.get(&seq).copied(), receiver: b.get(&seq).copied() };
    let differ = |d: &Difference| d.author.map(|e| e.leaf) != d.receiver.map(|e| e.leaf);
    numbers.into_iter().map(of).filter(differ).collect()
}

/// The first place at which two lists of leaf hashes differ, found by comparing roots of halves.
pub(crate) fn first_divergence(a: &[Digest], b: &[Digest]) -> Option<usize> {
    let common = a.len().min(b.len());
    let root = |list: &[Digest]| root_of(list.iter().copied());
    let (mut lo, mut hi) = (0, common);
    if root(&a[..common]) == root(&b[..common]) {
        return (a.len() != b.len()).then_some(common);
    }
    // The first difference lies in lo..hi.
    while hi - lo > 1 {
        let mid = lo + (hi - lo) / 2;
        if root(&a[lo..mid]) == root(&b[lo..mid]) { lo = mid } else { hi = mid }
    }
    Some(lo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_finds_the_first_difference() {
        let list = |n: usize| (0..n).map(|i| Digest([i as u8; 32])).collect::<Vec<_>>();
        assert_eq!(first_divergence(&[], &[]), None);
        for n in 1..40 {
            assert_eq!(first_divergence(&list(n), &list(n)), None);
            assert_eq!(first_divergence(&list(n), &list(n + 3)), Some(n));
            for at in 0..n {
                let mut other = list(n + at % 2);
                other[at] = Digest([255; 32]);
                assert_eq!(first_divergence(&list(n), &other), Some(at));
            }
        }
    }
}
