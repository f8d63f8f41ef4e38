//! Reads and checks `wasm-fn.toml`. An error names the line.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use wasm_fn_admin::CertificateRule;
use wasm_fn_control::state::{StageRule, StageRules};
use wasm_fn_core::{FunctionName, Network, PreviewDomain, StageName, Weight};
use wasm_fn_runtime::MemoryReset;

use super::{
    access_log::{self, AccessLogOptions, RawAccessLog},
    cluster::{ClusterTable, RawCluster},
    federation::{self, RawClient, RawOidc},
    function::{self, Function},
    toml_file::{BadValue, FileError, duration, parse, size, text_of},
};
use crate::{
    acme::AcmeOptions,
    args,
    node::{ArtifactSource, KeyCommand, TrustedIssuer},
    tls::KeyPairFiles,
};

/// Maximum size of the file, bytes: far more than people write, and far less than the memory.
const BYTES_MAX: u64 = 4 << 20;

/// The file, resolved.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// `[function.NAME]`.
    pub(crate) functions: BTreeMap<FunctionName, Function>,
    /// `[serve]`.
    pub(crate) serve: Serve,
    /// `[stage.NAME]`.
    pub(crate) stages: StageRules,
}

/// `[serve]`, resolved. A value that is absent gets its default elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serve {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    /// Relative to the file's folder.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) instances_max: Option<u32>,
    pub(crate) memory_max_bytes: Option<u64>,
    pub(crate) connections_max: Option<u32>,
    pub(crate) connections_per_address: Option<u32>,
    pub(crate) body_max_bytes: Option<u64>,
    pub(crate) component_max_bytes: Option<u64>,
    pub(crate) code_memory_bytes: Option<u64>,
    pub(crate) memory_reset: Option<MemoryReset>,
    pub(crate) audit_resets: Option<u32>,
    pub(crate) link_components: Option<bool>,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) allow_overrides: Option<bool>,
    pub(crate) show_shielded: Option<bool>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) proxy_protocol: Option<bool>,
    pub(crate) preview_domain: Option<PreviewDomain>,
    /// Relative to the file's folder.
    pub(crate) egress_ca: Option<PathBuf>,
    pub(crate) secrets_key_command: Option<KeyCommand>,
    pub(crate) allow_core_dumps: Option<bool>,
    pub(crate) egress_private: Vec<Network>,
    pub(crate) artifact_sources: Vec<ArtifactSource>,
    /// The same.
    pub(crate) tls: Vec<KeyPairFiles>,
    pub(crate) acme: Option<AcmeOptions>,
    pub(crate) redirect_listen: Option<SocketAddr>,
    /// The same.
    pub(crate) admin_tls: Option<KeyPairFiles>,
    /// The same.
    pub(crate) admin_client_ca: Option<PathBuf>,
    pub(crate) admin_certificates: Vec<CertificateRule>,
    pub(crate) oidc: Vec<TrustedIssuer>,
    pub(crate) insecure_admin: Option<bool>,
    pub(crate) metrics_series_max: Option<u32>,
    pub(crate) access_log: Option<AccessLogOptions>,
    pub(crate) cluster: ClusterTable,
    pub(crate) traces: Option<Weight>,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    function: BTreeMap<String, function::Raw>,
    #[serde(default)]
    serve: RawServe,
    #[serde(default)]
    stage: BTreeMap<String, RawStage>,
}

/// `[stage.NAME]` as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStage {
    protected: bool,
    approvers: u32,
    expires: Option<String>,
}

/// How long others have time to approve a release, if nothing else is configured.
pub(super) const APPROVAL_TIME: Duration = Duration::from_hours(24);

/// Most approvals that a stage may ask for.
const APPROVERS_MAX: u32 = 100;

