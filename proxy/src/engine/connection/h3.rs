//! An HTTP/3 connection: its streams to tasks, its control streams, its end.
//!
//! Promises: whoever is asked to go is told so by GOAWAY and loses no request
//! that was begun before; limits and deadlines are those of HTTP/2. Refuses:
//! clients that reset more than they ask, send much of what costs only the
//! edge, or break the rules of a connection.

mod budget;
mod stream;

use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use meridian_policies::{Tick, access};
use meridian_wire::h3::{
    Code, Control, Fault, Uni, UniStream, write_control_opening, write_goaway,
};
use quinn::{Connection, ConnectionError, OpenUni, RecvStream, SendStream};

use self::budget::{Budget, LOOK, Seen};
use self::stream::serve_stream;
use super::{Activity, ConnectionInfo, OpenStream, patience, sooner, trust};
use crate::edge::Edge;
use crate::engine::buffers::Outbox;
use crate::engine::deadlines::{Deadline, GRAIN};
use crate::engine::downstream::h3::{Stream, code};
use crate::telemetry::CloseReason;

/// Round trips after which a client knows that it should go.
const ROUND_TRIPS: u32 = 3;
/// How long that is at most.
const WARNING_MAX: Duration = Duration::from_secs(3);
/// No stream has this id or a higher one (RFC 9114, 5.2): go, but what you
/// have begun is served.
const EVERY_STREAM: u64 = (1 << 62) - 4;
/// Streams between two looks for a flood.
const LOOK_EVERY: u64 = 32;
/// Bytes that are read at once from the client's control streams.
const CONTROL_READ: usize = 512;
/// Serves streams until the connection ends.
pub async fn serve_h3(
    edge: &Arc<Edge>,
    info: Arc<ConnectionInfo>,
    connection: &Connection,
) -> CloseReason {
    let mut requests = Requests::new(edge, info, connection);
    let (mut bi, mut uni) = (pin!(connection.accept_bi()), pin!(connection.accept_uni()));
    let mut opening = pin!(connection.open_uni());
    let reason = poll_fn(|cx| {
        if let Poll::Ready(reason) = requests.look_around(cx) {
            return Poll::Ready(reason);
        }
        while let Poll::Ready(accepted) = uni.as_mut().poll(cx) {
            match accepted {
                Ok(stream) => requests.uni.push((stream, UniStream::new())),
                Err(error) => return Poll::Ready(requests.ended(&error)),
            }
            uni.set(connection.accept_uni());
        }
        if let Err(reason) = requests.read_control(cx) {
            return Poll::Ready(reason);
        }
        while let Poll::Ready(accepted) = bi.as_mut().poll(cx) {
            match accepted {
                Ok(stream) => requests.begin(stream),
                Err(error) => return Poll::Ready(requests.ended(&error)),
            }
            if let Some(reason) = requests.over {
                return Poll::Ready(reason);
            }
            bi.set(connection.accept_bi());
        }
        requests.write_control(cx, opening.as_mut());
        Poll::Pending
    })
    .await;
    // Closing twice changes nothing; the driver sends the word in its turn.
    connection.close(code(Code::NoError), b"");
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
    reason
}

/// How far the goodbye has come.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Leaving {
    /// The client was told to begin nothing more; what is on its way is served.
    Warned(CloseReason, Tick),
    /// Streams from now on are rejected.
    Last(CloseReason),
}

/// The open streams of one connection, and its control streams.
struct Requests<'a> {
    edge: &'a Arc<Edge>,
    connection: &'a Connection,
    info: Arc<ConnectionInfo>,
    /// The client's address as quinn says it.
    address: SocketAddr,
    deadline: Deadline,
    activity: Arc<Activity>,
    control: Control,
    uni: Vec<(RecvStream, UniStream)>,
    sending: Option<SendStream>,
    outbox: Outbox,
    leaving: Option<Leaving>,
    /// It ends at once.
    over: Option<CloseReason>,
    served: u64,
    /// Id of the stream after the last one that was served.
    next: u64,
    began: Tick,
    /// When its lifetime is over.
    ends: Option<Tick>,
    budget: Budget,
}

