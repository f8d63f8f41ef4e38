//! What is asked: a cycle of requests that both clients send alike, and the answer that all of them must get.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::zipf;

/// The header whose value names the user, where a split is sticky.
pub(crate) const USER_HEADER: &str = "x-user";

/// Users that take turns: enough that a tenth of them is about a tenth, and few enough that 64 KiB from each
/// stay in the client's cache.
const USERS: usize = 100;

/// Requests until the cycle of a Zipf load begins anew.
const ZIPF_LEN: usize = 20_000;

/// The line of a head that ends the connection with the answer.
const CLOSE: &str = "connection: close\r\n";

/// Has `wrk` print how many answers it received and how many bytes, where its own report rounds.
const REPORT: &str = "\
function done(summary)
  io.write(string.format(\"Received: %d answers, %d bytes\\n\", summary.requests, summary.bytes))
end
";

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Value of [`USER_HEADER`].
    pub(crate) user: Option<String>,
    /// Posted when there is one; printable ASCII without quotes and backslashes.
    pub(crate) body: Option<String>,
}

/// The requests of a load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Requests {
    /// The different ones, at least one.
    pub(crate) all: Vec<Request>,
    /// Their order, places in `all`, over and over; at least one.
    pub(crate) order: Vec<usize>,
    /// The body of every answer.
    pub(crate) answer: String,
    /// Whether the connection ends with the answer, so that each request has one of its own.
    pub(crate) closing: bool,
}

impl Requests {
    /// The same request again and again.
    pub(crate) fn same(path: &str, body: Option<&str>, answer: &str) -> Self {
        let only = Request { path: path.to_owned(), user: None, body: body.map(str::to_owned) };
        Self { all: vec![only], order: vec![0], answer: answer.to_owned(), closing: false }
    }

    /// The same from many users in turn.
    pub(crate) fn of_users(self) -> Self {
        let first = &self.all[0];
        let all = (0..USERS).map(|user| Request { user: Some(format!("user-{user}")), ..first.clone() });
        Self { all: all.collect(), order: (0..USERS).collect(), ..self }
    }

    /// To many functions by Zipf's law.
    pub(crate) fn by_zipf(functions: &[String], answer: &str) -> Self {
        let all = functions
            .iter()
            .map(|function| Request { path: format!("/{function}"), user: None, body: None })
            .collect();
        let order = zipf::draws(functions.len(), ZIPF_LEN);
        Self { all, order, answer: answer.to_owned(), closing: false }
    }

    /// The same, each on a connection of its own.
    pub(crate) fn closing(self) -> Self {
        Self { closing: true, ..self }
    }

    /// The first of them, as it goes to `host` over HTTP/1.1.
    pub(crate) fn first(&self, host: &str) -> Vec<u8> {
        let close = if self.closing { CLOSE } else { "" };
        self.all[0].bytes_with(host, close)
    }

    /// What `wrk` runs to send them, and to report how much it received. It runs nothing for each request
    /// unless it must, which is cheapest.
    pub(crate) fn script(&self) -> String {
        let send = match &self.all[..] {
            [Request { user: None, body: None, .. }] => String::new(),
            // It formats the request once, and copies nothing afterwards.
            [Request { user: None, body: Some(body), .. }] => {
                format!("wrk.method = \"POST\"\nwrk.body = \"{body}\"\n")
            }
            _ => self.cycle(),
        };
        let close = if self.closing { "wrk.headers[\"connection\"] = \"close\"\n" } else { "" };
        format!("{send}{close}{REPORT}")
    }

    /// A script that has the requests ready and sends one after the other.
    fn cycle(&self) -> String {
        let mut script = String::from("local requests, at = {}, 0\nlocal order = {");
        for place in &self.order {
            // Lua counts from 1.
            let _infallible = write!(script, "{},", place + 1);
        }
        script.push_str("}\nfunction init()\n");
        for (place, request) in self.all.iter().enumerate() {
            let Request { path, user, body } = request;
            let method = if body.is_some() { "POST" } else { "GET" };
            let headers =
                user.as_ref().map_or_else(String::new, |user| format!("[\"{USER_HEADER}\"] = \"{user}\""));
            let body = body.as_ref().map_or_else(|| "nil".to_owned(), |body| format!("\"{body}\""));
            let _infallible = writeln!(
                script,
                "  requests[{}] = wrk.format(\"{method}\", \"{path}\", {{ {headers} }}, {body})",
                place + 1,
            );
        }
        script
            .push_str("end\nfunction request()\n  at = at % #order + 1\n  return requests[order[at]]\nend\n");
        script
    }
}

impl Request {
    /// As it goes to `host` over HTTP/1.1.
    pub(crate) fn bytes(&self, host: &str) -> Vec<u8> {
        self.bytes_with(host, "")
    }

    /// The same, with the `more` lines in its head.
    fn bytes_with(&self, host: &str, more: &str) -> Vec<u8> {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        let mut text = format!("{method} {} HTTP/1.1\r\nhost: {host}\r\n{more}", self.path);
        if let Some(user) = &self.user {
            let _infallible = write!(text, "{USER_HEADER}: {user}\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        if self.body.is_some() {
            let _infallible = write!(text, "content-length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        text.push_str(body);
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests;
