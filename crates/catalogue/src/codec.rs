//! The wire encoding of flat messages, canonical and bounded: ascending field
//! numbers, minimal varints, only varints and length-delimited fields.

/// Field numbers of record types and query kinds are 1 to this.
pub const FIELD_NUMBER_MAX: u32 = 127;
/// One encoded record, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Values of one repeated field.
pub const REPEATED_VALUES_MAX: usize = 64;

/// Bytes that are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Larger than a record may be.
    #[error("the record is larger than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes end inside a field.
    #[error("the record ends inside a field")]
    Truncated,
    /// A number that is not in its shortest form, or too large.
    #[error("a number in the record is not in its shortest form")]
    BadNumber,
    /// A wire type other than varint and length-delimited.
    #[error("the record uses a wire type that no record type has")]
    BadWireType,
    /// Fields out of order, or a single field twice.
    #[error("the record's fields are not in canonical order (after field {0})")]
    NotCanonical(u32),
    /// A field that the record type does not have.
    #[error("field {0} is not a field of this record type; do both sides use the same catalogue version?")]
    UnknownField(u32),
    /// A field whose wire type is not the record type's.
    #[error("field {0} has the wrong type; do both sides use the same catalogue version?")]
    WrongType(u32),
    /// A value outside its bounds, list or length, or an explicit default.
    #[error("the value of field {0} is not one that this record type allows")]
    BadValue(u32),
    /// Text that is not UTF-8 or holds control or invisible characters.
    #[error("the text of field {0} is not clean UTF-8")]
    BadText(u32),
}

/// One field as it stands on the wire.
#[derive(Clone, Copy)]
pub(crate) struct WireField<'a> {
    pub(crate) number: u32,
    pub(crate) value: WireValue<'a>,
    /// Tag and value.
    pub(crate) whole: &'a [u8],
}

#[derive(Clone, Copy)]
pub(crate) enum WireValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Walks the fields of a record; stops at the first error.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    last: u32,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > RECORD_BYTES_MAX { Err(DecodeError::TooLarge) } else { Ok(Self { rest: bytes, last: 0 }) }
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && *byte > 1 {
                return Err(DecodeError::BadNumber);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                if i > 0 && *byte == 0 {
                    return Err(DecodeError::BadNumber);
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { DecodeError::Truncated } else { DecodeError::BadNumber })
    }

    fn field(&mut self) -> Result<WireField<'a>, DecodeError> {
        let start = self.rest;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(u32::MAX);
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(DecodeError::UnknownField(number));
        }
        if number < self.last {
            return Err(DecodeError::NotCanonical(self.last));
        }
        self.last = number;
        let value = match tag & 7 {
            0 => WireValue::Varint(self.varint()?),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
                self.rest = rest;
                WireValue::Bytes(bytes)
            }
            _ => return Err(DecodeError::BadWireType),
        };
        Ok(WireField { number, value, whole: &start[..start.len() - self.rest.len()] })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<WireField<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

pub(crate) fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<Vec<u32>, DecodeError> {
        Fields::new(bytes)?.map(|f| f.map(|f| f.number)).collect()
    }

    #[test]
    fn hostile_bytes_get_their_own_errors() {
        assert_eq!(walk(&[]), Ok(vec![]));
        assert_eq!(walk(&[0x0a]), Err(DecodeError::Truncated));
        assert_eq!(walk(&[0x0a, 5, b'a']), Err(DecodeError::Truncated));
        assert_eq!(walk(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(DecodeError::Truncated));
        assert_eq!(walk(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(DecodeError::BadNumber));
        assert_eq!(walk(&[0x08, 0x80, 0x00]), Err(DecodeError::BadNumber));
        assert_eq!(walk(&[0x0b]), Err(DecodeError::BadWireType));
        assert_eq!(walk(&[0x02, 0]), Err(DecodeError::UnknownField(0)));
        assert_eq!(walk(&[0x82, 0x08, 0]), Err(DecodeError::UnknownField(128)));
        assert_eq!(walk(&[0x12, 0, 0x0a, 0]), Err(DecodeError::NotCanonical(2)));
        assert_eq!(walk(&vec![0; RECORD_BYTES_MAX + 1]), Err(DecodeError::TooLarge));
    }

    #[test]
    fn numbers_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, 127, value);
            let field = Fields::new(&out).unwrap().next().unwrap().unwrap();
            assert_eq!((field.number, field.whole), (127, &out[..]));
            assert!(matches!(field.value, WireValue::Varint(v) if v == value));
        }
    }
}
