//! The web page in Debian's Chromium: what people see and press there.

mod browser;
mod nodes;

use http::Method;
use serde_json::{Value, json};

use self::browser::Browser;
use crate::{
    harness::{Folder, Node, client::Origin, patiently},
    logging_in,
};

/// When the first row of a list is there, milliseconds after the page was asked for.
const ROWS_AT: &str = "const done = arguments[0]; const look = () => document.querySelector('.rows .frow') \
                       ? done(performance.now()) : setTimeout(look, 5); look()";

/// A token with `role`.
async fn token(node: &Node, name: &str, role: &str) -> String {
    let body = json!({ "name": name, "rights": { "roles": [role] } });
    let created = node.api_ok(Method::POST, "/v1/tokens", Some(&body)).await;
    created["secret"].as_str().expect("it is text").to_owned()
}

/// A canary of `guest` on a tenth of the requests, in a step that takes an hour.
async fn canary(node: &Node, guest: &str) {
    let steps = json!({ "name": "canary", "steps": ["10%", "50%"] });
    node.roll_out(guest, json!({}), steps, json!({ "step_min_ms": 3_600_000, "watch_ms": 50 })).await;
}

async fn last_rollout(node: &Node) -> Value {
    node.live("hello").await["last_rollout"].clone()
}

#[tokio::test]
async fn person_sees_why_a_canary_failed_and_aborts_another() {
    let Some(browser) = Browser::start("person_sees_why_a_canary_failed_and_aborts_another").await else {
        return;
    };
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy_with("shop", "hello-v2", json!({})).await;
    browser.open(&node, "/").await;
    browser.find("//input[@id='token']").await;
    browser.is_accessible().await;
    browser.log_in(&node, &node.token).await;
    browser.says("a", "shop").await;
    browser.is_accessible().await;
    // The list is there once the node has sent it, and not only when it would be arranged again.
    let mut soonest = f64::INFINITY;
    for _ in 0..5 {
        browser.client.refresh().await.unwrap();
        let seen = browser.client.execute_async(ROWS_AT, vec![]).await.unwrap();
        soonest = soonest.min(seen.as_f64().unwrap());
    }
    assert!(soonest < 1500.0, "the list was there after {soonest} ms");
    let filter = browser.find("//input[@type='search']").await;
    filter.send_keys("hel").await.unwrap();
    browser.says("p", "1 of 2 functions").await;
    browser.says("a", "hello").await.click().await.unwrap();
    browser.says("h3", "No rollout").await;

    // A canary that traps, while somebody watches.
    let steps = json!({ "name": "canary", "steps": ["10%"] });
    node.roll_out("broken", json!({}), steps, json!({})).await;
    browser.says("h3", "Rollout of v2 from v1").await;
    patiently("the abort", async {
        while last_rollout(&node).await.is_null() {
            node.http.get("/hello").await.ok();
        }
    })
    .await;
    let reason = last_rollout(&node).await["reason"].as_str().unwrap().to_owned();
    browser.says("p", &format!("v2 was aborted: {reason}")).await;
    browser.picture("rollout").await;
    browser.says("pre", "apply_discount").await;
    browser.says("figure", "on a logarithmic scale").await;
    browser.find("//canvas").await;
    browser.is_accessible().await;
    let request = browser.find("//a[contains(@href, '/logs?request=')]").await;
    let id = request.text().await.unwrap();
    request.click().await.unwrap();
    browser.says("h1", "Logs of hello").await;
    browser.says("p", &id[..8]).await;
    browser.says("p", "apply_discount").await;
    browser.is_accessible().await;
    browser.picture("logs").await;

    // Another one, which nothing is wrong with.
    canary(&node, "hello-v2").await;
    browser.open(&node, "/functions/hello").await;
    browser.says("li", "10% now").await;
    browser.says("figure", "on a logarithmic scale").await;
    browser.press("Abort").await;
    browser.says("p", "From the next request on, v3 gets no traffic. Requests of live go to v1.").await;
    browser.is_accessible().await;
    browser.picture("abort").await;
    browser.find("//textarea").await.send_keys("it is night").await.unwrap();
    browser.find("//dialog//button[normalize-space(.)='Abort']").await.click().await.unwrap();
    browser.says("p", "v3 was aborted").await;
    let history = node.api_ok(Method::GET, "/v1/functions/hello/history?limit=1", None).await;
    let entry = &history["entries"][0];
    assert_eq!((&entry["action"], &entry["message"]), (&json!("abort"), &json!("it is night")), "{entry}");
    browser.says("td", "it is night").await;

    for (place, title) in [("/audit", "Audit"), ("/triggers", "Triggers"), ("/node", "Node")] {
        browser.open(&node, place).await;
        browser.says("h1", title).await;
        browser.is_accessible().await;
    }
    browser.open(&node, "/").await;
    browser.says("a", "shop").await;
    browser.picture("functions").await;
    browser.close().await;
}

