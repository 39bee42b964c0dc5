//! A convener that lies to whoever comes in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use std::collections::VecDeque;

use puente_audit_log::witness::{ClaimedSubmission, LogRule, Witness, encode_submission};
use puente_audit_log::{Batch, Ed25519Signer, Journal, KeyKind, Log, SignedCheckpoint, Signer as _, VerifierKey};
use puente_corridor::{Corridors, Effect, Fault, Genesis, GroupEvent, Input, Message, Welcome};
use puente_group::{Group, Identity, Intent, Stock, Suite, Trust};
use puente_ledger::{Body, Draft, LedgerOrigin, Message as Order, Skip};
use puente_model::{Digest, LeafIndex, NodeUri};
use world::*;

/// The convener, three members, and whoever comes in.
const FIVE: [&str; 5] = ["mx/a/n1", "us/b/n1", "mx/c/n1", "us/d/n1", "mx/e/n1"];
const ME: usize = 4;

struct Durable;

impl Journal for Durable {
    type Error = std::convert::Infallible;

    fn persist(&mut self, _: Batch<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A head with the cosignatures of all witnesses, which judge no entries.
fn cosigned(head: &SignedCheckpoint, by: &VerifierKey) -> SignedCheckpoint {
    let rule = LogRule::new(head.origin(), vec![by.clone()]).unwrap().pinned(head.checkpoint().clone()).unwrap();
    let submission = ClaimedSubmission::parse(&encode_submission(head.size(), &[], head).unwrap()).unwrap();
    let lines = WITNESSES.map(|name| {
        let signer = witness_signer(name);
        let core = Witness::new(signer.verifier().clone()).unwrap();
        let stored = core.submit(NOW, &submission, Some(&rule), None).unwrap().persist(|_| Ok::<(), ()>(()));
        stored.unwrap().cosign(&signer).unwrap()
    });
    head.with_signatures(&lines).unwrap()
}

/// A convener that makes what commits it likes, and names whom it likes as their holders.
struct Forger {
    me: Identity,
    group: Group,
    genesis: Genesis,
    trust: Trust,
    ledger: LedgerOrigin,
    log: Log,
    pages: Vec<Order>,
    commits: Vec<Vec<u8>>,
}

impl Forger {
    fn new(world: &World) -> Self {
        let (node, charter) = (&world.nodes[0], &world.nodes[0].charters[0]);
        let trust = Trust::of(charter).unwrap();
        let id = puente_group::GroupId([7; 32]);
        let me = node.identity.clone();
        let policy = otay().as_str().as_bytes().to_vec();
        let (group, _) = Group::create(id, Suite::P256, &policy, &me, &trust, NOW).unwrap();
        let genesis = Genesis { id, founder: node.uri.clone(), charter: charter.vector() };
        let ledger = LedgerOrigin::first(otay());
        let log = Log::empty(&ledger.to_string()).unwrap();
        Self { me, group, genesis, trust, ledger, log, pages: Vec::new(), commits: Vec::new() }
    }

    /// Orders a commit, of which the entry says that these hold it.
    fn order(&mut self, intent: &Intent, held: &[&str]) -> Welcome {
        let (pending, _) = self.group.stage(&self.me, intent, &self.trust, NOW).unwrap();
        let held = held.iter().map(|name| (node(name), Digest::of(name.as_bytes()))).collect();
        let (epoch, index) = (pending.epoch(), self.pages.len() as u64);
        let body = Body::Commit { epoch, at: NOW, commit: pending.hash(), held };
        let draft = Draft { ledger: self.ledger.clone(), index, charter: self.genesis.charter.clone(), body };
        let signer =
            Ed25519Signer::new(&self.ledger.to_string(), KeyKind::Ed25519, &seed(&self.genesis.founder)).unwrap();
        let entry = draft.sign(&signer).unwrap().as_bytes().to_vec();
        let sealed = self.log.stage(&[&entry[..]]).unwrap().sign(&signer).unwrap();
        let head = self.log.commit(sealed.persist(&mut Durable).unwrap()).unwrap().head;
        let head = cosigned(&head, signer.verifier()).note_bytes().to_vec();
        self.pages.push(Order::Entries { ledger: self.ledger.clone(), from: index, entries: vec![entry], head });
        self.commits.push(pending.commit().to_vec());
        let id = self.genesis.id;
        let proof = puente_group::Ordered::by_ledger(id, epoch, pending.hash(), LeafIndex(index), NOW);
        let (merged, _) = self.group.merge(&pending, &proof).unwrap();
        let welcome = merged.welcome.unwrap_or_default();
        Welcome { genesis: self.genesis.clone(), ledger: self.ledger.clone(), index, welcome }
    }

    /// What it shows to whoever asks.
    fn answer(&self, want: &Order) -> Option<Order> {
        match want {
            Order::Want { from, .. } => self.pages.get(usize::try_from(*from).unwrap()).cloned(),
            Order::WantCommit(hash) => {
                let commit = self.commits.iter().find(|commit| puente_group::commit_hash(commit) == *hash);
                commit.map(|commit| Order::Commit(commit.as_slice().into()))
            }
            _ => None,
        }
    }
}

/// Tells a node something, and answers for the convener. Returns the key package that it handed out, if any, what it found
/// wrong, and whether it came in.
fn tell(new: &mut Corridors, forger: &Forger, message: Message) -> (Option<Vec<u8>>, Vec<Fault>, bool) {
    let from = forger.genesis.founder.clone();
    let input = |message| Input::Message { from: from.clone(), group: otay(), message };
    let (mut inputs, mut package, mut faults) = (VecDeque::from([input(message)]), None, Vec::new());
    let mut inside = false;
    while let Some(next) = inputs.pop_front() {
        new.handle(NOW, next);
        while let Some(effect) = new.poll_effect() {
            match effect {
                Effect::Write { ticket, event, .. } => {
                    inside |= matches!(event, Some(GroupEvent::Epoch(_)));
                    inputs.push_back(Input::Written { ticket, leaf: None });
                }
                Effect::Send { message: Message::KeyPackage(bytes), .. } => package = Some(bytes),
                Effect::Send { message: Message::Ledger(want), .. } if !inside => {
                    inputs.extend(forger.answer(&want).map(|message| input(Message::Ledger(message))));
                }
                Effect::Fault { fault, .. } => faults.push(fault),
                _ => {}
            }
        }
    }
    (package, faults, inside)
}

/// A convener makes its group with the others, in which `removed` of them go as this node comes in; this node is shown an
/// entry of which `holders` are said to hold the commit.
fn come_in(holders: &[&str], removed: &[&str]) -> Result<(), Fault> {
    let mut world = World::new(&FIVE, 5, 1);
    let mut new = world.nodes[ME].corridors.take().unwrap();
    while new.poll_effect().is_some() {}
    let mut forger = Forger::new(&world);
    let packages = world.nodes[1..ME].iter().map(|node| {
        let mut stock = Stock::new();
        let _ = stock.replenish(&node.identity, Suite::P256, NOW).unwrap();
        stock.published(&node.identity, Suite::P256, NOW).unwrap()[0].bytes.clone()
    });
    let others = Intent { add: packages.collect(), ..Intent::default() };
    forger.order(&others, &FIVE[..1]);
    let (package, faults, _) = tell(&mut new, &forger, Message::WantKeyPackage { suite: Suite::P256.code() });
    assert_eq!(faults, []);
    let remove: Vec<NodeUri> = removed.iter().map(|name| node(name)).collect();
    let welcome = forger.order(&Intent { add: vec![package.unwrap()], remove, psks: Vec::new() }, holders);
    let (_, mut faults, inside) = tell(&mut new, &forger, Message::Welcome(welcome.clone()));
    assert_eq!((faults.is_empty(), new.group(&otay()).is_some()), (inside, inside), "{faults:?}");
    if inside {
        return Ok(());
    }
    // The same again is not even verified; and there is nothing that would come of it.
    let (_, again, inside) = tell(&mut new, &forger, Message::Welcome(welcome));
    assert_eq!((again, inside), (Vec::new(), false));
    Err(faults.remove(0))
}

#[test]
fn a_commit_that_too_few_held_brings_nobody_in() {
    let not = |skip| Err(Fault::NotHeld(skip));
    assert_eq!(come_in(&FIVE[..3], &[]), Ok(()));
    assert_eq!(come_in(&FIVE[1..4], &[]), Ok(()));
    assert_eq!(come_in(&FIVE[..2], &[]), not(Skip::NoMajority { holders: 2, members: 4 }));
    // Whoever comes in with it did not hold it before.
    let stranger = Skip::HolderNotAMember(node(FIVE[ME]));
    assert_eq!(come_in(&[FIVE[0], FIVE[1], FIVE[ME]], &[]), not(stranger));
}

#[test]
fn whoever_was_removed_with_it_counts_and_may_have_held_it() {
    let not = |skip| Err(Fault::NotHeld(skip));
    assert_eq!(come_in(&FIVE[..3], &FIVE[3..4]), Ok(()));
    assert_eq!(come_in(&[FIVE[0], FIVE[1], FIVE[3]], &FIVE[3..4]), Ok(()));
    assert_eq!(come_in(&FIVE[..2], &FIVE[3..4]), not(Skip::NoMajority { holders: 2, members: 4 }));
    // One was removed: of those who are not among the others one may be a holder, not two.
    let two = come_in(&[FIVE[0], FIVE[1], FIVE[3], FIVE[ME]], &FIVE[3..4]);
    assert_eq!(two, not(Skip::HolderNotAMember(node(FIVE[3]))));
}
