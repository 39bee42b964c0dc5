use puente_audit_log::{Ed25519Signer, KeyKind};
use puente_model::Secret32;

use super::*;

const NOW: Millis = Millis(1_795_363_200_000);

fn signer(name: &str, seed: u8) -> Ed25519Signer {
    Ed25519Signer::new(name, KeyKind::Ed25519, &Secret32::new([seed; 32])).unwrap()
}

fn stanza(name: &str, person: &str, seed: u8) -> String {
    Rule::stanza(&Operator {
        name: name.to_owned(),
        person: person.to_owned(),
        key: signer(name, seed).verifier().clone(),
    })
    .unwrap()
}

fn node() -> NodeUri {
    "puente://mx/fge-bc/n1".parse().unwrap()
}

fn home(operators: &[String]) -> (tempfile::TempDir, NodeDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(folder.path());
    std::fs::write(dir.operators(), operators.concat()).unwrap();
    Approvals::open(&dir, &node()).unwrap().rule_recorded().unwrap();
    (folder, dir)
}

fn three() -> [String; 3] {
    [stanza("ana", "Ana Ruiz", 1), stanza("luis", "Luis Mora", 2), stanza("eva", "Eva Soto", 3)]
}

const FROM: Digest = Digest([1; 32]);
const TO: Digest = Digest([2; 32]);

fn consent(dir: &NodeDir, now: Millis) -> Consent {
    Approvals::open(dir, &node()).unwrap().consent(Change::Policies, FROM, TO, now).unwrap()
}

fn sign(dir: &NodeDir, name: &str, seed: u8, now: Millis) -> Result<Vec<String>, ApprovalError> {
    Approvals::open(dir, &node()).unwrap().sign(Change::Policies, (FROM, TO), &signer(name, seed), now)
}