impl<'a> Requests<'a> {
    fn new(edge: &'a Arc<Edge>, info: Arc<ConnectionInfo>, connection: &'a Connection) -> Self {
        let began = edge.clock.tick();
        let mut deadline = Deadline::new(&edge.clock);
        let timeouts = &edge.settings.timeouts;
        let ends = timeouts
            .connection_lifetime
            .map(|lifetime| began + lifetime);
        deadline.arm(sooner(began + timeouts.head, ends).min(began + LOOK));
        let mut outbox = Outbox::default();
        write_control_opening(&edge.settings.limits.head, outbox.space());
        Self {
            edge,
            connection,
            info,
            address: connection.remote_address(),
            deadline,
            activity: Arc::default(),
            control: Control::new(),
            uni: Vec::new(),
            sending: None,
            outbox,
            leaving: None,
            over: None,
            served: 0,
            next: 0,
            began,
            ends,
            budget: Budget::new(began),
        }
    }

    /// Why the connection is over.
    fn ended(&self, error: &ConnectionError) -> CloseReason {
        match (self.leaving, error) {
            (Some(Leaving::Warned(reason, _) | Leaving::Last(reason)), _) => reason,
            (None, ConnectionError::ApplicationClosed(_)) if self.activity.open() == 0 => {
                CloseReason::Client
            }
            (None, ConnectionError::TimedOut) if self.activity.open() == 0 => CloseReason::Idle,
            (None, ConnectionError::LocallyClosed | ConnectionError::TransportError(_)) => {
                CloseReason::Malformed
            }
            (
                None,
                ConnectionError::ApplicationClosed(_)
                | ConnectionError::ConnectionClosed(_)
                | ConnectionError::Reset
                | ConnectionError::TimedOut
                | ConnectionError::VersionMismatch
                | ConnectionError::CidsExhausted,
            ) => CloseReason::ClientGone,
        }
    }

    /// The drain, the time without a stream, and the end of the goodbye.
    fn look_around(&mut self, cx: &Context<'_>) -> Poll<CloseReason> {
        if self.edge.lifecycle.draining() && self.leaving.is_none() {
            self.leave(CloseReason::Drained);
        }
        if self.deadline.expired(cx) || self.edge.lifecycle.cutting() {
            return self.late();
        }
        Poll::Pending
    }

    /// Tells the client that it should go.
    fn leave(&mut self, reason: CloseReason) {
        let warning = (self.connection.rtt() * ROUND_TRIPS).clamp(GRAIN, WARNING_MAX);
        let until = self.edge.clock.tick() + warning;
        self.leaving = Some(Leaving::Warned(reason, until));
        self.activity.leaving.store(true, Ordering::Release);
        write_goaway(EVERY_STREAM, self.outbox.space());
        self.deadline.arm(until);
    }

    fn late(&mut self) -> Poll<CloseReason> {
        if let Some(reason) = self.look_for_floods() {
            return Poll::Ready(reason);
        }
        let (now, busy) = (self.edge.clock.tick(), self.activity.open() > 0);
        match self.leaving {
            Some(Leaving::Warned(reason, until)) => {
                if now < until && !self.edge.lifecycle.cutting() {
                    self.deadline.arm(until);
                    return Poll::Pending;
                }
                write_goaway(self.next, self.outbox.space());
                self.leaving = Some(Leaving::Last(reason));
                // The word goes out before the end.
                self.deadline.arm(now + GRAIN);
            }
            Some(Leaving::Last(reason)) if !busy => return Poll::Ready(reason),
            Some(Leaving::Last(_)) => self.deadline.arm(now + GRAIN),
            None => self.idle(now),
        }
        Poll::Pending
    }

    /// Without a stream for the time that the settings allow.
    fn idle(&mut self, now: Tick) {
        if self.ends.is_some_and(|ends| now >= ends) {
            return self.leave(CloseReason::Lifetime);
        }
        let due = self.activity.idle_since(self.began, now) + patience(self.edge, self.served);
        if now >= due {
            self.leave(CloseReason::Idle);
        } else {
            self.wait(now, due);
        }
    }

    /// Until it is due, or time to look for a flood again.
    fn wait(&mut self, now: Tick, due: Tick) {
        self.deadline.arm(sooner(due, self.ends).min(now + LOOK));
    }

