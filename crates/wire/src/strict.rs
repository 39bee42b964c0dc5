//! Canonical bytes read straight into the model, in one pass and without copies in between.
//!
//! The canonical encoding of a message is what prost writes: fields in ascending order, each number in as few bytes
//! as it needs, nothing that has its default value. So whoever knows which field may come next needs no general
//! decoder and no second encoding to compare with: a field stands where it belongs, or it has its default. Whatever
//! is left over at the end was in the wrong place, twice there, unknown, or not allowed in a message of this kind.
//!
//! A reader here says only yes or no. What is wrong with refused bytes, [`decode`] finds out the long way.

use puente_model::{CharterVector, Digest, ExchangeId, Seq, limits};

use crate::WireError;

/// Reads a whole message strictly; asks `otherwise` about bytes that are not canonical, so that their error has its
/// name. Honest peers send nothing of that kind, and the long way accepts nothing that this one refuses.
#[inline]
pub(crate) fn decode<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Strict<'a>) -> Option<T>,
    otherwise: impl FnOnce(&[u8]) -> Result<T, WireError>,
) -> Result<T, WireError> {
    match whole(bytes, read) {
        Some(value) => Ok(value),
        None => otherwise(bytes),
    }
}

/// What `read` makes of exactly these bytes, with none left over.
#[inline]
pub(crate) fn whole<'a, T>(bytes: &'a [u8], read: impl FnOnce(&mut Strict<'a>) -> Option<T>) -> Option<T> {
    let mut message = Strict { rest: bytes };
    let value = read(&mut message)?;
    message.rest.is_empty().then_some(value)
}

/// The rest of one message's canonical bytes. Fields are asked for in ascending order; `None` refuses the message.
pub(crate) struct Strict<'a> {
    rest: &'a [u8],
}

const VARINT: u32 = 0;
const BYTES: u32 = 2;

impl<'a> Strict<'a> {
    /// Takes the tag of `field` off, if it comes next. Field numbers up to 2,047 have one or two bytes.
    #[inline]
    fn takes(&mut self, field: u32, wire: u32) -> bool {
        let tag = field << 3 | wire;
        let rest = match self.rest {
            [first, rest @ ..] if tag < 0x80 && u32::from(*first) == tag => rest,
            [first, second, rest @ ..]
                if tag >= 0x80 && u32::from(*first) == (tag & 0x7f | 0x80) && u32::from(*second) == tag >> 7 =>
            {
                rest
            }
            _ => return false,
        };
        self.rest = rest;
        true
    }

