//! HTTP/2 requests that would become something else over HTTP/1.1: their
//! stream ends, the connection carries on, and no backend sees a byte.

use crate::harness::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Verdict, block, request,
};
use crate::harness::{Setup, TestEdge, Upstream, h2client};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

struct Vector {
    name: String,
    fields: Fields,
}

fn fields(list: &[(&[u8], &[u8])]) -> Fields {
    list.iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

/// A good GET with one more field.
fn with(name: &[u8], value: &[u8]) -> Vector {
    let mut all = fields(&request("GET", "/bad"));
    all.push((name.to_vec(), value.to_vec()));
    let name = format!(
        "{}: {}",
        String::from_utf8_lossy(name),
        String::from_utf8_lossy(value)
    );
    Vector { name, fields: all }
}

fn only(name: &str, list: &[(&[u8], &[u8])]) -> Vector {
    Vector {
        name: name.to_owned(),
        fields: fields(list),
    }
}

fn regular() -> Vec<Vector> {
    [
        (&b"x"[..], &b"a\r\nx-evil: b"[..]),
        (b"x", b"a\nx-evil: b"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x", b"a\r\n\r\nGET /deny HTTP/1.1\r\nhost: edge\r\n\r\n"),
        (b"x", b" a"),
        (b"x", b"a "),
        (b"x", b"\ta"),
        (b"x\r\nevil", b"a"),
        (b"x\nevil: b\r\nx", b"a"),
        (b"x: y\r\nz", b"a"),
        (b"x\0y", b"a"),
        (b"x y", b"a"),
        (b"x:y", b"a"),
        (b"X-Upper", b"a"),
        (b"Host", b"edge"),
        (b"", b"a"),
        (b"x\xe9", b"a"),
        (b"(x)", b"a"),
        (b"connection", b"close"),
        (b"connection", b"x"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"Transfer-Encoding", b"chunked"),
        (b"transfer-encoding ", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"te", b"trailers, chunked"),
        (b"host", b"other"),
        (b"host", b"edge:81"),
        (b"host", b"edge, other"),
        (b"host", b"user@edge"),
        (b"host", b""),
        (b"content-length", b"5"),
        (b"content-length", b"+0"),
        (b"content-length", b"0, 0"),
        (b"content-length", b"-1"),
        (b"content-length", b"0x0"),
        (b"content-length", b""),
        (b"content-length", b"18446744073709551616"),
        (b":path", b"/deny"),
        (b":method", b"POST"),
        (b":authority", b"other"),
        (b":status", b"200"),
        (b":unknown", b"a"),
        (b":protocol", b"websocket"),
        (b"expect", b"200-ok"),
    ]
    .iter()
    .map(|(name, value)| with(name, value))
    .collect()
}

/// Pseudo-headers: method, scheme, authority, path.
fn pseudo() -> Vec<Vector> {
    let base = [&b"GET"[..], b"https", b"edge", b"/bad"];
    let names = [&b":method"[..], b":scheme", b":authority", b":path"];
    let mut vectors = Vec::new();
    for (at, value) in [
        (0, &b"GET /deny HTTP/1.1\r\nx:"[..]),
        (0, b"GE T"),
        (0, b"G\0T"),
        (0, b""),
        (0, b"GET\n"),
        (1, b"ftp"),
        (1, b""),
        (1, b"http://other/"),
        (2, b"edge/deny"),
        (2, b"user@edge"),
        (2, b"edge\r\nx: y"),
        (2, b"edge:"),
        (2, b"edge:99999"),
        (2, b"a b"),
        (2, b"a,b"),
        (2, b""),
        (3, b""),
        (3, b"bad"),
        (3, b"*"),
        (3, b"/b ad"),
        (3, b"/bad HTTP/1.1\r\nx: y"),
        (3, b"/b\0ad"),
        (3, b"/b\\ad"),
        (3, b"/\xe9"),
        (3, b"/%00"),
        (3, b"/%zz"),
        (3, b"http://other/bad"),
    ] {
        let mut values = base;
        values[at] = value;
        let list: Vec<_> = names.iter().copied().zip(values).collect();
        let name = format!("{at}: {}", String::from_utf8_lossy(value));
        vectors.push(Vector {
            name,
            fields: fields(&list),
        });
    }
    vectors
}

/// Pseudo-headers that are missing, repeated or in the wrong place.
fn arrangements() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for left_out in 0..4 {
        let mut list = fields(&request("GET", "/bad"));
        list.remove(left_out);
        vectors.push(Vector {
            name: format!("without {left_out}"),
            fields: list,
        });
    }
    for twice in 0..4 {
        let mut list = fields(&request("GET", "/bad"));
        list.insert(twice, list[twice].clone());
        vectors.push(Vector {
            name: format!("twice {twice}"),
            fields: list,
        });
    }
    vectors.push(only(
        "a pseudo-header behind a field",
        &[
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b"x", b"y"),
            (b":authority", b"edge"),
            (b":path", b"/bad"),
        ],
    ));
    vectors.push(only(
        "connect",
        &[(b":method", b"CONNECT"), (b":authority", b"edge:443")],
    ));
    vectors.push(only(
        "two hosts",
        &[
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/bad"),
            (b"host", b"edge"),
            (b"host", b"edge"),
        ],
    ));
    vectors
}

