//! Code generated from `proto/puente/v1/ledger.proto`; a test regenerates it and compares.
#![allow(missing_docs, unreachable_pub)]
include!("generated/puente.v1.ledger.rs");

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test compares files")]
mod tests {
    use std::path::Path;

    /// Set `PUENTE_REGENERATE=1` to write the file anew after editing the `.proto`.
    #[test]
    fn generated_code_matches_the_proto_file() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fds = protox::compile(["puente/v1/ledger.proto"], [here.join("../../proto")]).unwrap();
        let out = tempfile::tempdir().unwrap();
        prost_build::Config::new().out_dir(out.path()).compile_fds(fds).unwrap();
        let name = "puente.v1.ledger.rs";
        let committed = here.join("src/generated").join(name);
        if std::env::var_os("PUENTE_REGENERATE").is_some() {
            std::fs::copy(out.path().join(name), &committed).unwrap();
        }
        let fresh = std::fs::read_to_string(out.path().join(name)).unwrap();
        let kept = std::fs::read_to_string(&committed).unwrap();
        assert!(fresh == kept, "ledger.proto changed: run the tests once with PUENTE_REGENERATE=1 and commit {name}");
    }
}
