//! Everything that can wait has a deadline, and each ends with a name of its
//! own.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::harness::client::{Broken, connect};
use crate::harness::frames::{self, Frames};
use crate::harness::{CARRIERS, Client, End, PATIENCE, Setup, TestEdge, Upstream, h2client, until};

/// A deadline of 300 ms acts within this, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(4);

/// A backend that reads and never answers.
fn silent() -> Upstream {
    Upstream::start(crate::harness::Call::until_ended)
}

fn short(upstream: &Upstream, timeouts: &str) -> TestEdge {
    Setup::to(&[upstream.address]).timeouts(timeouts).start()
}

#[test]
fn a_client_that_never_begins_its_tls_handshake_is_closed() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "handshake: 300ms");
    let start = Instant::now();
    let (rest, _) = Client::new(connect(edge.tls)).rest();
    assert!(rest.is_empty() && start.elapsed() < SOON);
    edge.until_closed("handshake");
    assert_eq!(
        edge.metric("meridian_handshake_failures_total{reason=\"timed-out\"}"),
        1
    );
    assert_eq!(edge.tls().get("/").status, 200);
}

#[test]
fn what_is_no_tls_is_closed_and_counted() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "handshake: 5s");
    let mut client = Client::new(connect(edge.tls));
    client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    client.rest();
    edge.until_closed("handshake");
    assert_eq!(
        edge.metric("meridian_handshake_failures_total{reason=\"not-tls\"}"),
        1
    );
}

#[test]
fn a_client_that_says_nothing_is_closed_without_an_answer() {
    let upstream = Upstream::echo();
    for carrier in CARRIERS {
        let edge = short(&upstream, "head: 300ms");
        let start = Instant::now();
        edge.over(carrier).ends();
        assert!(start.elapsed() < SOON, "{carrier:?}");
        edge.until_closed("head-timeout");
    }
}

/// Sends one byte now and then until the edge closes.
fn drip(mut stream: TcpStream, bytes: &'static [u8]) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    })
}

#[test]
fn a_head_that_drips_in_is_408_and_the_end() {
    let upstream = Upstream::echo();
    for carrier in CARRIERS {
        let edge = short(&upstream, "head: 500ms");
        let mut client = edge.over(carrier);
        let start = Instant::now();
        client.send("GET / HTTP/1.1\r\nHost: edge\r\nX: ");
        let dripping = drip(client.stream.try_clone().unwrap(), b"x");
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.field("connection")),
            (408, Some("close"))
        );
        assert!(start.elapsed() < SOON, "{carrier:?}");
        client.rest();
        edge.until_closed("head-timeout");
        dripping.join().unwrap();
    }
    assert!(upstream.bytes().is_empty());
}

#[test]
fn a_head_that_drips_in_on_a_kept_connection_is_408_too() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "head: 300ms, idle: 60s");
    let mut client = edge.plain();
    assert_eq!(client.get("/").status, 200);
    client.send("G");
    assert_eq!(client.answer().status, 408);
}

#[test]
fn a_body_below_the_least_rate_is_408_and_the_end() {
    let upstream = silent();
    for carrier in CARRIERS {
        let edge = short(&upstream, "body_grace: 500ms, body_rate: 1MiB");
        let mut client = edge.over(carrier);
        let start = Instant::now();
        client.send("PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000000\r\n\r\n");
        let dripping = drip(client.stream.try_clone().unwrap(), b"x");
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.field("connection")),
            (408, Some("close"))
        );
        assert!(start.elapsed() < SOON, "{carrier:?}");
        client.rest();
        edge.until_closed("body-timeout");
        dripping.join().unwrap();
    }
}

