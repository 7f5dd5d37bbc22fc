//! Bodies in both directions, over every version.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::harness::client::Broken;
use crate::harness::{
    CARRIERS, Call, Carrier, End, PATIENCE, Setup, TestEdge, Upstream, h2client, pattern, until,
};

const LARGE: usize = 4 * 1024 * 1024;
/// An event that the engine acts on at once is felt within this, on a machine
/// with much else to do.
const SOON: Duration = Duration::from_secs(2);

/// Sends every piece of a body back as soon as it is there.
fn mirror(call: &mut Call) {
    while let Some(head) = call.head() {
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        let chunked = head.contains("transfer-encoding: chunked");
        let mut left: usize = crate::harness::upstream::field(&head, "content-length")
            .map_or(0, |n| n.parse().unwrap());
        loop {
            let mut piece = Vec::new();
            let more = if chunked {
                let Some(more) = call.chunk(&mut piece) else {
                    return;
                };
                more
            } else {
                let Some(some) = call.exactly(left.min(10_000)) else {
                    return;
                };
                left -= some.len();
                piece = some;
                !piece.is_empty()
            };
            if !more {
                break;
            }
            if call.send(format!("{:x}\r\n", piece.len())).is_err() {
                return;
            }
            let _ = call.send(&piece);
            let _ = call.send("\r\n");
        }
        if chunked {
            call.exactly(2);
        }
        let _ = call.send("0\r\n\r\n");
    }
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::with_capacity(body.len() + body.len() / size * 8 + 16);
    for piece in body.chunks(size) {
        write!(framed, "{:x}\r\n", piece.len()).unwrap();
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

#[test]
fn a_large_body_flows_both_ways_at_once_byte_for_byte_over_http1() {
    let upstream = Upstream::start(mirror);
    let edge = Setup::to(&[upstream.address]).start();
    let body = pattern(LARGE);
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        let length = format!("Content-Length: {LARGE}");
        for (framing, sent) in [
            (length.as_str(), body.clone()),
            ("Transfer-Encoding: chunked", chunked(&body, 9_999)),
        ] {
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: edge\r\n{framing}\r\n\r\n"
            ));
            let mut writer = client.stream.try_clone().unwrap();
            let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
            let answer = client.answer();
            assert!(
                answer.body == body,
                "{carrier:?} {framing}: {} bytes",
                answer.body.len()
            );
            writing.join().unwrap();
        }
    }
}

