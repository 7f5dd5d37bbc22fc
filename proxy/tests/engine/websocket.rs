//! Upgrades to WebSocket: from then on bytes both ways, over every version.

use std::sync::mpsc::channel;
use std::time::Duration;

use http::Request;

use crate::harness::websocket::{OVER, Over, Socket, masked, opening, plain, reason};
use crate::harness::{CARRIERS, Call, Carrier, End, Setup, TestEdge, Upstream, h2client, pattern};
use crate::harness::{alone, until};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// Switches, greets at once, and sends everything back.
fn mirror() -> Upstream {
    Upstream::start(|call| {
        if call.upgrade().is_none() {
            return;
        }
        call.send("hello").unwrap();
        while let Some(bytes) = call.some() {
            if call.send(bytes).is_err() {
                return;
            }
        }
    })
}

/// Switches and runs the script.
fn script(script: impl Fn(&mut Call) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |call| {
        if call.upgrade().is_some() {
            script(call);
        }
    })
}

/// Answers a close frame with the same, and ends.
fn polite(call: &mut Call) {
    while let Some((first, payload)) = call.frame() {
        if first == CLOSE {
            call.send(plain(CLOSE, &payload)).unwrap();
            return;
        }
        call.send(plain(first, &payload)).unwrap();
    }
}

/// How a tunnel ends that was cut: streams can say so.
fn cut(over: Over) -> End {
    match over {
        Over::H1(_) => End::Clean,
        Over::H2 | Over::H3 => End::Reset,
    }
}

/// A reset overtakes what was sent before it in QUIC alone.
fn broke_off(over: Over, (rest, end): (Vec<u8>, End), all: &[u8]) {
    assert_eq!(end, cut(over), "{over:?}");
    match over {
        Over::H1(_) | Over::H2 => assert_eq!(rest, all, "{over:?}"),
        Over::H3 => assert!(all.starts_with(&rest), "{rest:?}"),
    }
}

fn ended(edge: &TestEdge, reason: &str) -> u64 {
    edge.metric(&format!(
        "meridian_websockets_closed_total{{reason=\"{reason}\"}}"
    ))
}

fn until_ended(edge: &TestEdge, reason: &str, count: u64) {
    until(reason, || (ended(edge, reason) == count).then_some(()));
}

/// What a backend read after the head of the handshake.
fn after_head(bytes: &[u8]) -> &[u8] {
    let ends = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    &bytes[ends.unwrap() + 4..]
}

#[test]
fn bytes_flow_both_ways_unread() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for over in OVER {
        let mut client = Socket::open(&edge, over);
        assert_eq!(client.exactly(5), b"hello");
        for text in ["a", "GET /deny HTTP/1.1\r\n\r\n", "\0\u{ff}\r\n"] {
            client.send(text);
            assert_eq!(client.exactly(text.len()), text.as_bytes());
        }
    }
}

#[test]
fn what_comes_with_the_upgrade_in_one_piece_goes_through() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        client.send(format!("{}early", opening("/ws")));
        assert_eq!(client.head().unwrap().status, 101);
        assert_eq!(client.exactly(10), b"helloearly");
    }
}

