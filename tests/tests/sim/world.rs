//! A federation of two nations: real charter, real catalogue, the example policies, a few records.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ed25519_dalek::SigningKey;
use puente_audit_log::{Ed25519Signer, KeyKind, Signer};
use puente_catalogue::Catalogue;
use puente_charter::{
    AnnexPart, AnnexPin, Auditor, Charter, ClaimedPart, CommonPart, Corridor, GovernanceKey, JurisdictionEntry,
    LegalBasis, LogEntry, Member, Need, Part, PartId, SealKey, Witness, WitnessGroup, sign,
};
use puente_evidence::HpkeKeyPair;
use puente_exchange::vocabulary;
use puente_group::{Identity, LeafSigner, SignFailed, SoftKey, Trust};
use puente_ledger::{Keys, LedgerOrigin};
use puente_model::{Digest, Jurisdiction, Millis, NodeUri, Purpose, Role, Secret32};
use puente_policy::PolicySet;
use puente_wire::Officer;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// 2026-12-01T12:00:00Z.
pub const START: Millis = Millis(1_796_126_400_000);

/// The nodes, in the order of their indices: two of each nation.
pub const NODES: [&str; 4] =
    ["puente://mx/fge-bc/n1", "puente://us/tx-dps/n1", "puente://mx/fgr/n1", "puente://us/ca-doj/n1"];
pub const FGE: usize = 0;
pub const DPS: usize = 1;
pub const FGR: usize = 2;
pub const DOJ: usize = 3;

pub fn uri(node: usize) -> NodeUri {
    NODES[node].parse().unwrap()
}

fn seed_of(name: &str) -> Secret32 {
    Secret32::new(Digest::of(name.as_bytes()).0)
}

fn governance(name: &str) -> SigningKey {
    SigningKey::from_bytes(seed_of(name).expose())
}

/// Signs heads of the node's log.
pub fn log_signer(node: usize) -> Ed25519Signer {
    signer_of(node, 1)
}

/// Signs heads of the node's `k`-th log: each has a key of its own.
pub fn signer_of(node: usize, k: u32) -> Ed25519Signer {
    let origin = uri(node).origin(k).unwrap();
    let seed = if k == 1 { format!("log {}", NODES[node]) } else { format!("log{k} {}", NODES[node]) };
    Ed25519Signer::new(origin.as_str(), KeyKind::Ed25519, &seed_of(&seed)).unwrap()
}

/// What an annex says that the ordinary one does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Amendment {
    /// This member is suspended.
    pub suspended: Option<usize>,
    /// This member has no endpoint: it only calls.
    pub only_calls: Option<usize>,
    /// This member's log is closed at a size, and has a successor.
    pub closed: Option<(usize, u64)>,
    /// Heads must be cosigned.
    pub witnessed: Option<Witnessed>,
    /// All nodes belong into one corridor, and have certificates that its leaves can be made of.
    pub grouped: bool,
}

/// Authorities of both nations whose keys are at hand, and a certificate for each node.
pub struct Papers {
    roots: BTreeMap<&'static str, Vec<u8>>,
    nodes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Papers {
    pub fn made() -> &'static Self {
        static MADE: OnceLock<Papers> = OnceLock::new();
        MADE.get_or_init(|| {
            let issuers: BTreeMap<&str, _> = ["mx", "us"]
                .map(|nation| {
                    let mut params = CertificateParams::new(vec![]).unwrap();
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
                    let key = KeyPair::generate().unwrap();
                    let der = params.self_signed(&key).unwrap().der().to_vec();
                    (nation, (der, Issuer::new(params, key)))
                })
                .into();
            let issue = |node: usize| {
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::new(vec![]).unwrap();
                params.subject_alt_names = vec![SanType::URI(NODES[node].try_into().unwrap())];
                params.not_before = rcgen::date_time_ymd(2026, 1, 1);
                params.not_after = rcgen::date_time_ymd(2028, 1, 1);
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
                let issuer = &issuers[nation_of(node).as_str()].1;
                (params.signed_by(&key, issuer).unwrap().der().to_vec(), key.serialize_der())
            };
            let nodes = (0..NODES.len()).map(issue).collect();
            Self { roots: issuers.into_iter().map(|(nation, (der, _))| (nation, der)).collect(), nodes }
        })
    }

