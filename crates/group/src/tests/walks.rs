//! Random walks: whatever honest members do, and whoever loses, those who are in the group agree.

use proptest::prelude::*;
use puente_model::Digest;

use super::world::*;
use crate::*;

/// What one member wants next; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Rekey(usize),
    Add(usize, usize),
    Remove(usize, usize),
    Renew(usize),
    /// Two members commit at once; the first is ordered.
    Race(usize, usize),
    Rejoin(usize),
    Restart(usize),
    Say(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0usize..10;
    prop_oneof![
        n.clone().prop_map(Step::Rekey),
        (n.clone(), n.clone()).prop_map(|(by, who)| Step::Add(by, who)),
        (n.clone(), n.clone()).prop_map(|(by, who)| Step::Add(by, who)),
        (n.clone(), n.clone()).prop_map(|(by, who)| Step::Remove(by, who)),
        n.clone().prop_map(Step::Renew),
        (n.clone(), n.clone()).prop_map(|(first, second)| Step::Race(first, second)),
        n.clone().prop_map(Step::Rejoin),
        n.clone().prop_map(Step::Restart),
        n.prop_map(Step::Say),
    ]
}

struct Walk {
    world: World,
    inside: Vec<Node>,
    outside: Vec<Node>,
}

impl Walk {
    /// The ledger ordered a member's commit: all take it, and whoever was removed or added moves.
    fn take(&mut self, by: usize, pending: &Pending) {
        let ordered = self.world.order_pending(pending);
        let merged = self.inside[by].merge(pending, &ordered).unwrap();
        for (i, node) in self.inside.iter_mut().enumerate() {
            if i != by {
                let processed = node.process(&self.world, pending.commit(), &ordered).unwrap();
                assert_eq!(processed.left, merged.removed.contains(node.id.uri()));
            }
        }
        for uri in &merged.removed {
            let at = self.inside.iter().position(|node| node.id.uri() == uri).unwrap();
            let gone = self.inside.remove(at);
            assert!(gone.disk.0.is_empty());
            self.outside.push(gone);
        }
        for uri in &merged.added {
            let at = self.outside.iter().position(|node| node.id.uri() == uri).unwrap();
            let mut came = self.outside.remove(at);
            came.join(&self.world, merged.welcome.as_ref().unwrap(), pending.commit(), &ordered).unwrap();
            self.inside.push(came);
        }
    }

    fn step(&mut self, step: &Step) {
        let inside = self.inside.len();
        match *step {
            Step::Rekey(by) => {
                let by = by % inside;
                let pending = self.inside[by].stage(&self.world, &Intent::default()).unwrap();
                self.take(by, &pending);
            }
            Step::Add(by, who) if !self.outside.is_empty() => {
                let (by, who) = (by % inside, who % self.outside.len());
                let add = vec![self.outside[who].key_package(Suite::X25519)];
                let pending = self.inside[by].stage(&self.world, &Intent { add, ..Intent::default() }).unwrap();
                self.take(by, &pending);
            }
            Step::Remove(by, who) if by % inside != who % inside => {
                let (by, who) = (by % inside, who % inside);
                let remove = vec![self.inside[who].id.uri().clone()];
                let pending = self.inside[by].stage(&self.world, &Intent { remove, ..Intent::default() }).unwrap();
                self.take(by, &pending);
            }
            Step::Renew(by) => {
                let node = &mut self.inside[by % inside];
                let (key, me) = (Key::new(Scheme::Ed25519), node.id.clone());
                let next = self.world.identity(me.uri().as_str(), &key);
                let done = node.group().stage_renewal(&me, &next, &Intent::default(), &self.world.trust, NOW).unwrap();
                let pending = node.keep(done);
                (node.id, node.key) = (next, key);
                self.take(by % inside, &pending);
            }
            Step::Race(first, second) if first % inside != second % inside => {
                let (first, second) = (first % inside, second % inside);
                let loser = self.inside[second].stage(&self.world, &Intent::default()).unwrap();
                let winner = self.inside[first].stage(&self.world, &Intent::default()).unwrap();
                self.take(first, &winner);
                let again = self.inside[second].stage(&self.world, &Intent::default()).unwrap();
                assert_ne!(again.hash(), loser.hash());
                self.take(second, &again);
            }
            Step::Rejoin(who) if inside > 1 => {
                let lost = self.inside.remove(who % inside);
                let me = self.inside[0].id.clone();
                let info = self.inside[0].group().info(&me).unwrap();
                let rejoin = Rejoin::start(&info, &lost.id, &self.world.trust, NOW).unwrap();
                let commit = rejoin.commit().to_vec();
                let ordered = self.world.order(rejoin.group(), rejoin.epoch(), &commit);
                for node in &mut self.inside {
                    assert!(node.process(&self.world, &commit, &ordered).unwrap().rejoined);
                }
                let (group, changes) = rejoin.merge(&ordered, &self.world.trust, lost.disk.keys()).unwrap();
                let mut back = Node { group: Some(group), ..lost };
                back.disk.write(changes);
                self.inside.push(back);
            }
            Step::Restart(who) => self.inside[who % inside].restart(),
            Step::Say(who) => {
                let who = who % inside;
                let sealed = self.inside[who].seal(&self.world, b"said");
                for i in (0..inside).filter(|i| *i != who) {
                    assert_eq!(&self.inside[i].open(&sealed).unwrap().content[..], b"said");
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn members_agree_after_every_walk(steps in proptest::collection::vec(step(), 1..16)) {
        let mut world = World::new();
        let inside = world.group_of(&NAMES[..3], Suite::X25519);
        let outside = NAMES[3..7].iter().map(|name| world.node(name, Scheme::Ed25519)).collect();
        let mut walk = Walk { world, inside, outside };
        for step in &steps {
            walk.step(step);
            agree(&walk.inside);
            let psk = walk.inside[0].group().psk(&Digest::of(b"q")).unwrap();
            for node in &mut walk.outside {
                if let Some(group) = &mut node.group {
                    prop_assert_eq!(group.psk(&Digest::of(b"q")).unwrap_err(), GroupError::NotAMember);
                }
            }
            drop(psk);
        }
    }
}
