//! Reads `[function.NAME.gate]` into its wire form.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use wasm_fn_api as api;
use wasm_fn_rollout::{Floor, GateError, GateSpec};

use super::toml_file::{BadValue, millis};

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    alpha: Option<f64>,
    errors: Option<RawSignal>,
    latency_p99: Option<RawSignal>,
    memory_p99: Option<RawSignal>,
    max_error_rate: Option<Rate>,
    max_latency_p99: Option<String>,
    floor: Option<RawFloor>,
    on_no_data: Option<api::OnNoDataSpec>,
}

/// `{ tolerate = 1.1 }`, or `false` for a signal that is turned off.
struct RawSignal {
    off: bool,
    limits: RawLimits,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    tolerate: Option<f64>,
    /// The alpha of the whole gate: all signals share it.
    alpha: Option<f64>,
}

/// `{ error_rate = 0.5, requests = 20 }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFloor {
    error_rate: Rate,
    requests: u64,
}

/// `0.05` or `"5%"`.
struct Rate(f64);

impl Raw {
    /// Resolves the table; `key` is its path in the file. [`check`] checks the bounds of the values.
    pub(super) fn resolve(self, key: &str) -> Result<api::GateOptions, BadValue> {
        let mut alpha = self.alpha.map(|alpha| ("alpha", alpha));
        let signals =
            [("errors", &self.errors), ("latency_p99", &self.latency_p99), ("memory_p99", &self.memory_p99)];
        for (name, signal) in signals {
            let Some(found) = signal.as_ref().and_then(|signal| signal.limits.alpha) else { continue };
            match alpha {
                #[expect(clippy::float_cmp, reason = "two texts are to mean the same number")]
                Some((_, known)) if known == found => {}
                Some((place, known)) => {
                    let reason = format!(
                        "found {found}, and {known} in {place}: all signals share one alpha, expected one value"
                    );
                    return Err(BadValue::new(format!("{key}.{name}.alpha"), reason));
                }
                None => alpha = Some((name, found)),
            }
        }
        Ok(api::GateOptions {
            alpha: alpha.map(|(_, alpha)| alpha),
            errors: self.errors.map(RawSignal::resolve),
            latency_p99: self.latency_p99.map(RawSignal::resolve),
            memory_p99: self.memory_p99.map(RawSignal::resolve),
            max_error_rate: self.max_error_rate.map(|Rate(rate)| rate),
            max_latency_p99_ms: millis(&format!("{key}.max_latency_p99"), self.max_latency_p99)?,
            min_requests: None,
            floor: self.floor.map(|RawFloor { error_rate: Rate(error_rate), requests }| api::FloorSpec {
                error_rate,
                requests,
            }),
            on_no_data: self.on_no_data,
        })
    }
}

impl RawSignal {
    fn resolve(self) -> api::Tolerance {
        api::Tolerance { tolerate: self.limits.tolerate, off: self.off }
    }
}

/// Checks that `options` make a valid gate; the error holds the key to blame and the reason. The node makes
/// the same check, but here the error can name the line.
pub(super) fn check(options: &api::GateOptions) -> Result<(), (Option<&'static str>, String)> {
    let usual = GateSpec::default();
    let tolerate = |found: Option<api::Tolerance>, usual| match found {
        Some(api::Tolerance { off: true, .. }) => None,
        Some(api::Tolerance { tolerate: Some(tolerate), .. }) => Some(tolerate),
        _ => usual,
    };
    let spec = GateSpec {
        alpha: options.alpha.unwrap_or(usual.alpha),
        errors: tolerate(options.errors, usual.errors),
        latency_p99: tolerate(options.latency_p99, usual.latency_p99),
        memory_p99: tolerate(options.memory_p99, usual.memory_p99),
        max_error_rate: options.max_error_rate,
        max_latency_p99: options.max_latency_p99_ms.map(Duration::from_millis),
        min_requests: options.min_requests.unwrap_or(usual.min_requests),
        floor: options
            .floor
            .map_or(usual.floor, |floor| Floor { error_rate: floor.error_rate, requests: floor.requests }),
    };
    spec.check().map_err(|error| {
        let key = match &error {
            GateError::Alpha(_) => Some("alpha"),
            GateError::Tolerate { signal, .. } => Some(signal.as_str()),
            GateError::MaxErrorRate(_) => Some("max_error_rate"),
            GateError::MaxLatency => Some("max_latency_p99"),
            GateError::MinRequests => Some("min_requests"),
            GateError::Floor(_) => Some("floor"),
            GateError::NoSignal => None,
        };
        (key, error.to_string())
    })
}

impl<'de> Deserialize<'de> for RawSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Signal;
        impl<'de> Visitor<'de> for Signal {
            type Value = RawSignal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table such as { tolerate = 1.1 } or false")
            }

            fn visit_bool<E>(self, on: bool) -> Result<RawSignal, E> {
                Ok(RawSignal { off: !on, limits: RawLimits::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSignal, A::Error> {
                let limits = RawLimits::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawSignal { off: false, limits })
            }
        }
        deserializer.deserialize_any(Signal)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Share;
        impl Visitor<'_> for Share {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as 0.05 or \"5%\"")
            }

            fn visit_f64<E>(self, rate: f64) -> Result<Rate, E> {
                Ok(Rate(rate))
            }

            fn visit_i64<E>(self, rate: i64) -> Result<Rate, E> {
                // No integer is a valid share: the bounds refuse even 0 and 1.
                Ok(Rate(rate as f64))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                let percent = text.strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
                let rate = percent.map(|percent| Rate(percent / 100.0));
                rate.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Share)
    }
}