    /// The node as it stands in groups.
    pub fn identity(&self, node: usize, charter: &Charter) -> Identity {
        let (certificate, key) = &self.nodes[node];
        let signer = Arc::new(Leaf(SoftKey::from_pkcs8(key).unwrap()));
        Identity::new(vec![certificate.clone()], signer, &Trust::of(charter).unwrap(), START).unwrap()
    }
}

struct Leaf(SoftKey);

impl LeafSigner for Leaf {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailed> {
        self.0.sign(message)
    }
}

/// Signs for the ledgers that a node proposes in.
pub struct LedgerKeys(pub usize);

impl Keys for LedgerKeys {
    fn signer(&self, ledger: &LedgerOrigin) -> Option<Box<dyn Signer + Send>> {
        let seed = seed_of(&format!("log {}", NODES[self.0]));
        Some(Box::new(Ed25519Signer::new(&ledger.to_string(), KeyKind::Ed25519, &seed).ok()?))
    }
}

/// Who cosigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witnessed {
    /// Both nodes of each nation.
    ByNodes,
    /// One node of each nation.
    ByEither,
    /// The same, and core data of vehicles waits for it.
    Sensitive,
    /// Both nodes of Mexico's; of the United States a server that is no node.
    ByServer,
}

/// The bound of a federation with witnesses.
pub const BOUND_HOURS: u32 = 1;
/// Where the witness that is no node stands.
pub const SERVER: &str = "https://witness.example/us";

/// Cosigns as a node, or as the server (none).
pub fn cosigner(node: Option<usize>) -> Ed25519Signer {
    let name = node.map_or("server".to_owned(), |node| format!("node-{node}"));
    Ed25519Signer::new(&name, KeyKind::CosignatureV1, &seed_of(&format!("witness {name}"))).unwrap()
}

fn witnesses(by: Witnessed) -> (Vec<Witness>, Vec<WitnessGroup>) {
    let witness = |jurisdiction: Jurisdiction, node: Option<usize>| {
        let vkey = cosigner(node).verifier().to_string();
        let name = vkey.split_once('+').unwrap().0.to_owned();
        let url = node.map_or(SERVER.to_owned(), |node| NODES[node].to_owned());
        Witness { name, jurisdiction, vkey, url: Some(url) }
    };
    let nodes = |of: &[usize]| of.iter().map(|n| witness(nation_of(*n), Some(*n))).collect::<Vec<_>>();
    let us = match by {
        Witnessed::ByServer => vec![witness("us".parse().unwrap(), None)],
        Witnessed::ByNodes | Witnessed::ByEither | Witnessed::Sensitive => nodes(&[DPS, DOJ]),
    };
    let need = if by == Witnessed::ByEither { Need::Any } else { Need::All };
    let mx = nodes(&[FGE, FGR]);
    let group = |name: &str, need, members: &[Witness]| {
        let members = members.iter().map(|w| w.name.clone()).collect();
        WitnessGroup { name: name.to_owned(), need, members }
    };
    let both = WitnessGroup { name: "both".to_owned(), need: Need::All, members: vec!["mx".into(), "us".into()] };
    let groups = vec![group("mx", need, &mx), group("us", need, &us), both];
    (mx.into_iter().chain(us).collect(), groups)
}

/// The key to which seeds are sealed for an auditor in a quarter.
pub fn auditor_key(auditor: &str, quarter: &str) -> HpkeKeyPair {
    HpkeKeyPair::from_private(seed_of(&format!("seal {auditor} {quarter}"))).unwrap()
}

pub const QUARTERS: [&str; 3] = ["2026Q3", "2026Q4", "2027Q1"];

fn auditor(nation: &str, which: &str) -> Auditor {
    let name = format!("{nation}-auditor-{which}");
    let origin = format!("{nation}/{name}/n1/log1");
    let signer = Ed25519Signer::new(&origin, KeyKind::Ed25519, &seed_of(&name)).unwrap();
    let seal_keys = QUARTERS
        .map(|quarter| SealKey { quarter: quarter.parse().unwrap(), key: *auditor_key(&name, quarter).public() })
        .to_vec();
    Auditor {
        jurisdiction: nation.parse().unwrap(),
        vkey: signer.verifier().to_string(),
        origin: origin.parse().unwrap(),
        name,
        seal_keys,
    }
}

