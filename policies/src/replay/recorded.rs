//! One decision in full, as a line of JSON.

use std::net::IpAddr;

use meridian_geo::{Certainty, Country, Location, Point, Source, UnknownReason};
use meridian_wire::{Method, RequestHead, Upgrade};
use serde::{Deserialize, Serialize};

use crate::explain::names;
use crate::identity::{Bearer, TokenNote, bearer};
use crate::limits::LimitVerdict;
use crate::regions::{AffinityOutcome, Removal, Seen, complete};
use crate::residency::{DataClass, header_class};
use crate::{Era, HeaderBody, Receipt, Snapshot, Verdict, Vouched};

/// Longest line that is read: 1 MiB.
pub const RECORD_MAX: usize = 1 << 20;

/// Longest path and host that are recorded, bytes; longer ones are left out
/// and the decision is not recomputed.
const TEXT_MAX: usize = 2_048;

/// One decision and all that it depended on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The id in `x-request-id`.
    pub request_id: String,
    /// Digest of the policies it was decided with.
    pub digest: String,
    /// Their number in that process.
    pub generation: u64,
    /// When the head was complete, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The client, canonical.
    pub client: IpAddr,
    /// Where the client was.
    pub location: RecordedLocation,
    /// What was asked; `None`: its head was not understood, or is too long.
    pub request: Option<RecordedRequest>,
    /// The route.
    pub route: Option<String>,
    /// Data class.
    pub data_class: Option<DataClass>,
    /// The client's jurisdiction.
    pub jurisdiction: Option<String>,
    /// What the law allowed.
    pub permitted: Vec<String>,
    /// Every region as it was weighed for the last attempt.
    pub candidates: Vec<RecordedCandidate>,
    /// The draw of the last choice.
    #[serde(with = "text")]
    pub draw: u64,
    /// The place of its session was computed, from what `draw` then is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub session: bool,
    /// What became of the session's pin.
    pub affinity: AffinityOutcome,
    /// Whether a rate limit refused it.
    pub limited: bool,
    /// `forward`, `answer`, `refuse`, `undecided`.
    pub verdict: String,
    /// The region it went to.
    pub region: Option<String>,
    /// Whether that was outside the client's jurisdiction.
    pub crossed_border: bool,
    /// Name of the refusal.
    pub reason: Option<String>,
    /// Final status; 0: none was sent.
    pub status: u16,
}

/// Where a client was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedLocation {
    /// ISO code.
    pub country: Option<String>,
    /// Degrees.
    pub lat: Option<f32>,
    /// Degrees.
    pub lon: Option<f32>,
    /// Who said so.
    pub source: String,
    /// How certain it was.
    pub certainty: String,
}

/// What a request's head said, as far as policies read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// Method.
    pub method: String,
    /// Host and port.
    pub host: Option<String>,
    /// Path, normalised, without its query.
    pub path: String,
    /// The strictest class that `x-data-class` asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<DataClass>,
    /// An extended CONNECT for a WebSocket.
    #[serde(default, skip_serializing_if = "is_false")]
    pub websocket: bool,
    /// The connection's other end was the client itself.
    pub direct: bool,
    /// What an MCP message said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<RecordedMcp>,
    /// What a token or a trusted hop vouched for.
    #[serde(default, skip_serializing_if = "RecordedClaims::is_empty")]
    pub claims: RecordedClaims,
    /// What became of its token.
    #[serde(default, skip_serializing_if = "RecordedToken::is_missing")]
    pub token: RecordedToken,
}

/// What became of a bearer token, without the token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedToken {
    /// There was none.
    #[default]
    Missing,
    /// There was one, and nobody looked at it.
    Unread,
    /// It did not count.
    Refused,
    /// It counted.
    Verified {
        /// Id of who vouched for it.
        provider: String,
    },
}

impl RecordedToken {
    fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    fn new(snapshot: &Snapshot, receipt: &Receipt, head: &RequestHead) -> Self {
        match receipt.token {
            TokenNote::NotAsked if bearer(head) == Bearer::Missing => Self::Missing,
            TokenNote::NotAsked => Self::Unread,
            TokenNote::Missing => Self::Missing,
            TokenNote::Refused(_) => Self::Refused,
            TokenNote::Verified(index) => {
                let provider = snapshot.authentication().provider(index);
                Self::Verified {
                    provider: provider.map(|one| one.id.clone()).unwrap_or_default(),
                }
            }
        }
    }
}

/// What an MCP message said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedMcp {
    /// The era with sessions, rather than the stateless one.
    pub legacy: bool,
    /// Whether fields and body were checked against each other.
    pub verified: bool,
    /// JSON-RPC method.
    pub method: Option<String>,
    /// Tool.
    pub tool: Option<String>,
}

/// What a token or a trusted hop vouched for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedClaims {
    /// Consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Vouched>,
    /// Safeguards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safeguards: Option<Vouched>,
    /// Class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<DataClass>,
}

impl RecordedClaims {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// One region as it was weighed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedCandidate {
    /// Its id.
    pub region: String,
    /// What took it out.
    pub removed_by: Option<Removal>,
    /// Weighted sum of the terms.
    pub score: f32,
    /// What was seen of it.
    pub seen: Seen,
}

/// What is asked to be recorded beside the receipt.
#[derive(Copy, Clone)]
pub struct Asked<'a> {
    /// The parsed head.
    pub head: &'a RequestHead,
    /// The connection's other end.
    pub peer: IpAddr,
}

