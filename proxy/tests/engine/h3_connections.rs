//! QUIC connections: where they live, how they end, and how many there are.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{ConnectionError, TransportConfig, VarInt};

use crate::harness::h3client::{self, Raw, Session, eventually, request, whole};
use crate::harness::{PATIENCE, Setup, TestEdge, Upstream, alone, pattern, until};

#[test]
fn a_client_that_moves_keeps_its_streams_and_is_seen_where_it_is() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).threads(4).start();
    h3client::run(async {
        let (endpoint, quic) = h3client::quic(edge.tls).await;
        let mut client = Session::over(endpoint.clone(), quic).await;
        let mut seen = Vec::new();
        for last in 1..=12_u8 {
            let body = Bytes::from(pattern(100_000));
            let mut upload = client.begin("POST", "/upload").await;
            upload.send_data(body.slice(..50_000)).await.unwrap();
            // Another address and port: as a rule another thread's socket.
            let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
            endpoint.rebind(socket).unwrap();
            upload.send_data(body.slice(50_000..)).await.unwrap();
            upload.finish().await.unwrap();
            assert!(whole(&mut upload).await.unwrap().body.ends_with(&body));
            let answer = client.ask("GET", "/").await;
            let line = format!("x-forwarded-for: 127.0.0.{last}\r\n");
            assert!(answer.text().contains(&line), "{}", answer.text());
            seen.push(last);
        }
        assert_eq!(seen.len(), 12);
        assert_eq!(edge.edge.connections.open(), 1, "it is one connection");
    });
}

/// Nanoseconds of CPU of each of the edge's worker threads.
fn worker_times() -> Vec<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut times: Vec<(u32, u64)> = tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = std::fs::read_to_string(path.join("comm")).ok()?;
            let number = path.file_name()?.to_str()?.parse().ok()?;
            let spent = std::fs::read_to_string(path.join("schedstat")).ok()?;
            let spent = spent.split(' ').next()?.parse().ok()?;
            (name.trim() == "edge").then_some((number, spent))
        })
        .collect();
    times.sort_unstable();
    times.into_iter().map(|(_, spent)| spent).collect()
}

#[test]
fn connections_are_spread_over_the_threads() {
    alone(
        "h3_connections::connections_are_spread_over_the_threads",
        || {
            let upstream = Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let edge = Setup::to(&[upstream.address]).threads(4).start();
            let before = worker_times();
            assert_eq!(before.len(), 4);
            h3client::run(async {
                let mut clients = tokio::task::JoinSet::new();
                for _ in 0..48 {
                    let to = edge.tls;
                    clients.spawn(async move {
                        let mut client = Session::connect(to).await;
                        for _ in 0..20 {
                            assert_eq!(client.ask("GET", "/").await.status, 200);
                        }
                    });
                }
                while let Some(client) = clients.join_next().await {
                    client.unwrap();
                }
            });
            let spent: Vec<u64> = worker_times()
                .iter()
                .zip(&before)
                .map(|(after, before)| after - before)
                .collect();
            let all: u64 = spent.iter().sum();
            for thread in &spent {
                assert!(thread * 20 > all, "a thread below 5 %: {spent:?}");
            }
        },
    );
}

/// Answers `/wait` when it is told to.
fn waiting() -> (Upstream, std::sync::mpsc::Sender<()>) {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        while let Some(request) = call.request() {
            if request.head.contains("/wait") {
                let _ = may_go.lock().unwrap().recv_timeout(PATIENCE);
            }
            if request.head.contains("/sse") {
                let _ =
                    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
                return call.until_ended();
            }
            if call.ok(b"done").is_err() {
                return;
            }
        }
    });
    (upstream, go)
}

/// Reads frames of the edge's control stream until a GOAWAY; its stream id.
async fn goaway(control: &mut quinn::RecvStream) -> u64 {
    async fn varint(control: &mut quinn::RecvStream) -> u64 {
        let mut first = [0];
        control.read_exact(&mut first).await.unwrap();
        let mut value = u64::from(first[0] & 0x3f);
        for _ in 1..1 << (first[0] >> 6) {
            let mut next = [0];
            control.read_exact(&mut next).await.unwrap();
            value = value << 8 | u64::from(next[0]);
        }
        value
    }
    loop {
        let (kind, length) = (varint(control).await, varint(control).await);
        if kind == 7 {
            return varint(control).await;
        }
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        control.read_exact(&mut payload).await.unwrap();
    }
}

