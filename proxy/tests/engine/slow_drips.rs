//! Clients that are slow without ever being silent, in every protocol and at
//! every point, beside good ones in every protocol.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::{TransportConfig, VarInt};

use crate::h3_connections::first_datagrams;
use crate::harness::client::connect;
use crate::harness::frames::{self, Frames};
use crate::harness::h3client::{self, Raw};
use crate::harness::{CARRIERS, Call, Carrier, Setup, TestEdge, Upstream, h2client, until};

/// Below every rate, and sooner than every silence.
const PACE: Duration = Duration::from_millis(50);

/// All deadlines are half a second; on a machine with much else to do they are
/// kept within this.
const SOON: Duration = Duration::from_secs(8);

/// Goes on once more; false when the edge has ended it.
type Drip = Box<dyn FnMut() -> bool + Send>;

/// One byte of a text, again and again.
fn bytes(mut stream: TcpStream, text: &'static [u8]) -> Drip {
    let mut bytes = text.iter().cycle();
    Box::new(move || {
        bytes
            .next()
            .is_some_and(|byte| stream.write_all(&[*byte]).is_ok())
    })
}

/// A frame, again and again.
fn again(mut frames: Frames, frame: Vec<u8>) -> Drip {
    Box::new(move || frames.send(&frame))
}

/// A little of an endless answer now and then.
fn sips(mut stream: TcpStream) -> Drip {
    Box::new(move || matches!(stream.read(&mut [0; 1_000]), Ok(1..)))
}

fn over_h1(edge: &TestEdge, carrier: Carrier) -> [Drip; 3] {
    let begun = |begun: &str| {
        let mut client = edge.over(carrier);
        client.send(begun);
        client.stream
    };
    [
        bytes(begun("GET / HTTP/1.1\r\nHost: edge\r\nX: "), b"x"),
        bytes(
            begun("PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000000\r\n\r\n"),
            b"x",
        ),
        sips(begun("GET /endless HTTP/1.1\r\nHost: edge\r\n\r\n")),
    ]
}

fn over_h2(edge: &TestEdge) -> [Drip; 4] {
    let preface = Frames::raw(edge).stream;
    // HEADERS of 16,000 bytes, of which the first are a literal's.
    let mut head = Frames::open(edge);
    head.send(&[
        0,
        0x3e,
        0x80,
        frames::HEADERS,
        frames::END_HEADERS,
        0,
        0,
        0,
        1,
    ]);
    head.send(&[0, 1]);
    let mut body = Frames::open(edge);
    body.headers(1, &frames::request("PUT", "/"), 0);
    // A window of nothing, which grows by a byte.
    let mut window = Frames::open(edge);
    window.frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    window.get(1, "/endless");
    [
        bytes(preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        bytes(head.stream, b"x"),
        again(body, frames::frame(frames::DATA, 0, 1, b"x")),
        again(
            window,
            frames::frame(frames::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ),
    ]
}

/// Writes a byte now and then for as long as the edge takes any.
async fn drip(mut send: quinn::SendStream, byte: u8) {
    while send.write_all(&[byte]).await.is_ok() {
        tokio::time::sleep(PACE).await;
    }
}

/// All of HTTP/3 at once; returns when the edge has ended every connection.
async fn over_h3(edge: &TestEdge) {
    let preface = async {
        let (_endpoint, quic) = h3client::quic(edge.tls).await;
        let mut control = quic.open_uni().await.unwrap();
        // SETTINGS of 64 bytes, of which each has 16.
        control.write_all(&[0, 4, 0x40, 0x40]).await.unwrap();
        tokio::join!(drip(control, 0xff), quic.closed());
    };
    let head = async {
        let client = Raw::connect(edge.tls).await;
        let (mut send, _recv) = client.quic.open_bi().await.unwrap();
        // HEADERS of 16 KiB less one.
        send.write_all(&[1, 0x7f, 0xff, 0, 0]).await.unwrap();
        tokio::join!(drip(send, 0xd1), client.quic.closed());
    };
    let body = async {
        let client = Raw::connect(edge.tls).await;
        let (mut send, _recv) = client.begin("PUT", "/", &[]).await;
        send.write_all(&[0, 0x7f, 0xff]).await.unwrap();
        tokio::join!(drip(send, b'x'), client.quic.closed());
    };
    let window = async {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(1_000));
        let endpoint = h3client::endpoint();
        let config = h3client::config(transport);
        let calling = endpoint.connect_with(config, edge.tls, "localhost");
        let quic = calling.unwrap().await.unwrap();
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        let (mut send, mut recv) = quic.open_bi().await.unwrap();
        let asked = h3client::head("GET", "/endless", &[]);
        send.write_all(&asked).await.unwrap();
        send.finish().unwrap();
        while recv.read_exact(&mut [0; 200]).await.is_ok() {
            tokio::time::sleep(PACE).await;
        }
        quic.closed().await;
    };
    tokio::join!(preface, head, body, window);
}

fn served(call: &mut Call) {
    while let Some(request) = call.request() {
        if !request.head.contains("/endless") {
            if call.ok(b"xx").is_err() {
                return;
            }
            continue;
        }
        let _ = call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        let piece = vec![b'x'; 64 * 1024];
        while call.send(&piece).is_ok() {}
    }
}

/// What good clients saw until it was over.
#[derive(Default)]
struct Good {
    over: AtomicBool,
    served: [AtomicU64; 4],
    /// Milliseconds.
    slowest: AtomicU64,
}

impl Good {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }

    fn saw(&self, at: usize, start: Instant, body: &str) {
        assert_eq!(body, "xx");
        let took = u64::try_from(start.elapsed().as_millis()).unwrap();
        self.slowest.fetch_max(took, Ordering::AcqRel);
        self.served[at].fetch_add(1, Ordering::AcqRel);
    }

    fn h1(&self, edge: &TestEdge, (at, carrier): (usize, Carrier)) {
        let mut client = edge.over(carrier);
        while self.goes_on() {
            let start = Instant::now();
            self.saw(at, start, client.get("/").text());
            std::thread::park_timeout(PACE / 2);
        }
    }

    fn h2(&self, edge: &TestEdge) {
        h2client::with(edge, async |mut client| {
            while self.goes_on() {
                let start = Instant::now();
                self.saw(2, start, client.ask("GET", "/").await.text());
                tokio::time::sleep(PACE / 2).await;
            }
        });
    }

    fn h3(&self, edge: &TestEdge) {
        h3client::with(edge, async |mut client| {
            while self.goes_on() {
                let start = Instant::now();
                self.saw(3, start, client.ask("GET", "/").await.text());
                tokio::time::sleep(PACE / 2).await;
            }
        });
    }
}

