//! A small federation whose nodes write true logs, in memory; and the means to forge them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use puente_audit_log::{Batch, Ed25519Signer, Journal, KeyKind, Log, MemoryFiles, Signer as _, leaf_hash, root_of};
use puente_charter::{
    AnnexPart, AnnexPin, Auditor as CharterAuditor, Charter, ClaimedPart, CommonPart, Corridor, GovernanceKey,
    JurisdictionEntry, LegalBasis, LogEntry, Member, Need, Part, SealKey, Witness, WitnessGroup, quarter_of, sign,
};
use puente_evidence::{AuditorKey, EscrowSeeds, EscrowedEntry, HeaderSeed, HpkeKeyPair};
use puente_model::*;
use puente_wire::proto::{self, Message as _};
use puente_wire::{Entry, Event, Header, Hole, HoleWhy, Pair, PairBody, PairKind, Period, Terms, Veiled, label};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use crate::{Auditor, Verdict};

/// When the tests are run, as far as they know: whoever uses this world says so.
pub(crate) fn now() -> Millis {
    super::now()
}

pub(crate) const MX: &str = "puente://mx/fge-bc/n1";
pub(crate) const MX2: &str = "puente://mx/sspc/n1";
pub(crate) const US: &str = "puente://us/sdpd/n1";
pub(crate) const US2: &str = "puente://us/atf-sd/n1";
pub(crate) const BASIS: &str = "mx-us-mlat-1987";

pub(crate) fn uri(text: &str) -> NodeUri {
    text.parse().unwrap()
}

fn seed32(name: &str) -> [u8; 32] {
    Digest::of(name.as_bytes()).0
}

pub(crate) fn log_signer(origin: &str) -> Ed25519Signer {
    Ed25519Signer::new(origin, KeyKind::Ed25519, &Secret32::new(seed32(&format!("log {origin}")))).unwrap()
}

pub(crate) fn seal_secret(name: &str) -> Secret32 {
    Secret32::new(seed32(&format!("seal {name}")))
}

pub(crate) fn auditor_key(name: &str) -> HpkeKeyPair {
    HpkeKeyPair::from_private(seal_secret(name)).unwrap()
}

fn governance(nation: &str) -> (String, SigningKey) {
    (format!("{nation}-gov"), SigningKey::from_bytes(&seed32(&format!("gov {nation}"))))
}

type Root = (Vec<u8>, rcgen::Issuer<'static, rcgen::KeyPair>);

fn root(nation: &str) -> &'static Root {
    static MADE: OnceLock<BTreeMap<&'static str, Root>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let make = |nation: &str| {
            let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, format!("Root of {nation}"));
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().der().to_vec(), rcgen::Issuer::new(params, key))
        };
        ["mx", "us"].into_iter().map(|nation| (nation, make(nation))).collect()
    });
    &made[nation]
}

fn authority(nation: &str) -> Vec<u8> {
    root(nation).0.clone()
}

/// A certificate by a nation's root, valid until the beginning of a year: chain and key in PEM.
#[allow(dead_code, reason = "written for the tests of doors, which stand outside the library")]
pub(crate) fn certificate(nation: &str, uri: &str, until: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let dials_only = uri.starts_with("puente-auditor:");
    params.extended_key_usages = if dials_only { vec![ClientAuth] } else { vec![ServerAuth, ClientAuth] };
    let key = rcgen::KeyPair::generate().unwrap();
    (params.signed_by(&key, &root(nation).1).unwrap().pem(), key.serialize_pem())
}

fn annex(nation: &str, closed: &BTreeMap<String, u64>) -> AnnexPart {
    let nodes = if nation == "mx" { [MX, MX2] } else { [US, US2] };
    let member = |node: &str| {
        let origin = uri(node).origin(1).unwrap();
        let closed_at = closed.get(node).copied();
        let entry = |origin: Origin, closed_at| LogEntry {
            vkey: log_signer(origin.as_str()).verifier().to_string(),
            origin,
            closed_at,
            first_head: None,
        };
        let mut logs = vec![entry(origin, closed_at)];
        if closed_at.is_some() {
            logs.push(entry(uri(node).origin(2).unwrap(), None));
        }
        Member {
            uri: uri(node),
            name_en: "Agency".to_owned(),
            name_es: "Agencia".to_owned(),
            roles: vec!["police".to_owned()],
            endpoints: vec![],
            suspended: false,
            suspended_reason: None,
            logs,
        }
    };
    AnnexPart {
        federation: "frontera".to_owned(),
        jurisdiction: nation.parse().unwrap(),
        number: 1,
        previous: None,
        common: 1,
        members: nodes.into_iter().map(member).collect(),
    }
}

