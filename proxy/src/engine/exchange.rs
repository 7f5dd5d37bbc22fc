//! One request from its head to its outcome, whatever the version.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use meridian_policies::{
    Facts, McpRoute, RejectReason, Route, RouteAction, RouteIndex, RouteWaf, Tick, WafMode, client,
    residency,
};
use meridian_waf::BodyInspector;
use meridian_wire::h1::{Connection as Persistence, ResponsePlan};
use meridian_wire::{Added, BodyFraming, Known, Malformed, Method, RequestHead, Version};

use super::connection::ConnectionInfo;
use super::deadlines::Deadline;
use super::downstream::side::Downstream;
use super::forward::{Forwarding, Served, forward};
use super::line::{Body, BodyError};
use super::pace::{Bounds, Pace, Wait};
use super::relay::{Broken, Meter, Waited};
use super::scratch::Scratch;
use super::tunnel::Manner;
use crate::edge::{Edge, Generation};
use crate::pipeline::admit::{self, Entry, Findings, Question};
use crate::pipeline::identify::identify;
use crate::pipeline::record::Record;
use crate::pipeline::refuse::Refusal;
use crate::pipeline::{mcp, respond};
use crate::telemetry::CloseReason;

/// Where a request arrived.
#[derive(Copy, Clone)]
pub struct Place<'a> {
    /// The process.
    pub edge: &'a Arc<Edge>,
    /// The connection.
    pub info: &'a ConnectionInfo,
    /// The connection takes no further request.
    pub last: bool,
    /// When the connection has lived long enough: what is answered after that
    /// is the last.
    pub ends: Option<Tick>,
}

impl Place<'_> {
    fn over(&self) -> bool {
        self.ends.is_some_and(|ends| self.edge.clock.tick() >= ends)
    }
}

/// How a request arrived.
#[derive(Copy, Clone, Debug)]
pub enum Arrival {
    /// With a whole head.
    Whole,
    /// With a head that is refused.
    Malformed(Malformed),
    /// Its head took too long.
    Late,
}

/// What becomes of the connection.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum After {
    /// The next request.
    Next,
    /// The end, politely.
    Close(CloseReason),
    /// The end, at once: the answer broke off.
    Cut(CloseReason),
}

/// Handles one request and records it.
pub async fn run(
    place: Place<'_>,
    down: &mut Downstream<'_>,
    (scratch, deadline): (&mut Scratch, &mut Deadline),
    arrival: Arrival,
) -> After {
    let edge = place.edge;
    let now = edge.clock.tick();
    let generation = edge.generation();
    let Scratch {
        request,
        response,
        extra,
        body,
        receipt,
    } = scratch;
    let mut record = Record::begin(place, &generation, now, receipt.take());
    let bounds = Bounds::new(&edge.settings.timeouts);
    let mut exchange = Exchange {
        place,
        generation: &generation,
        meter: Meter {
            deadline,
            pace: Pace::new(bounds, now),
            clock: &edge.clock,
            lifecycle: &edge.lifecycle,
            now,
            waited: Waited::Never,
            bytes_in: 0,
            bytes_out: 0,
            body_limit: 0,
        },
        response,
        extra,
        record: &mut record,
    };
    let served = match arrival {
        Arrival::Whole => exchange.decide(down, request, body).await,
        Arrival::Malformed(error) => {
            exchange
                .refuse(down, request, Told::to(&Refusal::malformed(error)))
                .await
        }
        Arrival::Late => {
            let detail = "the head did not arrive in time";
            let refusal = Refusal::new(RejectReason::RequestTimeout, detail);
            exchange.refuse(down, request, Told::to(&refusal)).await
        }
    };
    let (bytes_in, bytes_out) = (exchange.meter.bytes_in, exchange.meter.bytes_out);
    let after = after(place, down, &served, (arrival, record.reject()));
    match (&served, after) {
        (Served::Tunnel(_), After::Cut(_)) => down.break_off(),
        (Served::Answered(_) | Served::Told(..) | Served::Broken(_), After::Cut(_)) => down.abort(),
        (_, After::Next | After::Close(_)) => {}
    }
    *receipt = record.finish(request, (bytes_in, bytes_out), &served);
    after
}

