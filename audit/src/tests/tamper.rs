//! Every kind of tampering is found, named and attributed to who did it, and to nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::kinds::{Files, Kind, flip, newest, untouched};
use super::kinds_history::HISTORY;
use super::kinds_rules::RULES;
use super::world::*;
use crate::class::Severity;
use crate::{Checker, Class, Conclusion, EvidenceFile, Verdict, check_bytes};

fn audit(kind: &Kind) -> (Verdict, tempfile::TempDir) {
    let world = (kind.forge)();
    let dir = tempfile::tempdir().unwrap();
    let copies = world.copies(dir.path(), kind.presented);
    (kind.files)(&copies);
    let paths: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    (auditor(dir.path()).reconcile(&paths).unwrap(), dir)
}

#[test]
fn every_kind_is_found_named_and_attributed() {
    assert!(HISTORY.len() + RULES.len() >= 24);
    let mut failed = Vec::new();
    for kind in HISTORY.iter().chain(RULES) {
        let (verdict, _dir) = audit(kind);
        let faults: Vec<_> = verdict.faults().collect();
        let found = faults.iter().any(|f| f.class == kind.class && f.attributed_to.as_str() == kind.guilty);
        let innocent = faults.iter().find(|f| !["unknown", kind.guilty].contains(&f.attributed_to.as_str()));
        if verdict.verdict != Conclusion::Unsound || !found || innocent.is_some() {
            let list: Vec<_> =
                verdict.findings.iter().map(|f| format!("{} {} | {}", f.class, f.en, f.detail)).collect();
            failed.push(format!("{}: expected {} of {}, got {list:#?}", kind.name, kind.class, kind.guilty));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What is done, what is found, who answers for it, and what its evidence file is worth to somebody who has nothing but the
/// charter.
fn matrix() -> String {
    let charter = charter();
    let mut rows =
        String::from("| what is done | finding | who answers | its evidence file alone |\n|---|---|---|---|\n");
    for kind in HISTORY.iter().chain(RULES) {
        let (verdict, _dir) = audit(kind);
        let found = |f: &&crate::Finding| f.class == kind.class && f.attributed_to.as_str() == kind.guilty;
        let finding = verdict.faults().find(found).unwrap();
        let bytes = fs::read(finding.evidence.as_ref().unwrap()).unwrap();
        let alone = match check_bytes(&bytes, None, &Checker::Charter(&charter)).unwrap().verdict {
            Conclusion::Sound => "holds",
            Conclusion::CouldNotTell => "could not tell",
            Conclusion::Unsound => unreachable!("our own evidence does not hold"),
        };
        let who = match kind.guilty {
            "unknown" => "nobody alone",
            node => node.strip_prefix("puente://").unwrap(),
        };
        rows.push_str(&format!("| {} | `{}` | {who} | {alone} |\n", kind.name, kind.class));
    }
    rows
}

#[test]
fn the_documents_have_the_matrix_as_it_is_found() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/TAMPER.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, _) = text.split_once("| what is done |").expect("the table's head");
    let now = format!("{head}{}", matrix());
    if std::env::var_os("PUENTE_BLESS").is_some() {
        fs::write(&path, now).unwrap();
        return;
    }
    assert_eq!(text, now, "run the test with PUENTE_BLESS=1 to write docs/TAMPER.md anew");
}

#[test]
fn a_finding_keeps_its_name_while_the_log_grows() {
    let named = |verdict: &Verdict| -> BTreeMap<String, (Class, String)> {
        let all = verdict.faults().map(|f| (f.id.clone(), (f.class, format!("{} | {}", f.en, f.detail))));
        let named: BTreeMap<_, _> = all.collect();
        assert_eq!(named.len(), verdict.faults().count(), "no two have one name");
        named
    };
    let audit = |kind: &Kind, world: &World| {
        let dir = tempfile::tempdir().unwrap();
        let copies = world.copies(dir.path(), kind.presented);
        let paths: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
        named(&auditor(dir.path()).reconcile(&paths).unwrap())
    };
    // What is done to files is done to copies of one size: those have their names from where they lie.
    let of_logs = HISTORY.iter().chain(RULES).filter(|kind| std::ptr::fn_addr_eq(kind.files, untouched as Files));
    let mut grown = 0;
    for kind in of_logs {
        let mut world = (kind.forge)();
        let before = audit(kind, &world);
        assert!(!before.is_empty(), "{}", kind.name);
        assert_eq!(before.keys().collect::<Vec<_>>(), audit(kind, &world).keys().collect::<Vec<_>>(), "{}", kind.name);
        for node in [MX, US, MX] {
            world.event(node);
        }
        let after = audit(kind, &world);
        for (id, what) in &before {
            assert!(after.contains_key(id), "{}: {what:?} became {after:#?}", kind.name);
        }
        grown += 1;
    }
    assert!(grown > 30, "{grown}");
}

#[test]
fn evidence_convinces_a_third_party_and_does_not_survive_changes() {
    let charter = charter();
    let checker = Checker::Charter(&charter);
    for kind in HISTORY.iter().chain(RULES) {
        let (verdict, _dir) = audit(kind);
        for finding in verdict.faults() {
            let path = finding.evidence.as_ref().unwrap();
            let bytes = fs::read(path).unwrap();
            let checked = check_bytes(&bytes, None, &checker).unwrap();
            let portable = matches!(
                finding.class,
                Class::SplitView
                    | Class::Rewritten
                    | Class::Truncated
                    | Class::Omitted
                    | Class::NeverLogged
                    | Class::Equivocated
            );
            let expected: &[Conclusion] =
                if portable { &[Conclusion::Sound] } else { &[Conclusion::Sound, Conclusion::CouldNotTell] };
            assert!(
                expected.contains(&checked.verdict),
                "{}: {} {:?}: {:#?}",
                kind.name,
                finding.class,
                checked.verdict,
                checked.words
            );
            if portable {
                let mut file: EvidenceFile = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(check_bytes(&bytes, None, &Checker::Nobody).unwrap().verdict, Conclusion::CouldNotTell);
                file.heads.pop();
                file.prefix = None;
                file.entries.truncate(1);
                let bytes = serde_json::to_vec(&file).unwrap();
                assert_ne!(check_bytes(&bytes, None, &checker).unwrap().verdict, Conclusion::Sound, "{}", kind.name);
            }
        }
    }
}

#[test]
fn the_first_bad_index_is_named() {
    let world = World::busy();
    let size = world.nodes[MX].entries.len();
    for index in [0, 1, size / 2, size - 1] {
        let dir = tempfile::tempdir().unwrap();
        let copies = world.copies(dir.path(), &[MX]);
        let before: usize = world.nodes[MX].entries[..index].iter().map(|e| e.len() + 2).sum();
        flip(&newest(copies[0].join("tile/entries/000.p")), before + 12);
        let verdict = auditor(dir.path()).verify(&copies[0]).unwrap();
        let fault = verdict.faults().next().unwrap();
        assert_eq!((fault.class, fault.index), (Class::Corrupt, Some(index as u64)));
    }
}

#[test]
fn sentences_are_spoken_in_both_languages() {
    for class in Class::ALL {
        assert_ne!(class.sentence(crate::Lang::En), class.sentence(crate::Lang::Es));
        assert_eq!(class.as_str().parse(), Ok(*class));
    }
    let (verdict, _dir) = audit(&HISTORY[0]);
    let fault = verdict.faults().next().unwrap();
    assert!(fault.es.contains("asiento") && fault.en.contains("entry"), "{} {}", fault.en, fault.es);
    assert_eq!(fault.severity, Severity::Unsound);
}
