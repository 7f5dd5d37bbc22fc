use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::testing::{brief, facts, faults, head, snapshot};
use crate::{ClientSource, RejectReason};

const SEED: &str = "
rate_limiting:
  requests_per_second: 100000
  burst_size: 200000
  per_ip_rate: 1000
  per_ip_burst: 2000
  ban: { requests: 1000, interval: 60s, duration: 600s }
";

/// A client at a virtual clock.
struct Bench {
    snapshot: Snapshot,
    state: LimitState,
    now: Tick,
}

impl Bench {
    fn new(text: &str) -> Self {
        Self {
            snapshot: snapshot(text),
            state: LimitState::new(1_024),
            now: Tick(1_000_000_000),
        }
    }

    fn advance(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn ask(&self, client: &str) -> LimitVerdict {
        self.ask_as(client, ClientSource::Peer)
    }

    fn ask_as(&self, client: &str, client_source: ClientSource) -> LimitVerdict {
        let head = head("GET /", &[]);
        let client: IpAddr = client.parse().unwrap();
        let facts = Facts {
            client,
            client_source,
            ..facts(&head, "DE")
        };
        let (_, route) = self.snapshot.route(&head).unwrap();
        check(&self.snapshot, &self.state, &facts, route, self.now)
    }

    fn admitted(&self, client: &str, requests: usize) -> usize {
        (0..requests)
            .filter(|_| matches!(self.ask(client), LimitVerdict::Admit(_)))
            .count()
    }

    fn refused(&self, client: &str) -> LimitRefusal {
        match self.ask(client) {
            LimitVerdict::Refuse(refusal) => refusal,
            other @ (LimitVerdict::Exempt | LimitVerdict::Admit(_)) => panic!("{other:?}"),
        }
    }
}

fn written(quota: &Quota) -> String {
    let mut out = Vec::new();
    quota.write_rate_limit(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn numbers_of_every_length_are_written_as_the_library_does() {
    let lengths = (0..20).map(|digits| 10_u64.pow(digits));
    let numbers = lengths.flat_map(|power| [power - 1, power, power + 7]);
    for remaining in numbers.chain([u64::MAX]) {
        let reset_s = u32::try_from(remaining).unwrap_or(u32::MAX);
        let quota = Quota {
            name: "window",
            limit: u64::MAX,
            window_s: 1,
            remaining,
            reset_s,
        };
        let expected = format!("\"window\";r={remaining};t={reset_s}");
        assert_eq!(written(&quota), expected);
    }
}

#[test]
fn a_burst_is_spent_then_refills_at_the_rate() {
    let mut bench = Bench::new("rate_limiting: { per_ip_rate: 10, per_ip_burst: 3 }\n");
    assert_eq!(bench.admitted("192.0.2.1", 10), 3);
    let refusal = bench.refused("192.0.2.1");
    assert_eq!(refusal.limited_by, LimitedBy::PerSecond);
    assert_eq!(refusal.retry_after, Duration::from_millis(100));
    bench.advance(Duration::from_millis(99));
    assert_eq!(bench.admitted("192.0.2.1", 1), 0);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.admitted("192.0.2.1", 2), 1);
    bench.advance(Duration::from_mins(1));
    assert_eq!(bench.admitted("192.0.2.1", 10), 3);
    assert_eq!(
        bench.admitted("192.0.2.2", 10),
        3,
        "another address has its own"
    );
}

#[test]
fn the_burst_is_twice_the_rate_unless_it_is_given() {
    let bench = Bench::new("rate_limiting: { per_ip_rate: 10 }\n");
    assert_eq!(bench.admitted("192.0.2.1", 100), 20);
}

#[test]
fn the_published_numbers_ban_after_a_thousand_in_a_minute() {
    let mut bench = Bench::new(SEED);
    assert_eq!(bench.admitted("192.0.2.1", 1_000), 1_000);
    let first = bench.refused("192.0.2.1");
    assert_eq!(
        (first.limited_by, first.retry_after),
        (LimitedBy::Window, Duration::from_mins(10))
    );
    assert_eq!(first.limited_by.reason(), RejectReason::RateLimited);
    bench.advance(Duration::from_secs(599));
    let banned = bench.refused("192.0.2.1");
    assert_eq!(
        (banned.limited_by, banned.retry_after),
        (LimitedBy::Banned, Duration::from_secs(1))
    );
    assert_eq!(banned.limited_by.reason(), RejectReason::Banned);
    assert_eq!(bench.state.banned(bench.now), 1);
    assert_eq!(bench.admitted("192.0.2.2", 1), 1);
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.admitted("192.0.2.1", 1_001), 1_000);
}

#[test]
fn a_thousand_a_minute_for_ever_is_never_banned() {
    let mut bench = Bench::new(SEED);
    for _ in 0..5_000 {
        bench.advance(Duration::from_millis(61));
        assert_eq!(bench.admitted("192.0.2.1", 1), 1);
    }
}

#[test]
fn without_a_ban_the_window_only_ends() {
    let mut bench =
        Bench::new("rate_limiting: { ban: { requests: 2, interval: 10s, duration: 0 } }\n");
    assert_eq!(bench.admitted("192.0.2.1", 5), 2);
    let refusal = bench.refused("192.0.2.1");
    assert_eq!(
        (refusal.limited_by, refusal.retry_after),
        (LimitedBy::Window, Duration::from_secs(10))
    );
    bench.advance(Duration::from_secs(10));
    assert_eq!(bench.admitted("192.0.2.1", 5), 2);
}

#[test]
fn all_clients_together_have_a_limit_too() {
    let bench = Bench::new(
        "rate_limiting: { requests_per_second: 100, burst_size: 5, per_ip_rate: 3, per_ip_burst: 3 }\n",
    );
    assert_eq!(
        bench.admitted("192.0.2.1", 10),
        3,
        "its own limit comes first"
    );
    assert_eq!(bench.admitted("192.0.2.2", 10), 2);
    let refusal = bench.refused("192.0.2.3");
    assert_eq!(
        (refusal.limited_by, refusal.retry_after),
        (LimitedBy::Global, Duration::from_millis(10))
    );
}

#[test]
fn an_ipv6_client_is_a_network_of_sixty_four_bits() {
    let bench = Bench::new("rate_limiting: { per_ip_rate: 1, per_ip_burst: 2 }\n");
    assert_eq!(bench.admitted("2001:db8:1:2::1", 1), 1);
    assert_eq!(bench.admitted("2001:db8:1:2:ffff::9", 5), 1);
    assert_eq!(bench.admitted("2001:db8:1:3::1", 5), 2);
    assert_eq!(bench.admitted("192.0.2.1", 5), 2);
    assert_eq!(
        bench.admitted("::c000:201:0:0", 5),
        2,
        "not the IPv4 address of the same bits"
    );
    assert_eq!(bench.state.len(), 4);
}

#[test]
fn exemptions_may_be_for_bare_peers_only() {
    let bench = Bench::new(
        "rate_limiting:
  per_ip_rate: 1
  per_ip_burst: 1
  exempt: [10.0.0.0/8, { cidr: 127.0.0.0/8, when: direct }]
",
    );
    for _ in 0..3 {
        assert_eq!(bench.ask("127.0.0.1"), LimitVerdict::Exempt);
        assert_eq!(bench.ask("10.1.2.3"), LimitVerdict::Exempt);
        assert_eq!(
            bench.ask_as("10.1.2.3", ClientSource::TrustedHop),
            LimitVerdict::Exempt
        );
    }
    assert!(matches!(
        bench.ask_as("127.0.0.1", ClientSource::TrustedHop),
        LimitVerdict::Admit(_)
    ));
    assert!(matches!(
        bench.ask_as("127.0.0.1", ClientSource::TrustedHop),
        LimitVerdict::Refuse(_)
    ));
}

#[test]
fn a_route_may_be_left_out_and_no_limit_is_no_count() {
    let bench = Bench::new(
        "rate_limiting: { per_ip_rate: 1, per_ip_burst: 1 }\nroutes: [{ id: a, path: /, limits: off }]\n",
    );
    assert_eq!(bench.ask("192.0.2.1"), LimitVerdict::Exempt);
    let bench = Bench::new("");
    assert_eq!(bench.ask("192.0.2.1"), LimitVerdict::Exempt);
    assert!(bench.state.is_empty());
}

#[test]
fn the_fields_say_what_is_left_of_the_nearest_limit() {
    let mut bench = Bench::new(SEED);
    assert_eq!(
        bench.snapshot.limits().policy_field(),
        "\"second\";q=1000;w=1, \"minute\";q=1000;w=60"
    );
    let quota = |verdict| match verdict {
        LimitVerdict::Admit(quota) => written(&quota),
        other @ (LimitVerdict::Exempt | LimitVerdict::Refuse(_)) => panic!("{other:?}"),
    };
    assert_eq!(quota(bench.ask("192.0.2.1")), "\"minute\";r=999;t=60");
    bench.advance(Duration::from_millis(59_500));
    assert_eq!(quota(bench.ask("192.0.2.1")), "\"minute\";r=998;t=1");
    let only = Bench::new("rate_limiting: { per_ip_rate: 10, per_ip_burst: 12 }\n");
    assert_eq!(quota(only.ask("192.0.2.1")), "\"second\";r=10;t=0");
    assert_eq!(only.admitted("192.0.2.1", 5), 5);
    assert_eq!(quota(only.ask("192.0.2.1")), "\"second\";r=5;t=1");
    only.admitted("192.0.2.1", 50);
    let refusal = only.refused("192.0.2.1");
    assert_eq!(written(&refusal.quota), "\"second\";r=0;t=1");
    let mut out = Vec::new();
    refusal.write_retry_after(&mut out);
    assert_eq!(out, b"1");
}

#[test]
fn a_full_table_makes_room_for_whom_it_still_must_count() {
    let mut bench = Bench::new("rate_limiting: { per_ip_rate: 10, per_ip_burst: 10 }\n");
    bench.state = LimitState::new(64);
    for i in 0..5_000_u32 {
        bench.ask(&IpAddr::from(i.to_be_bytes()).to_string());
        assert!(bench.state.len() <= 64);
    }
    bench.advance(Duration::from_secs(2));
    bench.state.sweep(bench.now);
    assert!(bench.state.is_empty(), "all buckets are full again");
    assert_eq!(bench.admitted("192.0.2.1", 20), 10);
}

#[test]
fn addresses_past_the_bound_share_one_bucket() {
    let mut bench = Bench::new("rate_limiting: { per_ip_rate: 10, per_ip_burst: 10 }\n");
    bench.state = LimitState::new(0);
    let admitted: usize = (0..100)
        .map(|i| bench.admitted(&format!("192.0.2.{i}"), 1))
        .sum();
    assert_eq!(admitted, 10);
    assert_eq!(bench.refused("192.0.2.1").limited_by, LimitedBy::Overflow);
    assert_eq!(bench.state.len(), 0);
}

#[test]
fn a_reload_keeps_counts_and_bans_and_takes_new_numbers() {
    let mut bench = Bench::new(
        "rate_limiting: { per_ip_rate: 10, per_ip_burst: 10, ban: { requests: 15, interval: 60s, duration: 600s } }\n",
    );
    assert_eq!(bench.admitted("192.0.2.1", 10), 10);
    bench.snapshot = snapshot(
        "rate_limiting: { per_ip_rate: 10, per_ip_burst: 12, ban: { requests: 15, interval: 60s, duration: 600s } }\n",
    );
    assert_eq!(bench.admitted("192.0.2.1", 5), 2, "not a fresh bucket");
    assert_eq!(bench.refused("192.0.2.1").limited_by, LimitedBy::Window);
    bench.snapshot = snapshot(
        "rate_limiting: { per_ip_rate: 10, per_ip_burst: 12, ban: { requests: 15, interval: 60s, duration: 30s } }\n",
    );
    assert_eq!(
        bench.refused("192.0.2.1").retry_after,
        Duration::from_secs(30)
    );
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.admitted("192.0.2.1", 1), 1);
}

