//! Groups by their names: corridors of the charter, and groups of two.

use puente_charter::Charter;
use puente_model::NodeUri;

use crate::name::GroupId;
use crate::rules::{Rules, RulesError};

/// How long the one that convenes a group of two must be silent before the other may act, in milliseconds (a day): without
/// both of them there is nothing to do in it.
const PAIR_SILENCE_MILLIS: u64 = 86_400_000;

/// What separates the two names in a group of two.
const PAIR: &str = "/pair/";

/// The name of the group of two that a pair of nodes has: `<federation>/pair/<one>/<other>`, names ascending and without
/// their scheme. None for a node with itself.
pub fn pair(federation: &str, one: &NodeUri, other: &NodeUri) -> Option<GroupId> {
    let (first, second) = match one.cmp(other) {
        std::cmp::Ordering::Less => (one, other),
        std::cmp::Ordering::Greater => (other, one),
        std::cmp::Ordering::Equal => return None,
    };
    let path = |node: &NodeUri| node.as_str().strip_prefix("puente://").map(str::to_owned);
    format!("{federation}{PAIR}{}/{}", path(first)?, path(second)?).parse().ok()
}

/// Two nodes' paths, three parts each.
fn two(text: &str) -> Option<[NodeUri; 2]> {
    let middle = text.match_indices('/').nth(2)?.0;
    let node = |path: &str| format!("puente://{path}").parse().ok();
    Some([node(&text[..middle])?, node(&text[middle + 1..])?])
}

/// Who is in a group of two that a charter knows, by its name; none if it is no such group.
pub fn pair_of(charter: &Charter, group: &GroupId) -> Option<[NodeUri; 2]> {
    let nodes = two(group.as_str().strip_prefix(charter.federation())?.strip_prefix(PAIR)?)?;
    let [one, other] = &nodes;
    // One name for each pair, and both of them members.
    let named = pair(charter.federation(), one, other).as_ref() == Some(group);
    (named && charter.member(one).is_some() && charter.member(other).is_some()).then_some(nodes)
}

/// The corridor of a group's name.
fn corridor<'c>(charter: &'c Charter, group: &GroupId) -> Option<&'c puente_charter::Corridor> {
    let name = group.as_str().strip_prefix(charter.federation())?.strip_prefix('/')?;
    charter.corridors().iter().find(|corridor| corridor.name == name)
}

/// Who may order the commits of a group, the convener first; none if the charter knows no such group.
pub fn proposers(charter: &Charter, group: &GroupId) -> Option<Vec<NodeUri>> {
    if let Some(corridor) = corridor(charter, group) {
        return Some(std::iter::once(&corridor.convener).chain(&corridor.successors).cloned().collect());
    }
    pair_of(charter, group).map(Vec::from)
}

impl Rules {
    /// What a verified charter says of the order of a group, be it one of its corridors or a group of two; none if it knows no
    /// such group.
    ///
    /// # Errors
    /// There is no quorum, or a proposer without a key.
    pub fn of_group(charter: &Charter, group: &GroupId) -> Option<Result<Self, RulesError>> {
        if let Some(corridor) = corridor(charter, group) {
            return Some(Self::of(charter, &corridor.name).map(|(_, rules)| rules));
        }
        Some(Self::of_nodes(charter, &pair_of(charter, group)?, PAIR_SILENCE_MILLIS))
    }
}