fn charter_auditor(nation: &str, name: &str) -> CharterAuditor {
    let origin: Origin = format!("{nation}/{name}/n1/log1").parse().unwrap();
    let quarter = quarter_of(now()).parse().unwrap();
    CharterAuditor {
        name: name.to_owned(),
        jurisdiction: nation.parse().unwrap(),
        vkey: log_signer(origin.as_str()).verifier().to_string(),
        origin,
        seal_keys: vec![SealKey { quarter, key: *auditor_key(name).public() }],
    }
}

fn parts(closed: &BTreeMap<String, u64>, grouped: bool) -> (CommonPart, [AnnexPart; 2]) {
    let annexes = ["mx", "us"].map(|nation| annex(nation, closed));
    let nation = |annex: &AnnexPart| {
        let code = annex.jurisdiction.clone();
        let (name, key) = governance(code.as_str());
        JurisdictionEntry {
            name_en: "Nation".to_owned(),
            name_es: "Nación".to_owned(),
            threshold: 1,
            ca_roots: vec![authority(code.as_str())],
            annex: AnnexPin { number: 1, hash: annex.hash() },
            governance_keys: vec![GovernanceKey { name, key: key.verifying_key().to_bytes() }],
            code,
        }
    };
    let basis = |id: &str, expires: Millis, nations: &[&str]| LegalBasis {
        id: id.parse().unwrap(),
        title_en: "Treaty".to_owned(),
        title_es: "Tratado".to_owned(),
        purposes: vec![Purpose::CriminalInvestigation, Purpose::VehicleRecovery],
        jurisdictions: nations.iter().map(|n| n.parse().unwrap()).collect(),
        expires,
    };
    let year = 365 * 86_400_000;
    let common = CommonPart {
        federation: "frontera".to_owned(),
        number: 1,
        previous: None,
        valid_from: Millis(now().0 - year),
        expires: now().plus(year),
        grace_days: 14,
        cosign_bound_hours: 72,
        audit_hold_days: 365,
        period_minutes: 60,
        catalogue: Digest::of(b"catalogue"),
        sensitive_kinds: vec![],
        quorum: if grouped { "both" } else { "none" }.to_owned(),
        jurisdictions: annexes.iter().map(nation).collect(),
        legal_bases: vec![
            basis(BASIS, now().plus(year), &["mx", "us"]),
            basis("lapsed", Millis(now().0 - year / 2), &["mx", "us"]),
            basis("us-only", now().plus(year), &["us"]),
        ],
        auditors: vec![
            charter_auditor("mx", "mx-a"),
            charter_auditor("mx", "mx-b"),
            charter_auditor("us", "us-a"),
            charter_auditor("us", "us-b"),
        ],
        witnesses: if grouped { WITNESSES.map(charter_witness).to_vec() } else { vec![] },
        witness_groups: if grouped { witness_groups() } else { vec![] },
        corridors: if grouped { vec![corridor()] } else { vec![] },
    };
    (common, annexes)
}

/// Two of three of each nation cosign.
pub(crate) const WITNESSES: [&str; 6] = ["mx1", "mx2", "mx3", "us1", "us2", "us3"];

pub(crate) fn witness_signer(name: &str) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::CosignatureV1, &Secret32::new(seed32(&format!("witness {name}")))).unwrap()
}

fn charter_witness(name: &str) -> Witness {
    Witness {
        name: name.to_owned(),
        jurisdiction: name[..2].parse().unwrap(),
        vkey: witness_signer(name).verifier().to_string(),
        url: None,
    }
}

