//! Event streams of MCP whose backend breaks off: the client that waits is told
//! so, and nobody else takes a broken answer for a whole one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use bytes::Bytes;

use crate::harness::client::{Broken, Client};
use crate::harness::{Setup, TestEdge, Upstream, h2client, h3client, until};

const ROUTES: &str = r#"
  - { id: mcp, path: /mcp, mcp: on, timeouts: { idle: 1s } }
  - { id: everything, path: "/*" }
"#;

/// What a call answered with: its body, and whether that was all of it.
type Heard = (String, bool);

/// It broke before the edge had written anything.
const NOTHING: Heard = (String::new(), false);

/// What was heard is cut, and none of it is the edge's.
fn is_cut((heard, whole): &Heard, said: &str) -> bool {
    !whole && said.starts_with(heard)
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a-7","method":"tools/call","params":{"name":"echo"}}"#;
const PROGRESS: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";

/// How a backend answers: fields, what it says, and that it then closes.
fn breaks_off(fields: &'static str, said: &'static str) -> (Upstream, TestEdge) {
    let upstream = Upstream::start(move |call| {
        call.request();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let _ = call.send(format!("{head}{:x}\r\n{said}\r\n", said.len()));
    });
    let edge = Setup::to(&[upstream.address]).routes(ROUTES);
    (upstream, edge.logging().start())
}

const EVENTS: &str = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";

/// Posts over every protocol.
fn post(edge: &TestEdge, path: &str, body: &'static str) -> [Heard; 3] {
    [
        over_h1(&mut edge.plain(), path, body),
        over_h2(edge, path, body),
        over_h3(edge, path, body),
    ]
}

fn over_h1(client: &mut Client, path: &str, body: &str) -> Heard {
    let length = body.len();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    let Ok(answer) = client.head() else {
        return NOTHING;
    };
    assert_eq!(answer.status, 200);
    let mut heard = Vec::new();
    if let Some(length) = answer.field("content-length") {
        let (rest, _) = client.rest();
        let whole = rest.len() == length.parse::<usize>().unwrap();
        return (String::from_utf8(rest).unwrap(), whole);
    }
    let whole = loop {
        match client.chunk(&mut heard) {
            Ok(true) => {}
            Ok(false) => {
                assert_eq!(client.exactly(2), b"\r\n");
                break true;
            }
            Err(Broken::Ended(_, body)) => {
                heard = body;
                break false;
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    (String::from_utf8(heard).unwrap(), whole)
}

fn over_h2(edge: &TestEdge, path: &str, body: &'static str) -> Heard {
    h2client::with(edge, async |mut client| {
        let (answer, mut send) = client.begin("POST", path).await;
        h2client::write(&mut send, Bytes::from_static(body.as_bytes()))
            .await
            .unwrap();
        let Ok(answer) = answer.await else {
            return NOTHING;
        };
        let mut stream = answer.into_body();
        let mut heard = Vec::new();
        let whole = loop {
            match stream.data().await {
                Some(Ok(data)) => {
                    let _ = stream.flow_control().release_capacity(data.len());
                    heard.extend_from_slice(&data);
                }
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        (String::from_utf8(heard).unwrap(), whole)
    })
}

fn over_h3(edge: &TestEdge, path: &str, body: &'static str) -> Heard {
    h3client::with(edge, async |mut client| {
        use h3client::Answering as _;
        let mut exchange = client.begin("POST", path).await;
        exchange
            .send_data(Bytes::from_static(body.as_bytes()))
            .await
            .unwrap();
        exchange.finish().await.unwrap();
        if exchange.head().await.is_err() {
            return NOTHING;
        }
        let mut heard = Vec::new();
        let whole = loop {
            match exchange.piece().await {
                Ok(Some(piece)) => heard.extend_from_slice(&piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        (String::from_utf8(heard).unwrap(), whole)
    })
}

/// The JSON of the last event, and what stands before it.
fn last_event(heard: &str) -> (&str, serde_json::Value) {
    let (before, data) = heard.rsplit_once("event: message\ndata: ").unwrap();
    let json = data.strip_suffix("\n\n").unwrap();
    (before, serde_json::from_str(json).unwrap())
}

#[test]
fn a_call_whose_backend_dies_gets_an_error_with_its_id_as_the_last_event() {
    let (_upstream, edge) = breaks_off(EVENTS, PROGRESS);
    for (heard, whole) in post(&edge, "/mcp", CALL) {
        let (before, error) = last_event(&heard);
        assert_eq!((before, whole), (PROGRESS, true));
        assert_eq!(error["id"], "a-7");
        assert_eq!(error["error"]["code"], 502);
        assert_eq!(error["error"]["data"]["reason"], "upstream-broken");
    }
    // It is told as what it was.
    until("logged", || {
        let log = edge.log();
        let broke = log.iter().filter(|line| line.contains("upstream-broke"));
        (broke.count() == 3).then_some(())
    });
}

#[test]
fn a_message_that_was_cut_is_not_taken_for_one() {
    let (_upstream, edge) = breaks_off(EVENTS, "data: {\"jsonrpc\":\"2.0\",\"id\":\"a-7\",\"res");
    for (heard, whole) in post(&edge, "/mcp", CALL) {
        let (before, error) = last_event(&heard);
        assert!(before.ends_with("\nevent: interrupted\n\n"), "{before}");
        assert_eq!((&error["id"], whole), (&"a-7".into(), true));
    }
}

#[test]
fn the_connection_of_a_call_that_was_told_goes_on() {
    let (_upstream, edge) = breaks_off(EVENTS, PROGRESS);
    let mut client = edge.plain();
    for _ in 0..3 {
        let (heard, whole) = over_h1(&mut client, "/mcp", CALL);
        assert_eq!((&last_event(&heard).1["id"], whole), (&"a-7".into(), true));
    }
}

#[test]
fn what_nobody_waits_for_by_an_id_ends_as_it_broke() {
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let odd = r#"{"jsonrpc":"2.0","id":{"a":1},"method":"tools/call"}"#;
    let json = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let packed = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n";
    let answered = "data: {\"jsonrpc\":\"2.0\",\"id\":\"a-7\",\"result\":{}}\n\n";
    for (name, path, body, (fields, said)) in [
        ("no MCP", "/other", CALL, (EVENTS, PROGRESS)),
        ("no request", "/mcp", notification, (EVENTS, PROGRESS)),
        ("no id", "/mcp", odd, (EVENTS, PROGRESS)),
        ("no events", "/mcp", CALL, (json, "{\"jsonrpc\"")),
        ("not readable", "/mcp", CALL, (packed, "zip")),
        ("answered", "/mcp", CALL, (EVENTS, answered)),
    ] {
        let (_upstream, edge) = breaks_off(fields, said);
        for heard in post(&edge, path, body) {
            assert!(is_cut(&heard, said), "{name}: {heard:?}");
        }
    }
}

#[test]
fn a_stream_with_a_length_is_cut() {
    let upstream = Upstream::start(|call| {
        call.request();
        let _ = call.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\n: x\n\n");
    });
    let edge = Setup::to(&[upstream.address]).routes(ROUTES).start();
    for heard in post(&edge, "/mcp", CALL) {
        assert!(is_cut(&heard, ": x\n\n"), "{heard:?}");
    }
}

#[test]
fn a_call_that_hears_nothing_for_its_routes_time_is_told() {
    let upstream = Upstream::start(|call| {
        call.request();
        let _ = call.send(format!("HTTP/1.1 200 OK\r\n{EVENTS}\r\n5\r\n: x\n\n\r\n"));
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address]).routes(ROUTES).start();
    let (heard, whole) = over_h1(&mut edge.plain(), "/mcp", CALL);
    let (before, error) = last_event(&heard);
    assert_eq!((before, whole), (": x\n\n", true));
    assert_eq!(error["error"]["code"], 504);
}

/// A backend that says an event with an id and breaks off.
const RESUMABLE: &str = "id: 0\ndata\n\n";

#[test]
fn a_stream_that_can_be_resumed_is_left_to_the_client_while_its_endpoint_lives() {
    let (_upstream, edge) = breaks_off(EVENTS, RESUMABLE);
    for heard in post(&edge, "/mcp", CALL) {
        assert!(is_cut(&heard, RESUMABLE), "{heard:?}");
    }
}

#[test]
fn a_stream_that_could_be_resumed_is_told_when_its_endpoint_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(CALL.as_bytes()) {
            let mut bytes = [0; 1_024];
            let count = stream.read(&mut bytes).unwrap();
            request.extend_from_slice(&bytes[..count]);
        }
        let length = RESUMABLE.len();
        let answer = format!("HTTP/1.1 200 OK\r\n{EVENTS}\r\n{length:x}\r\n{RESUMABLE}\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
        // It dies: nobody listens any more when the stream ends.
        drop(listener);
    });
    let edge = Setup::to(&[address]).routes(ROUTES).start();
    let (heard, whole) = over_h1(&mut edge.plain(), "/mcp", CALL);
    backend.join().unwrap();
    let (before, error) = last_event(&heard);
    assert_eq!((before, whole), (RESUMABLE, true));
    assert_eq!(error["id"], "a-7");
}
