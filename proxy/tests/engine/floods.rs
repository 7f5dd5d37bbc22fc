//! HTTP/2 frames that cost the edge more than the client: the connection
//! ends, others notice nothing.

use std::time::{Duration, Instant};

use crate::harness::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, HEADERS,
    PING, PRIORITY, PROTOCOL_ERROR, RST_STREAM, SETTINGS, Verdict, WINDOW_UPDATE, block, frame,
    request,
};
use crate::harness::{Setup, TestEdge, Upstream, alone, h2client};

/// No flood is longer than this.
const FRAMES_MAX: usize = 100_000;

/// Sends a frame over and over until the edge has had enough, and says how
/// the connection ended. An innocent client is served meanwhile.
fn flood(
    edge: &TestEdge,
    mut client: Frames,
    make: impl Fn(usize) -> Vec<u8> + Send + 'static,
) -> Option<u32> {
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        use std::io::Write as _;
        for number in 0..FRAMES_MAX / 100 {
            let batch: Vec<u8> = (0..100).flat_map(|at| make(number * 100 + at)).collect();
            if writer.write_all(&batch).is_err() {
                return number * 100;
            }
        }
        FRAMES_MAX
    });
    let mut innocent = edge.plain();
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(innocent.get("/innocent").status, 200);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
    let mut code = None;
    while let Some(frame) = client.next() {
        if frame.kind == GOAWAY {
            code = Some(frame.code());
        }
    }
    drop(client);
    let sent = writing.join().unwrap();
    assert!(sent < FRAMES_MAX, "the whole flood was taken");
    code
}

fn started() -> (Upstream, TestEdge) {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).threads(2).start();
    (upstream, edge)
}

#[test]
fn a_flood_of_pings_ends_with_enhance_your_calm() {
    let (_upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |_| {
        frame(PING, 0, 0, b"12345678")
    });
    assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{code:?}");
    edge.until_closed("flood");
}

#[test]
fn a_flood_of_settings_ends_with_enhance_your_calm() {
    let (_upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |_| {
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
    });
    assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{code:?}");
    edge.until_closed("flood");
}

#[test]
fn a_flood_of_empty_data_ends_with_enhance_your_calm() {
    let (_upstream, edge) = started();
    let mut client = Frames::open(&edge);
    client.headers(1, &request("POST", "/up"), 0);
    let code = flood(&edge, client, |_| frame(DATA, 0, 1, &[]));
    assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{code:?}");
    edge.until_closed("flood");
}

#[test]
fn a_flood_of_priorities_ends_with_enhance_your_calm() {
    let (_upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |_| {
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16])
    });
    assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{code:?}");
    edge.until_closed("flood");
}

#[test]
fn a_flood_of_resets_ends_with_enhance_your_calm_and_few_requests() {
    let (upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |number| {
        let stream = u32::try_from(number * 2 + 1).unwrap();
        let mut pair = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &block(&request("GET", "/reset")),
        );
        pair.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        pair
    });
    assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{code:?}");
    edge.until_closed("flood");
    let reached = upstream.count("GET /reset");
    assert!(reached <= 1_000, "{reached} requests reached the backend");
}

#[test]
fn a_flood_of_made_resets_ends_the_connection() {
    // WINDOW_UPDATE of 0 makes the edge reset the stream.
    let (_upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |number| {
        let stream = u32::try_from(number * 2 + 1).unwrap();
        let mut pair = frame(
            HEADERS,
            END_HEADERS,
            stream,
            &block(&request("POST", "/made")),
        );
        pair.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
        pair
    });
    assert!(
        matches!(code, Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR) | None),
        "{code:?}"
    );
}

#[test]
fn a_flood_of_malformed_requests_ends_the_connection_or_costs_little() {
    let (upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |number| {
        let stream = u32::try_from(number * 2 + 1).unwrap();
        let fields = [(&b":method"[..], &b"GET"[..]), (b"Upper", b"x")];
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
    });
    assert!(
        matches!(code, Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR) | None),
        "{code:?}"
    );
    assert_eq!(upstream.count("Upper"), 0);
}

#[test]
fn a_flood_of_requests_that_break_our_rules_ends_with_enhance_your_calm() {
    // Well-formed to the codec: each would be answered with 400.
    let (upstream, edge) = started();
    let code = flood(&edge, Frames::open(&edge), |number| {
        let stream = u32::try_from(number * 2 + 1).unwrap();
        let mut fields = request("GET", "/conflict").to_vec();
        fields.push((b"host", b"other"));
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
    });
    assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{code:?}");
    edge.until_closed("flood");
    assert_eq!(upstream.count("/conflict"), 0);
}

#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let (_upstream, edge) = started();
    for payload in [vec![], block(&[(b"x", &[b'a'; 1_000])])] {
        let mut client = Frames::open(&edge);
        client.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
        let code = flood(&edge, client, move |_| frame(CONTINUATION, 0, 1, &payload));
        assert!(
            matches!(code, Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR) | None),
            "{code:?}"
        );
    }
}

