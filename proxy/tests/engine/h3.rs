//! HTTP/3: the same exchanges over QUIC.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3::error::{Code, StreamError};
use quinn::VarInt;

use crate::harness::h3client::{self, Answering as _, Raw, Session, eventually, request, whole};
use crate::harness::{Call, PATIENCE, Setup, Upstream, pattern, until};

const TEN_MB: usize = 10 * 1024 * 1024;
/// What a client's leaving may take to reach the backend.
const FELT: Duration = Duration::from_millis(500);

/// The code of a stream that was reset, or of what its writer was told.
fn reset_code(error: &StreamError) -> Option<Code> {
    if let StreamError::RemoteTerminate { code, .. } = error {
        Some(*code)
    } else {
        None
    }
}

#[test]
fn a_request_over_h3_reaches_the_backend_and_its_answer_the_client() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let advertised = edge.tls().get("/").field("alt-svc").map(str::to_owned);
    let port = edge.tls.port();
    assert_eq!(advertised, Some(format!("h3=\":{port}\"; ma=86400")));
    let refused = edge.tls().get("/deny").field("alt-svc").map(str::to_owned);
    assert_eq!(refused, advertised);
    assert_eq!(edge.plain().get("/").field("alt-svc"), None);
    h3client::with(&edge, async |mut client| {
        let answer = client.ask("GET", "/some/path?q=1").await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with("GET /some/path?q=1 HTTP/1.1\r\n"));
        assert!(answer.text().contains("x-forwarded-proto: https\r\n"));
        assert!(!answer.text().contains("transfer-encoding"));
        assert_eq!(answer.fields["x-meridian-region"], "local");
        assert!(answer.fields.get("alt-svc").is_none());
        let open = "erlmcp_active_connections{region=\"local\",protocol=\"h3\"}";
        assert_eq!(edge.metric(open), 1);
    });
}

#[test]
fn clients_are_told_of_the_port_that_they_can_reach() {
    let upstream = Upstream::echo();
    for (key, told) in [
        ("h3_port: 443", Some("h3=\":443\"; ma=86400")),
        ("h3_port: 0", None),
    ] {
        let edge = Setup::to(&[upstream.address]).listener(key).start();
        assert_eq!(edge.tls().get("/").field("alt-svc"), told, "{key}");
        h3client::with(&edge, async |mut client| {
            assert_eq!(client.ask("GET", "/").await.status, 200);
        });
    }
}

#[test]
fn bodies_with_and_without_a_length_arrive_as_they_were_sent() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        let body = Bytes::from(pattern(50_000));
        for (length, framing) in [
            (None, "transfer-encoding: chunked\r\n"),
            (Some(50_000), "content-length: 50000\r\n"),
        ] {
            let mut request = request("POST", "/");
            if let Some(length) = length {
                request
                    .headers_mut()
                    .insert("content-length", length.into());
            }
            let answer = client.post(request, body.clone()).await;
            assert!(answer.body.ends_with(&body));
            let head = String::from_utf8_lossy(&answer.body[..1_000]).into_owned();
            assert!(head.contains(framing), "{head}");
        }
        let mut empty = request("POST", "/");
        empty.headers_mut().insert("content-length", 0.into());
        let answer = client.ask_with(empty).await;
        assert!(answer.text().contains("content-length: 0\r\n"));
        assert_eq!(client.ask("POST", "/").await.status, 200);
    });
}

/// Sends every piece of a chunked body back as soon as it is there.
fn mirror(call: &mut Call) {
    while call.head().is_some() {
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        let mut piece = Vec::new();
        while call.chunk(&mut piece).unwrap_or_default() {
            let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
            if call.send(framed).is_err() {
                return;
            }
            piece.clear();
        }
        call.exactly(2);
        let _ = call.send("0\r\n\r\n");
    }
}

