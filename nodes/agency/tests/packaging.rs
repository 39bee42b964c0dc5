//! What is shipped beside the program says the same as the program and its documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

#[test]
fn the_container_builds_what_the_documents_build_and_runs_it_unprivileged() {
    let file = read("packaging/Containerfile");
    let build = "cargo build --locked --profile shipped --bin puente --bin puente-audit";
    assert!(file.contains(build) && read("docs/OPERATIONS.md").contains(build));
    assert!(read("packaging/deb/build").contains(build) && read("Cargo.toml").contains("\n[profile.shipped]\n"));
    let minimum =
        read("Cargo.toml").lines().find_map(|l| Some(l.strip_prefix("rust-version = \"")?.to_owned())).unwrap();
    assert!(file.contains(&format!("library/rust:{}-", minimum.trim_end_matches('"'))), "{minimum}");
    let user = file.find("USER 7400:7400").unwrap();
    assert!(file[user..].contains("ENTRYPOINT") && !file[user..].contains("USER root"));
    assert!(file.contains("--read-only --cap-drop ALL") && file.contains("STOPSIGNAL SIGTERM"));
    assert_eq!(file.matches("\nFROM ").count(), 2, "one stage to build, one to run");
}

#[test]
fn the_unit_confines_the_node_and_waits_for_its_drain() {
    let unit = read("packaging/systemd/puente.service");
    for line in [
        "Type=notify",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateDevices=yes",
        "CapabilityBoundingSet=",
        "MemoryDenyWriteExecute=yes",
        "LimitCORE=0",
        "User=puente",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    let seconds = |key: &str| -> u64 { unit.lines().find_map(|l| l.strip_prefix(key)?.parse().ok()).unwrap() };
    assert!(seconds("TimeoutStopSec=") > puente_agency::ops::DRAIN_SECONDS_MAX + 5 + 120);
    // The engine is asked for up to two seconds, three times in that.
    assert!(seconds("WatchdogSec=") >= 10);
}

#[test]
fn a_purge_never_takes_a_nodes_folder_and_nothing_starts_by_itself() {
    let (postinst, postrm) = (read("packaging/deb/postinst"), read("packaging/deb/postrm"));
    // rmdir takes an empty folder alone; that the rest holds is shown by packaging/deb/test, in .ci/run.
    assert!(postrm.contains("rmdir") && !postrm.contains("rm -r"), "{postrm}");
    assert!(!postinst.contains("systemctl enable") && !postinst.contains("systemctl start"), "{postinst}");
    assert!(postinst.contains("chmod 0700"));
    assert!(
        read(".ci/run").contains("packaging/deb/test") && read("docs/OPERATIONS.md").contains("packaging/deb/build")
    );
}

/// What a program said on stdout and on stderr, neither of them a terminal, and its exit code.
fn run(program: &str, args: &[&str], variables: &[(&str, &str)]) -> (String, String, i32) {
    let mut command = Command::new(program);
    command.args(args).env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

const PUENTE: &str = env!("CARGO_BIN_EXE_puente");

#[test]
fn nothing_but_text_comes_out_of_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let lines: [&[&str]; 6] = [
        &["--help"],
        &["query", "--help"],
        &["no-such-command"],
        &["--dir", at, "node", "status"],
        &["--dir", at, "doctor", "--lang", "es"],
        &["completions", "bash"],
    ];
    for line in lines {
        for variables in [&[][..], &[("NO_COLOR", "1")], &[("TERM", "dumb")]] {
            let (out, err, code) = run(PUENTE, line, variables);
            assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{line:?} {variables:?}: {out}{err}");
            assert_eq!(code == 0, err.is_empty(), "{line:?}: {err}");
        }
    }
    // The search is not blind: styles are there for who insists on them.
    assert!(run(PUENTE, &["no-such-command"], &[("CLICOLOR_FORCE", "1")]).1.contains('\u{1b}'));
}

/// Every command of a program, from its help alone: what a page must exist for.
fn commands(program: &str, above: &[String]) -> Vec<Vec<String>> {
    let mut args: Vec<&str> = above.iter().map(String::as_str).collect();
    args.push("--help");
    let (help, err, code) = run(program, &args, &[("COLUMNS", "200")]);
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    let mut out = vec![above.to_vec()];
    let listed = help.split_once("\nCommands:\n").map(|(_, rest)| rest).unwrap_or_default();
    for line in listed.lines().take_while(|line| !line.is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let name = line.split_whitespace().next().unwrap();
        if indent == 2 && name != "help" {
            out.extend(commands(program, &[above, &[name.to_owned()]].concat()));
        }
    }
    out
}

#[test]
fn every_command_has_a_manual_page_in_both_languages() {
    let audit = Path::new(PUENTE).with_file_name("puente-audit");
    let mut programs = vec![("puente", PUENTE.to_owned())];
    // It is another package's program: there where the whole workspace is built.
    if audit.exists() {
        programs.push(("puente-audit", audit.display().to_string()));
    }
    for (name, program) in programs {
        let folder = tempfile::tempdir().unwrap();
        let (_, err, code) = run(&program, &["man", "--out", folder.path().to_str().unwrap()], &[]);
        assert_eq!(code, 0, "{err}");
        let commands = commands(&program, &[]);
        assert!(commands.len() > 6, "{commands:?}");
        for (place, option) in [("man1", "Print help"), ("es/man1", "Mostrar esta ayuda")] {
            let pages = fs::read_dir(folder.path().join(place)).unwrap().count();
            assert_eq!(pages, commands.len(), "{name} {place}");
            for command in &commands {
                let file = [&[name.to_owned()], command.as_slice()].concat().join("-");
                let page = fs::read_to_string(folder.path().join(place).join(format!("{file}.1"))).unwrap();
                assert!(page.matches(".SH ").count() >= 3 && page.contains(option), "{file}: {page}");
            }
        }
    }
}