#[test]
fn a_body_that_began_fast_and_stops_is_408_and_the_end() {
    let upstream = silent();
    let edge = short(&upstream, "body_grace: 200ms, body_rate: 1, idle: 500ms");
    let mut client = edge.plain();
    let start = Instant::now();
    // Paid for by the rate: a day.
    client.send("PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 100_000]);
    assert_eq!(client.answer().status, 408);
    assert!(start.elapsed() < SOON);
    client.rest();
    edge.until_closed("body-timeout");
}

#[test]
fn a_slow_body_over_h2_ends_its_stream_alone() {
    let upstream = Upstream::start(|call| {
        let Some(head) = call.head() else { return };
        if head.contains("/slow") {
            return call.until_ended();
        }
        call.ok(b"fine").unwrap();
    });
    let edge = short(&upstream, "body_grace: 500ms, body_rate: 1MiB");
    h2client::with(&edge, async |mut client| {
        let (answer, mut send) = client.begin("PUT", "/slow").await;
        send.send_data(Bytes::from_static(b"x"), false).unwrap();
        assert_eq!(h2client::whole(answer).await.unwrap().status, 408);
        assert_eq!(client.ask("GET", "/").await.text(), "fine");
    });
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    let upstream = Upstream::echo();
    for carrier in CARRIERS {
        let edge = short(&upstream, "idle: 300ms");
        let mut client = edge.over(carrier);
        for _ in 0..3 {
            assert_eq!(client.get("/").status, 200);
        }
        let start = Instant::now();
        client.ends();
        assert!(start.elapsed() < SOON);
        edge.until_closed("idle-timeout");
    }
}

#[test]
fn an_h2_connection_without_streams_is_told_to_go_away_and_closed() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "idle: 300ms");
    let mut client = Frames::open(&edge);
    client.get(1, "/");
    assert_eq!(client.verdict(1), frames::Verdict::Answered(200));
    let start = Instant::now();
    assert_eq!(client.goaway(), Some(frames::NO_ERROR));
    while client.next().is_some() {}
    assert!(start.elapsed() < SOON);
    edge.until_closed("idle-timeout");
}

#[test]
fn an_h2_client_without_preface_request_or_end_of_head_is_closed() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "head: 300ms, idle: 300ms");
    for begin in 0..3 {
        let start = Instant::now();
        let mut client = if begin == 0 {
            Frames::raw(&edge)
        } else {
            Frames::open(&edge)
        };
        if begin == 2 {
            let block = frames::block(&frames::request("GET", "/"));
            client.frame(frames::HEADERS, frames::END_STREAM, 1, &block);
        }
        while client.next().is_some() {}
        assert!(start.elapsed() < SOON, "{begin}");
    }
    until("each has its reason", || {
        let all = edge.closed("head-timeout") + edge.closed("idle-timeout");
        (all == 3).then_some(())
    });
    assert!(upstream.bytes().is_empty());
}

#[test]
fn the_idle_time_of_h2_counts_from_the_end_of_the_last_stream() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "idle: 1500ms, head: 500ms");
    let mut client = Frames::open(&edge);
    let start = Instant::now();
    // Short requests with pauses between them, for longer than the idle time.
    let mut stream = 1;
    while start.elapsed() < Duration::from_millis(2_500) {
        client.get(stream, "/");
        assert_eq!(client.verdict(stream), frames::Verdict::Answered(200));
        stream += 2;
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(edge.closed("idle-timeout"), 0);
    let last = Instant::now();
    client.goaway();
    assert!(
        last.elapsed() > Duration::from_secs(1),
        "{:?}",
        last.elapsed()
    );
}

#[test]
fn an_open_stream_keeps_its_h2_connection_beyond_the_idle_time() {
    let (go, may_go) = channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        while call.request().is_some() {
            may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            call.ok(b"late").unwrap();
        }
    });
    let edge = short(&upstream, "idle: 200ms, head: 200ms");
    h2client::with(&edge, async |mut client| {
        let (answer, _) = client.open("/").await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        go.send(()).unwrap();
        assert_eq!(h2client::whole(answer).await.unwrap().text(), "late");
    });
}

