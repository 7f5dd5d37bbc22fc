//! To a region and back: choose, connect, send, and try again where nothing
//! can have happened twice.

use std::future::poll_fn;
use std::io;

use meridian_policies::affinity::SessionAffinity;
use meridian_policies::regions::{self, Affinity, Ask, Choice, Tried, endpoint_tag};
use meridian_policies::retry::{self, Failure, RetryAsk, Sent};
use meridian_policies::{
    AttemptOutcome, AttemptReport, EndpointIndex, RejectReason, Route, RouteIndex, Tick, View,
    WebSocket, WebSocketBounds,
};
use meridian_wire::h1::{Connection as Persistence, RequestPlan, ResponsePlan, write_request};
use meridian_wire::{BodyFraming, Known, Malformed, Upgrade, section_fits};
use serde_json::value::RawValue;

use super::buffers::Outbox;
use super::downstream::side::Downstream;
use super::exchange::{Exchange, HeldBack, Told};
use super::last_word;
use super::pace::Late;
use super::relay::{Broken, Meter, Relay, Replayable, Upload};
use super::tunnel::{Manner, Tunnel, Tunnelled, handshake};
use super::upstream::connect::{Unconnected, connect};
use super::upstream::h1::Upstream;
use super::upstream::pool;
use crate::pipeline::admit::Admitted;
use crate::pipeline::refuse::Refusal;
use crate::pipeline::{audit, events, forwarded, ids, respond};
use crate::server::tls::Secured;
use crate::telemetry::{ConnectResult, Protocol, RetryReason, Shape};

/// Interim answers (1xx) to one request. They are gathered for the client, so
/// that their number bounds memory; past it the backend is broken.
const INTERIM_MAX: u32 = 32;

/// How serving a request ended.
#[derive(Debug)]
pub enum Served {
    /// With a whole answer; the connection may live on.
    Answered(Persistence),
    /// With an answer that broke, and an error as its last event.
    Told(Broken, Persistence),
    /// With a tunnel that has ended.
    Tunnel(Tunnelled),
    /// It broke, and nothing more can be said to the client.
    Broken(Broken),
}

/// What is forwarded.
pub struct Forwarding<'a> {
    /// The decision so far.
    pub admitted: &'a Admitted<'a>,
    /// The route.
    pub route: (RouteIndex, &'a Route),
    /// How much of the body is in `body`.
    pub held: HeldBack,
    /// The part of the body that was held back.
    pub body: &'a [u8],
    /// The id of the JSON-RPC request that it is.
    pub message: Option<&'a RawValue>,
}

/// Counts the exchange at its endpoint for as long as it lives.
struct Flight<'a> {
    view: &'a View,
    endpoint: EndpointIndex,
}

impl<'a> Flight<'a> {
    fn begin(view: &'a View, endpoint: EndpointIndex, now: Tick) -> Self {
        view.begin(endpoint, now);
        Self { view, endpoint }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.view.end(self.endpoint);
    }
}

/// One attempt that gave no answer.
struct Failed {
    failure: Failure,
    outcome: AttemptOutcome,
    broken: Option<Broken>,
    /// The request, when it can be written again.
    replay: Option<Replay>,
    sent: Sent,
}

/// A request that was written once: its framed body goes out again, its head
/// is made anew for the next region.
struct Replay {
    outbox: Outbox,
    head: usize,
}

/// What an attempt gave.
enum Attempt {
    /// The final head is in `response`.
    Answered(Box<Upstream>, Upload, usize),
    /// No answer.
    Failed(Box<Failed>),
    /// The exchange is over for another reason than the endpoint.
    Over(Broken),
}

