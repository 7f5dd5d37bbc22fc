//! Slow clients of every kind at once, beside one that is not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::client::connect;
use crate::harness::frames::{Frames, SETTINGS};
use crate::harness::{Client, Setup, Upstream, until};

/// Of each kind.
const MANY: u64 = 8;

/// All deadlines are half a second; on a machine with much else to do they are
/// kept within this.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn slow_clients_of_every_kind_are_closed_in_time_while_a_good_one_is_served() {
    let upstream = Upstream::start(|call| {
        while let Some(request) = call.request() {
            let large = request.head.contains("/large");
            let body = vec![b'x'; if large { 8 << 20 } else { 2 }];
            if call.ok(&body).is_err() {
                return;
            }
        }
    });
    let edge = Setup::to(&[upstream.address])
        .timeouts("handshake: 500ms, head: 500ms, body_grace: 500ms, body_rate: 1MiB, idle: 500ms")
        .start();
    let (over, served, slowest) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let address = edge.plain;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut good = Client::new(connect(address));
            while !over.load(Ordering::Acquire) {
                let start = Instant::now();
                assert_eq!(good.get("/").text(), "xx");
                let took = u64::try_from(start.elapsed().as_millis()).unwrap();
                slowest.fetch_max(took, Ordering::AcqRel);
                served.fetch_add(1, Ordering::AcqRel);
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        let start = Instant::now();
        let mut plain = Vec::new();
        let mut h2 = Vec::new();
        for _ in 0..MANY {
            // A handshake that never begins.
            plain.push(Client::new(connect(edge.tls)));
            for begun in [
                "GET / HTTP/1.1\r\nHost: ed",
                "PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000000\r\n\r\nx",
                // An answer that nobody reads.
                "GET /large HTTP/1.1\r\nHost: edge\r\n\r\n",
            ] {
                let mut client = edge.plain();
                client.send(begun);
                plain.push(client);
            }
            // No preface, and a window of nothing.
            h2.push(Frames::raw(&edge));
            let mut stalled = Frames::open(&edge);
            stalled.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            stalled.get(1, "/large");
            h2.push(stalled);
        }
        until("only the good one is left", || {
            (edge.edge.connections.open() == 1).then_some(())
        });
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        over.store(true, Ordering::Release);
    });
    for (reason, count) in [
        ("handshake", MANY),
        ("head-timeout", 2 * MANY),
        ("body-timeout", MANY),
        ("write-timeout", MANY),
    ] {
        assert_eq!(edge.closed(reason), count, "{reason}");
    }
    assert!(served.into_inner() > 20);
    assert!(slowest.into_inner() < 2_000);
}
