//! Two charter parts with one number, as evidence: judged under the charter, offline, and explained.

use puente_charter::{Charter, ClaimedPart, Conviction, Part, PartBytes};
use puente_wire::proto::{self, CharterPart, Message as _};

use crate::check::{Checker, Words};

/// Lines of difference that are shown of each part.
const LINES_MAX: usize = 40;

/// The evidence in these bytes, if they are such: nothing else encodes to the same bytes with a part in both places.
pub(crate) fn two_parts(bytes: &[u8]) -> Option<proto::TwoParts> {
    let both = proto::TwoParts::decode(bytes).ok()?;
    let holds = |part: &Option<CharterPart>| part.as_ref().is_some_and(|part| part.part.is_some());
    (both.v == 1 && holds(&both.first) && holds(&both.second) && both.encode_to_vec() == bytes).then_some(both)
}

fn claimed(part: Option<&CharterPart>) -> Result<ClaimedPart, String> {
    let part = part.ok_or("there is none")?;
    let bytes = match &part.part {
        Some(proto::charter_part::Part::Common(bytes)) => PartBytes::Common(bytes),
        Some(proto::charter_part::Part::Annex(bytes)) => PartBytes::Annex(bytes),
        None => return Err("there is none".to_owned()),
    };
    let signatures: Vec<_> = part.signatures.iter().map(|s| (s.key_name.clone(), s.signature.clone())).collect();
    ClaimedPart::from_canonical(bytes, &signatures).map_err(|error| error.to_string())
}

/// Says what the two parts prove, and against whom.
pub(crate) fn check(words: &mut Words, both: &proto::TwoParts, checker: &Checker<'_>) {
    let (first, second) = match (claimed(both.first.as_ref()), claimed(both.second.as_ref())) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(why), _) | (_, Err(why)) => return words.fail(format!("A part cannot be read: {why}.")),
    };
    for part in [&first, &second] {
        let names: Vec<&str> = part.signatures().iter().map(|s| s.key_name.as_str()).collect();
        words.say(format!("{} has hash {} and bears signatures of {}.", part.id(), part.hash(), names.join(", ")));
    }
    if first.hash() == second.hash() {
        return words.fail("Both are the same part: that convicts nobody.");
    }
    if first.id() != second.id() {
        return words.fail("They are two parts of different names: that convicts nobody.");
    }
    let Checker::Charter(charter) = checker else {
        return words.gap("Whose keys count is said by the charter alone: give --charter and --pin.");
    };
    match charter.convicts(&first, &second) {
        Some(conviction) => {
            convict(words, charter, &conviction);
            differences(words, &first, &second);
        }
        None => words.fail(
            "Under this charter they are not both properly signed: signatures are missing, wrong or of keys that do not count.",
        ),
    }
}

fn convict(words: &mut Words, charter: &Charter, conviction: &Conviction) {
    let in_force = |hash| charter.parts().iter().any(|part| part.hash() == hash);
    let (first, second) = match conviction {
        Conviction::TwoAnnexes { jurisdiction, number, first, second } => {
            words.say(format!(
                "The governance keys of {jurisdiction} signed both under number {number}: {jurisdiction} answers for that."
            ));
            (*first, *second)
        }
        Conviction::TwoCommonParts { number, first, second } => {
            words.say(format!("Every nation signed both common parts {number}: all of them answer for that."));
            (*first, *second)
        }
    };
    match (in_force(first), in_force(second)) {
        (true, _) => words.say(format!("The charter given here holds {first}.")),
        (_, true) => words.say(format!("The charter given here holds {second}.")),
        _ => words.say("The charter given here holds neither."),
    }
}

/// What stands in one of them alone, as people write parts.
fn differences(words: &mut Words, first: &ClaimedPart, second: &ClaimedPart) {
    let text = |part: &ClaimedPart| match part.part() {
        Part::Common(part) => part.to_toml(),
        Part::Annex(part) => part.to_toml(),
    };
    let (Ok(one), Ok(other)) = (text(first), text(second)) else { return };
    for (part, own, others) in [(first, &one, &other), (second, &other, &one)] {
        words.say(format!("Only {} says:", part.hash()));
        let alone: Vec<&str> = own.lines().filter(|line| !others.lines().any(|other| other == *line)).collect();
        for line in alone.iter().take(LINES_MAX) {
            words.say(format!("  {line}"));
        }
        match alone.len() {
            0 => words.say("  nothing more; the order or number of lines differs"),
            n if n > LINES_MAX => words.say(format!("  and {} lines more", n - LINES_MAX)),
            _ => {}
        }
    }
}
