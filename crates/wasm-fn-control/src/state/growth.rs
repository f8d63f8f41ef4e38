//! What a version can do beyond another. Pure: it compares builds, and neither reads components nor decides
//! who may accept the difference.
//!
//! Only what reaches beyond an instance, or takes more of the node for one, counts. A setting that becomes
//! part of this comparison has a line in [`Growth::between`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use wasm_fn_core::{BucketConfig, BucketName, Digest, FunctionConfig, SecretName, format_bytes};

/// Packages of WASI that every component may import: they reach nothing outside the instance, because the
/// node gives it no directory, no socket and no terminal.
const INERT: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Interfaces with types only.
const TYPES: &str = "/types";

/// The names of one interface in several versions of WASI.
const OUTGOING: [&str; 2] = ["wasi:http/outgoing-handler", "wasi:http/client"];

/// The interfaces that components import, without their versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports(BTreeMap<Digest, BTreeSet<String>>);

/// What a version can do beyond another, as texts such as `egress https://api.example.com`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growth(Vec<String>);

impl Imports {
    /// Notes what a component imports.
    pub fn insert(&mut self, component: Digest, interfaces: impl IntoIterator<Item = String>) {
        self.0.insert(component, interfaces.into_iter().collect());
    }

    /// What the component imports; `None` if that is not noted.
    pub(super) fn of(&self, component: Digest) -> Option<&BTreeSet<String>> {
        self.0.get(&component)
    }
}

impl Growth {
    /// What `after` can do beyond `before`, or everything it can do if there is no version before. Each is a
    /// configuration, and the interfaces that the component imports.
    pub fn between(
        before: Option<(&FunctionConfig, &BTreeSet<String>)>,
        after: (&FunctionConfig, &BTreeSet<String>),
    ) -> Self {
        let (old, (new, imports)) = (before.map(|(config, _)| config), after);
        let mut grown = Vec::new();

        let known: BTreeSet<_> = before.iter().flat_map(|(_, imports)| effective(imports)).collect();
        let added = effective(imports).filter(|interface| !known.contains(interface));
        grown.extend(added.map(|interface| format!("import {interface}")));

        let rules = old.map(|old| &*old.egress).unwrap_or_default();
        let added = new.egress.iter().filter(|rule| !rules.iter().any(|known| known.covers(rule)));
        grown.extend(added.map(|rule| format!("egress {rule}")));

        let names = |name: &&String| !old.is_some_and(|old| old.env.contains_key(*name));
        grown.extend(new.env.keys().filter(names).map(|name| format!("env {name}")));

        let names = |name: &&SecretName| !old.is_some_and(|old| old.secrets.contains(*name));
        grown.extend(new.secrets.iter().filter(names).map(|name| format!("secret {name}")));

        for (name, bucket) in &new.buckets {
            match old.and_then(|old| old.buckets.get(name)) {
                None => grown.push(format!("bucket {name}")),
                Some(old) => grown.extend(larger(name, old, bucket)),
            }
        }

        let mut more = |key, old: Option<u64>, new: u64, shown: fn(u64) -> String| match old {
            None => grown.push(format!("{key} {}", shown(new))),
            Some(old) if new > old => grown.push(format!("{key} {} -> {}", shown(old), shown(new))),
            Some(_) => {}
        };
        more("memory", old.map(|old| old.limits.memory_bytes), new.limits.memory_bytes, format_bytes);
        more("cpu", old.map(cpu_ms), cpu_ms(new), time);
        // The entries of a version that could send nothing say enough.
        if let Some(old) = old.filter(|old| !old.egress.is_empty() && !new.egress.is_empty()) {
            let (old, new) = (&old.limits.egress, &new.limits.egress);
            more("egress_requests", Some(old.requests.into()), new.requests.into(), |count| {
                count.to_string()
            });
            more("egress_bytes", Some(old.bytes), new.bytes, format_bytes);
        }
        Self(grown)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts.
    pub fn texts(&self) -> &[String] {
        &self.0
    }
}

/// What `new` may keep in the bucket `name` beyond `old`.
fn larger<'a>(
    name: &'a BucketName,
    old: &BucketConfig,
    new: &BucketConfig,
) -> impl Iterator<Item = String> + 'a {
    let bytes = (old.bytes_max, new.bytes_max, format_bytes as fn(u64) -> String);
    let keys = (old.keys_max, new.keys_max, (|count| count.to_string()) as fn(u64) -> String);
    let limits = [("bytes_max", bytes), ("keys_max", keys)].into_iter();
    limits
        .filter(|(_, (old, new, _))| new > old)
        .map(move |(key, (old, new, shown))| format!("bucket {name} {key} {} -> {}", shown(old), shown(new)))
}

/// Those of `imports` that reach beyond an instance.
fn effective(imports: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    let reaches = |name: &&str| !name.ends_with(TYPES) && !INERT.iter().any(|inert| name.starts_with(inert));
    let names = imports.iter().map(String::as_str).filter(reaches);
    names.map(|name| if OUTGOING.contains(&name) { OUTGOING[0] } else { name })
}

/// Time that an invocation may compute, milliseconds.
fn cpu_ms(config: &FunctionConfig) -> u64 {
    let limit = config.limits.cpu.unwrap_or(config.limits.timeout);
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

fn time(ms: u64) -> String {
    format!("{:?}", Duration::from_millis(ms))
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

#[cfg(test)]
mod tests;
