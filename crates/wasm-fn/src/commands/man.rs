//! `wasm-fn man`: manual pages, for packages.

use super::DONE;
use crate::{args, fault::Fault};

/// Writes `wasm-fn.1`, and a page for each command, such as `wasm-fn-deploy.1`.
pub(super) fn run(args: &args::Man) -> Result<u8, Fault> {
    let folder = &args.folder;
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(args::command(), folder));
    written.map_err(|error| {
        let cause = format!("{}: {error}", folder.display());
        Fault::new("unwritable-file", "the manual pages were not written", cause)
    })?;
    Ok(DONE)
}

#[cfg(test)]
mod tests;
