//! Protobuf taken apart and put together again, wrongly where asked.

/// One field as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) number: u32,
    pub(crate) wire: u8,
    /// Varint bytes, fixed bytes, or the content of a byte string without its length.
    pub(crate) value: Vec<u8>,
    /// Length bytes to write instead of the shortest.
    pub(crate) length: Option<Vec<u8>>,
    /// Tag bytes to write instead of the shortest.
    pub(crate) tag: Option<Vec<u8>>,
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// The same number with one byte more than it needs.
pub(crate) fn long_varint(value: u64) -> Vec<u8> {
    let mut out = varint(value);
    let last = out.len() - 1;
    out[last] |= 0x80;
    out.push(0);
    out
}

fn take_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

impl Raw {
    pub(crate) fn number(number: u32, value: u64) -> Self {
        Self { number, wire: 0, value: varint(value), length: None, tag: None }
    }

    pub(crate) fn bytes(number: u32, value: &[u8]) -> Self {
        Self { number, wire: 2, value: value.to_vec(), length: None, tag: None }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let tag = u64::from(self.number) << 3 | u64::from(self.wire);
        out.extend(self.tag.clone().unwrap_or_else(|| varint(tag)));
        if self.wire == 2 {
            out.extend(self.length.clone().unwrap_or_else(|| varint(self.value.len() as u64)));
        }
        out.extend(&self.value);
    }
}

/// The fields of a message, if it is one.
pub(crate) fn parse(mut bytes: &[u8]) -> Option<Vec<Raw>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (tag, n) = take_varint(bytes)?;
        bytes = &bytes[n..];
        let wire = (tag & 7) as u8;
        let (skip, len) = match wire {
            0 => (0, take_varint(bytes)?.1),
            1 => (0, 8),
            2 => {
                let (len, n) = take_varint(bytes)?;
                (n, usize::try_from(len).ok()?)
            }
            5 => (0, 4),
            _ => return None,
        };
        let value = bytes.get(skip..skip.checked_add(len)?)?.to_vec();
        bytes = &bytes[skip + len..];
        out.push(Raw { number: u32::try_from(tag >> 3).ok()?, wire, value, length: None, tag: None });
    }
    Some(out)
}

pub(crate) fn emit(fields: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|field| field.write(&mut out));
    out
}

/// Changes the message at `path` (numbers of the fields that lead to it; the first of each is taken).
pub(crate) fn edit(message: &[u8], path: &[u32], change: &mut dyn FnMut(&mut Vec<Raw>)) -> Vec<u8> {
    let mut fields = parse(message).unwrap();
    match path.split_first() {
        None => change(&mut fields),
        Some((number, below)) => {
            let field = fields.iter_mut().find(|f| f.number == *number).unwrap();
            field.value = edit(&field.value, below, change);
        }
    }
    emit(&fields)
}

/// Puts `field` in the place of what has its number, or where its number belongs.
pub(crate) fn set(fields: &mut Vec<Raw>, field: Raw) {
    fields.retain(|f| f.number != field.number);
    let at = fields.iter().position(|f| f.number > field.number).unwrap_or(fields.len());
    fields.insert(at, field);
}