#[test]
fn a_large_body_flows_both_ways_at_once_byte_for_byte_over_h2() {
    let upstream = Upstream::start(mirror);
    let edge = Setup::to(&[upstream.address]).threads(2).start();
    let body = Bytes::from(pattern(LARGE));
    h2client::with(&edge, async |mut client| {
        let mut exchanges = Vec::new();
        for _ in 0..2 {
            let (answer, mut send) = client.begin("POST", "/").await;
            let body = body.clone();
            exchanges.push(tokio::spawn(async move {
                let (wrote, answer) = tokio::join!(
                    h2client::write(&mut send, body.clone()),
                    h2client::whole(answer)
                );
                wrote.unwrap();
                assert!(answer.unwrap().body == body);
            }));
        }
        for exchange in exchanges {
            exchange.await.unwrap();
        }
    });
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_whole() {
    let upstream = Upstream::start(|call| {
        call.request();
        call.send("HTTP/1.1 200 OK\r\n\r\n").unwrap();
        call.send(pattern(100_000)).unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let answer = edge.over(carrier).get("/");
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert!(answer.body == pattern(100_000));
    }
    h2client::with(&edge, async |mut client| {
        assert!(client.ask("GET", "/").await.body == pattern(100_000));
    });
}

#[test]
fn trailers_of_an_answer_are_passed_on_without_those_that_would_mean_something_else() {
    let upstream = Upstream::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
         3\r\nabc\r\n0\r\ngrpc-status: 0\r\nContent-Length: 99\r\nSet-Cookie: a=b\r\nHost: evil\r\n\r\n",
    );
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let answer = edge.over(carrier).get("/");
        assert_eq!(answer.text(), "abc");
        assert_eq!(
            answer.trailers,
            [("grpc-status".to_owned(), "0".to_owned())]
        );
    }
    h2client::with(&edge, async |mut client| {
        let answer = client.ask("GET", "/").await;
        let trailers = answer.trailers.unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn trailers_of_a_request_end_at_the_edge() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let answer = edge.plain().ask(
        "POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\nTrailer: x-admin\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Admin: yes\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.count("yes"), 0, "{}", upstream.seen()[0].text());
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    for (method, answer, length) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            Some("1000"),
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            None,
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            None,
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
            Some("7"),
        ),
        (
            "POST",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            Some("0"),
        ),
    ] {
        let upstream = Upstream::always(answer);
        let edge = Setup::to(&[upstream.address]).start();
        let mut client = edge.plain();
        for _ in 0..3 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: edge\r\n\r\n"));
            let answer = client.try_answer(method).unwrap();
            assert_eq!(
                answer.field("content-length"),
                length,
                "{method}: {answer:?}"
            );
        }
        assert_eq!(
            upstream.seen().len(),
            1,
            "{method} {answer}: the backend was not kept"
        );
        h2client::with(&edge, async |mut client| {
            for _ in 0..3 {
                let answer = client.ask(method, "/").await;
                assert!(answer.body.is_empty());
                let seen = answer
                    .fields
                    .get("content-length")
                    .map(|n| n.to_str().unwrap());
                assert_eq!(seen, length, "{method} over h2");
            }
        });
    }
}

/// Answers before it has read the body, which it never reads.
fn hasty() -> Upstream {
    Upstream::start(|call| {
        call.head();
        call.ok(b"no need").unwrap();
        // Never reads on; ends when the edge or the test does.
        let _ = call.stream.set_read_timeout(Some(PATIENCE));
        let mut byte = [0];
        while let Ok(1..) = call.stream.peek(&mut byte) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    })
}

#[test]
fn an_answer_that_comes_during_the_upload_arrives_whole_over_http1() {
    let upstream = hasty();
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        client.send("POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 100000000\r\n\r\n");
        let mut writer = client.stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            let piece = vec![b'x'; 64 * 1024];
            while writer.write_all(&piece).is_ok() {}
        });
        let answer = client.answer();
        assert_eq!(answer.text(), "no need", "{carrier:?}");
        client.rest();
        writing.join().unwrap();
    }
}