#[tokio::test]
async fn every_button_does_what_it_says() {
    let Some(browser) = Browser::start("every_button_does_what_it_says").await else { return };
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    canary(&node, "hello-v2").await;
    browser.log_in(&node, &node.token).await;
    browser.open(&node, "/functions/hello").await;
    let confirm = async |button: &str, effect: &str, verb: &str| {
        browser.press(button).await;
        browser.says("dialog", effect).await;
        let confirm = browser.find(&format!("//dialog//button[normalize-space(.)={verb:?}]")).await;
        confirm.click().await.unwrap();
    };
    browser.says("li", "10% now").await;
    confirm("Pause", "v2 keeps its share of 10%.", "Pause").await;
    confirm("Resume", "under a new gate", "Resume").await;
    browser.find("//button[normalize-space(.)='Pause']").await;
    confirm("Promote", "v2 gets 50% of requests instead of 10%", "Promote").await;
    browser.says("li", "50% now").await;
    confirm("Promote fully", "go to v2 at once, and it becomes stable", "Promote fully").await;
    browser.says("p", "v2 was promoted").await;
    confirm("Roll back …", "All requests of live go to v1 at once", "Roll back").await;
    browser.says("p", "v2 was rolled back").await;
    assert_eq!(node.live("hello").await["stable"], "v1");
    browser.close().await;
}

#[tokio::test]
async fn viewer_is_refused_and_a_revoked_token_ends_the_session() {
    let Some(browser) = Browser::start("viewer_is_refused_and_a_revoked_token_ends_the_session").await else {
        return;
    };
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    canary(&node, "hello-v2").await;
    let viewer = token(&node, "night", "viewer").await;
    browser.open(&node, "/").await;
    let field = browser.find("//input[@id='token']").await;
    field.send_keys(&format!("{viewer}x")).await.unwrap();
    browser.press("Log in").await;
    browser.find("//p[@id='login-failed' and string-length(.) > 0]").await;
    browser.client.refresh().await.unwrap();
    browser.log_in(&node, &viewer).await;
    browser.open(&node, "/functions/hello").await;
    browser.press("Abort").await;
    browser.find("//dialog//button[normalize-space(.)='Abort']").await.click().await.unwrap();
    browser.says("dialog", "the token `night` has the role viewer").await;
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v2");
    // The address does not have the token, and scripts cannot read the cookie.
    assert_eq!(browser.run("return document.cookie", vec![]).await, "");
    assert!(!browser.run("return JSON.stringify(localStorage)", vec![]).await.to_string().contains(&viewer));

    browser.press("Cancel").await;
    node.api_ok(Method::DELETE, "/v1/tokens/night", None).await;
    browser.find("//input[@id='token']").await;
    browser.client.refresh().await.unwrap();
    browser.find("//input[@id='token']").await;
    browser.close().await;
}

