//! How many connections, and how much on each.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::harness::frames::{self, Frames, Verdict};
use crate::harness::h3client;
use crate::harness::{CARRIERS, Client, End, PATIENCE, Setup, Upstream, until};

#[test]
fn connections_over_the_process_limit_are_closed_and_counted() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .limits("connections: 4")
        .start();
    let mut kept: Vec<_> = (0..4).map(|_| edge.plain()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200);
    }
    for _ in 0..3 {
        let (rest, _) = edge.plain().rest();
        assert!(rest.is_empty());
    }
    assert_eq!(edge.closed("process-limit"), 3);
    for client in &mut kept {
        assert_eq!(
            client.get("/").status,
            200,
            "those that are open are not harmed"
        );
    }
    drop(kept.pop());
    until("room for another one", || {
        let mut client = edge.plain();
        client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
        client.try_answer("GET").ok()
    });
}

#[test]
fn connections_over_an_addresss_limit_are_closed_and_counted() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .limits("connections_per_address: 2")
        .start();
    let mut kept = [edge.plain(), edge.tls()];
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200);
    }
    let (rest, _) = edge.plain().rest();
    assert!(rest.is_empty());
    assert_eq!(edge.closed("address-limit"), 1);
    assert_eq!(edge.edge.connections.open(), 2);
}

#[test]
fn connections_over_the_rate_are_closed_and_counted_and_open_ones_go_on() {
    let upstream = Upstream::echo();
    for limit in [
        "connections_per_second: 3",
        "connections_per_second_per_address: 3",
    ] {
        let edge = Setup::to(&[upstream.address]).limits(limit).start();
        let mut kept = edge.plain();
        assert_eq!(kept.get("/").status, 200);
        let served = |client: &mut Client| {
            client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
            client.try_answer("GET").is_ok()
        };
        // More than a second's worth at once: some are closed without a word.
        let burst: Vec<bool> = (0..20).map(|_| served(&mut edge.plain())).collect();
        assert!(burst.contains(&false), "{limit}");
        let closed = until("it is counted", || {
            let closed = edge.closed("connection-rate");
            (closed > 0).then_some(closed)
        });
        let refused = burst.iter().filter(|served| !**served).count();
        assert_eq!(closed, refused as u64, "{limit}");
        assert_eq!(kept.get("/").status, 200);
        until("the rate lets another one in", || {
            served(&mut edge.plain()).then_some(())
        });
    }
}

#[test]
fn over_quic_too_connections_have_a_rate() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .limits("connections_per_second: 3")
        .start();
    h3client::run(async {
        let mut kept = h3client::Session::connect(edge.tls).await;
        let mut refused = 0;
        for _ in 0..20 {
            let (_endpoint, quic) = h3client::quic(edge.tls).await;
            let asked = async {
                let (mut send, mut recv) = quic.open_bi().await.ok()?;
                let head = h3client::head("GET", "/", &[]);
                send.write_all(&head).await.ok()?;
                send.finish().ok()?;
                recv.read_to_end(10_000).await.ok()
            };
            if asked.await.is_none() {
                let quinn::ConnectionError::ApplicationClosed(close) = quic.closed().await else {
                    panic!("it was not closed by the edge");
                };
                // H3_EXCESSIVE_LOAD.
                assert_eq!(u64::from(close.error_code), 0x107);
                refused += 1;
            }
        }
        assert!(refused > 0);
        assert_eq!(edge.closed("connection-rate"), refused);
        assert_eq!(kept.ask("GET", "/").await.status, 200);
    });
}

#[test]
fn a_connection_ends_politely_after_its_last_request() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .limits("requests_per_connection: 3")
        .start();
    let mut client = edge.plain();
    assert_eq!(client.get("/").field("connection"), None);
    assert_eq!(client.get("/").field("connection"), None);
    assert_eq!(client.get("/").field("connection"), Some("close"));
    assert_eq!(client.ends(), End::Clean);
    edge.until_closed("request-limit");
}

