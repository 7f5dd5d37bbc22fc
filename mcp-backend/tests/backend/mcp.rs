//! MCP of both eras, over real sockets.

use crate::common::{Client, Server, mcp_headers, next_event, next_json, options, start, within};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use meridian_backend::{Options, tool_table};
use serde_json::{Value, json};

/// A legacy session: its id and a connection.
struct Session {
    client: Client,
    id: String,
}

impl Session {
    async fn open(server: &Server) -> Self {
        let mut client = server.h1().await;
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } } });
        let request = mcp_headers(client.request("POST", "/mcp"));
        let answer = client
            .send(request.body(Full::from(body.to_string())).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let id = answer.headers()["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let (mut body, mut rest) = (answer.into_body(), String::new());
        let reply = next_json(&mut body, &mut rest).await.unwrap();
        assert_eq!(reply["result"]["protocolVersion"], "2025-11-25");
        assert_eq!(reply["result"]["serverInfo"]["name"], "meridian-backend");
        while next_event(&mut body, &mut rest).await.is_some() {}
        let mut session = Self { client, id };
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(
            session.post(&initialized).await.status(),
            StatusCode::ACCEPTED
        );
        session
    }

    fn headers(&self, method: &str) -> http::request::Builder {
        mcp_headers(self.client.request(method, "/mcp"))
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", "2025-11-25")
    }

    async fn post(&mut self, message: &Value) -> http::Response<Incoming> {
        let request = self
            .headers("POST")
            .body(Full::from(message.to_string()))
            .unwrap();
        self.client.send(request).await.unwrap()
    }

    /// Sends a message and reads its answer to the end.
    async fn ask(&mut self, message: &Value) -> Vec<Value> {
        let (mut body, mut rest) = (self.post(message).await.into_body(), String::new());
        let mut seen = Vec::new();
        while let Some(message) = next_json(&mut body, &mut rest).await {
            seen.push(message);
        }
        seen
    }
}

fn call(id: u64, name: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": name, "arguments": arguments, "_meta": { "progressToken": "p" } } })
}

fn steps(messages: &[Value]) -> Vec<Value> {
    let progress = messages
        .iter()
        .filter(|m| m["method"] == "notifications/progress");
    progress.map(|m| m["params"]["progress"].clone()).collect()
}

