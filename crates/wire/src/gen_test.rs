//! The committed code equals what the `.proto` files generate.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

#[test]
fn generated_code_is_current() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = ["entry.proto", "frame.proto", "evidence.proto"].map(|f| format!("puente/v1/{f}"));
    let set = protox::compile(files, [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new().out_dir(out.path()).compile_fds(set).unwrap();
    let fresh = std::fs::read_to_string(out.path().join("puente.v1.rs")).unwrap();
    let path = root.join("crates/wire/src/gen.rs");
    if std::env::var_os("PUENTE_REGENERATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed.trim() == fresh.trim(),
        "crates/wire/src/gen.rs is not what proto/puente/v1 generates: run PUENTE_REGENERATE=1 cargo test -p puente-wire generated"
    );
}
