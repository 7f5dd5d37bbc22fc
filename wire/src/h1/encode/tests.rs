use super::*;

#[test]
fn a_body_is_exactly_as_long_as_announced() {
    let mut out = Vec::new();
    let mut encoder = BodyEncoder::new(BodyFraming::Length(5));
    assert_eq!(encoder.data(b"abc", &mut out), Ok(()));
    assert_eq!(encoder.finish(None, &mut out), Err(Malformed::BodyTooShort));
    assert_eq!(encoder.data(b"def", &mut out), Err(Malformed::BodyTooLong));
    assert_eq!(encoder.data(b"de", &mut out), Ok(()));
    assert_eq!(encoder.finish(None, &mut out), Ok(()));
    assert_eq!(encoder.data(b"f", &mut out), Err(Malformed::BodyTooLong));
    assert_eq!(out, b"abcde");
    let mut none = BodyEncoder::new(BodyFraming::None);
    assert_eq!(none.data(b"a", &mut out), Err(Malformed::BodyTooLong));
    assert_eq!(none.finish(None, &mut out), Ok(()));
}

#[test]
fn an_end_is_owed_until_it_is_written_or_was_never_announced() {
    let mut out = Vec::new();
    for framing in [BodyFraming::Length(3), BodyFraming::Chunked] {
        let mut encoder = BodyEncoder::new(framing);
        assert!(encoder.is_owed(), "{framing:?}");
        encoder.data(b"abc", &mut out).unwrap();
        assert_eq!(encoder.is_owed(), framing == BodyFraming::Chunked);
        encoder.finish(None, &mut out).unwrap();
        assert!(!encoder.is_owed(), "{framing:?}");
    }
    for framing in [
        BodyFraming::None,
        BodyFraming::UntilClose,
        BodyFraming::Length(0),
    ] {
        assert!(!BodyEncoder::new(framing).is_owed(), "{framing:?}");
    }
}

#[test]
fn chunks_end_once_and_carry_trailers_that_may_go_on() {
    let mut trailers = Trailers::new();
    for (name, value) in [
        ("grpc-status", "0"),
        ("content-length", "3"),
        ("content-md5", "x"),
        ("host", "evil"),
        ("x-forwarded-for", "10.0.0.1"),
        ("authorization", "x"),
        ("if-match", "x"),
        ("server-timing", "a"),
    ] {
        assert_eq!(
            trailers.push(name.as_bytes(), value.as_bytes()),
            Ok(()),
            "{name}"
        );
    }
    let mut out = Vec::new();
    let mut encoder = BodyEncoder::new(BodyFraming::Chunked);
    assert_eq!(encoder.data(b"", &mut out), Ok(()));
    assert_eq!(encoder.data(&[b'a'; 26], &mut out), Ok(()));
    assert_eq!(encoder.finish(Some(&trailers), &mut out), Ok(()));
    assert_eq!(encoder.finish(Some(&trailers), &mut out), Ok(()));
    let expected = format!(
        "1a\r\n{}\r\n0\r\ngrpc-status: 0\r\nserver-timing: a\r\n\r\n",
        "a".repeat(26)
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn data_may_be_written_from_where_it_is() {
    let mut out = Vec::new();
    let mut encoder = BodyEncoder::new(BodyFraming::Chunked);
    assert_eq!(encoder.begin_data(16, &mut out), Ok(()));
    out.extend_from_slice(&[b'x'; 16]);
    encoder.end_data(&mut out);
    assert_eq!(out, b"10\r\nxxxxxxxxxxxxxxxx\r\n");
}

#[test]
fn trailers_are_bounded() {
    let mut trailers = Trailers::new();
    for _ in 0..32 {
        assert_eq!(trailers.push(b"a", b"b"), Ok(()));
    }
    assert_eq!(trailers.push(b"a", b"b"), Err(Malformed::TrailersTooLarge));
    let mut large = Trailers::new();
    assert_eq!(large.push(b"a", &[b'b'; 8_187]), Ok(()));
    assert_eq!(
        Trailers::new().push(b"a", &[b'b'; 8_188]),
        Err(Malformed::TrailersTooLarge)
    );
    assert_eq!(
        Trailers::new().push(b"A", b"b"),
        Err(Malformed::UppercaseName)
    );
}
