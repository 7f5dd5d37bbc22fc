//! The case families of the Autobahn test suite as raw frames: through the
//! edge, over every version, a backend that minds every rule answers with the
//! same bytes and the same end as without it.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use std::io::{Read as _, Write as _};
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tungstenite::{Error, Message, WebSocket, accept};

use crate::harness::websocket::{OVER, Over, Socket, masked, reason};
use crate::harness::{End, Setup};

const CONTINUATION: u8 = 0x00;
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FIN: u8 = 0x80;

/// Sends every message back; says why it closes.
fn backend() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                if let Ok(socket) = accept(stream) {
                    echo(socket);
                }
            });
        }
    });
    address
}

fn echo(mut socket: WebSocket<TcpStream>) {
    loop {
        let code = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                if socket.send(message).is_err() {
                    return;
                }
                continue;
            }
            Ok(_) => continue,
            Err(Error::Protocol(_)) => CloseCode::Protocol,
            Err(Error::Utf8(_)) => CloseCode::Invalid,
            Err(_) => break,
        };
        let goodbye = CloseFrame {
            code,
            reason: "".into(),
        };
        let _ = socket.close(Some(goodbye));
        let _ = socket.flush();
        break;
    }
    // What the client still sends must not turn the end into a reset.
    let stream = socket.get_mut();
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    while stream.read(&mut [0; 4_096]).is_ok_and(|count| count > 0) {}
    let _ = stream.flush();
}

/// What a client sends, in the pieces in which it does, and its name.
struct Case {
    name: String,
    pieces: Vec<Vec<u8>>,
}

fn case(name: impl Into<String>, frames: &[Vec<u8>]) -> Case {
    Case {
        name: name.into(),
        pieces: vec![frames.concat()],
    }
}

/// Cut into pieces of this size.
fn chopped(name: impl Into<String>, frames: &[Vec<u8>], size: usize) -> Case {
    let bytes = frames.concat();
    Case {
        name: name.into(),
        pieces: bytes.chunks(size).map(<[u8]>::to_vec).collect(),
    }
}

fn goodbye() -> Vec<u8> {
    masked(CLOSE, &reason(1000, ""))
}

/// 1: framing.
fn framing(cases: &mut Vec<Case>) {
    for (kind, fill) in [(TEXT, b'*'), (BINARY, 0xfe)] {
        for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
            let frames = [masked(FIN | kind, &vec![fill; length]), goodbye()];
            cases.push(case(format!("1: {kind} {length}"), &frames));
        }
        let frames = [masked(FIN | kind, &vec![fill; 65_536]), goodbye()];
        cases.push(chopped(format!("1: {kind} chopped"), &frames, 997));
    }
}

/// 2: pings and pongs.
fn pings(cases: &mut Vec<Case>) {
    for payload in [
        &b""[..],
        b"Hello, world!",
        &[0, 0xff, 0xfe, 0xfd, 0xfc],
        &[0xfe; 125],
    ] {
        let frames = [masked(PING, payload), goodbye()];
        cases.push(case(format!("2: ping {}", payload.len()), &frames));
    }
    cases.push(case(
        "2: long ping",
        &[masked(PING, &[0xfe; 126]), goodbye()],
    ));
    cases.push(chopped(
        "2: ping octet-wise",
        &[masked(PING, &[0xfe; 125]), goodbye()],
        1,
    ));
    cases.push(case("2: pong", &[masked(PONG, b"unsolicited"), goodbye()]));
    cases.push(case(
        "2: pong and ping",
        &[masked(PONG, b"x"), masked(PING, b"y"), goodbye()],
    ));
    let mut many: Vec<_> = (0..10_u8).map(|n| masked(PING, &[n])).collect();
    many.push(goodbye());
    cases.push(case("2: ten pings", &many));
    cases.push(chopped("2: ten pings octet-wise", &many, 1));
}