/// However the test ends, the good clients do.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// All of TCP at once; returns when the edge has ended each. What is still in a
/// socket's buffer then goes on being read.
fn over_tcp(edge: &TestEdge) {
    let start = Instant::now();
    // A hello of 508 bytes.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut drips = vec![("tls hello", bytes(connect(edge.tls), hello))];
    for carrier in CARRIERS {
        let names = ["h1 head", "h1 body", "h1 window"];
        drips.extend(names.into_iter().zip(over_h1(edge, carrier)));
    }
    let names = ["h2 preface", "h2 head", "h2 body", "h2 window"];
    drips.extend(names.into_iter().zip(over_h2(edge)));
    let taken = |name: &str| name.ends_with("window");
    while drips.iter().any(|(name, _)| !taken(name)) || edge.closed("write-timeout") < 2 {
        drips.retain_mut(|(_, drip)| drip());
        let left: Vec<&str> = drips.iter().map(|(name, _)| *name).collect();
        assert!(start.elapsed() < SOON, "still open: {left:?}");
        std::thread::park_timeout(PACE);
    }
}

#[test]
fn clients_that_drip_in_every_protocol_are_closed_in_time_while_good_ones_are_served() {
    let upstream = Upstream::start(served);
    let edge = Setup::to(&[upstream.address])
        .timeouts("handshake: 500ms, head: 500ms, body_grace: 500ms, body_rate: 1MiB, idle: 500ms")
        .start();
    let good = Good::default();
    let (edge, good) = (&edge, &good);
    std::thread::scope(|scope| {
        let _over = Over(&good.over);
        for (at, carrier) in CARRIERS.into_iter().enumerate() {
            scope.spawn(move || good.h1(edge, (at, carrier)));
        }
        scope.spawn(|| good.h2(edge));
        scope.spawn(|| good.h3(edge));
        let served = |least| {
            let mut all = good.served.iter();
            all.all(|served| served.load(Ordering::Acquire) > least)
        };
        until("the good ones are served", || served(2).then_some(()));
        // Whoever said hello over QUIC never answers.
        first_datagrams(edge);
        let quic = scope.spawn(|| h3client::run(over_h3(edge)));
        over_tcp(edge);
        quic.join().unwrap();
        until("the good ones are still served", || {
            served(10).then_some(())
        });
        until("only the good ones are left", || {
            (edge.edge.connections.open() == 4).then_some(())
        });
    });
    for (reason, count) in [
        // TCP and QUIC.
        ("handshake", 2),
        // HTTP/1: the two of HTTP/2 and 3 end their streams alone.
        ("body-timeout", 2),
        ("write-timeout", 2),
    ] {
        assert_eq!(edge.closed(reason), count, "{reason}");
    }
    // Two heads of HTTP/1, and all others of HTTP/2 and HTTP/3, whose
    // connections have nothing to do in the end.
    let others = edge.closed("head-timeout") + edge.closed("idle-timeout");
    assert_eq!(others, 2 + 4 + 4);
    let slowest = good.slowest.load(Ordering::Acquire);
    assert!(slowest < 2_000, "{slowest} ms");
}
