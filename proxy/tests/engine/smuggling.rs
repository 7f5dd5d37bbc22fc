//! Raw requests that two readers could understand differently: each is
//! refused, its connection is closed, and not one byte of it reaches a
//! backend. What is legal arrives as it was.

use crate::harness::client::Broken;
use crate::harness::{CARRIERS, Carrier, End, Setup, TestEdge, Upstream};

/// The request behind each attack: if it is answered, two readers disagree.
const INNOCENT: &str = "GET /innocent HTTP/1.1\r\nHost: edge\r\n\r\n";
/// What an attack hides in its body.
const HIDDEN: &str = "GET /deny HTTP/1.1\r\nHost: edge\r\n\r\n";

struct Vector {
    name: String,
    status: u16,
    bytes: Vec<u8>,
}

fn vector(name: impl Into<String>, status: u16, bytes: impl Into<Vec<u8>>) -> Vector {
    Vector {
        name: name.into(),
        status,
        bytes: bytes.into(),
    }
}

/// A POST with these framing lines and a hidden request in its body.
fn framed(status: u16, lines: &str) -> Vector {
    let text = format!("POST /bad HTTP/1.1\r\nHost: edge\r\n{lines}\r\n\r\n0\r\n\r\n{HIDDEN}");
    // Bytes 0x80 to 0xff are written as the characters of that number.
    let bytes: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    vector(format!("framing {lines:?}"), status, bytes)
}

fn framings() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "0x5",
        "5 5",
        "5, 5",
        "5, 6",
        "5,",
        ",5",
        "5;",
        "5.0",
        "1e1",
        "five",
        "5\u{b}",
        "5_0",
        "\"5\"",
        "18446744073709551621",
        "9223372036854775808",
        "5\t5",
        "\u{b2}",
    ] {
        vectors.push(framed(400, &format!("Content-Length: {value}")));
    }
    for (status, value) in [
        (501, "identity"),
        (501, "xchunked"),
        (501, "chunked;q=1"),
        (501, "\"chunked\""),
        (501, "chunke"),
        (501, ""),
        (501, "\u{a0}chunked"),
        (501, "gzip"),
        (400, "chunked, chunked"),
        (400, "gzip, chunked"),
        (400, "chunked, identity"),
        (400, "identity, chunked"),
        (400, "chunked,"),
        (400, ", chunked"),
        (400, "\u{b}chunked"),
        (400, "chunked\u{0}"),
        (400, "chun\rked"),
        (501, "chunked x"),
    ] {
        vectors.push(framed(status, &format!("Transfer-Encoding: {value}")));
    }
    vectors
}

/// Several framing fields, and fields that hide one.
fn framing_pairs() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\ncontent-length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length:\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding\u{0}: chunked",
        "Transfer\u{e9}-Encoding: chunked",
        "Content-Length : 5",
        "Content-Length\u{0}: 5",
        "Content Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\n",
        "Content-Length: 5\r\nConnection: Content-Length",
        "Content-Length: 5\r\n: x",
        "Content-Length: 5\r\nX",
        "Content-Length: 5\r\nX(y): z",
        "Content-Length: 5\r\nX: a\u{0}b",
        "Content-Length: 5\r\nX: a\u{7f}b",
        "Content-Length: 5\r\nX: a\r\n\tb",
    ] {
        vectors.push(framed(400, lines));
    }
    vectors.push(framed(417, "Content-Length: 5\r\nExpect: 200-ok"));
    vectors
}

/// Bodies in chunks whose framing is wrong.
fn chunks() -> Vec<Vector> {
    [
        "\r\nabc\r\n0\r\n\r\n",
        "x\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "8000000000000000\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3;\r\nabc\r\n0\r\n\r\n",
        "3;a=\r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\0b\r\nabc\r\n0\r\n\r\n",
        "3;a=\"b\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\n",
        "3\r\nabc\r\n0\r\n\n",
        "3\r\nabc\r\n0\r\nX\r\n\r\n",
        "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        "3\r\nabc\r\n0\r\n X: y\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: a\0b\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: a\nY: b\r\n\r\n",
        "3\u{b2}\r\nabc\r\n0\r\n\r\n",
        "3_0\r\nabc\r\n0\r\n\r\n",
    ]
    .into_iter()
    .map(|body| {
        let head = "POST /bad HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n";
        vector(
            format!("chunk {body:?}"),
            400,
            format!("{head}{body}{HIDDEN}"),
        )
    })
    .collect()
}