#[test]
fn large_bodies_flow_up_down_and_both_ways_at_once_byte_for_byte() {
    let body = Bytes::from(pattern(TEN_MB));
    let both = Upstream::start(mirror);
    let edge = Setup::to(&[both.address]).start();
    h3client::with(&edge, async |mut client| {
        let mut other = client.clone();
        let (one, two) = tokio::join!(
            client.post(request("POST", "/"), body.clone()),
            other.post(request("POST", "/"), body.clone())
        );
        assert!(one.body == body && two.body == body);
    });
    let expected = body.clone();
    let up = Upstream::start(move |call| {
        let request = call.request().unwrap();
        let same = request.body == expected;
        call.ok(if same { b"same" } else { b"other" }).unwrap();
    });
    let edge = Setup::to(&[up.address]).start();
    h3client::with(&edge, async |mut client| {
        let answer = client.post(request("POST", "/"), body.clone()).await;
        assert_eq!(answer.text(), "same");
    });
    let sent = body.clone();
    let down = Upstream::start(move |call| {
        while call.request().is_some() {
            call.ok(&sent).unwrap();
        }
    });
    let edge = Setup::to(&[down.address]).start();
    h3client::with(&edge, async |mut client| {
        let answer = client.ask("GET", "/").await;
        assert_eq!(answer.fields["content-length"], TEN_MB.to_string().as_str());
        assert!(answer.body == body);
    });
}

#[test]
fn an_event_is_passed_on_before_the_next_one_is_made() {
    let (tell, told): (Sender<()>, Receiver<()>) = channel();
    let told = Mutex::new(told);
    let upstream = Upstream::start(move |call| {
        call.request();
        call.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        for number in 0..5 {
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            let event = format!("data: {number}\n\n");
            call.send(format!("{:x}\r\n{event}\r\n", event.len()))
                .unwrap();
        }
        call.send("0\r\n\r\n").unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        let mut exchange = client.open("/").await;
        exchange.head().await.unwrap();
        for number in 0..5 {
            tell.send(()).unwrap();
            let event = exchange.piece().await.unwrap().unwrap();
            assert_eq!(event, format!("data: {number}\n\n"));
        }
        assert!(exchange.piece().await.unwrap().is_none());
    });
}

#[test]
fn interim_heads_and_trailers_of_an_answer_are_passed_on() {
    let upstream = Upstream::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
         3\r\nabc\r\n0\r\ngrpc-status: 0\r\nContent-Length: 99\r\nHost: evil\r\n\r\n",
    );
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        let answer = client.ask("GET", "/").await;
        assert_eq!(answer.text(), "abc");
        let trailers = answer.trailers.unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn answers_without_a_body_have_none() {
    for (method, answer, length) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            Some("1000"),
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
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
        h3client::with(&edge, async |mut client| {
            for _ in 0..3 {
                let answer = client.ask(method, "/").await;
                assert!(answer.body.is_empty());
                let seen = answer.fields.get("content-length");
                assert_eq!(seen.map(|n| n.to_str().unwrap()), length, "{method}");
            }
        });
        assert_eq!(
            upstream.seen().len(),
            1,
            "{method}: the backend was not kept"
        );
    }
}

#[test]
fn an_answer_that_comes_during_the_upload_arrives_whole_and_stops_it() {
    let upstream = Upstream::start(|call| {
        call.head();
        call.ok(b"no need").unwrap();
        // Never reads on; ends when the edge or the test does.
        while !call.has_broken() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        for (path, status) in [("/", 200), ("/deny", 403), ("/small", 413)] {
            let (mut writing, mut reading) = client.begin("POST", path).await.split();
            let piece = Bytes::from(vec![b'x'; 100_000]);
            let write = async {
                loop {
                    if let Err(error) = writing.send_data(piece.clone()).await {
                        break error;
                    }
                }
            };
            let (error, answer) = tokio::join!(write, whole(&mut reading));
            assert_eq!(answer.unwrap().status, status, "{path}");
            assert_eq!(reset_code(&error), Some(Code::H3_NO_ERROR), "{path}");
        }
    });
}

#[test]
fn a_request_whose_backend_refuses_is_tried_elsewhere_with_its_body() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = dead.local_addr().unwrap();
    drop(dead);
    let upstream = Upstream::echo();
    let edge = Setup::to(&[nowhere, upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        for number in 0..20 {
            let body = Bytes::from(format!("body {number}"));
            let answer = client.post(request("PUT", "/"), body.clone()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(
                answer.body.ends_with(&body) || answer.text().contains(&format!("body {number}"))
            );
        }
    });
}

