//! What is shipped beside the program says the same as the program and its documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

#[test]
fn the_unit_confines_the_witness_and_reloads_it() {
    let unit = read("packaging/systemd/puente-witness.service");
    for line in [
        "ExecStart=/usr/bin/puente-witness --dir /var/lib/puente-witness --json run",
        "ExecReload=kill -HUP $MAINPID",
        "User=puente-witness",
        "StateDirectoryMode=0700",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "MemoryDenyWriteExecute=yes",
        "LimitCORE=0",
        "RestrictAddressFamilies=AF_INET AF_INET6",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert!(read("docs/OPERATIONS.md").contains("systemctl reload puente-witness"));
}

#[test]
fn a_purge_never_takes_a_witnesss_memory_and_nothing_starts_by_itself() {
    let (postinst, postrm) = (read("packaging/deb/witness/postinst"), read("packaging/deb/witness/postrm"));
    // rmdir takes an empty folder alone; that the rest holds is shown by packaging/deb/witness/test, in .ci/run.
    assert!(postrm.contains("rmdir") && !postrm.contains("rm -r"), "{postrm}");
    assert!(!postinst.contains("systemctl enable") && !postinst.contains("systemctl start"), "{postinst}");
    assert!(postinst.contains("chmod 0700"));
    let build = "packaging/deb/build target/shipped target puente-witness";
    assert!(read("packaging/deb/build").contains(build) && read("docs/OPERATIONS.md").contains(build));
    assert!(read(".ci/run").contains("packaging/deb/witness/test"));
}
