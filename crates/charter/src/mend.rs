//! A stable name for every reason not to accept a charter, and what to do about it.

use crate::CharterError;

impl CharterError {
    /// Stable name of the cause, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Toml { .. } => "malformed-part",
            Self::SignatureLine { .. } => "malformed-signature",
            Self::TooLarge { .. } => "oversized-part",
            Self::Defect { .. } => "defective-part",
            Self::NoCommonPart => "no-common-part",
            Self::WrongPin { .. } => "wrong-pin",
            Self::MissingCommonPart { .. } | Self::MissingAnnex { .. } => "gap",
            Self::BrokenChain { .. } => "wrong-previous",
            Self::OtherFederation { .. } => "other-federation",
            Self::ForeignAnnex { .. } => "foreign-annex",
            Self::UnknownSigner { .. } => "unknown-key",
            Self::BadSignature { .. } => "bad-signature",
            Self::MissingSignatures { .. } => "missing-signatures",
            Self::PinnedAnnexDiffers { .. } => "pinned-annex-differs",
            Self::PinGoesBack { .. } => "pin-goes-back",
            Self::WrongKeys { .. } => "wrong-common",
            Self::LogRemoved { .. } => "log-removed",
            Self::SharedKey { .. } => "shared-key",
            Self::SharedOrigin { .. } => "shared-origin",
            Self::ConvenerNotMember { .. } => "convener",
            Self::Convicted(_) => "two-parts",
            Self::WouldGoBack { .. } => "goes-back",
            Self::Canonical { .. } => "malformed-part",
            Self::NotYet { .. } => "not-yet",
            Self::OtherCatalogue { .. } => "other-catalogue",
            Self::Stopped { .. } => "nation-stopped",
            Self::OtherPin { .. } => "other-pin",
        }
    }

    /// What to do about it.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Toml { .. } | Self::Defect { .. } | Self::Canonical { .. } => {
                "have whoever proposed the part correct it; every correction needs new signatures"
            }
            Self::SignatureLine { .. } => "a signature line is a key name and a signature in Base64; remove or mend it",
            Self::TooLarge { .. } => "is it a charter part? split nothing: ask whoever proposed it",
            Self::NoCommonPart => "copy common part 1 and every later one into the folder",
            Self::WrongPin { .. } | Self::OtherPin { .. } | Self::OtherFederation { .. } => {
                "this is another federation's charter: ask the governance office which folder is yours"
            }
            Self::MissingCommonPart { .. } | Self::MissingAnnex { .. } => {
                "get the missing part, with its signatures, from any member; no number may be skipped"
            }
            Self::BrokenChain { .. } => {
                "propose it anew from the version in force: puente charter propose FILE --out FOLDER"
            }
            Self::ForeignAnnex { .. } => {
                "a new nation comes in with a common part that every nation signs, then its annex"
            }
            Self::UnknownSigner { .. } => {
                "only governance keys of the part's own nation sign an annex: remove that line, or sign with the right key"
            }
            Self::BadSignature { .. } => "get the part as it was signed, or have it signed again",
            Self::MissingSignatures { .. } => {
                "have the missing governance keys sign: puente charter sign FILE --key KEY"
            }
            Self::PinnedAnnexDiffers { .. } => "get the annex that the common part names by its hash",
            Self::PinGoesBack { .. } => "propose the common part anew, over the newest annexes",
            Self::WrongKeys { .. } => "write the common part's number into 'common', then have it signed again",
            Self::LogRemoved { .. } => "put the log back as it was; a log ends with 'closed_at'",
            Self::SharedKey { .. } | Self::SharedOrigin { .. } => "give each its own, then have the part signed again",
            Self::ConvenerNotMember { .. } => "name a member, or take the corridor out",
            Self::Convicted(_) => {
                "the two parts are kept in the node's folder 'findings': tell every governance office and the auditors"
            }
            Self::WouldGoBack { .. } => {
                "nothing to do: the node keeps the newer charter; mend the folder that is behind"
            }
            Self::NotYet { .. } => "adopt it then",
            Self::OtherCatalogue { .. } => {
                "run the same version of puente as the federation, with the same extra record types"
            }
            Self::Stopped { .. } => {
                "the nations must agree on one of the two: a new common part that pins it lifts the stop"
            }
        }
    }
}
