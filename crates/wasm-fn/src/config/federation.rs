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
use crate::node::{PublicClient, TrustedIssuer};

/// By how much clocks may differ if nothing is said.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// By how much they may differ at most.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// The scopes that are asked for if nothing is said: those of an ID token.
pub(crate) const LOGIN_SCOPES: [&str; 1] = ["openid"];

/// Most scopes of a login.
const SCOPES_MAX: usize = 32;

/// Longest client id and scope, bytes.
const WORD_BYTES_MAX: usize = 256;

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
    login: Option<RawLogin>,
}

/// `[serve.oidc.login]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLogin {
    client_id: String,
    scopes: Option<Vec<String>>,
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
        let login = self.login.map(|login| login.resolve(&at("login"), &self.audience)).transpose()?;
        let (audience, ca) = (self.audience, self.ca.map(|ca| folder.join(ca)));
        Ok(TrustedIssuer { issuer, audience, algorithms, clock_skew, ca, rules, login })
    }
}

impl RawLogin {
    fn resolve(self, key: &str, audience: &str) -> Result<PublicClient, BadValue> {
        // The characters of RFC 6749, appendices A.1 and A.4; a client id may also have spaces there.
        let is_word = |text: &str, without: &[u8]| {
            (1..=WORD_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !without.contains(&byte))
        };
        let client_id = self.client_id;
        if !is_word(&client_id, b"") {
            let reason = format!("found {client_id:?}, expected 1 to 256 visible ASCII characters");
            return Err(BadValue::new(format!("{key}.client_id"), reason));
        }
        let usual = || LOGIN_SCOPES.map(str::to_owned).to_vec();
        let scopes = self.scopes.unwrap_or_else(usual);
        let refused = |reason: String| Err(BadValue::new(format!("{key}.scopes"), reason));
        if scopes.len() > SCOPES_MAX {
            return refused(format!("found {} scopes, expected at most {SCOPES_MAX}", scopes.len()));
        }
        if let Some(scope) = scopes.iter().find(|scope| !is_word(scope, b"\"\\")) {
            let expected = "visible ASCII characters without quotes and backslashes";
            return refused(format!("found {scope:?}, expected {expected}"));
        }
        if client_id == audience && !scopes.iter().any(|scope| scope == "openid") {
            let expected = "expected also openid: the audience is that of ID tokens";
            return refused(format!("found {}, {expected}", scopes.join(" ")));
        }
        Ok(PublicClient { client_id, scopes })
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
