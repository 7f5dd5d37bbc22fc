//! The way out: what runs may finish, what waits is closed, nothing new
//! begins, and then `run` returns.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::harness::frames::{DATA, Frame, Frames, GOAWAY, HEADERS, NO_ERROR, PING, Verdict};
use crate::harness::{CARRIERS, End, PATIENCE, Setup, TestEdge, Upstream, alone, h2client, until};

/// Answers `/wait` when it is told to.
struct Waiting {
    upstream: Upstream,
    go: Sender<()>,
}

fn waiting() -> Waiting {
    let (go, may_go): (Sender<()>, Receiver<()>) = channel();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        while let Some(request) = call.request() {
            if request.head.contains("/wait") {
                may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            if request.head.contains("/sse") {
                let _ =
                    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
                return call.until_ended();
            }
            if request.head.contains("/ws") {
                let _ = call.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                );
                return call.until_ended();
            }
            if call.ok(b"done").is_err() {
                return;
            }
        }
    });
    Waiting { upstream, go }
}

/// What SIGTERM does.
fn drain(edge: &TestEdge) -> Instant {
    edge.edge.lifecycle.drain();
    Instant::now()
}

#[test]
fn a_request_in_flight_finishes_and_tells_the_client_to_go() {
    alone(
        "drain::a_request_in_flight_finishes_and_tells_the_client_to_go",
        || {
            let Waiting { upstream, go } = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            let mut clients: Vec<_> = CARRIERS
                .into_iter()
                .map(|carrier| edge.over(carrier))
                .collect();
            for client in &mut clients {
                client.send("GET /wait HTTP/1.1\r\nHost: edge\r\n\r\n");
            }
            until("both at the backend", || {
                (upstream.count("/wait") == 2).then_some(())
            });
            drain(&edge);
            go.send(()).unwrap();
            go.send(()).unwrap();
            for client in &mut clients {
                let answer = client.answer();
                assert_eq!(
                    (answer.text(), answer.field("connection")),
                    ("done", Some("close"))
                );
                assert_eq!(client.ends(), End::Clean);
            }
            edge.until_ended();
        },
    );
}

#[test]
fn idle_connections_close_at_once_and_new_ones_are_refused() {
    alone(
        "drain::idle_connections_close_at_once_and_new_ones_are_refused",
        || {
            let Waiting { upstream, go: _go } = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            let mut clients: Vec<_> = CARRIERS
                .into_iter()
                .map(|carrier| edge.over(carrier))
                .collect();
            for client in &mut clients {
                assert_eq!(client.get("/").text(), "done");
            }
            let start = drain(&edge);
            for client in &mut clients {
                assert_eq!(client.ends(), End::Clean);
            }
            edge.until_ended();
            assert!(
                start.elapsed() < Duration::from_secs(4),
                "{:?}",
                start.elapsed()
            );
            assert!(TcpStream::connect_timeout(&edge.plain, PATIENCE).is_err());
            assert_eq!(edge.closed("drained"), 2);
        },
    );
}

#[test]
fn a_silent_connection_does_not_hold_the_end_up() {
    alone(
        "drain::a_silent_connection_does_not_hold_the_end_up",
        || {
            let Waiting { upstream, go: _go } = waiting();
            let edge = Setup::to(&[upstream.address])
                .timeouts("head: 500ms")
                .start();
            let mut client = edge.plain();
            // It was accepted before the drain begins.
            until("accepted", || {
                (edge.edge.connections.open() == 1).then_some(())
            });
            let start = drain(&edge);
            client.ends();
            edge.until_ended();
            assert!(
                start.elapsed() < Duration::from_secs(4),
                "{:?}",
                start.elapsed()
            );
        },
    );
}

#[test]
fn an_h2_connection_gets_goaway_finishes_its_streams_and_ends() {
    alone(
        "drain::an_h2_connection_gets_goaway_finishes_its_streams_and_ends",
        || {
            let Waiting { upstream, go } = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            let mut client = Frames::open(&edge);
            client.get(1, "/wait");
            upstream.until_seen("/wait");
            drain(&edge);
            assert_eq!(client.goaway(), Some(NO_ERROR));
            go.send(()).unwrap();
            assert_eq!(client.verdict(1), Verdict::Answered(200));
            let mut body = Vec::new();
            while let Some(frame) = client.next() {
                if frame.kind == DATA {
                    body.extend(frame.payload);
                }
            }
            assert_eq!(body, b"done");
            edge.until_ended();
        },
    );
}

/// The streams that a GOAWAY promises to serve.
fn promised(goaway: &Frame) -> u32 {
    u32::from_be_bytes(goaway.payload[..4].try_into().unwrap())
}