fn witness_groups() -> Vec<WitnessGroup> {
    let group = |nation: &str| WitnessGroup {
        name: nation.to_owned(),
        need: Need::AtLeast(2),
        members: (1..=3).map(|n| format!("{nation}{n}")).collect(),
    };
    let both = WitnessGroup { name: "both".to_owned(), need: Need::All, members: vec!["mx".into(), "us".into()] };
    vec![group("mx"), group("us"), both]
}

/// `otay`: convened by MX, then by US.
fn corridor() -> Corridor {
    let (convener, successors, members) = (uri(MX), vec![uri(US)], vec![]);
    Corridor { name: "otay".to_owned(), convener, successors, members, silence_seconds: 0, suite: 0 }
}

/// The charter with witnesses and a corridor.
pub(crate) fn group_charter() -> Charter {
    verified(&BTreeMap::new(), true)
}

/// [`group_charter`], and MX's annex 2: its log is closed, and it signs with the key of the next one.
pub(crate) fn later_group_charter() -> Charter {
    let closed = BTreeMap::from([(MX.to_owned(), 1_000)]);
    let first = annex("mx", &BTreeMap::new());
    let next = AnnexPart { number: 2, previous: Some(first.hash()), ..annex("mx", &closed) };
    let hash = next.hash();
    let next = ClaimedPart::new("mx-2", Part::Annex(next), signatures(hash, &["mx"])).unwrap();
    let before = group_charter();
    Charter::verify(before.parts().iter().cloned().chain([next]), before.pin()).unwrap()
}

/// Writes the files of [`group_charter`]; returns its pin.
pub(crate) fn write_group_charter(dir: &Path) -> Digest {
    write_parts(dir, true)
}

pub(crate) fn signatures(hash: Digest, nations: &[&str]) -> Vec<puente_charter::PartSignature> {
    nations.iter().map(|n| governance(n)).map(|(name, key)| sign(&hash, &key, &name)).collect()
}

pub(crate) fn charter_with(closed: &BTreeMap<String, u64>) -> Charter {
    verified(closed, false)
}

fn verified(closed: &BTreeMap<String, u64>, grouped: bool) -> Charter {
    let (common, annexes) = parts(closed, grouped);
    let pin = common.hash();
    let mut claimed = vec![ClaimedPart::new("common", Part::Common(common), signatures(pin, &["mx", "us"])).unwrap()];
    for annex in annexes {
        let (hash, nation) = (annex.hash(), annex.jurisdiction.to_string());
        claimed.push(ClaimedPart::new(&nation, Part::Annex(annex), signatures(hash, &[&nation])).unwrap());
    }
    Charter::verify(claimed, pin).unwrap()
}

pub(crate) fn charter() -> Charter {
    charter_with(&BTreeMap::new())
}

/// Writes the charter's files; returns its pin.
pub(crate) fn write_charter(dir: &Path) -> Digest {
    write_parts(dir, false)
}

fn write_parts(dir: &Path, grouped: bool) -> Digest {
    let (common, annexes) = parts(&BTreeMap::new(), grouped);
    fs::create_dir_all(dir).unwrap();
    let write = |name: &str, toml: String, hash: Digest, nations: &[&str]| {
        fs::write(dir.join(name), toml).unwrap();
        let lines: String = signatures(hash, nations).iter().map(|s| format!("{s}\n")).collect();
        fs::write(dir.join(format!("{name}.sig")), lines).unwrap();
    };
    write("common-1.toml", common.to_toml().unwrap(), common.hash(), &["mx", "us"]);
    for annex in &annexes {
        let name = format!("annex-{}-1.toml", annex.jurisdiction);
        write(&name, annex.to_toml().unwrap(), annex.hash(), &[annex.jurisdiction.as_str()]);
    }
    common.hash()
}

pub(crate) struct Nowhere;

impl Journal for Nowhere {
    type Error = String;