/// The node's log; closed at a size, and its successor.
pub fn logs_of(node: usize, closed_at: Option<u64>) -> Vec<LogEntry> {
    let log = |k, closed_at| LogEntry {
        origin: uri(node).origin(k).unwrap(),
        vkey: signer_of(node, k).verifier().to_string(),
        closed_at,
        first_head: None,
    };
    let mut logs = vec![log(1, closed_at)];
    logs.extend(closed_at.map(|_| log(2, None)));
    logs
}

fn member(node: usize, amendment: Amendment) -> Member {
    let suspended = amendment.suspended == Some(node);
    let closed_at = amendment.closed.filter(|(of, _)| *of == node).map(|(_, size)| size);
    let logs = logs_of(node, closed_at);
    let uri = uri(node);
    let role = ["state-prosecutor", "state-police", "federal-prosecutor", "state-prosecutor"][node];
    Member {
        name_en: format!("Agency {}", uri.agency()),
        name_es: format!("Agencia {}", uri.agency()),
        roles: vec![role.to_owned()],
        endpoints: if amendment.only_calls == Some(node) { vec![] } else { vec![format!("127.0.0.1:{}", 7400 + node)] },
        suspended,
        suspended_reason: suspended.then(|| "under investigation".to_owned()),
        logs,
        uri,
    }
}

fn annex(nation: &str, amendment: Amendment) -> AnnexPart {
    let nodes = (0..NODES.len()).filter(|n| uri(*n).jurisdiction().as_str() == nation);
    AnnexPart {
        federation: "frontera".to_owned(),
        jurisdiction: nation.parse().unwrap(),
        number: 1,
        previous: None,
        common: 1,
        members: nodes.map(|n| member(n, amendment)).collect(),
    }
}

fn nation(code: &str, root: &[u8], annex: &AnnexPart) -> JurisdictionEntry {
    let key = |i: u8| {
        let name = format!("{code}-gov-{i}");
        GovernanceKey { key: governance(&name).verifying_key().to_bytes(), name }
    };
    JurisdictionEntry {
        code: code.parse().unwrap(),
        name_en: format!("Nation {code}"),
        name_es: format!("Nación {code}"),
        threshold: 2,
        ca_roots: vec![root.to_vec()],
        annex: AnnexPin { number: 1, hash: annex.hash() },
        governance_keys: vec![key(1), key(2), key(3)],
    }
}

fn bases() -> Vec<LegalBasis> {
    let basis = |id: &str, purposes: &[Purpose], nations: &[&str], expires: u64| LegalBasis {
        id: id.parse().unwrap(),
        title_en: id.to_owned(),
        title_es: id.to_owned(),
        purposes: purposes.to_vec(),
        jurisdictions: nations.iter().map(|n| n.parse().unwrap()).collect(),
        expires: START.plus(expires * 86_400_000),
    };
    use Purpose::{
        ArmsTrafficking, CrimePrevention, CriminalInvestigation, MissingPerson, Prosecution, VehicleRecovery,
    };
    vec![
        basis("mx-us-mlat-1987", &[CriminalInvestigation, Prosecution, ArmsTrafficking], &["mx", "us"], 300),
        basis("mx-us-stolen-vehicles-1981", &[VehicleRecovery, CriminalInvestigation], &["mx", "us"], 300),
        basis("bicentennial-framework-2021", &[ArmsTrafficking, CrimePrevention], &["mx", "us"], 300),
        basis("interpol-rpd-2011", &[MissingPerson], &["mx", "us"], 300),
        basis("mx-lgsnsp-2009", &[CriminalInvestigation, VehicleRecovery, CrimePrevention], &["mx"], 300),
        basis("us-28cfr20", &[CriminalInvestigation, VehicleRecovery, CrimePrevention], &["us"], 300),
    ]
}

/// All nodes; the first orders, the next two follow it.
fn corridor() -> Corridor {
    Corridor {
        name: "otay".to_owned(),
        convener: uri(FGE),
        successors: vec![uri(DPS), uri(FGR)],
        members: vec![uri(DOJ)],
        silence_seconds: 60,
        suite: 0,
    }
}

