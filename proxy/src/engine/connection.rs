//! The life of a client's connection: one request after the other over
//! HTTP/1, streams side by side over HTTP/2.

mod h3;

use std::future::{Future as _, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use h2::server::{Builder, SendResponse};
use meridian_policies::access::ClientCertificate;
use meridian_policies::{Tick, Trust};
use meridian_wire::{Added, EndStream};
use tokio::io::AsyncWrite as _;

use super::deadlines::{Deadline, GRAIN};
use super::downstream::flood::MalformedBudget;
use super::downstream::h1::{Connection, NextHead};
use super::downstream::h2::{Stream, request};
use super::downstream::hold::Held;
use super::downstream::side::Downstream;
use super::exchange::{self, After, Arrival};
use super::io::Io;
use super::scratch::Scratch;
use crate::edge::Edge;
use crate::pipeline::{extra, forwarded};
use crate::server::tls::ConnectionTls;
use crate::settings::Settings;
use crate::telemetry::{CloseReason, Protocol, Transport};

pub use self::h3::serve_h3;

/// How long the rest of a request that is not wanted is still read, so that
/// the answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How long a new connection may wait with its first request once the drain
/// has begun.
const FIRST_AT_DRAIN: Duration = Duration::from_secs(1);
/// How much of it.
const LINGER_BYTES: usize = 256 * 1024;
/// How long an HTTP/2 client that was told to go may take to do so once its
/// last stream has ended.
const GOODBYE: Duration = Duration::from_secs(5);
/// Streams of one connection (RFC 9113, 5.1.2 suggests at least 100).
pub(crate) const STREAMS_MAX: u32 = 100;
/// Bytes of one stream that wait for the client.
const STREAM_BUFFER: usize = 64 * 1024;
/// Window of a stream for request bodies, and of the connection.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What is known about a connection for as long as it lives.
pub struct ConnectionInfo {
    /// The other end, canonical.
    pub peer: SocketAddr,
    /// Whether its forwarded headers are believed.
    pub trust: Trust,
    /// Plain or TLS.
    pub transport: Transport,
    /// The version it began with.
    pub protocol: Protocol,
    /// `Alt-Svc` of its answers, where HTTP/3 is spoken too.
    pub alt_svc: Option<Arc<str>>,
    tls: Option<Arc<ConnectionTls>>,
    peer_text: Vec<u8>,
    told: Added,
}

impl ConnectionInfo {
    /// Writes the peer's address once.
    pub fn new(peer: SocketAddr, trust: Trust, transport: Transport, protocol: Protocol) -> Self {
        let mut peer_text = Vec::with_capacity(15);
        extra::address(&mut peer_text, peer.ip());
        let told = forwarded::of_connection(&peer_text, transport);
        Self {
            peer,
            trust,
            transport,
            protocol,
            alt_svc: None,
            tls: None,
            peer_text,
            told,
        }
    }

    /// The same with what TLS says of the client.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<ConnectionTls>>) -> Self {
        self.tls = tls;
        self
    }

    /// The same connection from another address.
    #[must_use]
    pub fn moved(&self, peer: SocketAddr, trust: Trust) -> Self {
        let info = Self::new(peer, trust, self.transport, self.protocol);
        info.with_tls(self.tls.clone())
    }

    /// Whether a request for `host` may come over this connection.
    pub fn covers(&self, host: &str) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.covers(host))
    }

    /// The client's verified certificate.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref()?.certificate()
    }

    /// The value of `Client-Cert` (RFC 9440).
    pub fn client_cert(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.client_cert()
    }

    /// What backends are told about the connection itself, written once.
    pub fn told(&self) -> &Added {
        &self.told
    }

    /// The peer's address as text.
    pub fn peer_text(&self) -> &[u8] {
        &self.peer_text
    }
}