#[test]
fn an_answer_that_comes_during_the_upload_ends_only_its_stream_over_h2() {
    let upstream = hasty();
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        for _ in 0..3 {
            let (answer, mut send) = client.begin("POST", "/").await;
            let body = Bytes::from(vec![b'x'; 10_000_000]);
            let (wrote, answer) =
                tokio::join!(h2client::write(&mut send, body), h2client::whole(answer));
            assert_eq!(answer.unwrap().text(), "no need");
            let error = wrote.unwrap_err();
            assert!(
                error
                    .reason()
                    .is_some_and(|r| r == h2::Reason::NO_ERROR || r == h2::Reason::CANCEL),
                "{error}"
            );
        }
    });
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_once_and_the_backend_never_hears_of_it() {
    let upstream = Upstream::start(|call| {
        while let Some(head) = call.head() {
            assert!(!head.to_ascii_lowercase().contains("expect:"), "{head}");
            // An eager backend; the client was told already.
            call.send("HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let body = call.exactly(3).unwrap();
            call.ok(&body).unwrap();
        }
    });
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        for _ in 0..2 {
            client.send(
                "PUT / HTTP/1.1\r\nHost: edge\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            );
            assert_eq!(client.head().unwrap().status, 100);
            let answer = client.ask("abc");
            assert_eq!((answer.status, answer.text()), (200, "abc"));
        }
    }
}

#[test]
fn a_refused_request_that_waits_for_100_continue_gets_the_final_status_alone() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for (target, length, status) in [("/deny", 3, 403), ("/small", 100_000, 413)] {
        for carrier in CARRIERS {
            let mut client = edge.over(carrier);
            let answer = client.ask(format!(
                "PUT {target} HTTP/1.1\r\nHost: edge\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            ));
            assert_eq!(answer.status, status);
            assert_eq!(answer.field("connection"), Some("close"));
            assert_eq!(client.ends(), End::Clean);
        }
    }
    assert!(upstream.bytes().is_empty());
}

#[test]
fn an_old_client_never_gets_an_interim_answer() {
    let upstream = Upstream::always(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let edge = Setup::to(&[upstream.address]).start();
    let head =
        "PUT / HTTP/1.0\r\nHost: edge\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    let answer = edge.plain().ask(head);
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[test]
fn interim_answers_reach_clients_that_understand_them() {
    let upstream = Upstream::always(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
        let early = client.head().unwrap();
        assert_eq!((early.status, early.field("link")), (103, Some("</a>")));
        assert_eq!(early.field("connection"), None);
        assert_eq!(client.answer().text(), "ok");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).threads(2).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        let mut requests = Vec::new();
        for number in 0..40 {
            requests.push(match number % 4 {
                0 => format!("GET /{number} HTTP/1.1\r\nHost: edge\r\n\r\n"),
                1 => format!("GET /deny/{number} HTTP/1.1\r\nHost: edge\r\n\r\n"),
                2 => format!(
                    "POST /{number} HTTP/1.1\r\nHost: edge\r\nContent-Length: 5\r\n\r\nbody\n"
                ),
                _ => format!(
                    "POST /{number} HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5\r\nbody\n\r\n0\r\n\r\n"
                ),
            });
        }
        client.send(requests.concat());
        for number in 0..40 {
            let answer = client.answer();
            if number % 4 == 1 {
                assert_eq!(answer.status, 403);
            } else {
                assert!(
                    answer.text().contains(&format!(" /{number} HTTP/1.1\r\n")),
                    "{number}"
                );
            }
        }
    }
}

#[test]
fn nothing_behind_a_request_that_asks_for_the_end_is_answered() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    client.send(
        "GET /a HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: edge\r\n\r\n",
    );
    assert_eq!(client.answer().field("connection"), Some("close"));
    assert_eq!(client.ends(), End::Clean);
    assert_eq!(upstream.count("GET /b"), 0);
}

#[test]
fn an_old_client_gets_chunks_as_a_body_that_ends_with_the_connection() {
    let upstream = Upstream::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    );
    let edge = Setup::to(&[upstream.address]).start();
    for fields in ["", "Connection: keep-alive\r\n"] {
        let mut client = edge.plain();
        let answer = client.ask(format!("GET / HTTP/1.0\r\nHost: edge\r\n{fields}\r\n"));
        assert_eq!(answer.text(), "abcdef");
        assert_eq!(answer.field("transfer-encoding"), None);
        assert_ne!(answer.field("connection"), Some("keep-alive"));
    }
}

#[test]
fn an_old_client_keeps_its_connection_only_if_it_asks_for_that() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    for _ in 0..2 {
        let answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    client.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.ends(), End::Clean);
}

/// Sends an event each time it is told to; says when the edge left.
struct Events {
    upstream: Upstream,
    tell: Sender<()>,
}

fn events() -> Events {
    let (tell, told): (Sender<()>, Receiver<()>) = channel();
    let told = Mutex::new(told);
    let upstream = Upstream::start(move |call| {
        while call.request().is_some() {
            call.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .unwrap();
            for number in 0..3 {
                if told.lock().unwrap().recv_timeout(PATIENCE).is_err() {
                    return;
                }
                let event = format!("data: {number}\n\n");
                call.send(format!("{:x}\r\n{event}\r\n", event.len()))
                    .unwrap();
            }
            call.send("0\r\n\r\n").unwrap();
        }
    });
    Events { upstream, tell }
}