#[test]
fn faults_of_limits_have_their_places() {
    for (text, expected) in [
        (
            "{ per_ip_rate: 0 }",
            "1:31 a rate is 1 to 1000000000 a second, a burst at least 1 and at most what a day admits",
        ),
        (
            "{ per_ip_rate: 1, per_ip_burst: 0 }",
            "1:48 a rate is 1 to 1000000000 a second, a burst at least 1 and at most what a day admits",
        ),
        (
            "{ per_ip_rate: 1, per_ip_burst: 86401 }",
            "1:48 a rate is 1 to 1000000000 a second, a burst at least 1 and at most what a day admits",
        ),
        ("{ burst_size: 5 }", "1:30 `burst_size` without its rate"),
        (
            "{ ban: { requests: 0, interval: 1s, duration: 1s } }",
            "1:35 a window of no requests: to let nobody in, deny by `access`",
        ),
        (
            "{ ban: { requests: 1, interval: 10ms, duration: 1s } }",
            "1:48 a window is 1s to 24h",
        ),
        (
            "{ ban: { requests: 1, interval: 1s, duration: 2d } }",
            "1:62 a ban is at most 24h",
        ),
        ("{ exempt: [ten] }", "1:27 `ten` is not a network"),
        (
            "{ exempt: [{ cidr: 10.0.0.0/8, when: never }] }",
            "1:53 `never` is not known here",
        ),
        ("{ per_ip_rat: 5 }", "1:18 unknown key `per_ip_rat`"),
    ] {
        let found = faults(&format!("rate_limiting: {text}\n"));
        assert_eq!(
            found.iter().map(brief).collect::<Vec<_>>(),
            [format!("test.yaml:{expected}")],
            "{text}"
        );
    }
}