/// Whether the forwarded fields of a peer are believed.
pub fn trust(edge: &Edge, peer: IpAddr) -> Trust {
    let hops = &edge.settings.trusted_hops;
    if hops.iter().any(|net| net.contains(&peer)) {
        Trust::Trusted
    } else {
        Trust::Untrusted
    }
}

/// Serves requests until one of the two sides has had enough.
pub async fn serve_h1(edge: &Arc<Edge>, info: &ConnectionInfo, io: Io) -> CloseReason {
    let open = edge.telemetry.connection(Protocol::H1);
    let mut connection = Connection::new(io, open);
    let mut deadline = Deadline::new(&edge.clock);
    let mut served = 0_u64;
    let ends = ends(edge);
    loop {
        if let Err(reason) = wait(edge, &mut connection, &mut deadline, (served, ends)).await {
            close(connection).await;
            return reason;
        }
        let mut scratch = Scratch::take();
        let arrival = match read_head(edge, &mut connection, &mut deadline, &mut scratch).await {
            Ok(arrival) => arrival,
            Err(reason) => {
                scratch.give();
                close(connection).await;
                return reason;
            }
        };
        served += 1;
        let limit = edge.settings.limits.requests_per_connection;
        let last = limit.is_some_and(|limit| served >= limit.get());
        let place = exchange::Place {
            edge,
            info,
            last,
            ends,
        };
        let mut down = Downstream::H1(&mut connection);
        let after = exchange::run(place, &mut down, (&mut scratch, &mut deadline), arrival).await;
        scratch.give();
        match after {
            After::Next => {}
            After::Close(reason) => {
                linger(edge, &mut connection, &mut deadline).await;
                close(connection).await;
                return reason;
            }
            After::Cut(reason) => return reason,
        }
    }
}

/// When a connection that begins now has lived long enough.
fn ends(edge: &Edge) -> Option<Tick> {
    let lifetime = edge.settings.timeouts.connection_lifetime?;
    Some(edge.clock.tick() + lifetime)
}

/// A deadline, or the end of the connection's lifetime if that comes before.
fn sooner(due: Tick, ends: Option<Tick>) -> Tick {
    ends.map_or(due, |ends| due.min(ends))
}

/// How long a connection may be without a request: with its first one, as long
/// as a head may take.
fn patience(edge: &Edge, served: u64) -> Duration {
    let timeouts = &edge.settings.timeouts;
    if served == 0 {
        timeouts.head
    } else {
        timeouts.idle
    }
}

/// Waits for the first byte of a head, holding no buffer.
async fn wait(
    edge: &Edge,
    connection: &mut Connection,
    deadline: &mut Deadline,
    (served, ends): (u64, Option<Tick>),
) -> Result<(), CloseReason> {
    if connection.head_begun() {
        return Ok(());
    }
    deadline.arm(sooner(edge.clock.tick() + patience(edge, served), ends));
    poll_fn(|cx| {
        if edge.lifecycle.cutting() {
            return Poll::Ready(Err(CloseReason::Drained));
        }
        // After a hand-over nothing hurries: the next request is answered, and
        // told that it is the last.
        if edge.lifecycle.draining() && !edge.lifecycle.handed_over() {
            // A new connection has its first request on the way, most likely.
            if served > 0 {
                return Poll::Ready(Err(CloseReason::Drained));
            }
            deadline.arm_sooner(edge.clock.tick() + FIRST_AT_DRAIN);
        }
        match connection.line.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(CloseReason::Client)),
            Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
            Poll::Pending => {}
        }
        if deadline.expired(cx) {
            let reason = if ends.is_some_and(|ends| edge.clock.tick() >= ends) {
                CloseReason::Lifetime
            } else if served == 0 {
                CloseReason::HeadTimeout
            } else {
                CloseReason::Idle
            };
            return Poll::Ready(Err(reason));
        }
        Poll::Pending
    })
    .await
}

