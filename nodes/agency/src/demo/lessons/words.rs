//! Every text of the lessons. `{0}`, `{1}` … stand for values.

use puente_words::texts;

texts! {
    /// What the lessons say.
    pub(super) enum Text {
        Courier: "The courier's parcel";
        CourierAbout: "Did each copy arrive as its node had signed it?";
        CourierScene: "A courier brought you copies of four logs. The parcel was opened on its way: somebody may have touched one of the copies, or lost a part of it.";
        CourierLook: "Verify the logs one at a time. A copy that does not lead to its own signed head was changed after it was signed. A file that is missing proves nothing: the verdict is then that you could not tell, and you ask for the copy again.";
        Days: "The last days";
        DaysAbout: "Does each log show everything that it has signed?";
        DaysScene: "Every agency has handed over a log that verifies by itself. But the officers remember questions of the last days that one of the logs does not show.";
        DaysLook: "A log may look sound by itself although its end is missing. Partners keep the signed heads that they were shown: reconcile all four logs, and look for a head that is larger than the log that was presented.";
        Letter: "An anonymous letter";
        LetterAbout: "An accusation: does anything in the logs bear it out?";
        LetterScene: "A letter without a signature says that Texas gave Baja California the core data of a vehicle, and that neither side recorded it. You have all four logs.";
        LetterLook: "Do not look for a culprit: look at what the checks say. What went out stands as QUERY, ANSWER and RELEASE in both logs, or a check fails. To say that an accusation has nothing to stand on is an auditor's work, too.";
        Denial: "We never got that";
        DenialAbout: "One side holds an exchange, the other says that there was none.";
        DenialScene: "Two agencies contradict each other. One says that an exchange took place; the other says that its log holds nothing of the kind.";
        DenialLook: "Each side gives a receipt for what it records, and the partner keeps it before anything follows. An entry that an agency receipted and does not hold any more was taken out by that agency, however well its new head is signed.";
        Faces: "Two stories";
        FacesAbout: "One log, shown differently to different people.";
        FacesScene: "Each of the four logs verifies by itself, and yet two agencies do not remember the same history of one of them.";
        FacesLook: "Two heads under one key that cannot both be true convict the owner of that key, not the partner who kept one of them. Mind the difference between the log in which something is found and the node that answers for it. What is found is written to files that convince a third party: check them, too.";
        Correction: "Corrected afterwards";
        CorrectionAbout: "What was signed once says something else now.";
        CorrectionScene: "An agency found one of its entries inconvenient. It put another in its place and signed its log anew with its own key; the log by itself is in order, or nearly so.";
        CorrectionLook: "Little of what was rewritten shows in the log itself: it shows in the receipts and heads that the partners kept, and in the same entry in the partner's log. Compare the entries of both.";
        Beside: "What lies beside a log";
        BesideAbout: "Receipts and escrow, without which content must not go out.";
        BesideScene: "Every log has its right entries under its right head. This time something is wrong in what is kept beside one of them, in the file 'asides': receipts of partners, and the escrow of questions and answers.";
        BesideLook: "Before content goes out its holder needs the asker's receipt for the answer, and the escrow of every question and answer is kept, which two auditors together can open. Entries are bound to both by hashes, so that nothing can be left out or made up unseen.";
        Exam: "An audit";
        ExamAbout: "Anything may have happened, or nothing.";
        ExamScene: "Four logs and no story. Anything that the other lessons show may have happened, or nothing at all.";
        ExamLook: "Read the verdict first, then each finding: its class, its entry, and who answers for it.";

        Invented: "Everything here is invented, for training. Names of nations, agencies and treaties are real; what the logs tell never happened. The logs are of questions in training and say so themselves.";
        Other: "En español: {0}";
        HeadHere: "What lies here";
        HereCopies: "copies of the logs of four agencies, as an auditor of Mexico gets them";
        HereCharter: "the federation's charter: who is who, and with which keys";
        HereKey: "the auditor's key: it opens the sealed headers of Mexico's own agencies";
        HeadDo: "What to do";
        DoInit: "Work in this folder. First make an auditor's folder from the charter; the number is the hash of its common part 1, which in earnest you are told by another way, by telephone for example.";
        DoAudit: "Then audit. The verdict comes first: sound, unsound, or could not tell. Each finding follows with its class in square brackets, its log and entry, and at the end in parentheses the node that answers for it.";
        DoLang: "Programs speak the language of your system; with --lang en or --lang es the one that you choose.";
        DoShow: "Look at entries yourself; this decodes them and verifies nothing.";
        DoEvidence: "Check what was written for third parties:";
        HeadLook: "What to look for";
        HeadAnswer: "Your answer";
        DoAnswer: "CLASS is the word in square brackets, AGENCY who answers for it (for example us/tx-dps), N the entry, where the finding names one.";
        DoNobody: "If every check passed, or files are missing, nobody is accused:";
        DoGiveUp: "To be shown the answer instead:";

        Made: "lesson {0}: {1}";
        MadeIn: "It is in {0}. Read {1} there.";
        Right: "right; verdict: {0}";
        Wrong: "wrong";
        ShownAnswer: "the answer; verdict: {0}";
        Seen: "How one sees it: {0}";
        NoneOfThem: "Nothing of that class is found in these copies. The class is the word in square brackets.";
        OtherAgency: "That is found, but another node answers for it: the one in parentheses at the end of the finding, which need not be the one in whose log it is found.";
        OtherEntry: "That is found, and that agency answers for it, but not at this entry.";
        NotAlone: "That is found, but it convicts nobody by itself. Something else here is a fault.";
        NotSound: "Not every check passed: read the first line of the verdict.";
        NotAGap: "No file is missing here: the verdict can be told.";
        AGap: "A file is missing, so that the verdict cannot be told. That is nobody's fault until it is found out.";
        NobodyToBlame: "With this answer nobody is accused: give it without --by and --entry.";

        SeenSound: "every check of every log and of every pair passed. That is a result, and it is worth as much as a finding.";
        SeenGap: "a file that the verdict needs is not there. Ask for the copy again, and say until then that you could not tell: a gap is no guilt.";
        SeenCorrupt: "the hashes of the copied files, computed anew, do not lead to the root under the node's signature. Without the log's key nobody can make a head that fits. The copy is worthless, and has to be asked for again from the agency that is named.";
        SeenTruncated: "a partner keeps a head of this log that is larger than the one that was presented, under the same key. Only the owner of the key can have signed it, and hides now what came after.";
        SeenTwoHeads: "two signed heads of one log, and no history contains both. Only the owner of the log's key can have signed them; the partner who kept one did what it must.";
        SeenReceipt: "a receipt, signed with the agency's own key, proves that the entry stood in its log. It does not stand there any more.";
        SeenRelease: "RELEASE names the asker's receipt by its hash, and no such receipt lies beside the log. Nothing shows that the asker had recorded the answer before it could read it.";
        SeenInvalid: "a receipt is a signed head and a path to it. This one does not verify under the partner's key: the partner never gave it.";
        SeenEscrow: "the entry commits to its escrow by a hash, and that escrow is not there. Without it no two auditors can ever open what was asked or answered.";
        SeenPeriod: "both sides closed the period over the same entries, and the root follows from them. This one does not.";
        SeenOther: "the finding says what was seen, and the file beside it convinces a third party.";
    }
}
