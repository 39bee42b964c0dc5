//! A charter of two nations, signed, with whatever members a test wants.

use std::collections::BTreeSet;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_charter::{
    AnnexPart, AnnexPin, Auditor, Charter, ClaimedPart, CommonPart, Corridor, GovernanceKey, JurisdictionEntry,
    LegalBasis, LogEntry, Member, Need, Part, Quarter, SealKey, Witness, WitnessGroup, sign,
};
use puente_ledger::{Reboot, RebootTerms};
use puente_model::{Digest, Jurisdiction, Millis, NodeUri, Purpose};

use super::{NOW, Nations, WITNESSES, seed, witness_signer};

fn code(text: &str) -> Jurisdiction {
    text.parse().unwrap()
}

fn governance(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Digest::of(name.as_bytes()).0)
}

/// Whom the charter names.
#[derive(Clone)]
pub struct Plan {
    pub nodes: Vec<NodeUri>,
    /// Who belongs into the corridor; the first convenes, the next two follow it.
    pub corridor: Vec<NodeUri>,
    pub suspended: BTreeSet<NodeUri>,
}

fn member(uri: &NodeUri, suspended: bool) -> Member {
    let name = uri.as_str().strip_prefix("puente://").unwrap();
    let origin = format!("{name}/log1");
    let vkey = Ed25519Signer::new(&origin, KeyKind::Ed25519, &seed(uri)).unwrap().verifier().to_string();
    let log = LogEntry { vkey, origin: origin.parse().unwrap(), closed_at: None, first_head: None };
    Member {
        uri: uri.clone(),
        name_en: format!("Agency {name}"),
        name_es: format!("Agencia {name}"),
        roles: vec!["police".to_owned()],
        endpoints: vec![],
        suspended,
        suspended_reason: suspended.then(|| "seized".to_owned()),
        logs: vec![log],
    }
}

fn annex(plan: &Plan, nation: &str, before: Option<&AnnexPart>) -> AnnexPart {
    let mine = plan.nodes.iter().filter(|node| node.jurisdiction() == code(nation));
    let suspended = |node: &NodeUri| before.is_some() && plan.suspended.contains(node);
    AnnexPart {
        federation: "frontera".to_owned(),
        jurisdiction: code(nation),
        number: before.map_or(1, |part| part.number + 1),
        previous: before.map(AnnexPart::hash),
        common: 1,
        members: mine.map(|node| member(node, suspended(node))).collect(),
    }
}

fn jurisdiction(nations: &Nations, name: &str, annex: &AnnexPart) -> JurisdictionEntry {
    let key = |n: u8| {
        let name = format!("{name}-gov-{n}");
        GovernanceKey { key: governance(&name).verifying_key().to_bytes(), name }
    };
    JurisdictionEntry {
        code: code(name),
        name_en: name.to_owned(),
        name_es: name.to_owned(),
        threshold: 2,
        ca_roots: vec![nations.root(name).to_vec()],
        annex: AnnexPin { number: 1, hash: annex.hash() },
        governance_keys: vec![key(1), key(2), key(3)],
    }
}

fn auditor(nation: &str, name: &str) -> Auditor {
    let (name, origin) = (format!("{nation}-{name}"), format!("{nation}/{nation}-{name}/n1/log1"));
    let quarter: Quarter = "2026Q4".parse().unwrap();
    let key =
        Ed25519Signer::new(&origin, KeyKind::Ed25519, &puente_model::Secret32::new(Digest::of(name.as_bytes()).0));
    Auditor {
        vkey: key.unwrap().verifier().to_string(),
        origin: origin.parse().unwrap(),
        jurisdiction: code(nation),
        seal_keys: vec![SealKey { quarter, key: Digest::of(name.as_bytes()).0 }],
        name,
    }
}

fn common(nations: &Nations, plan: &Plan, mx: &AnnexPart, us: &AnnexPart) -> CommonPart {
    let witnesses = WITNESSES.iter().map(|name| Witness {
        name: (*name).to_owned(),
        jurisdiction: code(&name[..2]),
        vkey: witness_signer(name).verifier().to_string(),
        url: None,
    });
    let group = |nation: &str| WitnessGroup {
        name: nation.to_owned(),
        need: Need::AtLeast(2),
        members: (1..=3).map(|n| format!("{nation}{n}")).collect(),
    };
    let both = WitnessGroup { name: "both".to_owned(), need: Need::All, members: vec!["mx".into(), "us".into()] };
    let auditors = ["mx", "us"].into_iter().flat_map(|nation| ["a", "b"].map(|name| auditor(nation, name)));
    CommonPart {
        federation: "frontera".to_owned(),
        number: 1,
        previous: None,
        valid_from: Millis(NOW.0 - 86_400_000),
        expires: Millis(NOW.0 + 300 * 86_400_000),
        grace_days: 14,
        cosign_bound_hours: 72,
        audit_hold_days: 365,
        period_minutes: 60,
        catalogue: Digest::of(b"catalogue"),
        sensitive_kinds: vec![],
        quorum: "both".to_owned(),
        jurisdictions: vec![jurisdiction(nations, "mx", mx), jurisdiction(nations, "us", us)],
        legal_bases: vec![LegalBasis {
            id: "mx-us-mlat-1987".parse().unwrap(),
            title_en: "Treaty".to_owned(),
            title_es: "Tratado".to_owned(),
            purposes: vec![Purpose::CriminalInvestigation],
            jurisdictions: vec![code("mx")],
            expires: Millis(NOW.0 + 300 * 86_400_000),
        }],
        auditors: auditors.collect(),
        witnesses: witnesses.collect(),
        witness_groups: vec![group("mx"), group("us"), both],
        corridors: vec![Corridor {
            name: "otay".to_owned(),
            convener: plan.corridor[0].clone(),
            successors: plan.corridor[1..plan.corridor.len().min(3)].to_vec(),
            members: plan.corridor.get(3..).unwrap_or_default().to_vec(),
            silence_seconds: 0,
            suite: 0,
        }],
    }
}

/// A reboot that both nations sign.
pub fn reboot(terms: RebootTerms, charter: &Charter) -> Reboot {
    let by = |name: &str| sign(&terms.hash(), &governance(name), name);
    let signatures = ["mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-2"].map(by);
    Reboot::verify(terms, &signatures, charter).unwrap()
}

/// The charter of a plan; with somebody suspended, its nations' second annexes.
pub fn charter(nations: &Nations, plan: &Plan) -> Arc<Charter> {
    let (mx, us) = (annex(plan, "mx", None), annex(plan, "us", None));
    let common = common(nations, plan, &mx, &us);
    let claim = |file: &str, part: Part, hash: Digest, signers: &[&str]| {
        let signatures = signers.iter().map(|name| sign(&hash, &governance(name), name)).collect();
        ClaimedPart::new(file, part, signatures).unwrap()
    };
    let pin = common.hash();
    let all = ["mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-2"];
    let mut parts = vec![
        claim("mx-1.toml", Part::Annex(mx.clone()), mx.hash(), &all[..2]),
        claim("us-1.toml", Part::Annex(us.clone()), us.hash(), &all[2..]),
        claim("common-1.toml", Part::Common(common), pin, &all),
    ];
    for (before, name, keys) in [(&mx, "mx", &all[..2]), (&us, "us", &all[2..])] {
        if plan.suspended.iter().any(|node| node.jurisdiction() == code(name)) {
            let next = annex(plan, name, Some(before));
            let hash = next.hash();
            parts.push(claim(&format!("{name}-2.toml"), Part::Annex(next), hash, keys));
        }
    }
    Arc::new(Charter::verify(parts, pin).unwrap())
}