    fn persist(&mut self, _: Batch<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// A node's log with its sidecar, and what it needs to write more.
pub(crate) struct Node {
    pub(crate) uri: NodeUri,
    origin: String,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) asides: Vec<proto::Aside>,
    pub(crate) log: Log,
    pub(crate) files: MemoryFiles,
    pub(crate) signer: Ed25519Signer,
    next: BTreeMap<NodeUri, u64>,
    closed: BTreeMap<NodeUri, u64>,
    escrow: BTreeMap<Vec<String>, EscrowSeeds>,
    headers: Option<HeaderSeed>,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        let uri = uri(name);
        let origin = uri.origin(1).unwrap().to_string();
        Self {
            entries: Vec::new(),
            asides: Vec::new(),
            log: Log::empty(&origin).unwrap(),
            files: MemoryFiles::new(),
            signer: log_signer(&origin),
            next: BTreeMap::new(),
            closed: BTreeMap::new(),
            escrow: BTreeMap::new(),
            headers: None,
            origin,
            uri,
        }
    }

    /// Appends a batch and publishes; returns the leaf hashes.
    pub(crate) fn append(&mut self, entries: Vec<Vec<u8>>) -> Vec<Digest> {
        let sealed = self.log.stage(&entries).unwrap().sign(&self.signer).unwrap();
        let committed = self.log.commit(sealed.persist(&mut Nowhere).unwrap()).unwrap();
        self.files.put(committed.files);
        self.files.put(self.log.publish().unwrap());
        self.entries.extend(entries);
        committed.leaves
    }

    pub(crate) fn position(&self, leaf: &Digest) -> u64 {
        self.entries.iter().position(|e| leaf_hash(e) == *leaf).unwrap() as u64
    }

    /// This node's receipt for an entry, under its newest head.
    pub(crate) fn receipt(&self, leaf: &Digest) -> Vec<u8> {
        self.log.receipt(LeafIndex(self.position(leaf)), &self.files).unwrap().encode()
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        self.log.head().unwrap().note_bytes().to_vec()
    }

    pub(crate) fn keep(&mut self, leaf: &Digest, body: proto::aside::Body) {
        self.asides.push(proto::Aside { leaf_hash: leaf.0.to_vec(), body: Some(body) });
    }

    pub(crate) fn keep_receipt(&mut self, leaf: &Digest, receipt: Vec<u8>) {
        self.keep(leaf, proto::aside::Body::PeerReceipt(receipt));
    }

    /// Another log of the same name and key, over these entries: what a forger presents.
    pub(crate) fn rewrite(&mut self, entries: Vec<Vec<u8>>) {
        self.log = Log::empty(&self.origin).unwrap();
        self.files = MemoryFiles::new();
        self.entries = Vec::new();
        self.append(entries);
    }

    pub(crate) fn leaf(&self, index: usize) -> Digest {
        leaf_hash(&self.entries[index])
    }

    pub(crate) fn pair(&self, index: usize) -> Option<Pair> {
        match Entry::decode(&self.entries[index]) {
            Ok(Entry::Pair(pair)) => Some(pair),
            _ => None,
        }
    }

    /// The first entry of a kind by an author.
    pub(crate) fn find(&self, kind: PairKind, from: &str) -> usize {
        let fits = |i: &usize| self.pair(*i).is_some_and(|p| p.kind() == kind && p.from.as_str() == from);
        (0..self.entries.len()).find(fits).unwrap()
    }

    pub(crate) fn export(&self, dir: &Path) {
        for path in self.files.paths() {
            let to = dir.join(path.to_string());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, self.files.get(path).unwrap()).unwrap();
        }
        let mut asides = Vec::new();
        for aside in &self.asides {
            let bytes = aside.encode_to_vec();
            asides.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            asides.extend_from_slice(&bytes);
        }
        fs::write(dir.join("asides"), asides).unwrap();
    }
}

/// How an exchange goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    Released,
    /// Answered and receipted; the release is not yet written.
    Receipted,
    /// Answered; the answer has not reached the asker.
    Answered,
    NoHit,
    /// A person confirmed the hit; nothing is disclosed.
    Confirmed,
    Refused,
    /// The question has not reached the holder.
    Asked,
}

/// The federation.
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<&'static str, Node>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now: Millis,
    /// Changes the next entries before they are written.
    pub(crate) basis: &'static str,
    pub(crate) purpose: Purpose,
    /// Spoils the entries that are written from now on.
    pub(crate) spoil: Option<fn(&mut Pair)>,
    /// The group and epoch of the next questions.
    pub(crate) binding: (String, u64),
}