fn lines() -> Vec<Vector> {
    [
        (400, "GET /bad"),
        (400, "GET"),
        (400, " GET /bad HTTP/1.1"),
        (400, "GET  /bad HTTP/1.1"),
        (400, "GET /bad  HTTP/1.1"),
        (400, "GET /bad HTTP/1.1 "),
        (400, "GET\t/bad HTTP/1.1"),
        (400, "GET /b ad HTTP/1.1"),
        (400, "GET /b\tad HTTP/1.1"),
        (400, "GET /b\0ad HTTP/1.1"),
        (400, "GET /b\\ad HTTP/1.1"),
        (400, "GET /b#ad HTTP/1.1"),
        (400, "GET /b\"ad HTTP/1.1"),
        (400, "GET /b<ad HTTP/1.1"),
        (400, "GET /\u{e9} HTTP/1.1"),
        (400, "GET /%zz HTTP/1.1"),
        (400, "GET /%00 HTTP/1.1"),
        (400, "GET /% HTTP/1.1"),
        (400, "GET bad HTTP/1.1"),
        (400, "GET ?bad HTTP/1.1"),
        (400, "GET * HTTP/1.1"),
        (400, "GET ftp://edge/bad HTTP/1.1"),
        (400, "GET http://user@edge/bad HTTP/1.1"),
        (400, "GET http://other/bad HTTP/1.1"),
        (400, "GET http://edge:81/bad HTTP/1.1"),
        (400, "GET http:///bad HTTP/1.1"),
        (405, "CONNECT edge:443 HTTP/1.1"),
        (505, "GET /bad HTTP/2.0"),
        (505, "GET /bad HTTP/1.2"),
        (505, "GET /bad HTTP/1.10"),
        (505, "GET /bad HTTP/01.1"),
        (505, "GET /bad HTTP/0.9"),
        (505, "GET /bad http/1.1"),
        (400, "GET /bad ICAP/1.0"),
        (400, "G\0ET /bad HTTP/1.1"),
        (400, "G(ET /bad HTTP/1.1"),
        (400, "GET /bad HTTP/1.1\r"),
    ]
    .into_iter()
    .map(|(status, line)| {
        vector(
            format!("line {line:?}"),
            status,
            format!("{line}\r\nHost: edge\r\n\r\n"),
        )
    })
    .collect()
}

fn hosts() -> Vec<Vector> {
    [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: edge\r\nHost: edge\r\n",
        "Host: edge\r\nHost: other\r\n",
        "Host: a,b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: user@edge\r\n",
        "Host: edge:\r\n",
        "Host: edge:0\r\n",
        "Host: edge:65536\r\n",
        "Host: edge:8x\r\n",
        "Host: edge:80:80\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: [edge]\r\n",
        "Host: a..b\r\n",
        "Host: %65dge\r\n",
        "Host : edge\r\n",
        "Ho\0st: edge\r\n",
        "Host: edge\r\nConnection: host\r\n",
        " Host: edge\r\n",
    ]
    .into_iter()
    .map(|host| {
        vector(
            format!("host {host:?}"),
            400,
            format!("GET /bad HTTP/1.1\r\n{host}\r\n"),
        )
    })
    .collect()
}