/// Reads the rest of a head, within its deadline.
async fn read_head(
    edge: &Edge,
    connection: &mut Connection,
    deadline: &mut Deadline,
    scratch: &mut Scratch,
) -> Result<Arrival, CloseReason> {
    let limits = &edge.settings.limits.head;
    let mut armed = false;
    poll_fn(|cx| {
        match connection.poll_head(cx, limits, &mut scratch.request) {
            Poll::Ready(NextHead::Head) => return Poll::Ready(Ok(Arrival::Whole)),
            Poll::Ready(NextHead::Closed) => return Poll::Ready(Err(CloseReason::Client)),
            Poll::Ready(NextHead::Gone) => return Poll::Ready(Err(CloseReason::ClientGone)),
            Poll::Ready(NextHead::Malformed(error)) => {
                return Poll::Ready(Ok(Arrival::Malformed(error)));
            }
            Poll::Pending => {}
        }
        if !armed {
            armed = true;
            deadline.arm(edge.clock.tick() + edge.settings.timeouts.head);
        }
        if deadline.expired(cx) {
            return Poll::Ready(Ok(Arrival::Late));
        }
        Poll::Pending
    })
    .await
}

/// Reads on for a moment after an answer that came before the request's end.
async fn linger(edge: &Edge, connection: &mut Connection, deadline: &mut Deadline) {
    if connection.line.ended {
        return;
    }
    deadline.arm(edge.clock.tick() + LINGER);
    let mut left = LINGER_BYTES;
    poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut connection.line.io).poll_shutdown(cx);
        loop {
            let unread = connection.line.inbox.unread().len();
            connection.line.inbox.consume(unread);
            match connection.line.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(count)) if count >= left => return Poll::Ready(()),
                Poll::Ready(Ok(count)) => left -= count,
                Poll::Pending if deadline.expired(cx) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// Says goodbye where TLS has a word for it; never waits for the client.
async fn close(mut connection: Connection) {
    poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut connection.line.io).poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}

/// Serves streams until the connection ends.
pub async fn serve_h2(edge: &Arc<Edge>, info: Arc<ConnectionInfo>, io: Io) -> CloseReason {
    let _open = edge.telemetry.connection(Protocol::H2);
    let held = Held::new(io, edge.clock.clone());
    let timeouts = &edge.settings.timeouts;
    let handshake = builder(&edge.settings).handshake::<_, bytes::Bytes>(held.clone());
    let mut handshake = Box::pin(tokio::time::timeout(timeouts.head, handshake));
    let started = poll_fn(|cx| {
        let done = handshake.as_mut().poll(cx);
        let _ = held.poll_release(cx);
        done
    })
    .await;
    let mut h2 = match started {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => return CloseReason::Malformed,
        Err(_) => return CloseReason::HeadTimeout,
    };
    drop(handshake);
    let mut streams = Streams::new(edge);
    poll_fn(|cx| streams.poll(cx, &mut h2, &held, &info)).await
}

