//! `wasm-fn doctor`: checks whether this machine can run a node well, and says what to change.

use super::DONE;
use crate::{
    args, config,
    doctor::{self, Report},
    fault::{self, Fault},
    output::Output,
};

pub(super) async fn run(args: args::Doctor, output: Output) -> Result<u8, Fault> {
    let config = config::Serve::resolve(&args.serve)?;
    let report = doctor::examine(&config).await;
    output.data(&report, Report::text)?;
    Ok(if report.is_ok() { DONE } else { fault::ERROR })
}
