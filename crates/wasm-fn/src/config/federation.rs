//! `[[serve.oidc]]` and `[[serve.admin_tls.clients]]`: whom a node trusts besides its own tokens.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use wasm_fn_access::{ClaimRule, ClaimRules, Rights};
use wasm_fn_admin::{CertificateRule, ClientIdentity};
use wasm_fn_api::RightsSpec;
use wasm_fn_oidc::SignatureAlgorithm;

use super::toml_file::{BadValue, duration};
use crate::node::TrustedIssuer;

/// By how much clocks may differ if nothing is said.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// By how much they may differ at most.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// Beginning of a SPIFFE ID.
const SPIFFE: &str = "spiffe://";

/// `[[serve.oidc]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOidc {
    issuer: String,
    audience: String,
    algorithms: Option<Vec<String>>,
    clock_skew: Option<String>,
    ca: Option<PathBuf>,
    #[serde(default)]
    rules: Vec<RawRule>,
}

/// `[[serve.oidc.rules]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    stages: Vec<String>,
}

/// `[[serve.admin_tls.clients]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClient {
    spiffe: Option<String>,
    dns: Option<String>,
    cn: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    stages: Vec<String>,
}

/// Reads all of `[[serve.oidc]]`, in a file in `folder`.
pub(super) fn issuers(raw: Vec<RawOidc>, folder: &Path) -> Result<Vec<TrustedIssuer>, BadValue> {
    let mut issuers: Vec<TrustedIssuer> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("serve.oidc[{index}]");
        let trusted = raw.resolve(&key, folder)?;
        if issuers.iter().any(|earlier| earlier.issuer == trusted.issuer) {
            let reason = format!("found {} twice, expected each issuer once", trusted.issuer);
            return Err(BadValue::new(format!("{key}.issuer"), reason));
        }
        issuers.push(trusted);
    }
    Ok(issuers)
}

/// Reads all of `[[serve.admin_tls.clients]]`.
pub(super) fn clients(raw: Vec<RawClient>) -> Result<Vec<CertificateRule>, BadValue> {
    let mut rules: Vec<CertificateRule> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("serve.admin_tls.clients[{index}]");
        let rule = raw.resolve(&key)?;
        if rules.iter().any(|earlier| earlier.identity == rule.identity) {
            let reason = format!("found {} twice, expected each client once", rule.identity);
            return Err(BadValue::new(key, reason));
        }
        rules.push(rule);
    }
    Ok(rules)
}

impl RawOidc {
    fn resolve(self, key: &str, folder: &Path) -> Result<TrustedIssuer, BadValue> {
        let at = |name: &str| format!("{key}.{name}");
        let issuer = self.issuer.parse().map_err(|error| BadValue::new(at("issuer"), error))?;
        if self.audience.is_empty() {
            let reason = "found an empty text, expected the audience that tokens for this node have";
            return Err(BadValue::new(at("audience"), reason));
        }
        let algorithms = match self.algorithms {
            None => SignatureAlgorithm::DEFAULT.to_vec(),
            Some(names) if names.is_empty() => {
                let reason = "found no algorithm, expected RS256, PS256, ES256, ES384 or EdDSA";
                return Err(BadValue::new(at("algorithms"), reason));
            }
            Some(names) => {
                let algorithms: Result<_, _> = names.iter().map(|name| name.parse()).collect();
                algorithms.map_err(|error| BadValue::new(at("algorithms"), error))?
            }
        };
        let clock_skew = duration(&at("clock_skew"), self.clock_skew)?.unwrap_or(CLOCK_SKEW);
        if clock_skew > CLOCK_SKEW_MAX {
            let found = humantime::format_duration(clock_skew);
            return Err(BadValue::new(at("clock_skew"), format!("found {found}, expected 0s to 5m")));
        }
        let rule = |(index, rule): (usize, RawRule)| rule.resolve(&format!("{key}.rules[{index}]"));
        let rules = self.rules.into_iter().enumerate().map(rule).collect::<Result<Vec<_>, _>>()?;
        let rules = ClaimRules::new(rules).map_err(|error| BadValue::new(at("rules"), error))?;
        let (audience, ca) = (self.audience, self.ca.map(|ca| folder.join(ca)));
        Ok(TrustedIssuer { issuer, audience, algorithms, clock_skew, ca, rules })
    }
}

impl RawRule {
    fn resolve(self, key: &str) -> Result<ClaimRule, BadValue> {
        let Self { name, claims, roles, functions, stages } = self;
        let name = name.parse().map_err(|error| BadValue::new(format!("{key}.name"), error))?;
        let rights = rights(key, roles, functions, stages)?;
        ClaimRule::new(name, claims, rights).map_err(|error| BadValue::new(format!("{key}.claims"), error))
    }
}

impl RawClient {
    fn resolve(self, key: &str) -> Result<CertificateRule, BadValue> {
        let Self { spiffe, dns, cn, roles, functions, stages } = self;
        let identity = match (spiffe, dns, cn) {
            (Some(id), None, None) if !id.starts_with(SPIFFE) => {
                let reason = format!("found {id:?}, expected a text that begins with {SPIFFE}");
                return Err(BadValue::new(format!("{key}.spiffe"), reason));
            }
            (Some(id), None, None) => ClientIdentity::Spiffe(id),
            (None, Some(name), None) => ClientIdentity::Dns(name.to_ascii_lowercase()),
            (None, None, Some(name)) => ClientIdentity::CommonName(name),
            (spiffe, dns, cn) => {
                let found = [spiffe, dns, cn].iter().flatten().count();
                return Err(BadValue::new(key, format!("found {found} of spiffe, dns and cn, expected one")));
            }
        };
        if identity.as_str().is_empty() {
            return Err(BadValue::new(key, "found an empty name, expected that of a certificate"));
        }
        Ok(CertificateRule { identity, rights: rights(key, roles, functions, stages)? })
    }
}

fn rights(
    key: &str,
    roles: Vec<String>,
    functions: Vec<String>,
    stages: Vec<String>,
) -> Result<Rights, BadValue> {
    let field = |name: &str| format!("{key}.{name}");
    // One by one, so that an error names the key.
    let part = |name, part: RightsSpec| Rights::try_from(&part).map_err(|e| BadValue::new(field(name), e));
    let all = RightsSpec { roles, functions: Vec::new(), stages: Vec::new() };
    part("roles", all.clone())?;
    let all = RightsSpec { functions, ..all };
    part("functions", all.clone())?;
    part("stages", RightsSpec { stages, ..all })
}

#[cfg(test)]
mod tests;