impl RawStage {
    fn resolve(self, key: &str) -> Result<StageRule, BadValue> {
        let Self { protected, approvers, expires } = self;
        if approvers > APPROVERS_MAX {
            let found = format!("found {approvers}, expected at most {APPROVERS_MAX}");
            return Err(BadValue::new(format!("{key}.approvers"), found));
        }
        if approvers > 0 && !protected {
            let reason = "found approvers for a stage that is not protected, expected `protected = true`";
            return Err(BadValue::new(format!("{key}.approvers"), reason));
        }
        let expires = duration(&format!("{key}.expires"), expires)?.unwrap_or(APPROVAL_TIME);
        if expires < Duration::from_millis(1) {
            let reason = "found less than 1ms, expected a time in which others can approve";
            return Err(BadValue::new(format!("{key}.expires"), reason));
        }
        Ok(StageRule { protected, approvers, expires })
    }
}

/// `[serve]` as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawServe {
    listen: Option<String>,
    admin: Option<String>,
    data_dir: Option<PathBuf>,
    instances_max: Option<u32>,
    memory_max: Option<String>,
    connections_max: Option<u32>,
    connections_per_address: Option<u32>,
    body_max: Option<String>,
    component_max: Option<String>,
    code_memory: Option<String>,
    memory_reset: Option<String>,
    audit_resets: Option<u32>,
    link_components: Option<String>,
    drain_timeout: Option<String>,
    allow_overrides: Option<bool>,
    show_shielded: Option<bool>,
    trusted_proxies: Vec<String>,
    proxy_protocol: Option<bool>,
    preview_domain: Option<String>,
    egress_ca: Option<PathBuf>,
    secrets_key_command: Option<String>,
    allow_core_dumps: Option<bool>,
    egress_private: Vec<String>,
    artifact_sources: Vec<String>,
    tls: Vec<RawKeyPair>,
    acme: Option<RawAcme>,
    redirect_listen: Option<String>,
    admin_tls: Option<RawAdminTls>,
    oidc: Vec<RawOidc>,
    insecure_admin: Option<bool>,
    metrics_series_max: Option<u32>,
    access_log: Option<RawAccessLog>,
    cluster: Option<RawCluster>,
    traces: Option<String>,
}

/// `[[serve.tls]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeyPair {
    cert: PathBuf,
    key: PathBuf,
}

/// `[serve.acme]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAcme {
    domains: Vec<String>,
    #[serde(default)]
    contact: Vec<String>,
    directory: Option<String>,
    ca: Option<PathBuf>,
}

/// `[serve.admin_tls]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdminTls {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    #[serde(default)]
    clients: Vec<RawClient>,
}

impl ConfigFile {
    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// Names the file, the line and the key.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let text = text_of(path, BYTES_MAX)?;
        Self::parse(path, &text)
    }

    /// Reads `text`, the contents of the file at `path`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        parse(path, text, |raw: Raw| raw.resolve(folder))
    }
}

impl Raw {
    fn resolve(self, folder: &Path) -> Result<ConfigFile, BadValue> {
        let mut functions = BTreeMap::new();
        for (name, raw) in self.function {
            let key = format!("function.{name}");
            let name: FunctionName = name.parse().map_err(|error| BadValue::new(&key, error))?;
            functions.insert(name, raw.resolve(&key, folder)?);
        }
        let mut stages = StageRules::new();
        for (name, raw) in self.stage {
            let key = format!("stage.{name}");
            let name: StageName = name.parse().map_err(|error| BadValue::new(&key, error))?;
            stages.insert(name, raw.resolve(&key)?);
        }
        Ok(ConfigFile { functions, serve: self.serve.resolve(folder)?, stages })
    }
}

impl RawAcme {
    fn resolve(self, folder: &Path) -> Result<AcmeOptions, BadValue> {
        let Self { domains, contact, directory, ca } = self;
        AcmeOptions::new(&domains, contact, directory, ca.map(|ca| folder.join(ca)))
            .map_err(|error| BadValue::new(format!("serve.acme.{}", error.key), error))
    }
}

