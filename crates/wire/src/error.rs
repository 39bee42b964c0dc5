use puente_model::{CodeError, DigestError, NameError};

/// Why bytes are not what they should be. Names fields and sizes, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are not a protobuf message of the expected type.
    #[error("not a {0} message: send what proto/puente/v1 describes")]
    Undecodable(&'static str),
    /// A field is missing, out of range or not allowed here.
    #[error("field '{0}' is missing, out of range or not allowed here")]
    Field(&'static str),
    /// The bytes decode, but are not the canonical encoding of what they say.
    #[error("{0} is not in its canonical encoding: no unknown fields, no defaults, ascending numbers")]
    NotCanonical(&'static str),
    /// Over a limit.
    #[error("{what} has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// More elements of a list than it may have.
    #[error("{found} {what}; at most {max} are allowed")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many were found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// An entry grammar or protocol version this node does not speak.
    #[error("version {0} is not spoken here: take a newer program, or speak protocol version 1")]
    Version(u32),
}

impl From<NameError> for WireError {
    fn from(_: NameError) -> Self {
        Self::Field("name")
    }
}

impl From<CodeError> for WireError {
    fn from(error: CodeError) -> Self {
        Self::Field(error.what)
    }
}

impl From<DigestError> for WireError {
    fn from(_: DigestError) -> Self {
        Self::Field("digest")
    }
}
