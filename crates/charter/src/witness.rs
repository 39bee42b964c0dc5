use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use puente_model::{Jurisdiction, NodeUri};
use serde::{Deserialize, Serialize};

use crate::Defect;
use crate::check::{distinct, slug};
use crate::text::one;
use crate::vkey::{self, Holder};

/// A cosigner that remembers the largest head of every log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its name in the policy, a slug; also the name in its key.
    pub name: String,
    /// Its nation.
    #[serde(with = "one")]
    pub jurisdiction: Jurisdiction,
    /// C2SP verifier key (cosignature type).
    pub vkey: String,
    /// Where heads are submitted: the submission prefix of C2SP tlog-witness (`https://…`), or the node that is the witness
    /// (`puente://nation/agency/node`), which is asked over the connection that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// How many members of a witness group must cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every member.
    All,
    /// One member.
    Any,
    /// This many members, at least 1.
    AtLeast(u32),
}

/// A group of witnesses or of groups, as in C2SP tlog-policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessGroup {
    /// Its name, a slug.
    pub name: String,
    /// `all`, `any` or a number.
    #[serde(with = "one")]
    pub need: Need,
    /// Names of witnesses, or of groups defined before this one.
    pub members: Vec<String>,
}

impl Need {
    fn of(self, members: usize) -> usize {
        match self {
            Self::All => members,
            Self::Any => 1,
            Self::AtLeast(k) => k as usize,
        }
    }
}

impl FromStr for Need {
    type Err = Defect;

    fn from_str(text: &str) -> Result<Self, Defect> {
        let bad = Defect::WitnessGroup { name: "need".to_owned(), why: "it is \"all\", \"any\" or a number from 1" };
        match text {
            "all" => Ok(Self::All),
            "any" => Ok(Self::Any),
            digits if digits.starts_with(|c: char| ('1'..='9').contains(&c)) => {
                digits.parse().map(Self::AtLeast).map_err(|_| bad)
            }
            _ => Err(bad),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Any => f.write_str("any"),
            Self::AtLeast(k) => k.fmt(f),
        }
    }
}

/// Checks names, keys and groups: each name in at most one group, groups after their members.
pub(crate) fn check_witnesses(witnesses: &[Witness], groups: &[WitnessGroup], quorum: &str) -> Result<(), Defect> {
    let group_error = |name: &str, why| Defect::WitnessGroup { name: name.to_owned(), why };
    let names = || witnesses.iter().map(|w| w.name.as_str()).chain(groups.iter().map(|g| g.name.as_str()));
    distinct("witness", names())?;
    for name in names() {
        slug("witness name", name)?;
        if name == "none" {
            return Err(group_error(name, "'none' is the quorum without witnesses; choose another name"));
        }
    }
    let mut keys = BTreeSet::new();
    for witness in witnesses {
        let key = vkey::check(&witness.vkey, &witness.name, Holder::Witness)
            .map_err(|why| Defect::Vkey { name: witness.name.clone(), why })?;
        if !keys.insert(key) {
            return Err(Defect::Twice { what: "the key of witness", name: witness.name.clone() });
        }
        let url_ok = |url: &String| {
            let http =
                (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_whitespace);
            http || url.parse::<NodeUri>().is_ok()
        };
        if !witness.url.as_ref().is_none_or(url_ok) {
            return Err(group_error(
                &witness.name,
                "its url must begin with https:// or http://, or be the name of a node, puente://nation/agency/node",
            ));
        }
    }
    let mut known: BTreeSet<&str> = witnesses.iter().map(|w| w.name.as_str()).collect();
    let mut taken = BTreeSet::new();
    for group in groups {
        for member in &group.members {
            if !known.contains(member.as_str()) {
                return Err(group_error(&group.name, "it names a member that is not defined before it"));
            }
            if !taken.insert(member.as_str()) {
                return Err(group_error(&group.name, "it names a member that already stands in a group"));
            }
        }
        if group.members.is_empty() || group.need.of(group.members.len()) > group.members.len() {
            return Err(group_error(&group.name, "it needs more members than it has"));
        }
        known.insert(&group.name);
    }
    match quorum {
        "none" if witnesses.is_empty() => Ok(()),
        "none" => Err(group_error("quorum", "there are witnesses, so a quorum must be named")),
        name if known.contains(name) => Ok(()),
        _ => Err(group_error("quorum", "it names no witness and no group")),
    }
}

/// Who must cosign heads: the charter's witnesses, groups and quorum.
#[derive(Debug, Clone, Copy)]
pub struct WitnessPolicy<'a> {
    pub(crate) witnesses: &'a [Witness],
    pub(crate) groups: &'a [WitnessGroup],
    pub(crate) quorum: &'a str,
}

impl<'a> WitnessPolicy<'a> {
    /// A policy that stands in no charter.
    ///
    /// # Errors
    /// What a charter with it would be refused for.
    pub fn new(witnesses: &'a [Witness], groups: &'a [WitnessGroup], quorum: &'a str) -> Result<Self, Defect> {
        check_witnesses(witnesses, groups, quorum)?;
        Ok(Self { witnesses, groups, quorum })
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &'a [Witness] {
        self.witnesses
    }