#[test]
fn a_megabyte_goes_through_both_ways_at_once() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for over in OVER {
        let mut client = Socket::open(&edge, over);
        assert_eq!(client.exactly(5), b"hello");
        let bytes = pattern(1_000_000);
        for part in bytes.chunks(50_000) {
            client.send(part);
        }
        assert!(client.exactly(bytes.len()) == bytes, "{over:?}");
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    let upstream = script(|call| {
        let mut sent = 0;
        for part in pattern(8_000_000).chunks(100_000) {
            if call.send(part).is_err() {
                return;
            }
            sent += part.len();
        }
        assert_eq!(sent, 8_000_000);
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = Socket::open(&edge, Over::H2);
    client.stall();
    // The window of a client that gives none back.
    let mut got = client.exactly(65_535);
    std::thread::park_timeout(Duration::from_millis(200));
    assert!(!upstream.is_closed(0));
    client.resume();
    got.extend(client.exactly(8_000_000 - 65_535));
    assert!(got == pattern(8_000_000));
}

#[test]
fn the_end_of_one_side_reaches_the_other_which_may_still_speak() {
    let upstream = script(|call| {
        call.until_ended();
        call.send("last words").unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for over in OVER {
        let mut client = Socket::open(&edge, over);
        client.finish("bye");
        broke_off(over, client.rest(), b"last words");
    }
}

#[test]
fn a_close_is_answered_and_the_stream_finished() {
    let upstream = script(polite);
    let edge = Setup::to(&[upstream.address]).start();
    let goodbye = reason(1000, "done");
    for over in OVER {
        let mut client = Socket::open(&edge, over);
        client.send([masked(TEXT, b"hi"), masked(CLOSE, &goodbye)].concat());
        let expected = [plain(TEXT, b"hi"), plain(CLOSE, &goodbye)].concat();
        assert_eq!(client.rest(), (expected, End::Clean), "{over:?}");
    }
    until_ended(&edge, "complete", 4);
}

#[test]
fn a_client_that_ends_with_its_close_still_gets_the_backends() {
    let (go, may_go) = channel();
    let may_go = std::sync::Mutex::new(may_go);
    let upstream = script(move |call| {
        let (first, payload) = call.frame().unwrap();
        assert_eq!(first, CLOSE);
        // The end of the client is not passed on before the answer.
        may_go.lock().unwrap().recv().unwrap();
        assert!(!call.has_ended());
        call.send(plain(CLOSE, &payload)).unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for over in OVER {
        let mut client = Socket::open(&edge, over);
        client.finish(masked(CLOSE, &reason(1000, "")));
        go.send(()).unwrap();
        let expected = plain(CLOSE, &reason(1000, ""));
        assert_eq!(client.rest(), (expected, End::Clean), "{over:?}");
    }
}

#[test]
fn a_backend_that_closes_first_hears_the_answer() {
    let upstream = script(|call| {
        call.send(plain(CLOSE, &reason(1001, "bye"))).unwrap();
        assert_eq!(call.frame().unwrap(), (CLOSE, reason(1001, "bye")));
        call.send("after the close, unread").unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for (number, over) in OVER.into_iter().enumerate() {
        let mut client = Socket::open(&edge, over);
        let close = plain(CLOSE, &reason(1001, "bye"));
        assert_eq!(client.exactly(close.len()), close);
        client.send(masked(CLOSE, &reason(1001, "bye")));
        assert_eq!(client.rest().1, End::Clean, "{over:?}");
        until("the script ends", || {
            upstream.is_closed(number).then_some(())
        });
    }
}

#[test]
fn a_backend_that_dies_is_never_a_clean_end() {
    let partial = &plain(TEXT, b"half of it")[..6];
    for dying in [&b""[..], &plain(TEXT, b"hi"), partial] {
        let bytes = dying.to_vec();
        let upstream = script(move |call| {
            call.frame().unwrap();
            call.send(&bytes).unwrap();
        });
        let edge = Setup::to(&[upstream.address]).start();
        for over in OVER {
            let mut client = Socket::open(&edge, over);
            client.send(masked(TEXT, b"die"));
            // Over HTTP/1 there is no close frame: 1006.
            broke_off(over, client.rest(), dying);
        }
        until_ended(&edge, "upstream-broke", 4);
    }
}

#[test]
fn a_backend_that_resets_is_felt() {
    let upstream = script(|call| {
        call.frame().unwrap();
        call.reset();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for over in OVER {
        let mut client = Socket::open(&edge, over);
        client.send(masked(TEXT, b"die"));
        let (rest, end) = client.rest();
        assert_eq!(rest, b"", "{over:?}");
        assert!(cut(over) == End::Clean || end == End::Reset, "{over:?}");
    }
    until_ended(&edge, "upstream-broke", 4);
}

#[test]
fn a_client_that_leaves_is_felt_by_the_backend() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for (number, over) in OVER.into_iter().enumerate() {
        let mut client = Socket::open(&edge, over);
        assert_eq!(client.exactly(5), b"hello");
        client.abort();
        upstream.until_ended(number);
    }
    until_ended(&edge, "client-gone", 4);
}

#[test]
fn a_refused_upgrade_is_an_answer_like_any_other() {
    let upstream = Upstream::always("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    for _ in 0..2 {
        let answer = client.ask(opening("/ws"));
        assert_eq!((answer.status, answer.text()), (403, "no"));
    }
    assert_eq!(client.get("/").status, 403);
    h2client::with(&edge, async |mut client| {
        for _ in 0..2 {
            let answer = client.ask_with(connect("/ws")).await;
            assert_eq!((answer.status, answer.text()), (403, "no"));
        }
    });
}

#[test]
fn other_upgrades_are_ignored_and_never_passed_on() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0",
        "Upgrade: websocket",
        "Connection: Upgrade",
    ] {
        let answer = edge
            .plain()
            .ask(format!("GET / HTTP/1.1\r\nHost: edge\r\n{fields}\r\n\r\n"));
        assert_eq!(answer.status, 200, "{fields}");
        let seen = answer.text().to_ascii_lowercase();
        assert!(
            !seen.contains("upgrade") && !seen.contains("http2-settings"),
            "{seen}"
        );
    }
}

#[test]
fn a_wish_to_upgrade_ends_at_the_edge_where_the_route_takes_none() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let answer = edge.plain().ask(opening("/no-socket"));
    assert_eq!(answer.status, 200);
    assert!(
        !answer.text().to_ascii_lowercase().contains("upgrade"),
        "{}",
        answer.text()
    );
    // A stream has nothing else to become, and 2xx would mean that it has.
    for (path, status) in [("/no-socket", 404), ("/edge-health", 404), ("/deny", 403)] {
        for over in [Over::H2, Over::H3] {
            let asked = Socket::ask(&edge, over, path).err();
            assert_eq!(asked, Some(status), "{path}");
        }
    }
    assert_eq!(upstream.seen().len(), 1, "none of it reached the backend");
}

#[test]
fn an_upgrade_that_the_backend_makes_of_its_own_accord_is_502() {
    let upstream = Upstream::start(|call: &mut Call| {
        call.head();
        call.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address])
        .policies("retry: { max_retries: 0 }\n")
        .start();
    assert_eq!(edge.plain().get("/").status, 502);
}

#[test]
fn a_switch_that_does_not_answer_the_key_is_502_and_no_fault_of_the_endpoint() {
    let upstream = Upstream::start(|call: &mut Call| {
        let fields = match call.number % 4 {
            0 => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOx=\r\n"
            }
            1 => "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            2 => {
                "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            }
            _ => "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        };
        call.head();
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
        call.send(answer).unwrap();
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for over in OVER {
        for _ in 0..4 {
            assert_eq!(Socket::ask(&edge, over, "/ws").err(), Some(502), "{over:?}");
        }
    }
    assert_eq!(upstream.seen().len(), 16, "none was tried again");
}

#[test]
fn a_backend_that_answers_without_switching_is_no_websocket() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let answer = edge.plain().ask(opening("/ws"));
    assert_eq!(answer.status, 200, "over HTTP/1 a client sees that");
    for over in [Over::H2, Over::H3] {
        assert_eq!(Socket::ask(&edge, over, "/ws").err(), Some(502));
    }
}

fn connect(path: &str) -> Request<()> {
    Request::builder()
        .method("CONNECT")
        .uri(format!("https://edge{path}"))
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat, superchat")
        .header("sec-websocket-extensions", "permessage-deflate")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("origin", "https://edge")
        .body(())
        .unwrap()
}

#[test]
fn an_extended_connect_is_the_same_request_with_a_key_of_the_edges() {
    let upstream = script(polite);
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        for _ in 0..2 {
            let (answer, mut send) = client.start(connect("/ws?a=b"), false).await;
            let (parts, mut body) = answer.await.unwrap().into_parts();
            assert_eq!(parts.status, 200);
            assert_eq!(parts.headers["sec-websocket-protocol"], "chat");
            assert_eq!(parts.headers["x-meridian-region"], "local");
            assert!(parts.headers.contains_key("x-request-id"));
            for absent in [
                "sec-websocket-accept",
                "connection",
                "upgrade",
                "content-length",
            ] {
                assert!(!parts.headers.contains_key(absent), "{absent}");
            }
            send.send_data(masked(CLOSE, b"").into(), false).unwrap();
            assert_eq!(h2client::read(&mut body).await.unwrap(), plain(CLOSE, b""));
            send.send_data(bytes::Bytes::new(), true).unwrap();
        }
    });
    let seen = upstream.seen();
    let field = |number: usize, name: &str| {
        let text = seen[number].text();
        let head = text.split("\r\n\r\n").next().unwrap();
        crate::harness::upstream::field(head, name).map(str::to_owned)
    };
    for number in [0, 1] {
        assert!(seen[number].text().starts_with("GET /ws?a=b HTTP/1.1\r\n"));
        let has = |name| field(number, name).unwrap();
        assert_eq!(has("sec-websocket-version"), "13");
        assert_eq!(has("sec-websocket-protocol"), "chat, superchat");
        assert_eq!(has("sec-websocket-extensions"), "permessage-deflate");
        assert_eq!(has("origin"), "https://edge");
        assert_eq!(has("connection"), "upgrade");
        assert_eq!(has("sec-websocket-key").len(), 24);
        assert_eq!(field(number, "content-length"), None);
        assert_eq!(field(number, "transfer-encoding"), None);
    }
    let key = |number| field(number, "sec-websocket-key").unwrap();
    assert_ne!(key(0), key(1));
    assert_ne!(key(0), "AAAAAAAAAAAAAAAAAAAAAA==");
}

#[test]
fn the_edge_offers_extended_connect() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        client.ask("GET", "/deny").await;
        assert!(client.send.is_extended_connect_protocol_enabled());
    });
}

#[test]
fn a_websocket_counts_as_one_and_its_bytes_are_logged_by_direction() {
    let upstream = script(polite);
    let edge = Setup::to(&[upstream.address]).logging().start();
    let open = |protocol| {
        edge.metric(&format!(
            "erlmcp_active_connections{{region=\"local\",protocol=\"{protocol}\"}}"
        ))
    };
    for (over, carried) in [
        (Over::H1(Carrier::Plain), "h1"),
        (Over::H1(Carrier::Tls), "h1"),
        (Over::H2, "h2"),
        (Over::H3, "h3"),
    ] {
        let mut client = Socket::open(&edge, over);
        client.send(masked(BINARY, &[7; 1_000]));
        client.exactly(plain(BINARY, &[7; 1_000]).len());
        assert_eq!(open("websocket"), 1, "{over:?}");
        assert_eq!(open(carried), u64::from(carried != "h1"), "{over:?}");
        client.finish(masked(CLOSE, b""));
        assert_eq!(client.rest(), (plain(CLOSE, b""), End::Clean));
        drop(client);
        until("nothing is open", || {
            (open("websocket") + open(carried) == 0).then_some(())
        });
    }
    let lines = edge.log();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, (status, version)) in
        lines
            .iter()
            .zip([(101, "1.1"), (101, "1.1"), (200, "2"), (200, "3")])
    {
        for part in [
            format!("\"status\":{status},"),
            // 1,000 bytes and a head of 8, an empty close frame of 6.
            "\"requestSize\":\"1014\"".to_owned(),
            "\"responseSize\":\"1006\"".to_owned(),
            "\"requestMethod\":\"GET\"".to_owned(),
            format!("\"protocol\":\"HTTP/{version}\""),
            "\"protocol\":\"websocket\"".to_owned(),
            "\"end\":\"complete\"".to_owned(),
        ] {
            assert!(line.contains(&part), "{part}: {line}");
        }
    }
}

const BOUNDED: &str = r#"
  - { id: idle, path: "/idle", websocket: { idle: 400ms } }
  - { id: lifetime, path: "/lifetime", websocket: { max_lifetime: 600ms } }
  - { id: inherited, path: "/inherited", websocket: on, timeouts: { idle: 400ms } }
  - { id: everything, path: "/*", websocket: on }
"#;

/// Waits for a close frame of the edge and answers it; remembers the rest.
fn obedient(call: &mut Call) {
    while let Some((first, payload)) = call.frame() {
        if first == CLOSE {
            call.send(plain(CLOSE, &payload)).unwrap();
            return call.until_ended();
        }
    }
}

#[test]
fn an_idle_websocket_is_closed_on_both_sides_with_1001() {
    let upstream = script(obedient);
    let edge = Setup::to(&[upstream.address]).routes(BOUNDED).start();
    for path in ["/idle", "/inherited"] {
        for over in OVER {
            let mut client = Socket::ask(&edge, over, path).ok().unwrap();
            let close = plain(CLOSE, &reason(1001, "idle"));
            assert_eq!(client.exactly(close.len()), close, "{over:?}");
            client.send(masked(CLOSE, &reason(1001, "")));
            client.finish("");
            assert_eq!(client.rest(), (Vec::new(), End::Clean), "{over:?}");
        }
    }
    until_ended(&edge, "idle", 8);
    for seen in upstream.seen() {
        let frame = after_head(&seen.bytes);
        assert_eq!(frame[..2], [CLOSE, 0x86], "masked");
        let unmasked: Vec<u8> = (0..6).map(|at| frame[6 + at] ^ frame[2 + at % 4]).collect();
        assert_eq!(unmasked, reason(1001, "idle"));
        assert_eq!(frame.len(), 12, "and nothing after it");
    }
    until("the connections end", || {
        (edge.closed("websocket-idle") == 4).then_some(())
    });
}

#[test]
fn a_ping_keeps_a_websocket_from_being_idle() {
    let upstream = script(polite);
    let edge = Setup::to(&[upstream.address]).routes(BOUNDED).start();
    let mut client = Socket::ask(&edge, Over::H2, "/idle").ok().unwrap();
    for _ in 0..4 {
        std::thread::park_timeout(Duration::from_millis(200));
        client.send(masked(PING, b""));
        assert_eq!(client.exactly(2), plain(PING, b""));
    }
    assert_eq!(ended(&edge, "idle"), 0);
}

#[test]
fn a_lifetime_ends_between_two_frames_however_busy_they_are() {
    let upstream = script(obedient);
    let edge = Setup::to(&[upstream.address]).routes(BOUNDED).start();
    for over in OVER {
        let mut client = Socket::ask(&edge, over, "/lifetime").ok().unwrap();
        let (first, second) = (masked(TEXT, &[b'x'; 200]), masked(TEXT, b"too late"));
        // In the middle of a frame when the time comes.
        client.send(&first[..100]);
        std::thread::park_timeout(Duration::from_millis(300));
        client.send(&first[100..200]);
        let close = plain(CLOSE, &reason(1001, "lifetime"));
        assert_eq!(client.exactly(close.len()), close, "{over:?}");
        client.send([&first[200..], &second, &masked(CLOSE, b"")].concat());
        client.finish("");
        assert_eq!(client.rest(), (Vec::new(), End::Clean), "{over:?}");
    }
    until_ended(&edge, "lifetime", 4);
    for seen in upstream.seen() {
        let frames = after_head(&seen.bytes);
        assert_eq!(frames[..208], masked(TEXT, &[b'x'; 200]), "to its end");
        assert_eq!(frames[208..210], [CLOSE, 0x8a], "then the close frame");
        assert_eq!(frames.len(), 208 + 6 + 10, "and nothing more");
    }
}

#[test]
fn a_side_that_does_not_answer_a_close_is_not_waited_for_long() {
    let upstream = script(|call: &mut Call| {
        // Neither answers nor ends.
        while call.frame().is_some() {}
    });
    let edge = Setup::to(&[upstream.address]).routes(BOUNDED).start();
    let mut clients: Vec<_> = OVER
        .into_iter()
        .map(|over| Socket::ask(&edge, over, "/idle").ok().unwrap())
        .collect();
    for client in &mut clients {
        let expected = plain(CLOSE, &reason(1001, "idle"));
        assert_eq!(client.rest(), (expected, End::Clean));
    }
    until_ended(&edge, "idle", 4);
}

#[test]
fn where_no_frames_are_spoken_none_is_written() {
    let upstream = script(Call::until_ended);
    let edge = Setup::to(&[upstream.address]).routes(BOUNDED).start();
    for over in OVER {
        let mut client = Socket::ask(&edge, over, "/idle").ok().unwrap();
        client.send("no frame at all");
        let (rest, end) = client.rest();
        // What the backend says is framed as far as it goes: nothing yet.
        assert_eq!(rest, plain(CLOSE, &reason(1001, "idle")), "{over:?}");
        assert_eq!(end, End::Clean, "{over:?}");
    }
    for seen in upstream.seen() {
        assert!(seen.text().ends_with("\r\n\r\nno frame at all"));
    }
    let upstream = script(|call| {
        call.send("no frame either").unwrap();
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address]).routes(BOUNDED).start();
    for over in OVER {
        let mut client = Socket::ask(&edge, over, "/idle").ok().unwrap();
        let (rest, end) = client.rest();
        assert_eq!(rest, b"no frame either", "{over:?}");
        assert!(cut(over) == End::Clean || end == End::Reset, "{end:?}");
    }
}

fn drained(over: Over, timeouts: &str) {
    let upstream = script(obedient);
    let edge = Setup::to(&[upstream.address]).timeouts(timeouts).start();
    let mut client = Socket::open(&edge, over);
    edge.edge.lifecycle.drain();
    let close = plain(CLOSE, &reason(1001, "drained"));
    assert_eq!(client.exactly(close.len()), close, "{over:?}");
    client.finish(masked(CLOSE, &reason(1001, "")));
    assert_eq!(client.rest(), (Vec::new(), End::Clean), "{over:?}");
    edge.until_ended();
    assert_eq!(ended(&edge, "drained"), 1);
    assert!(upstream.seen()[0].bytes.len() > 12);
    upstream.until_ended(0);
}

#[test]
fn a_drain_closes_with_1001_at_its_bound() {
    alone("websocket::a_drain_closes_with_1001_at_its_bound", || {
        drained(Over::H1(Carrier::Plain), "drain: 700ms");
    });
}

#[test]
fn a_drain_closes_streams_with_1001_at_its_bound() {
    alone(
        "websocket::a_drain_closes_streams_with_1001_at_its_bound",
        || {
            drained(Over::H2, "drain: 700ms");
        },
    );
}

#[test]
fn a_drain_may_close_websockets_at_once() {
    alone("websocket::a_drain_may_close_websockets_at_once", || {
        drained(Over::H1(Carrier::Tls), "drain: 1h, websocket_drain: 0s");
    });
}

#[test]
fn a_drain_may_close_websockets_sooner_than_the_rest() {
    alone(
        "websocket::a_drain_may_close_websockets_sooner_than_the_rest",
        || drained(Over::H2, "drain: 1h, websocket_drain: 300ms"),
    );
}

#[test]
fn a_drain_closes_with_1001_over_quic_too() {
    alone("websocket::a_drain_closes_with_1001_over_quic_too", || {
        drained(Over::H3, "drain: 1h, websocket_drain: 300ms");
    });
}
