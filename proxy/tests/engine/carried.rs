//! Connections behind a load balancer that names its clients by the PROXY
//! protocol.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::client::connect;
use crate::harness::{Client, Setup, TestEdge, Upstream, h2client, tls};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";

/// The same in version 2, of another client.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\x00\x02\x02\xc6\x33\x64\x01\xdc\x04\x01\xbb";

/// A health check of the balancer itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn carried(upstream: &Upstream) -> Setup {
    Setup::to(&[upstream.address]).carried_from("127.0.0.0/8")
}

/// A plain connection that begins with these bytes.
fn begin(edge: &TestEdge, header: &[u8]) -> Client {
    let mut stream = connect(edge.plain);
    stream.write_all(header).unwrap();
    Client::new(stream)
}

#[test]
fn the_client_that_the_header_names_is_the_peer() {
    let upstream = Upstream::echo();
    let edge = carried(&upstream).start();
    for (header, client) in [
        (LINE, "192.0.2.1"),
        (BINARY, "192.0.2.2"),
        (LOCAL, "127.0.0.1"),
    ] {
        let mut client_of = begin(&edge, header);
        for _ in 0..2 {
            let seen = client_of.get("/").text().to_lowercase();
            let expected = format!("x-forwarded-for: {client}\r\n");
            assert!(seen.contains(&expected), "{seen}");
        }
    }
    // In one piece with the request: nothing is lost behind the header.
    let mut whole = LINE.to_vec();
    whole.extend_from_slice(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    assert_eq!(begin(&edge, &whole).answer().status, 200);
}

#[test]
fn the_rate_of_connections_counts_the_clients_that_are_named() {
    let upstream = Upstream::echo();
    let edge = carried(&upstream)
        .limits("connections_per_second_per_address: 3")
        .start();
    let served = |header: &[u8]| {
        let mut client = begin(&edge, header);
        client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
        client.try_answer("GET").is_ok()
    };
    let refused = (0..20).filter(|_| !served(LINE)).count();
    assert!(refused > 0);
    assert!(served(BINARY), "another client of the same balancer");
    assert_eq!(edge.closed("connection-rate"), refused as u64);
}

#[test]
fn the_header_stands_before_tls() {
    let upstream = Upstream::echo();
    let edge = carried(&upstream).start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut stream = TcpStream::connect(edge.tls).unwrap();
        stream.write_all(BINARY).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tls::connector(b"h2").connect(name, stream).await.unwrap();
        let (mut send, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let (answer, _) = send
            .send_request(h2client::request("GET", "/"), true)
            .unwrap();
        let seen = h2client::whole(answer).await.unwrap();
        let text = seen.text().to_lowercase();
        assert!(text.contains("x-forwarded-for: 192.0.2.2\r\n"), "{text}");
    });
}

#[test]
fn peers_that_may_not_carry_are_closed_whatever_they_say() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .carried_from("10.0.0.0/8")
        .start();
    let mut client = begin(&edge, LINE);
    client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    let (rest, _) = client.rest();
    assert!(rest.is_empty());
    edge.until_closed("proxy-protocol");
    assert!(upstream.bytes().is_empty());
}

#[test]
fn peers_that_may_carry_must_and_in_time() {
    let upstream = Upstream::echo();
    let edge = carried(&upstream).timeouts("handshake: 300ms").start();
    for first in [
        b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n".as_slice(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\nGET / HTTP/1.1\r\nHost: edge\r\n\r\n",
        // Half a header, and then nothing.
        BINARY.get(..20).unwrap(),
        b"",
    ] {
        let start = Instant::now();
        let (rest, _) = begin(&edge, first).rest();
        assert!(rest.is_empty());
        assert!(start.elapsed() < Duration::from_secs(4), "{first:?}");
    }
    assert_eq!(edge.closed("proxy-protocol"), 4);
    assert!(upstream.bytes().is_empty());
    assert_eq!(edge.edge.connections.open(), 0);
}

#[test]
fn limits_and_rules_are_about_the_client_and_not_its_carrier() {
    let upstream = Upstream::echo();
    let edge = carried(&upstream)
        .limits("connections_per_address: 1")
        .policies("access:\n  connections:\n    - deny: { id: bad, addresses: [203.0.113.0/24] }\n")
        .start();
    let mut one = begin(&edge, LINE);
    let mut two = begin(&edge, BINARY);
    assert_eq!((one.get("/").status, two.get("/").status), (200, 200));
    let (rest, _) = begin(&edge, LINE).rest();
    assert!(rest.is_empty());
    edge.until_closed("address-limit");
    let denied = b"PROXY TCP4 203.0.113.9 198.51.100.1 1 443\r\n";
    let (rest, _) = begin(&edge, denied).rest();
    assert!(rest.is_empty());
    edge.until_closed("denied");
    assert_eq!(edge.edge.connections.open(), 2);
}

#[test]
fn the_client_is_a_trusted_hop_only_by_its_own_address() {
    let upstream = Upstream::echo();
    let edge = carried(&upstream)
        .trusting("127.0.0.0/8, 192.0.2.1")
        .start();
    let ask = |header: &[u8]| {
        let mut client = begin(&edge, header);
        client.send("GET / HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: 198.51.100.77\r\n\r\n");
        client.answer().text().to_lowercase()
    };
    assert!(ask(LINE).contains("198.51.100.77"));
    assert!(
        !ask(BINARY).contains("198.51.100.77"),
        "its carrier's trust is not its own"
    );
}
