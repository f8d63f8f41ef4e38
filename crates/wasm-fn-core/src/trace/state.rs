//! The `tracestate` header: what other tracing systems want to be passed on (W3C Trace Context, section 3.3).

use std::fmt;

/// Most members of a list (section 3.3.1.1).
const MEMBERS_MAX: usize = 32;

/// Most bytes of a list; so many have to be passed on (section 3.3.1.5).
const BYTES_MAX: usize = 512;

/// Most characters of a value (section 3.3.1.3.2).
const VALUE_MAX: usize = 256;

/// A valid list, which is passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceState(Box<str>);

impl TraceState {
    /// The list in the header's lines, in their order; `None` if it is malformed, empty, or longer than 512
    /// bytes.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut keys: Vec<&str> = Vec::new();
        let mut list = String::new();
        for member in lines.into_iter().flat_map(|line| line.split(|&byte| byte == b',')) {
            let member = std::str::from_utf8(member).ok()?.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
                return None;
            }
            keys.push(key);
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(member);
            if list.len() > BYTES_MAX {
                return None;
            }
        }
        (!list.is_empty()).then(|| Self(list.into()))
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether `key` is one: a name, or those of a tenant and a system (section 3.3.1.3.1).
fn is_key(key: &str) -> bool {
    let part = |part: &str, first_max: &[fn(&u8) -> bool], max: usize| {
        let rest = |byte: &u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/')
        };
        (1..=max).contains(&part.len())
            && first_max.iter().any(|first| first(&part.as_bytes()[0]))
            && part.as_bytes().iter().all(rest)
    };
    match key.split_once('@') {
        None => part(key, &[u8::is_ascii_lowercase], 256),
        Some((tenant, system)) => {
            part(tenant, &[u8::is_ascii_lowercase, u8::is_ascii_digit], 241)
                && part(system, &[u8::is_ascii_lowercase], 14)
        }
    }
}

/// Whether `value` is one: printable, without `,` and `=`, and without a space at its end.
fn is_value(value: &str) -> bool {
    let is_part = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    (1..=VALUE_MAX).contains(&value.len()) && value.bytes().all(is_part) && !value.ends_with(' ')
}
