//! The configuration of a node.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use wasm_fn_admin::CertificateRule;
use wasm_fn_control::state::StageRules;
use wasm_fn_core::{Network, PreviewDomain, Weight};
use wasm_fn_runtime::IsolationOptions;

use super::{ClusterPlace, ConfigFile, access_log::AccessLogOptions, file};
use crate::{
    acme::AcmeOptions,
    args,
    fault::Fault,
    node::{ArtifactSource, KeyCommand, TrustedIssuer},
    tls::KeyPairFiles,
};

/// All settings of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serve {
    /// Address that serves functions.
    pub(crate) listen: SocketAddr,
    /// Address that serves the admin API.
    pub(crate) admin: SocketAddr,
    /// Directory that holds all data.
    pub(crate) data_dir: PathBuf,
    /// Maximum number of live instances; if absent, it depends on the machine.
    pub(crate) instances_max: Option<u32>,
    /// Maximum memory of all instances together; if absent, it depends on the machine.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Maximum number of open connections.
    pub(crate) connections_max: u32,
    /// Maximum number of open connections of one address; if absent, a quarter of all.
    pub(crate) connections_per_address: Option<u32>,
    /// Maximum size of a request body.
    pub(crate) body_max_bytes: u64,
    /// Maximum size of a component.
    pub(crate) component_max_bytes: u64,
    /// Maximum memory for native code.
    pub(crate) code_memory_bytes: u64,
    /// What holds guests apart.
    pub(crate) isolation: IsolationOptions,
    /// How long requests may take to finish when the node stops.
    pub(crate) drain_timeout: Duration,
    /// Whether any client may choose the version that answers.
    pub(crate) allow_overrides: bool,
    /// Whether answers of a second run are marked by a header.
    pub(crate) show_shielded: bool,
    /// Networks of proxies whose headers name the client.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Whether their connections begin with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// The domain under which each version has a host name.
    pub(crate) preview_domain: Option<PreviewDomain>,
    /// File with certificates that outgoing requests trust, beside the public ones.
    pub(crate) egress_ca: Option<PathBuf>,
    /// Command that writes the key of the node's secrets.
    pub(crate) secrets_key_command: Option<KeyCommand>,
    /// Whether the system may dump the memory of the node.
    pub(crate) allow_core_dumps: bool,
    /// Networks without public addresses that outgoing requests may reach by name.
    pub(crate) egress_private: Vec<Network>,
    /// Where artifacts of triggers that deploy may come from: only the file says it; none for anywhere.
    pub(crate) artifact_sources: Vec<ArtifactSource>,
    /// What is asked of releases to stages: only the file says it.
    pub(crate) stage_rules: StageRules,
    /// Certificates and keys with which functions are served over TLS; plain HTTP if there are none.
    pub(crate) tls: Vec<KeyPairFiles>,
    /// The certificate to get by ACME, beside those: only the file says it.
    pub(crate) acme: Option<AcmeOptions>,
    /// Address that redirects clients of plain HTTP to https.
    pub(crate) redirect_listen: Option<SocketAddr>,
    /// The certificate and key of the admin API; plain HTTP if absent.
    pub(crate) admin_tls: Option<KeyPairFiles>,
    /// File with the authorities of its clients' certificates.
    pub(crate) admin_client_ca: Option<PathBuf>,
    /// What clients may do by their certificates.
    pub(crate) admin_certificates: Vec<CertificateRule>,
    /// Issuers whose tokens the admin API accepts.
    pub(crate) oidc: Vec<TrustedIssuer>,
    /// Whether other machines may reach the admin API over plain HTTP.
    pub(crate) insecure_admin: bool,
    /// Maximum number of series that `/metrics` has of versions.
    pub(crate) metrics_series_max: u32,
    /// Which requests are logged, and where: only the file says it; none are without it.
    pub(crate) access_log: Option<AccessLogOptions>,
    /// The cluster that the node is in; `None` if it is alone.
    pub(crate) cluster: Option<ClusterPlace>,
    /// The share of requests whose traces are kept to be shown, if none are sent.
    pub(crate) traces: Option<Weight>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            data_dir: PathBuf::from("wasm-fn-data"),
            instances_max: None,
            memory_max_bytes: None,
            connections_max: 10_000,
            connections_per_address: None,
            body_max_bytes: 10 << 20,
            component_max_bytes: 256 << 20,
            code_memory_bytes: 1 << 30,
            isolation: IsolationOptions::USUAL,
            drain_timeout: Duration::from_secs(30),
            allow_overrides: false,
            show_shielded: false,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            preview_domain: None,
            egress_ca: None,
            secrets_key_command: None,
            allow_core_dumps: false,
            egress_private: Vec::new(),
            artifact_sources: Vec::new(),
            stage_rules: StageRules::new(),
            tls: Vec::new(),
            acme: None,
            redirect_listen: None,
            admin_tls: None,
            admin_client_ca: None,
            admin_certificates: Vec::new(),
            oidc: Vec::new(),
            insecure_admin: false,
            metrics_series_max: 150_000,
            access_log: None,
            cluster: None,
            traces: None,
        }
    }
}