impl RawServe {
    fn resolve(self, folder: &Path) -> Result<Serve, BadValue> {
        let address = |key: &str, text: Option<String>| {
            let parse =
                |text: String| args::listen_address(&text).map_err(|reason| BadValue::new(key, reason));
            text.map(parse).transpose()
        };
        let networks = |key: &str, texts: Vec<String>| {
            let network = |(index, text): (usize, String)| {
                text.parse().map_err(|error| BadValue::new(format!("serve.{key}[{index}]"), error))
            };
            texts.into_iter().enumerate().map(network).collect::<Result<Vec<Network>, _>>()
        };
        let pair =
            |cert: PathBuf, key: PathBuf| KeyPairFiles { cert: folder.join(cert), key: folder.join(key) };
        let (admin_tls, admin_client_ca, admin_certificates) = match self.admin_tls {
            Some(RawAdminTls { cert, key, client_ca, clients }) => {
                let client_ca = client_ca.map(|client_ca| folder.join(client_ca));
                (Some(pair(cert, key)), client_ca, federation::clients(clients)?)
            }
            None => (None, None, Vec::new()),
        };
        Ok(Serve {
            listen: address("serve.listen", self.listen)?,
            admin: address("serve.admin", self.admin)?,
            data_dir: self.data_dir.map(|data_dir| folder.join(data_dir)),
            instances_max: self.instances_max,
            memory_max_bytes: size("serve.memory_max", self.memory_max)?,
            connections_max: self.connections_max,
            connections_per_address: self.connections_per_address,
            body_max_bytes: size("serve.body_max", self.body_max)?,
            component_max_bytes: size("serve.component_max", self.component_max)?,
            code_memory_bytes: size("serve.code_memory", self.code_memory)?,
            memory_reset: self
                .memory_reset
                .map(|how| how.parse().map_err(|error: String| BadValue::new("serve.memory_reset", error)))
                .transpose()?,
            audit_resets: self.audit_resets,
            link_components: self
                .link_components
                .map(|text| {
                    args::switch(&text).map_err(|error| BadValue::new("serve.link_components", error))
                })
                .transpose()?,
            drain_timeout: duration("serve.drain_timeout", self.drain_timeout)?,
            allow_overrides: self.allow_overrides,
            show_shielded: self.show_shielded,
            trusted_proxies: networks("trusted_proxies", self.trusted_proxies)?,
            proxy_protocol: self.proxy_protocol,
            preview_domain: self
                .preview_domain
                .map(|domain| domain.parse().map_err(|error| BadValue::new("serve.preview_domain", error)))
                .transpose()?,
            egress_ca: self.egress_ca.map(|egress_ca| folder.join(egress_ca)),
            secrets_key_command: self
                .secrets_key_command
                .map(|command| {
                    command.parse().map_err(|error| BadValue::new("serve.secrets_key_command", error))
                })
                .transpose()?,
            allow_core_dumps: self.allow_core_dumps,
            egress_private: networks("egress_private", self.egress_private)?,
            artifact_sources: self
                .artifact_sources
                .iter()
                .enumerate()
                .map(|(at, source)| {
                    let key = || format!("serve.artifact_sources[{at}]");
                    source.parse().map_err(|error| BadValue::new(key(), error))
                })
                .collect::<Result<_, _>>()?,
            tls: self.tls.into_iter().map(|RawKeyPair { cert, key }| pair(cert, key)).collect(),
            acme: self.acme.map(|acme| acme.resolve(folder)).transpose()?,
            redirect_listen: address("serve.redirect_listen", self.redirect_listen)?,
            admin_tls,
            admin_client_ca,
            admin_certificates,
            oidc: federation::issuers(self.oidc, folder)?,
            insecure_admin: self.insecure_admin,
            metrics_series_max: self.metrics_series_max,
            access_log: self.access_log.map(|access_log| access_log.resolve(folder)).transpose()?,
            cluster: self.cluster.map(|cluster| cluster.resolve(folder)).transpose()?.unwrap_or_default(),
            traces: self.traces.map(|text| access_log::share("serve.traces", &text)).transpose()?,
        })
    }
}