#[test]
fn a_drain_says_goaway_finishes_what_was_begun_and_rejects_the_rest() {
    alone(
        "h3_connections::a_drain_says_goaway_finishes_what_was_begun_and_rejects_the_rest",
        || {
            let (upstream, go) = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            h3client::run(async {
                let client = Raw::connect(edge.tls).await;
                let mut control = client.quic.accept_uni().await.unwrap();
                let mut kind = [0];
                control.read_exact(&mut kind).await.unwrap();
                let (mut send, mut recv) = client.begin("GET", "/wait", &[]).await;
                send.finish().unwrap();
                eventually("at the backend", || upstream.count("/wait") == 1).await;
                edge.edge.lifecycle.drain();
                assert_eq!(goaway(&mut control).await, (1 << 62) - 4);
                // What was on its way before the client knew is served.
                let (mut late, mut answer) = client.begin("GET", "/late", &[]).await;
                late.finish().unwrap();
                assert!(answer.read_to_end(9_999).await.unwrap().ends_with(b"done"));
                assert_eq!(goaway(&mut control).await, 8);
                let (_rejected, mut answer) = client.begin("GET", "/too-late", &[]).await;
                let error = answer.read_to_end(9_999).await.unwrap_err();
                let rejected = quinn::ReadError::Reset(VarInt::from_u32(0x10b));
                assert_eq!(error, quinn::ReadToEndError::Read(rejected));
                go.send(()).unwrap();
                assert!(recv.read_to_end(9_999).await.unwrap().ends_with(b"done"));
                let ConnectionError::ApplicationClosed(close) = client.quic.closed().await else {
                    panic!("no CONNECTION_CLOSE");
                };
                assert_eq!(close.error_code, VarInt::from_u32(0x100));
            });
            edge.until_ended();
            assert_eq!(upstream.count("/too-late"), 0);
            assert_eq!(edge.closed("drained"), 1);
        },
    );
}

#[test]
fn an_idle_connection_ends_at_once_when_the_edge_drains_and_none_is_taken() {
    alone(
        "h3_connections::an_idle_connection_ends_at_once_when_the_edge_drains_and_none_is_taken",
        || {
            let (upstream, go) = waiting();
            let edge = Setup::to(&[upstream.address]).start();
            h3client::run(async {
                let mut client = Session::connect(edge.tls).await;
                assert_eq!(client.ask("GET", "/").await.text(), "done");
                let mut busy = Session::connect(edge.tls).await;
                let mut waits = busy.open("/wait").await;
                eventually("at the backend", || upstream.count("/wait") == 1).await;
                let start = Instant::now();
                edge.edge.lifecycle.drain();
                client.quic.closed().await;
                assert!(start.elapsed() < Duration::from_secs(2));
                let endpoint = h3client::endpoint();
                let config = h3client::config(TransportConfig::default());
                let refused = endpoint
                    .connect_with(config, edge.tls, "localhost")
                    .unwrap();
                assert!(matches!(
                    refused.await,
                    Err(ConnectionError::ConnectionClosed(_))
                ));
                go.send(()).unwrap();
                assert_eq!(whole(&mut waits).await.unwrap().text(), "done");
            });
            edge.until_ended();
        },
    );
}

#[test]
fn what_never_ends_is_cut_at_the_bound_of_the_drain() {
    alone(
        "h3_connections::what_never_ends_is_cut_at_the_bound_of_the_drain",
        || {
            let (upstream, _go) = waiting();
            let edge = Setup::to(&[upstream.address]).timeouts("drain: 1s").start();
            h3client::run(async {
                let client = Raw::connect(edge.tls).await;
                let (mut send, mut events) = client.begin("GET", "/sse", &[]).await;
                send.finish().unwrap();
                events.read(&mut [0; 16]).await.unwrap().unwrap();
                let start = Instant::now();
                edge.edge.lifecycle.drain();
                let end = events.read_to_end(9_999).await;
                assert!(end.is_err(), "an event stream that is cut has no clean end");
                let closed = client.quic.closed().await;
                let took = start.elapsed();
                assert!(
                    matches!(closed, ConnectionError::ApplicationClosed(_)),
                    "{closed}"
                );
                assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5));
            });
            edge.until_ended();
        },
    );
}