impl Recorded {
    /// Puts a receipt and its request together. `snapshot` must be the one it
    /// was decided with.
    pub fn new(snapshot: &Snapshot, receipt: &Receipt, asked: Asked<'_>) -> Self {
        let (region, reason) = match receipt.verdict {
            Verdict::Forward { region } => (Some(region), None),
            Verdict::Refuse { reason, .. } => (None, Some(reason.name().to_owned())),
            Verdict::Answer | Verdict::Undecided => (None, None),
        };
        let id = |at: crate::RegionIndex| Some(snapshot.regions().get(at.index())?.id.clone());
        let permitted = receipt.permitted.as_ref();
        Self {
            request_id: receipt.request_id.as_str().to_owned(),
            digest: snapshot.digest().to_owned(),
            generation: receipt.generation,
            at_unix_ms: receipt.at_unix_ms,
            client: receipt.client,
            location: RecordedLocation::new(&receipt.location),
            request: request(snapshot, receipt, asked),
            route: receipt
                .route
                .and_then(|at| Some(snapshot.routes().get(at.index())?.id.clone())),
            data_class: receipt.classified.map(|classified| classified.class),
            jurisdiction: receipt
                .jurisdiction
                .map(|at| snapshot.jurisdiction_id(at).to_owned()),
            permitted: permitted.map_or_else(Vec::new, |permitted| names(snapshot, permitted)),
            candidates: permitted
                .map_or_else(Vec::new, |permitted| {
                    let facts = (permitted, &receipt.location);
                    complete(snapshot, facts, &receipt.candidates)
                })
                .iter()
                .filter_map(|candidate| {
                    Some(RecordedCandidate {
                        region: id(candidate.region)?,
                        removed_by: candidate.removed_by,
                        score: candidate.score,
                        seen: candidate.seen,
                    })
                })
                .collect(),
            draw: receipt.draw,
            session: receipt.session.is_some(),
            affinity: receipt.affinity,
            limited: matches!(receipt.limit, Some(LimitVerdict::Refuse(_))),
            verdict: receipt.verdict.as_str().to_owned(),
            region: region.and_then(id),
            crossed_border: region
                .zip(permitted)
                .is_some_and(|(region, permitted)| permitted.crosses_border(region)),
            reason,
            status: receipt.status,
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, one sentence.
    pub fn parse(line: &str) -> Result<Self, String> {
        if line.len() > RECORD_MAX {
            return Err(format!("over {RECORD_MAX} bytes"));
        }
        serde_json::from_str(line).map_err(|error| error.to_string())
    }
}

fn request(snapshot: &Snapshot, receipt: &Receipt, asked: Asked<'_>) -> Option<RecordedRequest> {
    let head = asked.head;
    let host = Some(head.authority()).filter(|host| !host.is_empty());
    let path = head.path();
    if path.is_empty() || path.len() > TEXT_MAX || host.is_some_and(|host| host.len() > TEXT_MAX) {
        return None;
    }
    Some(RecordedRequest {
        method: head.method_str().to_owned(),
        host: host.map(str::to_owned),
        path: path.to_owned(),
        class: header_class(head),
        websocket: head.method() == Method::Connect && head.upgrade() == Upgrade::WebSocket,
        direct: receipt.client == asked.peer,
        mcp: receipt.mcp.map(|mcp| RecordedMcp {
            legacy: mcp.era == Era::Legacy,
            verified: mcp.verified == HeaderBody::Agree,
            method: mcp.method.map(|name| name.as_str().to_owned()),
            tool: mcp.tool.map(|name| name.as_str().to_owned()),
        }),
        claims: RecordedClaims {
            consent: receipt.claims.consent,
            safeguards: receipt.claims.safeguards,
            class: receipt.claims.class,
        },
        token: RecordedToken::new(snapshot, receipt, head),
    })
}

impl RecordedLocation {
    fn new(location: &Location) -> Self {
        Self {
            country: location.country.map(|country| country.as_str().to_owned()),
            lat: location.point.map(Point::lat),
            lon: location.point.map(Point::lon),
            source: location.source.as_str().to_owned(),
            certainty: location.certainty.as_str().to_owned(),
        }
    }

    /// The location; what can't be read is unknown.
    pub(super) fn read(&self) -> Location {
        let point = self
            .lat
            .zip(self.lon)
            .and_then(|(lat, lon)| Point::new(lat, lon));
        let certainty = match self.certainty.as_str() {
            "operator" => Certainty::Operator,
            "city" => Certainty::City,
            "country" => Certainty::Country,
            "disputed" => Certainty::Disputed,
            other => Certainty::Unknown(unknown(other)),
        };
        Location {
            country: self.country.as_deref().and_then(Country::parse),
            point,
            city: None,
            source: match self.source.as_str() {
                "override" => Source::Override,
                "database" => Source::Database(0),
                "embedded" => Source::Embedded,
                _ => Source::None,
            },
            certainty,
        }
    }
}

fn unknown(name: &str) -> UnknownReason {
    [
        UnknownReason::NotACountry,
        UnknownReason::Broken,
        UnknownReason::SpecialPurpose,
    ]
    .into_iter()
    .find(|reason| reason.as_str() == name)
    .unwrap_or(UnknownReason::NotFound)
}

/// Numbers over 2^53 as text: other readers of JSON would round them.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &u64, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}