#[test]
fn many_requests_are_served_side_by_side_on_one_connection() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).threads(2).start();
    h3client::with(&edge, async |client| {
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..400 {
            let mut client = client.clone();
            lanes.spawn(async move {
                for number in 0..5 {
                    let path = format!("/{lane}/{number}");
                    let answer = client.ask("GET", &path).await;
                    assert!(answer.text().starts_with(&format!("GET {path} ")));
                }
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane.unwrap();
        }
    });
    assert_eq!(upstream.count("GET /"), 2_000);
}

#[test]
fn a_hundred_streams_wait_at_once() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        call.request();
        may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        call.ok(b"done").unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(client.open("/").await);
        }
        eventually("all at the backend", || upstream.count("GET /") == 100).await;
        for _ in 0..100 {
            go.send(()).unwrap();
        }
        for mut exchange in open {
            assert_eq!(whole(&mut exchange).await.unwrap().text(), "done");
        }
    });
}

#[test]
fn an_answer_that_breaks_off_resets_its_stream_and_is_never_whole() {
    for head in ["Content-Length: 20000", "Transfer-Encoding: chunked"] {
        let upstream = Upstream::start(move |call| {
            call.request();
            let _ = call.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
            let _ = call.send("2710\r\n");
            let _ = call.send(vec![b'x'; 10_000]);
        });
        let edge = Setup::to(&[upstream.address]).start();
        h3client::with(&edge, async |mut client| {
            let mut exchange = client.open("/").await;
            let error = whole(&mut exchange).await.unwrap_err();
            assert_eq!(reset_code(&error), Some(Code::H3_INTERNAL_ERROR), "{head}");
            // The connection lives on.
            assert_eq!(client.ask("GET", "/deny").await.status, 403);
        });
    }
}

