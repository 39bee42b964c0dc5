//! What the charter says of a group: who may be in it, who orders its commits, with which ciphersuite.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use puente_charter::Charter;
use puente_group::{Suite, Trust, TrustError};
use puente_ledger::{GroupId, Rules, RulesError, pair_of};
use puente_model::{CharterVector, NodeUri};

use crate::api::Fault;

/// Why a group cannot be run by a charter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// The charter has no such corridor, or not these two members.
    #[error("the charter knows no group '{0}'")]
    Unknown(GroupId),
    /// The order cannot be kept.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A root of the charter is no certificate.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What one version of the charter says of one group.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Active members of the charter that belong into it.
    pub(crate) members: BTreeSet<NodeUri>,
    /// As the charter wants it; none leaves it to whoever founds the group.
    pub(crate) suite: Option<Suite>,
    pub(crate) rules: Rules,
}

/// A version of the charter, ready to judge leaves.
struct Known {
    charter: Arc<Charter>,
    trust: Arc<Trust>,
}

/// The charters that this node has held in force, by version.
#[derive(Default)]
pub(crate) struct Charters {
    known: BTreeMap<String, Known>,
    newest: Option<String>,
}

impl Charters {
    /// Remembers a charter, which is the newest now.
    pub(crate) fn learn(&mut self, charter: Arc<Charter>) -> Result<(), TrustError> {
        let trust = Arc::new(Trust::of(&charter)?);
        let name = charter.vector().to_string();
        self.known.insert(name.clone(), Known { charter, trust });
        self.newest = Some(name);
        Ok(())
    }

    fn known(&self, vector: &CharterVector) -> Option<&Known> {
        self.known.get(&vector.to_string())
    }

    pub(crate) fn newest(&self) -> Option<(&Arc<Charter>, &Arc<Trust>)> {
        let known = self.known.get(self.newest.as_ref()?)?;
        Some((&known.charter, &known.trust))
    }

    /// How leaves of a group are judged under a version: only whom the charter has in the group may stand in it.
    pub(crate) fn trust(&self, group: &GroupId, vector: &CharterVector) -> Result<Trust, Fault> {
        let known = self.known(vector).ok_or_else(|| Fault::UnknownCharter(vector.clone()))?;
        let terms = Terms::of(&known.charter, group)?;
        Ok(Trust::of(&known.charter).map_err(TermsError::from)?.among(&terms.members))
    }

    /// The same under the newest version.
    pub(crate) fn trust_now(&self, group: &GroupId) -> Result<Trust, Fault> {
        let (charter, _) = self.newest().ok_or_else(|| Fault::UnknownGroup(group.clone()))?;
        self.trust(group, &charter.vector())
    }

    /// What a version says of a group; none if the version is not known here.
    pub(crate) fn terms(&self, group: &GroupId, vector: &CharterVector) -> Option<Result<Terms, TermsError>> {
        Some(Terms::of(&self.known(vector)?.charter, group))
    }

    /// What the newest version says of a group.
    pub(crate) fn terms_now(&self, group: &GroupId) -> Result<Terms, TermsError> {
        let (charter, _) = self.newest().ok_or_else(|| TermsError::Unknown(group.clone()))?;
        Terms::of(charter, group)
    }

    /// What every version says of a group, as far as it says anything.
    pub(crate) fn rules(&self, group: &GroupId) -> Vec<Rules> {
        let terms = self.known.values().filter_map(|known| Terms::of(&known.charter, group).ok());
        terms.map(|terms| terms.rules).collect()
    }
}

/// The groups that a charter names.
pub fn corridors(charter: &Charter) -> impl Iterator<Item = GroupId> {
    charter.corridors().iter().filter_map(|corridor| format!("{}/{}", charter.federation(), corridor.name).parse().ok())
}

impl Terms {
    /// What a charter says of a group.
    fn of(charter: &Charter, group: &GroupId) -> Result<Self, TermsError> {
        let unknown = || TermsError::Unknown(group.clone());
        let name = group.as_str().strip_prefix(charter.federation()).ok_or_else(unknown)?;
        let active = |node: &NodeUri| charter.member(node).is_some_and(puente_charter::Member::is_active);
        if let Some(nodes) = pair_of(charter, group) {
            let rules = Rules::of_group(charter, group).ok_or_else(unknown)??;
            return Ok(Self { members: nodes.into_iter().filter(active).collect(), suite: None, rules });
        }
        let name = name.strip_prefix('/').ok_or_else(unknown)?;
        let corridor = charter.corridors().iter().find(|corridor| corridor.name == name).ok_or_else(unknown)?;
        let (_, rules) = Rules::of(charter, name)?;
        let members = corridor.nodes().filter(|node| active(node)).cloned().collect();
        let suite = Suite::from_code(corridor.suite);
        Ok(Self { members, suite, rules })
    }
}

/// What a charter says of the order of a group: what a witness needs to know of its ledgers.
///
/// # Errors
/// The charter knows no such group, or says nothing that it can be ordered by.
pub fn rules(charter: &Charter, group: &GroupId) -> Result<Rules, TermsError> {
    Ok(Terms::of(charter, group)?.rules)
}