#[test]
fn heads_have_the_bounds_that_the_settings_state() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .limits("head_bytes: 2KiB, head_fields: 10, target_bytes: 100")
        .start();
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let get =
        |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: edge\r\n{fields}\r\n");
    for (request, status) in [
        (get("/", &fields(9)), 200),
        (get("/", &fields(10)), 431),
        (get("/", &format!("X: {}\r\n", "a".repeat(1_900))), 200),
        (get("/", &format!("X: {}\r\n", "a".repeat(2_100))), 431),
        (get(&format!("/{}", "a".repeat(99)), ""), 200),
        (get(&format!("/{}", "a".repeat(100)), ""), 414),
    ] {
        assert_eq!(edge.plain().ask(&request).status, status, "{request}");
    }
}

#[test]
fn the_largest_head_that_is_allowed_passes() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let value = "a".repeat(60_000);
    let request = format!("GET / HTTP/1.1\r\nHost: edge\r\nX: {value}\r\n\r\n");
    for mut client in [edge.plain(), edge.tls()] {
        let answer = client.ask(&request);
        assert!(answer.text().contains(&value));
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn a_thousand_connections_come_and_go_and_none_is_counted_after_its_end() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).threads(2).start();
    for round in 0..10 {
        let mut open: Vec<_> = (0..100).map(|_| edge.plain()).collect();
        for (number, client) in open.iter_mut().enumerate() {
            match (number + round) % 4 {
                0 => assert_eq!(client.get("/").status, 200),
                1 => client.send("GET / HTT"),
                2 => client.send("GET /wait HTTP/1.1\r\nHost: edge\r\n\r\n"),
                _ => {}
            }
        }
        for (number, client) in open.into_iter().enumerate() {
            if number % 2 == 0 {
                client.abort();
            }
        }
    }
    until("all are gone", || {
        (edge.edge.connections.open() == 0).then_some(())
    });
    let gauge = edge.metric("erlmcp_active_connections{region=\"local\",protocol=\"h1\"}");
    assert_eq!(gauge, 0);
}

#[test]
fn an_idle_connection_that_has_lived_long_enough_is_closed() {
    let upstream = Upstream::echo();
    for carrier in CARRIERS {
        let edge = Setup::to(&[upstream.address])
            .timeouts("connection_lifetime: 500ms")
            .start();
        let mut client = edge.over(carrier);
        assert_eq!(client.get("/").field("connection"), None);
        assert_eq!(client.ends(), End::Clean);
        edge.until_closed("lifetime");
    }
}

/// Answers `/wait` when it is told to.
fn waiting() -> (Upstream, Sender<()>) {
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        while call.request().is_some() {
            may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            if call.ok(b"done").is_err() {
                return;
            }
        }
    });
    (upstream, go)
}

#[test]
fn a_request_that_outlives_its_connections_time_is_finished_and_is_the_last() {
    let (upstream, go) = waiting();
    let edge = Setup::to(&[upstream.address])
        .timeouts("connection_lifetime: 300ms")
        .start();
    let mut client = edge.plain();
    let start = Instant::now();
    client.send("GET /wait HTTP/1.1\r\nHost: edge\r\n\r\n");
    upstream.until_seen("/wait");
    until("its time is over", || {
        (start.elapsed() > Duration::from_millis(500)).then_some(())
    });
    go.send(()).unwrap();
    let answer = client.answer();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("done", Some("close"))
    );
    assert_eq!(client.ends(), End::Clean);
    edge.until_closed("lifetime");
}

