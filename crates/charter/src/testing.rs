//! A federation of two nations for tests, with every secret derived from a name.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use puente_model::{Digest, Jurisdiction, Millis, Purpose};

use crate::text::parse_instant;
use crate::*;

pub(crate) fn at(text: &str) -> Millis {
    parse_instant(text).unwrap()
}

pub(crate) fn key(seed: &str) -> SigningKey {
    SigningKey::from_bytes(&Digest::of(seed.as_bytes()).0)
}

fn vkey_of(name: &str, kind: u8, public: &[u8]) -> String {
    let typed = [&[kind], public].concat();
    let hash = Digest::of(&[name.as_bytes(), b"\n", &typed].concat());
    format!("{name}+{}+{}", hex::encode(&hash.0[..4]), STANDARD.encode(typed))
}

pub(crate) fn vkey(name: &str, seed: u8) -> String {
    vkey_of(name, 1, &key(&format!("log {seed}")).verifying_key().to_bytes())
}

pub(crate) fn witness_vkey(name: &str, seed: u8) -> String {
    vkey_of(name, 4, &key(&format!("witness {seed}")).verifying_key().to_bytes())
}

/// Certificates are costly and random: each is made once.
fn once(id: String, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    static MADE: OnceLock<Mutex<HashMap<String, Vec<u8>>>> = OnceLock::new();
    MADE.get_or_init(Mutex::default).lock().unwrap().entry(id).or_insert_with(make).clone()
}

pub(crate) fn authority(n: u8) -> Vec<u8> {
    once(format!("ca {n}"), || {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    })
}

pub(crate) fn leaf(uris: &[&str], dns: &[&str]) -> Vec<u8> {
    once(format!("leaf {uris:?} {dns:?}"), || {
        let names: Vec<String> = dns.iter().map(|d| (*d).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|u| rcgen::SanType::URI((*u).try_into().unwrap())));
        params.not_before = rcgen::date_time_ymd(2026, 11, 1);
        params.not_after = rcgen::date_time_ymd(2026, 11, 15);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    })
}

pub(crate) fn code(text: &str) -> Jurisdiction {
    text.parse().unwrap()
}

fn member(agency: &str, seed: u8) -> Member {
    let origin = format!("{agency}/n1/log1");
    Member {
        uri: format!("puente://{agency}/n1").parse().unwrap(),
        name_en: format!("Agency {agency}"),
        name_es: format!("Agencia {agency}"),
        roles: vec!["state-prosecutor".to_owned()],
        endpoints: vec![format!("127.0.0.1:{}", 7400 + u32::from(seed))],
        suspended: false,
        suspended_reason: None,
        logs: vec![LogEntry {
            vkey: vkey(&origin, seed),
            origin: origin.parse().unwrap(),
            closed_at: None,
            first_head: None,
        }],
    }
}

pub(crate) fn annex(nation: &str) -> AnnexPart {
    let members = match nation {
        "mx" => vec![member("mx/fge-bc", 1), member("mx/sspc", 2)],
        "us" => vec![member("us/sdpd", 3), member("us/atf-sd", 4)],
        _ => vec![member(&format!("{nation}/police"), 5)],
    };
    let federation = "frontera".to_owned();
    AnnexPart { federation, jurisdiction: code(nation), number: 1, previous: None, common: 1, members }
}

fn auditor(nation: &str, name: &str, seed: u8) -> Auditor {
    let origin = format!("{nation}/{name}/n1/log1");
    let seal = |quarter: &str| SealKey {
        quarter: quarter.parse().unwrap(),
        key: Digest::of(format!("{name} {quarter}").as_bytes()).0,
    };
    Auditor {
        name: name.to_owned(),
        jurisdiction: code(nation),
        vkey: vkey(&origin, seed),
        origin: origin.parse().unwrap(),
        seal_keys: vec![seal("2026Q4"), seal("2027Q1")],
    }
}

pub(crate) fn nation(nation: &str, root: u8, annex: AnnexPin) -> JurisdictionEntry {
    let gov = |i: u8| {
        let name = format!("{nation}-gov-{i}");
        GovernanceKey { key: key(&name).verifying_key().to_bytes(), name }
    };
    JurisdictionEntry {
        code: code(nation),
        name_en: format!("Nation {nation}"),
        name_es: format!("Nación {nation}"),
        threshold: 2,
        ca_roots: vec![authority(root)],
        annex,
        governance_keys: vec![gov(1), gov(2), gov(3)],
    }
}

pub(crate) fn auditors(nation: &str, seed: u8) -> Vec<Auditor> {
    vec![
        auditor(nation, &format!("{nation}-auditor-a"), seed),
        auditor(nation, &format!("{nation}-auditor-b"), seed + 1),
    ]
}

pub(crate) fn pin_of(annex: &AnnexPart) -> AnnexPin {
    AnnexPin { number: annex.number, hash: annex.hash() }
}

/// Common part 1 over the annexes of both nations.
pub(crate) fn common(mx: &AnnexPart, us: &AnnexPart) -> CommonPart {
    CommonPart {
        federation: "frontera".to_owned(),
        number: 1,
        previous: None,
        valid_from: at("2026-11-01"),
        expires: at("2027-05-01"),
        grace_days: 14,
        cosign_bound_hours: 72,
        audit_hold_days: 365,
        period_minutes: 60,
        catalogue: Digest::of(b"catalogue"),
        sensitive_kinds: vec!["person.index".parse().unwrap()],
        quorum: "none".to_owned(),
        jurisdictions: vec![nation("mx", 1, pin_of(mx)), nation("us", 2, pin_of(us))],
        legal_bases: vec![LegalBasis {
            id: "mx-us-mlat-1987".parse().unwrap(),
            title_en: "Mutual Legal Assistance Treaty".to_owned(),
            title_es: "Tratado de Asistencia Jurídica Mutua".to_owned(),
            purposes: vec![Purpose::CriminalInvestigation, Purpose::VehicleRecovery],
            jurisdictions: vec![code("mx")],
            expires: at("2027-01-01"),
        }],
        auditors: [auditors("mx", 20), auditors("us", 30)].concat(),
        witnesses: vec![],
        witness_groups: vec![],
        corridors: vec![Corridor {
            name: "otay".to_owned(),
            convener: "puente://mx/fge-bc/n1".parse().unwrap(),
            successors: vec!["puente://us/sdpd/n1".parse().unwrap()],
            members: vec!["puente://mx/sspc/n1".parse().unwrap()],
            silence_seconds: 600,
            suite: 2,
        }],
    }
}

pub(crate) fn signatures(hash: Digest, signers: &[&str]) -> Vec<PartSignature> {
    signers.iter().map(|name| sign(&hash, &key(name), name)).collect()
}

pub(crate) fn claim_common(part: &CommonPart, signers: &[&str]) -> Result<ClaimedPart, CharterError> {
    let file = format!("common-{}.toml", part.number);
    ClaimedPart::new(&file, Part::Common(part.clone()), signatures(part.hash(), signers))
}

pub(crate) fn claim_annex(part: &AnnexPart, signers: &[&str]) -> Result<ClaimedPart, CharterError> {
    let file = format!("{}-{}.toml", part.jurisdiction, part.number);
    ClaimedPart::new(&file, Part::Annex(part.clone()), signatures(part.hash(), signers))
}

pub(crate) const ALL: [&str; 4] = ["mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-3"];
pub(crate) const MX: [&str; 2] = ["mx-gov-1", "mx-gov-3"];
pub(crate) const US: [&str; 2] = ["us-gov-2", "us-gov-3"];
