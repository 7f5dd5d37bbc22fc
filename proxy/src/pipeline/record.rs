//! What is remembered of one request, and its one outcome at the end.

use std::net::IpAddr;
use std::time::Duration;

use meridian_geo::{Location, UnknownReason};
use meridian_policies::limits::Quota;
use meridian_policies::regions::{Candidate, Choice};
use meridian_policies::residency::Permitted;
use meridian_policies::{
    AttemptOutcome, ClaimsNote, DataClass, EndpointIndex, Facts, McpNote, Receipt, RegionIndex,
    RejectReason, RouteIndex, RuleFamily, ShortId, Tick, TlsFault, Verdict,
};
use meridian_wire::{Known, RequestHead, ResponseHead};

use super::admit::Findings;
use super::audit;
use super::forwarded;
use super::ids::{self, RequestId};
use super::refuse::Refusal;
use crate::edge::{Edge, Generation};
use crate::engine::exchange::Place;
use crate::engine::forward::Served;
use crate::telemetry::{End, Outcome, Shape};

/// One request's facts and figures.
pub struct Record<'a> {
    place: Place<'a>,
    generation: &'a Generation,
    receipt: Box<Receipt>,
    /// Its id.
    pub id: RequestId,
    /// When its head was complete.
    pub started: Tick,
    started_unix_ms: u64,
    client: IpAddr,
    location: Location,
    quota: Option<Quota>,
    waf_noted: bool,
    class: DataClass,
    region: Option<RegionIndex>,
    endpoint: Option<EndpointIndex>,
    /// Final status told to the client; 0: none yet.
    pub status: u16,
    reject: Option<RejectReason>,
    upstream_tls: Option<TlsFault>,
    /// Message, event stream or tunnel.
    pub shape: Shape,
    /// Attempts so far.
    pub attempts: u8,
    /// Time to connect, last attempt.
    pub connect: Option<Duration>,
    /// Time to the head of the answer, last attempt.
    pub upstream_first_byte: Option<Duration>,
}

impl<'a> Record<'a> {
    /// A request whose head is there (or will not come).
    pub fn begin(
        place: Place<'a>,
        generation: &'a Generation,
        now: Tick,
        receipt: Option<Box<Receipt>>,
    ) -> Self {
        let mut receipt = receipt.unwrap_or_default();
        receipt.reset();
        Self {
            place,
            generation,
            receipt,
            id: ids::request_id(),
            started: now,
            started_unix_ms: place.edge.clock.unix_ms_at(now),
            client: place.info.peer.ip(),
            location: Location::unknown(UnknownReason::NotFound),
            quota: None,
            waf_noted: false,
            class: DataClass::Tier3Operational,
            region: None,
            endpoint: None,
            status: 0,
            reject: None,
            upstream_tls: None,
            shape: Shape::Message,
            attempts: 0,
            connect: None,
            upstream_first_byte: None,
        }
    }

    /// Who and where the client is.
    pub fn located(&mut self, client: IpAddr, location: Location) {
        self.client = client;
        self.location = location;
    }

    /// What the admission has found so far.
    pub fn found(&mut self, facts: &Facts<'_>, route: RouteIndex, findings: &Findings) {
        self.receipt.route = Some(route);
        self.strayed(facts, findings);
    }

    /// The same, where no route matches.
    pub fn strayed(&mut self, facts: &Facts<'_>, findings: &Findings) {
        self.receipt.method = facts.head.method();
        self.receipt.claims = ClaimsNote::new(&facts.claims);
        self.receipt.token = findings.token;
        self.receipt.limit = findings.limit;
        self.quota = findings.quota;
        self.judged(facts, findings);
    }

    /// What the body and the law have added to it.
    pub fn judged(&mut self, facts: &Facts<'_>, findings: &Findings) {
        if let Some(classified) = findings.class {
            self.class = classified.class;
            self.receipt.classified = findings.class;
        }
        if let (Some((rule, _)), false) = (findings.waf, self.waf_noted) {
            self.waf_noted = true;
            self.place.edge.telemetry.waf_hit(rule.as_str());
            self.receipt.rules.add(RuleFamily::Waf, rule.as_str());
        }
        if let Some(mcp) = &facts.mcp {
            self.receipt.mcp = Some(McpNote::new(mcp));
        }
    }

    /// What is left of the client's limits.
    pub fn quota(&self) -> Option<&Quota> {
        self.quota.as_ref()
    }

    /// What the law allows.
    pub fn permitted(&mut self, permitted: &Permitted) {
        self.receipt.jurisdiction = permitted.jurisdiction();
        self.receipt.permitted = Some(*permitted);
    }