#[test]
fn no_flood_of_frames_makes_the_process_grow() {
    alone("floods::no_flood_of_frames_makes_the_process_grow", || {
        let (_upstream, edge) = started();
        let over_and_over: [fn(usize) -> Vec<u8>; 6] = [
            |_| frame(PING, 0, 0, b"12345678"),
            |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
            |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]),
            |_| frame(DATA, 0, 1, &[]),
            |_| frame(CONTINUATION, 0, 1, &block(&[(b"x", &[b'a'; 1_000])])),
            |number| {
                let stream = u32::try_from(number * 2 + 3).unwrap();
                let head = block(&request("GET", "/reset"));
                let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                pair.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                pair
            },
        ];
        let run = |kind: usize, make: fn(usize) -> Vec<u8>| {
            let mut client = Frames::open(&edge);
            match kind {
                3 => _ = client.headers(1, &request("POST", "/up"), 0),
                4 => _ = client.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))),
                _ => {}
            }
            flood(&edge, client, make);
        };
        // Once before, so that what stays for use again is there.
        over_and_over
            .into_iter()
            .enumerate()
            .for_each(|(kind, make)| run(kind, make));
        let before = resident();
        for _ in 0..3 {
            over_and_over
                .into_iter()
                .enumerate()
                .for_each(|(kind, make)| run(kind, make));
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 * 1024 * 1024, "{grown} bytes after 18 floods");
    });
}

#[test]
fn settings_and_pings_of_a_decent_client_are_answered() {
    let (_upstream, edge) = started();
    let mut client = Frames::open(&edge);
    for number in 0..20_u64 {
        client.frame(PING, 0, 0, &number.to_be_bytes());
        let answer = client.until(|frame| frame.kind == PING).unwrap();
        assert_eq!(
            (answer.flags, &answer.payload[..]),
            (ACK, &number.to_be_bytes()[..])
        );
    }
    client.get(1, "/");
    assert_eq!(client.verdict(1), Verdict::Answered(200));
}

#[test]
fn a_hundred_streams_are_open_at_once_and_the_next_is_refused() {
    let upstream = Upstream::start(crate::harness::Call::until_ended);
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = Frames::open(&edge);
    let offered = client
        .until(|frame| frame.kind == SETTINGS && frame.flags == 0)
        .unwrap();
    let streams = offered
        .payload
        .chunks(6)
        .find(|setting| setting[..2] == [0, 3])
        .unwrap();
    assert_eq!(streams[2..], 100_u32.to_be_bytes());
    for number in 0..101 {
        client.get(number * 2 + 1, "/wait");
    }
    assert_eq!(client.verdict(201), Verdict::Reset(7), "REFUSED_STREAM");
    assert!(upstream.seen().len() <= 100);
    // A slot that becomes free is given away again.
    client.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    client.get(203, "/deny");
    assert_eq!(client.verdict(203), Verdict::Answered(403));
}

#[test]
fn a_field_list_over_the_bound_is_431_or_a_reset() {
    let (upstream, edge) = started();
    let mut client = Frames::open(&edge);
    let value = [b'a'; 10_000];
    let mut list = request("GET", "/large").to_vec();
    list.extend((0..7).map(|_| (&b"x"[..], &value[..])));
    let whole = block(&list);
    let mut pieces = whole.chunks(16_384).peekable();
    client.frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        client.frame(CONTINUATION, flags, 1, piece);
    }
    let verdict = client.verdict(1);
    assert!(
        matches!(verdict, Verdict::Answered(431) | Verdict::Reset(_)),
        "{verdict:?}"
    );
    client.get(3, "/innocent");
    assert_eq!(client.verdict(3), Verdict::Answered(200));
    assert_eq!(upstream.count("/large"), 0);
}

#[test]
fn a_small_block_that_unfolds_to_a_large_list_is_refused() {
    // One entry of 4,000 bytes in the table, referred to thousands of times.
    let (upstream, edge) = started();
    let mut client = Frames::open(&edge);
    let mut bomb = block(&request("GET", "/bomb"));
    bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend([b'a'; 4_000]);
    bomb.extend([0xbe; 10_000]);
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    let verdict = client.verdict(1);
    assert!(
        !matches!(verdict, Verdict::Answered(0..=399)),
        "{verdict:?}"
    );
    assert_eq!(upstream.count("/bomb"), 0);
    assert_eq!(edge.plain().get("/").status, 200);
}

#[test]
fn a_hundred_stalled_streams_hold_little() {
    // No stream window at all: what the edge holds is what it read ahead.
    let upstream = Upstream::start(|call| {
        while call.request().is_some() {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
                .unwrap();
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..150 {
                if call.send(&piece).is_err() {
                    return;
                }
            }
        }
    });
    let edge = Setup::to(&[upstream.address]).start();
    let before = resident();
    let mut client = Frames::raw(&edge);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for number in 0..100 {
        client.get(number * 2 + 1, "/stall");
    }
    for _ in 0..100 {
        let head = client.until(|frame| frame.kind == HEADERS).unwrap();
        assert_eq!(head.status(), 200);
    }
    // The test's own backend threads are in here too; 0.5 MB a stream would
    // still stand out.
    let held = resident().saturating_sub(before);
    assert!(
        held < 32 * 1024 * 1024,
        "{held} bytes for 100 stalled streams"
    );
    assert_eq!(edge.plain().get("/deny").status, 403);
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
fn many_requests_on_one_connection_are_no_flood() {
    let (_upstream, edge) = started();
    h2client::with(&edge, async |mut client| {
        for _ in 0..2_000 {
            assert_eq!(client.ask("GET", "/").await.status, 200);
        }
    });
    assert_eq!(edge.closed("flood"), 0);
}

#[test]
fn a_client_that_cancels_now_and_then_is_no_flood() {
    let (_upstream, edge) = started();
    h2client::with(&edge, async |mut client| {
        for round in 0..500 {
            if round % 5 == 0 {
                let (answer, mut send) = client.open("/").await;
                send.send_reset(h2::Reason::CANCEL);
                drop(answer);
            } else {
                assert_eq!(client.ask("GET", "/").await.status, 200);
            }
        }
    });
    assert_eq!(edge.closed("flood"), 0);
}