    /// A varint without bytes that it does not need. Most have one.
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Some(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                // The tenth byte holds one bit.
                let minimal = at == 0 || *byte != 0;
                let fits = at < 9 || *byte == 1;
                self.rest = self.rest.get(at + 1..)?;
                return (minimal && fits).then_some(value);
            }
        }
        None
    }

    fn delimited(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        let (value, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(value)
    }

    /// A `uint64`; 0 if it is not there.
    pub(crate) fn number(&mut self, field: u32) -> Option<u64> {
        if !self.takes(field, VARINT) {
            return Some(0);
        }
        self.varint().filter(|value| *value != 0)
    }

    /// A `uint32`; 0 if it is not there.
    pub(crate) fn small(&mut self, field: u32) -> Option<u32> {
        u32::try_from(self.number(field)?).ok()
    }

    /// A closed vocabulary's value.
    pub(crate) fn code<T>(&mut self, field: u32, from: fn(u32) -> Option<T>) -> Option<T> {
        from(self.small(field)?)
    }

    /// A closed vocabulary's value, or none where the number is not there.
    pub(crate) fn optional_code<T>(&mut self, field: u32, from: fn(u32) -> Option<T>) -> Option<Option<T>> {
        match self.small(field)? {
            0 => Some(None),
            code => from(code).map(Some),
        }
    }

    /// A position in a numbering.
    pub(crate) fn seq(&mut self, field: u32) -> Option<Seq> {
        // The last number is kept out of reach, so that `next` cannot overflow.
        self.number(field).filter(|seq| *seq != 0 && *seq != u64::MAX).map(Seq)
    }

    /// A byte string; empty if it is not there.
    pub(crate) fn bytes(&mut self, field: u32) -> Option<&'a [u8]> {
        if !self.takes(field, BYTES) {
            return Some(&[]);
        }
        self.delimited().filter(|value| !value.is_empty())
    }

    /// A byte string that may be empty, or none where it is not there: a member of a `oneof`.
    pub(crate) fn optional_bytes(&mut self, field: u32) -> Option<Option<&'a [u8]>> {
        if !self.takes(field, BYTES) {
            return Some(None);
        }
        self.delimited().map(Some)
    }

    /// A text; empty if it is not there.
    pub(crate) fn text(&mut self, field: u32) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(field)?).ok()
    }

    /// A text that is a name.
    pub(crate) fn name<T: std::str::FromStr>(&mut self, field: u32) -> Option<T> {
        self.text(field)?.parse().ok()
    }

    /// 32 bytes.
    pub(crate) fn digest(&mut self, field: u32) -> Option<Digest> {
        self.bytes(field)?.try_into().ok()
    }

    /// 32 bytes or nothing.
    pub(crate) fn optional_digest(&mut self, field: u32) -> Option<Option<Digest>> {
        match self.bytes(field)? {
            [] => Some(None),
            bytes => bytes.try_into().ok().map(Some),
        }
    }

    /// 16 bytes.
    pub(crate) fn exchange(&mut self, field: u32) -> Option<ExchangeId> {
        self.bytes(field)?.try_into().ok()
    }

    /// An embedded message, which may be empty but must be there.
    pub(crate) fn message<T>(&mut self, field: u32, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if !self.takes(field, BYTES) {
            return None;
        }
        whole(self.delimited()?, read)
    }

    /// An embedded message, or none where it is not there.
    #[inline]
    pub(crate) fn optional_message<T>(
        &mut self,
        field: u32,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if !self.takes(field, BYTES) {
            return Some(None);
        }
        whole(self.delimited()?, read).map(Some)
    }

    /// The elements of a repeated field of byte strings or messages, at most `max`.
    pub(crate) fn each(
        &mut self,
        field: u32,
        max: usize,
        mut element: impl FnMut(&'a [u8]) -> Option<()>,
    ) -> Option<()> {
        let mut found = 0;
        while self.takes(field, BYTES) {
            found += 1;
            if found > max {
                return None;
            }
            element(self.delimited()?)?;
        }
        Some(())
    }

    /// A charter vector, its annexes ascending.
    pub(crate) fn vector(&mut self, field: u32) -> Option<CharterVector> {
        self.message(field, Self::vector_parts)
    }

    /// The fields of a charter vector.
    pub(crate) fn vector_parts(&mut self) -> Option<CharterVector> {
        let mut out = CharterVector { common: self.small(1)?, ..CharterVector::default() };
        self.each(2, limits::NATIONS_MAX, |annex| {
            let (nation, number) = whole(annex, |annex| Some((annex.name(1)?, annex.small(2)?)))?;
            if out.annexes.last_key_value().is_some_and(|(last, _)| *last >= nation) {
                return None;
            }
            out.annexes.insert(nation, number);
            Some(())
        })?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Option<u64> {
        whole(bytes, |m| m.number(1))
    }

    #[test]
    fn a_number_has_one_form() {
        assert_eq!(number(&[]), Some(0));
        assert_eq!(number(&[8, 1]), Some(1));
        assert_eq!(number(&[8, 0x80, 1]), Some(128));
        let largest = [[8].as_slice(), &[0xff; 9], &[1]].concat();
        assert_eq!(number(&largest), Some(u64::MAX));
        for bad in [
            // Default, too long, not ended, too large, over ten bytes, alone, twice, another field, a longer tag.
            vec![8, 0],
            vec![8, 0x81, 0],
            vec![8, 0x80],
            [[8].as_slice(), &[0xff; 9], &[2]].concat(),
            [[8].as_slice(), &[0xff; 10], &[1]].concat(),
            vec![8],
            vec![8, 1, 8, 1],
            vec![16, 1],
            vec![0x88, 0, 1],
        ] {
            assert_eq!(number(&bad), None, "{bad:?}");
        }
        assert_eq!(whole(&[8, 0xff, 0xff, 0xff, 0xff, 0x0f], |m| m.small(1)), Some(u32::MAX));
        assert_eq!(whole(&[8, 0x80, 0x80, 0x80, 0x80, 0x10], |m| m.small(1)), None);
    }

    #[test]
    fn a_field_beyond_15_has_a_tag_of_two_bytes() {
        assert_eq!(whole(&[0x80, 1, 7], |m| m.number(16)), Some(7));
        assert_eq!(whole(&[0xf2, 1, 1, b'x'], |m| m.bytes(30)), Some(b"x".as_slice()));
        assert_eq!(whole(&[0x80, 0x81, 0, 7], |m| m.number(16)), None);
    }

    #[test]
    fn byte_strings_are_whole_and_not_empty() {
        assert_eq!(whole(&[10, 2, 1, 2], |m| m.bytes(1)), Some([1, 2].as_slice()));
        for bad in [vec![10, 0], vec![10, 3, 1, 2], vec![10, 0x82, 0, 1, 2], vec![10, 1, 1, 2]] {
            assert_eq!(whole(&bad, |m| m.bytes(1)), None, "{bad:?}");
        }
        assert_eq!(whole(&[10, 2, 0xc3, 0x28], |m| m.text(1)), None);
        // A message may be empty, and is not the same as none.
        assert_eq!(whole(&[10, 0], |m| m.message(1, |_| Some(()))), Some(()));
        assert_eq!(whole(&[], |m| m.message(1, |_| Some(()))), None);
        assert_eq!(whole(&[], |m| m.optional_message(1, |_| Some(()))), Some(None));
    }
}
