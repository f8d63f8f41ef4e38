//! What a person does in a browser at oidc-provider: its pages are forms with hidden fields.

use std::{collections::BTreeMap, net::SocketAddr};

use http::{Request, StatusCode, Uri};

use crate::harness::client::{Answer, Client};

/// Most pages on the way to one that is no form.
const PAGES_MAX: usize = 10;

/// A browser with its cookies, by path and name.
#[derive(Default)]
pub(super) struct Browser {
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    /// Opens `address`, logs in as `user`, and confirms whatever is asked.
    pub(super) async fn confirm(&mut self, address: &str, user: &str) {
        let mut page = self.open(address, None).await;
        for _ in 0..PAGES_MAX {
            let Some((action, mut fields)) = form(&page) else {
                assert!(page.contains("Sign-in Success"), "{page}");
                return;
            };
            if page.contains("name=\"login\"") {
                fields.extend([("login", user), ("password", "any")]);
            }
            page = self.open(action, Some(&fields)).await;
        }
        panic!("there is no end of pages: {page}");
    }

    /// Opens `address`, and aborts where it is to be confirmed.
    pub(super) async fn deny(&mut self, address: &str) {
        let entry = self.open(address, None).await;
        let (action, fields) = form(&entry).expect("the code is in a form");
        let question = self.open(action, Some(&fields)).await;
        let (action, mut fields) = form(&question).expect("it is asked to confirm");
        fields.push(("abort", "yes"));
        let page = self.open(action, Some(&fields)).await;
        assert!(page.contains("The Sign-in request was interrupted"), "{page}");
    }

    /// The page at `address`, or where it leads to.
    async fn open(&mut self, address: &str, fields: Option<&[(&str, &str)]>) -> String {
        let mut answer = self.send(address, fields).await;
        for _ in 0..PAGES_MAX {
            if !answer.status.is_redirection() {
                assert!(answer.status == StatusCode::OK, "{address}: {}", answer.text());
                return answer.text();
            }
            let base: Uri = address.parse().expect("it is a URL");
            let location = answer.header("location").to_owned();
            let next = if location.starts_with('/') {
                format!("http://{}{location}", base.authority().expect("it has a host"))
            } else {
                location
            };
            answer = self.send(&next, None).await;
        }
        panic!("{address} leads nowhere");
    }

    async fn send(&mut self, address: &str, fields: Option<&[(&str, &str)]>) -> Answer {
        let uri: Uri = address.parse().expect("it is a URL");
        let host: SocketAddr =
            uri.authority().expect("it has a host").as_str().parse().expect("it is an address");
        let suits = |((path, _), _): &(&(String, String), &String)| uri.path().starts_with(path.as_str());
        let cookies = self.cookies.iter().filter(suits).map(|((_, name), value)| format!("{name}={value}"));
        let cookies: Vec<_> = cookies.collect();
        let method = if fields.is_some() { "POST" } else { "GET" };
        let request = Request::builder()
            .method(method)
            .uri(address)
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded");
        let body = serde_urlencoded::to_string(fields.unwrap_or_default()).expect("fields are texts");
        let request = request.body(body.into_bytes()).expect("the request is well formed");
        let answer = Client::http1(host).send(request).await.expect("the issuer answers");
        for cookie in answer.headers.get_all("set-cookie") {
            let mut parts = cookie.to_str().expect("a cookie is text").split("; ");
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("it has a name");
            let path = parts.find_map(|part| part.strip_prefix("path=")).unwrap_or("/");
            let key = (path.to_owned(), name.to_owned());
            // One with an empty value is deleted.
            if value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        answer
    }
}

/// Where the form of `page` leads, and its hidden fields.
fn form(page: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let value = |tag: &'_ str, name: &str| -> Option<(usize, usize)> {
        let from = tag.find(&format!(" {name}=\""))? + name.len() + 3;
        Some((from, from + tag[from..].find('"')?))
    };
    let tags = |name: &'static str| {
        page.match_indices(name).map(|(at, _)| &page[at..at + page[at..].find('>').unwrap_or_default()])
    };
    let tag = tags("<form").next()?;
    let (from, to) = value(tag, "action")?;
    let hidden = tags("<input").filter(|tag| tag.contains("type=\"hidden\"")).filter_map(|tag| {
        let ((name, name_end), (from, to)) = (value(tag, "name")?, value(tag, "value")?);
        Some((&tag[name..name_end], &tag[from..to]))
    });
    Some((&tag[from..to], hidden.collect()))
}
