//! Turning routes into URLs.

use super::{data_authority, path_and_query, url};

#[test]
fn a_node_that_listens_everywhere_is_where_its_admin_api_is() {
    let admin = "node.example.com:8081".parse().unwrap();
    assert_eq!(data_authority("0.0.0.0:8080", &admin), "node.example.com:8080");
    assert_eq!(data_authority("[::]:8080", &admin), "node.example.com:8080");
    assert_eq!(data_authority("127.0.0.1:8080", &admin), "127.0.0.1:8080");
    assert_eq!(data_authority("functions.example.com", &admin), "functions.example.com");
}

#[test]
fn paths_are_below_the_route() {
    let path = |route: &str, path: &str| path_and_query(&route.parse().unwrap(), path).map_err(|_| ());
    assert_eq!(path("/hello/*", ""), Ok("/hello".to_owned()));
    assert_eq!(path("/hello/*", "/x?y=1"), Ok("/hello/x?y=1".to_owned()));
    assert_eq!(path("/hello/*", "?y=1"), Ok("/hello?y=1".to_owned()));
    assert_eq!(path("/*", ""), Ok("/".to_owned()));
    assert_eq!(path("/*", "?y"), Ok("/?y".to_owned()));
    assert_eq!(path("/*", "/x"), Ok("/x".to_owned()));
    assert_eq!(path("/exact", "?y"), Ok("/exact?y".to_owned()));
    assert_eq!(path("/exact", "/x"), Err(()));
    assert_eq!(path("/hello/*", "x"), Err(()));
}

#[test]
fn a_url_has_the_routes_host_and_the_nodes_port() {
    let url = |route: &str| url("127.0.0.1:8080", &route.parse().unwrap());
    assert_eq!(url("/hello/*"), "http://127.0.0.1:8080/hello");
    assert_eq!(url("/*"), "http://127.0.0.1:8080/");
    assert_eq!(url("api.example.com/v1/*"), "http://api.example.com:8080/v1");
}
