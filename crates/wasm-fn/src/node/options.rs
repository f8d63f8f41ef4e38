//! Options of a node.

use std::{net::SocketAddr, path::PathBuf};

use wasm_fn_admin::CertificateRule;
use wasm_fn_control::state::StageRules;
use wasm_fn_core::{Network, PreviewDomain};
use wasm_fn_pool::PoolPlan;
use wasm_fn_runtime::IsolationOptions;
use wasm_fn_telemetry::Telemetry;

use crate::{acme::AcmeOptions, config::ClusterPlace, tls::KeyPairFiles};

use super::{deploying::ArtifactSource, federation::TrustedIssuer, secrets_key::KeyCommand};

/// Options to start a node with.
#[derive(Clone, Debug)]
pub(crate) struct NodeOptions {
    /// Address that serves functions; port 0 takes any free port.
    pub(crate) listen: SocketAddr,
    /// Address that serves the admin API; port 0 takes any free port.
    pub(crate) admin: SocketAddr,
    /// Directory that holds all data.
    pub(crate) data_dir: PathBuf,
    /// Instances and their memory.
    pub(crate) pool: PoolPlan,
    /// Maximum number of open connections.
    pub(crate) connections_max: u32,
    /// Maximum number of open connections of one address.
    pub(crate) connections_per_address: u32,
    /// Maximum size of a request body, bytes.
    pub(crate) body_bytes_max: u64,
    /// Maximum size of a component, bytes.
    pub(crate) component_bytes_max: u64,
    /// Maximum memory for native code, bytes.
    pub(crate) code_bytes_max: u64,
    /// What holds guests apart.
    pub(crate) isolation: IsolationOptions,
    /// Whether any client may choose its version, without a token.
    pub(crate) overrides_open: bool,
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
    pub(crate) core_dumps_allowed: bool,
    /// Networks without public addresses that outgoing requests may reach by name.
    pub(crate) egress_private: Vec<Network>,
    /// Where artifacts of triggers that deploy may come from; none for anywhere.
    pub(crate) artifact_sources: Vec<ArtifactSource>,
    /// What is asked of releases to stages.
    pub(crate) stage_rules: StageRules,
    /// Certificates and keys with which functions are served over TLS; plain HTTP if there are none.
    pub(crate) tls: Vec<KeyPairFiles>,
    /// The certificate to get by ACME, beside those.
    pub(crate) acme: Option<AcmeOptions>,
    /// Address that redirects clients of plain HTTP to https; port 0 takes any free port.
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
    /// The cluster that the node is in; `None` if it is alone.
    pub(crate) cluster: Option<ClusterPlace>,
    /// Sends traces and logs, and writes the access log.
    pub(crate) telemetry: Telemetry,
}

impl NodeOptions {
    /// A node inside of a command, for whoever runs it: without TLS and with few connections and series.
    pub(crate) fn inside_command(
        listen: SocketAddr,
        admin: SocketAddr,
        data_dir: PathBuf,
        pool: PoolPlan,
    ) -> Self {
        Self {
            listen,
            admin,
            data_dir,
            pool,
            connections_max: 1000,
            connections_per_address: 1000,
            body_bytes_max: 10 << 20,
            component_bytes_max: 256 << 20,
            code_bytes_max: 1 << 30,
            isolation: IsolationOptions::USUAL,
            overrides_open: false,
            show_shielded: false,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            preview_domain: None,
            egress_ca: None,
            secrets_key_command: None,
            core_dumps_allowed: false,
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
            metrics_series_max: 10_000,
            cluster: None,
            telemetry: Telemetry::off(),
        }
    }
}