impl Serve {
    /// Resolves `args` with the file that they name. Blocks.
    ///
    /// # Errors
    /// The file is invalid, or a value is out of bounds.
    pub(crate) fn resolve(args: &args::Serve) -> Result<Self, Fault> {
        let file = match &args.config {
            Some(path) => ConfigFile::read(path)
                .map_err(|error| Fault::new("invalid-config", "the configuration is invalid", error))?,
            None => ConfigFile::default(),
        };
        let serve = Self::merge(args, file.serve).and_then(|serve| serve.check().map(|()| serve));
        let stage_rules = file.stages;
        let serve = serve.map(|serve| Self { stage_rules, ..serve });
        serve.map_err(|cause| Fault::new("invalid-config", "the configuration is invalid", cause))
    }

    /// Flags and environment override the file, and the file overrides the defaults.
    ///
    /// # Errors
    /// A certificate or a key is without the other.
    pub(crate) fn merge(args: &args::Serve, file: file::Serve) -> Result<Self, String> {
        let default = Self::default();
        let args = args.clone();
        let body_max = args.body_max.map(|size| size.0);
        let component_max = args.component_max.map(|size| size.0);
        let code_memory = args.code_memory.map(|size| size.0);
        let tls = key_pairs(args.tls_cert, args.tls_key)?;
        let admin_tls = key_pair(args.admin_tls_cert, args.admin_tls_key)?;
        let data_dir = args.data_dir.or(file.data_dir).unwrap_or(default.data_dir);
        let cluster = ClusterPlace::resolve(args.membership, args.node_name, file.cluster, &data_dir)?;
        Ok(Self {
            listen: args.listen.or(file.listen).unwrap_or(default.listen),
            admin: args.admin.or(file.admin).unwrap_or(default.admin),
            data_dir,
            instances_max: args.instances_max.or(file.instances_max),
            memory_max_bytes: args.memory_max.map(|size| size.0).or(file.memory_max_bytes),
            connections_max: args.connections_max.or(file.connections_max).unwrap_or(default.connections_max),
            connections_per_address: args.connections_per_address.or(file.connections_per_address),
            body_max_bytes: body_max.or(file.body_max_bytes).unwrap_or(default.body_max_bytes),
            component_max_bytes: component_max
                .or(file.component_max_bytes)
                .unwrap_or(default.component_max_bytes),
            code_memory_bytes: code_memory.or(file.code_memory_bytes).unwrap_or(default.code_memory_bytes),
            isolation: IsolationOptions {
                memory_reset: args
                    .memory_reset
                    .or(file.memory_reset)
                    .unwrap_or(default.isolation.memory_reset),
                audit_resets: args
                    .audit_resets
                    .or(file.audit_resets)
                    .unwrap_or(default.isolation.audit_resets),
                link_components: args
                    .link_components
                    .or(file.link_components)
                    .unwrap_or(default.isolation.link_components),
            },
            drain_timeout: args.drain_timeout.or(file.drain_timeout).unwrap_or(default.drain_timeout),
            allow_overrides: args.allow_overrides.or(file.allow_overrides).unwrap_or(default.allow_overrides),
            preview_domain: args.preview_domain.or(file.preview_domain),
            egress_ca: args.egress_ca.or(file.egress_ca),
            secrets_key_command: args.secrets_key_command.or(file.secrets_key_command),
            allow_core_dumps: args
                .allow_core_dumps
                .or(file.allow_core_dumps)
                .unwrap_or(default.allow_core_dumps),
            artifact_sources: file.artifact_sources,
            stage_rules: default.stage_rules,
            egress_private: if args.egress_private.is_empty() {
                file.egress_private
            } else {
                args.egress_private
            },
            show_shielded: args.show_shielded.or(file.show_shielded).unwrap_or(default.show_shielded),
            trusted_proxies: if args.trusted_proxy.is_empty() {
                file.trusted_proxies
            } else {
                args.trusted_proxy
            },
            proxy_protocol: args.proxy_protocol.or(file.proxy_protocol).unwrap_or(default.proxy_protocol),
            tls: if tls.is_empty() { file.tls } else { tls },
            acme: file.acme,
            redirect_listen: args.redirect_listen.or(file.redirect_listen),
            admin_tls: admin_tls.or(file.admin_tls),
            admin_client_ca: args.admin_client_ca.or(file.admin_client_ca),
            admin_certificates: file.admin_certificates,
            oidc: file.oidc,
            insecure_admin: args.insecure_admin.or(file.insecure_admin).unwrap_or(default.insecure_admin),
            metrics_series_max: args
                .metrics_series_max
                .or(file.metrics_series_max)
                .unwrap_or(default.metrics_series_max),
            access_log: file.access_log,
            cluster,
            traces: file.traces,
        })
    }

