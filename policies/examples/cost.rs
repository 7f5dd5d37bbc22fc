//! Instructions per decision, to be run under callgrind:
//!
//! ```text
//! cargo build --release -p meridian-policies --example cost
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/cost select 10000
//! ```
//!
//! Run it with two counts: the difference by the difference of the counts is
//! the price of one, with the shipped policies; a third argument is the number of
//! regions (3 and more; 11 are shipped, further ones are spread over the globe).
//! Parts: `select` and
//! `select-point` (a client of whom a country or a point is known), `select-all`
//! (every region weighed, as explanations do), `select-session` (a hashed session),
//! `select-ordered` (an operator pins a region),
//! `obligations`, `rate-limit` (the field's text), `limit` (the counter).

use std::env;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use meridian_geo::{Certainty, Country, Location, Point, Source, UnknownReason};
use meridian_policies::affinity::SessionKey;
use meridian_policies::limits::{self, LimitState, LimitVerdict};
use meridian_policies::regions::{Ask, Candidate, Choice, NoRegion, Tried, select, select_all};
use meridian_policies::residency::{Permitted, classify, eligible};
use meridian_policies::{
    AttemptOutcome, AttemptReport, Claims, ClientSource, EdgePlace, EndpointIndex, Facts, Override,
    OverrideAction, References, RegionIndex, Route, RouteIndex, Snapshot, SourceFile, State, Tick,
    Trust, View,
};
use meridian_wire::{EndStream, HeadLimits, RequestBuilder, RequestHead, Version};

const SHIPPED: [&str; 9] = [
    include_str!("../../conf/policies/regions.yaml"),
    include_str!("../../conf/policies/latency.yaml"),
    include_str!("../../conf/policies/traffic.yaml"),
    include_str!("../../conf/policies/residency.yaml"),
    include_str!("../../conf/policies/routes.yaml"),
    include_str!("../../conf/policies/access.yaml"),
    include_str!("../../conf/policies/limits.yaml"),
    include_str!("../../conf/policies/geo.yaml"),
    include_str!("../../conf/policies/waf.yaml"),
];

/// Why it could not be set up.
type Failure = &'static str;

fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let part = arguments.next().unwrap_or_default();
    let count = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);
    let regions = arguments.next().and_then(|count| count.parse().ok());
    let snapshot = policies(regions.unwrap_or(11))?;
    let head = head().ok_or("a head that cannot be built")?;
    let point = if part == "select-point" {
        Point::new(52.5, 13.4)
    } else {
        None
    };
    let facts = facts(&head, point);
    let route = snapshot.route(&head).ok_or("no route")?;
    let classified = classify(&snapshot, route.1, &facts);
    let permitted = eligible(&snapshot, route.1, &facts, classified).map_err(|_| "no region")?;
    let mut rig = Rig {
        view: State::new().reconcile(&snapshot, Tick(1)),
        snapshot: &snapshot,
        facts,
        route,
        permitted,
        limits: LimitState::default(),
        candidates: Vec::new(),
        out: Vec::new(),
    };
    for number in 0..count {
        match part.as_str() {
            "select" | "select-point" => rig.select(number, select),
            "select-all" => rig.select(number, select_all),
            "select-session" => rig.session(number),
            "select-ordered" => rig.ordered(number),
            "obligations" => rig.obligations(),
            "rate-limit" => rig.rate_limit(number),
            "limit" => drop(black_box(rig.limit(number))),
            _ => return Err("which part? See the head of this file"),
        }
    }
    Ok(())
}

struct Rig<'a> {
    snapshot: &'a Snapshot,
    view: View,
    facts: Facts<'a>,
    route: (RouteIndex, &'a Route),
    permitted: Permitted,
    limits: LimitState,
    candidates: Vec<Candidate>,
    out: Vec<u8>,
}

