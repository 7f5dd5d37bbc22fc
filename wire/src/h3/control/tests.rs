use super::*;
use crate::h3::testing::{begun, frame};

/// A stream of this type with these frames, which comes `piece` bytes at a time.
fn run(control: &mut Control, bytes: &[u8], piece: usize) -> Result<(Uni, UniStream), Fault> {
    let mut stream = UniStream::new();
    let mut last = Uni::Reading;
    for part in bytes.chunks(piece) {
        last = control.read(&mut stream, part)?;
    }
    Ok((last, stream))
}

/// The fault of one stream, the same however it is cut.
fn fault(bytes: &[u8]) -> Option<Code> {
    let whole = run(&mut Control::new(), bytes, usize::MAX).err();
    for piece in [1, 2, 3, 7] {
        assert_eq!(
            run(&mut Control::new(), bytes, piece).err(),
            whole,
            "{bytes:x?}"
        );
    }
    whole.map(|fault| {
        assert!(matches!(fault, Fault::Connection(_)));
        fault.code()
    })
}

fn control(frames: &[Vec<u8>]) -> Vec<u8> {
    [[0].as_slice(), &frames.concat()].concat()
}

/// After empty settings.
fn settled(frames: &[Vec<u8>]) -> Vec<u8> {
    [control(&[frame(4, &[])]), frames.concat()].concat()
}

#[test]
fn settings_are_read_however_they_are_cut() {
    let payload = [
        1, 0x40, 100, 6, 0x80, 1, 0, 0, 7, 16, 8, 1, 0x33, 1, 0x40, 0x5f, 9,
    ];
    for piece in [1, 2, 5, 100] {
        let mut peer = Control::new();
        assert_eq!(peer.settings(), None);
        let bytes = control(&[frame(4, &payload)]);
        run(&mut peer, &bytes, piece).unwrap();
        let expected = PeerSettings {
            max_field_section: Some(65_536),
            qpack_table: 100,
            qpack_blocked: 16,
        };
        assert_eq!(peer.settings(), Some(expected));
    }
}

#[test]
fn our_own_opening_is_taken() {
    let mut out = Vec::new();
    write_control_opening(&HeadLimits::default(), &mut out);
    write_goaway(400, &mut out);
    write_goaway(8, &mut out);
    let mut peer = Control::new();
    run(&mut peer, &out, 3).unwrap();
    let expected = PeerSettings {
        max_field_section: Some(65_536),
        qpack_table: 0,
        qpack_blocked: 0,
    };
    assert_eq!((peer.settings(), peer.goaway()), (Some(expected), Some(8)));
}

#[test]
fn settings_that_may_not_be_close_the_connection() {
    for (payload, code) in [
        ([1, 0, 1, 0].as_slice(), Code::SettingsError),
        (&[0x21, 1, 0x21, 1], Code::SettingsError),
        (&[0x21, 1, 0x40, 0x21, 1], Code::SettingsError),
        (&[0, 1], Code::SettingsError),
        (&[2, 1], Code::SettingsError),
        (&[3, 1], Code::SettingsError),
        (&[4, 1], Code::SettingsError),
        (&[5, 1], Code::SettingsError),
        (&[8, 2], Code::SettingsError),
        (&[0x33, 2], Code::SettingsError),
        (&[6], Code::FrameError),
        (&[6, 0x40], Code::FrameError),
        (&[0x40], Code::FrameError),
    ] {
        assert_eq!(
            fault(&control(&[frame(4, payload)])),
            Some(code),
            "{payload:x?}"
        );
    }
    let many: Vec<u8> = (0..33).flat_map(|id| [0x40, 0x40 + id, 0]).collect();
    assert_eq!(
        fault(&control(&[frame(4, &many)])),
        Some(Code::ExcessiveLoad)
    );
    assert_eq!(
        fault(&control(&[begun(4, 1_025)])),
        Some(Code::ExcessiveLoad)
    );
}

#[test]
fn settings_come_first_and_once() {
    for kind in [0, 1, 3, 5, 7, 13, 0x21, 2] {
        assert_eq!(
            fault(&control(&[begun(kind, 1)])),
            Some(Code::MissingSettings),
            "{kind}"
        );
    }
    assert_eq!(
        fault(&settled(&[frame(4, &[])])),
        Some(Code::FrameUnexpected)
    );
}

#[test]
fn frames_of_requests_and_of_http2_may_not_stand_on_the_control_stream() {
    for kind in [0, 1, 2, 5, 6, 8, 9] {
        assert_eq!(
            fault(&settled(&[begun(kind, 0)])),
            Some(Code::FrameUnexpected),
            "{kind}"
        );
    }
}

