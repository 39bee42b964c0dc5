//! The classes of findings: stable names, what each does to the verdict, and what each says in plain words.

use std::fmt;
use std::str::FromStr;

use puente_model::Lang;
use serde::{Serialize, Serializer};

/// What a finding does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A state worth knowing; convicts nobody.
    Notice,
    /// Something is missing that the verdict needs.
    CouldNotTell,
    /// A check failed.
    Unsound,
}

macro_rules! classes {
    ($($(#[$doc:meta])* $v:ident = $text:literal $severity:ident $sentence:literal;)+) => {
        /// What a finding is. The text form is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Class { $($(#[$doc])* $v),+ }

        impl Class {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$v => $text),+ }
            }

            /// What it does to the verdict.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$v => Severity::$severity),+ }
            }

            /// What it says, in plain words.
            pub fn sentence(self, lang: Lang) -> &'static str {
                puente_words::text(lang, match self { $(Self::$v => $sentence),+ })
            }
        }
    };
}

classes! {
    /// The copy does not lead to its own signed head.
    Corrupt = "corrupt" Unsound
        "the copied files do not lead to the log's own signed head";
    /// The head is malformed or not signed by the log's key.
    BadHead = "bad-head" Unsound
        "the head is malformed or not signed with the log's key";
    /// The head is smaller than one that the log signed before.
    Truncated = "truncated" Unsound
        "the log was presented shorter than a head that it had already signed";
    /// An earlier signed head is not part of the presented log.
    Rewritten = "rewritten" Unsound
        "entries under an earlier signed head were rewritten";
    /// Two signed views of one log that cannot both be honest.
    SplitView = "split-view" Unsound
        "the log signed two histories that contradict each other and showed them to different parties";
    /// The same number, or the same exchange, said two different things.
    Equivocated = "equivocated" Unsound
        "two different entries were given out under one number or as the end of one exchange";
    /// An entry that the node's own receipt proves is not in its log.
    Omitted = "omitted" Unsound
        "an entry that the node's own receipt proves is missing from its log";
    /// An answer that the asker receipted is not in its log.
    NeverLogged = "never-logged" Unsound
        "the asker gave a receipt for an answer that its log does not hold";
    /// An entry names an author who neither holds nor receipted it.
    Fabricated = "fabricated" Unsound
        "an entry names another node as its author, who neither holds it nor gave a receipt for it";
    /// An entry that has not reached the other log.
    Undelivered = "undelivered" Notice
        "an entry has not reached the other log yet; nobody is at fault";
    /// An answer after its question's deadline.
    Late = "late" Unsound
        "a question was answered after its deadline";
    /// A question that still has time.
    Pending = "pending" Notice
        "a question has no end yet and is within its deadline";
    /// A recorded question without its end.
    Unanswered = "unanswered" Unsound
        "a recorded question got neither answer nor refusal by its deadline";
    /// An asker's question to which no end came.
    NoEnd = "no-end" Notice
        "no end came back for a question; the asker cannot know whose fault that is";
    /// Bytes that are no entry.
    Grammar = "grammar" Unsound
        "an entry is not written in the protocol's grammar";
    /// A domestic exchange that foreigners can read.
    DomesticInClear = "domestic-in-clear" Unsound
        "a domestic exchange stands in the clear";
    /// An entry between other nodes.
    NotAParty = "not-a-party" Unsound
        "the log holds an entry of an exchange that its node is no party to";
    /// An own entry numbered by another log.
    WrongLog = "wrong-log" Unsound
        "an entry is numbered by a log that is not this one";
    /// A number was skipped.
    SeqGap = "seq-gap" Unsound
        "the node's own numbering has a gap";
    /// A number was used again.
    SeqRepeat = "seq-repeat" Unsound
        "a number was recorded twice";
    /// An entry under a number that was closed.
    ClosedNumber = "closed-number" Unsound
        "an entry was recorded under a number that a period had closed";
    /// A time in the future.
    FutureDated = "future-dated" Unsound
        "an entry is dated in the future";
    /// A time far before its neighbours.
    BackDated = "back-dated" Notice
        "an entry is dated well before the entries that stand before it";
    /// An answer, refusal or release without its question.
    AnswerWithoutQuery = "answer-without-query" Unsound
        "an answer or refusal quotes no question that stands before it";
    /// Terms differ inside one exchange.
    TermsChanged = "terms-changed" Unsound
        "an entry changes the terms of its exchange";
    /// Two questions under one exchange id.
    ExchangeRepeated = "exchange-repeated" Unsound
        "an exchange id was used for a second question";
    /// A key given out without an answer.
    ReleaseWithoutAnswer = "release-without-answer" Unsound
        "a release quotes no disclosing answer that stands before it";
    /// A key given out twice.
    ReleasedTwice = "released-twice" Unsound
        "the key of one answer was released by two entries";
    /// A key given out without the asker's receipt.
    ReleaseUnproven = "release-unproven" Unsound
        "a release names a receipt of the asker that is not kept: content went out without proof that it was logged";
    /// A kept receipt that does not verify.
    ReceiptInvalid = "receipt-invalid" Unsound
        "a kept receipt does not verify";
    /// No receipt of the author is kept.
    ReceiptMissing = "receipt-missing" CouldNotTell
        "the author's receipt for an entry is not among the files";
    /// A PERIOD's bounds do not follow the one before.
    PeriodRange = "period-range" Unsound
        "a period does not begin where the one before it ended";
    /// A PERIOD's root is not that of the entries.
    PeriodMismatch = "period-mismatch" Unsound
        "a period's root is not that of the recorded entries";
    /// A PERIOD names holes that are none.
    HoleMismatch = "hole-mismatch" Unsound
        "a period names as missing a number that is not";
    /// A PERIOD carries a peer head that does not verify.
    PeerHeadInvalid = "peer-head-invalid" Unsound
        "a recorded head of the other node's log does not verify";
    /// A VOID that names no own question.
    VoidMismatch = "void-mismatch" Unsound
        "a void names no question of its author";
    /// No escrow for an entry that commits to one.
    EscrowMissing = "escrow-missing" Unsound
        "the escrow that an entry commits to is missing";
    /// Another escrow than the committed one.
    EscrowMismatch = "escrow-mismatch" Unsound
        "the kept escrow is not the one that the entry commits to";
    /// Seeds that do not stand before their use.
    SeedsMissing = "seeds-missing" Unsound
        "the seeds of an escrow or sealed header do not stand earlier in the log";
    /// Seeds sealed to the wrong auditors.
    SeedsWrongAuditor = "seeds-wrong-auditor" Unsound
        "seeds are not sealed to the auditors that the charter names";
    /// A node that is not in the charter.
    NotAMember = "not-a-member" Unsound
        "an entry names a node or log that is not in the charter";
    /// A legal basis that the charter does not know.
    BasisUnknown = "legal-basis-unknown" Unsound
        "a question rests on a legal basis that the charter does not know";
    /// A legal basis that had lapsed.
    BasisExpired = "legal-basis-expired" Unsound
        "a question rests on a legal basis that had lapsed";
    /// A purpose outside the legal basis.
    PurposeNotCovered = "purpose-not-covered" Unsound
        "a question's purpose is not covered by its legal basis";
    /// A nation that may not invoke the legal basis.
    BasisNotForNation = "basis-not-for-nation" Unsound
        "the asking nation may not invoke this legal basis";
    /// The charter vector went back.
    CharterBack = "charter-back" Unsound
        "an entry was made under an older charter than one before it";
    /// A charter version that the auditor does not have.
    CharterUnknown = "charter-unknown" CouldNotTell
        "an entry was made under a charter version that this auditor does not have";
    /// A sealed header that is not the committed one.
    HeaderMismatch = "header-mismatch" Unsound
        "the sealed header of a veiled entry is not the one that it commits to";
    /// Sealed headers that no given key opens.
    HeaderUnread = "header-unread" CouldNotTell
        "sealed headers lie beside the log and no given key opens them";
    /// Veiled entries without their sealed header, for an own auditor.
    HeaderMissing = "header-missing" CouldNotTell
        "veiled entries of the auditor's own nation have no sealed header";
    /// The sidecar is damaged.
    AsideMalformed = "aside-malformed" Unsound
        "the file of receipts and escrow beside the log is damaged";
    /// A sidecar record of an entry that is not under the head.
    AsideStray = "aside-stray" CouldNotTell
        "a receipt or escrow belongs to no entry under the head";
    /// Files that reach beyond the head.
    BeyondHead = "beyond-head" CouldNotTell
        "files of the log reach beyond its head: the head is older than the files";
    /// Entries beyond the size at which the charter closed the log.
    BeyondClosed = "beyond-closed" Unsound
        "the log goes on beyond the size at which the charter closed it";
    /// Entries after the one with which the node left.
    AfterFinal = "after-final" Unsound
        "an entry stands after the final one, with which the node closed its log";
    /// A log that was closed had more entries once: its node lost them, and its successor takes them up.
    LostTail = "lost-tail" Notice
        "the log was closed at a size, and others hold heads beyond it: its node lost its tail";
    /// An entry of a lost tail that the successor does not hold.
    LostEntry = "lost-entry" CouldNotTell
        "an entry of a lost tail is not in the successor's log yet";
    /// A file that is not there.
    Unavailable = "unavailable" CouldNotTell
        "a file that the verdict needs is missing or cannot be read";
    /// An entry of a later version of the protocol.
    NewerVersion = "newer-version" CouldNotTell
        "the log holds an entry of a newer version of the protocol than this program reads; take a newer puente-audit";
    /// A log that the charter does not name.
    UnknownLog = "unknown-log" CouldNotTell
        "the charter names no such log";
    /// A signature line by nobody that the charter names.
    UnknownSignature = "unknown-signature" CouldNotTell
        "a head carries a signature line by nobody that the charter names";
    /// Two members of a group recorded one epoch differently.
    GroupForked = "group-forked" Unsound
        "members of one group recorded different histories of it";
    /// An epoch does not follow the one before it, and nothing says that the node left.
    GroupGap = "group-gap" Unsound
        "epochs of a group are missing in a member's log";
    /// An epoch that was over begins again.
    GroupBack = "group-back" Unsound
        "a member's log goes back to an epoch of a group that was over";
    /// An exchange in an epoch that its author was not in.
    GroupUnentered = "group-unentered" Unsound
        "an exchange names an epoch of a group that its author's log had not entered, or had left";
    /// An epoch without the order of its commit.
    GroupUnordered = "group-unordered" Unsound
        "a member entered an epoch of a group on a commit that the group's ledger does not order there";
    /// Members merged a commit that by the ledger's rules does not count, as far as a stranger can tell.
    GroupDisputed = "group-disputed" CouldNotTell
        "a member entered an epoch of a group on a commit that stands in the ledger and, as far as a stranger can judge, counts for nothing";
    /// The ledger of a group is not there.
    LedgerMissing = "ledger-missing" CouldNotTell
        "the ledger of a group is not among the files: whether its commits were ordered is not known";
    /// A ledger's head without the witnesses' quorum.
    LedgerUncosigned = "ledger-uncosigned" CouldNotTell
        "the head of a group's ledger does not bear the cosignatures of the charter's quorum";
    /// An entry of a ledger that members pass over.
    LedgerSkipped = "ledger-skipped" Notice
        "an entry of a group's ledger counts for nothing";
    /// A holder whose log does not say so.
    HeldMissing = "held-missing" Unsound
        "a group's ledger names a holder of a commit whose log does not hold the entry that it quotes";
    /// Entries that the quorum should have vouched for by now.
    CosignOverdue = "cosign-overdue" CouldNotTell
        "entries older than the charter's bound stand under no head that its quorum of witnesses cosigned";
    /// Nobody vouches that there is nothing newer.
    HeadStale = "head-stale" Notice
        "no cosignatures of the quorum are younger than the charter's bound: the log is idle, or this copy of it is an old one";
    /// An own auditor's share of an escrow that it cannot use.
    ShareMismatch = "share-mismatch" Unsound
        "an own auditor's seed does not give the share that an entry's escrow commits to: the entry could not be opened";
    /// A witness that cosigned a fork.
    WitnessForked = "witness-double-signed" Unsound
        "a witness cosigned two histories of one log that contradict each other";
    /// A witness that cosigned less after more.
    WitnessBack = "witness-went-back" Unsound
        "a witness stated that it had seen no larger tree of a log, after it had cosigned a larger one";
    /// A recorded dispute.
    Disputed = "disputed" Notice
        "the asker recorded that what was released does not match what was committed";
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or("no such class of finding")
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
