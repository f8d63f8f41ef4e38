//! What the guests of a version may send, and where.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Semaphore;
use wasm_fn_core::{EgressLimits, EgressRule, Limits, Network, VersionNo};
use wasmtime_wasi_http::Error;

use super::{
    address::{Class, Grounds, Opened, Prohibited, judge, reached},
    error,
    listeners::{Listeners, is_local},
    lookup::{ADDRESSES_MAX, LOOKUPS_MAX, Resolve, SystemResolver, lookup},
    target::Target,
    trust::TrustedRoots,
};
use crate::guest_host::logs::{GuestLogStream, LogRing, Served};

/// What the node says about outgoing requests, for all functions.
#[derive(Clone, Debug)]
pub struct EgressOptions {
    /// The certificate authorities that they trust.
    pub roots: TrustedRoots,
    /// Networks without public addresses that functions may reach by name.
    pub private: Vec<Network>,
    /// The node's own sockets.
    pub listeners: Listeners,
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolve>,
}

impl EgressOptions {
    /// Outgoing requests to public addresses and to servers that public authorities vouch for, by the
    /// system's resolver. No socket is the node's own.
    pub fn public() -> Self {
        Self {
            roots: TrustedRoots::public(),
            private: Vec::new(),
            listeners: Listeners::default(),
            resolver: Arc::new(SystemResolver::new()),
        }
    }

    /// How the node itself connects over TLS to what a function names.
    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        self.roots.config()
    }

    /// Decides whether the node may connect to `address`, which a function's trigger names as that of a
    /// broker. Brokers are private as a rule, so private and loopback addresses are permitted.
    ///
    /// # Errors
    /// What it is that no broker is: the node itself, the metadata of a cloud, a link-local address, or none
    /// that a server has.
    pub fn judge_broker(&self, address: SocketAddr) -> Result<(), String> {
        let ip = reached(address.ip());
        let mut socket = address;
        if ip != address.ip() {
            socket.set_ip(ip);
        }
        if self.listeners.at(socket, is_local).is_some() {
            return Err("the node itself".to_owned());
        }
        match Class::of(ip) {
            Class::Public | Class::Loopback | Class::Private | Class::Reserved => Ok(()),
            class => Err(class.to_string()),
        }
    }
}

/// What the guests of a version may send.
pub(crate) struct EgressPolicy {
    pub(super) rules: Box<[EgressRule]>,
    pub(super) limits: EgressLimits,
    /// Time of one request.
    pub(super) timeout: Duration,
    pub(super) node: Arc<EgressOptions>,
    log: Arc<LogRing>,
    version: VersionNo,
    lookups: Arc<Semaphore>,
}

impl EgressPolicy {
    /// The policy of `version`, whose function writes to `log`.
    pub(crate) fn new(
        rules: Vec<EgressRule>,
        limits: &Limits,
        node: Arc<EgressOptions>,
        version: VersionNo,
        log: Arc<LogRing>,
    ) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let timeout = limits.egress.timeout.unwrap_or(limits.timeout);
        Self { rules: rules.into(), limits: limits.egress.clone(), timeout, node, log, version, lookups }
    }

    /// Where `uri` leads.
    ///
    /// # Errors
    /// The URI is invalid, or its origin is not allowed.
    pub(super) fn target(&self, uri: &http::Uri, served: Served) -> Result<Target, Error> {
        let target = Target::of(uri)?;
        if self.rules.iter().any(|rule| target.is_allowed_by(rule)) {
            return Ok(target);
        }
        self.log_denied(served, &format!("{target} is not an origin that `egress` names"));
        Err(Error::HttpRequestDenied)
    }

    /// The addresses of `target` that a request may connect to.
    ///
    /// # Errors
    /// It has none, or none of them is permitted.
    pub(super) async fn addresses(&self, target: &Target, served: Served) -> Result<Vec<SocketAddr>, Error> {
        let mut found = match target.socket() {
            Some(address) => vec![address],
            None => lookup(&*self.node.resolver, &self.lookups, target.host(), target.port)
                .await
                .map_err(|error| error::of_lookup(&error))?,
        };
        found.truncate(ADDRESSES_MAX);
        self.permitted(target, found, served)
    }

    /// Those of `found` that a request to `target` may connect to.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn permitted(
        &self,
        target: &Target,
        mut found: Vec<SocketAddr>,
        served: Served,
    ) -> Result<Vec<SocketAddr>, Error> {
        let mut prohibited = None;
        found.retain(|&address| match self.judge(target, address) {
            Ok(()) => true,
            Err(rule) => {
                prohibited.get_or_insert((address, rule));
                false
            }
        });
        if !found.is_empty() {
            return Ok(found);
        }
        let Some((address, rule)) = prohibited else { return Err(error::no_address()) };
        self.log_denied(served, &format!("{target} leads to {}: {rule}", address.ip()));
        Err(Error::DestinationIpProhibited)
    }

    fn judge(&self, target: &Target, address: SocketAddr) -> Result<(), Prohibited> {
        // Only what is connected to as such keeps its scope.
        let (reached, port) = (reached(address.ip()), address.port());
        let mut socket = address;
        if reached != address.ip() {
            socket.set_ip(reached);
        }
        let is_named = self.rules.iter().any(|rule| rule.names(target.scheme, reached, port));
        let own = self.node.listeners.at(socket, is_local);
        judge(address.ip(), Grounds { is_named, opened: self.opened(reached), own })
    }

    fn opened(&self, address: IpAddr) -> Opened {
        let networks = || self.node.private.iter().filter(|network| network.contains(address));
        if networks().any(Network::is_single) {
            Opened::Itself
        } else if networks().next().is_some() {
            Opened::AsPart
        } else {
            Opened::No
        }
    }

    /// Tells the function's log what its invocation `served` was refused, and why.
    pub(super) fn log_denied(&self, served: Served, why: &str) {
        tracing::debug!(why, "outgoing request refused");
        self.log.push(self.version, served, GuestLogStream::Host, format!("egress-denied: {why}"));
    }
}