/// Forwards until there is an answer, or no more reason to try.
pub async fn forward(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    work: &Forwarding<'_>,
) -> Result<Served, Box<Refusal>> {
    let generation = x.generation;
    let edge = x.place.edge;
    let mut tried = Tried::default();
    let mut replay = None;
    let mut last = None;
    let mut audited = None;
    edge.budget.note_request(x.record.started);
    loop {
        let now = x.meter.now;
        let (choice, draw) = match choose(x, work, &tried) {
            Ok(chosen) => chosen,
            Err(none) => return Err(last.unwrap_or(none)),
        };
        if audited != Some(choice.region())
            && let Some(crossing) = audit::crossing((edge, generation), work, choice)
        {
            Box::pin(crossing.recorded()).await?;
            audited = Some(choice.region());
        }
        let flight = Flight::begin(&generation.view, choice.endpoint(), now);
        x.record.attempt(&choice, draw);
        let failed = match attempt(x, down, (work, &choice), (replay.take(), draw)).await {
            Attempt::Answered(upstream, upload, head) => {
                let answered = Answered {
                    upstream,
                    upload,
                    head,
                    choice,
                    flight,
                };
                match answer(x, down, work, answered).await {
                    Ok(served) => return Ok(served),
                    Err(failed) => failed,
                }
            }
            Attempt::Over(broken) => {
                report(x, choice, AttemptOutcome::ClientGone);
                return match broken.refusal() {
                    Some(refusal) => Err(Box::new(refusal)),
                    None => Ok(Served::Broken(broken)),
                };
            }
            Attempt::Failed(failed) => failed,
        };
        if let Some(Broken::Untrusted(fault)) = failed.broken {
            edge.telemetry
                .upstream_connect(generation, choice.region(), fault.into());
        }
        x.meter.now = edge.clock.tick();
        report(x, choice, failed.outcome);
        // A kept connection that had gone stale says nothing about its endpoint.
        if failed.failure != Failure::ReusedConnectionClosed {
            tried.add(choice.endpoint());
        }
        replay = failed.replay;
        let again = again(x, work, failed.failure, (failed.sent, replay.is_some()));
        let refusal = Box::new(gave_up(failed.failure, (failed.outcome, failed.broken)));
        if !again {
            return Err(refusal);
        }
        last = Some(refusal);
        edge.telemetry
            .retry(generation, choice.region(), reason(failed.failure));
    }
}

/// The endpoint of the next attempt, and the draw that it was chosen with.
fn choose(
    x: &mut Exchange<'_, '_>,
    work: &Forwarding<'_>,
    tried: &Tried,
) -> Result<(Choice, u64), Box<Refusal>> {
    let session = work.admitted.place.key;
    // A session draws alike, so that it stays where it is.
    let draw = session.map_or_else(ids::draw, |key| key.0);
    let ask = Ask {
        facts: work.admitted.facts,
        permitted: &work.admitted.permitted,
        route: work.route.0,
        tried,
        affinity: work.admitted.affinity,
        session,
        version: work.admitted.version,
        now: x.meter.now,
        draw,
    };
    let (snapshot, view) = (&x.generation.snapshot, &x.generation.view);
    let chosen = regions::select(snapshot, view, &ask, x.record.candidates());
    chosen.map(|choice| (choice, draw)).map_err(|no| {
        let mut refusal = Refusal::new(no.reason(), no.detail());
        refusal.retry_after = no.retry_after();
        Box::new(refusal)
    })
}

/// Whether the same request goes out once more.
fn again(
    x: &Exchange<'_, '_>,
    work: &Forwarding<'_>,
    failure: Failure,
    (sent, replayable): (Sent, bool),
) -> bool {
    let kept = sent == Sent::Nothing || replayable;
    let ask = RetryAsk {
        route: work.route.1,
        facts: work.admitted.facts,
        failure,
        sent,
        replayable: if kept {
            retry::Replayable::Yes
        } else {
            retry::Replayable::No
        },
        attempts: x.record.attempts,
    };
    let edge = x.place.edge;
    let verdict = retry::verdict(
        &x.generation.snapshot,
        &ask,
        &edge.budget,
        edge.clock.tick(),
    );
    match verdict {
        retry::Verdict::Retry => true,
        retry::Verdict::GiveUp(_) => false,
    }
}

fn gave_up(failure: Failure, (outcome, broken): (AttemptOutcome, Option<Broken>)) -> Refusal {
    if let AttemptOutcome::TlsFailed(fault) = outcome {
        return Refusal::tls(fault);
    }
    if let Some(refusal) = broken.and_then(|broken| broken.refusal()) {
        return refusal;
    }
    match failure {
        Failure::Connect => Refusal::new(
            RejectReason::UpstreamRefused,
            "no connection to the backend came about",
        ),
        Failure::FirstByteTimeout => Refusal::new(
            RejectReason::UpstreamTimeout,
            "the backend did not begin its answer in time",
        ),
        Failure::ReusedConnectionClosed | Failure::Reset | Failure::Status(_) => Refusal::new(
            RejectReason::UpstreamBroken,
            "the backend closed before its answer was whole",
        ),
    }
}

