//! The URLs of versions.

use serde::Serialize;
use wasm_fn_api as api;
use wasm_fn_core::Scheme;

use super::tables;

/// The node's answer, with the addresses as URLs.
#[derive(Serialize)]
pub(crate) struct Shown {
    function: String,
    stage: String,
    access: String,
    /// For the header `wasm-fn-token`, if a token is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Newest first.
    pub(crate) versions: Vec<ShownVersion>,
}

/// A version's URLs, with the token if one is needed.
#[derive(Serialize)]
pub(crate) struct ShownVersion {
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<api::VersionRole>,
    /// By its path on this node.
    url: String,
    /// By its host name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_url: Option<String>,
    /// Why it has no host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_host: Option<String>,
}

impl Shown {
    /// Converts `preview` for a node that serves functions at `data` by `scheme`.
    pub(crate) fn new(preview: api::PreviewView, scheme: Scheme, data: &str) -> Self {
        let api::PreviewView { function, stage, access, token, guest_path, addresses } = preview;
        let query = token.as_ref().map(|token| format!("?wasm-fn-preview={token}")).unwrap_or_default();
        let scheme = scheme.as_str();
        let port = data.rsplit_once(':').map(|(_, port)| format!(":{port}")).unwrap_or_default();
        let versions = addresses.into_iter().map(|address| {
            let api::PreviewAddress { version, role, path, host, no_host } = address;
            let host_url = host.map(|host| format!("{scheme}://{host}{port}{guest_path}{query}"));
            ShownVersion { version, role, url: format!("{scheme}://{data}{path}{query}"), host_url, no_host }
        });
        let versions = versions.collect();
        Self { function, stage, access, token, versions }
    }

    /// One line per URL.
    pub(crate) fn table(&self) -> String {
        let mut table = tables::table(&["VERSION", "ROLE", "ADDRESS"], &[]);
        for version in &self.versions {
            for url in [Some(&version.url), version.host_url.as_ref()].into_iter().flatten() {
                let role = version.role.map_or("-", tables::role_word);
                tables::row(&mut table, [version.version.clone(), role.to_owned(), url.clone()]);
            }
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests;
