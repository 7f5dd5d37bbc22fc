//! A small world for tests: policies, requests, a clock.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use meridian_geo::{Certainty, Country, Location, Point, Source, UnknownReason};
use meridian_wire::{EndStream, HeadLimits, RequestBuilder, RequestHead, Version};

use crate::affinity::SessionKey;
use crate::regions::{
    Affinity, Ask, Candidate, Choice, NoRegion, Removal, Terms, Tried, VersionIndex, select,
    select_all, terms,
};
use crate::residency::{ResidencyRefusal, classify, eligible};
use crate::state::{
    AttemptOutcome, AttemptReport, EndpointEvent, Override, OverrideAction, State, View,
};
use crate::{
    Claims, ClientSource, EdgePlace, EndpointIndex, Facts, References, RegionIndex, Snapshot,
    SourceFile, Tick, Trust,
};

/// The shipped files that decide on regions and law.
pub(crate) const SHIPPED: [(&str, &str); 5] = [
    (
        "regions.yaml",
        include_str!("../../../conf/policies/regions.yaml"),
    ),
    (
        "latency.yaml",
        include_str!("../../../conf/policies/latency.yaml"),
    ),
    (
        "traffic.yaml",
        include_str!("../../../conf/policies/traffic.yaml"),
    ),
    (
        "residency.yaml",
        include_str!("../../../conf/policies/residency.yaml"),
    ),
    (
        "routes.yaml",
        include_str!("../../../conf/policies/routes.yaml"),
    ),
];

/// Compiles; the edge stands in `us-central1`.
pub(crate) fn try_compile(files: &[(&str, &str)]) -> Result<Snapshot, Vec<String>> {
    let sources: Vec<SourceFile> = files
        .iter()
        .map(|(path, text)| SourceFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        })
        .collect();
    Snapshot::compile(
        &sources,
        &References::NONE,
        &EdgePlace {
            region: "us-central1",
        },
    )
    .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// Compiles one file; `residency: off` unless the text says otherwise.
pub(crate) fn compile(text: &str) -> Snapshot {
    let off = if text.contains("residency:") {
        ""
    } else {
        "\nresidency: off\n"
    };
    let routes = if text.contains("routes:") {
        ""
    } else {
        "\nroutes: [{ id: all, path: /* }]\n"
    };
    let text = format!("{text}{off}{routes}");
    try_compile(&[("policies.yaml", &text)])
        .unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

/// The shipped policies.
pub(crate) fn shipped() -> Snapshot {
    try_compile(&SHIPPED).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

/// A request's head.
pub(crate) fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::new();
    let mut builder = RequestBuilder::new(&mut head, Version::Http2, HeadLimits::default());
    builder.method(method).unwrap().scheme("https").unwrap();
    builder
        .authority("edge.example")
        .unwrap()
        .path(path)
        .unwrap();
    for (name, value) in fields {
        builder.field(name.as_bytes(), value.as_bytes()).unwrap();
    }
    builder.finish(EndStream::Yes).unwrap();
    head
}

/// A client of a country; an empty code is nowhere.
pub(crate) fn located(country: &str) -> Location {
    let country = Country::parse(country);
    let Some(country) = country else {
        return Location::unknown(UnknownReason::NotFound);
    };
    Location {
        country: Some(country),
        certainty: Certainty::Country,
        source: Source::Embedded,
        ..Location::unknown(UnknownReason::NotFound)
    }
}

/// A client of a country at a point of its own.
pub(crate) fn located_at(country: &str, lat: f32, lon: f32) -> Location {
    Location {
        point: Point::new(lat, lon),
        certainty: Certainty::City,
        ..located(country)
    }
}

/// Facts of a plain client.
pub(crate) fn facts(head: &RequestHead, location: Location) -> Facts<'_> {
    Facts {
        head,
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        client_source: ClientSource::Peer,
        peer_trust: Trust::Untrusted,
        location,
        mcp: None,
        claims: Claims::default(),
        certificate: None,
    }
}

/// An operator's order without a route.
pub(crate) fn order(action: OverrideAction, until: Tick) -> Override {
    Override {
        action,
        until,
        route: None,
        reason: "a test".to_owned(),
        set_unix_ms: 7,
    }
}

/// An operator's order to drain.
pub(crate) fn drain(until: Tick) -> Override {
    order(OverrideAction::Drain, until)
}

/// What came of one question to [`World`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) choice: Result<Choice, NoRegion>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) terms: Vec<Terms>,
    /// Regions that a request would have looked at.
    pub(crate) looked_at: usize,
}

