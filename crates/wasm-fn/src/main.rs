//! The program `wasm-fn`. It turns arguments into configuration and options, wires up a node, and contains
//! the client.

mod acme;
mod allocator;
mod args;
mod client;
mod commands;
mod config;
mod demo;
mod doctor;
mod explain;
mod fault;
mod import;
mod machine;
mod node;
mod output;
mod telemetry;
mod tls;
mod top;

use std::process::ExitCode;

use fault::Fault;

fn main() -> ExitCode {
    keep_errors_cheap();
    if let Some(code) = commands::complete() {
        return code;
    }
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed stream has no reader.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(fault::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let format = cli.command.format();
    match commands::run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(Fault::ReaderGone) => ExitCode::SUCCESS,
        Err(Fault::Told(told)) => {
            output::fault(format, &told);
            ExitCode::from(fault::ERROR)
        }
    }
}

/// Keeps error values from capturing a backtrace, which is never printed. Panics still print theirs.
///
/// The engine creates an error value for each instance that it tears down, so `RUST_BACKTRACE=1` in a
/// node's environment would slow down every request.
fn keep_errors_cheap() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program still has only one thread, so nothing else reads the environment.
        #[expect(unsafe_code, reason = "the standard library reads this setting from the environment alone")]
        unsafe {
            std::env::set_var(VARIABLE, "0");
        }
    }
}