#[test]
fn threads_together_never_admit_more_than_the_burst() {
    let bench = Bench::new(
        "rate_limiting: { requests_per_second: 1, burst_size: 1000, per_ip_rate: 1, per_ip_burst: 400 }\n",
    );
    let admitted: usize = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..4)
            .map(|i| {
                let bench = &bench;
                scope.spawn(move || {
                    bench.admitted(if i < 2 { "192.0.2.1" } else { "192.0.2.2" }, 1_000)
                })
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).sum()
    });
    assert_eq!(admitted, 800);
}

mod properties {
    use proptest::prelude::*;

    use super::gcra::{Cell, Rate};
    use super::*;

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_times_time(
            rate in 1..5_000_u64,
            burst in 1..50_u64,
            gaps in proptest::collection::vec(0..400_000_000_u64, 1..200),
        ) {
            let cell = Rate::new(rate, burst).unwrap();
            let (mut full_at, mut now, mut admitted) = (0, Tick(7), 0_u64);
            let start = now;
            for gap in gaps {
                now = now + Duration::from_nanos(gap);
                let before = cell.remaining(full_at, now);
                match cell.check(full_at, now) {
                    Cell::Conforms(next) => {
                        prop_assert!(before > 0);
                        full_at = next;
                        admitted += 1;
                    }
                    Cell::Exceeds(wait) => {
                        prop_assert_eq!(before, 0);
                        prop_assert!(matches!(cell.check(full_at, now + wait), Cell::Conforms(_)), "the wait is enough");
                        let shorter = wait.checked_sub(Duration::from_nanos(1)).unwrap();
                        prop_assert!(matches!(cell.check(full_at, now + shorter), Cell::Exceeds(_)), "and not too long");
                    }
                }
                let most = u128::from(burst) + u128::from(rate) * now.saturating_sub(start).as_nanos() / 1_000_000_000;
                prop_assert!(u128::from(admitted) <= most);
            }
        }

        #[test]
        fn a_patient_client_is_never_refused(rate in 1..1_000_000_000_u64, burst in 1..10_u64, n in 1..100_u32) {
            let cell = Rate::new(rate, burst);
            prop_assume!(cell.is_some());
            let cell = cell.unwrap();
            let (mut full_at, mut now) = (0, Tick(1));
            for _ in 0..n {
                let Cell::Conforms(next) = cell.check(full_at, now) else {
                    return Err(TestCaseError::fail("refused"));
                };
                full_at = next;
                now = now + Duration::from_nanos(1_000_000_000_u64.div_ceil(rate));
            }
        }

        #[test]
        fn the_table_stays_within_its_bound(clients in proptest::collection::vec(any::<u32>(), 1..400), bound in 0..200_usize) {
            let mut bench = Bench::new("rate_limiting: { per_ip_rate: 1, per_ip_burst: 1, ban: { requests: 1, interval: 1h, duration: 1h } }\n");
            bench.state = LimitState::new(bound);
            for client in clients {
                bench.ask(&IpAddr::from(client.to_be_bytes()).to_string());
                bench.advance(Duration::from_millis(150));
            }
            prop_assert!(bench.state.len() <= bound.next_multiple_of(64));
        }
    }
}