fn builder(settings: &Settings) -> Builder {
    let (limits, http2) = (&settings.limits.head, &settings.http2);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(http2.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_send_buffer_size(STREAM_BUFFER)
        .max_concurrent_reset_streams(50)
        .max_local_error_reset_streams(Some(100))
        .reset_stream_duration(Duration::from_secs(5))
        .enable_connect_protocol();
    builder
}

type H2 = h2::server::Connection<Held, bytes::Bytes>;
/// The crate's connection and our handle on what lies below.
type Connected<'a> = (&'a mut H2, &'a Held);

/// What the streams of a connection tell it, and it tells them.
#[derive(Default)]
struct Activity {
    open: AtomicUsize,
    ended: AtomicU64,
    /// The connection ends soon: what was sent must arrive before. Over HTTP/3
    /// alone; TCP sees to that by itself.
    leaving: AtomicBool,
    /// Requests that broke a rule of messages. What the `h2` crate refuses it
    /// counts by itself.
    malformed: AtomicU64,
}

impl Activity {
    fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Since when there is no stream: from the connection's beginning, or the
    /// last one's end. Now, while there is one.
    fn idle_since(&self, began: Tick, now: Tick) -> Tick {
        if self.open() > 0 {
            now
        } else {
            began.max(Tick(self.ended.load(Ordering::Acquire)))
        }
    }
}

/// The open streams of one connection.
struct Streams {
    edge: Arc<Edge>,
    deadline: Deadline,
    activity: Arc<Activity>,
    served: u64,
    began: Tick,
    /// When its lifetime is over.
    ends: Option<Tick>,
    malformed: MalformedBudget,
    closing: Option<CloseReason>,
    /// While the goodbye is said: how long the client may take to go after it,
    /// and when it counts as said in any case.
    goodbye: Option<(Duration, Tick)>,
}

impl Streams {
    fn new(edge: &Arc<Edge>) -> Self {
        let began = edge.clock.tick();
        let mut deadline = Deadline::new(&edge.clock);
        let ends = ends(edge);
        deadline.arm(sooner(began + edge.settings.timeouts.head, ends));
        Self {
            edge: Arc::clone(edge),
            deadline,
            activity: Arc::default(),
            served: 0,
            began,
            ends,
            malformed: MalformedBudget::default(),
            closing: None,
            goodbye: None,
        }
    }

    /// Drives the connection: frames in, frames out, new streams to tasks.
    #[expect(
        clippy::too_many_arguments,
        reason = "the connection, its two handles and its facts"
    )]
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        h2: &mut H2,
        held: &Held,
        info: &Arc<ConnectionInfo>,
    ) -> Poll<CloseReason> {
        if let Poll::Ready(reason) = self.look_around(cx, h2, held) {
            return Poll::Ready(reason);
        }
        loop {
            match h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin((h2, held), info, request, respond);
                }
                Poll::Ready(Some(Err(error))) => {
                    let _ = held.poll_release(cx);
                    return Poll::Ready(self.closing.unwrap_or_else(|| reason(&error)));
                }
                Poll::Ready(None) => {
                    let _ = held.poll_release(cx);
                    return Poll::Ready(self.closing.unwrap_or(CloseReason::Client));
                }
                Poll::Pending => break,
            }
        }
        match held.poll_release(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(CloseReason::ClientGone),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Floods, the drain, and the time without a stream.
    fn look_around(&mut self, cx: &mut Context<'_>, h2: &mut H2, held: &Held) -> Poll<CloseReason> {
        let flooded = held.flooded() || self.is_malformed();
        if flooded && self.closing != Some(CloseReason::Flood) {
            self.closing = Some(CloseReason::Flood);
            h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.deadline.arm(self.edge.clock.tick() + LINGER);
        }
        if self.edge.lifecycle.draining() && self.closing.is_none() {
            self.close((h2, held), CloseReason::Drained, GOODBYE);
        }
        if self.deadline.expired(cx)
            && let Some(reason) = self.late((h2, held))
        {
            let _ = held.poll_release(cx);
            return Poll::Ready(reason);
        }
        Poll::Pending
    }

    /// Too many requests have broken a rule.
    fn is_malformed(&mut self) -> bool {
        let seen = self.activity.malformed.load(Ordering::Relaxed);
        // The clock is asked only where it matters.
        seen > MalformedBudget::MAX && !self.malformed.allows(seen, self.edge.clock.tick().0)
    }

    /// Tells the client that there will be no further stream. What it has
    /// begun by then is served: the crate hears that the client has understood
    /// when nothing new comes.
    fn close(&mut self, (h2, held): Connected<'_>, reason: CloseReason, patience: Duration) {
        self.closing = Some(reason);
        let now = self.edge.clock.tick();
        self.goodbye = Some((patience, now + GOODBYE));
        h2.graceful_shutdown();
        held.say_goodbye();
        self.deadline.arm(now + GRAIN);
    }

    /// The deadline has passed: the reason for the end, if this is it.
    fn late(&mut self, (h2, held): Connected<'_>) -> Option<CloseReason> {
        let now = self.edge.clock.tick();
        let busy = self.activity.open() > 0;
        if let Some(reason) = self.closing {
            let over = match self.goodbye {
                _ if reason == CloseReason::Flood => true,
                Some((_, until)) if held.says_goodbye() && now < until => {
                    self.deadline.arm(now + GRAIN);
                    false
                }
                Some((patience, _)) => {
                    self.goodbye = None;
                    self.deadline.arm(now + patience);
                    false
                }
                None => {
                    self.deadline.arm(now + GOODBYE);
                    !busy
                }
            };
            return over.then_some(reason);
        }
        if self.ends.is_some_and(|ends| now >= ends) {
            self.close((h2, held), CloseReason::Lifetime, GOODBYE);
            return None;
        }
        let due = self.activity.idle_since(self.began, now) + patience(&self.edge, self.served);
        if now >= due {
            self.close((h2, held), CloseReason::Idle, LINGER);
        } else {
            self.deadline.arm(sooner(due, self.ends));
        }
        None
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what the crate hands out, and where it goes"
    )]
    fn begin(
        &mut self,
        (h2, held): Connected<'_>,
        info: &Arc<ConnectionInfo>,
        request: http::Request<h2::RecvStream>,
        respond: SendResponse<bytes::Bytes>,
    ) {
        self.served += 1;
        let limit = self.edge.settings.limits.requests_per_connection;
        if self.closing.is_none() {
            if limit.is_some_and(|limit| self.served >= limit.get()) {
                self.close((h2, held), CloseReason::RequestLimit, GOODBYE);
            } else if self.served == 1 {
                // From here on the idle time counts, not the head's.
                let due = self.edge.clock.tick() + self.edge.settings.timeouts.idle;
                self.deadline.arm(sooner(due, self.ends));
            }
        }
        let open = OpenStream::begin(&self.edge, &self.activity);
        let info = Arc::clone(info);
        let head_max = held.head_max();
        tokio::spawn(async move {
            serve_stream(&open, &info, (request, respond), head_max).await;
            drop(open);
        });
    }
}