#[test]
fn an_event_is_passed_on_before_the_next_one_is_made() {
    let events = events();
    let edge = Setup::to(&[events.upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
        assert_eq!(
            client.head().unwrap().field("content-type"),
            Some("text/event-stream")
        );
        for number in 0..3 {
            events.tell.send(()).unwrap();
            let mut event = Vec::new();
            assert!(client.chunk(&mut event).unwrap());
            assert_eq!(event, format!("data: {number}\n\n").as_bytes());
        }
        assert!(!client.chunk(&mut Vec::new()).unwrap());
        client.exactly(2);
    }
    h2client::with(&edge, async |mut client| {
        let (answer, _) = client.open("/").await;
        let mut body = answer.await.unwrap().into_body();
        for number in 0..3 {
            events.tell.send(()).unwrap();
            let event = body.data().await.unwrap().unwrap();
            assert_eq!(event, format!("data: {number}\n\n"));
        }
        assert!(h2client::read(&mut body).await.unwrap().is_empty());
    });
}

/// Sends so much and counts what the sockets took.
fn flood(total: usize) -> (Upstream, Arc<Mutex<usize>>) {
    let taken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&taken);
    let upstream = Upstream::start(move |call| {
        call.request();
        call.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"
        ))
        .unwrap();
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < total {
            let some = piece.len().min(total - sent);
            if call.send(&piece[..some]).is_err() {
                return;
            }
            sent += some;
            *count.lock().unwrap() = sent;
        }
        call.until_ended();
    });
    (upstream, taken)
}

/// Waits until a count stands still for half a second.
fn stands_still(count: &Mutex<usize>) -> usize {
    let (mut last, mut since) = (0, Instant::now());
    until("the sender is held back", || {
        let now = *count.lock().unwrap();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (last > 0 && since.elapsed() > Duration::from_millis(500)).then_some(last)
    })
}

/// More than all socket buffers on the way, less than a body.
const HELD_BACK: usize = 32 * 1024 * 1024;
const BODY: usize = 64 * 1024 * 1024;

#[test]
fn a_client_that_does_not_read_holds_the_backend_back_over_http1() {
    for carrier in CARRIERS {
        let (upstream, taken) = flood(BODY);
        let edge = Setup::to(&[upstream.address]).start();
        let mut client = edge.over(carrier);
        client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
        let stopped_at = stands_still(&taken);
        assert!(stopped_at < HELD_BACK, "{carrier:?}: {stopped_at}");
        assert_eq!(client.answer().body.len(), BODY, "and then all of it comes");
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_backend_back_over_h2() {
    let (upstream, taken) = flood(BODY);
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        let (answer, _) = client.open("/").await;
        let mut body = answer.await.unwrap().into_body();
        let still = tokio::task::spawn_blocking(move || stands_still(&taken));
        assert!(still.await.unwrap() < HELD_BACK);
        assert_eq!(h2client::read(&mut body).await.unwrap().len(), BODY);
    });
}

#[test]
fn a_backend_that_does_not_read_holds_the_client_back() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        while call.head().is_some() {
            may_go.lock().unwrap().recv_timeout(3 * PATIENCE).unwrap();
            let body = call.exactly(BODY).unwrap();
            call.ok(body.len().to_string().as_bytes()).unwrap();
        }
    });
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: {BODY}\r\n\r\n"
        ));
        let sent = Arc::new(Mutex::new(0));
        let (count, mut writer) = (Arc::clone(&sent), client.stream.try_clone().unwrap());
        let writing = std::thread::spawn(move || {
            let piece = vec![b'x'; 64 * 1024];
            for at in 0..BODY / piece.len() {
                writer.write_all(&piece).unwrap();
                *count.lock().unwrap() = (at + 1) * piece.len();
            }
        });
        assert!(stands_still(&sent) < HELD_BACK, "{carrier:?}");
        go.send(()).unwrap();
        assert_eq!(client.answer().text(), BODY.to_string());
        writing.join().unwrap();
    }
}

