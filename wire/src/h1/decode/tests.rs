use super::*;

/// Data, bytes used, and the verdict at the end of the bytes.
fn decode(decoder: &mut BodyDecoder, bytes: &[u8]) -> Result<(Vec<u8>, usize), Malformed> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        match decoder.step(&bytes[at..])? {
            Step::Data { skip, len } => {
                data.extend_from_slice(&bytes[at + skip..at + skip + len]);
                at += skip + len;
            }
            Step::NeedMore { skip } | Step::Done { skip } => return Ok((data, at + skip)),
        }
    }
}

#[test]
fn a_body_of_a_length_ends_there_and_the_rest_is_the_next_message() {
    let mut decoder = BodyDecoder::new(BodyFraming::Length(3));
    assert_eq!(decode(&mut decoder, b"abcGET"), Ok((b"abc".to_vec(), 3)));
    assert!(decoder.is_done());
    assert_eq!(decoder.step(b"GET"), Ok(Step::Done { skip: 0 }));
    let mut short = BodyDecoder::new(BodyFraming::Length(u64::MAX));
    assert_eq!(decode(&mut short, b"ab"), Ok((b"ab".to_vec(), 2)));
    assert_eq!(short.end_of_input(), Err(Malformed::Truncated));
}

#[test]
fn no_body_is_done_at_once_and_one_until_close_ends_with_the_connection() {
    for framing in [BodyFraming::None, BodyFraming::Length(0)] {
        let mut decoder = BodyDecoder::new(framing);
        assert_eq!(decoder.step(b"x"), Ok(Step::Done { skip: 0 }));
        assert_eq!(decoder.end_of_input(), Ok(()));
    }
    let mut decoder = BodyDecoder::new(BodyFraming::UntilClose);
    assert_eq!(decode(&mut decoder, b"ab"), Ok((b"ab".to_vec(), 2)));
    assert!(!decoder.is_done());
    assert_eq!(decoder.end_of_input(), Ok(()));
    assert!(decoder.is_done());
}

#[test]
fn chunks_leave_the_next_message_alone_and_give_their_trailers() {
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
    let bytes = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nhost: evil\r\n\r\nGET / HTTP/1.1";
    assert_eq!(
        decode(&mut decoder, bytes),
        Ok((b"abc".to_vec(), bytes.len() - 14))
    );
    let trailers = decoder.trailers().unwrap();
    let names: Vec<_> = trailers.fields().map(|field| field.name).collect();
    assert_eq!(names, ["x-sum", "host"]);
    let forwarded: Vec<_> = trailers.forwarded().map(|field| field.name).collect();
    assert_eq!(forwarded, ["x-sum"]);
    let mut plain = BodyDecoder::new(BodyFraming::Chunked);
    assert!(decode(&mut plain, b"0\r\n\r\n").is_ok() && plain.trailers().is_none());
}

#[test]
fn extensions_are_bounded_by_chunk_and_by_body() {
    let chunk = |extension: usize| format!("1;{}\r\na\r\n", "e".repeat(extension));
    let verdict = |body: &str| decode(&mut BodyDecoder::new(BodyFraming::Chunked), body.as_bytes());
    assert!(verdict(&chunk(255)).is_ok());
    assert_eq!(verdict(&chunk(256)), Err(Malformed::ChunkExtensionTooLong));
    assert!(verdict(&chunk(255).repeat(64)).is_ok());
    let over = verdict(&chunk(255).repeat(65));
    assert_eq!(over, Err(Malformed::ChunkExtensionTooLong));
}

#[test]
fn trailers_are_bounded_by_bytes_and_count() {
    let verdict = |trailers: &str| {
        let body = format!("0\r\n{trailers}\r\n");
        decode(&mut BodyDecoder::new(BodyFraming::Chunked), body.as_bytes()).map(|_| ())
    };
    assert_eq!(verdict(&"a: b\r\n".repeat(32)), Ok(()));
    assert_eq!(
        verdict(&"a: b\r\n".repeat(33)),
        Err(Malformed::TrailersTooLarge)
    );
    assert_eq!(verdict(&format!("a: {}\r\n", "b".repeat(8_187))), Ok(()));
    assert_eq!(
        verdict(&format!("a: {}\r\n", "b".repeat(8_188))),
        Err(Malformed::TrailersTooLarge)
    );
}