impl World {
    pub(crate) fn new() -> Self {
        let nodes = [MX, MX2, US, US2].into_iter().map(|name| (name, Node::new(name))).collect();
        let purpose = Purpose::CriminalInvestigation;
        Self {
            nodes,
            rng: ChaCha8Rng::seed_from_u64(7),
            now: Millis(now().0 - 3_000_000),
            basis: BASIS,
            purpose,
            spoil: None,
            binding: Default::default(),
        }
    }

    /// Exchanges of every course in both directions, periods, a void, local events.
    pub(crate) fn busy() -> Self {
        let mut world = Self::new();
        world.event(MX);
        for course in [Course::Released, Course::NoHit, Course::Refused] {
            world.exchange(MX, US, course);
            world.exchange(US, MX, course);
            world.exchange(MX, US2, course);
        }
        world.period(MX, US, &[]);
        world.period(US, MX, &[]);
        world.event(US);
        for course in [Course::Released, Course::NoHit, Course::Released] {
            world.exchange(MX, US, course);
            world.exchange(US, MX, course);
        }
        world
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap()
    }

    pub(crate) fn tick(&mut self) {
        self.now = self.now.plus(20_000);
    }

    fn auditor(&self, name: &str) -> AuditorKey {
        AuditorKey {
            jurisdiction: name[..2].parse().unwrap(),
            auditor: name.to_owned(),
            quarter: quarter_of(now()),
            key: *auditor_key(name).public(),
        }
    }

    /// The escrow seeds of a node for a pair of nations, recorded before their first use.
    fn seeds(&mut self, at: &str, other: &str) -> EscrowSeeds {
        let mut nations = vec![uri(at).jurisdiction().to_string(), uri(other).jurisdiction().to_string()];
        nations.sort();
        if let Some(seeds) = self.nodes[at].escrow.get(&nations) {
            return seeds.clone();
        }
        let both = [self.auditor(&format!("{}-a", nations[0])), self.auditor(&format!("{}-b", nations[1]))];
        let (seeds, entry) = EscrowSeeds::generate(&both, self.now.minute(), &mut self.rng).unwrap();
        let node = self.node(at);
        node.append(vec![Entry::Seeds(entry).encode()]);
        node.escrow.insert(nations, seeds.clone());
        seeds
    }

    /// A local event with a sealed header.
    pub(crate) fn event(&mut self, at: &str) {
        let vector = charter().vector();
        self.veil(at, Header::Event(Event::new(EventKind::Collect, self.now, vector)));
    }

    pub(crate) fn veil(&mut self, at: &str, header: Header) {
        let salt = Secret32::new(self.bytes());
        let bytes = header.encode();
        let commitment = Header::commit(&bytes, &salt);
        let entry = Entry::Veiled(Veiled { stage: Stage::Collection, minute: self.now.minute(), commitment }).encode();
        self.record_veiled(at, entry, &salt, &bytes);
        self.tick();
    }

    /// Records a veiled entry and keeps its header, sealed to the node's own auditors.
    pub(crate) fn record_veiled(&mut self, at: &str, entry: Vec<u8>, salt: &Secret32, header: &[u8]) -> Digest {
        if self.nodes[at].headers.is_none() {
            let nation = uri(at).jurisdiction().to_string();
            let own = [self.auditor(&format!("{nation}-a")), self.auditor(&format!("{nation}-b"))];
            let (seed, entry) = HeaderSeed::generate(&own, self.now.minute(), &mut self.rng).unwrap();
            self.node(at).append(vec![Entry::Seeds(entry).encode()]);
            self.node(at).headers = Some(seed);
        }
        let now = self.now;
        let node = self.node(at);
        let leaf = node.append(vec![entry])[0];
        let sealed = node.headers.as_ref().unwrap().seal(leaf, salt, header, now).unwrap();
        node.keep(&leaf, proto::aside::Body::SealedHeader(sealed));
        leaf
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.rng.fill_bytes(&mut out);
        out
    }