/// Sends a vector as the only stream of a connection, then asks for something
/// innocent on the same one.
fn judge(edge: &TestEdge, vector: &Vector, body: Option<&[u8]>) -> Result<(), String> {
    let mut client = Frames::open(edge);
    let list: Vec<(&[u8], &[u8])> = vector
        .fields
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    match body {
        None => client.headers(1, &list, END_STREAM),
        Some(body) => {
            client.headers(1, &list, 0);
            client.frame(DATA, END_STREAM, 1, body)
        }
    };
    match client.verdict(1) {
        Verdict::Answered(400..=599) | Verdict::Reset(_) => {}
        Verdict::GoAway(_) | Verdict::Closed => return Ok(()),
        Verdict::Answered(status) => return Err(format!("answered {status}")),
    }
    client.get(3, "/innocent");
    match client.verdict(3) {
        Verdict::Answered(200) => Ok(()),
        other @ (Verdict::Answered(_)
        | Verdict::Reset(_)
        | Verdict::GoAway(_)
        | Verdict::Closed) => Err(format!("the connection is harmed: {other:?}")),
    }
}

#[test]
fn what_would_become_another_request_over_http1_ends_its_stream() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let vectors: Vec<Vector> = [regular(), pseudo(), arrangements()]
        .into_iter()
        .flatten()
        .collect();
    assert!(vectors.len() >= 80, "{}", vectors.len());
    let faults: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            Some(format!(
                "{}: {}",
                vector.name,
                judge(&edge, vector, None).err()?
            ))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let seen = String::from_utf8_lossy(&upstream.bytes()).into_owned();
    for head in seen.split("\r\n\r\n").filter(|head| !head.is_empty()) {
        assert!(head.starts_with("GET /innocent HTTP/1.1\r\n"), "{head}");
    }
    assert!(!seen.contains("evil"));
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_completes_no_request() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for (length, body) in [("5", "abc"), ("2", "abc"), ("0", "abc"), ("5", "")] {
        let mut list = fields(&request("POST", "/bad"));
        list.push((b"content-length".to_vec(), length.as_bytes().to_vec()));
        let vector = Vector {
            name: format!("{length} for {body:?}"),
            fields: list,
        };
        if let Err(fault) = judge(&edge, &vector, Some(body.as_bytes())) {
            panic!("{}: {fault}", vector.name);
        }
    }
    for seen in upstream.seen() {
        let text = seen.text();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && head.starts_with("POST")
        {
            let length = crate::harness::upstream::field(head, "content-length").unwrap();
            assert!(body.len() < length.parse().unwrap(), "{text}");
        }
    }
}