fn reason(failure: Failure) -> RetryReason {
    match failure {
        Failure::Connect => RetryReason::Connect,
        Failure::ReusedConnectionClosed => RetryReason::Stale,
        Failure::Reset => RetryReason::Reset,
        Failure::Status(_) => RetryReason::Status,
        Failure::FirstByteTimeout => RetryReason::FirstByteTimeout,
    }
}

/// Tells the endpoint's state what became of an attempt.
fn report(x: &mut Exchange<'_, '_>, choice: Choice, outcome: AttemptOutcome) {
    x.record.attempted(choice.endpoint(), outcome);
    let report = AttemptReport {
        outcome,
        connect: x.record.connect,
        first_byte: x.record.upstream_first_byte,
    };
    let (generation, edge) = (x.generation, x.place.edge);
    let event = generation.view.record(
        &generation.snapshot,
        choice.endpoint(),
        &report,
        x.meter.now,
    );
    if let Some(event) = event {
        events::endpoint(edge, generation, &event);
    }
}

/// A connection to the chosen endpoint: a kept one, or a new one.
async fn connection(
    x: &mut Exchange<'_, '_>,
    choice: &Choice,
    (draw, now): (u64, Tick),
) -> Result<Box<Upstream>, Unconnected> {
    let Some(peer) = x.generation.snapshot.peer(choice) else {
        return Err(Unconnected::Socket(io::ErrorKind::InvalidInput.into()));
    };
    let endpoint = peer.endpoint();
    let secured = x.generation.upstreams.secured(choice.endpoint());
    let tag = endpoint_tag(endpoint);
    let edge = x.place.edge;
    x.record.connect = None;
    if let Some(upstream) = pool::take((tag, secured.map_or(0, Secured::print)), now) {
        return Ok(upstream);
    }
    let bound = edge.settings.timeouts.connect;
    let connected = Box::pin(connect(endpoint, secured, (draw, bound))).await;
    let result = match &connected {
        Ok(_) => ConnectResult::Connected,
        Err(error) => connect_result(error),
    };
    edge.telemetry
        .upstream_connect(x.generation, choice.region(), result);
    let connected = connected?;
    x.meter.now = edge.clock.tick();
    x.record.connect = Some(x.meter.now.saturating_sub(now));
    Ok(Upstream::new(connected, tag))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the standard library's list grows"
)]
fn connect_result(error: &Unconnected) -> ConnectResult {
    let error = match error {
        Unconnected::Socket(error) => error,
        Unconnected::Tls(fault) => return (*fault).into(),
    };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectResult::Refused,
        io::ErrorKind::TimedOut => ConnectResult::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NotFound => ConnectResult::Unreachable,
        _ if error.raw_os_error() == Some(24) => ConnectResult::Exhausted,
        _ => ConnectResult::Failed,
    }
}

/// Sends the request to one endpoint and waits for the final head.
async fn attempt(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    (work, choice): (&Forwarding<'_>, &Choice),
    (replay, draw): (Option<Replay>, u64),
) -> Attempt {
    let mut upstream = match connection(x, choice, (draw, x.meter.now)).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let outcome = match error {
                Unconnected::Tls(fault) => AttemptOutcome::TlsFailed(fault),
                Unconnected::Socket(error) if error.kind() == io::ErrorKind::TimedOut => {
                    AttemptOutcome::TimedOut
                }
                Unconnected::Socket(_) => AttemptOutcome::ConnectFailed,
            };
            let sent = if replay.is_some() {
                Sent::HeadOrBody
            } else {
                Sent::Nothing
            };
            return Attempt::Failed(Box::new(Failed {
                failure: Failure::Connect,
                outcome,
                broken: None,
                replay,
                sent,
            }));
        }
    };
    let head = write_head(x, (work, choice), &mut upstream);
    let upload = match replay {
        Some(replay) => {
            let body = replay.outbox.all().get(replay.head..).unwrap_or_default();
            upstream.line.outbox.space().extend_from_slice(body);
            Upload::Gathered
        }
        None => match write_body(down, &mut upstream, work) {
            Ok(upload) => upload,
            Err(error) => return Attempt::Over(Broken::ClientMalformed(error)),
        },
    };
    wait_for_head(x, down, (work, upstream), (upload, head)).await
}

