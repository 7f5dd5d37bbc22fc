use super::*;

const PREFACE: [u8; 24] = [0; 24];

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        0,
        0,
        u8::try_from(payload.len()).unwrap(),
        kind,
        4,
        0,
        0,
        0,
        1,
    ];
    frame.extend_from_slice(payload);
    frame
}

/// A goodbye that is said after `passed`.
fn after(passed: &[u8]) -> Farewell {
    let mut follower = Follower::new();
    follower.follow(&PREFACE, |_| {});
    follower.follow(passed, |_| {});
    Farewell::new(&follower)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn the_answer_waits_until_nothing_was_begun_for_two_round_trips() {
    let (mut farewell, mut out) = (after(&[]), Vec::new());
    let head = frame(kind::HEADERS, b"abc");
    farewell.pass(&[&SHUTDOWN_ACK[..], &head].concat(), ms(200), &mut out);
    assert_eq!(out, head, "the answer alone stays behind");
    assert!(!farewell.release(ms(599), &mut out));
    // Another request: the time begins anew.
    farewell.pass(&head, ms(599), &mut out);
    assert!(!farewell.release(ms(998), &mut out));
    assert!(farewell.release(ms(999), &mut out));
    assert_eq!(out, [&head[..], &head, &SHUTDOWN_ACK].concat());
}

#[test]
fn data_of_a_request_that_was_begun_does_not_put_the_end_off() {
    let (mut farewell, mut out) = (after(&[]), Vec::new());
    farewell.pass(&SHUTDOWN_ACK, ms(1), &mut out);
    farewell.pass(&frame(kind::DATA, b"abc"), ms(100), &mut out);
    assert!(!farewell.release(ms(100), &mut out), "100 ms at least");
    assert!(farewell.release(ms(101), &mut out));
}

#[test]
fn a_client_that_never_answers_is_answered_for() {
    let (mut farewell, mut out) = (after(&[]), Vec::new());
    assert!(!farewell.release(ms(2_999), &mut out));
    assert!(farewell.release(ms(3_000), &mut out));
    assert_eq!(out, SHUTDOWN_ACK);
}

#[test]
fn requests_without_an_end_do_not_put_the_end_off_for_ever() {
    let (mut farewell, mut out) = (after(&[]), Vec::new());
    farewell.pass(&SHUTDOWN_ACK, ms(1), &mut out);
    for now in 1..300 {
        farewell.pass(&frame(kind::HEADERS, b""), ms(now * 10), &mut out);
        assert!(!farewell.release(ms(now * 10), &mut out));
    }
    assert!(farewell.release(ms(3_000), &mut out));
}

#[test]
fn the_answer_is_given_between_two_frames_only() {
    let whole = frame(kind::DATA, b"abcdef");
    for cut in 1..whole.len() {
        let (begun, rest) = whole.split_at(cut);
        // The codec has seen the beginning before the goodbye.
        let (mut farewell, mut out) = (after(begun), Vec::new());
        assert!(!farewell.release(LATEST, &mut out));
        farewell.pass(rest, LATEST, &mut out);
        assert!(farewell.release(LATEST, &mut out));
        assert_eq!(out, [rest, &SHUTDOWN_ACK].concat());
        // It comes afterwards.
        let (mut farewell, mut out) = (after(&[]), Vec::new());
        farewell.pass(begun, LATEST, &mut out);
        if farewell.release(LATEST, &mut out) {
            assert!(cut < HEADER, "a header that is not whole waits");
            assert_eq!(out, [&SHUTDOWN_ACK[..], begun].concat());
        } else {
            farewell.pass(rest, LATEST, &mut out);
            assert!(farewell.release(LATEST, &mut out));
            assert_eq!(out, [&whole[..], &SHUTDOWN_ACK].concat());
        }
    }
}

#[test]
fn other_pings_and_their_answers_pass_however_they_are_cut() {
    let mut other = SHUTDOWN_ACK;
    other[16] = 0;
    let mut ping = SHUTDOWN_ACK;
    ping[4] = 0;
    let long = frame(kind::PING, &[0; 9]);
    let sent = [&other[..], &SHUTDOWN_ACK, &ping, &SHUTDOWN_ACK, &long].concat();
    for size in 1..=sent.len() {
        let (mut farewell, mut out) = (after(&[]), Vec::new());
        for piece in sent.chunks(size) {
            farewell.pass(piece, ms(1), &mut out);
        }
        assert_eq!(out, [&other[..], &ping, &long].concat());
    }
}