    /// The end of a client that sends too much of what carries no request.
    fn look_for_floods(&mut self) -> Option<CloseReason> {
        let malformed = self.activity.malformed.load(Ordering::Relaxed);
        let seen = Seen::new(&self.connection.stats().frame_rx, malformed);
        let allowed = self.budget.allows(seen, self.edge.clock.tick());
        (!allowed).then(|| self.fault(Fault::Connection(Code::ExcessiveLoad)))
    }

    /// Ends the connection for what the client did.
    fn fault(&self, fault: Fault) -> CloseReason {
        let reason = fault.code();
        self.connection
            .close(code(reason), reason.name().as_bytes());
        if reason == Code::ExcessiveLoad {
            CloseReason::Flood
        } else {
            CloseReason::Malformed
        }
    }

    fn read_control(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let mut buffer = [0; CONTROL_READ];
        let mut at = 0;
        while let Some((stream, state)) = self.uni.get_mut(at) {
            let read = match stream.poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    at += 1;
                    continue;
                }
                Poll::Ready(Ok(0) | Err(_)) => self.control.ended(state).map(|()| Uni::Ignored),
                Poll::Ready(Ok(count)) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.control.read(state, bytes)
                }
            };
            match read {
                Ok(Uni::Reading) => {}
                Ok(Uni::Ignored) => {
                    let _ = stream.stop(code(Code::StreamCreationError));
                    self.uni.swap_remove(at);
                }
                Err(fault) => return Err(self.fault(fault)),
            }
        }
        Ok(())
    }

    /// Opens the control stream and sends what waits.
    fn write_control(&mut self, cx: &mut Context<'_>, opening: Pin<&mut OpenUni<'_>>) {
        if self.sending.is_none() {
            match opening.poll(cx) {
                Poll::Ready(Ok(stream)) => self.sending = Some(stream),
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
        if let Some(stream) = &mut self.sending
            && !self.outbox.is_empty()
            && self.outbox.poll_write(stream, cx).is_ready()
        {
            self.outbox.clear();
        }
    }

    fn begin(&mut self, (mut send, mut recv): (SendStream, RecvStream)) {
        let id = send.id().index() * 4;
        let late = matches!(self.leaving, Some(Leaving::Last(_))) && id >= self.next;
        if !late {
            self.next = self.next.max(id + 4);
            self.served += 1;
            self.control.request_began();
            self.look_at_client();
        }
        if late || self.over.is_some() {
            let _ = send.reset(code(Code::RequestRejected));
            let _ = recv.stop(code(Code::RequestRejected));
            return;
        }
        self.count();
        let open = OpenStream::begin(self.edge, &self.activity);
        let limits = &self.edge.settings.limits.head;
        let mut stream = Stream::new(self.connection, (send, recv), limits);
        let settings = self.control.settings();
        stream.head_max = settings.and_then(|settings| settings.max_field_section);
        tokio::spawn(serve_stream(open, Arc::clone(&self.info), stream));
    }

    /// A client may move to another address (RFC 9000, 9): what it is believed
    /// and allowed goes by the new one. And it may send nothing but resets.
    fn look_at_client(&mut self) {
        let address = self.connection.remote_address();
        if address != self.address {
            self.address = address;
            let peer = SocketAddr::new(address.ip().to_canonical(), address.port());
            let snapshot = &self.edge.generation().snapshot;
            if access::connection(snapshot, peer.ip()).is_err() {
                self.over = Some(CloseReason::Denied);
            }
            let trust = trust(self.edge, peer.ip());
            self.info = Arc::new(self.info.moved(peer, trust));
        }
        if self.served.is_multiple_of(LOOK_EVERY) {
            self.over = self.over.or_else(|| self.look_for_floods());
        }
    }

    fn count(&mut self) {
        let limit = self.edge.settings.limits.requests_per_connection;
        if self.leaving.is_some() {
            return;
        }
        if limit.is_some_and(|limit| self.served >= limit.get()) {
            self.leave(CloseReason::RequestLimit);
        } else if self.served == 1 {
            // From here on the idle time counts, not the head's.
            let now = self.edge.clock.tick();
            self.wait(now, now + self.edge.settings.timeouts.idle);
        }
    }
}