#[test]
fn trailers_of_a_request_are_judged_and_never_reach_the_backend() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for trailer in [
        (&b"x-admin"[..], &b"yes"[..]),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"9"),
        (b"x", b"a\r\nb"),
        (b":path", b"/deny"),
        (b"X-Upper", b"a"),
    ] {
        let mut client = Frames::open(&edge);
        client.headers(1, &request("POST", "/t"), 0);
        client.frame(DATA, 0, 1, b"abc");
        client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[trailer]));
        let verdict = client.verdict(1);
        assert!(
            !matches!(verdict, Verdict::Answered(201..=399)),
            "{verdict:?}"
        );
    }
    let seen = String::from_utf8_lossy(&upstream.bytes()).into_owned();
    assert!(
        !seen.contains("yes") && !seen.contains("deny") && !seen.contains("\nx:"),
        "{seen}"
    );
}

#[test]
fn a_body_over_h2_arrives_in_one_framing() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = Frames::open(&edge);
    let mut list = request("POST", "/chunked").to_vec();
    client.headers(1, &list, 0);
    client.frame(DATA, END_STREAM, 1, b"abc");
    assert_eq!(client.verdict(1), Verdict::Answered(200));
    list.push((b"content-length", b"3"));
    list[3].1 = b"/length";
    client.headers(3, &list, 0);
    client.frame(DATA, END_STREAM, 3, b"abc");
    assert_eq!(client.verdict(3), Verdict::Answered(200));
    let seen = String::from_utf8_lossy(&upstream.bytes()).into_owned();
    let (chunked, length) = seen.split_at(seen.find("POST /length").unwrap());
    assert!(
        chunked.contains("transfer-encoding: chunked\r\n") && !chunked.contains("content-length")
    );
    assert!(length.contains("content-length: 3\r\n") && !length.contains("transfer-encoding"));
}

#[test]
fn cookie_crumbs_arrive_as_one_field_and_te_ends_at_the_edge() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        let mut request = h2client::request("GET", "/");
        for (name, value) in [("cookie", "a=b"), ("cookie", "c=d"), ("te", "trailers")] {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let answer = client.ask_with(request).await;
        let seen = answer.text();
        assert_eq!(
            crate::harness::upstream::field(seen, "cookie"),
            Some("a=b; c=d")
        );
        assert_eq!(crate::harness::upstream::field(seen, "te"), None);
        assert_eq!(crate::harness::upstream::field(seen, "host"), Some("edge"));
    });
}

#[test]
fn a_fragment_which_the_library_loses_is_neither_decided_on_nor_sent() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for (path, status) in [("/fine#/deny", 200), ("/deny#x", 403), ("/x/../deny#", 403)] {
        let mut client = Frames::open(&edge);
        client.get(1, path);
        assert_eq!(client.verdict(1), Verdict::Answered(status), "{path}");
    }
    let seen = String::from_utf8_lossy(&upstream.bytes()).into_owned();
    assert!(
        seen.starts_with("GET /fine HTTP/1.1\r\n") && !seen.contains('#'),
        "{seen}"
    );
}

#[test]
fn a_path_that_is_denied_is_denied_in_every_form_over_h2() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    for path in [
        "/deny",
        "/%64eny",
        "/x/../deny",
        "/x/%2e%2e/deny",
        "//deny",
        "/./deny",
    ] {
        let mut client = Frames::open(&edge);
        client.get(1, path);
        assert_eq!(client.verdict(1), Verdict::Answered(403), "{path}");
    }
    assert!(upstream.bytes().is_empty());
}

#[test]
fn a_reset_within_a_body_completes_no_request() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = Frames::open(&edge);
    client.headers(1, &request("POST", "/bad"), 0);
    client.frame(DATA, 0, 1, b"abc");
    upstream.until_seen("abc");
    client.frame(frames::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    upstream.until_ended(0);
    assert!(!upstream.seen()[0].text().ends_with("0\r\n\r\n"));
    client.get(3, "/innocent");
    assert_eq!(client.verdict(3), Verdict::Answered(200));
}