#[test]
fn connections_count_against_the_bounds_of_process_and_address() {
    let upstream = Upstream::echo();
    for (limits, reason) in [
        ("connections: 2", "process-limit"),
        ("connections_per_address: 2", "address-limit"),
    ] {
        let edge = Setup::to(&[upstream.address]).limits(limits).start();
        let mut over_tcp = edge.plain();
        assert_eq!(over_tcp.get("/").status, 200);
        h3client::run(async {
            let mut kept = Session::connect(edge.tls).await;
            assert_eq!(kept.ask("GET", "/").await.status, 200);
            let endpoint = h3client::endpoint();
            let config = h3client::config(TransportConfig::default());
            let over = endpoint
                .connect_with(config, edge.tls, "localhost")
                .unwrap();
            if let Ok(connection) = over.await {
                let ConnectionError::ApplicationClosed(close) = connection.closed().await else {
                    panic!("not closed by the edge");
                };
                assert_eq!(close.error_code, VarInt::from_u32(0x107));
            }
            assert_eq!(edge.closed(reason), 1);
            assert_eq!(kept.ask("GET", "/").await.status, 200);
            assert_eq!(edge.edge.connections.open(), 2);
            kept.quic.close(0_u32.into(), b"");
            eventually("left", || edge.edge.connections.open() == 1).await;
        });
    }
}

#[test]
fn a_denied_address_gets_no_connection() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .policies("access: { connections: [deny: { id: no, addresses: [127.0.0.0/8] }] }\n")
        .start();
    h3client::run(async {
        let endpoint = h3client::endpoint();
        let config = h3client::config(TransportConfig::default());
        let denied = endpoint
            .connect_with(config, edge.tls, "localhost")
            .unwrap();
        assert!(matches!(
            denied.await,
            Err(ConnectionError::ConnectionClosed(_))
        ));
    });
    assert_eq!(edge.closed("denied"), 1);
}

#[test]
fn clients_prove_their_address_when_many_handshakes_are_in_progress() {
    let upstream = Upstream::echo();
    for (handshakes, retried) in [("0", true), ("100", false)] {
        let edge = Setup::to(&[upstream.address])
            .limits(&format!("quic_handshakes: {handshakes}"))
            .start();
        // What a client says first, sent by nobody who reads the answer.
        let (hello, answer) = first_datagrams(&edge);
        assert!(hello.len() >= 1200);
        // Long header, type Retry (RFC 9000, 17.2.5).
        assert_eq!(answer[0] & 0xf0 == 0xf0, retried, "{:x}", answer[0]);
        h3client::with(&edge, async |mut client| {
            assert_eq!(client.ask("GET", "/").await.status, 200);
        });
    }
}

/// The first datagram of a client, and the first one of the edge's answer.
pub(crate) fn first_datagrams(edge: &TestEdge) -> (Vec<u8>, Vec<u8>) {
    let wire = UdpSocket::bind("127.0.0.1:0").unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    let here = wire.local_addr().unwrap();
    let mut buffer = [0; 2_000];
    let hello = h3client::run(async {
        let endpoint = h3client::endpoint();
        let config = h3client::config(TransportConfig::default());
        let _connecting = endpoint.connect_with(config, here, "localhost").unwrap();
        let hello = tokio::task::spawn_blocking(move || {
            let (count, _) = wire.recv_from(&mut buffer).unwrap();
            (buffer[..count].to_vec(), wire)
        });
        hello.await.unwrap()
    });
    let (hello, wire) = hello;
    wire.send_to(&hello, edge.tls).unwrap();
    let answer = until("an answer", || {
        let (count, from) = wire.recv_from(&mut buffer).ok()?;
        (from == edge.tls).then(|| buffer[..count].to_vec())
    });
    (hello, answer)
}