    /// Where the selection writes what it weighed.
    pub fn candidates(&mut self) -> &mut Vec<Candidate> {
        &mut self.receipt.candidates
    }

    /// One more attempt.
    pub fn attempt(&mut self, choice: &Choice, draw: u64) {
        self.attempts = self.attempts.saturating_add(1);
        self.endpoint = Some(choice.endpoint());
        self.upstream_first_byte = None;
        self.receipt.draw = draw;
        self.receipt.affinity = choice.affinity();
        self.receipt.session = choice.session();
        self.receipt.verdict = Verdict::Forward {
            region: choice.region(),
        };
    }

    /// How the last attempt went.
    pub fn attempted(&mut self, endpoint: EndpointIndex, outcome: AttemptOutcome) {
        if let AttemptOutcome::TlsFailed(fault) = outcome {
            self.upstream_tls = Some(fault);
        }
        self.receipt.attempts.add(endpoint, outcome);
    }

    /// A region gave this answer.
    pub fn answered(&mut self, head: &ResponseHead, region: RegionIndex) {
        self.status = head.status();
        self.region = Some(region);
        let events = head
            .first(Known::ContentType)
            .is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        if events {
            self.shape = Shape::EventStream;
        }
    }

    /// The edge refuses.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.reject = Some(refusal.reason);
        self.status = refusal.status;
        self.receipt.verdict = Verdict::Refuse {
            status: refusal.status,
            reason: refusal.reason,
        };
        if let (RejectReason::AccessDenied, Some(rule)) = (refusal.reason, &refusal.rule) {
            self.receipt.rules.add(RuleFamily::Access, rule);
        }
        audit::refused(self, refusal);
    }

    /// The process.
    pub(super) fn edge(&self) -> &'a Edge {
        self.place.edge
    }

    /// What it is decided with.
    pub(super) fn generation(&self) -> &'a Generation {
        self.generation
    }

    /// Who and where the client is.
    pub(super) fn place(&self) -> (IpAddr, &Location) {
        (self.client, &self.location)
    }

    /// What is remembered so far.
    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Why it was refused, if it was.
    pub fn reject(&self) -> Option<RejectReason> {
        self.reject
    }

    /// True when the edge has refused.
    pub fn is_refused(&self) -> bool {
        self.reject.is_some()
    }

    /// True when the connection can't be read on after this.
    pub fn is_malformed(&self) -> bool {
        matches!(
            self.reject,
            Some(RejectReason::Malformed | RejectReason::RequestTimeout)
        )
    }

    /// Builds the outcome and hands it to telemetry. Gives back a receipt to
    /// write over.
    pub fn finish(
        mut self,
        head: &RequestHead,
        (bytes_in, bytes_out): (u64, u64),
        served: &Served,
    ) -> Option<Box<Receipt>> {
        let edge = self.place.edge;
        let duration = edge.clock.tick().saturating_sub(self.started);
        let end = match served {
            Served::Answered(_) => End::Complete,
            Served::Broken(broken) | Served::Told(broken, _) => broken.end(),
            Served::Tunnel(tunnelled) => tunnelled.end(),
        };
        let id = self.id;
        let id = std::str::from_utf8(&id).unwrap_or_default();
        self.seal(id, duration);
        let outcome = Outcome {
            generation: self.generation,
            head,
            request_id: id,
            trace: forwarded::trace(self.place.info.trust, head).or(Some(id)),
            protocol: match self.shape {
                Shape::Tunnel => crate::telemetry::Protocol::WebSocket,
                Shape::Message | Shape::EventStream => self.place.info.protocol,
            },
            transport: self.place.info.transport,
            client: self.client,
            peer: self.place.info.peer,
            location: self.location,
            region: self.region,
            endpoint: self.endpoint,
            status: self.status,
            reject: self.reject,
            end,
            shape: self.shape,
            bytes_in,
            bytes_out,
            started_unix_ms: self.started_unix_ms,
            duration,
            upstream_first_byte: self.upstream_first_byte,
            connect: self.connect,
            upstream_tls: self.upstream_tls,
            attempts: self.attempts,
            class: self.class,
        };
        Some(edge.telemetry.finish(&outcome, self.receipt))
    }

    /// The rest of the receipt.
    fn seal(&mut self, id: &str, duration: Duration) {
        let receipt = &mut self.receipt;
        receipt.request_id = ShortId::new(id);
        receipt.generation = self.generation.number;
        receipt.at_unix_ms = self.started_unix_ms;
        receipt.client = self.client;
        receipt.location = self.location;
        receipt.status = self.status;
        receipt.duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if receipt.verdict == Verdict::Undecided && self.status > 0 {
            receipt.verdict = Verdict::Answer;
        }
    }
}