    /// Whether functions are served over TLS.
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls.is_empty() || self.acme.is_some()
    }

    /// Checks the bounds of every value, wherever it came from.
    pub(crate) fn check(&self) -> Result<(), String> {
        // The upper bound depends on the machine, and is checked later.
        if self.instances_max == Some(0) {
            return Err("instances_max is 0, expected at least 1".to_owned());
        }
        if let Some(bytes) = self.memory_max_bytes.filter(|bytes| *bytes < 1 << 20) {
            return Err(format!("memory_max is {bytes} bytes, expected at least 1MiB"));
        }
        let connections = [
            ("connections_max", Some(self.connections_max)),
            ("connections_per_address", self.connections_per_address),
        ];
        for (key, found) in connections {
            if let Some(found) = found.filter(|found| !(1..=1_000_000).contains(found)) {
                return Err(format!("{key} is {found}, expected 1 to 1000000"));
            }
        }
        if !(1_000..=10_000_000).contains(&self.metrics_series_max) {
            let found = self.metrics_series_max;
            return Err(format!("metrics_series_max is {found}, expected 1000 to 10000000"));
        }
        let sizes = [
            ("body_max", self.body_max_bytes, 1..=1 << 40, "1 byte to 1TiB"),
            ("component_max", self.component_max_bytes, 1..=4 << 30, "1 byte to 4GiB"),
            ("code_memory", self.code_memory_bytes, 1 << 20..=1 << 40, "1MiB to 1TiB"),
        ];
        for (key, bytes, bounds, expected) in sizes {
            if !bounds.contains(&bytes) {
                return Err(format!("{key} is {bytes} bytes, expected {expected}"));
            }
        }
        if self.drain_timeout > Duration::from_secs(3600) {
            return Err(format!("drain_timeout is {:?}, expected 0s to 1h", self.drain_timeout));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(
                "proxy_protocol is on without trusted proxies, expected the networks of these proxies"
                    .to_owned(),
            );
        }
        let addresses = [
            ("listen", Some(self.listen)),
            ("admin", Some(self.admin)),
            ("redirect_listen", self.redirect_listen),
        ];
        for (index, (key, address)) in addresses.iter().enumerate() {
            let same = addresses[..index].iter().find(|(_, earlier)| earlier == address && address.is_some());
            if let (Some((earlier, _)), Some(address)) = (same, address.filter(|address| address.port() != 0))
            {
                return Err(format!("{earlier} and {key} are both {address}, expected two addresses"));
            }
        }
        if self.redirect_listen.is_some() && !self.has_tls() {
            return Err(
                "redirect_listen is set without TLS for functions, expected tls_cert and tls_key".to_owned()
            );
        }
        if self.admin_client_ca.is_some() && self.admin_tls.is_none() {
            return Err(
                "admin_client_ca is set without TLS for the admin API, expected admin_tls_cert and admin_tls_key"
                    .to_owned(),
            );
        }
        if !self.admin_certificates.is_empty() && self.admin_client_ca.is_none() {
            return Err(
                "admin_tls.clients is set without client_ca, expected the authorities of their certificates"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Certificates and their keys, by their order.
fn key_pairs(certs: Vec<PathBuf>, keys: Vec<PathBuf>) -> Result<Vec<KeyPairFiles>, String> {
    if certs.len() != keys.len() {
        let (certs, keys) = (certs.len(), keys.len());
        return Err(format!(
            "found {certs} of tls_cert and {keys} of tls_key, expected a key for each certificate"
        ));
    }
    Ok(certs.into_iter().zip(keys).map(|(cert, key)| KeyPairFiles { cert, key }).collect())
}

/// The certificate and the key of the admin API.
fn key_pair(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<KeyPairFiles>, String> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(KeyPairFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err("admin_tls_cert is set without its key, expected admin_tls_key".to_owned()),
        (None, Some(_)) => {
            Err("admin_tls_key is set without its certificate, expected admin_tls_cert".to_owned())
        }
    }
}
