//! What is said to all members: sealed once, delivered to each, acknowledged by each.
//!
//! A post is kept here until everybody who was a member when it was said has acknowledged it, left, or its time is over.
//! It is sealed once an epoch: a member that was away for longer says that it cannot open it any more, or is handed it
//! sealed anew when it comes back. While a suspended leaf stands in the group nothing is sealed to it: posts go out under
//! the groups of two that this node has with each member.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use puente_ledger::GroupId;
use puente_model::{Millis, NodeUri};
use zeroize::Zeroizing;

/// Posts of one group that wait here for acknowledgements.
pub const POSTS_MAX: usize = 1_000;
/// How long a post may be on its way, in milliseconds (30 days).
pub const POST_LIFE_MILLIS_MAX: u64 = 30 * 86_400_000;
/// Until a post is sent again to whoever is reached and silent, in milliseconds.
pub(crate) const AGAIN_MILLIS: u64 = 10_000;

/// Until others are asked again to pass a post on, in milliseconds; twice as long each time, up to an hour.
const RELAY_MILLIS: u64 = 30_000;
const RELAY_MILLIS_MAX: u64 = 3_600_000;

/// Names a post: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostId(pub [u8; 16]);

impl fmt::Debug for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a post says in the clear, signed with it: which post, until when, to which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) id: PostId,
    pub(crate) until: Millis,
    pub(crate) group: GroupId,
}

impl Address {
    /// `id ‖ u64be until ‖ group`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.id.0[..], &self.until.0.to_be_bytes(), self.group.as_str().as_bytes()].concat()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (until, group) = rest.split_first_chunk()?;
        let group = std::str::from_utf8(group).ok()?.parse().ok()?;
        Some(Self { id: PostId(*id), until: Millis(u64::from_be_bytes(*until)), group })
    }
}

/// A post of this node on its way.
pub(crate) struct Post {
    pub(crate) content: Zeroizing<Vec<u8>>,
    pub(crate) until: Millis,
    /// Who has not acknowledged it.
    pub(crate) left: BTreeSet<NodeUri>,
    /// Sealed, and in which epoch.
    pub(crate) sealed: Option<(u64, Vec<u8>)>,
    /// When it was last sent to whom.
    pub(crate) sent: BTreeMap<NodeUri, Millis>,
    /// Whoever cannot be reached: when others are asked to pass it on next, and how often they were.
    pub(crate) through: BTreeMap<NodeUri, (Millis, u32)>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Post({} bytes, {} left)", self.content.len(), self.left.len())
    }
}

impl Post {
    /// `u64be until ‖ u16be count ‖ (u16be length ‖ node)* ‖ content`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.until.0.to_be_bytes().to_vec();
        out.extend_from_slice(&(self.left.len() as u16).to_be_bytes());
        for node in &self.left {
            out.extend_from_slice(&(node.as_str().len() as u16).to_be_bytes());
            out.extend_from_slice(node.as_str().as_bytes());
        }
        out.extend_from_slice(&self.content);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (until, rest) = bytes.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let mut left = BTreeSet::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, after) = rest.split_first_chunk()?;
            let (node, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            left.insert(std::str::from_utf8(node).ok()?.parse().ok()?);
            rest = after;
        }
        let until = Millis(u64::from_be_bytes(*until));
        Some(Self {
            content: Zeroizing::new(rest.to_vec()),
            until,
            left,
            sealed: None,
            sent: BTreeMap::new(),
            through: BTreeMap::new(),
        })
    }

    /// To whom others are asked to pass it on now: nobody is, as long as this node reaches nobody.
    pub(crate) fn due_through(&self, now: Millis, reached: &BTreeSet<NodeUri>) -> Vec<NodeUri> {
        let due = |node: &NodeUri| self.through.get(node).is_none_or(|(next, _)| *next <= now);
        let left = self.left.iter().filter(|node| !reached.is_empty() && !reached.contains(*node));
        left.filter(|node| due(node)).cloned().collect()
    }

    /// When [`Post::due_through`] has somebody again.
    pub(crate) fn next_through(&self, reached: &BTreeSet<NodeUri>) -> Option<Millis> {
        let left = self.left.iter().filter(|node| !reached.contains(*node));
        left.map(|node| self.through.get(node).map_or(Millis(0), |(next, _)| *next)).min()
    }

    /// Others are asked to pass it on; again later, ever more seldom.
    pub(crate) fn relayed(&mut self, node: NodeUri, now: Millis) {
        let (next, times) = self.through.entry(node).or_default();
        *next = now.plus((RELAY_MILLIS << (*times).min(7)).min(RELAY_MILLIS_MAX));
        *times += 1;
    }

    /// Whom to send it to now: those who are reached and were not sent it lately.
    pub(crate) fn due(&self, now: Millis, reached: &BTreeSet<NodeUri>) -> Vec<NodeUri> {
        let lately = |node: &NodeUri| self.sent.get(node).is_some_and(|at| at.plus(AGAIN_MILLIS) > now);
        self.left.iter().filter(|node| reached.contains(*node) && !lately(node)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeUri {
        format!("puente://{name}").parse().unwrap()
    }

    fn post() -> Post {
        let left = [node("mx/a/n1"), node("us/b/n1")].into_iter().collect();
        let content = Zeroizing::new(b"stolen".to_vec());
        Post { content, until: Millis(77), left, sealed: None, sent: BTreeMap::new(), through: BTreeMap::new() }
    }

    #[test]
    fn a_post_is_read_as_it_was_kept() {
        let read = Post::parse(&post().encode()).unwrap();
        assert_eq!((&read.content, read.until, &read.left), (&post().content, post().until, &post().left));
        let bytes = post().encode();
        for end in 0..bytes.len() - post().content.len() {
            assert!(Post::parse(&bytes[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let address = Address { id: PostId([7; 16]), until: Millis(9), group: "frontera/otay".parse().unwrap() };
        assert_eq!(Address::parse(&address.encode()), Some(address.clone()));
        let bytes = address.encode();
        for end in 0..=24 {
            assert_eq!(Address::parse(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn whoever_is_silent_is_sent_it_again_after_a_while() {
        let mut post = post();
        let reached: BTreeSet<NodeUri> = [node("mx/a/n1"), node("mx/c/n1")].into_iter().collect();
        assert_eq!(post.due(Millis(1), &reached), [node("mx/a/n1")]);
        post.sent.insert(node("mx/a/n1"), Millis(1));
        assert!(post.due(Millis(AGAIN_MILLIS), &reached).is_empty());
        assert_eq!(post.due(Millis(1 + AGAIN_MILLIS), &reached), [node("mx/a/n1")]);
    }
}
