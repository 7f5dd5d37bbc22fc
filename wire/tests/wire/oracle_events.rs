//! What must hold for any bytes of an event stream.

use meridian_wire::events::Follower;

/// Type and data of an event.
type Event = (Vec<u8>, Vec<u8>);

/// Broken off anywhere, a stream goes on with the message that is appended:
/// what was whole stays as it was, what was begun is of a type nobody reads.
pub(crate) fn event_stream(data: &[u8]) {
    let mut whole = Follower::new();
    whole.follow(data);
    let mut dripped = Follower::new();
    for byte in data {
        dripped.follow(std::slice::from_ref(byte));
    }
    assert_eq!(format!("{whole:?}"), format!("{dripped:?}"));

    let mut stream = data.to_vec();
    whole.append("{}", &mut stream);
    assert!(stream.starts_with(data), "no byte that has passed changes");
    let (before, mut after) = (events(data), events(&stream));
    let message = (b"message".to_vec(), b"{}".to_vec());
    assert_eq!(after.pop(), Some(message), "it stands alone");
    if after.len() > before.len() {
        assert_eq!(after.pop().expect("one more").0, b"interrupted");
    }
    assert_eq!(after, before);
}

/// HTML, 9.2.6, read from the whole text.
fn events(stream: &[u8]) -> Vec<Event> {
    let (mut events, mut kind, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    for line in lines(stream) {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((std::mem::take(&mut kind), data));
            }
            kind.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => kind = value.to_vec(),
            b"data" => {
                if let Some(data) = &mut data {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                } else {
                    data = Some(value.to_vec());
                }
            }
            _ => {}
        }
    }
    events
}

/// Lines that have ended, without their ends: LF, CR or both.
fn lines(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = stream.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let (line, rest) = stream.split_at(end);
        lines.push(line);
        stream = rest
            .strip_prefix(b"\r\n")
            .unwrap_or_else(|| rest.get(1..).unwrap_or_default());
    }
    lines
}
