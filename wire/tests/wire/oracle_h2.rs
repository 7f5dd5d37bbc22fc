//! What must hold for any bytes over HTTP/2.

use std::time::Duration;

use meridian_wire::h2::{Farewell, Follower, SHUTDOWN_ACK};

/// The goodbye: two bytes say when it comes and in which pieces the rest
/// arrives; what passes is what a reader of all bytes says.
pub(crate) fn farewell(data: &[u8]) {
    let [when, piece, stream @ ..] = data else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let said = usize::from(*when).min(stream.len());
    let (before, after) = stream.split_at(said);
    let mut follower = Follower::new();
    for byte in before {
        follower.follow(std::slice::from_ref(byte), |_| {});
    }
    let (mut farewell, mut out) = (Farewell::new(&follower), Vec::new());
    for bytes in after.chunks(piece) {
        farewell.pass(bytes, Duration::ZERO, &mut out);
        assert!(!farewell.release(Duration::ZERO, &mut out), "not at once");
    }
    let expected = passes(stream, said);
    assert_eq!(out, expected.through);
    let between = farewell.release(Duration::from_hours(1), &mut out);
    assert_eq!(between, expected.between);
    if between {
        assert_eq!(
            out,
            [&expected.through[..], &SHUTDOWN_ACK, &expected.waiting].concat()
        );
    } else {
        assert_eq!(out, expected.through);
    }
}

struct Passes {
    through: Vec<u8>,
    /// The beginning of a frame of which nothing has passed.
    waiting: Vec<u8>,
    /// No frame has passed in part.
    between: bool,
}

fn passes(stream: &[u8], said: usize) -> Passes {
    let mut passes = Passes {
        through: Vec::new(),
        waiting: Vec::new(),
        between: stream.len() >= 24,
    };
    let preface = stream.len().min(24);
    if let Some(rest) = stream.get(said..preface) {
        passes.through.extend_from_slice(rest);
    }
    let mut start = preface;
    while start < stream.len() {
        let rest = stream.get(start..).unwrap_or_default();
        let header = rest.first_chunk::<9>();
        let pong = header.is_some_and(|header| header[..3] == [0, 0, 8] && header[3] == 6)
            && header.is_some_and(|header| header[4] & 1 == 1);
        let length = header.map_or(9, |header| {
            9 + usize::from(header[0]) * 65_536
                + usize::from(header[1]) * 256
                + usize::from(header[2])
        });
        let whole = rest.len() >= length && header.is_some();
        let frame = rest.get(..length).unwrap_or(rest);
        if start < said && header.is_none() {
            // Begun before the goodbye: the rest of its header passes as one.
            passes.between = false;
        } else if start < said {
            let from = (said - start).min(frame.len());
            passes
                .through
                .extend_from_slice(frame.get(from..).unwrap_or_default());
            passes.between = whole;
        } else if whole && frame == SHUTDOWN_ACK {
        } else if whole || header.is_some() && !pong {
            passes.through.extend_from_slice(frame);
            passes.between = whole;
        } else {
            passes.waiting.extend_from_slice(frame);
        }
        start += frame.len();
    }
    passes
}
