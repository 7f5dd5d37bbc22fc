//! Frames in, positions out.

use super::*;

fn frame(first: u8, masked: bool, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    let mark = if masked { MASKED } else { 0 };
    match length {
        0..=125 => bytes.push(mark | u8::try_from(length).unwrap()),
        126..=0xffff => {
            bytes.push(mark | 0x7e);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(mark | 0x7f);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend([1, 2, 3, 4]);
    }
    bytes.extend(std::iter::repeat_n(0x8a, length));
    bytes
}

fn after(sender: Sender, bytes: &[u8]) -> Position {
    let mut follower = Follower::new(sender);
    follower.follow(bytes);
    follower.position()
}

#[test]
fn every_length_ends_where_it_says() {
    for (sender, masked) in [(Sender::Client, true), (Sender::Server, false)] {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 70_000] {
            let bytes = frame(0x82, masked, length);
            let mut follower = Follower::new(sender);
            assert_eq!(follower.position(), Position::Boundary);
            for (at, byte) in bytes.iter().enumerate() {
                if at > 0 {
                    assert_eq!(follower.position(), Position::Within, "{length} at {at}");
                }
                assert_eq!(follower.step(&[*byte]), 1);
            }
            assert_eq!(follower.position(), Position::Boundary, "{length}");
        }
    }
}

#[test]
fn a_step_stops_behind_a_frame() {
    let mut follower = Follower::new(Sender::Server);
    let mut bytes = frame(0x81, false, 200);
    bytes.extend(frame(0x89, false, 0));
    bytes.extend(frame(0x82, false, 10));
    assert_eq!(follower.step(&bytes[..50]), 50);
    assert_eq!(follower.step(&bytes[50..]), 154);
    assert_eq!(follower.position(), Position::Boundary);
    assert_eq!(follower.step(&bytes[204..]), 2);
    assert_eq!(follower.position(), Position::Boundary);
    assert_eq!(follower.step(&bytes[206..]), 12);
    assert_eq!(follower.step(&[]), 0);
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let bytes: Vec<u8> = [
        frame(0x01, true, 3),
        frame(0x89, true, 0),
        frame(0x00, true, 0),
        frame(0x8a, true, 125),
        frame(0x80, true, 3),
        frame(0x82, true, 1),
    ]
    .concat();
    assert_eq!(after(Sender::Client, &bytes), Position::Boundary);
}

#[test]
fn a_close_frame_ends_the_direction_once_it_has_passed() {
    for length in [0, 2, 125] {
        let mut bytes = frame(0x88, false, length);
        let whole = bytes.len();
        assert_eq!(after(Sender::Server, &bytes[..whole - 1]), Position::Within);
        assert_eq!(after(Sender::Server, &bytes), Position::Closed);
        bytes.extend(b"whatever");
        assert_eq!(after(Sender::Server, &bytes), Position::Closed);
        assert_eq!(Follower::new(Sender::Server).step(&bytes), whole);
    }
}

#[test]
fn reserved_bits_and_opcodes_are_an_extensions_to_explain() {
    for first in [0xc1, 0xa2, 0x93, 0x87, 0x8b, 0xff] {
        let position = after(Sender::Server, &frame(first, false, 5));
        assert_eq!(position, Position::Boundary, "{first:#x}");
    }
}

#[test]
fn what_is_no_frame_is_not_followed() {
    let mut long = vec![0x82, 127];
    long.extend((1_u64 << 63).to_be_bytes());
    let cases: [(&str, Sender, Vec<u8>); 11] = [
        (
            "a client that does not mask",
            Sender::Client,
            frame(0x81, false, 1),
        ),
        ("a server that masks", Sender::Server, frame(0x81, true, 1)),
        ("16 bits for 125", Sender::Server, vec![0x82, 126, 0, 125]),
        (
            "64 bits for 65535",
            Sender::Server,
            vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        ),
        ("a length of 64 bits", Sender::Server, long),
        ("a long ping", Sender::Server, frame(0x89, false, 126)),
        (
            "a fragment of a ping",
            Sender::Server,
            frame(0x09, false, 1),
        ),
        (
            "a fragment of a close",
            Sender::Server,
            frame(0x08, false, 2),
        ),
        (
            "a fragment of nothing",
            Sender::Server,
            frame(0x80, false, 1),
        ),
        (
            "a message within a message",
            Sender::Server,
            [frame(0x01, false, 1), frame(0x81, false, 1)].concat(),
        ),
        ("HTTP", Sender::Client, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (name, sender, bytes) in cases {
        assert_eq!(after(sender, &bytes), Position::Lost, "{name}");
        let mut follower = Follower::new(sender);
        follower.follow(&bytes);
        assert_eq!(follower.step(b"anything"), 8, "{name}");
    }
}

#[test]
fn a_close_frame_is_written_for_either_side() {
    let mut out = Vec::new();
    write_close(CloseCode::GoingAway, "idle", None, &mut out);
    assert_eq!(out, b"\x88\x06\x03\xe9idle");
    assert_eq!(after(Sender::Server, &out), Position::Closed);
    out.clear();
    write_close(CloseCode::GoingAway, "idle", Some([1, 2, 3, 4]), &mut out);
    assert_eq!(out[..6], [0x88, 0x86, 1, 2, 3, 4]);
    let plain: Vec<u8> = out[6..]
        .iter()
        .zip([1, 2, 3, 4].iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    assert_eq!(plain, b"\x03\xe9idle");
    assert_eq!(after(Sender::Client, &out), Position::Closed);
    out.clear();
    write_close(CloseCode::GoingAway, &"x".repeat(200), None, &mut out);
    assert_eq!((out[1], out.len()), (125, 127));
}