/// [`select`] or [`select_all`].
type Choose = fn(&Snapshot, &View, &Ask<'_>, &mut Vec<Candidate>) -> Result<Choice, NoRegion>;

/// 20,000 requests a second.
fn at(number: u64) -> Tick {
    Tick(1 + number * 50_000)
}

impl Rig<'_> {
    /// One in 32 is reported, so that load and latencies are known.
    fn select(&mut self, number: u64, choose: Choose) {
        self.choose(number, (None, choose));
    }

    /// A thousand sessions.
    fn session(&mut self, number: u64) {
        let key = SessionKey((number % 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.choose(number, (Some(key), select));
    }

    /// An operator prefers the second region.
    fn ordered(&mut self, number: u64) {
        if number == 0 {
            let order = Override {
                action: OverrideAction::Pin,
                until: Tick(u64::MAX),
                set_unix_ms: 0,
                reason: "a measurement".to_owned(),
                route: None,
            };
            self.view.order(RegionIndex(1), order);
        }
        self.choose(number, (None, select));
    }

    fn choose(&mut self, number: u64, (session, choose): (Option<SessionKey>, Choose)) {
        let now = at(number);
        let ask = Ask {
            facts: &self.facts,
            permitted: &self.permitted,
            route: self.route.0,
            tried: &Tried::new(),
            affinity: None,
            session,
            version: None,
            now,
            draw: session.map_or(number, |key| key.0),
        };
        let choice = choose(
            self.snapshot,
            &self.view,
            black_box(&ask),
            &mut self.candidates,
        );
        if number.is_multiple_of(32) {
            self.report(EndpointIndex((number / 32 % 11) as u32), now);
        }
        let _ = black_box(choice);
    }

    fn report(&self, endpoint: EndpointIndex, now: Tick) {
        let report = AttemptReport {
            outcome: AttemptOutcome::Success,
            connect: None,
            first_byte: Some(Duration::from_millis(120)),
        };
        self.view.begin(endpoint, now);
        self.view.end(endpoint);
        self.view.record(self.snapshot, endpoint, &report, now);
    }

    fn obligations(&mut self) {
        self.out.clear();
        let region = black_box(RegionIndex(1));
        self.snapshot
            .write_obligations(black_box(&self.permitted), region, &mut self.out);
        black_box(&self.out);
    }

    /// A thousand clients, so that no limit is reached.
    fn limit(&mut self, number: u64) -> LimitVerdict {
        let low = 0x5b40_0000 + u32::try_from(number % 1_000).unwrap_or_default();
        self.facts.client = IpAddr::V4(Ipv4Addr::from(low));
        limits::check(
            self.snapshot,
            &self.limits,
            &self.facts,
            self.route.1,
            at(number),
        )
    }

    /// `limit`, and its field.
    fn rate_limit(&mut self, number: u64) {
        self.out.clear();
        if let LimitVerdict::Admit(quota) = self.limit(number) {
            black_box(&quota).write_rate_limit(&mut self.out);
        }
        black_box(&self.out);
    }
}

/// The shipped regions, fewer, or more of them.
fn regions(shipped: &str, count: usize) -> String {
    let mut blocks = shipped.split("\n  - id: ");
    let mut text = blocks.next().unwrap_or_default().to_owned();
    for at in 0..count {
        if let Some(block) = blocks.next() {
            let _ = write!(text, "\n  - id: {block}");
            continue;
        }
        let (lat, lon) = (at % 120, at * 7 % 360);
        let _ = write!(
            text,
            "\n  - {{ id: extra-{at}, capacity: 1000, endpoints: ['http://extra-{at}:80'], \
             location: {{ country: DE, lat: {}, lon: {} }} }}",
            lat.cast_signed() - 60,
            lon.cast_signed() - 180,
        );
    }
    text.push('\n');
    text
}

fn policies(count: usize) -> Result<Snapshot, Failure> {
    let file = |(at, text): (usize, &&str)| SourceFile {
        path: format!("{at}.yaml"),
        text: match at {
            0 => regions(text, count),
            // Rows of regions that are not there would be faults.
            1 if count < 11 => String::new(),
            _ => (*text).to_owned(),
        },
    };
    let files: Vec<SourceFile> = SHIPPED.iter().enumerate().map(file).collect();
    let place = EdgePlace {
        region: "us-central1",
    };
    Snapshot::compile(&files, &References::NONE, &place).map_err(|_| "policies with faults")
}

fn head() -> Option<RequestHead> {
    let mut head = RequestHead::new();
    let mut builder = RequestBuilder::new(&mut head, Version::Http2, HeadLimits::default());
    builder.method("GET").ok()?.scheme("https").ok()?;
    builder.authority("edge.example").ok()?;
    builder.path("/v3/echo").ok()?;
    builder.finish(EndStream::Yes).ok()?;
    Some(head)
}

fn facts(head: &RequestHead, point: Option<Point>) -> Facts<'_> {
    Facts {
        head,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        client_source: ClientSource::TrustedHop,
        peer_trust: Trust::Trusted,
        location: Location {
            country: Country::parse("DE"),
            point,
            certainty: Certainty::Country,
            source: Source::Embedded,
            ..Location::unknown(UnknownReason::NotFound)
        },
        mcp: None,
        claims: Claims::default(),
        certificate: None,
    }
}
