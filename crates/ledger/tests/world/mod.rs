//! A federation of two nations for tests: keys, witnesses that keep the rules, nodes with disks.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "every test uses some of it")]

pub mod charter;
pub mod writer;

use std::collections::BTreeMap;

use puente_audit_log::witness::{self, ClaimedSubmission, LogRule, Remembered, encode_submission};
use puente_audit_log::{ClaimedCheckpoint, Ed25519Signer, KeyKind, SignedCheckpoint, Signer, VerifierKey};
use puente_charter::{Need, Witness, WitnessGroup, WitnessPolicy};
use puente_ledger::{Beginning, GroupId, Keys, LedgerOrigin, Quorum, Roster, Rules, Seat, WitnessReply};
use puente_model::{CharterVector, Digest, Millis, NodeUri, Secret32, TreeSize};

pub const SILENCE: u64 = 60_000;
pub const WITNESSES: [&str; 6] = ["mx1", "mx2", "mx3", "us1", "us2", "us3"];
/// The convener, its successors, and two members that propose nothing.
pub const NODES: [&str; 5] = ["mx/a/n1", "us/b/n1", "mx/c/n1", "us/d/n1", "mx/e/n1"];

pub fn node(name: &str) -> NodeUri {
    format!("puente://{name}").parse().unwrap()
}

pub fn seed(name: &str) -> Secret32 {
    Secret32::new(Digest::of(name.as_bytes()).0)
}

pub fn witness_signer(name: &str) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::CosignatureV1, &seed(name)).unwrap()
}

pub fn proposer_signer(name: &str, ledger: &LedgerOrigin) -> Ed25519Signer {
    Ed25519Signer::new(&ledger.to_string(), KeyKind::Ed25519, &seed(name)).unwrap()
}

pub fn group() -> GroupId {
    "frontera/otay".parse().unwrap()
}

pub fn ledger(number: u32) -> LedgerOrigin {
    format!("group/{}/ledger{number}", group()).parse().unwrap()
}

pub fn quorum() -> Quorum {
    let witnesses: Vec<Witness> = WITNESSES
        .iter()
        .map(|name| Witness {
            name: (*name).to_owned(),
            jurisdiction: name[..2].parse().unwrap(),
            vkey: witness_signer(name).verifier().to_string(),
            url: None,
        })
        .collect();
    let nation = |name: &str| WitnessGroup {
        name: name.to_owned(),
        need: Need::AtLeast(2),
        members: (1..=3).map(|n| format!("{name}{n}")).collect(),
    };
    let both = WitnessGroup { name: "both".to_owned(), need: Need::All, members: vec!["mx".into(), "us".into()] };
    let groups = [nation("mx"), nation("us"), both];
    Quorum::of(&WitnessPolicy::new(&witnesses, &groups, "both").unwrap()).unwrap()
}

pub fn vector(text: &str) -> CharterVector {
    text.parse().unwrap()
}

pub fn seats(names: &[&str]) -> Vec<Seat> {
    let public = |name: &str| *proposer_signer(name, &ledger(1)).verifier().public();
    names.iter().map(|name| Seat { node: node(name), public: public(name) }).collect()
}

pub fn patient(silence: u64) -> Rules {
    Rules::new(vector("1.mx1.us1"), quorum(), seats(&NODES[..3]), silence).unwrap()
}

pub fn rules() -> Rules {
    patient(SILENCE)
}

pub fn roster() -> Roster {
    NODES.iter().map(|name| node(name)).collect()
}

pub fn beginning() -> Beginning {
    Beginning { group: group(), rules: rules(), epoch: 0, roster: roster() }
}

/// A proposer's keys.
pub struct NodeKeys(pub &'static str);

impl Keys for NodeKeys {
    fn signer(&self, ledger: &LedgerOrigin) -> Option<Box<dyn Signer + Send>> {
        Some(Box::new(proposer_signer(self.0, ledger)))
    }
}

pub fn keys(name: &'static str) -> Option<Box<dyn Keys + Send>> {
    NODES[..3].contains(&name).then(|| Box::new(NodeKeys(name)) as Box<dyn Keys + Send>)
}

/// A witness by the rules of C2SP tlog-witness, and what it remembers, durably, of every ledger.
pub struct TestWitness {
    pub signer: Ed25519Signer,
    core: witness::Witness,
    remembered: BTreeMap<String, Remembered>,
}

impl TestWitness {
    pub fn new(name: &str) -> Self {
        let signer = witness_signer(name);
        let core = witness::Witness::new(signer.verifier().clone()).unwrap();
        Self { signer, core, remembered: BTreeMap::new() }
    }

    /// C2SP add-checkpoint: checks, stores, signs.
    pub fn add(&mut self, now: Millis, old: TreeSize, proof: &[Digest], note: &[u8]) -> WitnessReply {
        let Some(head) = verified(note) else { return WitnessReply::Refused };
        let rule = rule(&head).first_use(true);
        let submission = ClaimedSubmission::parse(&encode_submission(old, proof, &head).unwrap()).unwrap();
        match self.core.submit(now, &submission, Some(&rule), self.remembered.get(head.origin())) {
            Ok(advance) => {
                let stored = advance.persist(|_| Ok::<(), ()>(())).unwrap();
                let line = stored.cosign(&self.signer).unwrap();
                self.remembered.insert(head.origin().to_owned(), stored);
                WitnessReply::Cosigned(vec![line])
            }
            Err(witness::Refusal::Stale { size }) => WitnessReply::Conflict(size),
            Err(_) => WitnessReply::Refused,
        }
    }

    /// The newest head of a ledger that it cosigned, as monitors read it.
    pub fn newest(&self, ledger: &LedgerOrigin) -> Option<SignedCheckpoint> {
        Some(self.remembered.get(&ledger.to_string())?.cosigned(&self.signer).unwrap())
    }
}

fn rule(head: &SignedCheckpoint) -> LogRule {
    let ledger: LedgerOrigin = head.origin().parse().unwrap();
    LogRule::new(head.origin(), rules().keys(&ledger).into_iter().map(|(_, key)| key).collect()).unwrap()
}

/// A head that one of the proposers signed.
pub fn verified(note: &[u8]) -> Option<SignedCheckpoint> {
    let claimed = ClaimedCheckpoint::parse(note).ok()?;
    let origin: LedgerOrigin = claimed.claimed().origin().parse().ok()?;
    rules().keys(&origin).iter().find_map(|(_, key)| claimed.clone().verify(key).ok())
}

/// Cosigns a head as these witnesses, whatever they remember: as if each had just been pinned to it.
pub fn cosigned(head: &SignedCheckpoint, by: &[&str], at: Millis) -> SignedCheckpoint {
    let rule = rule(head).pinned(head.checkpoint().clone()).unwrap();
    let submission = ClaimedSubmission::parse(&encode_submission(head.size(), &[], head).unwrap()).unwrap();
    let line = |name: &&str| {
        let signer = witness_signer(name);
        let core = witness::Witness::new(signer.verifier().clone()).unwrap();
        let stored = core.submit(at, &submission, Some(&rule), None).unwrap().persist(|_| Ok::<(), ()>(()));
        stored.unwrap().cosign(&signer).unwrap()
    };
    head.with_signatures(&by.iter().map(line).collect::<Vec<_>>()).unwrap()
}

pub fn witness_keys() -> Vec<VerifierKey> {
    WITNESSES.iter().map(|name| witness_signer(name).verifier().clone()).collect()
}