/// Writes the request's head anew from the parsed one; its length.
fn write_head(
    x: &mut Exchange<'_, '_>,
    (work, choice): (&Forwarding<'_>, &Choice),
    upstream: &mut Upstream,
) -> usize {
    let head = work.admitted.facts.head;
    x.extra.clear();
    let snapshot = &x.generation.snapshot;
    forwarded::add(x.extra, x.place.info, (snapshot, choice), work.admitted);
    let framing = match (work.held, head.framing()) {
        (HeldBack::Whole, _) => BodyFraming::Length(work.body.len() as u64),
        (_, BodyFraming::UntilClose) => BodyFraming::None,
        (_, framing) => framing,
    };
    let mut drop = forwarded::dropped(x.place.info.trust);
    // A token that was read here and is for nobody else.
    if work.admitted.facts.claims.identity.is_some() && !snapshot.authentication().forwards() {
        drop = drop.with(Known::Authorization);
    }
    if SessionAffinity::has_own_cookie(&work.admitted.place) {
        drop = drop.with(Known::Cookie);
        let others = |text: &mut Vec<u8>| snapshot.affinity().other_cookies(head, text);
        x.extra.add_if("cookie", others);
    }
    if head.is_extended_connect() {
        drop = drop.with(Known::SecWebSocketKey);
        let key = handshake::key(&work.admitted.id);
        x.extra.push("sec-websocket-key", &key);
    }
    let plan = RequestPlan {
        drop,
        append: x.extra,
        framing,
        upgrade: upgrade(work),
    };
    write_request(head, &plan, upstream.line.outbox.space());
    upstream.line.begin_body(framing);
    upstream.line.outbox.len()
}

/// On a route without WebSocket the wish to upgrade ends at the edge.
fn upgrade(work: &Forwarding<'_>) -> Upgrade {
    match work.route.1.websocket {
        WebSocket::On(_) => work.admitted.facts.head.upgrade(),
        WebSocket::Off => Upgrade::None,
    }
}

/// Writes what is there of the body.
fn write_body(
    down: &Downstream<'_>,
    upstream: &mut Upstream,
    work: &Forwarding<'_>,
) -> Result<Upload, Malformed> {
    if !work.body.is_empty() {
        upstream.line.send(work.body)?;
    }
    let upgraded = upgrade(work) == Upgrade::WebSocket;
    if work.held == HeldBack::Whole || upgraded || down.body_done() {
        upstream.line.finish(None)?;
        return Ok(Upload::Gathered);
    }
    Ok(Upload::Open)
}

/// Waits for the final head; interim ones are passed on.
async fn wait_for_head(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    (work, mut upstream): (&Forwarding<'_>, Box<Upstream>),
    (upload, written): (Upload, usize),
) -> Attempt {
    let head = work.admitted.facts.head;
    let limits = &x.place.edge.settings.limits.head;
    let clock = &x.place.edge.clock;
    let began = x.meter.now;
    let response = &mut *x.response;
    let mut relay = Relay::new(down, &mut upstream, upload, &mut x.meter);
    let mut interim = 0;
    let broken = loop {
        match poll_fn(|cx| relay.poll_head(cx, limits, head, response)).await {
            Ok(()) => match response.status() {
                101 if upgrade(work) == Upgrade::WebSocket => {
                    let fits = handshake::fits(head, &work.admitted.id, response);
                    break (!fits).then_some(Broken::WrongAccept);
                }
                101 => break Some(Broken::UnaskedUpgrade),
                100..=199 if interim == INTERIM_MAX => break Some(Broken::Upstream),
                100 => interim += 1,
                102..=199 => {
                    interim += 1;
                    relay.down.inform(response, head);
                }
                200..=299 if head.is_extended_connect() => break Some(Broken::NotSwitched),
                _ => break None,
            },
            Err(broken) => break Some(broken),
        }
    };
    let (upload, replayable) = (relay.upload, relay.replayable);
    match broken {
        None => {
            if upload == Upload::Sent && replayable == Replayable::Lost {
                // Only the end of the request: nothing to send again.
                upstream.line.outbox.clear();
            }
            x.meter.now = clock.tick();
            x.record.upstream_first_byte = Some(x.meter.now.saturating_sub(began));
            Attempt::Answered(upstream, upload, written)
        }
        Some(broken) => failed(upstream, broken, (upload, replayable, written)),
    }
}

/// Sorts out whose fault it was.
fn failed(
    mut upstream: Box<Upstream>,
    broken: Broken,
    (upload, replayable, head): (Upload, Replayable, usize),
) -> Attempt {
    let (failure, outcome) = match &broken {
        // Of the last two the client may be the cause: they say nothing about
        // the endpoint's health.
        Broken::ClientGone
        | Broken::ClientMalformed(_)
        | Broken::TooLarge
        | Broken::Drained
        | Broken::WrongAccept
        | Broken::NotSwitched
        | Broken::Late(Late::BodyRate | Late::ClientWrite | Late::Total) => {
            return Attempt::Over(broken);
        }
        Broken::Closed if upstream.reused => {
            (Failure::ReusedConnectionClosed, AttemptOutcome::ClientGone)
        }
        Broken::Closed
        | Broken::Upstream
        | Broken::UpstreamMalformed(_)
        | Broken::UnaskedUpgrade => (Failure::Reset, AttemptOutcome::Reset),
        Broken::Untrusted(fault) => (Failure::Connect, AttemptOutcome::TlsFailed(*fault)),
        Broken::Late(Late::FirstByte | Late::UpstreamWrite | Late::Idle) => {
            (Failure::FirstByteTimeout, AttemptOutcome::TimedOut)
        }
    };
    let whole = upload != Upload::Open && replayable == Replayable::Whole;
    let replay = whole.then(|| Replay {
        outbox: std::mem::take(&mut upstream.line.outbox),
        head,
    });
    Attempt::Failed(Box::new(Failed {
        failure,
        outcome,
        broken: Some(broken),
        replay,
        sent: Sent::HeadOrBody,
    }))
}

/// An endpoint's answer, its head in `response`.
struct Answered<'a> {
    upstream: Box<Upstream>,
    upload: Upload,
    head: usize,
    choice: Choice,
    flight: Flight<'a>,
}

/// Passes an answer on. An answer whose status asks for another endpoint
/// comes back as a failure while nothing of it was passed on.
async fn answer(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    work: &Forwarding<'_>,
    mut answered: Answered<'_>,
) -> Result<Served, Box<Failed>> {
    let status = x.response.status();
    if status >= 500 {
        answered = retry_status(x, work, answered, status)?;
    }
    let outcome = if status >= 500 {
        AttemptOutcome::ServerError(status)
    } else {
        AttemptOutcome::Success
    };
    report(x, answered.choice, outcome);
    x.record.answered(x.response, answered.choice.region());
    let Ok(persistence) = begin_answer(x, down, work, &mut answered) else {
        let detail = "the answer's fields are more than the client takes";
        let refusal = Refusal::new(RejectReason::UpstreamBroken, detail).by("head-too-large");
        let told = Told::answering(&refusal, work.message);
        let head = work.admitted.facts.head;
        return Ok(Box::pin(x.refuse(down, head, told)).await);
    };
    if persistence == Persistence::Upgrade {
        return Ok(tunnel(x, down, (work, answered)).await);
    }
    let Answered {
        mut upstream,
        upload,
        choice,
        flight,
        ..
    } = answered;
    let events = last_word::watch(x, work);
    let mut relay = Relay::new(down, &mut upstream, upload, &mut x.meter);
    relay.events = events;
    let relayed = poll_fn(|cx| relay.poll_answer(cx)).await;
    let sent = relay.upload == Upload::Sent;
    let events = relay.events.take();
    let served = match relayed {
        Ok(()) => {
            if sent {
                let idle = x.place.edge.settings.timeouts.upstream_idle;
                pool::give(upstream, x.meter.now + idle);
            }
            Served::Answered(persistence)
        }
        Err(broken) => {
            if matches!(broken, Broken::Upstream | Broken::UpstreamMalformed(_)) {
                report(x, choice, AttemptOutcome::Reset);
            }
            match events {
                Some(events) => {
                    let about = (work, choice, persistence);
                    Box::pin(last_word::say(x, down, about, (events, broken))).await
                }
                None => Served::Broken(broken),
            }
        }
    };
    drop(flight);
    Ok(served)
}

/// A 5xx may be tried elsewhere, if nothing irreversible can have happened.
fn retry_status<'a>(
    x: &Exchange<'_, '_>,
    work: &Forwarding<'_>,
    mut answered: Answered<'a>,
    status: u16,
) -> Result<Answered<'a>, Box<Failed>> {
    let whole = answered.upload == Upload::Sent && !answered.upstream.line.outbox.all().is_empty();
    let failure = Failure::Status(status);
    if !whole || !again(x, work, failure, (Sent::HeadOrBody, true)) {
        return Ok(answered);
    }
    Err(Box::new(Failed {
        failure,
        outcome: AttemptOutcome::ServerError(status),
        broken: None,
        replay: Some(Replay {
            outbox: std::mem::take(&mut answered.upstream.line.outbox),
            head: answered.head,
        }),
        sent: Sent::HeadOrBody,
    }))
}

