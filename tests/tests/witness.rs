//! A witness that is told of logs by a charter.

use std::fs;
use std::path::Path;

use puente_audit_log::Signer as _;
use puente_charter::{Charter, LogHead, Part};
use puente_model::{Digest, TreeSize};
use puente_witness::{Config, ConfigError, Folder};

use crate::sim::world::{DOJ, FGE, charter, logs_of, next_annex, signer_of, uri};

/// Writes a charter's parts as people keep them.
fn write(charter: &Charter, dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for part in charter.parts() {
        let name = part.id().file();
        let text = match part.part() {
            Part::Common(part) => part.to_toml().unwrap(),
            Part::Annex(part) => part.to_toml().unwrap(),
        };
        let lines: String = part.signatures().iter().map(|signature| format!("{signature}\n")).collect();
        fs::write(dir.join(&name), text).unwrap();
        fs::write(dir.join(format!("{name}.sig")), lines).unwrap();
    }
}

#[test]
fn a_witness_serves_every_log_of_the_charter_and_closed_ones_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let old = charter(Default::default());
    let root = Digest::of(b"a root");
    // Two logs are closed and have successors; acquaintance with one of these begins at a head.
    let mx = next_annex(&old, "mx", |annex| {
        let member = annex.members.iter_mut().find(|member| member.uri == uri(FGE)).unwrap();
        member.logs = logs_of(FGE, Some(40));
    });
    let us = next_annex(&old, "us", |annex| {
        let member = annex.members.iter_mut().find(|member| member.uri == uri(DOJ)).unwrap();
        member.logs = logs_of(DOJ, Some(20));
        member.logs[1].first_head = Some(LogHead { size: 7, root });
    });
    let parts = old.parts().iter().cloned().chain([mx, us]);
    let charter = Charter::verify(parts, old.pin()).unwrap();
    write(&charter, &dir.path().join("charter"));
    let text = |pin: Digest| format!("[logs]\ncharter = \"charter\"\npin = \"{pin}\"\n");
    fs::write(folder.config(), text(charter.pin())).unwrap();
    let rules = Config::load(&folder).unwrap().rules(&folder).unwrap().rules().clone();
    assert_eq!(rules.len(), 6, "four members, and two successors");
    for (node, k) in [(FGE, 1), (FGE, 2), (DOJ, 2)] {
        let signer = signer_of(node, k);
        let rule = &rules[signer.verifier().name()];
        assert_eq!(rule.keys(), [signer.verifier().clone()]);
        assert!(!rule.allows_first_use());
    }
    let origin = |node: usize, k: u32| uri(node).origin(k).unwrap().as_str().to_owned();
    assert_eq!(rules[&origin(FGE, 1)].end(), Some(TreeSize(40)));
    assert_eq!(rules[&origin(FGE, 2)].end(), None);
    assert_eq!(rules[&origin(DOJ, 2)].pin().map(|pin| (pin.size(), pin.root())), Some((TreeSize(7), root)));
    // Another pin, or a part that one nation alone changed, serves nobody.
    fs::write(folder.config(), text(Digest::of(b"another"))).unwrap();
    let config = Config::load(&folder).unwrap();
    assert!(matches!(config.rules(&folder), Err(ConfigError::Charter(_))));
    fs::write(folder.config(), text(charter.pin())).unwrap();
    let name = charter.parts().last().unwrap().id().file();
    let part = dir.path().join("charter").join(name);
    let forged = fs::read_to_string(&part).unwrap().replace("size = 7", "size = 8");
    fs::write(&part, forged).unwrap();
    assert!(matches!(Config::load(&folder).unwrap().rules(&folder), Err(ConfigError::Charter(_))));
}