/// The charter in force.
pub fn charter(amendment: Amendment) -> Charter {
    let (mx, us) = (annex("mx", amendment), annex("us", amendment));
    let root = |nation: &str, kept: &'static [u8]| if amendment.grouped { &Papers::made().roots[nation] } else { kept };
    let (witnesses, witness_groups) = amendment.witnessed.map(witnesses).unwrap_or_default();
    let common = CommonPart {
        federation: "frontera".to_owned(),
        number: 1,
        previous: None,
        valid_from: Millis(START.0 - 90 * 86_400_000),
        expires: START.plus(180 * 86_400_000),
        grace_days: 14,
        cosign_bound_hours: if amendment.witnessed.is_some() { BOUND_HOURS } else { 72 },
        audit_hold_days: 365,
        period_minutes: 60,
        catalogue: catalogue().digest(),
        sensitive_kinds: match amendment.witnessed {
            Some(Witnessed::Sensitive) => vec!["vehicle.status".parse().unwrap()],
            _ => Vec::new(),
        },
        quorum: if amendment.witnessed.is_some() { "both" } else { "none" }.to_owned(),
        jurisdictions: vec![
            nation("mx", root("mx", include_bytes!("../data/root-mx.der")), &mx),
            nation("us", root("us", include_bytes!("../data/root-us.der")), &us),
        ],
        legal_bases: bases(),
        auditors: vec![auditor("mx", "a"), auditor("mx", "b"), auditor("us", "a"), auditor("us", "b")],
        witnesses,
        witness_groups,
        corridors: amendment.grouped.then(corridor).into_iter().collect(),
    };
    let claim = |file: &str, hash: Digest, part: Part, keys: &[&str]| {
        let signatures = keys.iter().map(|name| sign(&hash, &governance(name), name)).collect();
        ClaimedPart::new(file, part, signatures).unwrap()
    };
    let pin = common.hash();
    let parts = [
        claim("common-1.toml", pin, Part::Common(common), &["mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-2"]),
        claim("annex-mx-1.toml", mx.hash(), Part::Annex(mx), &["mx-gov-1", "mx-gov-2"]),
        claim("annex-us-1.toml", us.hash(), Part::Annex(us), &["us-gov-2", "us-gov-3"]),
    ];
    Charter::verify(parts, pin).unwrap()
}

/// The annex after the one in force, signed by its nation.
pub fn next_annex(charter: &Charter, nation: &str, tweak: impl FnOnce(&mut AnnexPart)) -> ClaimedPart {
    let nation: Jurisdiction = nation.parse().unwrap();
    let number = charter.vector().annexes[&nation];
    let before = charter.part(&PartId { nation: Some(nation.clone()), number }).unwrap();
    let Part::Annex(annex) = before.part() else { panic!() };
    let common = charter.common().number;
    let mut annex = AnnexPart { number: number + 1, previous: Some(before.hash()), common, ..annex.clone() };
    tweak(&mut annex);
    signed(Part::Annex(annex), &[&format!("{nation}-gov-1"), &format!("{nation}-gov-2")])
}

/// The common part after the one in force, signed by both nations.
pub fn next_common(charter: &Charter, tweak: impl FnOnce(&mut CommonPart)) -> ClaimedPart {
    let before = charter.common();
    let mut common = CommonPart { number: before.number + 1, previous: Some(charter.common_hash()), ..before.clone() };
    for nation in &mut common.jurisdictions {
        let number = charter.vector().annexes[&nation.code];
        nation.annex = AnnexPin { number, hash: charter.annex_hash(&nation.code).unwrap() };
    }
    tweak(&mut common);
    signed(Part::Common(common), &["mx-gov-1", "mx-gov-2", "us-gov-1", "us-gov-2"])
}

/// A part with these keys' signatures.
pub fn signed(part: Part, keys: &[&str]) -> ClaimedPart {
    let hash = part.hash();
    let signatures = keys.iter().map(|name| sign(&hash, &governance(name), name)).collect();
    ClaimedPart::new("offered.toml", part, signatures).unwrap()
}

/// Suspends a node in its annex.
pub fn suspend(node: usize) -> impl FnOnce(&mut AnnexPart) {
    move |annex| {
        let member = annex.members.iter_mut().find(|m| m.uri == uri(node)).unwrap();
        (member.suspended, member.suspended_reason) = (true, Some("under investigation".to_owned()));
    }
}

pub fn catalogue() -> &'static Arc<Catalogue> {
    static MADE: OnceLock<Arc<Catalogue>> = OnceLock::new();
    MADE.get_or_init(|| Arc::new(Catalogue::builtin().unwrap()))
}

