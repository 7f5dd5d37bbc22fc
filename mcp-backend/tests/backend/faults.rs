//! Each fault as a client meets it.

use std::time::{Duration, Instant};

use crate::common::{next_json, options, start, within};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends a request on a raw socket; returns what came, and how it ended.
async fn raw(server: &crate::common::Server, path: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let end = within(async {
        loop {
            match stream.read_buf(&mut seen).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    })
    .await;
    (seen, end)
}

fn is_reset(end: &std::io::Result<()>) -> bool {
    end.as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn latency_is_added_to_the_answer() {
    let server = start(options()).await;
    server.fault(&json!({ "latency_ms": 60, "count": 1 })).await;
    let before = Instant::now();
    assert_eq!(
        server.ask("GET", "/v3/echo", "").await.status,
        StatusCode::OK
    );
    assert!(before.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn every_second_request_fails_at_a_rate_of_a_half() {
    let server = start(options()).await;
    server
        .fault(&json!({ "error_rate": 0.5, "status": 502 }))
        .await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(server.ask("GET", "/v3/echo", "").await.status.as_u16());
    }
    assert_eq!(codes, [200, 502, 200, 502]);
    assert_eq!(server.ask("GET", "/fault", "").await.json()["applied"], 4);
}

#[tokio::test]
async fn a_hanging_request_holds_until_its_client_leaves() {
    let server = start(options()).await;
    server
        .fault(&json!({ "hang": true, "path": "/v3/echo" }))
        .await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/echo")
        .body(Full::default())
        .unwrap();
    let hanging = tokio::spawn(async move { client.send(request).await.map(drop) });
    server.until("in_flight", 1).await;
    assert_eq!(
        server.ask("GET", "/v3/status/200", "").await.status,
        StatusCode::OK
    );
    assert!(!hanging.is_finished());
    hanging.abort();
    server.until("in_flight", 0).await;
}

#[tokio::test]
async fn a_reset_before_the_answer_shows_no_byte() {
    let server = start(options()).await;
    server
        .fault(&json!({ "reset": "before_answer", "count": 1 }))
        .await;
    let (seen, end) = raw(&server, "/v3/echo").await;
    assert!(seen.is_empty(), "{}", String::from_utf8_lossy(&seen));
    assert!(is_reset(&end), "{end:?}");
    assert_eq!(
        server.ask("GET", "/v3/echo", "").await.status,
        StatusCode::OK
    );
    server.until("in_flight", 0).await;
}

#[tokio::test]
async fn a_reset_in_the_body_shows_its_first_half_and_no_end() {
    let server = start(options()).await;
    server
        .fault(&json!({ "reset": "mid_body", "path": "/v3/status" }))
        .await;
    let (seen, end) = raw(&server, "/v3/status/200").await;
    let text = String::from_utf8(seen).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-length: 14\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n{\"statu"), "{text}");
    assert!(is_reset(&end), "{end:?}");
    server.until("in_flight", 0).await;
}

#[tokio::test]
async fn a_reset_in_an_mcp_stream_shows_its_first_event() {
    let server = start(options()).await;
    server
        .fault(&json!({ "reset": "mid_body", "path": "/mcp" }))
        .await;
    let mut client = server.h1().await;
    let params = json!({ "name": "slow", "arguments": { "steps": 3, "step_ms": 1 } });
    let answer = client.modern("tools/call", params).await;
    let (mut body, mut rest) = (answer.into_body(), String::new());
    let first = next_json(&mut body, &mut rest).await.unwrap();
    assert_eq!(first["method"], "notifications/progress");
    assert!(
        within(body.collect()).await.is_err(),
        "a cut body is an error"
    );
}

#[tokio::test]
async fn a_reset_ends_every_stream_of_an_h2_connection() {
    let server = start(options()).await;
    let mut client = server.h2().await;
    let request = client
        .request("GET", "/v3/sse?n=1000&ms=1000")
        .body(Full::default())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    server
        .fault(&json!({ "reset": "before_answer", "count": 1 }))
        .await;
    let request = client
        .request("GET", "/v3/echo")
        .body(Full::default())
        .unwrap();
    assert!(client.send(request).await.is_err());
    assert!(within(answer.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn an_unhealthy_region_says_so_and_still_answers() {
    let server = start(options()).await;
    server.fault(&json!({ "unhealthy": true })).await;
    let (status, report) = server.health().await;
    assert_eq!(
        (status, &report["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy"))
    );
    assert_eq!(
        server.ask("GET", "/v3/echo", "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        server.ask("DELETE", "/fault", "").await.json()["fault"],
        Value::Null
    );
    assert_eq!(server.health().await.0, StatusCode::OK);
}

#[tokio::test]
async fn health_fails_in_other_ways_only_by_name() {
    let server = start(options()).await;
    server
        .fault(&json!({ "error_rate": 1, "status": 500 }))
        .await;
    assert_eq!(server.health().await.0, StatusCode::OK);
    server
        .fault(&json!({ "error_rate": 1, "status": 500, "path": "/v3/health" }))
        .await;
    assert_eq!(server.ask("GET", "/v3/health", "").await.status, 500);
    server
        .fault(&json!({ "reset": "before_answer", "path": "/v3/health" }))
        .await;
    assert!(is_reset(&raw(&server, "/v3/health").await.1));
}

#[tokio::test]
async fn a_bad_fault_changes_nothing() {
    let server = start(options()).await;
    server.fault(&json!({ "unhealthy": true })).await;
    for bad in [
        "{",
        "[]",
        r#"{"status":7}"#,
        r#"{"naps":1}"#,
        &" ".repeat(70_000),
    ] {
        let reply = server.ask("POST", "/fault", bad).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
    }
    assert_eq!(
        server.ask("PUT", "/fault", "").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        server.ask("GET", "/fault", "").await.json()["fault"]["unhealthy"],
        true
    );
}
