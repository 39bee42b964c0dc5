//! From claimed parts to the charter in force.

use std::collections::{BTreeMap, HashMap, HashSet};

use puente_model::{Digest, Jurisdiction};

use crate::vkey::{self, Holder};
use crate::{AnnexPart, Charter, CharterError, ClaimedPart, CommonPart, Conviction, JurisdictionEntry, Part};

/// A part with the name of its file.
struct Named<T> {
    file: String,
    part: T,
    hash: Digest,
}

type Versions<K> = BTreeMap<K, Vec<ClaimedPart>>;

impl Charter {
    /// Verifies the whole history of a charter, in any order, and returns what is in force.
    ///
    /// `pin` is the hash of common part 1, given out of band. Every version of
    /// every part is needed, from version 1. The rules:
    ///
    /// - a common part is signed by enough keys of every jurisdiction that it
    ///   names and, from version 2, of every jurisdiction that its predecessor named;
    /// - an annex is signed by enough keys of its own jurisdiction, under the
    ///   latest common part that pins an earlier annex (for the first annexes:
    ///   the first common part that names the jurisdiction);
    /// - numbers run without gaps, and each part names the hash of the one before;
    /// - a pinned annex is the pinned one; logs are never removed or altered;
    /// - every log, auditor, witness and governance key has one holder.
    ///
    /// The latest versions given are in force: hand a new common part over only
    /// when its `valid_from` has come.
    pub fn verify(parts: impl IntoIterator<Item = ClaimedPart>, pin: Digest) -> Result<Self, CharterError> {
        let (mut commons, mut annexes): (Versions<u32>, Versions<(Jurisdiction, u32)>) = Default::default();
        for claimed in parts {
            let same_number = match &claimed.part {
                Part::Common(part) => commons.entry(part.number).or_default(),
                Part::Annex(part) => annexes.entry((part.jurisdiction.clone(), part.number)).or_default(),
            };
            match same_number.iter_mut().find(|other| other.hash == claimed.hash) {
                Some(same) => same.signatures.extend(claimed.signatures),
                None => same_number.push(claimed),
            }
        }
        let given = commons.values().chain(annexes.values()).flatten().cloned().collect();
        let commons = verify_commons(commons, pin)?;
        let chains = verify_annexes(annexes, &commons)?;
        let Some(latest) = commons.last() else { return Err(CharterError::NoCommonPart) };
        let in_force: Vec<&AnnexPart> = chains.values().filter_map(|chain| chain.last()).map(|a| &a.part).collect();
        check_holders(&latest.part, &in_force)?;
        check_corridors(&latest.part, &in_force)?;
        let hashes = |chain: &[Named<AnnexPart>]| chain.iter().map(|a| a.hash).collect();
        Ok(Self::build(
            latest.part.clone(),
            commons.iter().map(|c| c.hash).collect(),
            chains.iter().map(|(code, chain)| (code.clone(), hashes(chain))).collect(),
            in_force.into_iter().cloned().collect(),
            given,
        ))
    }
}

fn verify_commons(mut given: Versions<u32>, pin: Digest) -> Result<Vec<Named<CommonPart>>, CharterError> {
    let last = *given.keys().next_back().ok_or(CharterError::NoCommonPart)?;
    let mut chain: Vec<Named<CommonPart>> = Vec::new();
    for number in 1..=last {
        let candidates = given.remove(&number).ok_or(CharterError::MissingCommonPart { number })?;
        let before = chain.last();
        let mut signed = Vec::new();
        for claimed in candidates {
            let ClaimedPart { file, part: Part::Common(part), hash, signatures } = claimed else { continue };
            if number == 1 && hash != pin {
                return Err(CharterError::WrongPin { found: hash, pinned: pin });
            }
            let mut signers: Vec<&JurisdictionEntry> = part.jurisdictions.iter().collect();
            signers.extend(before.iter().flat_map(|b| &b.part.jurisdictions));
            check_signatures(&file, &hash, &signatures, &signers)?;
            signed.push(Named { file, part, hash });
        }
        let mut signed = signed.into_iter();
        let Some(next) = signed.next() else { return Err(CharterError::MissingCommonPart { number }) };
        if let Some(other) = signed.next() {
            let (first, second) = (next.hash, other.hash);
            return Err(CharterError::Convicted(Conviction::TwoCommonParts { number, first, second }));
        }
        if let Some(before) = before {
            check_succession(before, &next)?;
        }
        chain.push(next);
    }
    Ok(chain)
}