/// A snapshot, its live state and a clock.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) state: State,
    pub(crate) view: View,
    pub(crate) now: Tick,
    pub(crate) draw: u64,
    pub(crate) tried: Tried,
    pub(crate) pin: Option<Affinity>,
    pub(crate) session: Option<SessionKey>,
    pub(crate) version: Option<VersionIndex>,
}

impl World {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let now = Tick(0) + Duration::from_secs(1_000);
        let state = State::new();
        let view = state.reconcile(&snapshot, now);
        Self {
            snapshot,
            state,
            view,
            now,
            draw: 1,
            tried: Tried::new(),
            pin: None,
            session: None,
            version: None,
        }
    }

    pub(crate) fn advance(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// Asks as a client of a country with a class in its header.
    pub(crate) fn ask(&self, country: &str, class: &str) -> Result<Answer, ResidencyRefusal> {
        self.ask_from(located(country), class)
    }

    pub(crate) fn ask_from(&self, from: Location, class: &str) -> Result<Answer, ResidencyRefusal> {
        let head = head("GET", "/v3/echo", &[("x-data-class", class)]);
        let facts = facts(&head, from);
        let (index, route) = self.snapshot.route(&head).expect("a route for /v3/echo");
        let permitted = eligible(
            &self.snapshot,
            route,
            &facts,
            classify(&self.snapshot, route, &facts),
        )?;
        let mut candidates = Vec::new();
        let ask = Ask {
            facts: &facts,
            permitted: &permitted,
            route: index,
            tried: &self.tried,
            affinity: self.pin,
            session: self.session,
            version: self.version,
            now: self.now,
            draw: self.session.map_or(self.draw, |key| key.0),
        };
        let choice = select_all(&self.snapshot, &self.view, &ask, &mut candidates);
        let mut enough = Vec::new();
        let by_enough = select(&self.snapshot, &self.view, &ask, &mut enough);
        assert_eq!(by_enough, choice, "as many as needed give the same choice");
        let terms_of = |candidate| terms(&self.snapshot, &permitted, &from, candidate);
        let terms = candidates.iter().map(terms_of).collect();
        Ok(Answer {
            choice,
            candidates,
            terms,
            looked_at: enough.len(),
        })
    }

    /// Id of the region that serves a client whose data may go anywhere; `-`
    /// for none.
    pub(crate) fn serves(&self, country: &str) -> &str {
        self.serves_class(country, "tier_3_operational")
    }

    /// Id of the region that serves; `-` for none, `451` for a refusal.
    pub(crate) fn serves_class(&self, country: &str, class: &str) -> &str {
        match self.ask(country, class) {
            Err(_) => "451",
            Ok(Answer { choice: Err(_), .. }) => "-",
            Ok(Answer {
                choice: Ok(choice), ..
            }) => &self.snapshot.region(choice.region()).id,
        }
    }

    /// How often each region serves over many draws.
    pub(crate) fn shares(&mut self, country: &str, draws: u64) -> Vec<(String, u64)> {
        let mut counts: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        let draw = self.draw;
        for next in 0..draws {
            self.draw = next;
            *counts.entry(self.serves(country).to_owned()).or_default() += 1;
        }
        self.draw = draw;
        counts.into_iter().collect()
    }

    pub(crate) fn removal(&self, country: &str, region: &str) -> Option<Removal> {
        let answer = self
            .ask(country, "tier_3_operational")
            .expect("public data is allowed");
        let at = self.region(region);
        answer
            .candidates
            .iter()
            .find(|candidate| candidate.region == at)?
            .removed_by
    }

    pub(crate) fn region(&self, id: &str) -> RegionIndex {
        self.snapshot.region_by_id(id).expect("a configured region")
    }

    /// An order for a region, for so many seconds.
    pub(crate) fn order(&self, region: &str, action: OverrideAction, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        self.view.order(self.region(region), order(action, until));
    }

    /// The n-th endpoint of a region.
    pub(crate) fn endpoint(&self, region: &str, nth: usize) -> EndpointIndex {
        let region = self.snapshot.region(self.region(region));
        region.endpoints().nth(nth).expect("a configured endpoint")
    }

    pub(crate) fn report(
        &self,
        endpoint: EndpointIndex,
        outcome: AttemptOutcome,
        first_byte_ms: u64,
    ) -> Option<EndpointEvent> {
        let first_byte = (first_byte_ms > 0).then(|| Duration::from_millis(first_byte_ms));
        let report = AttemptReport {
            outcome,
            connect: None,
            first_byte,
        };
        self.view
            .record(&self.snapshot, endpoint, &report, self.now)
    }

    /// Five failures in a row.
    pub(crate) fn eject(&self, endpoint: EndpointIndex) -> Option<EndpointEvent> {
        (0..5)
            .filter_map(|_| self.report(endpoint, AttemptOutcome::ConnectFailed, 0))
            .last()
    }
}
