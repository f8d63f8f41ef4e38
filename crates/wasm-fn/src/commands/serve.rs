//! `wasm-fn serve`: runs a node until it has drained, or until a new process has taken over.

use std::time::Duration;

use wasm_fn_control::OpenError;
use wasm_fn_pool::PlanOptions;
use wasm_fn_telemetry::{AccessLog, Telemetry};

use super::DONE;
use crate::{
    args, config,
    fault::Fault,
    machine,
    node::{Node, NodeOptions, Signals},
};

/// How long telemetry may take to be sent when the node has ended.
const TELEMETRY_PATIENCE: Duration = Duration::from_secs(3);

/// The part of all connections that one address may have, unless the configuration says otherwise.
const PER_ADDRESS_DIVISOR: u32 = 4;

pub(super) async fn run(args: args::Serve, telemetry: Telemetry) -> Result<u8, Fault> {
    let config = config::Serve::resolve(&args)?;
    let telemetry = with_access_log(telemetry, &config)?;
    let telemetry = match config.traces {
        Some(share) => telemetry.with_kept_traces(config::sampler(share)),
        None => telemetry,
    };
    let drain_timeout = config.drain_timeout;
    let signals = Signals::listen();
    let mut signals = signals.map_err(|error| Fault::new("system", "signals cannot be received", error))?;
    machine::raise_descriptors();
    let node = Node::start_service(options(config, telemetry.clone())?).await;
    let node = node.map_err(|error| not_started(&error))?;
    signals.obey(node, drain_timeout).await;
    telemetry.stop(TELEMETRY_PATIENCE).await;
    Ok(DONE)
}

/// Why the node did not start.
fn not_started(error: &anyhow::Error) -> Fault {
    let fault = Fault::caused("start", "the node did not start", error);
    match error.downcast_ref() {
        Some(OpenError::Key(_)) => fault.help(
            "start it with the key that it had: as secrets.key in the data directory, in WASM_FN_SECRETS_KEY, or by \
             `secrets_key_command`",
        ),
        _ => fault,
    }
}

/// `telemetry`, with the access log that `config` says. Blocks.
fn with_access_log(telemetry: Telemetry, config: &config::Serve) -> Result<Telemetry, Fault> {
    let Some(options) = &config.access_log else { return Ok(telemetry) };
    let opened = AccessLog::open(options.target.clone(), options.sampler());
    let opened = opened.map_err(|error| Fault::new("start", "the access log cannot be opened", error))?;
    Ok(telemetry.with_access_log(opened))
}

fn options(config: config::Serve, telemetry: Telemetry) -> Result<NodeOptions, Fault> {
    let asked =
        PlanOptions { instances_max: config.instances_max, memory_max_bytes: config.memory_max_bytes };
    let connections_max = machine::connections_max(config.connections_max);
    Ok(NodeOptions {
        listen: config.listen,
        admin: config.admin,
        data_dir: config.data_dir,
        pool: machine::plan(asked)?,
        connections_max,
        connections_per_address: config
            .connections_per_address
            .unwrap_or_else(|| connections_max.div_ceil(PER_ADDRESS_DIVISOR)),
        body_bytes_max: config.body_max_bytes,
        component_bytes_max: config.component_max_bytes,
        code_bytes_max: config.code_memory_bytes,
        isolation: config.isolation,
        overrides_open: config.allow_overrides,
        show_shielded: config.show_shielded,
        trusted_proxies: config.trusted_proxies,
        proxy_protocol: config.proxy_protocol,
        preview_domain: config.preview_domain,
        egress_ca: config.egress_ca,
        secrets_key_command: config.secrets_key_command,
        core_dumps_allowed: config.allow_core_dumps,
        egress_private: config.egress_private,
        artifact_sources: config.artifact_sources,
        stage_rules: config.stage_rules,
        tls: config.tls,
        acme: config.acme,
        redirect_listen: config.redirect_listen,
        admin_tls: config.admin_tls,
        admin_client_ca: config.admin_client_ca,
        admin_certificates: config.admin_certificates,
        oidc: config.oidc,
        insecure_admin: config.insecure_admin,
        metrics_series_max: config.metrics_series_max,
        cluster: config.cluster,
        telemetry,
    })
}