/// What the end of an exchange means for its connection.
fn after(
    place: Place<'_>,
    down: &Downstream<'_>,
    served: &Served,
    (arrival, reject): (Arrival, Option<RejectReason>),
) -> After {
    match served {
        Served::Answered(Persistence::KeepAlive) | Served::Told(_, Persistence::KeepAlive)
            if down.body_done() =>
        {
            After::Next
        }
        Served::Answered(_) | Served::Told(..) => After::Close(match (arrival, reject) {
            (Arrival::Malformed(_), _) | (Arrival::Whole, Some(RejectReason::Malformed)) => {
                CloseReason::Malformed
            }
            (Arrival::Late, _) => CloseReason::HeadTimeout,
            (Arrival::Whole, Some(RejectReason::RequestTimeout)) => CloseReason::BodyTimeout,
            (Arrival::Whole, _) if place.edge.lifecycle.draining() => CloseReason::Drained,
            (Arrival::Whole, _) if place.last => CloseReason::RequestLimit,
            (Arrival::Whole, _) if place.over() => CloseReason::Lifetime,
            (Arrival::Whole, _) => CloseReason::Finished,
        }),
        Served::Tunnel(tunnelled) => match tunnelled.manner {
            Manner::Finished => After::Close(tunnelled.close_reason()),
            Manner::Cut => After::Cut(tunnelled.close_reason()),
        },
        Served::Broken(broken) => After::Cut(broken.close_reason()),
    }
}

/// One request while it is handled.
pub struct Exchange<'a, 'r> {
    /// Where it arrived.
    pub place: Place<'a>,
    /// What it is decided with.
    pub generation: &'a Generation,
    /// Counters and deadlines.
    pub meter: Meter<'a>,
    /// The head of the answer.
    pub response: &'a mut meridian_wire::ResponseHead,
    /// Fields that the edge adds.
    pub extra: &'a mut Added,
    /// What is remembered about it.
    pub record: &'r mut Record<'a>,
}

/// A refusal and the JSON-RPC id it answers.
#[derive(Copy, Clone)]
pub struct Told<'a> {
    refusal: &'a Refusal,
    id: Option<&'a serde_json::value::RawValue>,
}

impl<'a> Told<'a> {
    fn to(refusal: &'a Refusal) -> Self {
        Self { refusal, id: None }
    }

    /// To one that asks by JSON-RPC, if the id is known.
    pub fn answering(refusal: &'a Refusal, id: Option<&'a serde_json::value::RawValue>) -> Self {
        Self { refusal, id }
    }
}

/// How much of a body was held back.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum HeldBack {
    /// Nothing was.
    Nothing,
    /// All of it.
    Whole,
    /// The bound was reached before its end.
    Part,
}