#[test]
fn ids_only_go_the_way_they_may() {
    for (frames, code) in [
        (vec![frame(7, &[8]), frame(7, &[4]), frame(7, &[4])], None),
        (vec![frame(7, &[4]), frame(7, &[8])], Some(Code::IdError)),
        (vec![frame(13, &[4]), frame(13, &[8])], None),
        (vec![frame(13, &[8]), frame(13, &[4])], Some(Code::IdError)),
        (vec![frame(3, &[0])], Some(Code::IdError)),
        (vec![frame(7, &[])], Some(Code::FrameError)),
        (vec![frame(7, &[0x40])], Some(Code::FrameError)),
        (vec![frame(7, &[1, 1])], Some(Code::FrameError)),
        (vec![frame(7, &[0x40, 1, 1])], Some(Code::FrameError)),
        (vec![frame(13, &[0; 9])], Some(Code::FrameError)),
        (vec![begun(13, varint::MAX)], Some(Code::FrameError)),
    ] {
        assert_eq!(fault(&settled(&frames)), code, "{frames:x?}");
    }
}

#[test]
fn a_second_stream_of_a_kind_is_refused() {
    for kind in [0, 2, 3] {
        let mut peer = Control::new();
        run(&mut peer, &[kind], 1).unwrap();
        let again = run(&mut peer, &[kind], 1).err();
        assert_eq!(again, Some(Fault::Connection(Code::StreamCreationError)));
    }
    assert_eq!(fault(&[1]), Some(Code::StreamCreationError), "push");
}

#[test]
fn critical_streams_may_not_end() {
    for kind in [0, 2, 3] {
        let mut peer = Control::new();
        let (_, stream) = run(&mut peer, &[kind], 1).unwrap();
        let ended = peer.ended(&stream).err();
        assert_eq!(ended, Some(Fault::Connection(Code::ClosedCriticalStream)));
    }
    let mut peer = Control::new();
    assert_eq!(peer.ended(&UniStream::new()), Ok(()), "without a type");
}

#[test]
fn unknown_streams_are_ignored_within_a_budget() {
    let mut peer = Control::new();
    for _ in 0..BUDGET / UNKNOWN_STREAM {
        let (uni, stream) = run(&mut peer, &[0x21, 1, 2, 3], 2).unwrap();
        assert_eq!(uni, Uni::Ignored);
        assert_eq!(peer.ended(&stream), Ok(()));
    }
    let more = run(&mut peer, &[0x21], 1).err();
    assert_eq!(more, Some(Fault::Connection(Code::ExcessiveLoad)));
    peer.request_began();
    peer.request_began();
    assert!(run(&mut peer, &[0x21], 1).is_ok(), "requests pay");
    assert!(run(&mut peer, &[0x21], 1).is_err());
}

#[test]
fn unknown_frames_are_skipped_within_a_budget() {
    let grease = settled(&[frame(0x21, &[9; 200]), frame(7, &[4])]);
    let mut peer = Control::new();
    run(&mut peer, &grease, 3).unwrap();
    assert_eq!(peer.goaway(), Some(4));
    let most = usize::try_from(BUDGET).unwrap();
    for (frames, code) in [
        (vec![frame(0x21, &[]); most], None),
        (vec![frame(0x21, &[]); most + 1], Some(Code::ExcessiveLoad)),
        (vec![frame(13, &[1]); most + 1], Some(Code::ExcessiveLoad)),
        (vec![begun(0x21, 65_535)], None),
        (vec![begun(0x21, 65_536)], Some(Code::ExcessiveLoad)),
        (vec![begun(0x21, varint::MAX)], Some(Code::ExcessiveLoad)),
    ] {
        assert_eq!(fault(&settled(&frames)), code);
    }
}

#[test]
fn an_encoder_may_only_say_that_it_has_no_table() {
    assert_eq!(fault(&[2, 0x20, 0x20]), None);
    for instruction in [
        [0x21].as_slice(),      // a capacity
        &[0x3f, 0xe1, 0x1f],    // a larger one
        &[0xc0, 0],             // an insertion by name
        &[0x41, b'a', 1, b'b'], // an insertion
        &[0x00],                // a duplicate
    ] {
        let stream = [[2].as_slice(), instruction].concat();
        assert_eq!(
            fault(&stream),
            Some(Code::QpackEncoderStreamError),
            "{instruction:x?}"
        );
    }
    assert_eq!(
        fault(&[[2].as_slice(), &[0x20; 1_025]].concat()),
        Some(Code::ExcessiveLoad)
    );
}

#[test]
fn a_decoder_may_only_give_streams_up() {
    assert_eq!(fault(&[3, 0x40, 0x7f, 0x80, 0x01, 0x44]), None);
    for instruction in [
        [0x80].as_slice(), // a section acknowledged
        &[0x01],           // insertions counted
        &[0x00],
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        let stream = [[3].as_slice(), instruction].concat();
        assert_eq!(
            fault(&stream),
            Some(Code::QpackDecoderStreamError),
            "{instruction:x?}"
        );
    }
    assert_eq!(
        fault(&[[3].as_slice(), &[0x40; 1_025]].concat()),
        Some(Code::ExcessiveLoad)
    );
}

#[test]
fn a_stream_takes_little_memory() {
    assert!(size_of::<UniStream>() <= 64, "{}", size_of::<UniStream>());
}
