//! What OpenTelemetry's environment variables ask for (OpenTelemetry specification: environment variables,
//! and the OTLP exporter's).

use std::{path::PathBuf, time::Duration};

use wasm_fn_core::{Sampler, SamplerError};

/// What is sent, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// How traces are sent, and which; `None` if they are not.
    pub traces: Option<(SignalSettings, Sampler)>,
    /// How logs are sent; `None` if they are not.
    pub logs: Option<SignalSettings>,
    /// File with the authorities that vouch for the collector; the public ones without it.
    pub certificate: Option<PathBuf>,
    /// Whether nobody named the service, so that it gets the program's name.
    pub is_nameless: bool,
}

/// How one kind of telemetry is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSettings {
    /// Over what.
    pub protocol: OtlpProtocol,
    /// What waits to be sent.
    pub queue: QueueSettings,
    /// How long the collector may take for a batch.
    pub timeout: Duration,
}

/// What OTLP is sent over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// HTTP, with bodies in the form of protocol buffers.
    Http,
}

/// What may wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most items that wait; more are dropped.
    pub items_max: usize,
    /// Items of a batch.
    pub batch_max: usize,
    /// How long a batch waits for more items.
    pub delay: Duration,
}

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It has a value that it cannot have.
    #[error("found {found:?} in {variable}, expected {expected}")]
    Value {
        /// The variable.
        variable: String,
        /// Its value.
        found: String,
        /// What it could be.
        expected: &'static str,
    },
    /// The sampler does not exist.
    #[error("{0} in OTEL_TRACES_SAMPLER or OTEL_TRACES_SAMPLER_ARG")]
    Sampler(SamplerError),
}

/// A kind of telemetry, with the words in its variables.
struct Signal {
    word: &'static str,
    batch: &'static str,
    /// How long a batch waits if nothing else is asked for, milliseconds.
    delay_ms: u64,
}

const TRACES: Signal = Signal { word: "TRACES", batch: "BSP", delay_ms: 5000 };
const LOGS: Signal = Signal { word: "LOGS", batch: "BLRP", delay_ms: 1000 };

/// Reads variables. One that is set to nothing is not set.
struct Variables<F>(F);

impl TelemetrySettings {
    /// The settings in the variables that `variable` reads.
    ///
    /// # Errors
    /// A variable has a value that it cannot have.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variables = Variables(variable);
        let traces = match variables.signal(&TRACES)? {
            None => None,
            Some(signal) => {
                let name = variables.get("OTEL_TRACES_SAMPLER");
                let argument = variables.get("OTEL_TRACES_SAMPLER_ARG");
                let name = name.as_deref().unwrap_or("parentbased_always_on");
                let sampler = Sampler::named(name, argument.as_deref()).map_err(SettingsError::Sampler)?;
                Some((signal, sampler))
            }
        };
        let logs = variables.signal(&LOGS)?;
        let certificate = variables.get("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from);
        let attributes = variables.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let names_service =
            |attribute: &str| attribute.split_once('=').is_some_and(|(key, _)| key.trim() == "service.name");
        let is_nameless =
            variables.get("OTEL_SERVICE_NAME").is_none() && !attributes.split(',').any(names_service);
        Ok(Self { traces, logs, certificate, is_nameless })
    }

    /// Whether nothing is sent.
    pub fn is_off(&self) -> bool {
        self.traces.is_none() && self.logs.is_none()
    }
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn get(&self, variable: &str) -> Option<String> {
        (self.0)(variable).filter(|value| !value.trim().is_empty())
    }

    /// The value of `variable`, as `parse` reads it.
    fn parsed<T>(
        &self,
        variable: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(found) = self.get(variable) else { return Ok(None) };
        match parse(found.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(SettingsError::Value { variable: variable.to_owned(), found, expected }),
        }
    }

    /// Milliseconds in the first of `variables` that is set.
    fn time(&self, variables: &[&str], usual_ms: u64) -> Result<Duration, SettingsError> {
        for variable in variables {
            let parse = |text: &str| text.parse().ok().filter(|ms| (1..=3_600_000).contains(ms));
            if let Some(ms) = self.parsed(variable, "1 to 3600000 milliseconds", parse)? {
                return Ok(Duration::from_millis(ms));
            }
        }
        Ok(Duration::from_millis(usual_ms))
    }

    fn count(&self, variable: &str, usual: usize) -> Result<usize, SettingsError> {
        let parse = |text: &str| text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
        Ok(self.parsed(variable, "1 to 1000000", parse)?.unwrap_or(usual))
    }

    /// How `signal` is sent; `None` if it is not: nobody named a collector, or telemetry is switched off.
    fn signal(&self, signal: &Signal) -> Result<Option<SignalSettings>, SettingsError> {
        let Signal { word, batch, delay_ms } = *signal;
        let flag = |text: &str| text.to_ascii_lowercase().parse::<bool>().ok();
        if self.parsed("OTEL_SDK_DISABLED", "true or false", flag)? == Some(true) {
            return Ok(None);
        }
        let own = |rest: &str| format!("OTEL_EXPORTER_OTLP_{word}_{rest}");
        let general = |rest: &str| format!("OTEL_EXPORTER_OTLP_{rest}");
        let exporter = |text: &str| match text {
            "otlp" => Some(true),
            "none" => Some(false),
            _ => None,
        };
        let asked = self.parsed(&format!("OTEL_{word}_EXPORTER"), "otlp or none", exporter)?;
        let names_collector = || self.get(&own("ENDPOINT")).or(self.get(&general("ENDPOINT"))).is_some();
        if !asked.unwrap_or_else(names_collector) {
            return Ok(None);
        }
        let protocol = |text: &str| match text {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::Http),
            _ => None,
        };
        let protocols = "grpc or http/protobuf";
        let protocol = match self.parsed(&own("PROTOCOL"), protocols, protocol)? {
            Some(protocol) => protocol,
            None => self.parsed(&general("PROTOCOL"), protocols, protocol)?.unwrap_or(OtlpProtocol::Http),
        };
        let items_max = self.count(&format!("OTEL_{batch}_MAX_QUEUE_SIZE"), 2048)?;
        let batch_max = self.count(&format!("OTEL_{batch}_MAX_EXPORT_BATCH_SIZE"), 512)?.min(items_max);
        let delay = self.time(&[&format!("OTEL_{batch}_SCHEDULE_DELAY")], delay_ms)?;
        let timeout = self.time(&[&own("TIMEOUT"), &general("TIMEOUT")], 10_000)?;
        let whole = self.time(&[&format!("OTEL_{batch}_EXPORT_TIMEOUT")], 30_000)?;
        let queue = QueueSettings { items_max, batch_max, delay };
        Ok(Some(SignalSettings { protocol, queue, timeout: timeout.min(whole) }))
    }
}