impl<'a> Exchange<'a, '_> {
    async fn decide(
        &mut self,
        down: &mut Downstream<'_>,
        head: &RequestHead,
        body: &mut Vec<u8>,
    ) -> Served {
        let generation = self.generation;
        let mut facts = self.facts(head);
        let mut findings = Findings::default();
        if !self.place.info.covers(head.host()) {
            self.record.strayed(&facts, &findings);
            return self.refuse(down, head, Told::to(&misdirected())).await;
        }
        let Some(route) = generation.snapshot.route(head) else {
            let question = self.question((RouteIndex(u16::MAX), admit::stray()));
            let refusal = admit::enter_stray(&question, &facts, &mut findings);
            self.record.strayed(&facts, &findings);
            return self.refuse(down, head, Told::to(&refusal)).await;
        };
        self.apply(route);
        let question = self.question(route);
        let identified = identify(&question, &facts, &mut findings);
        let (identity, denied) = match identified {
            Ok(identity) => (identity, None),
            Err(refusal) => (None, Some(refusal)),
        };
        if let Some(identity) = identity.as_deref() {
            facts.claims = facts.claims.with(Some(identity));
        }
        let entry = match denied {
            Some(refusal) => Err(refusal),
            None => admit::enter(&question, &facts, &mut findings),
        };
        self.record.found(&facts, route.0, &findings);
        match entry {
            Ok(Entry::Proceed) => {
                let work = Work {
                    question: &question,
                    facts: &facts,
                    findings: &mut findings,
                };
                self.proceed(down, work, body).await
            }
            Ok(Entry::Health) => self.health(down, head).await,
            Ok(Entry::Respond(status, kind, text)) => {
                self.record.status = status;
                self.own_answer(down, head, (status, kind, text)).await
            }
            Err(refusal) => {
                // Only for the id that an MCP client waits for.
                let message = match (
                    route.1.mcp,
                    self.hold_back(down, head, (route.1, body)).await,
                ) {
                    (McpRoute::On, Ok(HeldBack::Whole)) => mcp::read(Some(body.as_slice())),
                    (McpRoute::On | McpRoute::Off, _) => mcp::Read::Unread,
                };
                self.refuse(
                    down,
                    head,
                    Told {
                        refusal: &refusal,
                        id: message.id(),
                    },
                )
                .await
            }
        }
    }

    fn question<'q>(&self, route: (RouteIndex, &'q Route)) -> Question<'q>
    where
        'a: 'q,
    {
        Question {
            edge: self.place.edge,
            generation: self.generation,
            route,
            id: self.record.id,
            now: self.record.started,
        }
    }

    /// What connection, head and geo data say.
    fn facts<'h>(&mut self, head: &'h RequestHead) -> Facts<'h>
    where
        'a: 'h,
    {
        let info = self.place.info;
        let hops = &self.place.edge.settings.trusted_hops;
        let (address, source) = client(info.peer.ip(), info.trust, hops, head);
        let location = self.generation.locator.locate(address);
        self.record.located(address, location);
        Facts {
            head,
            client: address,
            client_source: source,
            peer_trust: info.trust,
            location,
            mcp: None,
            claims: residency::vouched(&self.generation.snapshot, head, info.trust),
            certificate: info.certificate(),
        }
    }

    /// Body, law, and on to a region.
    async fn proceed(
        &mut self,
        down: &mut Downstream<'_>,
        work: Work<'_, '_>,
        body: &mut Vec<u8>,
    ) -> Served {
        let Work {
            question,
            facts,
            findings,
        } = work;
        let mut facts = *facts;
        let (head, route) = (facts.head, question.route);
        let kept = match self.hold_back(down, head, (route.1, body)).await {
            Ok(kept) => kept,
            Err(broken) => return self.broken(down, head, broken).await,
        };
        let message = match (route.1.mcp, kept) {
            (McpRoute::On, HeldBack::Whole) => mcp::read(Some(body.as_slice())),
            (McpRoute::On | McpRoute::Off, _) => mcp::Read::Unread,
        };
        let id = message.id();
        if route.1.mcp == McpRoute::On {
            match mcp::facts(head, &message) {
                Ok(read) => facts.mcp = Some(read),
                Err(mismatch) => {
                    let refusal = mismatch.refusal();
                    return self
                        .refuse(
                            down,
                            head,
                            Told {
                                refusal: &refusal,
                                id,
                            },
                        )
                        .await;
                }
            }
        }
        let decided = inspect_body(question, (head, kept), (body, &mut *findings))
            .and_then(|()| admit::permit(question, &facts, findings));
        self.record.judged(&facts, findings);
        let refusal = match decided {
            Ok(admitted) => {
                self.record.permitted(&admitted.permitted);
                let work = Forwarding {
                    admitted: &admitted,
                    route,
                    held: kept,
                    body,
                    message: id,
                };
                match forward(self, down, &work).await {
                    Ok(served) => return served,
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        self.refuse(
            down,
            head,
            Told {
                refusal: &refusal,
                id,
            },
        )
        .await
    }

    /// The route's bounds replace the process's.
    fn apply(&mut self, (_, route): (RouteIndex, &Route)) {
        let mut bounds = Bounds::new(&self.place.edge.settings.timeouts);
        bounds.first_byte = route.timeouts.first_byte.unwrap_or(bounds.first_byte);
        bounds.idle = route.timeouts.idle;
        bounds.total = route.timeouts.total.or(bounds.total);
        self.meter.pace = Pace::new(bounds, self.record.started);
        self.meter.body_limit = route.body_limit;
    }

    /// Reads the part of a body that must be seen before anything leaves.
    async fn hold_back(
        &mut self,
        down: &mut Downstream<'_>,
        head: &RequestHead,
        (route, body): (&Route, &mut Vec<u8>),
    ) -> Result<HeldBack, Broken> {
        if let BodyFraming::Length(length) = head.framing()
            && length > route.body_limit
        {
            return Err(Broken::TooLarge);
        }
        let bound = self.hold_bound(head, route);
        if bound == 0 || down.body_done() {
            return Ok(HeldBack::Nothing);
        }
        let meter = &mut self.meter;
        poll_fn(|cx| {
            loop {
                if body.len() >= bound {
                    return Poll::Ready(Ok(HeldBack::Part));
                }
                match down.poll_body(cx) {
                    Poll::Ready(Ok(Body::Data)) => {
                        let data = down.data();
                        let count = data.len();
                        body.extend_from_slice(data);
                        down.consume(count);
                        meter.count_in(count)?;
                    }
                    Poll::Ready(Ok(Body::End)) => return Poll::Ready(Ok(HeldBack::Whole)),
                    Poll::Ready(Err(BodyError::Gone)) => {
                        return Poll::Ready(Err(Broken::ClientGone));
                    }
                    Poll::Ready(Err(BodyError::Malformed(error))) => {
                        return Poll::Ready(Err(Broken::ClientMalformed(error)));
                    }
                    Poll::Pending => {
                        meter.check(cx)?;
                        meter.waits(Wait::Client);
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// How much of the body is seen before it is decided: for MCP, where the
    /// message says what is called, and where bodies are inspected.
    fn hold_bound(&self, head: &RequestHead, route: &Route) -> usize {
        if !matches!(route.action, RouteAction::Forward)
            || head.framing() == BodyFraming::None && head.version() != Version::Http2
            || head.is_extended_connect()
        {
            return 0;
        }
        let snapshot = &self.generation.snapshot;
        let process = self.place.edge.settings.limits.buffered_body;
        let peek = match route.mcp {
            McpRoute::On if head.method() == Method::Post => snapshot.mcp().body_peek,
            McpRoute::On | McpRoute::Off => 0,
        };
        let inspected = match (route.waf, snapshot.waf().mode) {
            (RouteWaf::On, WafMode::Detect | WafMode::Block)
                if !BodyInspector::new(head.first(Known::ContentType)).is_decided() =>
            {
                meridian_waf::BODY_PREFIX
            }
            (RouteWaf::On | RouteWaf::Off, _) => 0,
        };
        usize::try_from(peek)
            .unwrap_or(usize::MAX)
            .max(inspected)
            .min(process)
    }

    async fn health(&mut self, down: &mut Downstream<'_>, head: &RequestHead) -> Served {
        let ready = self.place.edge.lifecycle.ready();
        let status = if ready { 200 } else { 503 };
        let text = if ready {
            r#"{"status":"ok"}"#
        } else {
            r#"{"status":"draining"}"#
        };
        self.record.status = status;
        self.own_answer(down, head, (status, "application/json", text))
            .await
    }

    /// An answer of the edge that is no refusal.
    async fn own_answer(
        &mut self,
        down: &mut Downstream<'_>,
        head: &RequestHead,
        (status, kind, text): (u16, &str, &str),
    ) -> Served {
        self.begin_fields();
        respond::own(self.response, self.extra, status, kind);
        self.send(down, head, text.as_bytes()).await
    }

    /// Begins the fields that the edge adds with those of every answer.
    pub fn begin_fields(&mut self) {
        self.extra.clear();
        respond::common(
            self.extra,
            &self.record.id,
            self.record.quota(),
            self.generation,
        );
        respond::alternative(self.extra, self.place.info);
    }

    /// A refusal, told as the client understands it.
    pub async fn refuse(
        &mut self,
        down: &mut Downstream<'_>,
        head: &RequestHead,
        told: Told<'_>,
    ) -> Served {
        self.record.refused(told.refusal);
        let id = std::str::from_utf8(&self.record.id).unwrap_or_default();
        let body = told.refusal.body(id, told.id);
        self.begin_fields();
        respond::refusal(self.response, self.extra, told.refusal, &body);
        self.send(down, head, body.text.as_bytes()).await
    }

    /// The exchange broke before an answer began: tell the client, if it is
    /// still there.
    pub async fn broken(
        &mut self,
        down: &mut Downstream<'_>,
        head: &RequestHead,
        broken: Broken,
    ) -> Served {
        match broken.refusal() {
            Some(refusal) => self.refuse(down, head, Told::to(&refusal)).await,
            None => Served::Broken(broken),
        }
    }

    /// Sends a complete answer.
    async fn send(&mut self, down: &mut Downstream<'_>, head: &RequestHead, body: &[u8]) -> Served {
        let silent = head.method() == Method::Head || matches!(self.record.status, 204 | 304);
        respond::from_edge(self.extra, body.len(), silent);
        let persistence = self.persistence(down, head);
        let framing = if silent {
            BodyFraming::None
        } else {
            BodyFraming::Length(body.len() as u64)
        };
        let (to, drop) = (head.version(), meridian_wire::KnownSet::EMPTY);
        let response = &*self.response;
        let plan = ResponsePlan {
            to,
            drop,
            append: self.extra,
            framing,
            connection: persistence,
        };
        down.respond(response, &plan);
        let body = if silent { &[] } else { body };
        self.meter.bytes_out += body.len() as u64;
        if down.send(body).is_err() || down.finish(None).is_err() {
            return Served::Broken(Broken::Upstream);
        }
        let meter = &mut self.meter;
        let flushed = poll_fn(|cx| {
            if let Poll::Ready(flushed) = down.poll_flush(cx) {
                return Poll::Ready(flushed.map_err(|_| Broken::ClientGone));
            }
            meter.check(cx)?;
            meter.waits(Wait::ClientWrite);
            Poll::Pending
        })
        .await;
        match flushed {
            Ok(()) => Served::Answered(persistence),
            Err(broken) => Served::Broken(broken),
        }
    }

    /// Whether the connection lives on after this answer.
    pub fn persistence(&self, down: &Downstream<'_>, head: &RequestHead) -> Persistence {
        let refused_upload = self.record.is_refused() && !down.body_done();
        let unreadable = self.record.is_malformed();
        let ending = self.place.last || self.place.over() || self.place.edge.lifecycle.draining();
        if refused_upload || unreadable || ending || !head.keep_alive() {
            Persistence::Close
        } else {
            Persistence::KeepAlive
        }
    }
}

/// The host asks more, or something else, of a client's certificate than the
/// one that the connection was opened for.
#[cold]
fn misdirected() -> Refusal {
    let detail = "open a connection of its own for this host: it has rules of its own about \
                  client certificates";
    Refusal::new(RejectReason::Misdirected, detail)
}

/// A request that its head has let in.
struct Work<'q, 'a> {
    question: &'q Question<'q>,
    facts: &'q Facts<'a>,
    findings: &'q mut Findings,
}

/// Looks at the part of the body that was held back.
fn inspect_body(
    question: &Question<'_>,
    (head, kept): (&RequestHead, HeldBack),
    (body, findings): (&[u8], &mut Findings),
) -> Result<(), Box<Refusal>> {
    if kept == HeldBack::Nothing {
        return Ok(());
    }
    match admit::mode(question) {
        WafMode::Off => Ok(()),
        mode @ (WafMode::Detect | WafMode::Block) => {
            let kind = head.first(Known::ContentType);
            let verdict = meridian_waf::inspect_body(&question.generation.waf, kind, body);
            admit::judge(mode, verdict, findings)
        }
    }
}
