//! How many elements a message would make a decoder allocate, read from its bytes without allocating.
//!
//! An empty element of a repeated field costs two bytes on the wire and tens in memory: whoever decodes first and
//! counts afterwards lets a stranger choose how much memory a frame takes. This walk reads what prost reads.

/// A repeated field somewhere in a message: the numbers of the fields that lead to it, and its own.
pub(crate) struct Repeated {
    /// Field numbers, outermost first; the last is the repeated field.
    pub(crate) path: &'static [u32],
    /// It holds varints, which may be packed into one byte string.
    pub(crate) packed: bool,
    /// Elements that are allowed in the whole message.
    pub(crate) max: usize,
    /// Its name, for the error.
    pub(crate) name: &'static str,
}

/// The first of `fields` with more elements in `message` than it may have: its name, how many, and how many at most.
pub(crate) fn excess(message: &[u8], fields: &[Repeated]) -> Option<(&'static str, usize, usize)> {
    fields.iter().find_map(|field| {
        let found = count(message, field.path, field.packed);
        (found > field.max).then_some((field.name, found, field.max))
    })
}

/// Elements of the field at `path`, summed over every message on the way (protobuf merges repeats of one field).
/// Stops where the bytes are no message: prost stops there too.
fn count(message: &[u8], path: &[u32], packed: bool) -> usize {
    let Some((field, below)) = path.split_first() else { return 0 };
    let mut rest = message;
    let (mut found, mut groups) = (0_usize, 0_usize);
    while let Some((tag, after)) = varint(rest) {
        rest = after;
        let here = groups == 0 && tag >> 3 == u64::from(*field);
        let value = match tag & 7 {
            0 => varint(rest).map(|(_, after)| (&rest[..0], after)),
            1 => rest.split_at_checked(8),
            2 => varint(rest).and_then(|(len, after)| after.split_at_checked(usize::try_from(len).ok()?)),
            3 => {
                groups += 1;
                continue;
            }
            4 => {
                groups = groups.saturating_sub(1);
                continue;
            }
            5 => rest.split_at_checked(4),
            _ => None,
        };
        let Some((value, after)) = value else { break };
        rest = after;
        if here {
            found += match (below, tag & 7) {
                ([], 2) if packed => value.iter().filter(|b| **b < 0x80).count(),
                ([], _) => 1,
                (_, 2) => count(value, below, packed),
                _ => 0,
            };
        }
    }
    found
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_prost_would_allocate() {
        let empty = [0x12, 0].repeat(5);
        assert_eq!(count(&empty, &[2], false), 5);
        assert_eq!(count(&empty, &[3], false), 0);
        let nested = [&[0x0a, 10][..], &empty, &[0x0a, 10], &empty].concat();
        assert_eq!(count(&nested, &[1, 2], false), 10);
        // Packed and unpacked varints of one field.
        assert_eq!(count(&[0x22, 4, 1, 0x80, 1, 2, 0x20, 7], &[4], true), 4);
        // An unknown group hides nothing that follows it, and its own fields are not the message's.
        let group = [&[0x7b, 0x12, 0, 0x7c][..], &empty].concat();
        assert_eq!(count(&group, &[2], false), 5);
        // Cut short: what stands before the cut.
        assert_eq!(count(&[0x12, 0, 0x12, 9, 1], &[2], false), 1);
        assert_eq!(count(&[0xff; 20], &[2], false), 0);
    }
}