/// Never answers but to `/sse` and `/large`.
fn silent() -> Upstream {
    Upstream::start(|call| {
        let Some(head) = call.head() else { return };
        if head.contains("/sse") {
            call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc\n\r\n")
                .unwrap();
        }
        if head.contains("/large") {
            let _ = call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            let piece = vec![b'x'; 64 * 1024];
            while call.send(&piece).is_ok() {}
        }
        while !call.has_broken() {
            if head.contains("/up") {
                call.fill();
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    })
}

#[test]
fn a_client_that_leaves_is_felt_by_the_backend_at_any_point() {
    let upstream = silent();
    let edge = Setup::to(&[upstream.address]).start();
    let cancelled = VarInt::from_u32(0x10c);
    h3client::run(async {
        let client = Raw::connect(edge.tls).await;
        let paths = ["/think", "/sse", "/up", "/stuck", "/large", "/stuck-part"];
        for (number, path) in paths.into_iter().enumerate() {
            let upload = matches!(path, "/up" | "/stuck" | "/stuck-part");
            let method = if upload { "PUT" } else { "GET" };
            let (mut send, mut recv) = client.begin(method, path, &[]).await;
            if upload {
                // A frame of 16 MiB, of which some comes.
                send.write_all(&[0, 0x81, 0, 0, 0]).await.unwrap();
                // All that the edge has of a part is with its kernel.
                let size = match path {
                    "/up" => 4,
                    "/stuck-part" => 1_000_000,
                    _ => 10_000_000,
                };
                let body = vec![b'x'; size];
                let upload = send.write_all(&body);
                let _ = tokio::time::timeout(Duration::from_secs(1), upload).await;
            } else {
                send.finish().unwrap();
            }
            if matches!(path, "/sse" | "/large") {
                recv.read(&mut [0; 16]).await.unwrap().unwrap();
            }
            eventually(path, || upstream.count(path) > 0).await;
            if upload {
                send.reset(cancelled).unwrap();
            }
            recv.stop(cancelled).unwrap();
            let took = eventually(path, || upstream.is_closed(number)).await;
            assert!(took < FELT, "{path}: {took:?}");
        }
        let (mut send, _recv) = client.begin("GET", "/think-on", &[]).await;
        send.finish().unwrap();
        eventually("seen", || upstream.count("/think-on") > 0).await;
        client.quic.close(VarInt::from_u32(0x100), b"");
        let took = eventually("closed", || upstream.is_closed(6)).await;
        assert!(took < FELT, "{took:?}");
    });
}

#[test]
fn a_client_that_does_not_read_holds_the_backend_back() {
    let (upstream, taken) = {
        let taken = std::sync::Arc::new(Mutex::new(0));
        let count = std::sync::Arc::clone(&taken);
        let upstream = Upstream::start(move |call| {
            call.request();
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
                .unwrap();
            for _ in 0..1024 {
                if call.send(vec![b'x'; 64 * 1024]).is_err() {
                    return;
                }
                *count.lock().unwrap() += 64 * 1024;
            }
        });
        (upstream, taken)
    };
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client| {
        let mut exchange = client.open("/").await;
        exchange.head().await.unwrap();
        let still = tokio::task::spawn_blocking(move || {
            let (mut last, mut since) = (0, Instant::now());
            until("the sender is held back", || {
                let now = *taken.lock().unwrap();
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                (last > 0 && since.elapsed() > FELT).then_some(last)
            })
        });
        assert!(still.await.unwrap() < 32 * 1024 * 1024);
        let mut got = 0;
        while let Some(piece) = exchange.piece().await.unwrap() {
            got += piece.len();
        }
        assert_eq!(got, 64 * 1024 * 1024);
    });
}

#[test]
fn a_request_that_breaks_a_rule_is_reset_and_nothing_of_it_reaches_a_backend() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h3client::with(&edge, async |mut client: Session| {
        let mut with_te = request("GET", "/te");
        with_te.headers_mut().insert("te", "gzip".parse().unwrap());
        let mut with_connection = request("GET", "/c");
        let close = "close".parse().unwrap();
        with_connection.headers_mut().insert("connection", close);
        for refused in [with_te, with_connection] {
            let mut exchange = client.send.send_request(refused).await.unwrap();
            let _ = exchange.finish().await;
            let error = whole(&mut exchange).await.unwrap_err();
            assert_eq!(reset_code(&error), Some(Code::H3_MESSAGE_ERROR));
        }
        let mut short = request("POST", "/short");
        short.headers_mut().insert("content-length", 10.into());
        let mut exchange = client.send.send_request(short).await.unwrap();
        exchange
            .send_data(Bytes::from_static(b"abc"))
            .await
            .unwrap();
        exchange.finish().await.unwrap();
        let error = whole(&mut exchange).await.unwrap_err();
        assert_eq!(reset_code(&error), Some(Code::H3_MESSAGE_ERROR));
        assert_eq!(client.ask("GET", "/fine").await.status, 200);
    });
    assert_eq!(upstream.count("/te") + upstream.count("/c"), 0);
    let whole = upstream.seen().iter().any(|seen| {
        let text = seen.text();
        text.contains("/short") && text.ends_with("abc") && text.contains("content-length: 3")
    });
    assert!(!whole);
    let malformed = "meridian_decisions_total{verdict=\"refuse\",reason=\"malformed\"}";
    assert!(edge.metric(malformed) >= 2, "{}", edge.metric(malformed));
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h3client::run(async {
        let client = Raw::connect(edge.tls).await;
        let expects = [("expect", "100-continue")];
        let (mut send, mut recv) = client.begin("PUT", "/", &expects).await;
        let mut first = [0; 7];
        recv.read_exact(&mut first).await.unwrap();
        // HEADERS with entry 63 of the static table: `:status: 100`.
        assert_eq!(first, [1, 0x40, 4, 0, 0, 0xff, 0]);
        send.write_all(&[0, 3, b'a', b'b', b'c']).await.unwrap();
        send.finish().unwrap();
        let rest = recv.read_to_end(10_000).await.unwrap();
        assert!(rest.ends_with(b"abc"), "{}", String::from_utf8_lossy(&rest));
    });
    assert_eq!(upstream.count("100-continue"), 0);
}