macro_rules! policy_texts {
    ($agency:literal) => {
        [
            include_str!(concat!("../../../nodes/agency/policies/", $agency, "/inbound.cedar")),
            include_str!(concat!("../../../nodes/agency/policies/", $agency, "/outbound.cedar")),
        ]
    };
}

/// Rules that all agencies share.
const COMMON: [(&str, &str); 5] = [
    ("alerts.cedar", include_str!("../../../nodes/agency/policies/common/alerts.cedar")),
    ("persons.cedar", include_str!("../../../nodes/agency/policies/common/persons.cedar")),
    ("plates.cedar", include_str!("../../../nodes/agency/policies/common/plates.cedar")),
    ("seizures.cedar", include_str!("../../../nodes/agency/policies/common/seizures.cedar")),
    ("traces.cedar", include_str!("../../../nodes/agency/policies/common/traces.cedar")),
];

/// What all nodes of a federation have in common, and each one's policies.
#[derive(Debug)]
pub struct World {
    pub charter: Arc<Charter>,
    pub policies: Vec<Arc<PolicySet>>,
    /// Nodes host their groups.
    pub grouped: bool,
}

impl World {
    fn new(charter: Charter, edit: fn(&str) -> String) -> Self {
        Self::with(charter, |_, text| edit(text))
    }

    /// `adapt` may change the policies of each node.
    fn with(charter: Charter, adapt: impl Fn(usize, &str) -> String) -> Self {
        let words = vocabulary(&charter, catalogue());
        let texts = [
            policy_texts!("mx-fge-bc"),
            policy_texts!("us-tx-dps"),
            policy_texts!("mx-fgr"),
            policy_texts!("us-ca-doj"),
        ];
        let policies = texts
            .iter()
            .enumerate()
            .map(|(node, [inbound, outbound])| {
                let files = [("inbound.cedar", *inbound), ("outbound.cedar", *outbound)].into_iter().chain(COMMON);
                let files: Vec<_> = files.map(|(name, text)| (name.to_owned(), adapt(node, text))).collect();
                Arc::new(PolicySet::load(&files, &words).unwrap())
            })
            .collect();
        Self { charter: Arc::new(charter), policies, grouped: false }
    }

    /// The ordinary federation.
    pub fn ordinary() -> Arc<Self> {
        static MADE: OnceLock<Arc<World>> = OnceLock::new();
        Arc::clone(MADE.get_or_init(|| Arc::new(Self::new(charter(Amendment::default()), str::to_owned))))
    }

    /// The federation whose policies do not tell under which keys records were found.
    pub fn silent() -> Arc<Self> {
        let silenced = |text: &str| text.replace("@reveals(\"match-key\")", "");
        Arc::new(Self::new(charter(Amendment::default()), silenced))
    }

    /// The federation where a person in Texas decides on core data of vehicles, unless it is urgent: then it is reviewed.
    pub fn deciding() -> Arc<Self> {
        static MADE: OnceLock<Arc<World>> = OnceLock::new();
        let core = "@id(\"answer-vehicle-core\")";
        let adapt = |node: usize, text: &str| {
            let Some(start) = text.find(core).filter(|_| node == DPS) else { return text.to_owned() };
            let end = start + text[start..].find(';').unwrap() + 1;
            let rule = &text[start..end];
            let slow = rule
                .replace(core, "@id(\"answer-vehicle-core\")\n@decide(\"prosecutor, analyst\")")
                .replace("context.facts_stated", "context.facts_stated && context.urgency == Urgency::\"routine\"");
            let urgent = rule
                .replace(core, "@id(\"answer-vehicle-core-urgent\")\n@review(\"24h\")")
                .replace("context.facts_stated", "context.facts_stated && context.urgency == Urgency::\"urgent\"");
            format!("{}{slow}\n{urgent}{}", &text[..start], &text[end..])
        };
        Arc::clone(MADE.get_or_init(|| Arc::new(Self::with(charter(Amendment::default()), adapt))))
    }

    /// The federation whose heads must be cosigned.
    pub fn witnessed(by: Witnessed) -> Arc<Self> {
        let amendment = Amendment { witnessed: Some(by), ..Amendment::default() };
        Arc::new(Self::new(charter(amendment), str::to_owned))
    }

    /// The federation whose nodes are in one corridor.
    pub fn grouped(by: Witnessed) -> Arc<Self> {
        let amendment = Amendment { witnessed: Some(by), grouped: true, ..Amendment::default() };
        Arc::new(Self { grouped: true, ..Self::new(charter(amendment), str::to_owned) })
    }

