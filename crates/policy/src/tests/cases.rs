use super::{permit, set};
use crate::{Cases, PolicyError};

const TABLE: &str = r#"agency = "us/tx-dps"
at = "2026-12-01"

[roles]
"mx/fgr" = ["federal-prosecutor"]

[[case]]
name = "hit"
direction = "inbound"
asker = "mx/fgr"
kind = "vehicle.status"
step = 1
purpose = "vehicle-recovery"
basis = "mx-us-stolen-vehicles-1981"
officer_role = "investigator"
expect = "permit"
"#;

#[test]
fn what_differs_is_said() {
    let rules = set(&permit("answer", "vin", "@handling(\"H1\")", ""));
    let run = |edit: &dyn Fn(&str) -> String| {
        let cases = Cases::parse("cases.toml", &edit(TABLE)).unwrap();
        assert_eq!(cases.question("hit").unwrap().0.agency_roles.len(), 1);
        assert!(cases.question("miss").is_none());
        let result = cases.run(&rules).remove(0);
        assert_eq!(result.passed(), result.differences.is_empty());
        result.differences.join("; ")
    };
    assert_eq!(run(&|t| t.to_owned()), "");
    assert_eq!(run(&|t| t.replace("\"permit\"", "\"refuse\"")), "verdict: expected refuse, found permit by answer");
    assert_eq!(run(&|t| format!("{t}fields = [\"vin\"]\n")), "fields: expected [vin], found []");
    assert_eq!(run(&|t| format!("{t}answer_handling = \"H0\"\n")), "handling: expected H0, found H1");
    assert_eq!(run(&|t| format!("{t}rule = \"other\"\n")), "rule: expected other, found answer");
    let ended = run(&|t| format!("{t}at = \"2028-01-01\"\n"));
    assert!(ended.starts_with("verdict: expected permit, found refuse (no-legal-basis: "), "{ended}");
}

#[test]
fn case_files_are_read_strictly() {
    for (from, to, line, says) in [
        ("step = 1", "step = 4", 12, "not a step"),
        ("step = 1", "stage = 1", 12, "unknown field `stage`"),
        ("\"vehicle-recovery\"", "\"theft\"", 13, "'theft' is not a purpose"),
        ("\"inbound\"", "\"sideways\"", 9, "use outbound or inbound"),
        ("asker = \"mx/fgr\"\n", "", 8, "names no asker"),
        ("2026-12-01", "soon", 2, "write YYYY-MM-DD"),
        ("\"permit\"", "\"maybe\"", 16, "use permit or refuse"),
        ("\"permit\"", "\"refuse\"\nfields = []", 16, "contradicts itself"),
        ("agency = \"us/tx-dps\"", "agency = \"Texas\"", 1, "is not an agency"),
        ("agency = \"us/tx-dps\"", "agency = \"us/tx-dps", 1, "correct the TOML"),
    ] {
        let Err(PolicyError::Cases(finding)) = Cases::parse("cases.toml", &TABLE.replace(from, to)) else {
            panic!("accepted {to}");
        };
        assert_eq!(finding.line, line, "{finding}");
        assert!(finding.to_string().contains(says), "{finding}");
    }
    let twice = format!("{TABLE}{}", &TABLE[TABLE.find("[[case]]").unwrap()..]);
    assert!(Cases::parse("cases.toml", &twice).unwrap_err().to_string().contains("two cases have this name"));
}

#[test]
fn the_rules_in_the_crate_documentation_load() {
    let docs = include_str!("../lib.rs");
    let block = docs.split("```cedar\n").nth(1).unwrap().split("//! ```").next().unwrap();
    let text: String = block.lines().map(|l| l.trim_start_matches("//!").trim_start().to_owned() + "\n").collect();
    assert_eq!(set(&text).rules().count(), 3);
}