/// Counts a stream for as long as it lives.
struct OpenStream {
    edge: Arc<Edge>,
    activity: Arc<Activity>,
}

impl OpenStream {
    fn begin(edge: &Arc<Edge>, activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::AcqRel);
        Self {
            edge: Arc::clone(edge),
            activity: Arc::clone(activity),
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.activity
            .ended
            .store(self.edge.clock.tick().0, Ordering::Release);
        self.activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve_stream(
    OpenStream { edge, activity }: &OpenStream,
    info: &ConnectionInfo,
    (message, respond): (http::Request<h2::RecvStream>, SendResponse<bytes::Bytes>),
    head_max: Option<u32>,
) {
    let (parts, body) = message.into_parts();
    let end = if body.is_end_stream() {
        EndStream::Yes
    } else {
        EndStream::No
    };
    let mut scratch = Scratch::take();
    let limits = &edge.settings.limits.head;
    let arrival = match request(&parts, end, limits, &mut scratch.request) {
        Ok(()) => Arrival::Whole,
        Err(error) => {
            activity.malformed.fetch_add(1, Ordering::Relaxed);
            Arrival::Malformed(error)
        }
    };
    drop(parts);
    let mut stream = Stream::new(body, respond);
    stream.head_max = head_max;
    let mut deadline = Deadline::new(&edge.clock);
    let place = exchange::Place {
        edge,
        info,
        last: false,
        ends: None,
    };
    let mut down = Downstream::H2(&mut stream);
    exchange::run(place, &mut down, (&mut scratch, &mut deadline), arrival).await;
    scratch.give();
}

fn reason(error: &h2::Error) -> CloseReason {
    match error.reason() {
        Some(Reason::ENHANCE_YOUR_CALM) => CloseReason::Flood,
        Some(Reason::NO_ERROR) => CloseReason::Client,
        Some(_) => CloseReason::Malformed,
        None => CloseReason::ClientGone,
    }
}
