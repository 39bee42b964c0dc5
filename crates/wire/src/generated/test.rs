//! The committed code equals what the `.proto` files generate.
#![allow(clippy::unwrap_used)]

use std::path::Path;

/// Set `PUENTE_REGENERATE=1` to write the files anew after editing a `.proto`.
#[test]
fn generated_code_is_current() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["entry.proto", "frame.proto", "evidence.proto", "said.proto"].map(|f| format!("puente/v1/{f}"));
    let set = protox::compile(files, [here.join("../../proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new().out_dir(out.path()).compile_fds(set).unwrap();
    for name in ["puente.v1.rs", "puente.v1.wire.rs"] {
        let committed = here.join("src/generated").join(name);
        if std::env::var_os("PUENTE_REGENERATE").is_some() {
            std::fs::copy(out.path().join(name), &committed).unwrap();
        }
        let fresh = std::fs::read_to_string(out.path().join(name)).unwrap();
        let kept = std::fs::read_to_string(&committed).unwrap_or_default();
        assert!(fresh == kept, "a .proto changed: run the tests once with PUENTE_REGENERATE=1 and commit {name}");
    }
}
