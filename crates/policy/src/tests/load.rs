use super::{forbid, permit, question, set, today, try_set, vocabulary};
use crate::{FILE_BYTES_MAX, Finding, PolicyError, PolicySet, RULES_MAX};

fn findings(text: &str) -> Vec<Finding> {
    match try_set(text) {
        Err(PolicyError::Rules(findings)) => findings,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("loaded:\n{text}"),
    }
}

/// The one finding that the text must give.
fn one(text: &str, says: &str) -> Finding {
    let found = findings(text);
    let shown = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(found.iter().any(|f| f.to_string().contains(says)), "wanted '{says}' in:\n{shown}");
    for f in &found {
        assert!(!f.mend.is_empty() && f.line > 0 && f.column > 0 && f.file == "rules.cedar", "{f}");
        assert!(!f.to_string().contains('\n'), "{f}");
    }
    found.into_iter().find(|f| f.to_string().contains(says)).unwrap()
}

#[test]
fn misspelt_words_are_refused_where_they_stand() {
    let text = permit("answer", "", "", "when { context.purpose == Purpose::\"vehicle-recovry\" }");
    let finding = one(&text, "vehicle-recovry");
    assert_eq!((finding.line, finding.column), (6, 27));
    assert!(!finding.message.contains("for policy"), "{finding}");
    assert!(finding.to_string().contains("\"vehicle-recovery\""), "{finding}");
    one(&permit("a", "", "", "when { context.basis == Basis::\"mx-us-mlat-1986\" }"), "mx-us-mlat-1986");
    one(&permit("a", "", "", "when { context.officer_role == Role::\"detective\" }"), "detective");
    one(&permit("a", "", "", "when { context.step == Step::\"4\" }"), "Step");
    one(&permit("a", "", "", "when { context.step == \"1\" }"), "");
    one(&permit("a", "", "", "when { context.reason == \"x\" }"), "reason");
    one(&permit("a", "", "", "when { context.offence == \"x\" }"), "offence");
    one(&permit("a", "", "", "when { principal.roles.contains(AgencyRole::\"sheriff\") }"), "sheriff");
    one(&permit("a", "", "", "when { principal == Agency::\"mx-fgr\" }"), "is not an agency");
    one(&permit("a", "", "", "when { principal == Agency::\"fr/pn\" }"), "is not an agency");
    one(&permit("a", "", "", "").replace("vehicle.status", "vehicle.state"), "vehicle.state");
    one(&permit("a", "", "", "").replace("\"answer\"", "\"respond\""), "respond");
}

#[test]
fn annotations_are_checked_as_strictly_as_text() {
    let finding = one(&permit("a", "vin, licence", "", ""), "Vehicle has no field 'licence'");
    assert_eq!((finding.line, finding.column), (3, 1));
    assert!(finding.mend.contains("plate_jurisdiction"), "{finding}");
    one(&permit("a", "*", "", ""), "'*' in @fields");
    one(&permit("a", "vin, vin", "", ""), "stands twice");
    one(&permit("a", "", "@handling(\"H9\")", ""), "@handling");
    one(&permit("a", "", "@obligation(\"Call Us\")", ""), "@obligation");
    one(&permit("a", "", "@reason(\"scope\")", ""), "@reason is not an annotation of a permit to answer");
    one(&permit("a", "", "@field(\"vin\")", ""), "@field is not an annotation");
    one(&permit("A rule", "", "", ""), "@id is not a rule name");
    one(&permit("a", "", "", "").replace("2027-06-30", "2027-06-31"), "@expires is not a date");
    one(&permit("a", "", "", "").replace("@expires(\"2027-06-30\")", ""), "no @expires");
    one(&permit("a", "", "", "").replace("@id(\"a\")", ""), "no @id");
    one(&permit("a", "", "", "").replace("@fields(\"\")", ""), "no @fields");
    one(
        &permit("a", "vin", "", "").replace("resource == Kind::\"vehicle.status\"", "resource"),
        "name their query kind",
    );
    one(&permit("a", "", "", "").replace("\"answer\"", "\"ask\""), "@fields is not an annotation of a permit to ask");
    one(&permit("a", "", "", "").replace("action == Action::\"answer\"", "action"), "to ask or to answer");
    one(&(permit("a", "", "", "") + &permit("a", "vin", "", "")), "@id 'a' is taken");
    one(&forbid("a", "").replace("statutory-bar", "because"), "not one that a rule may give");
    one(&forbid("a", "").replace("statutory-bar", "stale-epoch"), "not one that a rule may give");
    one(&forbid("a", "").replace("@explain_es(\"prohibido\")", ""), "no @explain_es");
    one(&forbid("a", "").replace("prohibido", " "), "@explain_es is empty");
    one(&forbid("a", "").replace("barred", "\\u{1b}[2J"), "control characters");
    one(&forbid("a", "").replace("@id", "@expires(\"2027-01-01\")\n@id"), "@expires is not an annotation of a forbid");
    let hide = "@id(\"h\") @hide(\"vin\") forbid (principal, action, resource == Kind::\"vehicle.status\");";
    one(hide, "hidden only in answers");
    let hide = hide.replace("action,", "action == Action::\"answer\",");
    one(&hide.replace("vin", ""), "names no field");
    one(&hide.replace("vin", "nothing"), "no field 'nothing'");
    one(&hide.replace("@hide", "@reason(\"scope\") @hide"), "forbid that hides fields");
}

