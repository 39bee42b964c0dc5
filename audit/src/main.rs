//! `puente-audit`: verdict on stdout, words on stderr, meaning in the exit code (0 sound, 1 unsound, 2 could not tell).

use std::process::ExitCode;

fn main() -> ExitCode {
    puente_audit::cli::run_from(std::env::args_os())
}
