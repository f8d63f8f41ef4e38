//! `[serve.access_log]`: which requests are logged, and where.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use wasm_fn_core::{Sampler, Weight};
use wasm_fn_telemetry::AccessLogTarget;

use super::toml_file::BadValue;

/// The access log of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessLogOptions {
    /// Where the lines go.
    pub(crate) target: AccessLogTarget,
    /// The share of requests that have a line.
    pub(crate) share: Weight,
}

/// `[serve.access_log]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccessLog {
    file: PathBuf,
    sample: Option<String>,
}

impl AccessLogOptions {
    /// Decides which requests have a line.
    pub(crate) fn sampler(&self) -> Sampler {
        let [share, full] = [self.share, Weight::FULL].map(|weight| f64::from(weight.basis_points()));
        Sampler::share(share / full)
    }
}

impl RawAccessLog {
    pub(super) fn resolve(self, folder: &Path) -> Result<AccessLogOptions, BadValue> {
        let Self { file, sample } = self;
        let bad = |key: &str, reason: String| BadValue::new(format!("serve.access_log.{key}"), reason);
        if file.as_os_str().is_empty() {
            return Err(bad("file", "found nothing, expected a path, or - for standard output".to_owned()));
        }
        let target = if file == Path::new("-") {
            AccessLogTarget::Stdout
        } else {
            AccessLogTarget::File(folder.join(file))
        };
        let share = match sample {
            None => Weight::FULL,
            Some(text) => text.parse().map_err(|_| {
                bad("sample", format!("found {text:?}, expected a share of requests from 0.01% to 100%"))
            })?,
        };
        if share == Weight::ZERO {
            return Err(bad(
                "sample",
                "found 0%, expected a share of requests from 0.01% to 100%".to_owned(),
            ));
        }
        Ok(AccessLogOptions { target, share })
    }
}