#[tokio::test]
async fn a_legacy_session_lists_calls_and_ends() {
    let server = start(options()).await;
    let mut session = Session::open(&server).await;
    assert_eq!(server.health().await.1["sessions"], 1);
    let list = session
        .ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }))
        .await;
    let tools = list[0]["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), tool_table().len());
    for (tool, expected) in tools.iter().zip(tool_table()) {
        assert_eq!(tool["name"], expected.name);
        assert_eq!(tool["annotations"]["readOnlyHint"], expected.read_only);
        assert_eq!(tool["annotations"]["openWorldHint"], false);
        assert_eq!(
            tool["_meta"]["io.meridian/safe-to-retry"],
            expected.safe_to_retry
        );
    }
    let reply = session
        .ask(&call(2, "echo", &json!({ "text": "hi" })))
        .await;
    assert_eq!(reply[0]["id"], 2);
    assert_eq!(reply[0]["result"]["content"][0]["text"], "hi");
    assert_eq!(
        reply[0]["result"]["structuredContent"]["region"],
        "europe-west1"
    );

    let delete = session.headers("DELETE").body(Full::default()).unwrap();
    assert!(
        session
            .client
            .send(delete)
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let after = session
        .post(&json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/list" }))
        .await;
    assert_eq!(after.status(), StatusCode::NOT_FOUND);
    server.until("sessions", 0).await;
}

#[tokio::test]
async fn progress_of_a_legacy_call_comes_as_events_before_its_result() {
    let server = start(options()).await;
    let mut session = Session::open(&server).await;
    let seen = session
        .ask(&call(5, "slow", &json!({ "steps": 3, "step_ms": 1 })))
        .await;
    assert_eq!(steps(&seen), [1.0, 2.0, 3.0]);
    assert_eq!(
        seen.last().unwrap()["result"]["structuredContent"]["steps"],
        3
    );
}

#[tokio::test]
async fn a_legacy_client_that_leaves_can_resume_where_it_was() {
    let server = start(options()).await;
    let mut session = Session::open(&server).await;
    let answer = session
        .post(&call(6, "slow", &json!({ "steps": 4, "step_ms": 50 })))
        .await;
    let (mut body, mut rest) = (answer.into_body(), String::new());
    let mut last_id = String::new();
    loop {
        let event = next_event(&mut body, &mut rest).await.unwrap();
        last_id = event
            .lines()
            .find_map(|l| l.strip_prefix("id: "))
            .unwrap_or(&last_id)
            .to_owned();
        if event.contains("\"progress\":1") {
            break;
        }
    }
    drop(body);
    session.client = server.h1().await;
    let resume = session.headers("GET").header("last-event-id", last_id);
    let answer = session
        .client
        .send(resume.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (mut body, mut rest) = (answer.into_body(), String::new());
    let mut seen = Vec::new();
    while seen.last().is_none_or(|message: &Value| message["id"] != 6) {
        seen.push(
            next_json(&mut body, &mut rest)
                .await
                .expect("the stream goes on to its result"),
        );
    }
    assert_eq!(steps(&seen), [2.0, 3.0, 4.0]);
    assert_eq!(server.health().await.1["cancelled_total"], 0);
}

#[tokio::test]
async fn a_legacy_call_ends_by_a_cancel_notification() {
    let server = start(options()).await;
    let mut session = Session::open(&server).await;
    let answer = session
        .post(&call(8, "slow", &json!({ "steps": 2, "step_ms": 60_000 })))
        .await;
    let mut other = Session {
        client: server.h1().await,
        id: session.id.clone(),
    };
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": 8 } });
    assert_eq!(other.post(&cancel).await.status(), StatusCode::ACCEPTED);
    server.until("cancelled_total", 1).await;
    drop(answer);
}

#[tokio::test]
async fn a_standing_stream_does_not_hold_up_a_stop() {
    let mut server = start(options()).await;
    let mut session = Session::open(&server).await;
    let get = session.headers("GET").body(Full::default()).unwrap();
    let standing = session.client.send(get).await.unwrap();
    assert_eq!(standing.headers()["content-type"], "text/event-stream");
    assert_eq!(server.health().await.1["streams"], 1);
    server.stop();
    server.stopped().await;
    drop(standing);
}

#[tokio::test]
async fn a_modern_client_discovers_and_calls_without_a_session() {
    let server = start(options()).await;
    for mut client in [server.h1().await, server.h2().await] {
        let answer = client.modern("server/discover", json!({})).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key("mcp-session-id"));
        let body = within(answer.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        let reply: Value = serde_json::from_slice(&body).unwrap();
        let versions = reply["result"]["supportedVersions"].as_array().unwrap();
        assert!(versions.contains(&json!("2026-07-28")), "{reply}");
        assert_eq!(reply["result"]["resultType"], "complete");

        let result = client.tool("region_info", json!({})).await;
        assert_eq!(result["structuredContent"]["region"], "europe-west1");
    }
    assert_eq!(server.health().await.1["sessions"], 0);
}

#[tokio::test]
async fn a_modern_call_streams_its_progress() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    let params = json!({ "name": "slow", "arguments": { "steps": 3, "step_ms": 1 } });
    let answer = client.modern("tools/call", params).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut body, mut rest) = (answer.into_body(), String::new());
    let mut seen = Vec::new();
    while let Some(message) = next_json(&mut body, &mut rest).await {
        seen.push(message);
    }
    assert_eq!(steps(&seen), [1.0, 2.0, 3.0]);
    assert_eq!(seen.last().unwrap()["id"], 7);
}

#[tokio::test]
async fn a_modern_client_that_leaves_cancels_its_call() {
    let server = start(options()).await;
    // Before the first byte of the answer...
    let mut client = server.h1().await;
    let arguments = json!({ "steps": 1, "step_ms": 60_000 });
    let request = client.modern_request(
        "tools/call",
        json!({ "name": "slow", "arguments": arguments }),
    );
    let waiting = tokio::spawn(async move { client.send(request).await.map(drop) });
    server.until("in_flight", 1).await;
    waiting.abort();
    server.until("cancelled_total", 1).await;
    // ...and in the middle of it, over either version.
    for (mut client, total) in [(server.h1().await, 2), (server.h2().await, 3)] {
        let arguments = json!({ "steps": 1000, "step_ms": 20 });
        let params = json!({ "name": "slow", "arguments": arguments });
        let mut answer = client.modern("tools/call", params).await;
        assert!(within(answer.body_mut().frame()).await.is_some());
        drop((answer, client));
        server.until("cancelled_total", total).await;
    }
    server.until("in_flight", 0).await;
}

#[tokio::test]
async fn records_are_put_found_and_refused_by_class() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    let put = json!({ "key": "k", "value": "a secret", "class": "tier_1_pii" });
    let result = client.tool("records_put", put.clone()).await;
    assert_eq!(result["structuredContent"]["replaced"], false);
    assert_eq!(
        client.tool("records_put", put).await["structuredContent"]["replaced"],
        true
    );
    let result = client.tool("records_get", json!({ "key": "k" })).await;
    assert_eq!(result["structuredContent"]["record"]["value"], "a secret");
    let result = client
        .tool("records_search", json!({ "text": "secret" }))
        .await;
    assert_eq!(
        result["structuredContent"]["records"][0]["class"],
        "tier_1_pii"
    );

    let looser = json!({ "key": "k", "value": "v", "class": "tier_4_public" });
    assert_eq!(client.tool("records_put", looser).await["isError"], true);
    let unknown = json!({ "key": "k2", "value": "v", "class": "tier_9" });
    assert_eq!(client.tool("records_put", unknown).await["isError"], true);
    assert_eq!(
        client.tool("records_get", json!({ "key": "k2" })).await["isError"],
        true
    );
}