fn check_succession(before: &Named<CommonPart>, next: &Named<CommonPart>) -> Result<(), CharterError> {
    same_federation(&next.file, &next.part.federation, &before.part.federation)?;
    if next.part.previous != Some(before.hash) {
        return Err(CharterError::BrokenChain { part: next.file.clone(), expected: before.hash });
    }
    for j in &next.part.jurisdictions {
        let Some(old) = before.part.jurisdiction(&j.code) else { continue };
        if j.annex.number < old.annex.number {
            return Err(CharterError::PinGoesBack {
                part: next.file.clone(),
                jurisdiction: j.code.clone(),
                found: j.annex.number,
                before: old.annex.number,
            });
        }
    }
    Ok(())
}

fn same_federation(part: &str, found: &str, expected: &str) -> Result<(), CharterError> {
    if found == expected {
        return Ok(());
    }
    let (part, found, expected) = (part.to_owned(), found.to_owned(), expected.to_owned());
    Err(CharterError::OtherFederation { part, found, expected })
}

/// Every signature must verify, and every signer's threshold must be reached by distinct keys.
fn check_signatures(
    file: &str,
    hash: &Digest,
    signatures: &[crate::PartSignature],
    signers: &[&JurisdictionEntry],
) -> Result<(), CharterError> {
    let keys = || signers.iter().flat_map(|j| &j.governance_keys);
    let mut signed: HashSet<[u8; 32]> = HashSet::new();
    for signature in signatures {
        let (part, signer) = (file.to_owned(), signature.key_name.clone());
        // A name may stand for an old and a new key while keys change.
        let mut named = keys().filter(|k| k.name == signature.key_name).peekable();
        if named.peek().is_none() {
            return Err(CharterError::UnknownSigner { part, signer });
        }
        let verifies = |k: &&crate::GovernanceKey| k.verifying_key().is_some_and(|v| signature.verifies(hash, &v));
        match named.find(verifies) {
            Some(key) => signed.insert(key.key),
            None => return Err(CharterError::BadSignature { part, signer }),
        };
    }
    for j in signers {
        let have = j.governance_keys.iter().filter(|k| signed.contains(&k.key)).count();
        let need = j.threshold as usize;
        if have < need {
            let (part, jurisdiction) = (file.to_owned(), j.code.clone());
            return Err(CharterError::MissingSignatures { part, jurisdiction, have, need });
        }
    }
    Ok(())
}

type Chains = BTreeMap<Jurisdiction, Vec<Named<AnnexPart>>>;

fn verify_annexes(
    mut given: Versions<(Jurisdiction, u32)>,
    commons: &[Named<CommonPart>],
) -> Result<Chains, CharterError> {
    // How far each chain goes: as far as parts were given and at least to every pin.
    let mut last: BTreeMap<Jurisdiction, u32> = BTreeMap::new();
    let pins = commons.iter().flat_map(|c| &c.part.jurisdictions).map(|j| (&j.code, j.annex.number));
    for (code, number) in given.keys().map(|(code, number)| (code, *number)).chain(pins) {
        let known = last.entry(code.clone()).or_default();
        *known = number.max(*known);
    }
    let mut chains = Chains::new();
    for (code, last) in last {
        let mut chain: Vec<Named<AnnexPart>> = Vec::new();
        for number in 1..=last {
            let missing = || CharterError::MissingAnnex { jurisdiction: code.clone(), number };
            let candidates = given.remove(&(code.clone(), number)).ok_or_else(missing)?;
            let mut signed = Vec::new();
            for claimed in candidates {
                signed.extend(verify_annex(claimed, commons)?);
            }
            let mut signed = signed.into_iter();
            let next = signed.next().ok_or_else(missing)?;
            if let Some(other) = signed.next() {
                let (jurisdiction, first, second) = (code.clone(), next.hash, other.hash);
                return Err(CharterError::Convicted(Conviction::TwoAnnexes { jurisdiction, number, first, second }));
            }
            check_pins(&next, commons)?;
            if let Some(before) = chain.last() {
                check_continues(before, &next)?;
            }
            chain.push(next);
        }
        chains.insert(code, chain);
    }
    Ok(chains)
}

/// Checks an annex's signatures under the common part that it names.
fn verify_annex(claimed: ClaimedPart, commons: &[Named<CommonPart>]) -> Result<Option<Named<AnnexPart>>, CharterError> {
    let ClaimedPart { file, part: Part::Annex(part), hash, signatures } = claimed else { return Ok(None) };
    let missing = CharterError::MissingCommonPart { number: part.common };
    let common = commons.iter().find(|c| c.part.number == part.common).ok_or(missing)?;
    same_federation(&file, &part.federation, &common.part.federation)?;
    let Some(own) = common.part.jurisdiction(&part.jurisdiction) else {
        return Err(CharterError::ForeignAnnex { part: file, jurisdiction: part.jurisdiction });
    };
    check_signatures(&file, &hash, &signatures, &[own])?;
    Ok(Some(Named { file, part, hash }))
}

