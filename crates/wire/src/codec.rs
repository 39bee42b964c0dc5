//! Small conversions shared by every typed message.

use puente_model::{CharterVector, Digest, ExchangeId, Jurisdiction};

use crate::WireError;
use crate::proto;
use crate::scan::{Repeated, excess};

/// Refuses a message with too many list elements before anything is allocated for them.
pub(crate) fn bounded(message: &[u8], fields: &[Repeated]) -> Result<(), WireError> {
    match excess(message, fields) {
        Some((what, found, max)) => Err(WireError::TooMany { what, found, max }),
        None => Ok(()),
    }
}

pub(crate) fn digest(bytes: &[u8], field: &'static str) -> Result<Digest, WireError> {
    Digest::try_from(bytes).map_err(|_| WireError::Field(field))
}

pub(crate) fn exchange(bytes: &[u8]) -> Result<ExchangeId, WireError> {
    ExchangeId::try_from(bytes).map_err(|_| WireError::Field("exchange_id"))
}

pub(crate) fn code<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Field(field))
}

/// `None` for empty bytes, a digest for 32, an error for anything else.
pub(crate) fn optional_digest(bytes: &[u8], field: &'static str) -> Result<Option<Digest>, WireError> {
    if bytes.is_empty() { Ok(None) } else { digest(bytes, field).map(Some) }
}

pub(crate) fn vector(claimed: Option<proto::CharterVector>) -> Result<CharterVector, WireError> {
    let claimed = claimed.ok_or(WireError::Field("charter"))?;
    let mut out = CharterVector { common: claimed.common, ..CharterVector::default() };
    for annex in claimed.annexes {
        out.annexes.insert(annex.jurisdiction.parse()?, annex.number);
    }
    Ok(out)
}

impl From<&CharterVector> for proto::CharterVector {
    fn from(vector: &CharterVector) -> Self {
        let numbered = |(j, n): (&Jurisdiction, &u32)| proto::AnnexNumber { jurisdiction: j.to_string(), number: *n };
        Self { common: vector.common, annexes: vector.annexes.iter().map(numbered).collect() }
    }
}
