//! A charter for the federation of the tests.

use ed25519_dalek::SigningKey;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer as _};
use puente_charter::{
    AnnexPart, AnnexPin, Auditor, Charter, ClaimedPart, CommonPart, Corridor, GovernanceKey, JurisdictionEntry,
    LegalBasis, LogEntry, Member, Need, Part, PartSignature, Quarter, SealKey, Witness, WitnessGroup, sign,
};
use puente_ledger::RebootTerms;
use puente_model::{Digest, Jurisdiction, Millis, Purpose};

use super::{NODES, WITNESSES, node, seed, witness_signer};

pub fn code(text: &str) -> Jurisdiction {
    text.parse().unwrap()
}

pub fn governance(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Digest::of(name.as_bytes()).0)
}

pub fn log_vkey(origin: &str, owner: &str) -> String {
    Ed25519Signer::new(origin, KeyKind::Ed25519, &seed(owner)).unwrap().verifier().to_string()
}

pub fn annex(nation: &str) -> AnnexPart {
    let members = NODES.iter().filter(|name| name.starts_with(nation)).map(|name| {
        let origin = format!("{name}/log1");
        let log = LogEntry {
            vkey: log_vkey(&origin, name),
            origin: origin.parse().unwrap(),
            closed_at: None,
            first_head: None,
        };
        Member {
            uri: node(name),
            name_en: format!("Agency {name}"),
            name_es: format!("Agencia {name}"),
            roles: vec!["police".to_owned()],
            endpoints: vec![],
            suspended: false,
            suspended_reason: None,
            logs: vec![log],
        }
    });
    let (federation, jurisdiction) = ("frontera".to_owned(), code(nation));
    AnnexPart { federation, jurisdiction, number: 1, previous: None, common: 1, members: members.collect() }
}

pub fn nation(name: &str, annex: &AnnexPart) -> JurisdictionEntry {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = |n: u8| {
        let name = format!("{name}-gov-{n}");
        GovernanceKey { key: governance(&name).verifying_key().to_bytes(), name }
    };
    JurisdictionEntry {
        code: code(name),
        name_en: name.to_owned(),
        name_es: name.to_owned(),
        threshold: 2,
        ca_roots: vec![authority.der().to_vec()],
        annex: AnnexPin { number: 1, hash: annex.hash() },
        governance_keys: vec![key(1), key(2), key(3)],
    }
}

pub fn auditor(nation: &str, name: &str) -> Auditor {
    let (name, origin) = (format!("{nation}-{name}"), format!("{nation}/{nation}-{name}/n1/log1"));
    let quarter: Quarter = "2026Q4".parse().unwrap();
    Auditor {
        vkey: log_vkey(&origin, &name),
        origin: origin.parse().unwrap(),
        jurisdiction: code(nation),
        seal_keys: vec![SealKey { quarter, key: Digest::of(name.as_bytes()).0 }],
        name,
    }
}

pub fn charter(with_witnesses: bool) -> Charter {
    let (mx, us) = (annex("mx"), annex("us"));
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
    let common = CommonPart {
        federation: "frontera".to_owned(),
        number: 1,
        previous: None,
        valid_from: Millis(1_790_000_000_000),
        expires: Millis(1_810_000_000_000),
        grace_days: 14,
        cosign_bound_hours: 72,
        audit_hold_days: 365,
        period_minutes: 60,
        catalogue: Digest::of(b"catalogue"),
        sensitive_kinds: vec![],
        quorum: if with_witnesses { "both" } else { "none" }.to_owned(),
        jurisdictions: vec![nation("mx", &mx), nation("us", &us)],
        legal_bases: vec![LegalBasis {
            id: "mx-us-mlat-1987".parse().unwrap(),
            title_en: "Treaty".to_owned(),
            title_es: "Tratado".to_owned(),
            purposes: vec![Purpose::CriminalInvestigation],
            jurisdictions: vec![code("mx")],
            expires: Millis(1_810_000_000_000),
        }],
        auditors: auditors.collect(),
        witnesses: if with_witnesses { witnesses.collect() } else { vec![] },
        witness_groups: if with_witnesses { vec![group("mx"), group("us"), both] } else { vec![] },
        corridors: vec![Corridor {
            name: "otay".to_owned(),
            convener: node(NODES[0]),
            successors: vec![node(NODES[1]), node(NODES[2])],
            members: vec![node(NODES[3]), node(NODES[4])],
            silence_seconds: 0,
            suite: 0,
        }],
    };
    let claim = |file: &str, part: Part, hash: Digest, signers: &[&str]| {
        let signatures = signers.iter().map(|name| sign(&hash, &governance(name), name)).collect();
        ClaimedPart::new(file, part, signatures).unwrap()
    };
    let pin = common.hash();
    let all = ["mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-2"];
    let parts = [
        claim("mx-1.toml", Part::Annex(mx.clone()), mx.hash(), &all[..2]),
        claim("us-1.toml", Part::Annex(us.clone()), us.hash(), &all[2..]),
        claim("common-1.toml", Part::Common(common), pin, &all),
    ];
    Charter::verify(parts, pin).unwrap()
}

pub fn signatures(terms: &RebootTerms, by: &[&str]) -> Vec<PartSignature> {
    by.iter().map(|name| sign(&terms.hash(), &governance(name), name)).collect()
}

pub const BOTH: [&str; 4] = ["mx-gov-1", "mx-gov-3", "us-gov-1", "us-gov-2"];