#[test]
fn an_h2_connection_that_has_lived_long_enough_says_goaway_and_finishes_its_streams() {
    let (upstream, go) = waiting();
    let edge = Setup::to(&[upstream.address])
        .timeouts("connection_lifetime: 300ms")
        .start();
    let mut client = Frames::open(&edge);
    client.get(1, "/wait");
    upstream.until_seen("/wait");
    assert_eq!(client.goaway(), Some(frames::NO_ERROR));
    go.send(()).unwrap();
    assert_eq!(client.verdict(1), Verdict::Answered(200));
    while client.next().is_some() {}
    edge.until_closed("lifetime");
}

#[test]
fn http2_clients_are_told_the_streams_and_windows_of_the_settings() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .http2("max_concurrent_streams: 3, stream_window: 128KiB, connection_window: 2MiB")
        .start();
    let mut client = Frames::open(&edge);
    let settings = client
        .until(|frame| frame.kind == frames::SETTINGS && !frame.payload.is_empty())
        .unwrap();
    let told = |id: u8| {
        let mut pairs = settings.payload.chunks(6);
        let pair = pairs.find(|pair| pair[..2] == [0, id]).unwrap();
        u32::from_be_bytes(pair[2..].try_into().unwrap())
    };
    assert_eq!((told(3), told(4)), (3, 128 * 1024));
    let more = client
        .until(|frame| frame.kind == frames::WINDOW_UPDATE && frame.stream == 0)
        .unwrap();
    let more = u32::from_be_bytes(more.payload[..].try_into().unwrap());
    assert_eq!(65_535 + more, 2 * 1024 * 1024);
}

/// A backend whose answers have a field of this many bytes.
fn wordy(bytes: usize) -> Upstream {
    let value = "a".repeat(bytes);
    Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nX-Words: {value}\r\nContent-Length: 2\r\n\r\nok"
    ))
}

#[test]
fn an_h2_client_gets_no_head_that_is_larger_than_it_takes() {
    let upstream = wordy(3_000);
    let edge = Setup::to(&[upstream.address]).logging().start();
    let mut client = Frames::open(&edge);
    client.get(1, "/");
    assert_eq!(client.verdict(1), Verdict::Answered(200), "it said nothing");
    for (most, status) in [(2_048, 502), (8_192, 200), (3_032, 502)] {
        let mut client = Frames::raw(&edge);
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let [high, low] = u16::to_be_bytes(most);
        client.frame(frames::SETTINGS, 0, 0, &[0, 6, 0, 0, high, low]);
        client.get(1, "/");
        assert_eq!(client.verdict(1), Verdict::Answered(status), "{most}");
    }
    until("logged", || {
        let log = edge.log();
        let told = log.iter().filter(|line| line.contains("upstream-broken"));
        (told.count() == 2).then_some(())
    });
}

#[test]
fn an_h3_client_gets_no_head_that_is_larger_than_it_takes() {
    let upstream = wordy(3_000);
    let edge = Setup::to(&[upstream.address]).start();
    h3client::run(async {
        for (most, large) in [(2_048_u16, false), (8_192, true)] {
            let (_endpoint, quic) = h3client::quic(edge.tls).await;
            let mut control = quic.open_uni().await.unwrap();
            let [high, low] = (most | 0x4000).to_be_bytes();
            control.write_all(&[0, 4, 3, 6, high, low]).await.unwrap();
            // Nothing says which of two streams is read first.
            let fits = |answer: &[u8]| {
                answer
                    .windows(2_000)
                    .any(|part| part.iter().all(|b| *b == b'a'))
            };
            let mut answers = Vec::new();
            for _ in 0..20 {
                let (mut send, mut recv) = quic.open_bi().await.unwrap();
                send.write_all(&h3client::head("GET", "/", &[]))
                    .await
                    .unwrap();
                send.finish().unwrap();
                answers.push(recv.read_to_end(9_999).await.unwrap());
            }
            let last = answers.last().unwrap();
            assert_eq!(fits(last), large, "{most}");
            let text = String::from_utf8_lossy(last);
            assert_eq!(
                text.contains("urn:meridian:refusal:upstream-broken"),
                !large
            );
        }
    });
}