/// 3: reserved bits; 4: opcodes.
fn reserved(cases: &mut Vec<Case>) {
    for bits in 1..8_u8 {
        let first = FIN | bits << 4;
        for (what, kind) in [
            ("text", TEXT),
            ("binary", BINARY),
            ("ping", 9),
            ("close", 8),
        ] {
            let frames = [masked(first | kind, b"ab"), masked(PING, b""), goodbye()];
            cases.push(case(format!("3: {bits} {what}"), &frames));
        }
        let frames = [
            masked(FIN | TEXT, b"before"),
            masked(first | TEXT, b"small"),
            masked(PING, b""),
        ];
        cases.push(chopped(format!("3: {bits} behind a text"), &frames, 1));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"reserved"] {
            let frames = [
                masked(FIN | TEXT, b"before"),
                masked(FIN | opcode, payload),
                masked(PING, b""),
            ];
            cases.push(case(format!("4: {opcode} {}", payload.len()), &frames));
        }
    }
}

/// 5: fragments.
fn fragments(cases: &mut Vec<Case>) {
    let (first, last) = (masked(TEXT, b"fragment1"), masked(FIN, b"fragment2"));
    let middle = masked(CONTINUATION, b"middle");
    let ping = masked(PING, b"between");
    let sets: [(&str, Vec<Vec<u8>>); 12] = [
        ("ping in two", vec![masked(9, b"a"), masked(FIN, b"b")]),
        ("pong in two", vec![masked(10, b"a"), masked(FIN, b"b")]),
        ("two", vec![first.clone(), last.clone()]),
        (
            "ping between",
            vec![first.clone(), ping.clone(), last.clone()],
        ),
        (
            "pings between three",
            vec![
                first.clone(),
                ping.clone(),
                middle.clone(),
                ping,
                last.clone(),
            ],
        ),
        ("of nothing", vec![last.clone(), masked(FIN | TEXT, b"x")]),
        (
            "of nothing, not the last",
            vec![middle.clone(), last.clone()],
        ),
        (
            "a text within",
            vec![first.clone(), masked(FIN | TEXT, b"x")],
        ),
        (
            "a first within",
            vec![
                first.clone(),
                middle.clone(),
                masked(TEXT, b"x"),
                last.clone(),
            ],
        ),
        (
            "again after the end",
            vec![first.clone(), last.clone(), last.clone()],
        ),
        (
            "empty",
            vec![masked(TEXT, b""), masked(0, b""), masked(FIN, b"")],
        ),
        (
            "binary",
            vec![
                masked(BINARY, &[0xff]),
                masked(0, &[0xfe]),
                masked(FIN, &[0]),
            ],
        ),
    ];
    for (name, mut frames) in sets {
        frames.push(goodbye());
        cases.push(case(format!("5: {name}"), &frames));
        cases.push(chopped(format!("5: {name}, octet-wise"), &frames, 1));
    }
}

/// 6: UTF-8.
fn texts(cases: &mut Vec<Case>) {
    let good = "κόσμε \u{10ffff} \u{0} \u{fffd} \u{e000} \u{d7ff}".as_bytes();
    cases.push(case("6: good", &[masked(FIN | TEXT, good), goodbye()]));
    let mut split: Vec<_> = good.iter().map(|byte| masked(0, &[*byte])).collect();
    split.insert(0, masked(TEXT, b""));
    split.push(masked(FIN, b""));
    split.push(goodbye());
    cases.push(case("6: good, a byte a fragment", &split));
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xff",
        b"\xed\xbf\xbf",
        b"\x80",
        b"\xce",
        b"\xf8\x88\x80\x80\x80",
    ] {
        let whole = [masked(FIN | TEXT, bad), masked(PING, b""), goodbye()];
        cases.push(case(format!("6: {bad:x?}"), &whole));
        let (left, right) = bad.split_at(bad.len() / 2);
        let parts = [masked(TEXT, left), masked(FIN, right), goodbye()];
        cases.push(case(format!("6: {bad:x?} in two"), &parts));
    }
    let binary = [masked(FIN | BINARY, b"\xff\xfe"), goodbye()];
    cases.push(case("6: no text", &binary));
}