    /// The groups, each after what it names.
    pub fn groups(&self) -> &'a [WitnessGroup] {
        self.groups
    }

    /// The witness or group that must cosign; `none` without witnesses.
    pub fn quorum(&self) -> &'a str {
        self.quorum
    }

    /// True while the federation has no witnesses: nothing waits for cosignatures.
    pub fn is_none(&self) -> bool {
        self.quorum == "none"
    }

    /// True if the cosignatures of the witnesses so named make the quorum.
    pub fn is_met_by(&self, cosigned: &BTreeSet<&str>) -> bool {
        self.is_none() || self.settled(cosigned).contains(self.quorum)
    }

    /// The witnesses whose cosignatures would still help to make the quorum, in the policy's order: those that have not
    /// cosigned and belong to no group that is settled without them. None once it is met.
    pub fn missing(&self, cosigned: &BTreeSet<&str>) -> Vec<&'a str> {
        let settled = self.settled(cosigned);
        let mut wanted: BTreeSet<&str> = BTreeSet::from([self.quorum]);
        for group in self.groups.iter().rev() {
            if wanted.contains(group.name.as_str()) && !settled.contains(group.name.as_str()) {
                wanted.extend(group.members.iter().map(String::as_str));
            }
        }
        let names = self.witnesses.iter().map(|witness| witness.name.as_str());
        names.filter(|name| wanted.contains(name) && !settled.contains(name)).collect()
    }

    /// True if every two quorums share a witness: then two histories of one log, or two orders of one group, need a witness
    /// that signs both. In a tree of groups: `need` of `n` members leaves at least `2·need − n` members in common, and one of
    /// them must be a witness, or a group of which the same is true.
    pub fn overlaps(&self) -> bool {
        let mut overlapping: BTreeSet<&str> = self.witnesses.iter().map(|w| w.name.as_str()).collect();
        // Groups stand after what they name.
        for group in self.groups {
            let members = group.members.len();
            let apart = group.members.iter().filter(|name| !overlapping.contains(name.as_str())).count();
            if 2 * group.need.of(members) > members + apart {
                overlapping.insert(&group.name);
            }
        }
        overlapping.contains(self.quorum)
    }

    /// The witnesses that cosigned and the groups that are satisfied.
    fn settled<'n>(&self, cosigned: &BTreeSet<&'n str>) -> BTreeSet<&'n str>
    where
        'a: 'n,
    {
        // Groups stand after what they name, so one pass settles each.
        let mut met: BTreeSet<&'n str> =
            self.witnesses.iter().map(|w| w.name.as_str()).filter(|name| cosigned.contains(name)).collect();
        for group in self.groups {
            let count = group.members.iter().filter(|m| met.contains(m.as_str())).count();
            if count >= group.need.of(group.members.len()) {
                met.insert(&group.name);
            }
        }
        met
    }
}

/// A witness policy that outlives the charter it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedWitnessPolicy {
    witnesses: Vec<Witness>,
    groups: Vec<WitnessGroup>,
    quorum: String,
}

impl OwnedWitnessPolicy {
    /// The policy.
    pub fn policy(&self) -> WitnessPolicy<'_> {
        WitnessPolicy { witnesses: &self.witnesses, groups: &self.groups, quorum: &self.quorum }
    }
}

impl From<WitnessPolicy<'_>> for OwnedWitnessPolicy {
    fn from(policy: WitnessPolicy<'_>) -> Self {
        let WitnessPolicy { witnesses, groups, quorum } = policy;
        Self { witnesses: witnesses.to_vec(), groups: groups.to_vec(), quorum: quorum.to_owned() }
    }
}

/// The witness, group and quorum lines of a C2SP tlog-policy file.
impl fmt::Display for WitnessPolicy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for witness in self.witnesses {
            write!(f, "witness {} {}", witness.name, witness.vkey)?;
            if let Some(url) = &witness.url {
                write!(f, " {url}")?;
            }
            writeln!(f)?;
        }
        for group in self.groups {
            writeln!(f, "group {} {} {}", group.name, group.need, group.members.join(" "))?;
        }
        writeln!(f, "quorum {}", self.quorum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(name: &str) -> Witness {
        Witness { name: name.to_owned(), jurisdiction: "mx".parse().unwrap(), vkey: String::new(), url: None }
    }

    fn group(name: &str, need: Need, members: &[&str]) -> WitnessGroup {
        WitnessGroup { name: name.to_owned(), need, members: members.iter().map(|m| (*m).to_owned()).collect() }
    }

    /// Whether two sets of witnesses, both enough, have none in common.
    fn come_apart(policy: &WitnessPolicy<'_>) -> bool {
        let names: Vec<&str> = policy.witnesses.iter().map(|w| w.name.as_str()).collect();
        let chosen = |set: u32| (0..names.len()).filter(|i| set >> i & 1 == 1).map(|i| names[i]).collect();
        let enough: Vec<u32> = (0..1 << names.len()).filter(|set| policy.is_met_by(&chosen(*set))).collect();
        enough.iter().any(|one| enough.iter().any(|other| one & other == 0))
    }

    #[test]
    fn quorums_overlap_exactly_where_no_two_of_them_come_apart() {
        let witnesses = ["a", "b", "c", "d", "e", "f"].map(witness);
        let needs = [Need::Any, Need::All, Need::AtLeast(2)];
        let (mut overlapping, mut apart) = (0, 0);
        for (mx, us, both) in needs.iter().flat_map(|m| needs.iter().flat_map(move |u| needs.map(|b| (*m, *u, b)))) {
            for split in 1..=5 {
                let names = ["a", "b", "c", "d", "e", "f"];
                let (left, right) = names.split_at(split);
                let groups = [group("mx", mx, left), group("us", us, right), group("both", both, &["mx", "us"])];
                if groups.iter().any(|g| g.need.of(g.members.len()) > g.members.len()) {
                    continue;
                }
                for quorum in ["mx", "us", "both", "a"] {
                    let policy = WitnessPolicy { witnesses: &witnesses, groups: &groups, quorum };
                    assert_eq!(policy.overlaps(), !come_apart(&policy), "{policy}");
                    if policy.overlaps() { overlapping += 1 } else { apart += 1 }
                }
            }
        }
        assert!(overlapping > 100 && apart > 50, "{overlapping} {apart}");
    }
}
