//! The program `wasm-fn`: arguments to configuration to options, the wiring of a node, and the client.

mod args;
mod client;
mod commands;
mod config;
mod demo;
mod doctor;
mod fault;
mod machine;
mod node;
mod output;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;

use fault::Fault;

// Every request allocates a little on both sides of the guest; docs/decisions/0011 has what others cost.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What the allocator is told at its start: a thread of its own gives freed memory back to the system, ten seconds
/// after nobody wanted it any more.
#[expect(unsafe_code, reason = "the allocator reads its options from a symbol of this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_OPTIONS: &[u8; 61] = b"background_thread:true,dirty_decay_ms:10000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    keep_errors_cheap();
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Whoever closed the stream does not read it.
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

/// Keeps error values from capturing a backtrace, which nobody would see; panics still print theirs.
///
/// The engine makes an error value for each instance that it takes down, so `RUST_BACKTRACE=1` in a node's
/// environment would cost every request.
fn keep_errors_cheap() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program has one thread yet, so nobody else reads the environment.
        #[expect(unsafe_code, reason = "the standard library reads this setting from the environment alone")]
        unsafe {
            std::env::set_var(VARIABLE, "0");
        }
    }
}