#[test]
fn an_h2_client_that_answers_the_ping_ahead_of_its_queue_is_served_all_of_it() {
    alone(
        "drain::an_h2_client_that_answers_the_ping_ahead_of_its_queue_is_served_all_of_it",
        || {
            let Waiting { upstream, go: _go } = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            let mut client = Frames::open(&edge);
            client.get(1, "/");
            assert_eq!(client.verdict(1), Verdict::Answered(200));
            drain(&edge);
            let first = client.until(|frame| frame.kind == GOAWAY).unwrap();
            assert_eq!(promised(&first), u32::MAX >> 1);
            let ping = client.until(|frame| frame.kind == PING).unwrap();
            assert_eq!(ping.payload, meridian_wire::h2::SHUTDOWN_ACK[9..]);
            // The answer is out (`next` gives it); what was begun comes behind.
            for number in 1..20 {
                client.get(number * 2 + 1, "/");
                assert_eq!(client.verdict(number * 2 + 1), Verdict::Answered(200));
            }
            let last = client.until(|frame| frame.kind == GOAWAY).unwrap();
            assert_eq!((promised(&last), last.code()), (39, NO_ERROR));
            assert_eq!(client.until(|frame| frame.kind == GOAWAY), None);
            edge.until_ended();
        },
    );
}

#[test]
fn an_h2_client_that_never_answers_the_ping_is_told_the_last_stream_at_the_bound() {
    alone(
        "drain::an_h2_client_that_never_answers_the_ping_is_told_the_last_stream_at_the_bound",
        || {
            let Waiting { upstream, go } = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            let mut client = Frames::open(&edge);
            client.get(1, "/wait");
            upstream.until_seen("/wait");
            let start = drain(&edge);
            let mut promises = Vec::new();
            while promises.len() < 2 {
                let frame = client.silent().unwrap();
                if frame.kind == GOAWAY {
                    promises.push(promised(&frame));
                }
            }
            assert_eq!(promises, [u32::MAX >> 1, 1]);
            assert!(start.elapsed() < Duration::from_secs(5));
            // Too late: it gets no answer, and the first one still does.
            client.get(3, "/late");
            go.send(()).unwrap();
            let heads =
                std::iter::from_fn(|| client.silent()).filter(|frame| frame.kind == HEADERS);
            assert_eq!(heads.map(|head| head.stream).collect::<Vec<_>>(), [1]);
            assert_eq!(upstream.count("/late"), 0);
            edge.until_ended();
        },
    );
}

#[test]
fn an_h2_library_client_loses_nothing() {
    alone("drain::an_h2_library_client_loses_nothing", || {
        let Waiting { upstream, go } = waiting();
        let edge = Setup::to(&[upstream.address]).start();
        h2client::with(&edge, async |mut client| {
            let (answer, mut send) = client.begin("POST", "/wait").await;
            h2client::write(&mut send, Bytes::from_static(b"abc"))
                .await
                .unwrap();
            while upstream.count("/wait") == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drain(&edge);
            go.send(()).unwrap();
            assert_eq!(h2client::whole(answer).await.unwrap().text(), "done");
        });
        edge.until_ended();
    });
}

#[test]
fn what_never_ends_is_cut_at_the_bound() {
    alone("drain::what_never_ends_is_cut_at_the_bound", || {
        let Waiting { upstream, go: _go } = waiting();
        let edge = Setup::to(&[upstream.address]).timeouts("drain: 1s").start();
        let mut events = edge.plain();
        events.send("GET /sse HTTP/1.1\r\nHost: edge\r\n\r\n");
        events.head().unwrap();
        let mut body = Vec::new();
        events.chunk(&mut body).unwrap();
        let mut socket = edge.tls();
        socket.send(
            "GET /ws HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        assert_eq!(socket.head().unwrap().status, 101);
        let start = drain(&edge);
        assert!(
            events.chunk(&mut body).is_err(),
            "an event stream that is cut has no clean end"
        );
        socket.rest();
        edge.until_ended();
        let took = start.elapsed();
        assert!(
            took > Duration::from_millis(400) && took < Duration::from_secs(5),
            "{took:?}"
        );
        upstream.until_ended(0);
        upstream.until_ended(1);
    });
}

#[test]
fn the_edges_own_health_fails_first() {
    alone("drain::the_edges_own_health_fails_first", || {
        let Waiting { upstream, go } = waiting();
        let edge = Setup::to(&[upstream.address]).start();
        let mut client = edge.plain();
        assert_eq!(client.get("/edge-health").status, 200);
        // Two requests in one piece: the second is read during the drain.
        client.send("GET /wait HTTP/1.1\r\nHost: edge\r\n\r\nGET /edge-health HTTP/1.1\r\nHost: edge\r\n\r\n");
        upstream.until_seen("/wait");
        let mut other = edge.plain();
        until("accepted", || {
            (edge.edge.connections.open() == 2).then_some(())
        });
        drain(&edge);
        assert_eq!(other.get("/edge-health").status, 503);
        go.send(()).unwrap();
        assert_eq!(client.answer().field("connection"), Some("close"));
        assert_eq!(
            client.ends(),
            End::Clean,
            "nothing behind the announced end is answered"
        );
        edge.until_ended();
    });
}

#[test]
fn a_slow_upload_that_began_before_is_taken_to_its_end() {
    alone(
        "drain::a_slow_upload_that_began_before_is_taken_to_its_end",
        || {
            let upstream = Upstream::echo();
            let edge = Setup::to(&[upstream.address]).start();
            let mut client = edge.plain();
            client.send("PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 6\r\n\r\nabc");
            upstream.until_seen("abc");
            drain(&edge);
            client.send("def");
            let answer = client.answer();
            assert!(answer.text().ends_with("abcdef"));
            assert_eq!(client.ends(), End::Clean);
            edge.until_ended();
        },
    );
}
