use super::*;

/// The follower after a stream, which is the same however it is cut.
fn after_all(stream: &str) -> Follower {
    let mut whole = Follower::new();
    whole.follow(stream.as_bytes());
    for size in 1..8 {
        let mut cut = Follower::new();
        stream
            .as_bytes()
            .chunks(size)
            .for_each(|piece| cut.follow(piece));
        assert_eq!(format!("{cut:?}"), format!("{whole:?}"), "{stream:?}");
    }
    whole
}

/// What a client reads: type and data of each event (HTML, 9.2.6).
fn events(stream: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(stream).unwrap().replace("\r\n", "\n");
    let (mut events, mut kind, mut data) = (Vec::new(), String::new(), None::<String>);
    for line in text.split_inclusive(['\n', '\r']) {
        let Some(line) = line.strip_suffix(['\n', '\r']) else {
            break;
        };
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((std::mem::take(&mut kind), data));
            }
            kind.clear();
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut kind),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    events
}

const STREAM: &str = ": hello\n\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"method\":\"x\"}\r\n\r\n\
     id: 7\rdata: {\"a\":1}\r\rretry\ndata\ndata: {\"id\":1,\"result\":{}}\n\n";

#[test]
fn wherever_a_stream_breaks_off_the_last_event_is_the_appended_message() {
    for end in 0..=STREAM.len() {
        let begun = &STREAM[..end];
        let mut stream = begun.as_bytes().to_vec();
        let follower = after_all(begun);
        follower.append("{\"id\":1}", &mut stream);
        let mut read = events(&stream);
        let last = read.pop().unwrap();
        assert_eq!(
            last,
            ("message".to_owned(), "{\"id\":1}".to_owned()),
            "{end}"
        );
        // The one before it that was cut is of no type that is read.
        let whole = events(begun.as_bytes());
        if read.len() > whole.len() {
            assert_eq!(read.pop().unwrap().0, "interrupted", "{end}");
        }
        assert_eq!(read, whole, "{end}");
    }
}

#[test]
fn an_answer_counts_when_its_event_is_whole() {
    let cases = [
        (
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n",
            true,
        ),
        (
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{}}\r\r",
            true,
        ),
        ("data:{\"id\":1,\ndata:\"result\"\ndata::{}}\n\n", true),
        ("data: {\"id\":1,\"result\":{}}\n", false),
        ("data: {\"id\":1,\"result\":{}\n\n", false),
        (
            "data: {\"method\":\"result\",\"params\":{\"result\":1}}\n\n",
            false,
        ),
        ("data: {\"method\":\"a\\\",\\\"result\\\":\"}\n\n", false),
        ("data: {\"x\":[{\"error\":1}],\"y\":\"error\"}\n\n", false),
        ("data: {\"results\":1}\n\ndata: {\"resul\":1}\n\n", false),
        (": {\"id\":1,\"result\":{}}\n\n", false),
        ("dataa: {\"id\":1,\"result\":{}}\n\n", false),
        ("data: {\"x\":\"{\\\\\"}\n\ndata: {\"result\":1}\n\n", true),
    ];
    for (stream, answered) in cases {
        assert_eq!(after_all(stream).has_answered(), answered, "{stream:?}");
    }
}

#[test]
fn a_stream_with_ids_can_be_resumed() {
    for (stream, resumable) in [
        ("id: 0/1\nretry: 3000\ndata\n\n", true),
        ("id:7", true),
        ("id: \n\n", false),
        ("id\n\n", false),
        (": id: 7\n\n", false),
        ("ids: 7\ndata: id: 7\n\n", false),
    ] {
        assert_eq!(after_all(stream).is_resumable(), resumable, "{stream:?}");
    }
}