/// A listener that takes no connection: its queue is full.
struct Blackhole {
    address: std::net::SocketAddr,
    _held: Vec<TcpStream>,
    _listener: tokio::net::TcpListener,
    _runtime: tokio::runtime::Runtime,
}

fn blackhole() -> Blackhole {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let listener = {
        let _entered = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    };
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        assert!(held.len() < 10, "the queue does not fill");
    }
    Blackhole {
        address,
        _held: held,
        _listener: listener,
        _runtime: runtime,
    }
}

#[test]
fn a_connection_that_does_not_come_about_in_time_is_tried_elsewhere_and_else_refused() {
    let hole = blackhole();
    let edge = Setup::to(&[hole.address])
        .policies("retry: { max_retries: 0 }\n")
        .timeouts("connect: 300ms")
        .start();
    let start = Instant::now();
    let answer = edge.plain().get("/");
    assert!(matches!(answer.status, 502 | 504), "{answer:?}");
    assert!(start.elapsed() < SOON);
    let series = "meridian_upstream_connects_total{region=\"local\",result=\"timed-out\"}";
    assert_eq!(edge.metric(series), 1);

    let there = Upstream::echo();
    let edge = Setup::regions(&[
        ("first", "weight: 100,", hole.address),
        ("second", "role: standby, weight: 0,", there.address),
    ])
    .timeouts("connect: 300ms")
    .start();
    let post = "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc";
    let answer = edge.plain().ask(post);
    assert_eq!(
        (answer.status, answer.field("x-meridian-region")),
        (200, Some("second"))
    );
}

#[test]
fn a_backend_that_does_not_begin_its_answer_in_time_is_504() {
    let upstream = silent();
    let edge = Setup::to(&[upstream.address])
        .policies("retry: { max_retries: 0 }\n")
        .timeouts("first_byte: 300ms")
        .start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        let start = Instant::now();
        assert_eq!(client.get("/").status, 504, "{carrier:?}");
        assert!(start.elapsed() < SOON);
        // The backend is told; the client's connection lives on.
        upstream.until_ended(upstream.seen().len() - 1);
        assert_eq!(client.get("/deny").status, 403);
    }
}

const TIMED_ROUTES: &str = r#"
  - { id: first, path: "/first*", timeouts: { first_byte: 300ms } }
  - { id: total, path: "/total*", timeouts: { total: 500ms } }
  - { id: idle, path: "/idle*", timeouts: { idle: 300ms } }
  - { id: everything, path: "/*" }
"#;

#[test]
fn a_routes_own_deadlines_replace_those_of_the_process() {
    let upstream = Upstream::start(|call| {
        let Some(head) = call.head() else { return };
        if !head.contains("/first") {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")
                .unwrap();
        }
        if head.contains("/total") {
            while call.send("x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
                if call.has_ended() {
                    return;
                }
            }
        }
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address])
        .routes(TIMED_ROUTES)
        .policies("retry: { max_retries: 0 }\n")
        .start();
    let start = Instant::now();
    assert_eq!(edge.plain().get("/first").status, 504);
    for path in ["/total", "/idle"] {
        let mut client = edge.plain();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n"));
        let broken = client.try_answer("GET").unwrap_err();
        assert!(matches!(broken, Broken::Ended(..)), "{path}");
    }
    assert!(start.elapsed() < 3 * SOON);
    edge.until_closed("total-timeout");
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let upstream = Upstream::start(|call| {
        call.request();
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            .unwrap();
        let piece = vec![b'x'; 64 * 1024];
        while call.send(&piece).is_ok() {}
    });
    let edge = short(&upstream, "idle: 500ms");
    let mut client = edge.plain();
    client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    edge.until_closed("write-timeout");
    assert!(matches!(client.try_answer("GET"), Err(Broken::Ended(..))));

    h2client::with(&edge, async |mut client| {
        let (answer, _) = client.open("/").await;
        let mut body = answer.await.unwrap().into_body();
        // No window is given back: the stream stalls and is reset.
        let mut got = 0;
        let error = loop {
            match body.data().await {
                Some(Ok(data)) => got += data.len(),
                Some(Err(error)) => break error,
                None => panic!("a clean end after {got}"),
            }
        };
        assert!(error.is_reset(), "{error}");
        assert!(got < 1_000_000, "{got}");
    });
}

