//! `wasm-fn doctor`: checks whether this machine can run a node well, and says what to change.

use super::DONE;
use crate::{
    args, config,
    doctor::{self, Report},
    fault::{self, Fault},
    output::{Look, Output},
};

pub(super) async fn run(args: args::Doctor, output: Output) -> Result<u8, Fault> {
    let config = config::Serve::resolve(&args.serve)?;
    let report = doctor::examine(&config, args.monitor).await;
    output.data(&report, |report: &Report| report.text(Look::of_stdout()))?;
    Ok(if report.is_ok() { DONE } else { fault::ERROR })
}
