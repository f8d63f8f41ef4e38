//! A client of the admin API, for what a test needs done before what it tests.

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Node,
    client::{Answer, Client},
    guests,
};

impl Node {
    /// Calls the admin API with the node's token.
    pub(crate) async fn api(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.api_send(method, path, "application/json", body.into_bytes()).await
    }

    /// Calls the admin API with `token`, or without one.
    pub(crate) async fn api_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send_as(token, method, path, "application/json", body.into_bytes()).await
    }

    /// Calls the admin API with the node's token and a `body` of `media_type`.
    pub(crate) async fn api_send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> Answer {
        self.send_as(Some(&self.token), method, path, media_type, body).await
    }

    async fn send_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("http://{}{path}", self.admin))
            .header("content-type", media_type);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).expect("the request is well formed");
        let answer = Client::http1(self.admin).send(request).await;
        answer.unwrap_or_else(|error| panic!("{method} {path} was not answered: {error:?}"))
    }

    /// Calls the admin API and gives what it answers, which must be 200.
    pub(crate) async fn api_ok(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let answer = self.api(method, path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("the API answers JSON")
    }

    /// Uploads `bytes`; gives their digest.
    pub(crate) async fn upload(&self, bytes: Vec<u8>) -> String {
        let digest = hex(&Sha256::digest(&bytes));
        let path = format!("/v1/components/{digest}");
        let answer = self.api_send(Method::PUT, &path, "application/wasm", bytes).await;
        assert!(answer.status.is_success(), "{}", answer.text());
        digest
    }

    /// Deploys a prebuilt guest with `strategy`; gives the result.
    pub(crate) async fn deploy_by(
        &self,
        function: &str,
        guest: &str,
        config: Value,
        strategy: Value,
    ) -> Value {
        let component = self.upload(guests::bytes(guest)).await;
        // What fails often calls others first, which the version before does not.
        let body =
            json!({ "component": component, "config": config, "strategy": strategy, "allow_new": true });
        self.api_ok(Method::POST, &format!("/v1/functions/{function}/deployments"), Some(&body)).await
    }

    /// Deploys a prebuilt guest, all at once.
    pub(crate) async fn deploy_with(&self, function: &str, guest: &str, config: Value) -> Value {
        self.deploy_by(function, guest, config, json!({ "name": "all-at-once" })).await
    }

    /// Deploys a prebuilt guest under its own name, all at once, with every default.
    pub(crate) async fn deploy(&self, guest: &str) {
        self.deploy_with(guest, guest, json!({})).await;
    }

    /// `hello` with v1 stable and v2 as its canary with `weight`, both configured with `config`.
    pub(crate) async fn hello_canary(&self, weight: &str, config: Value) {
        self.deploy_with("hello", "hello-v1", config.clone()).await;
        self.deploy_by("hello", "hello-v2", config, json!({ "name": "canary", "steps": [weight] })).await;
    }

    /// Sets the weights of `hello`.
    pub(crate) async fn split_hello(&self, shares: &[(&str, &str)]) {
        let split: Vec<_> =
            shares.iter().map(|(version, weight)| json!({ "version": version, "weight": weight })).collect();
        let body = json!({ "split": split });
        self.api_ok(Method::PUT, "/v1/functions/hello/traffic", Some(&body)).await;
    }

    /// The revision of the node's state.
    pub(crate) async fn revision(&self) -> u64 {
        self.api_ok(Method::GET, "/v1/node", None).await["revision"].as_u64().expect("a number")
    }

    /// The live stage of a function, as the API tells it.
    pub(crate) async fn live(&self, function: &str) -> Value {
        let mut status = self.api_ok(Method::GET, &format!("/v1/functions/{function}"), None).await;
        status["stages"][0].take()
    }

    /// How many requests of the live stage of `function` ended as `outcome`.
    pub(crate) async fn outcomes(&self, function: &str, outcome: &str) -> u64 {
        let live = self.live(function).await;
        let versions = live["versions"].as_array().cloned().unwrap_or_default();
        versions.iter().filter_map(|version| version["tally"]["outcomes"][outcome].as_u64()).sum()
    }

    /// The log of `function`, as lines of JSON.
    pub(crate) async fn logs(&self, function: &str) -> Vec<Value> {
        let answer = self.api(Method::GET, &format!("/v1/functions/{function}/logs"), None).await.ok();
        let lines = answer.text();
        lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