#[test]
fn an_answer_that_begins_while_the_upload_is_held_back_loses_nothing_of_it() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let body = pattern(BODY);
    let expected = body.clone();
    let upstream = Upstream::start(move |call| {
        call.head();
        may_go.lock().unwrap().recv_timeout(3 * PATIENCE).unwrap();
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n")
            .unwrap();
        let same = call.exactly(BODY).unwrap() == expected;
        let word = if same { "whole" } else { "holes" };
        call.send(format!("5\r\n{word}\r\n0\r\n\r\n")).unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: {BODY}\r\n\r\n"
    ));
    let sent = Arc::new(Mutex::new(0));
    let (count, mut writer) = (Arc::clone(&sent), client.stream.try_clone().unwrap());
    let writing = std::thread::spawn(move || {
        for piece in body.chunks(64 * 1024) {
            writer.write_all(piece).unwrap();
            *count.lock().unwrap() += piece.len();
        }
    });
    stands_still(&sent);
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), "yeswhole");
    writing.join().unwrap();
}

/// How a client leaves.
#[derive(Copy, Clone, Debug)]
enum Leaving {
    Closes,
    Resets,
}

/// The client leaves in the middle of `request`, once the backend has seen
/// `mark`; how long until the backend feels it.
fn felt(
    (edge, carrier): (&TestEdge, Carrier),
    upstream: &Upstream,
    leaving: Leaving,
    (request, mark): (&str, &str),
) {
    let before = upstream.seen().len();
    let mut client = edge.over(carrier);
    client.send(request);
    let number = until(mark, || {
        let seen = upstream.seen();
        (seen.len() > before && seen[before].text().contains(mark)).then_some(before)
    });
    if mark == "sse" {
        client.head().unwrap();
        client.chunk(&mut Vec::new()).unwrap();
    }
    let left = Instant::now();
    match leaving {
        Leaving::Closes => drop(client),
        Leaving::Resets => client.abort(),
    }
    let after = upstream.until_ended(number).saturating_duration_since(left);
    assert!(after < SOON, "{carrier:?} {leaving:?} {mark}: {after:?}");
}

/// Never answers but to `/sse`.
fn silent() -> Upstream {
    Upstream::start(|call| {
        let Some(head) = call.head() else { return };
        if head.contains("/sse") {
            call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc\n\r\n")
                .unwrap();
        }
        call.until_ended();
    })
}

#[test]
fn a_client_that_leaves_is_felt_by_the_backend_at_once_over_http1() {
    let upstream = silent();
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        for leaving in [Leaving::Closes, Leaving::Resets] {
            for (request, mark) in [
                ("GET /head HTTP/1.1\r\nHost: edge\r\n\r\n", "/head"),
                ("GET /sse HTTP/1.1\r\nHost: edge\r\n\r\n", "sse"),
                (
                    "PUT /up HTTP/1.1\r\nHost: edge\r\nContent-Length: 99\r\n\r\nabc-part",
                    "abc-part",
                ),
                (
                    "PUT /up HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n",
                    "chunk\r\n",
                ),
            ] {
                felt((&edge, carrier), &upstream, leaving, (request, mark));
            }
        }
    }
}