    /// The federation whose nodes are in one corridor, and where nobody answers what belongs to no group.
    pub fn bound() -> Arc<Self> {
        let amendment = Amendment { witnessed: Some(Witnessed::ByNodes), grouped: true, ..Amendment::default() };
        let bar = "@id(\"bar-unbound\")\n@reason(\"scope\")\n@explain_en(\"only within a group\")\n\
                   @explain_es(\"solo dentro de un grupo\")\n\
                   forbid (principal, action == Action::\"answer\", resource) unless { context.bound };\n";
        let bars = |text: &str| match text.contains("answer-vehicle-core") {
            true => format!("{text}\n{bar}"),
            false => text.to_owned(),
        };
        Arc::new(Self { grouped: true, ..Self::with(charter(amendment), |_, text| bars(text)) })
    }

    /// The federation with one member suspended.
    pub fn suspending(node: usize) -> Arc<Self> {
        let amendment = Amendment { suspended: Some(node), ..Amendment::default() };
        Arc::new(Self::new(charter(amendment), str::to_owned))
    }

    /// The federation with one member that nobody can call.
    pub fn only_calling(node: usize) -> Arc<Self> {
        let amendment = Amendment { only_calls: Some(node), ..Amendment::default() };
        Arc::new(Self::new(charter(amendment), str::to_owned))
    }

    /// The federation in which a member's log is closed at a size and has a successor.
    pub fn succeeding(node: usize, closed_at: u64) -> Arc<Self> {
        let amendment = Amendment { closed: Some((node, closed_at)), ..Amendment::default() };
        Arc::new(Self::new(charter(amendment), str::to_owned))
    }
}

/// A record as a node's store holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    pub record_type: String,
    pub bytes: Vec<u8>,
    pub keys: Vec<(String, String)>,
}

/// A vehicle's row of cells.
pub fn vehicle(vin: &str, more: &[(&str, &str)]) -> Stored {
    let mut row: BTreeMap<String, String> =
        [("vin", vin), ("status", "active"), ("entering_agency", "mx/fge-bc"), ("make", "FORD"), ("model", "RANGER")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
    row.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    stored("Vehicle", &row)
}

/// A record of any type from its cells.
pub fn stored(record_type: &str, row: &BTreeMap<String, String>) -> Stored {
    let kind = catalogue().record_type(record_type).unwrap();
    let parsed = kind.parse_row(row).unwrap_or_else(|e| panic!("{e:?}"));
    let keys = kind.match_keys_of(&parsed.record).unwrap();
    Stored {
        record_type: record_type.to_owned(),
        keys: keys.into_iter().map(|k| (k.name.to_string(), k.value)).collect(),
        bytes: parsed.record.into_bytes(),
    }
}

/// A VIN with a right check digit.
pub fn vin(serial: u32) -> String {
    let mut text = format!("1FTFW1E5_KF{serial:06}").into_bytes();
    let value = |c: u8| match c {
        b'0'..=b'9' => u32::from(c - b'0'),
        b'A'..=b'H' => u32::from(c - b'A') + 1,
        b'J'..=b'R' => u32::from(c - b'J') + 1,
        b'S'..=b'Z' => u32::from(c - b'S') + 2,
        _ => 0,
    };
    let weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let sum: u32 = text.iter().zip(weights).map(|(c, w)| value(*c) * w).sum();
    text[8] = if sum % 11 == 10 { b'X' } else { b'0' + (sum % 11) as u8 };
    String::from_utf8(text).unwrap()
}

/// How many vehicles each node holds: VINs 0..HELD are hits, everything above is not.
pub const HELD: u32 = 5;

/// The records of a node.
pub fn records() -> Vec<Stored> {
    (0..HELD)
        .map(|n| {
            let plate = format!("ABC{n:04}");
            vehicle(&vin(n), &[("plate", plate.as_str()), ("plate_jurisdiction", "US-TX"), ("owner_name", "ANA LOPEZ")])
        })
        .collect()
}

pub fn officer(role: Role) -> Officer {
    Officer {
        id: "o-117".parse().unwrap(),
        name: "Inés Robles".to_owned(),
        role,
        expires: START.plus(100 * 86_400_000),
    }
}

pub fn nation_of(node: usize) -> Jurisdiction {
    uri(node).jurisdiction()
}
