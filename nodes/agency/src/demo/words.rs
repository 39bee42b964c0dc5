//! Every text of the demo. `{0}`, `{1}` … stand for values.

use puente_words::texts;

texts! {
    /// What the demo says.
    pub(super) enum Text {
        StillAt: "  still at: {0} ({1} s)";
        Title: "Puente: two nations, four agencies, audited questions";
        Intro: "Everything below is done by the program itself in separate processes: seed {0}, {1} records an agency. Every record is invented; nobody real is in them. The folder {2} stays for you to explore.";

        ActFound: "Two nations found a federation";
        DoingKeys: "making keys, authorities and nodes";
        DoingCharter: "writing and signing the charter";
        Founded: "Each nation has its own certificate authority and three governance keys, two of which must sign. Each agency has a node with its own keys, each nation two auditors. The charter, {0}, names them all; common part and annexes carry {1} signatures. Its hash is given to everybody out of band:";
        CharterHolds: "every node verifies every part and signature of the charter";
        ForeignRoot: "Mexico's authority refuses to vouch for a node of the United States";

        ActData: "Each agency starts its node and brings its records in";
        DoingStart: "starting the nodes";
        DoingGenerate: "inventing records";
        DoingImport: "importing {0}";
        Imported: "{0} in, {1} rejected, one COLLECT entry a file";
        AllImported: "every right row is in; {0} wrong rows of one file were rejected, each with its line and what to do";
        AllIn: "every row is in";
        Line: "line {0}, {1}";

        ActVehicle: "A stolen vehicle: Tijuana asks, Texas answers";
        VehicleStory: "An investigator of {0} found a vehicle and asks {1} about its VIN, {2}, step 1.";
        HitNothing: "a hit, unconfirmed, and not one field";
        Confirmed: "A hit is not a match. The investigator compares the vehicle with the hit, confirms it, states the facts and asks for core data, step 2.";
        CoreReleased: "core data released: the {0} fields that the policy of Texas allows and the record has, no other";
        Withheld: "place of theft and case number stayed in Texas";
        BothLogs: "both logs hold the same entries of this exchange, byte for byte: {0}";

        ActFirearms: "Two firearms: no hit in California, a near miss that hits in Mexico";
        NoHitStory: "{0} asks {1} about a {2}, number {3}.";
        NoHit: "no hit, and an entry says so in both logs";
        GapStory: "The other way: {0} recovered a {1}; one character of its number cannot be read: {2}. It asks {3}.";
        GapHit: "a hit, unconfirmed: people compare the arms before anything else";

        ActRefusal: "A statute forbids the answer";
        RefusalStory: "{0} asks {1} about a plate. California law lets plate data go to its own public agencies only.";
        RefusedStatute: "refused with its reason, {0}, by the rule {1}, in both languages:";
        BothLogsRefusal: "the refusal is an entry in both logs, like an answer: {0}";

        ActMalformed: "Malformed questions are refused before anything is sent";
        BadVin: "a VIN with one misread digit";
        BadPurpose: "a purpose that the legal basis does not cover";
        NothingSent: "both were refused with what to do, and neither log has a new entry of the pair";

        ActDomestic: "A domestic question is nobody else's business";
        DomesticStory: "{0} asks {1} about a vehicle under Mexican law.";
        DomesticHit: "a hit; both logs show commitments only: no name, kind, purpose or exchange in the clear";

        ActCorridor: "A corridor: all four in one group, without a server";
        DoingCorridor: "waiting for the corridor's members";
        CorridorMade: "the group {0} made itself: four members in epoch {1}, each commit ordered by witnesses of both nations";
        CorridorStory: "{0} asks the whole corridor about a vehicle: sealed once, recorded for each member.";
        CorridorAnswered: "each judged and answered by itself: a hit in Texas, none elsewhere";
        AlertReached: "an alert reached every member, the last one {0} ms after it was signed by standing in the log";
        AlertAcknowledged: "{0} acknowledged it, and its author sees that";
        AlertPlace: "Otay Mesa";
        AlertPickup: "armed men in a white pickup";
        AlertCrossed: "the pickup crossed at 14:05";
        AlertFound: "the pickup was found";
        RelayStory: "{0} and {1} have networks that let nobody in: their nodes only call others, and never meet. {0} publishes an alert.";
        AlertPlates: "the pickup carries other plates";
        Relayed: "it reached {0} through a third node, which could not read it";
        AwayStory: "{0} goes offline; meanwhile an alert is published and the group is to get fresh keys.";
        CaughtUp: "back again, it was told the alert and stands with the others in epoch {0}";
        RemovalStory: "{0} is taken out of the corridor; the charter stays as it is.";
        Removed: "the others are in epoch {0} without it, and it was told nothing of the next alert";

        ActCrash: "kill -9 in the middle of an exchange";
        CrashHolder: "{0} hangs. {1} asks it; the question is durable in the asker's log. {0} is killed with SIGKILL and started again.";
        CrashAsker: "Now the asker: {0} asks {1}, its question is durable, and {0} is killed with SIGKILL. {1} goes on; {0} starts again.";
        CrashDone: "the exchange completed exactly once, in both logs: {0}";
        DoingCrash: "waiting for the exchange to complete after the restart";
        StillUnanswered: "it was in the middle: recorded by the asker and not yet answered when the process died";

        ActClose: "Periods are closed, logs are copied for the auditors";
        DoingClose: "closing periods on every node";
        Copied: "{0} entries under its signed head";
        Closed: "every pair closed its periods: both sides agree on root and count";
        CopiesStory: "Own auditors get everything but content; the other nation's get domestic and local entries as commitments only.";

        ActAudit: "The auditors of both nations";
        DoingAudit: "{0} verifies and reconciles";
        AuditStory: "Each verdict is computed in a fresh process that gets nothing but the copied files, the charter and its hash, and the auditor's own key.";
        AuditSound: "{0}: {1}, {2} logs and {3} ledgers of groups, {4} findings";

        ActTamper: "Dishonest operators";
        TamperStory: "Copies of the copies are tampered with, with the node's own log key where that helps; each is then audited in a fresh process.";
        DoingTamper: "auditing: {0}";
        Caught: "{0}: caught as {1}, attributed to {2}";
        TamperFlip: "one byte of an entry flipped";
        TamperDrop: "the last entries dropped, an older signed head shown";
        TamperRewrite: "the last entries rewritten under a fresh head";
        TamperUnlogged: "an answer that the asker read and took out of its log";
        TamperFork: "a forked log shown to one partner";
        TamperTile: "one byte of a tile flipped";
        TamperSwap: "two entries exchanged";
        TamperPeriod: "a period's root forged under a fresh head";

        CitiesTitle: "Puente: safe cities, {0} municipal nodes of two nations";
        ActCities: "Municipalities of both nations in one corridor";
        CitiesTogether: "the group {0} made itself: {1} members in epoch {2}, each commit ordered by witnesses of both nations";
        CitiesSmall: "Each node is small: the largest holds {0} MiB of memory, all of them together {1} MiB.";
        ActCitiesAsk: "One question to everybody";
        CitiesAskStory: "A patrol of {0} asks {1} municipalities about a vehicle at once.";
        CitiesAnswered: "{0} answers, one of them a hit, in Laredo: the first after {1} ms, half after {2} ms, all after {3} ms";
        ActCitiesAlert: "One alert to everybody";
        CitiesAlertStory: "{0} publishes an alert.";
        ActPowerCut: "A power cut";
        PowerCutStory: "{0} loses its power (SIGKILL). Meanwhile {1} publishes an alert and asks everybody about a vehicle.";
        DoingPowerCut: "waiting while a node has no power";
        PowerBackAlert: "back again, it was told the alert";
        PowerBackAnswer: "the question was still open: {0} answered it, with the only hit";
        ActElection: "An election";
        ElectionStory: "{0} has another government: every officer and every API key of the one before is revoked in one command.";
        ElectionReason: "another municipal government";
        ElectionRefused: "an officer of the one before asks, and nothing is sent";
        ElectionAsks: "an officer of the new one asks, and is answered";
        ElectionRekeyed: "the node gave itself fresh keys in the group, which is in epoch {0}; its history stays what it was";
        ActMistrusted: "One node can be trusted no more";
        MistrustedStory: "{0} is taken out of the corridor by {1}.";

        ActEnd: "Result";
        AllHeld: "Everything held, in {0} seconds.";
        NotHeld: "{0} expectations did not hold; see FAIL above.";
        Explore: "To explore: {0}";
        Serving: "The nodes run until Ctrl-C. Ask one from another terminal:";
        Stopping: "stopping the nodes";
    }
}

/// A text with its values in place.
pub(super) fn fill(text: &str, values: &[&str]) -> String {
    let mut out = text.to_owned();
    // Piece by piece, so that a value that holds braces is not filled again.
    let mut parts = Vec::new();
    while let Some((before, rest)) = out.split_once('{').map(|(b, r)| (b.to_owned(), r.to_owned())) {
        parts.push(before);
        match rest.split_once('}') {
            Some((number, after)) => {
                let value = number.parse::<usize>().ok().and_then(|n| values.get(n));
                parts.push(value.map_or_else(|| format!("{{{number}}}"), |v| (*v).to_owned()));
                out = after.to_owned();
            }
            None => {
                parts.push(format!("{{{rest}"));
                out = String::new();
            }
        }
    }
    parts.push(out);
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_once() {
        assert_eq!(fill("a {0} b {1} {0}", &["{1}", "x"]), "a {1} b x {1}");
        assert_eq!(fill("{9} {", &[]), "{9} {");
    }
}