/// 7: closing.
fn closes(cases: &mut Vec<Case>) {
    let after = [masked(PING, b""), masked(FIN | TEXT, b"late")].concat();
    cases.push(case("7: twice", &[goodbye(), goodbye()]));
    cases.push(case("7: then more", &[goodbye(), after]));
    cases.push(case("7: no payload", &[masked(CLOSE, b"")]));
    cases.push(case("7: one byte", &[masked(CLOSE, b"a")]));
    let long = "*".repeat(123);
    for text in ["Hello World!", &long] {
        cases.push(case(
            "7: with a reason",
            &[masked(CLOSE, &reason(1000, text))],
        ));
    }
    let longer = "*".repeat(124);
    cases.push(case(
        "7: too long",
        &[masked(CLOSE, &reason(1000, &longer))],
    ));
    let bad = [&reason(1000, "")[..], b"\xce\xba\xff"].concat();
    cases.push(case("7: no UTF-8", &[masked(CLOSE, &bad)]));
    let unfinished = [
        masked(TEXT, b"fragment1"),
        goodbye(),
        masked(FIN, b"fragment2"),
    ];
    cases.push(case("7: within a message", &unfinished));
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999, 0, 999, 1004,
        1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        cases.push(case(
            format!("7: {code}"),
            &[masked(CLOSE, &reason(code, ""))],
        ));
    }
    let mut large = masked(FIN | TEXT, &vec![b'x'; 262_144]);
    large.extend(masked(CLOSE, &reason(1000, "")));
    cases.push(case("7: behind 256 KiB", &[large]));
}

/// 10: frames larger than what carries them.
fn rest(cases: &mut Vec<Case>) {
    let parts: Vec<_> = vec![b'x'; 65_536]
        .chunks(1_300)
        .enumerate()
        .map(|(n, part)| masked(if n == 0 { TEXT } else { 0 }, part))
        .chain([masked(FIN, b""), goodbye()])
        .collect();
    cases.push(case("10: in fragments of 1300", &parts));
    let mut unmasked = vec![FIN | TEXT, 2, b'h', b'i'];
    unmasked.extend(goodbye());
    cases.push(case("not masked", &[unmasked]));
}

/// All that comes back, and whether the end is in order. Over TCP, that is a
/// close frame and FIN: nothing tells more.
fn run(socket: &mut Socket, case: &Case) -> (Vec<u8>, End) {
    for piece in &case.pieces {
        socket.send(piece);
    }
    let rest = socket.rest();
    socket.finish("");
    rest
}

#[test]
fn every_case_ends_as_it_does_without_the_edge() {
    let mut cases = Vec::new();
    framing(&mut cases);
    pings(&mut cases);
    reserved(&mut cases);
    fragments(&mut cases);
    texts(&mut cases);
    closes(&mut cases);
    rest(&mut cases);
    assert!(cases.len() > 150, "{}", cases.len());
    let address = backend();
    let edge = Setup::to(&[address]).start();
    for case in &cases {
        let direct = run(&mut Socket::direct(address), case);
        assert!(direct.1 == End::Clean, "{}", case.name);
        for over in OVER {
            let through = run(&mut Socket::open(&edge, over), case);
            assert!(
                direct.0 == through.0,
                "{} over {over:?}: {:?} but {:?}",
                case.name,
                head(&through.0),
                head(&direct.0),
            );
            assert_eq!(
                through.1,
                expected(over, &direct.0),
                "{} {over:?}",
                case.name
            );
        }
    }
}

/// A stream ends in order behind a close frame alone.
fn expected(over: Over, bytes: &[u8]) -> End {
    let mut follower =
        meridian_wire::websocket::Follower::new(meridian_wire::websocket::Sender::Server);
    follower.follow(bytes);
    let closed = follower.position() == meridian_wire::websocket::Position::Closed;
    match over {
        Over::H2 | Over::H3 if !closed => End::Reset,
        Over::H1(_) | Over::H2 | Over::H3 => End::Clean,
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(40)..).unwrap_or(bytes)
}