#[test]
fn an_answer_that_is_taken_below_the_least_rate_is_cut_off_and_without_a_rate_it_is_not() {
    let upstream = Upstream::start(|call| {
        call.request();
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            .unwrap();
        let piece = vec![b'x'; 64 * 1024];
        while call.send(&piece).is_ok() {}
    });
    for (rate, cut) in [("0", false), ("1GiB", true)] {
        let edge = short(&upstream, &format!("idle: 1s, body_rate: {rate}"));
        let mut client = Frames::open(&edge);
        client.get(1, "/");
        let start = Instant::now();
        let mut got = 0;
        // Always some of it, with pauses shorter than any silence that is too long.
        let reset = loop {
            let frame = client.next().unwrap();
            if frame.kind == frames::RST_STREAM {
                break true;
            }
            if frame.kind == frames::DATA {
                got += frame.payload.len();
            }
            if start.elapsed() > Duration::from_secs(3) && !cut {
                break false;
            }
            assert!(start.elapsed() < 2 * SOON, "{rate}");
            if frame.kind == frames::DATA {
                std::thread::park_timeout(Duration::from_millis(100));
                let more = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
                client.frame(frames::WINDOW_UPDATE, 0, 1, &more);
                client.frame(frames::WINDOW_UPDATE, 0, 0, &more);
            }
        };
        assert_eq!(reset, cut, "{rate}: {got}");
    }
}

#[test]
fn a_backend_that_takes_nothing_of_the_request_is_504() {
    let upstream = Upstream::start(|call| {
        call.head();
        while !call.has_ended() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let edge = Setup::to(&[upstream.address])
        .policies("retry: { max_retries: 0 }\n")
        .timeouts("idle: 500ms, body_grace: 60s")
        .start();
    let mut client = edge.plain();
    client.send("PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 100000000\r\n\r\n");
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let piece = vec![b'x'; 64 * 1024];
        while writer.write_all(&piece).is_ok() {}
    });
    assert_eq!(client.answer().status, 504);
    client.rest();
    writing.join().unwrap();
}

#[test]
fn a_quiet_event_stream_is_left_alone() {
    let (go, may_go) = channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        call.request();
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            .unwrap();
        may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        call.send("1\r\nb\r\n0\r\n\r\n").unwrap();
    });
    let edge = short(
        &upstream,
        "idle: 200ms, head: 200ms, first_byte: 200ms, body_grace: 200ms",
    );
    let mut client = edge.plain();
    client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    client.head().unwrap();
    let mut body = Vec::new();
    client.chunk(&mut body).unwrap();
    // Longer than every deadline, the grain of 100 ms included.
    client.quiet_for(Duration::from_millis(900));
    go.send(()).unwrap();
    client.chunk(&mut body).unwrap();
    assert_eq!(body, b"ab");
}

#[test]
fn innocents_are_served_while_hundreds_drip() {
    let upstream = Upstream::echo();
    let edge = short(&upstream, "head: 2s");
    let mut slow: Vec<Client> = (0..300).map(|_| edge.plain()).collect();
    for client in &mut slow {
        client.send("GET / HTTP/1.1\r\nHost: edge\r\nX: ");
    }
    let start = Instant::now();
    let mut innocent = edge.plain();
    for _ in 0..100 {
        assert_eq!(innocent.get("/").status, 200);
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    for client in &mut slow {
        assert_eq!(client.answer().status, 408);
        assert_eq!(client.ends(), End::Clean);
    }
}