#[test]
fn an_unknown_version_is_answered_with_those_that_are_spoken() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = vec![0xc0, 0x0a, 0x0a, 0x0a, 0x0a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    hello.resize(1200, 0);
    client.send_to(&hello, edge.tls).unwrap();
    let mut answer = [0; 2_000];
    let (count, _) = client.recv_from(&mut answer).unwrap();
    let answer = &answer[..count];
    assert_eq!(answer[1..5], [0; 4], "version negotiation");
    assert_eq!(
        answer[5..15],
        [0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        "both ids are returned"
    );
    let versions: Vec<_> = answer[15..].chunks(4).collect();
    assert!(versions.contains(&&[0, 0, 0, 1][..]), "{versions:?}");
}

#[test]
fn early_data_is_refused() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h3client::run(async {
        let endpoint = h3client::endpoint();
        let mut tls = crate::harness::tls::client(b"h3");
        tls.enable_early_data = true;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
        for _ in 0..2 {
            let connecting = endpoint
                .connect_with(config.clone(), edge.tls, "localhost")
                .unwrap();
            let connecting = connecting.into_0rtt().map(|_| ()).unwrap_err();
            let connection = connecting.await.unwrap();
            let mut client = Session::over(endpoint.clone(), connection.clone()).await;
            assert_eq!(client.ask("GET", "/").await.status, 200);
            connection.close(0_u32.into(), b"");
        }
    });
}

#[test]
fn a_connection_without_a_request_is_closed_after_its_time() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .timeouts("head: 500ms, idle: 1s")
        .start();
    h3client::run(async {
        for (requests, least) in [(0, 400), (1, 900)] {
            let mut client = Session::connect(edge.tls).await;
            for _ in 0..requests {
                assert_eq!(client.ask("GET", "/").await.status, 200);
            }
            let start = Instant::now();
            let closed = client.quic.closed().await;
            let took = start.elapsed();
            assert!(
                matches!(&closed, ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(0x100)),
                "{closed}"
            );
            assert!(took > Duration::from_millis(least) && took < Duration::from_secs(5));
        }
    });
    until("both counted", || {
        (edge.closed("idle-timeout") == 2).then_some(())
    });
}

#[test]
fn a_connection_ends_politely_after_its_last_request() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .limits("requests_per_connection: 3")
        .start();
    h3client::with(&edge, async |mut client| {
        for _ in 0..3 {
            assert_eq!(client.ask("GET", "/").await.status, 200);
        }
        let more = client.send.send_request(request("GET", "/")).await;
        drop(more);
        assert!(matches!(
            client.quic.closed().await,
            ConnectionError::ApplicationClosed(_)
        ));
    });
    edge.until_closed("request-limit");
}

#[test]
fn a_client_that_resets_without_end_is_closed() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h3client::run(async {
        let client = Raw::connect(edge.tls).await;
        let closed = loop {
            let Ok((mut send, mut recv)) = client.quic.open_bi().await else {
                break client.quic.closed().await;
            };
            let _ = send.write_all(&h3client::head("GET", "/flood", &[])).await;
            let _ = send.reset(VarInt::from_u32(0x10c));
            let _ = recv.stop(VarInt::from_u32(0x10c));
        };
        let ConnectionError::ApplicationClosed(close) = closed else {
            panic!("{closed}");
        };
        assert_eq!(close.error_code, VarInt::from_u32(0x107));
    });
    edge.until_closed("flood");
}

#[test]
fn a_client_that_pings_without_end_is_closed() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h3client::run(async {
        let mut transport = TransportConfig::default();
        // quinn knows no other way to send pings.
        transport.keep_alive_interval(Some(Duration::from_millis(1)));
        let config = h3client::config(transport);
        let endpoint = h3client::endpoint();
        let connecting = endpoint.connect_with(config, edge.tls, "localhost");
        let flooding = connecting.unwrap().await.unwrap();
        let mut innocent = Session::connect(edge.tls).await;
        let ConnectionError::ApplicationClosed(close) = flooding.closed().await else {
            panic!("not closed by the edge");
        };
        assert_eq!(close.error_code, VarInt::from_u32(0x107));
        assert_eq!(innocent.ask("GET", "/").await.status, 200);
    });
    edge.until_closed("flood");
}