    pub(crate) fn next(&mut self, from: &str, to: &str) -> Seq {
        let next = self.node(from).next.entry(uri(to)).or_insert(0);
        *next += 1;
        Seq(*next)
    }

    pub(crate) fn entry(&mut self, from: &str, to: &str, body: PairBody) -> Pair {
        let seq = self.next(from, to);
        let mut pair = Pair {
            from: uri(from),
            to: uri(to),
            log: 1,
            seq,
            minute: self.now.minute(),
            charter: charter().vector(),
            policy_hash: Digest::of(b"policy"),
            body,
        };
        if let Some(spoil) = self.spoil {
            spoil(&mut pair);
        }
        pair
    }

    pub(crate) fn terms(&mut self) -> Terms {
        Terms {
            exchange: ExchangeId(self.bytes()),
            kind: "vehicle.status".parse().unwrap(),
            step: Step::HitNoHit,
            purpose: self.purpose,
            basis: self.basis.parse().unwrap(),
            handling: Handling::H2,
            group: self.binding.0.clone(),
            epoch: self.binding.1,
            mode: Mode::Open,
        }
    }

    /// The escrow of an entry of `from`'s, and its hash.
    pub(crate) fn escrowed(
        &mut self,
        from: &str,
        to: &str,
        id: ExchangeId,
        kind: PairKind,
        commitment: Digest,
    ) -> (proto::Escrow, Digest) {
        let seeds = self.seeds(from, to);
        let origin = uri(from).origin(1).unwrap();
        let entry = EscrowedEntry { origin: &origin, exchange: id, kind, commitment };
        seeds.escrow(&entry, b"opening", self.now).unwrap()
    }

    /// A question, recorded by the asker.
    pub(crate) fn ask(&mut self, from: &str, to: &str) -> (Terms, Digest, Vec<u8>, proto::Escrow) {
        let terms = self.terms();
        let commitment = Digest(self.bytes());
        let (escrow, hash) = self.escrowed(from, to, terms.exchange, PairKind::Query, commitment);
        let due = Minute(self.now.minute().0 + 60);
        let body = PairBody::Query { terms: terms.clone(), due, commitment, escrow: hash };
        let query = Entry::Pair(self.entry(from, to, body)).encode();
        let asker = self.node(from);
        let leaf = asker.append(vec![query.clone()])[0];
        asker.keep(&leaf, proto::aside::Body::Escrow(escrow.clone()));
        (terms, leaf, query, escrow)
    }

    /// A whole exchange, or its beginning. Returns the leaf hashes of the QUERY and its end.
    pub(crate) fn exchange(&mut self, asker: &str, holder: &str, course: Course) -> (Digest, Digest) {
        let (terms, query_leaf, query, escrow) = self.ask(asker, holder);
        self.tick();
        if course == Course::Asked {
            return (query_leaf, Digest::default());
        }
        let asked = self.node(asker).receipt(&query_leaf);
        let commitment = Digest(self.bytes());
        let kind = if course == Course::Refused { PairKind::Refusal } else { PairKind::Answer };
        let (answer_escrow, hash) = self.escrowed(holder, asker, terms.exchange, kind, commitment);
        let terms = Terms { handling: Handling::H1, ..terms };
        let body = match course {
            Course::Refused => PairBody::Refusal {
                terms: terms.clone(),
                reason: RefusalReason::StatutoryBar,
                commitment,
                escrow: hash,
                quoted: query_leaf,
            },
            _ => PairBody::Answer {
                terms: terms.clone(),
                outcome: match course {
                    Course::NoHit => Outcome::NoHit,
                    Course::Confirmed => Outcome::HitConfirmed,
                    _ => Outcome::HitUnconfirmed,
                },
                field_class: match course {
                    Course::NoHit | Course::Confirmed => FieldClass::None,
                    _ => FieldClass::Plain,
                },
                count: CountBand::UnderFive,
                commitment,
                escrow: hash,
                quoted: query_leaf,
            },
        };
        let end = Entry::Pair(self.entry(holder, asker, body)).encode();
        let node = self.node(holder);
        let end_leaf = node.append(vec![query, end.clone()])[1];
        node.keep_receipt(&query_leaf, asked);
        node.keep(&query_leaf, proto::aside::Body::Escrow(escrow));
        node.keep(&end_leaf, proto::aside::Body::Escrow(answer_escrow.clone()));
        let answered = node.receipt(&end_leaf);
        self.tick();
        if course == Course::Answered {
            return (query_leaf, end_leaf);
        }
        let node = self.node(asker);
        node.append(vec![end]);
        node.keep_receipt(&end_leaf, answered);
        node.keep(&end_leaf, proto::aside::Body::Escrow(answer_escrow));
        let acknowledged = node.receipt(&end_leaf);
        self.node(holder).keep_receipt(&end_leaf, acknowledged.clone());
        if course == Course::Released {
            self.release(asker, holder, terms, end_leaf, &acknowledged);
        }
        (query_leaf, end_leaf)
    }

