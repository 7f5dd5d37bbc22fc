//! The paths beside MCP, over real sockets.

use std::time::{Duration, Instant};

use crate::common::{next_event, options, start, within};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use meridian_backend::Options;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn echo_says_what_arrived_over_both_versions() {
    let server = start(options()).await;
    for (mut client, version) in [
        (server.h1().await, "HTTP/1.1"),
        (server.h2().await, "HTTP/2.0"),
    ] {
        let request = client
            .request("PUT", "/v3/echo?a=%2F&b")
            .header("x-one", "1")
            .header("x-one", "2")
            .body(Full::from("hello"))
            .unwrap();
        let reply = client.exchange(request).await.unwrap();
        assert_eq!(reply.headers["x-backend-region"], "europe-west1");
        let seen = reply.json();
        assert_eq!(seen["region"], "europe-west1");
        assert_eq!(seen["method"], "PUT");
        assert_eq!(seen["path"], "/v3/echo?a=%2F&b");
        assert_eq!(seen["version"], version);
        assert_eq!(seen["headers"]["x-one"], "1, 2");
        let list = seen["header_list"].as_array().unwrap();
        assert_eq!(list.iter().filter(|pair| pair[0] == "x-one").count(), 2);
        assert_eq!(seen["body"]["length"], 5);
        assert_eq!(seen["body"]["text"], "hello");
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(seen["body"]["sha256"], digest);
    }
}

#[tokio::test]
async fn echo_keeps_no_long_body_but_counts_it() {
    let server = start(options()).await;
    let reply = server
        .ask("POST", "/v3/echo", &"x".repeat(64 * 1024 + 1))
        .await;
    assert_eq!(reply.json()["body"]["length"], 64 * 1024 + 1);
    assert!(reply.json()["body"]["text"].is_null());
}

#[tokio::test]
async fn the_streaming_echo_answers_before_the_body_has_ended() {
    let server = start(options()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v3/echo/body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"3\r\none\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"3\r\none\r\n") {
        assert_ne!(within(stream.read_buf(&mut seen)).await.unwrap(), 0);
    }
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    while !seen.ends_with(b"3\r\ntwo\r\n0\r\n\r\n") {
        assert_ne!(within(stream.read_buf(&mut seen)).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    for _ in 0..3 {
        assert_eq!(
            client.ask("GET", "/v3/status/200", "").await.status,
            StatusCode::OK
        );
    }
    assert_eq!(
        server.health().await.1["requests_total"],
        3,
        "health does not count itself"
    );
}

#[tokio::test]
async fn events_come_one_by_one() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/sse?n=3&ms=1")
        .body(Full::default())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut body, mut rest) = (answer.into_body(), String::new());
    for n in 0..3 {
        let event = next_event(&mut body, &mut rest).await.unwrap();
        let data = format!("data: {{\"n\":{n},\"of\":3,\"region\":\"europe-west1\"}}");
        assert_eq!(event, format!("id: {n}\nevent: tick\n{data}"));
    }
    assert_eq!(next_event(&mut body, &mut rest).await, None);
}

#[tokio::test]
async fn bytes_come_in_the_asked_number() {
    let server = start(options()).await;
    for n in [0_usize, 1, 16 * 1024, 100_000] {
        let reply = server.ask("GET", &format!("/v3/bytes?n={n}"), "").await;
        assert_eq!(reply.headers["content-length"], n.to_string());
        assert_eq!(reply.body.len(), n);
        assert!(
            reply
                .body
                .iter()
                .skip(32)
                .zip(reply.body.iter())
                .all(|(a, b)| a == b)
        );
    }
    let head = server.ask("HEAD", "/v3/bytes?n=77", "").await;
    assert_eq!(
        (head.headers["content-length"].as_bytes(), head.body.len()),
        (&b"77"[..], 0)
    );
}

#[tokio::test]
async fn trailers_follow_the_body_for_whom_accepts_them() {
    let server = start(options()).await;
    for mut client in [server.h1().await, server.h2().await] {
        let request = client
            .request("GET", "/v3/trailers")
            .header("te", "trailers")
            .body(Full::default());
        let reply = client.exchange(request.unwrap()).await.unwrap();
        assert_eq!(reply.text(), "hello, world\n");
        assert_eq!(reply.trailers.unwrap()["x-checksum"], "13-bytes");
    }
}

