//! Codes of `Fault` frames: a named refusal to process a frame.

use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $v:ident = $code:literal => $text:literal, $mend:literal;)+) => {
        /// Why a frame was not processed. The number is stable; 0, 8 and 24 are never used.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultCode { $($(#[$doc])* $v),+ }

        impl FaultCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];
            /// The stable number on the wire.
            pub const fn code(self) -> u32 { match self { $(Self::$v => $code),+ } }
            /// The code of a number.
            pub const fn from_code(code: u32) -> Option<Self> { match code { $($code => Some(Self::$v),)+ _ => None } }
            /// The stable text, never translated.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$v => $text),+ } }
            /// What the sender should do.
            pub const fn mend(self) -> &'static str { match self { $(Self::$v => $mend),+ } }
        }

        impl fmt::Display for FaultCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

faults! {
    /// Bytes that are not a frame, an entry or a payload.
    Malformed = 1 => "malformed", "send what proto/puente/v1 describes";
    /// Over a limit.
    Oversized = 2 => "oversized", "keep within the limits of the protocol specification";
    /// A version this node does not speak.
    Version = 3 => "version", "speak protocol version 1";
    /// `from` is not the certificate's name, or `to` is not this node.
    Misaddressed = 4 => "misaddressed", "send entries under your own certificate, to the node they name";
    /// The sender is not a member, or is suspended or blocked.
    NotAMember = 5 => "not-a-member", "ask your governance body whether the annex lists this node";
    /// A frame before Ready was exchanged.
    NotReady = 6 => "not-ready", "send Ready first and wait for the peer's";
    /// Time more than 30 s in the future.
    FutureDated = 7 => "future-dated", "correct the sender's clock";
    /// The number or exchange id is taken by other bytes.
    Replayed = 9 => "replayed", "number each new entry anew; repeat an entry only byte for byte";
    /// The receipt does not prove this entry.
    BadReceipt = 10 => "bad-receipt", "send the tlog-proof of the very entry, from your own log";
    /// The receipt's head is from another log or key than the charter names.
    WrongLog = 11 => "wrong-log", "use the log that the annex names for this node";
    /// The head is inconsistent with one accepted before: a fork.
    InconsistentHead = 12 => "inconsistent-head", "stop: both heads are kept as evidence and auditors must be told";
    /// What was sent does not match its commitment.
    BadCommitment = 13 => "bad-commitment", "send the opening that the entry commits to";
    /// A charter vector that goes back.
    OldCharter = 14 => "old-charter", "adopt the newer charter part first";
    /// Another catalogue.
    Catalogue = 15 => "catalogue", "use the catalogue that the charter names";
    /// Too busy; not recorded.
    Overloaded = 16 => "overloaded", "wait as long as it says and repeat the same entry";
    /// The sender left too many answers unreceipted past their deadlines.
    ReceiptsOwed = 17 => "receipts-owed", "acknowledge the answers received, then ask again";
    /// The number was closed by VOID or PERIOD.
    NumberClosed = 18 => "number-closed", "ask again under a new number";
    /// A frame that does not fit the exchange's state.
    OutOfOrder = 19 => "out-of-order", "follow the state machine: Ask, Reply, Acknowledge, Release";
    /// An exchange that this node does not know.
    UnknownExchange = 20 => "unknown-exchange", "ask first";
    /// The escrow does not match its hash.
    BadEscrow = 21 => "bad-escrow", "send the blob and share hashes that the entry's escrow hash covers";
    /// This node cannot write its log: it answers nothing.
    LogUnavailable = 22 => "log-unavailable", "try again later; the operator of this node must mend its disk";
    /// The proof asked for cannot be made (size beyond the log).
    NoSuchHead = 23 => "no-such-head", "ask for sizes that this log has signed";
    /// A consistency proof that does not connect two signed heads.
    BadProof = 25 => "bad-proof", "send the consistency proof of RFC 9162 between the two heads, from your own log";
    /// The charter and its grace have ended.
    CharterEnded = 26 => "charter-ended", "have the governance bodies sign a new common part, then adopt it";
    /// A charter vector whose parts do not come or do not verify.
    UnprovenCharter = 27 => "unproven-charter", "show the parts of your charter with their signatures, or adopt the one in force";
    /// A charter part that this node does not have.
    NoSuchPart = 28 => "no-such-part", "ask for parts that Ready named";
    /// This node has left the federation: its log has a final entry.
    Left = 29 => "left", "ask nothing more of this node; the next annex of its nation closes its log";
    /// The peer was taken out of a group: connections that stood then end.
    TakenOut = 30 => "taken-out", "connect anew for what the charter still allows; ask the group's convener why";
}