fn odds() -> Vec<Vector> {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: edge\r\n\r\n", "a".repeat(9_000));
    let large = format!(
        "GET / HTTP/1.1\r\nHost: edge\r\nX: {}\r\n\r\n",
        "a".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: edge\r\n{}\r\n",
        "X: y\r\n".repeat(101)
    );
    let method = format!("{} / HTTP/1.1\r\nHost: edge\r\n\r\n", "M".repeat(33));
    let chunked_1_0 =
        format!("POST /bad HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    vec![
        vector("bare LF lines", 400, "GET /bad HTTP/1.1\nHost: edge\n\n"),
        vector("LF first", 400, "\nGET /bad HTTP/1.1\r\nHost: edge\r\n\r\n"),
        vector(
            "two empty lines first",
            400,
            "\r\n\r\nGET /bad HTTP/1.1\r\nHost: edge\r\n\r\n",
        ),
        vector("CR first", 400, "\rGET /bad HTTP/1.1\r\nHost: edge\r\n\r\n"),
        vector(
            "head ends in LF",
            400,
            "GET /bad HTTP/1.1\r\nHost: edge\r\n\n",
        ),
        vector("a TLS hello", 400, &b"\x16\x03\x01\x02\x00\x01\x00\x01"[..]),
        vector("an h2 preface", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        vector("chunks in HTTP/1.0", 400, chunked_1_0),
        vector("a long target", 414, long_target),
        vector("a large head", 431, large),
        vector("many fields", 431, many),
        vector("a long method", 501, method),
    ]
}

fn vectors() -> Vec<Vector> {
    let all = [
        framings(),
        framing_pairs(),
        chunks(),
        lines(),
        hosts(),
        odds(),
    ];
    let all: Vec<Vector> = all.into_iter().flatten().collect();
    assert!(all.len() >= 100, "{}", all.len());
    all
}

/// Sends an attack and the innocent request in one piece.
fn attack(edge: &TestEdge, carrier: Carrier, vector: &Vector) -> Result<(), String> {
    let mut client = edge.over(carrier);
    let mut bytes = vector.bytes.clone();
    bytes.extend_from_slice(INNOCENT.as_bytes());
    client.send(&bytes);
    let answer = match client.try_answer("GET") {
        Ok(answer) => answer,
        Err(broken) => return Err(format!("no answer: {broken:?}")),
    };
    if answer.status != vector.status {
        return Err(format!("{} instead of {}", answer.status, vector.status));
    }
    if answer.field("connection") != Some("close") {
        return Err("does not announce the end".to_owned());
    }
    match client.rest() {
        (rest, _) if rest.is_empty() => Ok(()),
        (rest, _) => Err(format!("answered more: {}", String::from_utf8_lossy(&rest))),
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused_and_its_connection_closed() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let mut faults = Vec::new();
    for carrier in CARRIERS {
        for vector in vectors() {
            if let Err(fault) = attack(&edge, carrier, &vector) {
                faults.push(format!("{carrier:?}, {}: {fault}", vector.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(
        String::from_utf8_lossy(&upstream.bytes()),
        "",
        "a backend saw some of it"
    );
    assert_eq!(edge.plain().get("/innocent").status, 200);
}

#[test]
fn an_attack_that_comes_byte_by_byte_completes_no_request_at_the_backend() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for vector in vectors()
        .into_iter()
        .filter(|vector| vector.bytes.len() < 400)
    {
        let mut client = edge.plain();
        for byte in &vector.bytes {
            client.send([*byte]);
        }
        client.send(INNOCENT);
        let answer = client.try_answer("GET");
        match answer {
            Ok(answer) => assert_eq!(answer.status, vector.status, "{}", vector.name),
            // Bytes behind the fault may meet a closed socket.
            Err(Broken::Ended(..)) => {}
            Err(broken) => panic!("{}: {broken:?}", vector.name),
        }
    }
    // Heads of bodies that turned out bad may have gone up, unfinished.
    for seen in upstream.seen() {
        let text = seen.text();
        assert!(
            !text.contains("/deny") && !text.contains("/innocent"),
            "{text}"
        );
        assert!(
            !text.ends_with("0\r\n\r\n"),
            "a bad body was finished: {text}"
        );
    }
}

struct Legal {
    bytes: &'static str,
    line: &'static str,
    body: &'static str,
}

const LEGAL: &[Legal] = &[
    Legal {
        bytes: "GET /a HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "GET /a",
        body: "",
    },
    Legal {
        bytes: "\r\nGET /a HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "GET /a",
        body: "",
    },
    Legal {
        bytes: "GET /a?b=c&d HTTP/1.1\r\nHOST:edge\r\n\r\n",
        line: "GET /a?b=c&d",
        body: "",
    },
    Legal {
        bytes: "GET http://edge/a HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "GET /a",
        body: "",
    },
    Legal {
        bytes: "GET /a HTTP/1.1\r\nHost: edge:80\r\n\r\n",
        line: "GET /a",
        body: "",
    },
    Legal {
        bytes: "GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        line: "GET /a",
        body: "",
    },
    Legal {
        bytes: "DELETE /a HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "DELETE /a",
        body: "",
    },
    Legal {
        bytes: "PURGE /a HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "PURGE /a",
        body: "",
    },
    Legal {
        bytes: "GET /a/./b/../c HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "GET /a/c",
        body: "",
    },
    Legal {
        bytes: "GET /%61%2f HTTP/1.1\r\nHost: edge\r\n\r\n",
        line: "GET /a%2F",
        body: "",
    },
    Legal {
        bytes: "POST /a HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc",
        line: "POST /a",
        body: "abc",
    },
    Legal {
        bytes: "POST /a HTTP/1.1\r\nHost: edge\r\nContent-Length: 0003\r\n\r\nabc",
        line: "POST /a",
        body: "abc",
    },
    Legal {
        bytes: "POST /a HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n",
        line: "POST /a",
        body: "",
    },
    Legal {
        bytes: "GET /a HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc",
        line: "GET /a",
        body: "abc",
    },
    Legal {
        bytes: "POST /a HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: ChUnKeD\r\n\r\n\
                1\r\na\r\n02\r\nbc\r\n0\r\n\r\n",
        line: "POST /a",
        body: "abc",
    },
    Legal {
        bytes: "POST /a HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding:\tchunked \r\n\r\n\
                3;a=b;c=\"d;\";e\r\nabc\r\n000;f\r\nX: y\r\n\r\n",
        line: "POST /a",
        body: "abc",
    },
    Legal {
        bytes: "POST /a HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n\
                A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        line: "POST /a",
        body: "01234567890123456789",
    },
    Legal {
        bytes: "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc",
        line: "POST /a",
        body: "abc",
    },
];

#[test]
fn legal_requests_arrive_as_they_are_and_the_next_one_too() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for carrier in CARRIERS {
        for legal in LEGAL {
            let mut client = edge.over(carrier);
            client.send(format!("{}{INNOCENT}", legal.bytes));
            let seen = client.answer();
            assert_eq!(seen.status, 200, "{}: {}", legal.bytes, seen.text());
            let (head, body) = seen.text().split_once("\r\n\r\n").unwrap();
            let line = head.lines().next().unwrap();
            assert_eq!(
                (line, body),
                (&*format!("{} HTTP/1.1", legal.line), legal.body)
            );
            assert!(
                client
                    .answer()
                    .text()
                    .starts_with("GET /innocent HTTP/1.1\r\n")
            );
        }
    }
}

#[test]
fn legal_requests_arrive_alike_however_they_are_cut() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for legal in LEGAL {
        let mut client = edge.plain();
        for byte in legal.bytes.as_bytes() {
            client.send([*byte]);
        }
        let seen = client.answer();
        assert_eq!(seen.status, 200, "{}: {}", legal.bytes, seen.text());
        let (head, body) = seen.text().split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(legal.line), "{head}");
        assert_eq!(body, legal.body);
    }
}

#[test]
fn what_is_decided_on_is_what_is_sent() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for path in [
        "/deny",
        "/%64eny",
        "/x/../deny",
        "/x/%2e%2e/deny",
        "//deny",
        "/./deny",
        "/x/..//deny",
        "/deny/../deny",
        "/%2e/deny",
        "/denyx",
        "/deny?x",
    ] {
        assert_eq!(edge.plain().get(path).status, 403, "{path}");
    }
    let absolute = "GET http://edge/deny HTTP/1.1\r\nHost: edge\r\n\r\n";
    assert_eq!(edge.plain().ask(absolute).status, 403);
    assert!(upstream.bytes().is_empty());
}

#[test]
fn a_refusal_in_front_of_a_body_never_reads_the_body_as_a_request() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let length = HIDDEN.len();
    let mut client = edge.plain();
    client.send(format!(
        "POST /deny HTTP/1.1\r\nHost: edge\r\nContent-Length: {length}\r\n\r\n{INNOCENT}"
    ));
    assert_eq!(client.answer().status, 403);
    let (rest, end) = client.rest();
    assert!(rest.is_empty() && end == End::Clean, "{rest:?}");
    assert!(upstream.bytes().is_empty());
}
