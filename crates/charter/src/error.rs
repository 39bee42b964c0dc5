use puente_model::{Digest, Jurisdiction};

/// Proof, in two properly signed parts, that somebody broke the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conviction {
    /// One jurisdiction signed two different annexes with one number.
    #[error("jurisdiction {jurisdiction} signed two different annexes {number}: {first} and {second}")]
    TwoAnnexes {
        /// Whose governance keys signed both.
        jurisdiction: Jurisdiction,
        /// The number that both carry.
        number: u32,
        /// Hash of one.
        first: Digest,
        /// Hash of the other.
        second: Digest,
    },
    /// The jurisdictions together signed two different common parts with one number.
    #[error("the jurisdictions signed two different common parts {number}: {first} and {second}")]
    TwoCommonParts {
        /// The number that both carry.
        number: u32,
        /// Hash of one.
        first: Digest,
        /// Hash of the other.
        second: Digest,
    },
}

/// Why a charter was not accepted, and what to do about it.
///
/// `part` names a file, as the caller gave it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CharterError {
    /// The TOML does not parse: wrong syntax, an unknown key, a malformed value.
    #[error("{part}, line {line}: {message}")]
    Toml {
        /// File name.
        part: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The signature file does not parse.
    #[error("{part}, line {line}: {message}")]
    SignatureLine {
        /// File name.
        part: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: &'static str,
    },
    /// The part is larger than a charter part may be.
    #[error("{part} has {found} bytes; a charter part has at most {max}")]
    TooLarge {
        /// File name.
        part: String,
        /// Size in bytes.
        found: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The part contradicts itself.
    #[error("{part}: {defect}")]
    Defect {
        /// File name.
        part: String,
        /// What is wrong.
        defect: Defect,
    },
    /// No common part was given.
    #[error("no common part was given; version 1 and every later one are needed")]
    NoCommonPart,
    /// Version 1 is not the one that was pinned out of band.
    #[error("common part 1 has the hash {found}, but the pinned one is {pinned}: ask every governance office")]
    WrongPin {
        /// Hash of what was given.
        found: Digest,
        /// Hash that was given out of band.
        pinned: Digest,
    },
    /// A common part of the history is absent.
    #[error("common part {number} is missing; the history must be whole from version 1")]
    MissingCommonPart {
        /// Its number.
        number: u32,
    },
    /// An annex of the history is absent.
    #[error("annex {number} of {jurisdiction} is missing; the history must be whole from version 1")]
    MissingAnnex {
        /// Whose annex.
        jurisdiction: Jurisdiction,
        /// Its number.
        number: u32,
    },
    /// A part does not continue the one before it.
    #[error("{part}: its 'previous' is not the hash of the version before it, {expected}")]
    BrokenChain {
        /// File name.
        part: String,
        /// The hash it should carry.
        expected: Digest,
    },
    /// A part belongs to another federation.
    #[error("{part} belongs to the federation '{found}', not to '{expected}'")]
    OtherFederation {
        /// File name.
        part: String,
        /// Federation that it names.
        found: String,
        /// Federation of the pinned common part.
        expected: String,
    },
    /// An annex of a jurisdiction that no common part names.
    #[error("{part} is an annex of {jurisdiction}, which is not in the common part that it names")]
    ForeignAnnex {
        /// File name.
        part: String,
        /// Who it claims to speak for.
        jurisdiction: Jurisdiction,
    },
    /// A signature by a key that may not sign this part.
    #[error("{part}: '{signer}' is not a governance key that may sign this part; remove that line")]
    UnknownSigner {
        /// File name.
        part: String,
        /// Key name on the signature line.
        signer: String,
    },
    /// A signature that does not verify.
    #[error("{part}: the signature by '{signer}' does not verify; the part was changed after it was signed")]
    BadSignature {
        /// File name.
        part: String,
        /// Key name on the signature line.
        signer: String,
    },
    /// Fewer distinct keys of a jurisdiction signed than it demands.
    #[error("{part}: {jurisdiction} needs {need} signatures and gave {have}; its governance keys must sign it")]
    MissingSignatures {
        /// File name.
        part: String,
        /// Which jurisdiction.
        jurisdiction: Jurisdiction,
        /// Distinct keys that signed.
        have: usize,
        /// The threshold.
        need: usize,
    },
    /// An annex is not the one that a common part pins.
    #[error("{part}: common part {common} pins annex {number} of {jurisdiction} as {pinned}, but this is {found}")]
    PinnedAnnexDiffers {
        /// File name.
        part: String,
        /// The common part that pins.
        common: u32,
        /// Whose annex.
        jurisdiction: Jurisdiction,
        /// Its number.
        number: u32,
        /// The hash pinned.
        pinned: Digest,
        /// The hash found.
        found: Digest,
    },
    /// A common part pins an older annex than the common part before it.
    #[error("{part}: it pins annex {found} of {jurisdiction}, but the common part before it pins {before}")]
    PinGoesBack {
        /// File name.
        part: String,
        /// Whose annex.
        jurisdiction: Jurisdiction,
        /// The number it pins.
        found: u32,
        /// The number pinned before.
        before: u32,
    },
    /// An annex signed under the keys of the wrong common part.
    #[error("{part}: it must be signed under the keys of common part {expected}, not {found}")]
    WrongKeys {
        /// File name.
        part: String,
        /// The common part whose keys must sign it.
        expected: u32,
        /// The common part that it names.
        found: u32,
    },
    /// A newer annex lacks a log of the one before it, or reopens or alters it.
    #[error("{part}: log {origin} stood in the annex before it; logs are never removed or altered, only closed")]
    LogRemoved {
        /// File name.
        part: String,
        /// The log's origin.
        origin: String,
    },
    /// A key stands in two places.
    #[error("the key of {first} is also the key of {second}; every key has one holder")]
    SharedKey {
        /// One place.
        first: String,
        /// The other.
        second: String,
    },
    /// Two logs, or a member's and an auditor's, have one origin.
    #[error("the log origin {origin} stands twice; every log has its own")]
    SharedOrigin {
        /// The origin.
        origin: String,
    },
    /// A corridor's convener or successor is no member.
    #[error("corridor '{corridor}' names {node}, which is not a member")]
    ConvenerNotMember {
        /// The corridor.
        corridor: String,
        /// The node.
        node: String,
    },
    /// Somebody broke the rules, and here is the proof.
    #[error("{0}: keep both, stop adopting, and tell every governance office")]
    Convicted(Conviction),
    /// The charter offered is older, in some component, than the one in force.
    #[error("the charter in force is {current}; {offered} would go back")]
    WouldGoBack {
        /// Vector in force.
        current: String,
        /// Vector offered.
        offered: String,
    },
    /// A part's canonical bytes, as they travel between nodes, are not those of a part.
    #[error("{part}: {why}")]
    Canonical {
        /// Which part, in words.
        part: String,
        /// What is wrong.
        why: String,
    },
    /// The common part begins later.
    #[error("common part {number} is in force from {from} on, not before")]
    NotYet {
        /// Its number.
        number: u32,
        /// When it begins.
        from: puente_model::Millis,
    },
    /// The common part names another catalogue than this node's.
    #[error("the charter names the catalogue {charter}, but this node's is {own}")]
    OtherCatalogue {
        /// What the charter says.
        charter: Digest,
        /// What this node has.
        own: Digest,
    },
    /// A nation that signed two annexes with one number changes nothing until all nations agree on one.
    #[error("{jurisdiction} signed two different annexes {number}: no newer annex of it is adopted")]
    Stopped {
        /// The nation.
        jurisdiction: Jurisdiction,
        /// The number that two annexes carry.
        number: u32,
    },
    /// The charter offered has another pin.
    #[error("the charter offered is pinned by {found}, the one in force by {pinned}")]
    OtherPin {
        /// Pin of the charter offered.
        found: Digest,
        /// Pin of the charter in force.
        pinned: Digest,
    },
}

/// What a part says that it must not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Version numbers count from 1.
    #[error("'number' counts from 1")]
    NumberZero,
    /// `previous` is absent in version 1 and present afterwards.
    #[error("'previous' is absent in version 1 and present in every later one")]
    Previous,
    /// The end does not lie after the beginning.
    #[error("'expires' must lie after 'valid_from'")]
    Dates,
    /// A number outside its range.
    #[error("'{key}' must lie between {min} and {max}")]
    Range {
        /// The TOML key.
        key: &'static str,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// A corridor's ciphersuite that groups do not use.
    #[error("corridor '{corridor}' names ciphersuite {suite}, which groups do not use")]
    Suite {
        /// The corridor.
        corridor: String,
        /// What it names.
        suite: u16,
    },
    /// A text is empty, too long, or holds control characters.
    #[error("'{key}' must have 1 to 200 characters and no control characters")]
    Text {
        /// The TOML key.
        key: &'static str,
    },
    /// A name that is not a slug.
    #[error("'{found}' is not a {what}: lower-case letters, digits and hyphens, at most 64")]
    Slug {
        /// The text found.
        found: String,
        /// What it should name.
        what: &'static str,
    },
    /// A list that may not be empty is empty.
    #[error("{of} has no {what}")]
    Empty {
        /// Whose list.
        of: String,
        /// What is absent.
        what: &'static str,
    },
    /// Something stands twice.
    #[error("{what} '{name}' stands twice")]
    Twice {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// `1 ≤ threshold ≤ number of keys` is violated.
    #[error("{jurisdiction}: the threshold is {threshold}, but it has {keys} keys")]
    Threshold {
        /// Which jurisdiction.
        jurisdiction: Jurisdiction,
        /// The threshold.
        threshold: u32,
        /// How many keys.
        keys: usize,
    },
    /// Not an Ed25519 public key.
    #[error("'{name}' is not an Ed25519 public key of 32 bytes")]
    BadKey {
        /// Name of the key.
        name: String,
    },
    /// Not a certificate authority.
    #[error("a CA root of {jurisdiction} is not a DER certificate of an authority")]
    BadRoot {
        /// Which jurisdiction.
        jurisdiction: Jurisdiction,
    },
    /// One authority for two nations could vouch for the other's names.
    #[error("{first} and {second} share a CA key; each nation has its own")]
    SharedRoot {
        /// One jurisdiction.
        first: Jurisdiction,
        /// The other.
        second: Jurisdiction,
    },
    /// Something names a jurisdiction that the charter does not have.
    #[error("'{name}' names the jurisdiction {jurisdiction}, which the charter does not have")]
    NoSuchJurisdiction {
        /// What names it.
        name: String,
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
    },
    /// A jurisdiction names something of another nation.
    #[error("'{name}' does not belong to {jurisdiction}; a jurisdiction names only its own")]
    OtherNation {
        /// The name.
        name: String,
        /// Whose part it stands in.
        jurisdiction: Jurisdiction,
    },
    /// Escrow needs two auditors of each nation.
    #[error("{jurisdiction} names {found} auditors; it needs at least two")]
    TooFewAuditors {
        /// Which jurisdiction.
        jurisdiction: Jurisdiction,
        /// How many it names.
        found: usize,
    },
    /// A verifier key that is malformed or not of the expected name and type.
    #[error("the vkey of '{name}' is not valid: {why}")]
    Vkey {
        /// Whose key.
        name: String,
        /// What is wrong.
        why: VkeyError,
    },
    /// Not a quarter.
    #[error("'{found}' is not a quarter, for example 2026Q4")]
    Quarter {
        /// The text found.
        found: String,
    },
    /// Not a host and port.
    #[error("'{found}' is not an endpoint: host:port, for example node.example.mx:7400 or [2001:db8::1]:7400")]
    Endpoint {
        /// The text found.
        found: String,
    },
    /// A log of another node.
    #[error("log {origin} is not a log of {member}")]
    OtherNodesLog {
        /// The log.
        origin: String,
        /// The member it stands under.
        member: String,
    },
    /// `suspended` and `suspended_reason` go together.
    #[error("{member}: 'suspended = true' needs a 'suspended_reason', and only then may there be one")]
    Suspension {
        /// The member.
        member: String,
    },
    /// A member without an open log cannot exchange.
    #[error("{member} is not suspended and has no open log; it needs exactly one")]
    OpenLogs {
        /// The member.
        member: String,
    },
    /// A witness group or quorum that cannot be met or names an unknown witness.
    #[error("witness group '{name}': {why}")]
    WitnessGroup {
        /// The group, or `quorum`.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// Why a C2SP verifier key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not `name+hash+base64`.
    #[error("its form is name+hash+base64, the hash 8 lower-case hexadecimal digits")]
    Shape,
    /// The name is another.
    #[error("its name must equal the name of the log or witness")]
    Name,
    /// The key hash does not follow from name and key.
    #[error("its key hash does not match its name and key")]
    Hash,
    /// The signature type does not fit.
    #[error("its type does not fit: a log has an Ed25519 key (1), a witness a cosigning key (4 or 6)")]
    Type,
    /// The public key's length does not fit its type.
    #[error("its public key is not valid for its type")]
    Key,
}
