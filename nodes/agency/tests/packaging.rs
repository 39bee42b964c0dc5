//! What is shipped beside the program says the same as the program and its documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

#[test]
fn the_container_builds_what_the_documents_build_and_runs_it_unprivileged() {
    let file = read("packaging/Containerfile");
    let build = "cargo build --locked --release --bin puente --bin puente-audit";
    assert!(file.contains(build) && read("docs/OPERATIONS.md").contains(build));
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