#[tokio::test]
async fn person_logs_in_at_an_issuer_and_comes_back() {
    let test = "person_logs_in_at_an_issuer_and_comes_back";
    let Some(browser) = Browser::start(test).await else { return };
    if !logging_in::installed(test) {
        return;
    }
    let (_issuer, url) = logging_in::issuer(3600, 600).await;
    let node = logging_in::node(&url).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let log_in = async |user: &str| {
        browser.press(&format!("Log in at {url}")).await;
        browser.find("//input[@name='login']").await.send_keys(user).await.unwrap();
        browser.find("//input[@name='password']").await.send_keys("any").await.unwrap();
        browser.press("Sign-in").await;
        browser.press("Continue").await;
    };
    browser.open(&node, "/functions/hello").await;
    browser.find(&format!("//button[.='Log in at {url}']")).await;
    browser.is_accessible().await;
    // Somebody who changes their mind.
    browser.press(&format!("Log in at {url}")).await;
    browser.says("a", "Cancel").await.click().await.unwrap();
    browser.says("p", "End-User aborted interaction").await;
    // Somebody for whom no rule is.
    log_in("bob").await;
    browser.find("//p[@id='login-failed' and contains(., 'rule')]").await;
    browser.client.delete_all_cookies().await.unwrap();
    // Ann comes back to where she was, under her own name, and the address keeps no code.
    log_in("ann").await;
    browser.says("h1", "hello").await;
    browser.says("span", "people/ann (deployer)").await;
    let address = browser.client.current_url().await.unwrap();
    assert_eq!(address.as_str(), format!("http://{}/ui/#/functions/hello", node.admin));
    // A code that came from elsewhere, for a login that did not begin here, is nothing.
    browser.press("Log out").await;
    browser.client.goto(&format!("http://{}/ui/?code=stolen&state=x", node.admin)).await.unwrap();
    browser.says("p", "a login that did not begin in this window").await;
    browser.close().await;
}

#[tokio::test]
async fn traces_of_failed_and_slow_requests_are_shown_without_a_collector() {
    let test = "traces_of_failed_and_slow_requests_are_shown_without_a_collector";
    let Some(browser) = Browser::start(test).await else { return };
    let folder = Folder::new();
    folder.write("node.toml", "[serve]\ntraces = \"100%\"\n");
    let node = Node::start_on(folder, &["--config", "node.toml"]).await;
    node.deploy_with("trap", "trap", json!({})).await;
    browser.log_in(&node, &node.token).await;
    browser.open(&node, "/functions/trap/traces").await;
    browser.says("p", "No request that was traced has failed").await;
    let answer = node.http.get("/trap/before").await;
    // It comes by itself.
    browser.says("summary", "GET /trap/before").await.click().await.unwrap();
    browser.says("a", answer.header("wasm-fn-request-id")).await;
    browser.says("td", "guest v1: trap").await;
    browser.is_accessible().await;
    browser.picture("traces").await;
    browser.close().await;
    // A node that traces nothing says so.
    let Some(browser) = Browser::start(test).await else { return };
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    browser.log_in(&node, &node.token).await;
    browser.open(&node, "/functions/hello").await;
    browser.says("a", "Traces").await.click().await.unwrap();
    browser.says("p", "This node traces no requests").await;
    browser.close().await;
}

#[tokio::test]
async fn markup_is_text_and_another_origin_changes_nothing() {
    let Some(browser) = Browser::start("markup_is_text_and_another_origin_changes_nothing").await else {
        return;
    };
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    canary(&node, "hello-v2").await;
    browser.log_in(&node, &node.token).await;
    browser.open(&node, "/functions/%3Cimg%20src=x%20onerror=%22window.hacked=1%22%3E").await;
    browser.says("h1", "<img src=x onerror=").await;
    browser.find("//p[@role='alert' and string-length(.) > 0]").await;
    browser.open(&node, "/?filter=%3Cscript%3Ewindow.hacked=1%3C/script%3E").await;
    browser.says("p", "0 of 1 functions").await;
    assert_eq!(
        browser.run("return [window.hacked ?? null, document.querySelectorAll('img').length]", vec![]).await,
        json!([null, 0])
    );

    // Another port of the same host: the browser sends the cookie along, and the node refuses.
    let other = Origin::start("another site").await;
    browser.client.goto(&format!("http://{}/", other.address)).await.unwrap();
    let script = "const [url, done] = arguments; fetch(url, { method: 'POST', body: '{}', credentials: 'include', \
                  mode: 'no-cors' }).then(() => done('sent'), (error) => done(String(error)))";
    let url = format!("http://{}/v1/functions/hello/abort", node.admin);
    let sent = browser.client.execute_async(script, vec![json!(url)]).await.unwrap();
    assert_eq!(sent, "sent");
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v2", "it goes on");
    browser.close().await;
}
