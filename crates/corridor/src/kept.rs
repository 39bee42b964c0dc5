//! Under which keys what is kept, and what small values look like.
//!
//! ```text
//! K ‖ key                         this node's key packages (of `puente_group::Stock`)
//! G ‖ group ‖ 0 ‖ g               genesis of the group
//! G ‖ group ‖ 0 ‖ m ‖ key         the group's state (of `puente_group::Group`)
//! G ‖ group ‖ 0 ‖ l ‖ u64be       records of its ledger, in order
//! G ‖ group ‖ 0 ‖ b ‖ hash        a reboot that was signed (as a record of a ledger)
//! G ‖ group ‖ 0 ‖ x ‖ node        a member of the charter that was removed and is not to come back by itself
//! G ‖ group ‖ 0 ‖ a ‖ node        an operator here wants it in
//! G ‖ group ‖ 0 ‖ d ‖ node        an operator here wants it out
//! G ‖ group ‖ 0 ‖ w ‖ node        a Welcome that was not acknowledged
//! G ‖ group ‖ 0 ‖ p ‖ id          a post of this node that somebody has not acknowledged
//! G ‖ group ‖ 0 ‖ r ‖ sender ‖ 0 ‖ id   a post that was opened here: until when to remember that (u64be)
//! ```
//!
//! A group's name holds no zero byte, and neither does a node's.

use puente_group::Changes;
use puente_ledger::GroupId;
use puente_model::NodeUri;

use crate::api::Put;

/// What a key of a group is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Genesis = b'g' as isize,
    State = b'm' as isize,
    Order = b'l' as isize,
    Reboot = b'b' as isize,
    Expelled = b'x' as isize,
    WantedIn = b'a' as isize,
    WantedOut = b'd' as isize,
    Welcome = b'w' as isize,
    Post = b'p' as isize,
    Received = b'r' as isize,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Genesis,
        Self::State,
        Self::Order,
        Self::Reboot,
        Self::Expelled,
        Self::WantedIn,
        Self::WantedOut,
        Self::Welcome,
        Self::Post,
        Self::Received,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as isize as u8 == byte)
    }
}

/// Where everything that this room keeps begins.
pub const PREFIXES: [&[u8]; 2] = [b"G", b"K"];

pub(crate) fn key(group: &GroupId, kind: Kind, rest: &[u8]) -> Vec<u8> {
    let mut key = vec![b'G'];
    key.extend_from_slice(group.as_str().as_bytes());
    key.extend_from_slice(&[0, kind as isize as u8]);
    key.extend_from_slice(rest);
    key
}

pub(crate) fn node_key(group: &GroupId, kind: Kind, node: &NodeUri) -> Vec<u8> {
    key(group, kind, node.as_str().as_bytes())
}

pub(crate) fn stock_key(rest: &[u8]) -> Vec<u8> {
    [b"K", rest].concat()
}

/// Changes of a group's state, under their keys here.
pub(crate) fn state(group: &GroupId, changes: Changes) -> Vec<Put> {
    changes.into_puts().into_iter().map(|(rest, value)| (key(group, Kind::State, &rest), value)).collect()
}

/// Changes of the stock, under their keys here.
pub(crate) fn stock(changes: Changes) -> Vec<Put> {
    changes.into_puts().into_iter().map(|(rest, value)| (stock_key(&rest), value)).collect()
}

/// A key, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named<'k> {
    Stock(&'k [u8]),
    Group(GroupId, Kind, &'k [u8]),
}

/// Reads a key; none if it is not one of this room's.
pub(crate) fn named(key: &[u8]) -> Option<Named<'_>> {
    match key.split_first()? {
        (b'K', rest) => Some(Named::Stock(rest)),
        (b'G', rest) => {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let (group, rest) = (std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?, &rest[end + 1..]);
            let (kind, rest) = rest.split_first()?;
            Some(Named::Group(group, Kind::of(*kind)?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let group: GroupId = "frontera/pair/mx/a/n1/us/b/n1".parse().unwrap();
        for kind in Kind::ALL {
            for rest in [&b""[..], b"\0", b"puente://mx/a/n1"] {
                assert_eq!(named(&key(&group, kind, rest)), Some(Named::Group(group.clone(), kind, rest)));
            }
        }
        assert_eq!(named(&stock_key(b"x")), Some(Named::Stock(b"x")));
    }

    #[test]
    fn what_is_no_key_of_this_room_is_not_read() {
        for bytes in [&b""[..], b"G", b"Gfrontera/otay", b"Gfrontera/otay\0", b"Gfrontera/otay\0?", b"GUP\0g", b"a/x"] {
            assert_eq!(named(bytes), None);
        }
    }
}