/// Lets the client's own tasks run until it is so.
async fn eventually(so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_stream_that_is_reset_is_felt_by_the_backend_at_once() {
    let upstream = silent();
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        for (number, path) in ["/head", "/sse", "/up"].into_iter().enumerate() {
            let (answer, mut send) = if path == "/up" {
                let (answer, mut send) = client.begin("PUT", path).await;
                send.send_data(Bytes::from_static(b"part"), false).unwrap();
                (answer, send)
            } else {
                client.open(path).await
            };
            let mut answer = Some(answer);
            let mut body = None;
            if path == "/sse" {
                let mut stream = answer.take().unwrap().await.unwrap().into_body();
                assert!(stream.data().await.unwrap().is_ok());
                body = Some(stream);
            }
            eventually(|| upstream.count(path) > 0).await;
            let left = Instant::now();
            send.send_reset(h2::Reason::CANCEL);
            drop((answer, body));
            eventually(|| upstream.seen()[number].ended.is_some()).await;
            let ended = upstream.until_ended(number);
            assert!(ended.saturating_duration_since(left) < SOON, "{path}");
        }
    });
}

/// Reads the head of a request and never its body; says when the edge left.
fn stuck() -> Upstream {
    Upstream::start(|call| {
        call.head();
        while !call.has_broken() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    })
}

#[test]
fn a_stream_that_is_reset_while_the_backend_does_not_read_is_felt_at_once() {
    let upstream = stuck();
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        let (answer, mut send) = client.begin("PUT", "/up").await;
        let body = Bytes::from(vec![b'x'; 100_000_000]);
        let wrote = tokio::time::timeout(Duration::from_secs(1), h2client::write(&mut send, body));
        assert!(wrote.await.is_err(), "the backend takes it all");
        let left = Instant::now();
        send.send_reset(h2::Reason::CANCEL);
        drop(answer);
        eventually(|| upstream.seen()[0].closed).await;
        assert!(left.elapsed() < SOON, "{:?}", left.elapsed());
    });
}

#[test]
fn a_client_that_resets_while_the_backend_does_not_read_is_felt_at_once() {
    let upstream = stuck();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    client.send("PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 100000000\r\n\r\n");
    let sent = Arc::new(Mutex::new(0));
    let (count, mut writer) = (Arc::clone(&sent), client.stream.try_clone().unwrap());
    let writing = std::thread::spawn(move || {
        let piece = vec![b'x'; 64 * 1024];
        writer
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        while writer.write_all(&piece).is_ok() {
            *count.lock().unwrap() += piece.len();
        }
    });
    stands_still(&sent);
    writing.join().unwrap();
    let left = Instant::now();
    client.abort();
    until("the backend feels it", || {
        upstream.seen()[0].closed.then_some(())
    });
    assert!(left.elapsed() < SOON, "{:?}", left.elapsed());
}

#[test]
fn a_body_over_the_routes_bound_is_413_and_the_end() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let exact = format!(
        "PUT /small HTTP/1.1\r\nHost: edge\r\nContent-Length: 1024\r\n\r\n{}",
        "x".repeat(1024)
    );
    assert_eq!(edge.plain().ask(exact).status, 200);
    let mut client = edge.plain();
    client.send("PUT /small HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(&[b'x'; 1025], 1025));
    assert_eq!(client.answer().status, 413);
    assert_eq!(client.ends(), End::Clean);
    h2client::with(&edge, async |mut client| {
        let (answer, mut send) = client.begin("PUT", "/small").await;
        let _ = send.send_data(Bytes::from(vec![b'x'; 5_000]), false);
        assert_eq!(h2client::whole(answer).await.unwrap().status, 413);
    });
    let finished = upstream
        .seen()
        .iter()
        .filter(|seen| seen.text().contains("\r\n0\r\n\r\n"))
        .count();
    assert_eq!(finished, 0, "a body over the bound was finished");
}

#[test]
fn a_client_that_closes_within_its_body_gets_no_complete_request_to_the_backend() {
    let upstream = silent();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    client
        .send("PUT /up HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n");
    upstream.until_seen("chunk");
    client.close_write();
    upstream.until_ended(0);
    assert!(!upstream.seen()[0].text().ends_with("0\r\n\r\n"));
    assert!(matches!(client.try_answer("PUT"), Err(Broken::Ended(..))));
}
