//! What the public may see: how much nations ask each other and what comes of it, with no cell below five.
//!
//! Cells are whole directions (nation to nation), never nodes. A cell below five is withheld; so that nobody computes it from
//! its row's total, further cells of that row are withheld until at least two are, and until what is withheld adds up to five.
//! Only rows have totals: a table with totals both ways could still be solved for a single cell.

use std::collections::{BTreeMap, BTreeSet};

use puente_model::{Jurisdiction, NodeUri};
use serde::{Serialize, Serializer};

use super::Report;

/// The smallest number that is shown.
pub(super) const LEAST: u64 = 5;

/// A number that may be withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Shown.
    Shown(u64),
    /// Withheld: below five, or one that would betray such a number.
    Withheld,
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Shown(count) => serializer.serialize_u64(*count),
            Self::Withheld => serializer.serialize_none(),
        }
    }
}

/// One direction's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Nation that asks, nation that is asked.
    pub direction: (String, String),
    /// By column.
    pub cells: Vec<Cell>,
    /// All of them together.
    pub total: Cell,
}

/// The summary for the public.
#[derive(Debug, Clone, Serialize)]
pub struct Public {
    /// 1.
    pub puente_public_summary: u32,
    /// The federation.
    pub federation: String,
    /// As of when, in milliseconds since 1970.
    pub as_of: u64,
    /// What the audit came to.
    pub verdict: crate::Conclusion,
    /// Logs that were read, of how many nodes.
    pub nodes: usize,
    /// Kinds of question: the columns of `asked`.
    pub kinds: Vec<String>,
    /// Questions by direction and kind.
    pub asked: Vec<Row>,
    /// Ways in which questions end: the columns of `ended`.
    pub ends: [&'static str; 4],
    /// Ends by direction.
    pub ended: Vec<Row>,
}

/// Answered, with something found or nothing; refused; given up or still open.
const ENDS: [&str; 4] = ["found", "not-found", "refused", "no-answer"];

impl Public {
    /// The summary of a report.
    pub fn of(report: &Report) -> Self {
        let mut asked: BTreeMap<(String, String), BTreeMap<&str, u64>> = BTreeMap::new();
        let mut ended: BTreeMap<(String, String), [u64; ENDS.len()]> = BTreeMap::new();
        let kinds: BTreeSet<&str> = report.flows.iter().map(|flow| &*flow.kind).collect();
        for flow in &report.flows {
            let direction = (nation(&flow.asker), nation(&flow.holder));
            *asked.entry(direction.clone()).or_default().entry(&flow.kind).or_default() += flow.asked;
            let none = puente_model::Outcome::NoHit.as_str();
            let not_found = flow.answers.get(none).copied().unwrap_or_default();
            let answered: u64 = flow.answers.values().sum();
            let refused: u64 = flow.refusals.values().sum();
            let ends = [answered - not_found, not_found, refused, flow.asked.saturating_sub(answered + refused)];
            let of = ended.entry(direction).or_default();
            of.iter_mut().zip(ends).for_each(|(all, more)| *all += more);
        }
        let row = |(direction, counts): ((String, String), Vec<u64>)| {
            let (cells, total) = withhold(&counts);
            Row { direction, cells, total }
        };
        let by_kind = |counts: &BTreeMap<&str, u64>| -> Vec<u64> {
            kinds.iter().map(|kind| counts.get(kind).copied().unwrap_or_default()).collect()
        };
        Self {
            puente_public_summary: 1,
            federation: report.federation.clone(),
            as_of: report.as_of,
            verdict: report.verdict,
            nodes: report.node_logs().map(|log| &*log.report.node).collect::<BTreeSet<_>>().len(),
            asked: asked.into_iter().map(|(direction, counts)| row((direction, by_kind(&counts)))).collect(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ends: ENDS,
            ended: ended.into_iter().map(|(direction, counts)| row((direction, counts.to_vec()))).collect(),
        }
    }
}

fn nation(node: &str) -> String {
    node.parse::<NodeUri>().map(|node| Jurisdiction::to_string(&node.jurisdiction())).unwrap_or_default()
}

/// Withholds what is below five, and as much beside it as keeps it from being computed.
fn withhold(counts: &[u64]) -> (Vec<Cell>, Cell) {
    let total: u64 = counts.iter().sum();
    let mut withheld: Vec<bool> = counts.iter().map(|count| *count < LEAST).collect();
    loop {
        let hidden = || counts.iter().zip(&withheld).filter(|(_, hidden)| **hidden);
        let (cells, sum) = (hidden().count(), hidden().map(|(count, _)| count).sum::<u64>());
        if cells == 0 || (cells > 1 && sum >= LEAST) {
            break;
        }
        let shown = counts.iter().enumerate().filter(|(at, _)| !withheld.get(*at).copied().unwrap_or(true));
        let Some(smallest) = shown.min_by_key(|(_, count)| **count).map(|(at, _)| at) else {
            // Nothing is left to hide behind: then the total goes, too.
            return (vec![Cell::Withheld; counts.len()], Cell::Withheld);
        };
        if let Some(hide) = withheld.get_mut(smallest) {
            *hide = true;
        }
    }
    let cell = |(count, hidden): (&u64, &bool)| if *hidden { Cell::Withheld } else { Cell::Shown(*count) };
    (counts.iter().zip(&withheld).map(cell).collect(), Cell::Shown(total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hidden(counts: &[u64], cells: &[Cell]) -> Vec<u64> {
        counts.iter().zip(cells).filter(|(_, cell)| **cell == Cell::Withheld).map(|(count, _)| *count).collect()
    }

    #[test]
    fn a_small_cell_takes_others_with_it() {
        use Cell::{Shown, Withheld};
        assert_eq!(withhold(&[10, 20, 30]), (vec![Shown(10), Shown(20), Shown(30)], Shown(60)));
        // Alone it would be the rest of the total.
        assert_eq!(withhold(&[3, 20, 30]), (vec![Withheld, Withheld, Shown(30)], Shown(53)));
        // Two that add up to less than five are as good as one.
        assert_eq!(withhold(&[1, 2, 30, 40]), (vec![Withheld, Withheld, Withheld, Shown(40)], Shown(73)));
        assert_eq!(withhold(&[4, 4, 30]), (vec![Withheld, Withheld, Shown(30)], Shown(38)));
        // Zeros are below five, too.
        assert_eq!(withhold(&[0, 7]), (vec![Withheld, Withheld], Shown(7)));
        assert_eq!(withhold(&[1, 2]), (vec![Withheld, Withheld], Withheld));
        assert_eq!(withhold(&[4]), (vec![Withheld], Withheld));
        assert_eq!(withhold(&[9]), (vec![Shown(9)], Shown(9)));
    }

    proptest! {
        #[test]
        fn nobody_computes_a_number_below_five(counts in prop::collection::vec(0_u64..12, 1..8)) {
            let (cells, total) = withhold(&counts);
            for (count, cell) in counts.iter().zip(&cells) {
                prop_assert!(*cell == Cell::Withheld || *cell == Cell::Shown(*count));
                prop_assert!(*count >= LEAST || *cell == Cell::Withheld);
            }
            let hidden = hidden(&counts, &cells);
            match total {
                // What the total and the shown cells say of the withheld ones is one sum, over two of them at least.
                Cell::Shown(total) => {
                    prop_assert_eq!(total, counts.iter().sum::<u64>());
                    prop_assert!(total >= LEAST);
                    prop_assert!(hidden.is_empty() || (hidden.len() > 1 && hidden.iter().sum::<u64>() >= LEAST));
                }
                Cell::Withheld => prop_assert_eq!(hidden.len(), counts.len()),
            }
        }
    }
}
