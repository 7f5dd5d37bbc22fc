//! What one decision costs: route, access, limit, classify, law, choice and
//! receipt, with the shipped policies (11 regions) and with 3, 200 and 300.
//!
//! ```text
//! cargo bench -p meridian-policies --bench decision              # all
//! cargo bench -p meridian-policies --bench decision -- ^decision # everything up to the choice
//! cargo bench -p meridian-policies --bench decision -- ^receipt  # taking it down alone
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot be set up should stop"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use meridian_geo::{Certainty, Country, Location, Point, Source, UnknownReason};
use meridian_policies::limits::{self, LimitState};
use meridian_policies::regions::{Ask, Tried, select};
use meridian_policies::residency::{classify, eligible};
use meridian_policies::{
    AttemptOutcome, AttemptReport, Claims, ClientSource, EdgePlace, EndpointIndex, Facts, Receipt,
    References, ShortId, Snapshot, SourceFile, State, Tick, Trust, Verdict, View, access,
};
use meridian_wire::{EndStream, HeadLimits, RequestBuilder, RequestHead, Version};

const SHIPPED: [(&str, &str); 9] = [
    (
        "regions.yaml",
        include_str!("../../conf/policies/regions.yaml"),
    ),
    (
        "latency.yaml",
        include_str!("../../conf/policies/latency.yaml"),
    ),
    (
        "traffic.yaml",
        include_str!("../../conf/policies/traffic.yaml"),
    ),
    (
        "residency.yaml",
        include_str!("../../conf/policies/residency.yaml"),
    ),
    (
        "routes.yaml",
        include_str!("../../conf/policies/routes.yaml"),
    ),
    (
        "access.yaml",
        include_str!("../../conf/policies/access.yaml"),
    ),
    (
        "limits.yaml",
        include_str!("../../conf/policies/limits.yaml"),
    ),
    ("geo.yaml", include_str!("../../conf/policies/geo.yaml")),
    ("waf.yaml", include_str!("../../conf/policies/waf.yaml")),
];

/// The shipped set with another number of regions: the first ones, then more
/// of them, spread over the globe.
fn policies(regions: usize) -> Snapshot {
    let mut blocks: Vec<String> = SHIPPED[0]
        .1
        .split("\n  - id: ")
        .map(str::to_owned)
        .collect();
    let mut text = blocks.remove(0);
    for at in 0..regions {
        if let Some(block) = blocks.get(at) {
            let _ = write!(text, "\n  - id: {block}");
            continue;
        }
        let (lat, lon) = (
            (at % 120).cast_signed() - 60,
            (at * 7 % 360).cast_signed() - 180,
        );
        let _ = write!(
            text,
            "\n  - {{ id: extra-{at}, location: {{ country: DE, lat: {lat}, lon: {lon} }}, \
             capacity: 1000, endpoints: ['http://extra-{at}:80'] }}",
        );
    }
    text.push('\n');
    let mut files: Vec<SourceFile> = SHIPPED
        .iter()
        .map(|(path, text)| SourceFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        })
        .collect();
    files[0].text = text;
    if regions < blocks.len() {
        // Rows of regions that are not there would be faults: by distance then.
        files[1].text.clear();
    }
    let place = EdgePlace {
        region: "us-central1",
    };
    Snapshot::compile(&files, &References::NONE, &place).unwrap_or_else(|faults| {
        panic!(
            "{}",
            faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        )
    })
}

fn head(path: &str) -> RequestHead {
    let mut head = RequestHead::new();
    let mut builder = RequestBuilder::new(&mut head, Version::Http2, HeadLimits::default());
    builder.method("GET").unwrap().scheme("https").unwrap();
    builder
        .authority("edge.example")
        .unwrap()
        .path(path)
        .unwrap();
    for (name, value) in [("accept", "application/json"), ("user-agent", "bench/1.0")] {
        builder.field(name.as_bytes(), value.as_bytes()).unwrap();
    }
    builder.finish(EndStream::Yes).unwrap();
    head
}

fn german(point: Option<Point>) -> Location {
    Location {
        country: Country::parse("DE"),
        point,
        certainty: Certainty::Country,
        source: Source::Embedded,
        ..Location::unknown(UnknownReason::NotFound)
    }
}

fn facts(head: &RequestHead, location: Location, request: u32) -> Facts<'_> {
    Facts {
        head,
        // A thousand clients, so that no limit is reached.
        client: IpAddr::V4(Ipv4Addr::from(0x5b40_0000 + request % 1_000)),
        client_source: ClientSource::TrustedHop,
        peer_trust: Trust::Trusted,
        location,
        mcp: None,
        claims: Claims::default(),
        certificate: None,
    }
}

struct Rig {
    snapshot: Snapshot,
    view: View,
    limits: LimitState,
    tried: Tried,
}

impl Rig {
    fn new(regions: usize) -> Self {
        let snapshot = policies(regions);
        let view = State::new().reconcile(&snapshot, Tick(1));
        Self {
            snapshot,
            view,
            limits: LimitState::new(262_144),
            tried: Tried::new(),
        }
    }

