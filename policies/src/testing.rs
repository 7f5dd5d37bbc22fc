//! What tests share: the shipped policy set, snapshots from text, requests.

use std::net::IpAddr;

use meridian_geo::{Certainty, Country, Location, Source, UnknownReason};
use meridian_wire::{HeadLimits, RequestHead, h1::RequestParser};

use crate::{
    Claims, ClientSource, Diagnostic, EdgePlace, Facts, References, Snapshot, SourceFile, Trust,
};

/// `conf/policies`, as shipped.
pub(crate) const SHIPPED: [(&str, &str); 10] = [
    (
        "access.yaml",
        include_str!("../../conf/policies/access.yaml"),
    ),
    ("geo.yaml", include_str!("../../conf/policies/geo.yaml")),
    (
        "latency.yaml",
        include_str!("../../conf/policies/latency.yaml"),
    ),
    (
        "limits.yaml",
        include_str!("../../conf/policies/limits.yaml"),
    ),
    (
        "prices.yaml",
        include_str!("../../conf/policies/prices.yaml"),
    ),
    (
        "regions.yaml",
        include_str!("../../conf/policies/regions.yaml"),
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
        "traffic.yaml",
        include_str!("../../conf/policies/traffic.yaml"),
    ),
    ("waf.yaml", include_str!("../../conf/policies/waf.yaml")),
];

/// Three regions and nothing else: what most tests stand on.
pub(crate) const THREE_REGIONS: &str = "
regions:
  - { id: us-central1, location: { country: US }, super_region: americas, endpoints: [\"http://10.0.0.1:80\"] }
  - { id: europe-west1, location: { country: BE }, super_region: emea, endpoints: [\"http://10.0.0.2:80\"] }
  - { id: europe-west2, location: { country: GB }, super_region: emea, endpoints: [\"http://10.0.0.3:80\"] }
";

pub(crate) fn source(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

pub(crate) fn shipped_sources() -> Vec<SourceFile> {
    SHIPPED
        .iter()
        .map(|(path, text)| source(path, text))
        .collect()
}

pub(crate) fn try_compile(sources: &[SourceFile]) -> Result<Snapshot, Vec<Diagnostic>> {
    Snapshot::compile(
        sources,
        &References::NONE,
        &EdgePlace {
            region: "us-central1",
        },
    )
}

pub(crate) fn shipped() -> Snapshot {
    compiled(&shipped_sources())
}

/// The snapshot of a set that has to be good.
pub(crate) fn compiled(sources: &[SourceFile]) -> Snapshot {
    try_compile(sources).unwrap_or_else(|faults| panic!("{}", listed(&faults)))
}

/// Three regions, residency off, and `text`.
pub(crate) fn snapshot(text: &str) -> Snapshot {
    compiled(&with_base(text))
}

/// The faults of [`snapshot`]'s set.
pub(crate) fn faults(text: &str) -> Vec<Diagnostic> {
    try_compile(&with_base(text)).err().unwrap_or_default()
}

pub(crate) fn with_base(text: &str) -> Vec<SourceFile> {
    let mut sources = vec![
        source("base.yaml", THREE_REGIONS),
        source("test.yaml", text),
    ];
    if !text.contains("plaintext_upstreams:") {
        let mesh = "plaintext_upstreams: { mesh: [10.0.0.0/8] }\n";
        sources.push(source("mesh.yaml", mesh));
    }
    if !text.contains("jurisdictions:") && !text.contains("residency:") {
        sources.push(source("off.yaml", "residency: off\n"));
    }
    sources
}

pub(crate) fn listed(faults: &[Diagnostic]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// One fault's place and message.
pub(crate) fn brief(fault: &Diagnostic) -> String {
    format!(
        "{}:{}:{} {}",
        fault.path, fault.line, fault.column, fault.message
    )
}

/// Parses `GET /path` and further field lines.
pub(crate) fn head(request: &str, fields: &[(&str, &str)]) -> RequestHead {
    let host = if fields.iter().any(|(name, _)| *name == "host") {
        ""
    } else {
        "host: edge.example\r\n"
    };
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect::<Vec<_>>()
        .concat();
    let text = format!("{request} HTTP/1.1\r\n{host}{lines}\r\n");
    let mut head = RequestHead::new();
    let parsed = RequestParser::new().parse(text.as_bytes(), &HeadLimits::default(), &mut head);
    assert_eq!(parsed, Ok(Some(text.len())), "{text}");
    head
}

/// A client in a country, or nowhere, that speaks for itself.
pub(crate) fn facts<'a>(head: &'a RequestHead, country: &str) -> Facts<'a> {
    let country = Country::parse(country);
    let certainty = match country {
        Some(_) => Certainty::Country,
        None => Certainty::Unknown(UnknownReason::NotFound),
    };
    Facts {
        head,
        client: IpAddr::from([203, 0, 113, 7]),
        client_source: ClientSource::Peer,
        peer_trust: Trust::Untrusted,
        location: Location {
            country,
            point: None,
            city: None,
            source: Source::Embedded,
            certainty,
        },
        mcp: None,
        claims: Claims::default(),
        certificate: None,
    }
}
