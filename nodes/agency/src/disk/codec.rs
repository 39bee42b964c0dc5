//! The bytes of journal records and of replay bases: lengths as u32, numbers as u64, big-endian.

/// Bytes that end too early or go on too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content is not well formed")]
pub(crate) struct CodecError;

pub(crate) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Whoever calls this has bounded the whole below 2^32.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    put_u64(out, list.len() as u64);
    list.iter().for_each(|item| put_bytes(out, item));
}

/// Takes fields off the front.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CodecError)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        self.take(1)?.first().copied().ok_or(CodecError)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| CodecError)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| CodecError)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub(crate) fn list(&mut self) -> Result<Vec<Vec<u8>>, CodecError> {
        let count = self.u64()?;
        // Every item takes four bytes at least: a false count cannot make this allocate.
        if count > self.0.len() as u64 / 4 {
            return Err(CodecError);
        }
        (0..count).map(|_| self.bytes().map(<[u8]>::to_vec)).collect()
    }

    pub(crate) fn end(self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError) }
    }
}

/// One group commit as the journal keeps it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) first_index: u64,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) asides: Vec<Vec<u8>>,
}

impl Content {
    /// Bytes that [`Content::encode`] appends.
    pub(crate) fn encoded_len(&self) -> usize {
        let list = |list: &[Vec<u8>]| 8 + list.iter().map(|item| 4 + item.len()).sum::<usize>();
        let puts = self.puts.iter().map(|(key, value)| 9 + key.len() + value.as_ref().map_or(0, Vec::len));
        8 + list(&self.entries) + 4 + self.checkpoint.len() + 8 + puts.sum::<usize>() + list(&self.asides)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.first_index);
        put_list(out, &self.entries);
        put_bytes(out, &self.checkpoint);
        put_u64(out, self.puts.len() as u64);
        for (key, value) in &self.puts {
            put_bytes(out, key);
            out.push(u8::from(value.is_some()));
            put_bytes(out, value.as_deref().unwrap_or_default());
        }
        put_list(out, &self.asides);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields(bytes);
        let first_index = fields.u64()?;
        let entries = fields.list()?;
        let checkpoint = fields.bytes()?.to_vec();
        let count = fields.u64()?;
        if count > fields.0.len() as u64 / 9 {
            return Err(CodecError);
        }
        let mut puts = Vec::new();
        for _ in 0..count {
            let key = fields.bytes()?.to_vec();
            let some = fields.byte()?;
            let value = fields.bytes()?;
            puts.push((key, (some == 1).then(|| value.to_vec())));
        }
        let asides = fields.list()?;
        fields.end()?;
        Ok(Self { first_index, entries, checkpoint, puts, asides })
    }
}
