//! Turning routes into URLs.

use super::*;

#[test]
fn a_node_that_listens_everywhere_is_where_its_admin_api_is() {
    let authority = "node.example.com:8081".parse().unwrap();
    let admin = NodeAddress { scheme: Scheme::Http, authority };
    for (scheme, listen, expected) in [
        ("http", "0.0.0.0:8080", "http://node.example.com:8080/hello"),
        ("http", "[::]:8080", "http://node.example.com:8080/hello"),
        ("http", "127.0.0.1:8080", "http://127.0.0.1:8080/hello"),
        ("http", "functions.example.com", "http://functions.example.com/hello"),
        ("https", "0.0.0.0:8443", "https://node.example.com:8443/hello"),
    ] {
        let node = NodeView {
            version: "1.2.3".to_owned(),
            data_listen: listen.to_owned(),
            data_scheme: scheme.to_owned(),
            revision: 1,
            functions: 1,
            started_ms: 0,
            component_bytes_max: 1,
        };
        let data = DataAddress::of(&node, &admin);
        assert_eq!(url(&data, &"/hello/*".parse().unwrap()), expected);
    }
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
    let data = DataAddress { scheme: Scheme::Http, authority: "127.0.0.1:8080".to_owned() };
    let url = |route: &str| url(&data, &route.parse().unwrap());
    assert_eq!(url("/hello/*"), "http://127.0.0.1:8080/hello");
    assert_eq!(url("/*"), "http://127.0.0.1:8080/");
    assert_eq!(url("api.example.com/v1/*"), "http://api.example.com:8080/v1");
}