    pub(crate) fn release(&mut self, asker: &str, holder: &str, terms: Terms, quoted: Digest, receipt: &[u8]) {
        let receipt = digest(label::RECEIPT, &[receipt]);
        let body = PairBody::Release { terms, quoted, receipt, sealed_key: Digest(self.bytes()) };
        let entry = Entry::Pair(self.entry(holder, asker, body)).encode();
        self.deliver(holder, asker, entry);
    }

    /// The author records an entry, the receiver records it with the author's receipt.
    pub(crate) fn deliver(&mut self, from: &str, to: &str, entry: Vec<u8>) -> Digest {
        let author = self.node(from);
        let leaf = author.append(vec![entry.clone()])[0];
        let receipt = author.receipt(&leaf);
        let other = self.node(to);
        other.append(vec![entry]);
        other.keep_receipt(&leaf, receipt);
        let back = other.receipt(&leaf);
        self.node(from).keep_receipt(&leaf, back);
        self.tick();
        leaf
    }

    /// Closes all numbers of a numbering, those in `holes` as undelivered.
    pub(crate) fn period(&mut self, from: &str, to: &str, holes: &[Seq]) {
        let body = self.period_body(from, to, holes);
        let entry = Entry::Pair(self.entry(from, to, body)).encode();
        self.deliver(from, to, entry);
    }

    pub(crate) fn period_body(&mut self, from: &str, to: &str, holes: &[Seq]) -> PairBody {
        let peer_head = self.nodes[to].head();
        let node = self.node(from);
        let first = node.closed.get(&uri(to)).map_or(1, |last| last + 1);
        let last = node.next[&uri(to)];
        node.closed.insert(uri(to), last);
        let mut leaves = Vec::new();
        let mut named = Vec::new();
        for seq in first..=last {
            let at = (0..node.entries.len())
                .find(|i| node.pair(*i).is_some_and(|p| p.from == node.uri && p.to == uri(to) && p.seq.0 == seq));
            let leaf = node.leaf(at.unwrap());
            match holes.contains(&Seq(seq)) {
                true => named.push(Hole { seq: Seq(seq), leaf, why: HoleWhy::Undelivered }),
                false => leaves.push(leaf),
            }
        }
        PairBody::Period(Period {
            first: Seq(first),
            last: Seq(last),
            count: leaves.len() as u64,
            root: root_of(leaves),
            holes: named,
            peer_head,
        })
    }

    /// Copies of these nodes' logs.
    pub(crate) fn copies(&self, dir: &Path, names: &[&str]) -> Vec<PathBuf> {
        let name = |n: &str| n.replace("puente://", "").replace('/', "-");
        names
            .iter()
            .map(|n| {
                let to = dir.join(name(n));
                self.nodes[n].export(&to);
                to
            })
            .collect()
    }
}

/// Keys of one auditor of each nation.
pub(crate) fn all_keys() -> Vec<HpkeKeyPair> {
    vec![auditor_key("mx-a"), auditor_key("us-b")]
}

pub(crate) fn auditor(dir: &Path) -> Auditor {
    Auditor::new(charter(), now()).with_keys(all_keys()).with_evidence(dir.join("evidence"))
}

pub(crate) fn reconcile(world: &World, names: &[&str]) -> (Verdict, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), names);
    let paths: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    (auditor(dir.path()).reconcile(&paths).unwrap(), dir)
}