/// The client has said that it takes no head of this size.
struct HeadTooLarge;

/// Writes the head of the answer.
fn begin_answer(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    work: &Forwarding<'_>,
    answered: &mut Answered<'_>,
) -> Result<Persistence, HeadTooLarge> {
    let head = work.admitted.facts.head;
    let upstream = &mut answered.upstream;
    match answered.upload {
        // What still waits there is the request's.
        Upload::Open | Upload::Gathered => {}
        Upload::Sent | Upload::Refused => upstream.line.outbox.clear(),
    }
    upstream.expect_body(x.response);
    x.begin_fields();
    let snapshot = &x.generation.snapshot;
    let session = x
        .response
        .first(Known::McpSessionId)
        .map(|id| (upstream.tag, id));
    respond::from_region(
        x.extra,
        &snapshot.region(answered.choice.region()).id,
        session,
    );
    let sealed = session.is_some();
    if snapshot.affinity().uses_cookies() {
        place_cookie(x, work.admitted, upstream.tag);
    }
    let framing = match x.response.framing() {
        BodyFraming::Chunked | BodyFraming::UntilClose => down.stream_framing(head),
        framing @ (BodyFraming::None | BodyFraming::Length(_)) => framing,
    };
    let persistence = if x.response.status() == 101 {
        Persistence::Upgrade
    } else if framing == BodyFraming::UntilClose {
        Persistence::Close
    } else {
        x.persistence(down, head)
    };
    let mut drop = if sealed {
        respond::DROPPED_WITH_SESSION
    } else {
        respond::DROPPED
    };
    if head.is_extended_connect() {
        // It answers a key that the client does not know.
        drop = drop.with(Known::SecWebSocketAccept);
    }
    let to = head.version();
    let response = &*x.response;
    let plan = ResponsePlan {
        to,
        drop,
        append: x.extra,
        framing,
        connection: persistence,
    };
    if let Some(most) = down.head_max()
        && !section_fits(response, &plan, most)
    {
        return Err(HeadTooLarge);
    }
    down.respond(response, &plan);
    Ok(persistence)
}

