//! Posts: said, sealed, delivered, opened, acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use puente_group::GroupError;
use puente_ledger::GroupId;
use puente_model::{Millis, NodeUri};
use zeroize::Zeroizing;

use crate::api::{Effect, Fault, Message, Opened};
use crate::corridor::{Corridor, Place, Shared};
use crate::kept::{self, Kind};
use crate::out::Then;
use crate::post::{Address, POST_LIFE_MILLIS_MAX, POSTS_MAX, Post, PostId};

impl Corridor {
    /// Says something to everybody who is in the group now. It is kept until each of them has acknowledged it, or `until`.
    pub(crate) fn say(&mut self, shared: &mut Shared, content: &[u8], until: Millis) -> Result<PostId, Fault> {
        let Some(group) = self.group() else { return Err(Fault::Outside) };
        let found = content.len();
        if found > puente_group::limits::MESSAGE_BYTES_MAX {
            let max = puente_group::limits::MESSAGE_BYTES_MAX;
            return Err(GroupError::TooLarge { what: "bytes of a message", found, max }.into());
        }
        if self.posts.len() >= POSTS_MAX {
            return Err(Fault::TooManyPosts);
        }
        let left: BTreeSet<NodeUri> = group.members().filter(|node| **node != shared.me).cloned().collect();
        let id = PostId(shared.random());
        let until = until.min(shared.now.plus(POST_LIFE_MILLIS_MAX));
        let content = Zeroizing::new(content.to_vec());
        let post = Post { content, until, left, sealed: None, sent: BTreeMap::new(), through: BTreeMap::new() };
        let put = (kept::key(&self.name, Kind::Post, &id.0), Some(post.encode()));
        shared.out.write(&self.name, vec![put], None, vec![Then::Deliver(id)]);
        self.posts.insert(id, post);
        Ok(id)
    }

    pub(crate) fn send_posts(&mut self, shared: &mut Shared) {
        let due: Vec<PostId> = self.posts.keys().copied().collect();
        for id in due {
            self.deliver(shared, id);
        }
    }

    /// Sends a post to whoever can be reached and has not acknowledged it.
    pub(crate) fn deliver(&mut self, shared: &mut Shared, id: PostId) {
        let Place::Inside(inside) = &mut self.place else { return };
        let (Some(post), Some(group)) = (self.posts.get_mut(&id), &mut inside.group) else { return };
        let to = post.due(shared.now, &shared.reached);
        let through = post.due_through(shared.now, &shared.reached);
        if to.is_empty() && through.is_empty() || post.until <= shared.now {
            return;
        }
        let mut puts = Vec::new();
        if post.sealed.as_ref().is_none_or(|(epoch, _)| *epoch != group.epoch()) {
            let address = Address { id, until: post.until, group: self.name.clone() }.encode();
            let Ok(trust) = shared.charters.trust_now(&self.name) else { return };
            match group.seal(&shared.identity, &address, &post.content, &trust) {
                Ok((sealed, changes)) => {
                    puts = kept::state(&self.name, changes);
                    post.sealed = Some((group.epoch(), sealed));
                }
                // While a suspended leaf stands in the group, each member is told under the group of two.
                Err(GroupError::SuspendedInside(_)) => {
                    let suspended = |node: &NodeUri| trust.active(node).is_err();
                    let to: Vec<NodeUri> = to.into_iter().filter(|node| !suspended(node)).collect();
                    shared.apart.push((self.name.clone(), id, to));
                    return;
                }
                Err(error) => return shared.out.fault(&self.name, None, error),
            }
        }
        let Some((_, sealed)) = post.sealed.clone() else { return };
        let mut then = Vec::new();
        for node in to {
            then.push(Then::Send(node.clone(), Message::Post { id, sealed: sealed.clone() }));
            post.sent.insert(node, shared.now);
        }
        for node in through {
            then.push(Then::Relay(node.clone(), id, sealed.clone()));
            post.relayed(node, shared.now);
        }
        shared.out.write(&self.name, puts, None, then);
    }

    /// Seals a post of another group for the one other member of this group of two, and sends it.
    pub(crate) fn carry(&mut self, shared: &mut Shared, to: &NodeUri, address: &Address, content: &[u8]) -> bool {
        let Place::Inside(inside) = &mut self.place else { return false };
        let Some(group) = inside.group.as_mut().filter(|group| group.has(to)) else { return false };
        let Ok(trust) = shared.charters.trust_now(&self.name) else { return false };
        let Ok((sealed, changes)) = group.seal(&shared.identity, &address.encode(), content, &trust) else {
            return false;
        };
        let then = vec![Then::Send(to.clone(), Message::Post { id: address.id, sealed })];
        shared.out.write(&self.name, kept::state(&self.name, changes), None, then);
        true
    }

