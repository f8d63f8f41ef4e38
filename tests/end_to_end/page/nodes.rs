//! The page of a node that is in a cluster.

use http::Method;
use serde_json::json;

use super::browser::Browser;
use crate::{clustered::Cluster, harness::patiently};

#[tokio::test]
async fn person_sees_all_nodes_of_a_cluster() {
    let test = "person_sees_all_nodes_of_a_cluster";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    a.deploy_with("env", "env", json!({})).await;
    for (node, times) in [(&a, 5), (&b, 7), (&c, 9)] {
        patiently("the functions", async { while node.http.get("/env").await.status != 200 {} }).await;
        for _ in 0..times {
            node.http.get("/hello").await.ok();
        }
    }
    patiently("all requests are counted", async {
        while b.api_ok(Method::GET, "/v1/functions", None).await["functions"][1]["stages"][0]["requests"]
            != 21
        {}
    })
    .await;
    browser.log_in(&b, &b.token).await;
    browser.find("//div[@data-name='hello']/div[normalize-space(.)='21']").await;
    browser.open(&b, "/node").await;
    browser.says("h2", "Nodes of wasm-fn").await;
    browser.says("p", "This is b, which is in touch with the cluster.").await;
    for name in ["a", "b", "c"] {
        browser.find(&format!("//td[normalize-space(.)='{name}']")).await;
    }
    browser.says("h2", "Servers of the broker").await;
    browser.is_accessible().await;
    browser.picture("nodes").await;

    browser.open(&b, "/functions/hello").await;
    browser.find("//tr[td[normalize-space(.)='all'] and td[normalize-space(.)='21']]").await;
    browser.find("//tr[td[normalize-space(.)='c'] and td[normalize-space(.)='9']]").await;
    browser.is_accessible().await;

    browser.open(&b, "/functions/env/logs").await;
    for name in ["a", "b", "c"] {
        browser.find(&format!("//div[@role='log']/p/span[contains(., ' {name} v1 stdout')]")).await;
    }
    let choice = browser.find("//select[@name='node']").await;
    choice.select_by_value("c").await.unwrap();
    browser.says("p", "2 lines").await;
    browser.is_accessible().await;
    browser.close().await;
}