/// Tells the client where its session is, unless it knows.
fn place_cookie(x: &mut Exchange<'_, '_>, admitted: &Admitted<'_>, tag: u64) {
    let edge = x.place.edge;
    edge.telemetry.cookie(admitted.place.cookie);
    let now_s = edge.clock.unix_ms_at(x.meter.now) / 1_000;
    let secure = forwarded::secure(x.place.info, admitted.facts.head);
    let affinity = x.generation.snapshot.affinity();
    x.extra.add_if("set-cookie", |text| {
        affinity.set_cookie(&admitted.place, (Affinity(tag), now_s, secure), text)
    });
}

/// Both sides agreed to speak something else from here on.
async fn tunnel(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    (work, mut answered): (&Forwarding<'_>, Answered<'_>),
) -> Served {
    x.record.shape = Shape::Tunnel;
    let edge = x.place.edge;
    let _open = match down {
        Downstream::H1(connection) => {
            connection.open.becomes(Protocol::WebSocket);
            None
        }
        Downstream::H2(_) | Downstream::H3(_) => {
            x.record.status = 200;
            Some(edge.telemetry.connection(Protocol::WebSocket))
        }
    };
    let bounds = match work.route.1.websocket {
        WebSocket::On(bounds) => bounds,
        WebSocket::Off => WebSocketBounds::default(),
    };
    let Meter {
        deadline,
        bytes_in,
        bytes_out,
        ..
    } = &mut x.meter;
    let mut tunnel = Tunnel::new(edge, down, &mut answered.upstream.line, bounds);
    let ended = poll_fn(|cx| tunnel.poll(cx, deadline)).await;
    let (received, sent) = tunnel.bytes();
    *bytes_in += received;
    *bytes_out += sent;
    if ended.manner == Manner::Cut && down.is_stream() {
        // The connection's task writes what it has: a reset would drop it.
        tokio::task::yield_now().await;
    }
    edge.telemetry.websocket_ended(ended.end);
    Served::Tunnel(ended)
}
