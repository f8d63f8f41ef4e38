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
        sampler(self.share)
    }
}

/// Decides which requests are among `share` of them.
pub(crate) fn sampler(share: Weight) -> Sampler {
    let [share, full] = [share, Weight::FULL].map(|weight| f64::from(weight.basis_points()));
    Sampler::share(share / full)
}

/// The share of requests that `text` is, which is not zero, at `key`.
pub(super) fn share(key: &str, text: &str) -> Result<Weight, BadValue> {
    let share = text.parse().ok().filter(|share| *share != Weight::ZERO);
    share.ok_or_else(|| {
        BadValue::new(key, format!("found {text:?}, expected a share of requests from 0.01% to 100%"))
    })
}

impl RawAccessLog {
    pub(super) fn resolve(self, folder: &Path) -> Result<AccessLogOptions, BadValue> {
        let Self { file, sample } = self;
        if file.as_os_str().is_empty() {
            let reason = "found nothing, expected a path, or - for standard output";
            return Err(BadValue::new("serve.access_log.file", reason));
        }
        let target = if file == Path::new("-") {
            AccessLogTarget::Stdout
        } else {
            AccessLogTarget::File(folder.join(file))
        };
        let share = match sample {
            None => Weight::FULL,
            Some(text) => self::share("serve.access_log.sample", &text)?,
        };
        Ok(AccessLogOptions { target, share })
    }
}
