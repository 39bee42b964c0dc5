//! What the pages say.

use puente_model::Lang;

puente_words::texts! {
    /// Texts of both pages.
    pub(super) enum Text {
        Title: "Audit report";
        PublicTitle: "Public summary of the audit";
        AsOf: "As of {0}";
        OtherLanguage: "Español";
        Skip: "To the findings";
        Sound: "Sound: every check that could be made was made and passed.";
        Unsound: "Unsound: at least one check failed. The findings say which, and who answers for it.";
        CouldNotTell: "Could not tell: something that is needed for a verdict is missing. The findings say what.";
        Read: "Logs read: {0}, of {1} nodes, with {2} entries. Pairs of nodes compared: {3}.";
        Findings: "Findings";
        NoFindings: "Nothing was found.";
        Finding: "Finding";
        Severity: "Severity";
        Fault: "fault";
        Missing: "could not tell";
        Notice: "notice";
        Who: "Who answers for it";
        Evidence: "Evidence";
        CheckEvidence: "Anybody can check an evidence file offline, with the charter alone: puente-audit check FILE.";
        AssignedTo: "{0} sees to it.";
        NotListed: "{0} more of the same classes are not listed.";
        NotChecked: "What was not checked";
        LogNotGiven: "{0}: nobody gave this log.";
        OneSided: "{0}: its exchanges with {1} stand in this log alone; the other side's was not given.";
        HeadersUnopened: "{0}: {1} sealed headers (domestic exchanges and local events) were not opened; their entries were counted and hashed only.";
        NothingRemembered: "{0}: no head of it was remembered from an earlier audit. A rewriting before today shows only where a partner or witness kept a head.";
        NoWitnesses: "The charter names no witnesses: nobody but the partners vouches that all were shown the same log.";
        OutsideTheLogs: "Questions put to an agency's database past Puente leave nothing in any log.";
        Contents: "Contents are sealed: whether an answer is true was not looked at, only that it cannot be changed afterwards.";
        Logs: "Logs";
        Ledgers: "{0} copies of ledgers of groups";
        Log: "Log";
        Entries: "Entries";
        Cosigned: "Cosigned";
        Verdict: "Verdict";
        Root: "Root";
        ClosedAt: "closed at {0}";
        Growth: "How the logs grew";
        GrowthAll: "All logs together";
        GrowthTable: "Entries by time";
        Time: "Time (UTC)";
        Exchanges: "Exchanges";
        NoExchanges: "These logs hold no exchange.";
        Matrix: "Questions by who asks (rows) and who is asked (columns)";
        Others: "others";
        Total: "Total";
        ByPurpose: "By kind and purpose";
        Asker: "Asks";
        Holder: "Is asked";
        Kind: "Kind";
        Purpose: "Purpose";
        Asked: "Questions";
        Answered: "Answers";
        Refused: "Refusals";
        Released: "Contents released";
        Voided: "Given up";
        Open: "Open";
        Training: "Training is counted apart: {0} questions, {1} answers and refusals.";
        Refusals: "Refusals by reason";
        NoRefusals: "Nothing was refused.";
        Reason: "Reason";
        Count: "How many";
        Waits: "Time from question to answer";
        WaitsNote: "Entries state their minute, not their second: times are whole minutes, waiting for a person's decision included. Open questions are counted beside, never left out.";
        Median: "Median (min)";
        P90: "9 of 10 within (min)";
        Longest: "Longest (min)";
        Overdue: "Overdue";
        NoOverdue: "No question is past its deadline.";
        Due: "Was due";
        Place: "Entry";
        MoreOverdue: "{0} in all; the first ones of each log are listed.";
        Heads: "Heads and witnesses";
        HeadsNote: "A head fixes everything before it. These stand in partners' logs, where the log's own node cannot change them.";
        NoHeads: "No partner recorded a head of these logs yet.";
        HeadsTable: "Heads that partners recorded";

        Witness: "Witness";
        CosignedAt: "Cosigned (UTC)";
        NoCosigners: "No head with cosignatures lies beside these logs.";
        Charter: "Charter";
        CharterNote: "Every part was verified from the pinned hash {0} on.";
        Part: "Part";
        Number: "Number";
        Hash: "Hash";
        SignedBy: "Signed by";
        Valid: "Valid";
        Adopted: "Which log went on under which charter";
        Vector: "Charter";
        How: "This report was made from copied logs alone, by puente-audit {0}. The same copies, charter and time give the same bytes; report.json holds every figure.";
        Withheld: "withheld";
        PublicNote: "Cells below five are withheld, and others with them, so that nobody can compute them. Exchanges of training are not counted.";
        PublicAsked: "Questions between nations, by kind";
        PublicEnded: "What came of them";
        Direction: "From → to";
        Found: "answered: something found";
        NotFound: "answered: nothing found";
        NoAnswer: "given up or open";
        PublicRead: "The logs of {0} nodes were read.";
    }
}

/// A text with its values.
pub(super) fn fill(lang: Lang, text: Text, values: &[&str]) -> String {
    let mut out = text.get(lang).to_owned();
    for (at, value) in values.iter().enumerate() {
        out = out.replace(&format!("{{{at}}}"), value);
    }
    out
}
