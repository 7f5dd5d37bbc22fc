//! Upgrades to WebSocket: from then on bytes both ways, unread.

use std::io::Write as _;

use crate::harness::{CARRIERS, Call, Client, End, Setup, Upstream, pattern};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: edge\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

/// Switches, greets in the same write, and sends everything back.
fn mirror() -> Upstream {
    Upstream::start(|call| {
        let Some(head) = call.head() else { return };
        assert!(
            head.contains("upgrade: websocket\r\n") || head.contains("Upgrade: websocket\r\n"),
            "{head}"
        );
        call.send(format!("{SWITCHED}hello")).unwrap();
        while let Some(bytes) = call.some() {
            if call.send(bytes).is_err() {
                return;
            }
        }
    })
}

fn upgraded(client: &mut Client) {
    client.send(UPGRADE);
    let answer = client.head().unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer
            .field("upgrade")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("websocket")
    );
    assert_eq!(
        answer
            .field("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("upgrade")
    );
    assert_eq!(
        answer.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.field("sec-websocket-protocol"), Some("chat"));
    assert_eq!(answer.field("content-length"), None);
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn bytes_flow_both_ways_unread() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        upgraded(&mut client);
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
        client.send(format!("{UPGRADE}early"));
        assert_eq!(client.head().unwrap().status, 101);
        assert_eq!(client.exactly(10), b"helloearly");
    }
}

#[test]
fn a_megabyte_goes_through_both_ways_at_once() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        upgraded(&mut client);
        let bytes = pattern(1_000_000);
        let (mut writer, sent) = (client.stream.try_clone().unwrap(), bytes.clone());
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        assert!(client.exactly(bytes.len()) == bytes, "{carrier:?}");
        writing.join().unwrap();
    }
}

#[test]
fn the_end_of_one_side_reaches_the_other_which_may_still_speak() {
    let upstream = Upstream::start(|call| {
        call.head();
        call.send(format!("{SWITCHED}hello")).unwrap();
        call.until_ended();
        call.send("last words").unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        upgraded(&mut client);
        client.send("bye");
        client.close_write();
        assert_eq!(
            client.rest(),
            (b"last words".to_vec(), End::Clean),
            "{carrier:?}"
        );
    }
}

#[test]
fn a_backend_that_closes_ends_the_tunnel() {
    let upstream = Upstream::start(|call| {
        call.head();
        call.send(format!("{SWITCHED}hello")).unwrap();
    });
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        upgraded(&mut client);
        assert_eq!(client.ends(), End::Clean);
    }
}

#[test]
fn a_client_that_leaves_is_felt_by_the_backend() {
    let upstream = mirror();
    let edge = Setup::to(&[upstream.address]).start();
    for (number, carrier) in CARRIERS.into_iter().enumerate() {
        let mut client = edge.over(carrier);
        upgraded(&mut client);
        client.abort();
        upstream.until_ended(number);
    }
}

#[test]
fn a_refused_upgrade_is_an_answer_like_any_other() {
    let upstream = Upstream::always("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    for _ in 0..2 {
        let answer = client.ask(UPGRADE);
        assert_eq!((answer.status, answer.text()), (403, "no"));
    }
    assert_eq!(client.get("/").status, 403);
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
    let answer = edge.plain().ask(UPGRADE.replace("/ws", "/no-socket"));
    assert_eq!(answer.status, 200);
    assert!(
        !answer.text().to_ascii_lowercase().contains("upgrade"),
        "{}",
        answer.text()
    );
}

#[test]
fn an_upgrade_that_the_backend_makes_of_its_own_accord_is_502() {
    let upstream = Upstream::start(|call: &mut Call| {
        call.head();
        call.send(SWITCHED).unwrap();
        call.until_ended();
    });
    let edge = Setup::to(&[upstream.address])
        .policies("retry: { max_retries: 0 }\n")
        .start();
    assert_eq!(edge.plain().get("/").status, 502);
}