#[test]
fn a_client_that_takes_nothing_is_cut_after_its_time() {
    let upstream = Upstream::start(|call| {
        call.request();
        let _ = call.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
        let _ = call.send(pattern(10_000_000));
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address]).timeouts("idle: 1s").start();
    h3client::run(async {
        let mut transport = TransportConfig::default();
        // No more than this is ever taken.
        transport.stream_receive_window(VarInt::from_u32(1_000));
        let endpoint = h3client::endpoint();
        let config = h3client::config(transport);
        let connecting = endpoint
            .connect_with(config, edge.tls, "localhost")
            .unwrap();
        let quic = connecting.await.unwrap();
        let (mut send, mut recv) = quic.open_bi().await.unwrap();
        send.write_all(&h3client::head("GET", "/", &[]))
            .await
            .unwrap();
        send.finish().unwrap();
        eventually("cut", || {
            upstream
                .seen()
                .first()
                .is_some_and(|seen| seen.ended.is_some())
        })
        .await;
        let error = recv.read_to_end(10_000_000).await.unwrap_err();
        assert!(
            matches!(
                error,
                quinn::ReadToEndError::Read(quinn::ReadError::Reset(_))
            ),
            "{error}"
        );
    });
}

#[test]
fn a_handshake_that_stalls_is_given_up_and_harms_nobody() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .timeouts("handshake: 500ms")
        .start();
    // Whoever said hello never answers.
    let (_, answer) = first_datagrams(&edge);
    assert!(!answer.is_empty());
    h3client::with(&edge, async |mut client| {
        assert_eq!(client.ask("GET", "/").await.status, 200);
    });
    edge.until_closed("handshake");
    let late = "meridian_handshake_failures_total{reason=\"timed-out\"}";
    assert_eq!(edge.metric(late), 1);
}

#[test]
fn heads_and_bodies_that_come_too_slowly_end_their_stream_alone() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .timeouts("head: 500ms, body_grace: 500ms")
        .start();
    h3client::run(async {
        let client = Raw::connect(edge.tls).await;
        let head = h3client::head("GET", "/slow", &[]);
        let (mut silent, mut nothing) = client.quic.open_bi().await.unwrap();
        silent.write_all(&head[..1]).await.unwrap();
        let (mut part, mut late) = client.quic.open_bi().await.unwrap();
        part.write_all(&head[..20]).await.unwrap();
        let (mut body, mut slow) = client.begin("PUT", "/slow", &[]).await;
        body.write_all(&[0, 10, b'a']).await.unwrap();
        for answer in [&mut nothing, &mut late, &mut slow] {
            let told = answer.read_to_end(9_999).await.unwrap();
            // HEADERS that begin with `:status: 408`, a literal.
            let text = String::from_utf8_lossy(&told);
            assert!(text.contains("408"), "{text}");
        }
        let (mut send, mut recv) = client.begin("GET", "/fine", &[]).await;
        send.finish().unwrap();
        assert!(!recv.read_to_end(9_999).await.unwrap().is_empty());
    });
    assert_eq!(upstream.count("GET /slow"), 0);
}

#[test]
fn a_moved_client_is_believed_and_allowed_by_its_new_address() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .trusting("127.0.0.2/32")
        .policies("access: { connections: [deny: { id: no, addresses: [127.0.0.3/32] }] }\n")
        .start();
    h3client::run(async {
        let (endpoint, quic) = h3client::quic(edge.tls).await;
        let mut client = Session::over(endpoint.clone(), quic.clone()).await;
        let move_to = |last: u8| {
            let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
            endpoint.rebind(socket).unwrap();
        };
        let claim = || {
            let mut claim = request("GET", "/");
            let address = "192.0.2.9".parse().unwrap();
            claim.headers_mut().insert("x-forwarded-for", address);
            claim
        };
        let answer = client.ask_with(claim()).await;
        assert!(!answer.text().contains("192.0.2.9"), "{}", answer.text());
        move_to(2);
        let answer = client.ask_with(claim()).await;
        let both = "x-forwarded-for: 192.0.2.9, 127.0.0.2\r\n";
        assert!(answer.text().contains(both), "{}", answer.text());
        move_to(1);
        let answer = client.ask_with(claim()).await;
        assert!(!answer.text().contains("192.0.2.9"), "{}", answer.text());
        move_to(3);
        let denied = client.send.send_request(request("GET", "/denied")).await;
        drop(denied);
        assert!(matches!(
            quic.closed().await,
            ConnectionError::ApplicationClosed(_)
        ));
    });
    edge.until_closed("denied");
    assert_eq!(upstream.count("/denied"), 0);
}