fn note(dir: &NodeDir) -> PathBuf {
    std::fs::read_dir(dir.approvals()).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn two_different_operators_approve_and_one_never_does() {
    let (_folder, dir) = home(&three());
    assert_eq!(consent(&dir, NOW), Consent::Waits(vec![]));
    assert_eq!(sign(&dir, "ana", 1, NOW).unwrap(), ["ana"]);
    assert!(matches!(sign(&dir, "ana", 1, NOW), Err(ApprovalError::OnePerson { .. })));
    assert_eq!(consent(&dir, NOW), Consent::Waits(vec!["ana".to_owned()]));
    // Another name with her key, her name with another key, and nobody's key.
    for (name, seed) in [("luis", 1), ("ana", 9), ("max", 7)] {
        assert!(matches!(sign(&dir, name, seed, NOW), Err(ApprovalError::NotAnOperator)), "{name} {seed}");
    }
    assert_eq!(sign(&dir, "luis", 2, NOW.plus(5_000)).unwrap(), ["ana", "luis"]);
    let Consent::Given(approved) = consent(&dir, NOW.plus(6_000)) else { panic!("two approved") };
    assert_eq!(approved.by, ["ana", "luis"]);
    let detail: Value = serde_json::from_slice(&approved.stamp(b"{\"policies\":\"x\"}")).unwrap();
    assert_eq!((&detail["policies"], &detail["approved_by"]), (&json!("x"), &json!(["ana", "luis"])));
}

#[test]
fn an_approval_counts_for_its_change_its_node_and_its_week() {
    let (_folder, dir) = home(&three());
    sign(&dir, "ana", 1, NOW).unwrap();
    sign(&dir, "eva", 3, NOW).unwrap();
    assert!(matches!(consent(&dir, NOW.plus(VALID_MILLIS)), Consent::Given(_)));
    assert!(matches!(consent(&dir, NOW.plus(VALID_MILLIS + 1)), Consent::Waits(_)));
    assert!(matches!(consent(&dir, Millis(NOW.0 - AHEAD_MILLIS)), Consent::Given(_)));
    assert!(matches!(consent(&dir, Millis(NOW.0 - AHEAD_MILLIS - 1)), Consent::Waits(_)));
    let approvals = Approvals::open(&dir, &node()).unwrap();
    for (change, from, to) in
        [(Change::Officers, FROM, TO), (Change::Policies, TO, FROM), (Change::Policies, FROM, Digest([3; 32]))]
    {
        assert_eq!(approvals.consent(change, from, to, NOW).unwrap(), Consent::Waits(vec![]));
    }
    let elsewhere = Approvals::open(&dir, &"puente://mx/fge-bc/n2".parse().unwrap()).unwrap();
    assert_eq!(elsewhere.consent(Change::Policies, FROM, TO, NOW).unwrap(), Consent::Waits(vec![]));
    // Whoever signs after the week begins anew.
    assert_eq!(sign(&dir, "luis", 2, NOW.plus(VALID_MILLIS + 1)).unwrap(), ["luis"]);
}

#[test]
fn what_is_forged_or_damaged_approves_nothing() {
    let (_folder, dir) = home(&three());
    sign(&dir, "ana", 1, NOW).unwrap();
    let path = note(&dir);
    let one = std::fs::read_to_string(&path).unwrap();
    sign(&dir, "luis", 2, NOW).unwrap();
    let two = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = two.lines().collect();
    // Ana's signature under Luis' name, hers twice, one of another text, a note of another proposal.
    let hers = one.lines().last().unwrap();
    let forged = [
        one.clone() + &hers.replace("— ana", "— luis") + "\n",
        format!("{one}{hers}\n"),
        two.replace("change policies", "change officers"),
        two.replace("proposed 1795", "proposed 1796"),
        two.replace(&TO.to_string(), &FROM.to_string()),
        lines[..lines.len() - 2].join("\n"),
        two.replacen("puente/v1/approval", "puente/v2/approval", 1),
        String::new(),
    ];
    for text in forged {
        std::fs::write(&path, &text).unwrap();
        assert!(matches!(consent(&dir, NOW), Consent::Waits(_)), "{text}");
    }
    std::fs::write(&path, two).unwrap();
    assert!(matches!(consent(&dir, NOW), Consent::Given(_)));
}

#[test]
fn two_operators_who_are_one_person_are_no_two() {
    let ana = stanza("ana", "Ana Ruiz", 1);
    let cases = [stanza("ana", "Luis Mora", 2), stanza("luis", "Luis Mora", 1), stanza("luis", "  ana   RUIZ ", 2)];
    for other in cases {
        let error = Rule::parse("operators.toml", &format!("{ana}{other}")).unwrap_err();
        assert!(matches!(error, RuleError::OnePerson { .. }), "{error}");
    }
    for (text, wrong) in [
        (String::new(), "names 0 operators"),
        (ana.clone(), "names 1 operators"),
        (ana.replace("person = ", "who = "), "unknown field"),
        (format!("{ana}{}", stanza("luis", "Luis Mora", 2).replace("luis+", "eva+")), "no C2SP verifier key"),
        (format!("{ana}{}", stanza("luis", " ", 2)), "needs 'person'"),
    ] {
        let error = Rule::parse("operators.toml", &text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn the_rule_changes_and_ends_only_by_two_of_those_in_force() {
    let (_folder, dir) = home(&three());
    std::fs::remove_file(dir.operators()).unwrap();
    let approvals = Approvals::open(&dir, &node()).unwrap();
    let (from, to) = approvals.rule_change().unwrap();
    assert_eq!(to, Digest::default());
    assert_eq!(approvals.consent(Change::Operators, from, to, NOW).unwrap(), Consent::Waits(vec![]));
    // Those who shall come have no say yet.
    std::fs::write(dir.operators(), [stanza("max", "Max Paz", 7), stanza("ivo", "Ivo Gil", 8)].concat()).unwrap();
    let mut approvals = Approvals::open(&dir, &node()).unwrap();
    let change = approvals.rule_change().unwrap();
    let by = |approvals: &Approvals, name, seed| approvals.sign(Change::Operators, change, &signer(name, seed), NOW);
    assert!(matches!(by(&approvals, "max", 7), Err(ApprovalError::NotAnOperator)));
    by(&approvals, "ana", 1).unwrap();
    by(&approvals, "luis", 2).unwrap();
    assert!(matches!(approvals.consent(Change::Operators, change.0, change.1, NOW).unwrap(), Consent::Given(_)));
    approvals.rule_recorded().unwrap();
    assert!(matches!(by(&approvals, "ana", 1), Err(ApprovalError::NotAnOperator)));
    assert_eq!(Approvals::open(&dir, &node()).unwrap().rule_change(), None);
}

#[test]
fn an_operator_whose_key_is_lost_gets_another_by_the_others() {
    let (_folder, dir) = home(&three());
    let rule = Approvals::open(&dir, &node()).unwrap().rule().unwrap().clone();
    let replaced = |name: &str, stanza: &str| rule.replaced("operators.toml", name, "new.toml", stanza);
    assert!(matches!(replaced("max", &stanza("max", "Max Paz", 7)), Err(RuleError::Unknown { .. })));
    let two = [stanza("ana", "Ana Ruiz", 9), stanza("max", "Max Paz", 7)].concat();
    for wrong in ["", "nonsense", &two, &stanza("ana", "Ana Ruiz", 9).replace("person", "who")] {
        assert!(matches!(replaced("ana", wrong), Err(RuleError::NotOne { .. })), "{wrong}");
    }
    // Nobody gets a second voice by it.
    for other in [stanza("luis", "Ana Ruiz", 9), stanza("ana", "Luis Mora", 9), stanza("ana", "Ana Ruiz", 2)] {
        assert!(matches!(replaced("ana", &other), Err(RuleError::OnePerson { .. })), "{other}");
    }
    let next = replaced("ana", &stanza("ana", "Ana Ruiz", 9)).unwrap();
    std::fs::write(dir.operators(), next.to_toml().unwrap()).unwrap();

    let mut approvals = Approvals::open(&dir, &node()).unwrap();
    let change = approvals.rule_change().unwrap();
    let by = |approvals: &Approvals, name, seed| approvals.sign(Change::Operators, change, &signer(name, seed), NOW);
    let waits = |approvals: &Approvals| approvals.consent(Change::Operators, change.0, change.1, NOW).unwrap();
    // The new key has no say in its own coming.
    assert!(matches!(by(&approvals, "ana", 9), Err(ApprovalError::NotAnOperator)));
    by(&approvals, "luis", 2).unwrap();
    assert!(matches!(waits(&approvals), Consent::Waits(_)));
    by(&approvals, "eva", 3).unwrap();
    let Consent::Given(approved) = waits(&approvals) else { panic!("two approved") };
    assert_eq!(approved.by, ["eva", "luis"]);
    approvals.rule_recorded().unwrap();
    // From there on the lost key approves nothing, and the new one does.
    assert!(matches!(sign(&dir, "ana", 1, NOW), Err(ApprovalError::NotAnOperator)));
    assert_eq!(sign(&dir, "ana", 9, NOW).unwrap(), ["ana"]);
}

#[test]
fn without_a_rule_nothing_waits() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(consent(&NodeDir::new(folder.path()), NOW), Consent::Free);
}