#[tokio::test]
async fn statuses_are_as_asked_and_nonsense_is_refused() {
    let server = start(options()).await;
    for code in [200, 204, 304, 404, 418, 500, 599] {
        let reply = server.ask("GET", &format!("/v3/status/{code}"), "").await;
        assert_eq!(reply.status, code);
    }
    for path in [
        "/v3/status/100",
        "/v3/status/600",
        "/v3/status/x",
        "/v3/bytes?n=-1",
        "/v3/bytes?n=1073741825",
        "/v3/sse?n=1000000",
    ] {
        assert_eq!(
            server.ask("GET", path, "").await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    assert_eq!(
        server.ask("GET", "/v3/nothing", "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn every_answer_but_health_is_delayed() {
    let delay = Duration::from_millis(80);
    let server = start(Options { delay, ..options() }).await;
    for path in [
        "/v3/echo",
        "/v3/status/404",
        "/v3/nothing",
        "/mcp",
        "/v3/ws/echo",
    ] {
        let before = Instant::now();
        server.ask("GET", path, "").await;
        assert!(before.elapsed() >= delay, "{path}");
    }
    let slow = start(Options {
        delay: Duration::from_hours(1),
        ..options()
    })
    .await;
    let (status, _) = within(slow.health()).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn health_reports_the_load() {
    let server = start(Options {
        capacity: 4,
        ..options()
    })
    .await;
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
    let (status, report) = server.health().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(report["status"], "healthy");
    assert_eq!(report["region"], "europe-west1");
    assert_eq!(report["capacity"], 4);
    assert_eq!(report["utilization"], 0.25);
    hanging.abort();
    server.until("in_flight", 0).await;
}

#[tokio::test]
async fn requests_above_the_capacity_are_told_to_come_back() {
    let server = start(Options {
        capacity: 1,
        ..options()
    })
    .await;
    server.fault(&json!({ "hang": true, "count": 1 })).await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/echo")
        .body(Full::default())
        .unwrap();
    let hanging = tokio::spawn(async move { client.send(request).await.map(drop) });
    server.until("in_flight", 1).await;
    let refused = server.ask("GET", "/v3/echo", "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "1");
    hanging.abort();
    server.until("in_flight", 0).await;
    assert_eq!(
        server.ask("GET", "/v3/echo", "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_log_remembers_ids_classes_and_paths() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/echo?secret=1")
        .header("x-request-id", "r-1")
        .header("x-data-class", "tier_1_pii")
        .body(Full::default())
        .unwrap();
    client.exchange(request).await.unwrap();
    client.ask("GET", "/v3/status/200", "").await;
    let log = client.ask("GET", "/v3/log?limit=9", "").await.json();
    assert_eq!(log["total"], 2);
    assert_eq!(log["classes"], json!({ "tier_1_pii": 1, "none": 1 }));
    assert_eq!(log["entries"][0]["request_id"], "r-1");
    assert_eq!(log["entries"][0]["path"], "/v3/echo");
    assert_eq!(log["entries"][1]["data_class"], json!(null));
    assert_eq!(
        client.ask("DELETE", "/v3/log", "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(client.ask("GET", "/v3/log", "").await.json()["total"], 0);
}

#[tokio::test]
async fn log_and_faults_are_closed_unless_asked_for() {
    let server = start(Options {
        faults: false,
        ..options()
    })
    .await;
    for path in ["/v3/log", "/fault"] {
        assert_eq!(
            server.ask("GET", path, "").await.status,
            StatusCode::NOT_FOUND
        );
    }
    let refused = server.ask("POST", "/fault", r#"{"unhealthy":true}"#).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert_eq!(server.health().await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_stop_lets_requests_finish_ends_streams_and_says_draining() {
    let mut server = start(options()).await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/sse?n=3&ms=100")
        .body(Full::default())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    let (mut body, mut rest) = (answer.into_body(), String::new());
    assert!(next_event(&mut body, &mut rest).await.is_some());
    // A second connection that has been used stays open until it is idle.
    let mut kept = server.h2().await;
    assert_eq!(
        kept.ask("GET", "/v3/health", "").await.status,
        StatusCode::OK
    );
    server.stop();
    within(async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(next_event(&mut body, &mut rest).await.is_some());
    assert!(next_event(&mut body, &mut rest).await.is_some());
    assert_eq!(next_event(&mut body, &mut rest).await, None);
    server.stopped().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_drain_time() {
    let mut server = start(Options {
        drain: Duration::ZERO,
        ..options()
    })
    .await;
    server.fault(&json!({ "latency_ms": 600_000 })).await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/echo")
        .body(Full::default())
        .unwrap();
    let hanging = tokio::spawn(async move { client.send(request).await.map(drop) });
    server.until("in_flight", 1).await;
    server.stop();
    server.stopped().await;
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn an_early_end_of_the_reader_ends_the_stream() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    let request = client
        .request("GET", "/v3/bytes?n=1073741824")
        .body(Full::default())
        .unwrap();
    let mut answer = client.send(request).await.unwrap();
    assert!(within(answer.body_mut().frame()).await.is_some());
    assert_eq!(server.health().await.1["in_flight"], 1);
    drop((answer, client));
    server.until("in_flight", 0).await;
}

#[tokio::test]
async fn a_head_as_large_as_an_edge_lets_through_is_read() {
    let server = start(options()).await;
    for mut client in [server.h1().await, server.h2().await] {
        let mut request = client.request("GET", "/v3/echo");
        for n in 0..150 {
            request = request.header(format!("x-{n}"), "v".repeat(500));
        }
        let reply = client
            .exchange(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(
            reply.json()["headers"]["x-149"].as_str().map(str::len),
            Some(500)
        );
    }
}

#[tokio::test]
async fn idle_connections_outlive_the_pool_of_an_edge_and_then_end() {
    let server = start(options()).await;
    let mut used = TcpStream::connect(server.address).await.unwrap();
    used.write_all(b"GET /v3/status/204 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(within(used.read_buf(&mut head)).await.unwrap(), 0);
    }
    let unused = TcpStream::connect(server.address).await.unwrap();
    // From here the clock is virtual: it jumps to the next deadline.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    for mut stream in [used, unused] {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert!(
            start.elapsed() >= Duration::from_secs(75),
            "{:?}",
            start.elapsed()
        );
        assert!(start.elapsed() <= meridian_backend::IDLE + Duration::from_secs(5));
    }
}
