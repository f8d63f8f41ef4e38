//! Debian's Chromium, driven by its own WebDriver.

use std::{path::Path, process::Command};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::harness::{Folder, Node, PATIENCE, Process, programs::starts};

/// The variable with the folder that pictures are written to, if they are wanted.
const PICTURES: &str = "WASM_FN_PICTURES";

/// A browser with one window. It ends with the test.
pub(super) struct Browser {
    pub(super) client: Client,
    axe: String,
    _driver: Process,
    _profile: Folder,
}

/// The script of axe-core.
fn axe() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end_to_end/page/node_modules/axe-core/axe.min.js")
}

impl Browser {
    /// Starts one; `None` where it is not installed.
    pub(super) async fn start(test: &str) -> Option<Self> {
        let has_driver = starts(Command::new("chromedriver").arg("--version"), "chromium-driver", test);
        if !has_driver || !crate::harness::programs::present(&axe(), test) {
            return None;
        }
        // It tells its port on stdout.
        let driver = Process::spawn(Command::new("sh").args(["-c", "exec chromedriver --port=0 >&2"]));
        let port = |line: &str| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        };
        let port: u16 = driver.line("the driver's port", port).await;
        let profile = Folder::new();
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1100,800".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let Value::Object(capabilities) = options else { panic!("it is an object") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("the browser starts");
        let axe = std::fs::read_to_string(axe()).expect("it is text");
        Some(Self { client, axe, _driver: driver, _profile: profile })
    }

    /// Ends the browser, in which nothing went wrong that the page did not expect.
    pub(super) async fn close(self) {
        let alerts = self.run("return document.getElementById('alerts')?.innerText ?? ''", vec![]).await;
        assert_eq!(alerts, "", "an alert is shown");
        self.client.clone().close().await.expect("the browser ends");
    }

    /// Opens the page of `node` at `place`, which follows `#`.
    pub(super) async fn open(&self, node: &Node, place: &str) {
        let url = format!("http://{}/ui/#{place}", node.admin);
        self.client.goto(&url).await.expect("the page opens");
    }

    /// Waits for an element.
    pub(super) async fn find(&self, xpath: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::XPath(xpath)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{xpath}: {error}; the page says:\n{}", self.text().await),
        }
    }

    /// Everything that the page says.
    pub(super) async fn text(&self) -> String {
        let text = self.run("return document.body.innerText", vec![]).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element called `tag` says `text`.
    pub(super) async fn says(&self, tag: &str, text: &str) -> Element {
        self.find(&format!("//{tag}[contains(normalize-space(.), {text:?})]")).await
    }

    /// Presses the button that says `text`.
    pub(super) async fn press(&self, text: &str) {
        let button = self.find(&format!("//button[normalize-space(.)={text:?}]")).await;
        button.click().await.expect("the button can be pressed");
    }

    /// Logs in with `token`.
    pub(super) async fn log_in(&self, node: &Node, token: &str) {
        self.open(node, "/").await;
        self.find("//input[@id='token']").await.send_keys(token).await.expect("it can be typed in");
        self.press("Log in").await;
        self.says("h1", "Functions").await;
    }

    pub(super) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.expect("the script runs")
    }

    /// Checks that axe finds nothing serious in what is shown.
    pub(super) async fn is_accessible(&self) {
        self.run(&self.axe, vec![]).await;
        let script = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then(\
                      (found) => done(found.violations.map((rule) => [rule.impact, rule.id, rule.help, \
                      rule.nodes.map((node) => node.html + ' ' + node.failureSummary)])), (error) => done([['critical', String(error)]]))";
        let found = self.client.execute_async(script, vec![]).await.expect("axe runs");
        let serious = |rule: &&Value| matches!(rule[0].as_str(), Some("serious" | "critical"));
        let serious: Vec<_> = found.as_array().expect("it is a list").iter().filter(serious).collect();
        assert!(serious.is_empty(), "{serious:#?}");
    }

    /// Writes a picture of the window, if pictures are wanted.
    pub(super) async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES) else { return };
        let picture = self.client.screenshot().await.expect("there is a picture");
        let path = Path::new(&folder).join(name).with_extension("png");
        std::fs::write(path, picture).expect("the folder of pictures can be written to");
    }
}
