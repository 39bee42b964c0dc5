use puente_model::Digest;
use puente_model::limits::CHARTER_BYTES_MAX;
use serde::de::DeserializeOwned;

use crate::text::line_of;
use crate::{AnnexPart, CharterError, CommonPart, PartSignature, parse_signatures};

/// A common part or an annex.
// A charter has a handful of parts: their size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The federation's rules.
    Common(CommonPart),
    /// One jurisdiction's members.
    Annex(AnnexPart),
}

impl Part {
    /// Reads a part from TOML. `file` names it in errors.
    ///
    /// An annex has a text `jurisdiction`, or members; everything else is read as a common part.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CharterError> {
        if text.len() > CHARTER_BYTES_MAX {
            let (found, max) = (text.len(), CHARTER_BYTES_MAX);
            return Err(CharterError::TooLarge { part: file.to_owned(), found, max });
        }
        let table: toml::Table = read(file, text)?;
        let is_annex = table.get("jurisdiction").is_some_and(toml::Value::is_str) || table.contains_key("member");
        let part = if is_annex { Self::Annex(read(file, text)?) } else { Self::Common(read(file, text)?) };
        part.check(file)?;
        Ok(part)
    }

    /// The part's hash.
    pub fn hash(&self) -> Digest {
        match self {
            Self::Common(part) => part.hash(),
            Self::Annex(part) => part.hash(),
        }
    }

    fn check(&self, file: &str) -> Result<(), CharterError> {
        let checked = match self {
            Self::Common(part) => part.check(),
            Self::Annex(part) => part.check(),
        };
        checked.map_err(|defect| CharterError::Defect { part: file.to_owned(), defect })
    }
}

fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CharterError> {
    toml::from_str(text).map_err(|error| CharterError::Toml {
        part: file.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })
}

impl CommonPart {
    /// The part as TOML for people.
    pub fn to_toml(&self) -> Result<String, CharterError> {
        write("common part", self)
    }
}

impl AnnexPart {
    /// The part as TOML for people.
    pub fn to_toml(&self) -> Result<String, CharterError> {
        write("annex", self)
    }
}

/// Fails only for values that no TOML can hold, such as a size beyond 2⁶³.
fn write<T: serde::Serialize>(what: &str, part: &T) -> Result<String, CharterError> {
    let error = |e: toml::ser::Error| CharterError::Toml { part: what.to_owned(), line: 1, message: e.to_string() };
    toml::to_string_pretty(part).map_err(error)
}

/// A part that somebody claims was signed; only [`Charter::verify`](crate::Charter::verify) believes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedPart {
    pub(crate) file: String,
    pub(crate) part: Part,
    pub(crate) hash: Digest,
    pub(crate) signatures: Vec<PartSignature>,
}

impl ClaimedPart {
    /// Reads `<name>.toml` and its `<name>.toml.sig`. `file` is the name for errors.
    pub fn from_files(file: &str, toml: &str, signatures: &str) -> Result<Self, CharterError> {
        let signatures = parse_signatures(&format!("{file}.sig"), signatures)?;
        let part = Part::from_toml(file, toml)?;
        Ok(Self { file: file.to_owned(), hash: part.hash(), part, signatures })
    }

    /// A part made in memory. `file` is the name for errors.
    pub fn new(file: &str, part: Part, signatures: Vec<PartSignature>) -> Result<Self, CharterError> {
        part.check(file)?;
        Ok(Self { file: file.to_owned(), hash: part.hash(), part, signatures })
    }

    /// The file name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the part says, unverified.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// The part's hash.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The signatures that came with it, unverified.
    pub fn signatures(&self) -> &[PartSignature] {
        &self.signatures
    }
}