/// Calls a tool as the edge would have admitted it.
async fn admitted(server: &Server, class: &str, name: &str, arguments: Value) -> Value {
    let mut client = server.h1().await;
    let params = json!({ "name": name, "arguments": arguments });
    let mut request = client.modern_request("tools/call", params);
    request
        .headers_mut()
        .insert("x-data-class", class.parse().unwrap());
    client.exchange(request).await.unwrap().json()["result"].clone()
}

#[tokio::test]
async fn no_request_handles_data_stricter_than_its_admission() {
    let server = start(options()).await;
    let put = json!({ "key": "k", "value": "v", "class": "tier_2_personal" });
    for class in ["tier_3_operational", "tier_4_public", "nonsense"] {
        let result = admitted(&server, class, "records_put", put.clone()).await;
        assert_eq!(result["isError"], true, "{class}");
    }
    let result = admitted(&server, "tier_2_personal", "records_put", put).await;
    assert_eq!(result["isError"], false);
    for (class, found) in [
        ("tier_1_pii", 1),
        ("tier_2_personal", 1),
        ("tier_4_public", 0),
    ] {
        let got = admitted(&server, class, "records_get", json!({ "key": "k" })).await;
        assert_eq!(got["isError"], found == 0, "{class}");
        let hits = admitted(&server, class, "records_search", json!({})).await;
        assert_eq!(
            hits["structuredContent"]["records"]
                .as_array()
                .unwrap()
                .len(),
            found,
            "{class}"
        );
        let query = json!({ "region": "europe-west1" });
        let hits = admitted(&server, class, "region_query", query).await;
        assert_eq!(
            hits["structuredContent"]["records"]
                .as_array()
                .unwrap()
                .len(),
            found,
            "{class}"
        );
    }
}

#[tokio::test]
async fn a_mirrored_header_that_says_something_else_is_refused() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    let params = json!({ "name": "region_query", "arguments": { "region": "us-central1" } });
    let mut request = client.modern_request("tools/call", params.clone());
    request
        .headers_mut()
        .insert("mcp-param-region", "europe-west1".parse().unwrap());
    let reply = client.exchange(request).await.unwrap();
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json()["error"]["code"], -32020);
    let result = client
        .tool("region_query", params["arguments"].clone())
        .await;
    assert_eq!(result["isError"], true, "routed to the wrong region");
}

#[tokio::test]
async fn arguments_out_of_bounds_are_tool_errors() {
    let server = start(options()).await;
    let mut client = server.h1().await;
    for (tool, arguments) in [
        ("slow", json!({ "steps": 1001, "step_ms": 0 })),
        ("slow", json!({ "steps": 1, "step_ms": 60_001 })),
        ("slow", json!({ "steps": -1 })),
        ("echo", json!({ "text": "x".repeat(1024 * 1024 + 1) })),
        (
            "records_put",
            json!({ "key": "", "value": "", "class": "tier_4_public" }),
        ),
        ("records_get", json!({})),
    ] {
        let result = client.tool(tool, arguments).await;
        assert_eq!(result["isError"], true, "{tool}: {result}");
    }
    let large = json!({ "name": "echo", "arguments": { "text": "x".repeat(4 * 1024 * 1024) } });
    let refused = client.modern("tools/call", large).await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn any_host_is_served_unless_some_are_named() {
    let ask = async |server: &Server, host: &str| -> StatusCode {
        let mut client = server.h1().await;
        let (mut parts, body) = client
            .modern_request("server/discover", json!({}))
            .into_parts();
        parts.headers.insert("host", host.parse().unwrap());
        client
            .send(Request::from_parts(parts, body))
            .await
            .unwrap()
            .status()
    };
    let open = start(options()).await;
    assert_eq!(ask(&open, "edge.example.com").await, StatusCode::OK);
    let named = Options {
        allowed_hosts: vec!["edge.example.com".into()],
        ..options()
    };
    let closed = start(named).await;
    assert_eq!(ask(&closed, "edge.example.com").await, StatusCode::OK);
    assert_eq!(
        ask(&closed, "evil.example.com").await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn sessions_above_the_bound_are_told_to_come_back() {
    let server = start(Options {
        sessions_max: 1,
        ..options()
    })
    .await;
    let session = Session::open(&server).await;
    let mut client = server.h1().await;
    let open = |client: &Client, extra: Option<&str>| {
        let mut request = mcp_headers(client.request("POST", "/mcp"));
        if let Some(name) = extra {
            request = request.header(name, "initialize");
        }
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } } });
        request.body(Full::from(body.to_string())).unwrap()
    };
    let request = open(&client, None);
    let refused = client.exchange(request).await.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "1");
    let disguised = open(&client, Some("mcp-method"));
    assert!(
        client
            .exchange(disguised)
            .await
            .unwrap()
            .status
            .is_server_error()
    );
    assert_eq!(server.health().await.1["sessions"], 1);
    // The modern era needs none.
    assert_eq!(
        client.tool("echo", json!({ "text": "x" })).await["isError"],
        false
    );
    drop(session);
}
