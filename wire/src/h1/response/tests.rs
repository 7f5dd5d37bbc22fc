use super::*;
use crate::known::Known;
use crate::rules::{BodyFraming, Upgrade};

fn parse(text: &str, to: Method) -> ResponseHead {
    let mut head = ResponseHead::new();
    let used = ResponseParser::new().parse(text.as_bytes(), &HeadLimits::default(), to, &mut head);
    assert_eq!(used, Ok(Some(text.len())), "{text}");
    head
}

#[test]
fn framing_follows_status_and_method() {
    let length = "Content-Length: 3\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (status, lines, to, framing) in [
        (200, length, Method::Get, BodyFraming::Length(3)),
        (200, chunked, Method::Get, BodyFraming::Chunked),
        (200, "", Method::Get, BodyFraming::UntilClose),
        (200, length, Method::Head, BodyFraming::None),
        (200, chunked, Method::Head, BodyFraming::None),
        (200, "", Method::Head, BodyFraming::None),
        (304, length, Method::Get, BodyFraming::None),
        (304, chunked, Method::Get, BodyFraming::None),
        (204, "", Method::Get, BodyFraming::None),
        (204, "Content-Length: 0\r\n", Method::Get, BodyFraming::None),
        (103, "", Method::Get, BodyFraming::None),
        (500, length, Method::Post, BodyFraming::Length(3)),
    ] {
        let head = parse(&format!("HTTP/1.1 {status} x\r\n{lines}\r\n"), to);
        assert_eq!(
            (head.status(), head.framing()),
            (status, framing),
            "{lines}{to:?}"
        );
    }
}

#[test]
fn a_connection_is_used_again_only_when_the_answer_says_where_it_ends() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
            true,
        ),
    ] {
        assert_eq!(parse(text, Method::Get).keep_alive(), expected, "{text}");
    }
}

#[test]
fn only_a_101_with_its_fields_switches_to_websocket() {
    let lines = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upgrade = |text: &str| parse(text, Method::Get).upgrade();
    assert_eq!(
        upgrade(&format!("HTTP/1.1 101 x\r\n{lines}")),
        Upgrade::WebSocket
    );
    assert_eq!(
        upgrade(&format!("HTTP/1.1 200 x\r\n{lines}")),
        Upgrade::None
    );
    assert_eq!(
        upgrade("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n"),
        Upgrade::None
    );
    assert_eq!(
        upgrade("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        Upgrade::None
    );
}

#[test]
fn interim_answers_come_out_before_the_final_one() {
    let stream = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (mut parser, mut head) = (ResponseParser::new(), ResponseHead::new());
    let (mut at, mut seen) = (0, Vec::new());
    while at < stream.len() {
        let used = parser.parse(
            &stream[at..],
            &HeadLimits::default(),
            Method::Get,
            &mut head,
        );
        at += used.unwrap().unwrap();
        seen.push(head.status());
    }
    assert_eq!(seen, [100, 103, 200]);
}

#[test]
fn heads_and_fields_are_bounded() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
    let parse = |head_bytes, fields| {
        let limits = HeadLimits {
            head_bytes,
            fields,
            target_bytes: 0,
        };
        ResponseParser::new().parse(text, &limits, Method::Get, &mut ResponseHead::new())
    };
    assert_eq!(parse(text.len(), 2), Ok(Some(text.len())));
    assert_eq!(parse(text.len() - 1, 2), Err(Malformed::HeadTooLarge));
    assert_eq!(parse(text.len(), 1), Err(Malformed::TooManyFields));
}

#[test]
fn an_answer_of_the_edge_is_built_field_by_field() {
    let mut head = ResponseHead::new();
    head.begin(429);
    head.push("retry-after", b"1");
    head.set_framing(BodyFraming::Length(0));
    assert_eq!(
        (head.status(), head.framing()),
        (429, BodyFraming::Length(0))
    );
    assert_eq!(head.first(Known::RetryAfter), Some(b"1".as_slice()));
    head.begin(200);
    assert!(!head.has(Known::RetryAfter));
}