fn check_pins(annex: &Named<AnnexPart>, commons: &[Named<CommonPart>]) -> Result<(), CharterError> {
    let mut first = None;
    let mut latest_below = None;
    for common in commons {
        let Some(j) = common.part.jurisdiction(&annex.part.jurisdiction) else { continue };
        first = first.or(Some(common.part.number));
        if j.annex.number < annex.part.number {
            latest_below = Some(common.part.number);
        }
        if j.annex.number == annex.part.number && j.annex.hash != annex.hash {
            return Err(CharterError::PinnedAnnexDiffers {
                part: annex.file.clone(),
                common: common.part.number,
                jurisdiction: j.code.clone(),
                number: annex.part.number,
                pinned: j.annex.hash,
                found: annex.hash,
            });
        }
    }
    match latest_below.or(first) {
        Some(expected) if expected != annex.part.common => {
            Err(CharterError::WrongKeys { part: annex.file.clone(), expected, found: annex.part.common })
        }
        _ => Ok(()),
    }
}

fn check_continues(before: &Named<AnnexPart>, next: &Named<AnnexPart>) -> Result<(), CharterError> {
    if next.part.previous != Some(before.hash) {
        return Err(CharterError::BrokenChain { part: next.file.clone(), expected: before.hash });
    }
    let now: HashMap<_, _> = next.part.members.iter().flat_map(|m| &m.logs).map(|l| (&l.origin, l)).collect();
    for old in before.part.members.iter().flat_map(|m| &m.logs) {
        let kept = now.get(&old.origin).is_some_and(|new| {
            new.vkey == old.vkey
                && new.first_head == old.first_head
                && (old.closed_at.is_none() || new.closed_at == old.closed_at)
        });
        if !kept {
            return Err(CharterError::LogRemoved { part: next.file.clone(), origin: old.origin.to_string() });
        }
    }
    Ok(())
}

/// Every key and every origin has one holder.
fn check_holders(common: &CommonPart, annexes: &[&AnnexPart]) -> Result<(), CharterError> {
    let logs = annexes.iter().flat_map(|a| &a.members).flat_map(|m| &m.logs).map(|l| (&l.origin, &l.vkey));
    let logs: Vec<_> = logs.chain(common.auditors.iter().map(|a| (&a.origin, &a.vkey))).collect();
    let mut origins = HashSet::new();
    if let Some((origin, _)) = logs.iter().find(|(origin, _)| !origins.insert(*origin)) {
        return Err(CharterError::SharedOrigin { origin: origin.to_string() });
    }
    let governance = common.jurisdictions.iter().flat_map(|j| &j.governance_keys);
    let mut holders: Vec<(String, Vec<u8>)> =
        governance.map(|k| (format!("governance key {}", k.name), k.key.to_vec())).collect();
    // Shapes were checked with the parts; a key that no longer parses has no bytes to share.
    let bytes = |key: &str, name: &str, holder| vkey::check(key, name, holder).unwrap_or_default();
    // A successor log may go on with its node's key: a head names its origin.
    holders.extend(logs.iter().map(|(o, key)| (o.node().to_string(), bytes(key, o.as_str(), Holder::Log))));
    let witnesses = common.witnesses.iter();
    holders.extend(witnesses.map(|w| (format!("witness {}", w.name), bytes(&w.vkey, &w.name, Holder::Witness))));
    let mut seen: HashMap<Vec<u8>, String> = HashMap::new();
    for (name, key) in holders {
        match seen.insert(key, name.clone()) {
            Some(first) if first != name => return Err(CharterError::SharedKey { first, second: name }),
            _ => {}
        }
    }
    Ok(())
}

fn check_corridors(common: &CommonPart, annexes: &[&AnnexPart]) -> Result<(), CharterError> {
    let members: HashSet<_> = annexes.iter().flat_map(|a| &a.members).map(|m| &m.uri).collect();
    for corridor in &common.corridors {
        let mut nodes = std::iter::once(&corridor.convener).chain(&corridor.successors);
        if let Some(node) = nodes.find(|node| !members.contains(node)) {
            let (corridor, node) = (corridor.name.clone(), node.to_string());
            return Err(CharterError::ConvenerNotMember { corridor, node });
        }
    }
    Ok(())
}
