//! Responses that have no body, and declare the length of one that they would have.

use http::Method;

use super::*;

/// A handler that answers with this status, `content-length: 7` and an empty body, which it finishes.
fn guest(status: u16) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types {TYPES}))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (core module $space
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
            (core instance $s (instantiate $space))
            (core func $fields (canon lower (func $types "[constructor]fields")))
            (core func $append (canon lower (func $types "[method]fields.append")
                (memory $s "memory") (realloc (func $s "realloc"))))
            (core func $response (canon lower (func $types "[constructor]outgoing-response")))
            (core func $status (canon lower (func $types "[method]outgoing-response.set-status-code")))
            (core func $body (canon lower (func $types "[method]outgoing-response.body")
                (memory $s "memory")))
            (core func $finish (canon lower (func $types "[static]outgoing-body.finish")
                (memory $s "memory") (realloc (func $s "realloc"))))
            (core func $set (canon lower (func $types "[static]response-outparam.set")
                (memory $s "memory") (realloc (func $s "realloc"))))
            (core module $program
                (import "space" "memory" (memory 1))
                (import "host" "fields" (func $fields (result i32)))
                (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
                (import "host" "response" (func $response (param i32) (result i32)))
                (import "host" "status" (func $status (param i32 i32) (result i32)))
                (import "host" "body" (func $body (param i32 i32)))
                (import "host" "finish" (func $finish (param i32 i32 i32 i32)))
                (import "host" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
                (data (i32.const 0) "content-length7")
                (func (export "handle") (param $request i32) (param $out i32)
                    (local $fields i32) (local $response i32)
                    (local.set $fields (call $fields))
                    (call $append (local.get $fields)
                        (i32.const 0) (i32.const 14) (i32.const 14) (i32.const 1) (i32.const 128))
                    (local.set $response (call $response (local.get $fields)))
                    (drop (call $status (local.get $response) (i32.const {status})))
                    (call $body (local.get $response) (i32.const 256))
                    (call $set (local.get $out) (i32.const 0) (local.get $response)
                        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                    (call $finish (i32.load (i32.const 260)) (i32.const 0) (i32.const 0) (i32.const 512))
                    (if (i32.load8_u (i32.const 512)) (then unreachable))))
            (core instance $p (instantiate $program
                (with "space" (instance $s))
                (with "host" (instance
                    (export "fields" (func $fields))
                    (export "append" (func $append))
                    (export "response" (func $response))
                    (export "status" (func $status))
                    (export "body" (func $body))
                    (export "finish" (func $finish))
                    (export "set" (func $set))))))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $p "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap()
}

/// What the guest uses of the interface.
const TYPES: &str = r#"
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type $out (sub resource)))
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-response" (type $response (sub resource)))
    (export "outgoing-body" (type $body (sub resource)))
    (type $header-error-cases (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error-cases)))
    (type $text (option string))
    (type $dns-fields (record (field "rcode" $text) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns-fields)))
    (type $tls-fields (record (field "alert-id" (option u8)) (field "alert-message" $text)))
    (export "TLS-alert-received-payload" (type $tls (eq $tls-fields)))
    (type $size-fields (record (field "field-name" $text) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size-fields)))
    (type $error-cases (variant
        (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found")
        (case "destination-unavailable") (case "destination-IP-prohibited")
        (case "destination-IP-unroutable") (case "connection-refused") (case "connection-terminated")
        (case "connection-timeout") (case "connection-read-timeout") (case "connection-write-timeout")
        (case "connection-limit-reached") (case "TLS-protocol-error") (case "TLS-certificate-error")
        (case "TLS-alert-received" $tls) (case "HTTP-request-denied")
        (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
        (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid")
        (case "HTTP-request-URI-too-long") (case "HTTP-request-header-section-size" (option u32))
        (case "HTTP-request-header-size" (option $size))
        (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
        (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
        (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
        (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
        (case "HTTP-response-transfer-coding" $text) (case "HTTP-response-content-coding" $text)
        (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error")
        (case "loop-detected") (case "configuration-error") (case "internal-error" $text)))
    (export "error-code" (type $error (eq $error-cases)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func (param "self" (borrow $fields)) (param "name" string)
        (param "value" (list u8)) (result (result (error $header-error)))))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $response))))
    (export "[method]outgoing-response.set-status-code" (func (param "self" (borrow $response))
        (param "status-code" u16) (result (result))))
    (export "[method]outgoing-response.body" (func (param "self" (borrow $response))
        (result (result (own $body)))))
    (export "[static]outgoing-body.finish" (func (param "this" (own $body))
        (param "trailers" (option (own $fields))) (result (result (error $error)))))
    (export "[static]response-outparam.set" (func (param "param" (own $out))
        (param "response" (result (own $response) (error $error)))))
"#;

async fn answer(method: Method, status: u16) -> Result<Response<ResponseBody>, InvocationError> {
    let node = Node::start();
    let version = node.add_version(&guest(status));
    compiled(&version).await;
    let request = Request::builder().method(method).uri("/").header("host", "test");
    version.clone().invoke(invocation(request.body(Full::<Bytes>::default()).unwrap())).await
}

#[tokio::test]
async fn a_declared_length_is_not_held_against_an_answer_without_body() {
    for (method, status) in
        [(Method::HEAD, 200), (Method::HEAD, 404), (Method::GET, 304), (Method::GET, 204), (Method::GET, 205)]
    {
        let response = answer(method.clone(), status).await.unwrap_or_else(|error| {
            panic!("{method} {status}: {error}");
        });
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["content-length"], "7", "{method} {status}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "{method} {status}");
    }
    // Other answers are held to it.
    assert!(answer(Method::GET, 200).await.is_err());
}