    /// What the proxy does before it connects, and the receipt.
    fn decide(&self, facts: &Facts<'_>, (now, draw): (Tick, u64), receipt: &mut Receipt) {
        receipt.reset();
        receipt.client = facts.client;
        receipt.location = facts.location;
        receipt.draw = draw;
        let Some((index, route)) = self.snapshot.route(facts.head) else {
            return;
        };
        receipt.route = Some(index);
        if access::check(&self.snapshot, facts).is_err() {
            return;
        }
        receipt.limit = Some(limits::check(
            &self.snapshot,
            &self.limits,
            facts,
            route,
            now,
        ));
        let classified = classify(&self.snapshot, route, facts);
        receipt.classified = Some(classified);
        let Ok(permitted) = eligible(&self.snapshot, route, facts, classified) else {
            return;
        };
        receipt.permitted = Some(permitted);
        receipt.jurisdiction = permitted.jurisdiction();
        let tried = &self.tried;
        let ask = Ask {
            facts,
            permitted: &permitted,
            route: index,
            tried,
            affinity: None,
            session: None,
            version: None,
            now,
            draw,
        };
        if let Ok(choice) = select(&self.snapshot, &self.view, &ask, &mut receipt.candidates) {
            receipt.affinity = choice.affinity();
            receipt.verdict = Verdict::Forward {
                region: choice.region(),
            };
        }
    }
}

fn decisions(criterion: &mut Criterion) {
    let head = head("/v3/echo");
    let cases = [
        ("country", german(None)),
        ("point", german(Point::new(52.5, 13.4))),
    ];
    let mut group = criterion.benchmark_group("decision");
    group
        .sample_size(50)
        .measurement_time(Duration::from_secs(3));
    for regions in [3, 11, 200, 300] {
        let rig = Rig::new(regions);
        for (name, location) in &cases {
            let mut receipt = Receipt::new();
            let mut request = 0u32;
            group.bench_function(BenchmarkId::new(*name, regions), |bencher| {
                bencher.iter(|| {
                    request = request.wrapping_add(1);
                    // 20,000 requests a second.
                    let now = Tick(u64::from(request) * 50_000);
                    let facts = facts(&head, *location, request);
                    rig.decide(black_box(&facts), (now, u64::from(request)), &mut receipt);
                    black_box(receipt.verdict)
                });
            });
        }
    }
    group.finish();
}

fn choices(criterion: &mut Criterion) {
    let head = head("/v3/echo");
    let facts = facts(&head, german(None), 0);
    let mut group = criterion.benchmark_group("select");
    group
        .sample_size(50)
        .measurement_time(Duration::from_secs(3));
    for regions in [3, 11, 200, 300] {
        let rig = Rig::new(regions);
        let (index, route) = rig.snapshot.route(&head).unwrap();
        let classified = classify(&rig.snapshot, route, &facts);
        let permitted = eligible(&rig.snapshot, route, &facts, classified).unwrap();
        let mut candidates = Vec::new();
        let mut draw = 0u64;
        group.bench_function(BenchmarkId::from_parameter(regions), |bencher| {
            bencher.iter(|| {
                draw = draw.wrapping_add(1);
                let now = Tick(draw * 50_000);
                let (tried, permitted) = (&rig.tried, &permitted);
                let ask = Ask {
                    facts: &facts,
                    permitted,
                    route: index,
                    tried,
                    affinity: None,
                    session: None,
                    version: None,
                    now,
                    draw,
                };
                select(&rig.snapshot, &rig.view, black_box(&ask), &mut candidates)
            });
        });
    }
    group.finish();
}

/// Taking a decision down in a receipt that was used before: emptied, then
/// every field of a forwarded request with one attempt and its candidates.
fn receipts(criterion: &mut Criterion) {
    let head = head("/v3/echo");
    let mut group = criterion.benchmark_group("receipt");
    group
        .sample_size(50)
        .measurement_time(Duration::from_secs(3));
    for regions in [3, 11, 200] {
        let rig = Rig::new(regions);
        let facts = facts(&head, german(None), 7);
        let mut made = Receipt::new();
        rig.decide(&facts, (Tick(50_000), 7), &mut made);
        assert!(matches!(made.verdict, Verdict::Forward { .. }));
        let mut receipt = Receipt::new();
        group.bench_function(BenchmarkId::from_parameter(regions), |bencher| {
            bencher.iter(|| {
                let made = black_box(&made);
                receipt.reset();
                receipt.request_id = ShortId::new("0123456789abcdef0123456789abcdef");
                receipt.generation = 1;
                receipt.at_unix_ms = 1_760_000_000_000;
                receipt.client = facts.client;
                receipt.location = facts.location;
                receipt.route = made.route;
                receipt.classified = made.classified;
                receipt.jurisdiction = made.jurisdiction;
                receipt.permitted = made.permitted;
                receipt.candidates.extend_from_slice(&made.candidates);
                receipt.draw = made.draw;
                receipt.limit = made.limit;
                receipt
                    .attempts
                    .add(EndpointIndex(1), AttemptOutcome::Success);
                receipt.verdict = made.verdict;
                receipt.status = 200;
                receipt.duration_us = 120;
                black_box(&mut receipt).status
            });
        });
    }
    group.finish();
}

fn outcomes(criterion: &mut Criterion) {
    let rig = Rig::new(11);
    let endpoint = EndpointIndex(1);
    let first_byte = Some(Duration::from_millis(120));
    let report = AttemptReport {
        outcome: AttemptOutcome::Success,
        connect: None,
        first_byte,
    };
    let mut request = 0u64;
    criterion.bench_function("outcome", |bencher| {
        bencher.iter(|| {
            request += 1;
            let now = Tick(request * 50_000);
            rig.view.begin(endpoint, now);
            rig.view.end(endpoint);
            rig.view
                .record(&rig.snapshot, endpoint, black_box(&report), now)
        });
    });
}

criterion_group!(benches, decisions, choices, receipts, outcomes);
criterion_main!(benches);