    /// A post arrived, from its sender, or from whoever passes it on: then nobody is told but the one who provably said it.
    pub(crate) fn arrived(
        &mut self,
        shared: &mut Shared,
        from: &NodeUri,
        (id, sealed): (PostId, &[u8]),
        relayed: bool,
    ) -> Result<(), Fault> {
        let Place::Inside(inside) = &mut self.place else { return Err(Fault::Outside) };
        let Some(group) = &mut inside.group else { return Err(Fault::Outside) };
        let at = group.epoch();
        let (opened, changes) = match group.open(sealed) {
            Ok(done) => done,
            // It is passed on again, or comes from its sender.
            Err(error @ (GroupError::Early { .. } | GroupError::Replayed)) if relayed => {
                return match error {
                    GroupError::Replayed => Ok(()),
                    error => Err(error.into()),
                };
            }
            Err(GroupError::Early { found, .. }) => {
                // Its sender sends it again, should there be no room.
                let held = [&id.0[..], &(from.as_str().len() as u16).to_be_bytes(), from.as_str().as_bytes(), sealed];
                let _ = self.early.hold(at, found, &held.concat());
                inside.ledger.handle(shared.now, puente_ledger::Input::Reached(from.clone()));
                self.follow(shared);
                return Ok(());
            }
            // Opened before, and what came of it is durable or on its way there.
            Err(GroupError::Replayed) => {
                shared.out.write(&self.name, Vec::new(), None, vec![Then::Send(from.clone(), Message::Posted(id))]);
                return Ok(());
            }
            Err(error)
                if !relayed
                    && matches!(error, GroupError::TooOld { .. } | GroupError::TooLate | GroupError::DoesNotOpen) =>
            {
                shared.out.send(from, &self.name, Message::Unreadable(id));
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let mut puts = kept::state(&self.name, changes);
        let address = Address::parse(&opened.aad).filter(|address| address.id == id);
        let author = if relayed { &opened.from } else { from };
        let then = vec![Then::Send(author.clone(), Message::Posted(id))];
        let Some(address) = address else {
            shared.out.write(&self.name, puts, None, Vec::new());
            return Err(GroupError::Malformed("post").into());
        };
        let there = shared.rosters.get(&address.group).is_some_and(|roster| roster.contains(&opened.from));
        if address.group != self.name && !there {
            shared.out.write(&self.name, puts, None, Vec::new());
            return Err(Fault::NotToThisGroup(address.group));
        }
        let seen = (address.group.clone(), opened.from.clone(), id);
        if !shared.received.contains_key(&seen) && address.until > shared.now {
            let until = address.until.min(shared.now.plus(POST_LIFE_MILLIS_MAX));
            puts.push((received_key(&seen), Some(until.0.to_be_bytes().to_vec())));
            shared.received.insert(seen, until);
            let group = address.group.clone();
            shared.out.push(Effect::Opened(Opened {
                group,
                id,
                from: opened.from,
                epoch: opened.epoch,
                content: opened.content,
            }));
        }
        shared.out.write(&self.name, puts, None, then);
        Ok(())
    }

    /// Posts that came before the commits that make them readable.
    pub(crate) fn try_early(&mut self, shared: &mut Shared) {
        let Some(epoch) = self.group().map(puente_group::Group::epoch) else { return };
        for held in self.early.ready(epoch) {
            let parse = || {
                let (id, rest) = held.split_first_chunk()?;
                let (length, rest) = rest.split_first_chunk()?;
                let (from, sealed) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                Some((PostId(*id), std::str::from_utf8(from).ok()?.parse::<NodeUri>().ok()?, sealed.to_vec()))
            };
            let Some((id, from, sealed)) = parse() else { continue };
            if let Err(fault) = self.arrived(shared, &from, (id, &sealed), false) {
                shared.out.fault(&self.name, Some(&from), fault);
            }
        }
    }

    /// Somebody acknowledged a post.
    pub(crate) fn posted(&mut self, shared: &mut Shared, from: &NodeUri, id: PostId) {
        let Some(post) = self.posts.get_mut(&id) else { return };
        if !post.left.remove(from) {
            return;
        }
        let value = (!post.left.is_empty()).then(|| post.encode());
        shared.out.push(Effect::Reached { post: id, node: from.clone() });
        if value.is_none() {
            self.posts.remove(&id);
        }
        shared.out.write(&self.name, vec![(kept::key(&self.name, Kind::Post, &id.0), value)], None, Vec::new());
    }

    /// Posts that nobody can want any more are forgotten.
    pub(crate) fn forget_old(&mut self, shared: &mut Shared) {
        let mut puts = Vec::new();
        for (id, _) in self.posts.extract_if(.., |_, post| post.until <= shared.now) {
            puts.push((kept::key(&self.name, Kind::Post, &id.0), None));
        }
        if !puts.is_empty() {
            shared.out.write(&self.name, puts, None, Vec::new());
        }
    }
}

/// That posts were opened is forgotten once nobody sends them any more.
pub(crate) fn forget_received(shared: &mut Shared) {
    let now = shared.now;
    let over: Vec<_> = shared.received.extract_if(.., |_, until| *until <= now).map(|(seen, _)| seen).collect();
    for seen in over {
        shared.out.write(&seen.0, vec![(received_key(&seen), None)], None, Vec::new());
    }
}

fn received_key((group, from, id): &(GroupId, NodeUri, PostId)) -> Vec<u8> {
    kept::key(group, Kind::Received, &[from.as_str().as_bytes(), &[0], &id.0].concat())
}

/// Reads the rest of a key of [`Kind::Received`].
pub(crate) fn received(rest: &[u8]) -> Option<(NodeUri, PostId)> {
    let (rest, id) = rest.split_last_chunk()?;
    let from = rest.strip_suffix(&[0])?;
    Some((std::str::from_utf8(from).ok()?.parse().ok()?, PostId(*id)))
}
