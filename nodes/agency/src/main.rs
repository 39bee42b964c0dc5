//! The `puente` command.

fn main() -> std::process::ExitCode {
    puente_agency::cli::main()
}
