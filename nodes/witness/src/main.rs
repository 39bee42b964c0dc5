//! The `puente-witness` command.

fn main() -> std::process::ExitCode {
    puente_witness::cli::main()
}
