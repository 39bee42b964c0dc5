//! Words that several commands say, and how durations are shown.

use puente_catalogue::Lang;
use puente_model::{Millis, Outcome, RefusalReason};
use puente_words::{text, texts};

/// Days from `now` to `then`, rounded down; negative if past.
pub(super) fn days(now: Millis, then: Millis) -> i64 {
    let day = 86_400_000;
    if then >= now {
        i64::try_from(then.since(now) / day).unwrap_or(i64::MAX)
    } else {
        -i64::try_from(now.since(then).div_ceil(day)).unwrap_or(i64::MAX)
    }
}

/// A duration for people: its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

texts! {
    /// Words that several commands say.
    pub(super) enum Text {
        Asked: "asked";
        To: "to";
        OutcomeLabel: "outcome";
        Handling: "handling";
        Obligations: "obligations";
        Exchange: "exchange";
        AnswerLeaf: "leaf (ANSWER)";
        Record: "record";
        Fields: "fields";
        FoundBy: "found by";
        NoFields: "nothing was disclosed";
        RefusedByHolder: "refused by the holder";
        RefusedHere: "refused by this node's own rules; nothing was sent";
        Reason: "reason";
        Rule: "rule";
        Explanation: "explanation";
        Appeal: "how to appeal";
        Malformed: "the question is malformed; nothing was sent";
        ConfirmHint: "a hit is not a match: a human confirms it first; then 'puente query confirm' asks for core data";
        TimedOut: "no answer by the deadline; the question's number is voided if the holder never recorded it";
        Unreleased: "answered, but the key to the content did not come by the deadline; UNRELEASED is recorded";
        Disputed: "the released content does not match its commitment; DISPUTE is recorded";
        TellAuditors: "tell the auditors; the evidence is kept";
        AskAgain: "ask again later, or look at 'puente node status'";
        LogUnavailable: "this node's log cannot be written: nothing is asked or answered until it can";
        ExplainHint: "'puente policy explain' with the same flags says what would have to differ on this side";
        FreeSpace: "mend the disk, then restart the node";
        NotProcessed: "the holder's node did not process the question";
    }
}

/// What an outcome means.
pub(super) fn outcome(outcome: Outcome, lang: Lang) -> &'static str {
    let words = match outcome {
        Outcome::NoHit => "no hit",
        Outcome::HitUnconfirmed => "hit, not confirmed by a human",
        Outcome::HitConfirmed => "hit, confirmed",
        Outcome::CoreData => "core data",
        Outcome::NeedsData => "the holder needs more data",
        Outcome::DuplicateOf => "duplicates a question that the holder knows",
    };
    text(lang, words)
}

/// What a refusal reason means.
pub(super) fn reason(reason: RefusalReason, lang: Lang) -> &'static str {
    let words = match reason {
        RefusalReason::NoLegalBasis => "no rule permits it on this legal basis and purpose",
        RefusalReason::Scope => "outside what the asker's role may ask",
        RefusalReason::Sovereignty => "sovereignty or ordre public",
        RefusalReason::OngoingOperation => "it would endanger an ongoing operation",
        RefusalReason::SourceProtection => "it would reveal a source",
        RefusalReason::StatutoryBar => "a statute forbids it",
        RefusalReason::Quality => "the question's data are insufficient or malformed",
        RefusalReason::HumanRights => "human rights",
        RefusalReason::StaleEpoch => "the holder is at another group epoch",
        RefusalReason::Cancelled => "the asker cancelled",
        RefusalReason::Expired => "the deadline passed before it was judged",
        RefusalReason::Failed => "the holder could not complete it",
    };
    text(lang, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_durations_read_well() {
        assert_eq!(days(Millis(0), Millis(86_400_000 * 3 + 5)), 3);
        assert_eq!(days(Millis(86_400_000), Millis(0)), -1);
        assert_eq!([duration(5), duration(65), duration(90_061)], ["5 s", "1 min 5 s", "1 d 1 h"]);
    }
}