#[test]
fn every_finding_is_reported_at_once() {
    let text = permit("a", "nothing", "", "") + &permit("b", "", "@colour(\"red\")", "") + &forbid("c", "when { 1 }");
    assert_eq!(findings(&text).len(), 3, "{:?}", findings(&text));
}

#[test]
fn hostile_text_is_a_finding_not_a_panic() {
    for text in [
        "permit",
        "permit (principal, action, resource)",
        "permit (principal == ?principal, action, resource);",
        "}{;\"",
        "\u{0}",
        "@id(\"a\") @id(\"b\") permit (principal, action, resource);",
        "permit (principal, action, resource) when { context.purpose.like(\"*\") };",
        "forbid (principal, action, resource) when { false };",
        "// only \u{202e} a comment\npermit(principal,action,resource) when { \"\u{202e}\" == \"\" };",
    ] {
        assert!(!findings(text).is_empty(), "{text}");
    }
    one("permit (principal == ?principal, action, resource);", "slots");
    one(&permit("a", "", "", &format!("when {{ {}true{} }}", "(".repeat(5_000), ")".repeat(5_000))), "nest deeper");
    for deep in ["true && ", "if true then true else ", "context.a.", "1 + ", "context[\"a\"][\"b\"] == "] {
        one(&permit("a", "", "", &format!("when {{ {}true }}", deep.repeat(600))), "characters of operators");
    }
    one(&permit("a", "", "", &format!("when {{ \"{}\" == \"\" }}", "x".repeat(20_000))), "longer than");
    one(&"// x\n".repeat(FILE_BYTES_MAX / 4), "more than");
    let many: String =
        (0..=RULES_MAX).map(|i| format!("forbid(principal,action,resource in Kind::\"k{i}\");")).collect();
    one(&many, "at most");
}

#[test]
fn what_the_limits_allow_is_validated_on_a_small_stack() {
    // Cedar's validator passes a rule unseen when it runs out of stack: these must all be refused.
    let deep = |body: String| permit("a", "", "", &format!("when {{ {body} }}"));
    let texts = [
        deep(format!("context{} == 1", ".a".repeat(500))),
        deep(format!("context{} == 1", "[\"a\"]".repeat(240))),
        deep(format!("{}context.nothing", "if context.same_nation then true else ".repeat(50))),
        deep(format!("{}context.nothing", "context.same_nation && ".repeat(150))),
        deep(format!("{}context.nothing", "context.same_nation || ".repeat(100))),
        deep(format!("{}context.nothing > 1", "1 + ".repeat(500))),
        deep(format!("{}context.nothing{}", "(".repeat(30), ")".repeat(30))),
        deep(format!("{}context.nothing{} == 1", "[".repeat(30), "]".repeat(30))),
        deep(format!("{}context.nothing{} == 1", "{a: ".repeat(30), "}".repeat(30))),
        deep(format!("{}context.nothing{}", "(if true then ".repeat(30), " else false)".repeat(30))),
    ];
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let work = move || texts.iter().map(|t| try_set(t).map(|_| ()).map_err(|e| e.to_string())).collect::<Vec<_>>();
    for (index, result) in thread.spawn(work).unwrap().join().unwrap().into_iter().enumerate() {
        let error = result.expect_err(&format!("text {index} was not validated"));
        assert!(error.contains("not found") || error.contains("impossible"), "{index}: {error}");
    }
}

#[test]
fn the_deepest_sound_rules_are_judged_or_refused_on_a_small_stack() {
    let body = format!("{}context.same_nation", "context.same_nation && ".repeat(150));
    let set = set(&permit("a", "", "", &format!("when {{ {body} }}")));
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let verdict = thread.spawn(move || set.judge(&question(), today())).unwrap().join().unwrap();
    assert!(!verdict.is_permit());
}

#[test]
fn long_comments_are_not_long_rules() {
    let text = "// a line of comment that explains the rule\n".repeat(1_000) + &permit("a", "", "", "");
    assert!(try_set(&text).is_ok());
}

#[test]
fn files_of_one_name_and_unusable_vocabularies_are_refused() {
    let file = ("a.cedar".to_owned(), String::new());
    assert!(matches!(PolicySet::load(&[file.clone(), file], &vocabulary()), Err(PolicyError::Rules(_))));
    let mut bad = vec![vocabulary(); 5];
    bad[0].legal_bases.clear();
    bad[1].agency_roles.push("state-police".to_owned());
    bad[2].agency_roles.push("x\"]; entity Y enum [\"".to_owned());
    bad[3].kinds[0].steps.clear();
    bad[4].kinds[0].fields[0].number = 2;
    for vocabulary in bad {
        assert!(matches!(PolicySet::load(&[], &vocabulary), Err(PolicyError::Vocabulary { .. })));
    }
}

#[test]
fn the_schema_is_the_same_for_the_same_vocabulary() {
    assert_eq!(vocabulary().cedar_schema(), vocabulary().cedar_schema());
    assert!(vocabulary().cedar_schema().contains("entity Kind enum [\"firearm.status\", \"vehicle.status\""));
}
