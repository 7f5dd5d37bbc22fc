//! What the tests of this module share: a generation from a few lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_geo::{Country, Embedded, Location, Locator, Override};
use meridian_policies::identity::TokenCache;
use meridian_policies::{
    DataClass, EdgePlace, EndpointIndex, References, RegionIndex, Snapshot, SourceFile, State, Tick,
};
use meridian_waf::Ruleset;
use meridian_wire::{EndStream, HeadLimits, RequestBuilder, RequestHead, Version};

use super::{End, Outcome, Protocol, Shape, Telemetry, Transport};
use crate::edge::Generation;
use crate::server::tls::Upstreams;
use crate::settings::{AccessLog, Switch, TelemetrySettings};

pub(crate) const TWO_REGIONS: &str = r#"
regions:
  - { id: us-central1, endpoints: ["http://10.0.0.5:8443"] }
  - { id: europe-west1, endpoints: ["http://10.0.1.5:8443"] }
residency: off
routes: [{ id: everything, path: "/*" }]
"#;

pub(crate) fn generation(number: u64, policies: &str) -> Generation {
    let source = SourceFile {
        path: "policies.yaml".to_owned(),
        text: policies.to_owned(),
    };
    let env = |_: &str| None;
    let file = |_: &str| Err("no files".to_owned());
    let refs = References {
        env: &env,
        file: &file,
    };
    let place = EdgePlace {
        region: "us-central1",
    };
    let snapshot = Snapshot::compile(&[source], &refs, &place)
        .unwrap_or_else(|faults| panic!("{}", faults[0].message));
    let view = State::new().reconcile(&snapshot, Tick(0));
    let office = Override {
        country: Country::parse("DE"),
        ..Override::default()
    };
    let locator = Locator::builder()
        .embedded(Embedded::Off)
        .overrides([("203.0.113.0/24".parse().unwrap(), office)])
        .build()
        .unwrap();
    let waf = Arc::new(Ruleset::new(&[]).unwrap());
    Generation {
        number,
        snapshot,
        view,
        locator,
        tokens: TokenCache::new(),
        waf,
        upstreams: Upstreams::default(),
        loaded_unix_ms: 1_795_372_320_000,
    }
}

pub(crate) fn settings() -> TelemetrySettings {
    TelemetrySettings {
        access_log: AccessLog::Off,
        sample: Vec::new(),
        receipts: 8,
        metrics: Switch::On,
        recording: None,
        audit: None,
    }
}

pub(crate) fn telemetry() -> Telemetry {
    Telemetry::new(&settings(), "us-central1").unwrap()
}

/// A request as h2 would have brought it.
pub(crate) fn head(target: &str, fields: &[(&str, &[u8])]) -> RequestHead {
    let mut head = RequestHead::new();
    let mut builder = RequestBuilder::new(&mut head, Version::Http2, HeadLimits::default());
    builder.method("GET").unwrap();
    builder.scheme("https").unwrap();
    builder.authority("edge.example").unwrap();
    builder.path(target).unwrap();
    for (name, value) in fields {
        builder.field(name.as_bytes(), value).unwrap();
    }
    builder.finish(EndStream::Yes).unwrap();
    head
}

/// A German client, served by the second region.
pub(crate) fn outcome<'a>(generation: &'a Generation, head: &'a RequestHead) -> Outcome<'a> {
    let client: IpAddr = "203.0.113.7".parse().unwrap();
    let location: Location = generation.locator.locate(client);
    Outcome {
        generation,
        head,
        request_id: "0192f0c1-7d3a",
        trace: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        protocol: Protocol::H2,
        transport: Transport::Tls,
        client,
        peer: "127.0.0.1:50000".parse().unwrap(),
        location,
        region: Some(RegionIndex(1)),
        endpoint: Some(EndpointIndex(1)),
        status: 200,
        reject: None,
        end: End::Complete,
        shape: Shape::Message,
        bytes_in: 0,
        bytes_out: 1024,
        started_unix_ms: 1_795_372_320_042,
        duration: Duration::from_millis(12),
        upstream_first_byte: Some(Duration::from_millis(10)),
        connect: Some(Duration::from_micros(400)),
        upstream_tls: None,
        attempts: 1,
        class: DataClass::Tier3Operational,
    }
}
