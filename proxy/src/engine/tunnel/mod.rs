//! After an upgrade to WebSocket: bytes both ways, whatever carries them.
//!
//! Promises: every byte in order and as it was, each direction with one
//! bounded buffer and back-pressure, and no buffer while nothing moves. Frames
//! are followed, not read: where the edge decides on the end (idle time,
//! lifetime, drain), both sides get a close frame, 1001, between two frames. A
//! stream of HTTP/2 or HTTP/3 is finished behind a close frame alone; where
//! the backend breaks off without one, it is reset.
//!
//! Refuses to guess: where the bytes are no frames, nothing is written between
//! them, and an end that the edge decides on is a plain one.

mod direction;
pub mod handshake;
mod side;
mod watch;

use std::sync::Arc;
use std::task::{Context, Poll};

use meridian_policies::WebSocketBounds;
use meridian_wire::websocket::Sender;

use self::direction::{Direction, Flow, Sink, Source};
use self::side::Side;
use self::watch::{Drain, Seen, Terms, Verdict, Wait, Watch};
use super::deadlines::Deadline;
use super::downstream::side::Downstream;
use super::line::Line;
use crate::edge::Edge;
use crate::telemetry::{CloseReason, End, ExpiredDeadline, WebSocketEnd};

/// How a tunnel ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Tunnelled {
    /// Why.
    pub end: WebSocketEnd,
    /// How the client learns of it.
    pub manner: Manner,
}

/// How a tunnel ends toward the client.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Manner {
    /// In order.
    Finished,
    /// As a connection that breaks.
    Cut,
}

impl Tunnelled {
    /// How the exchange ended.
    pub fn end(self) -> End {
        match self.end {
            WebSocketEnd::Complete => End::Complete,
            WebSocketEnd::ClientGone => End::ClientGone,
            WebSocketEnd::UpstreamBroke => End::UpstreamBroke,
            WebSocketEnd::Idle => End::TimedOut(ExpiredDeadline::Idle),
            WebSocketEnd::Lifetime => End::TimedOut(ExpiredDeadline::Lifetime),
            WebSocketEnd::Drained => End::Drained,
        }
    }

    /// Why the connection ends that became the tunnel.
    pub fn close_reason(self) -> CloseReason {
        match self.end {
            WebSocketEnd::Complete => CloseReason::Finished,
            WebSocketEnd::ClientGone => CloseReason::ClientGone,
            WebSocketEnd::UpstreamBroke => CloseReason::UpstreamBroke,
            WebSocketEnd::Idle => CloseReason::WebSocketIdle,
            WebSocketEnd::Lifetime => CloseReason::WebSocketLifetime,
            WebSocketEnd::Drained => CloseReason::Drained,
        }
    }
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Phase {
    /// Both sides speak.
    Open,
    /// The edge has decided on the end.
    Closing(WebSocketEnd),
    /// The client has all; its end is awaited for a moment.
    Finishing(WebSocketEnd),
}

/// Two ends and what passed between them.
pub struct Tunnel<'a, 'd> {
    edge: &'a Arc<Edge>,
    client: &'a mut Downstream<'d>,
    backend: &'a mut Line,
    up: Direction,
    down: Direction,
    watch: Watch,
    phase: Phase,
    /// Who ended first without a close frame.
    left: Option<WebSocketEnd>,
}

impl<'a, 'd> Tunnel<'a, 'd> {
    /// The heads have passed; what is in the lines' buffers goes first.
    pub fn new(
        edge: &'a Arc<Edge>,
        client: &'a mut Downstream<'d>,
        backend: &'a mut Line,
        bounds: WebSocketBounds,
    ) -> Self {
        client.upgrade();
        backend.upgrade();
        let timeouts = &edge.settings.timeouts;
        let terms = Terms {
            route: bounds,
            stall: timeouts.idle,
            drain: timeouts.websocket_drain,
        };
        Self {
            edge,
            client,
            backend,
            up: Direction::new(Sender::Client),
            down: Direction::new(Sender::Server),
            watch: Watch::new(terms, edge.clock.tick()),
            phase: Phase::Open,
            left: None,
        }
    }

    /// Bytes from the client, and bytes to it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.bytes, self.down.bytes)
    }

    /// Moves bytes until it is over.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: &mut Deadline) -> Poll<Tunnelled> {
        // Remembers whom to wake; whether it is late, the watch says.
        deadline.expired(cx);
        loop {
            let wait = match self.advance(cx) {
                Step::Over(end, manner) => return Poll::Ready(Tunnelled { end, manner }),
                Step::Next(phase) => {
                    self.phase = phase;
                    continue;
                }
                Step::Wait(wait) => wait,
            };
            let lifecycle = &self.edge.lifecycle;
            let drain = match (lifecycle.cutting(), lifecycle.draining()) {
                (true, _) => Drain::Over,
                (false, true) => Drain::Began,
                (false, false) => Drain::No,
            };
            let seen = Seen {
                now: self.edge.clock.tick(),
                moved: self.up.bytes + self.down.bytes,
                wait,
                drain,
            };
            match self.watch.look(seen) {
                Verdict::Close(end) => self.phase = Phase::Closing(end),
                Verdict::Over => match self.give_up(wait) {
                    Step::Over(end, manner) => return Poll::Ready(Tunnelled { end, manner }),
                    Step::Next(phase) => self.phase = phase,
                    Step::Wait(_) => {}
                },
                Verdict::Wait(due) => {
                    match due {
                        Some(due) => deadline.arm(due),
                        None => deadline.disarm(),
                    }
                    self.client.release();
                    return Poll::Pending;
                }
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Step {
        match self.phase {
            Phase::Open => self.open(cx),
            Phase::Closing(end) => self.closing(end, cx),
            Phase::Finishing(end) => self.finishing(end, cx),
        }
    }

    fn flow(&mut self, closing: Option<WebSocketEnd>, cx: &mut Context<'_>) -> (Flow, Flow) {
        let mut client = Side::Client(&mut *self.client);
        let mut backend = Side::Backend(&mut *self.backend);
        let up = self.up.flow((&mut client, &mut backend), closing, cx);
        let down = self.down.flow((&mut backend, &mut client), closing, cx);
        (up, down)
    }

    fn open(&mut self, cx: &mut Context<'_>) -> Step {
        let flows = self.flow(None, cx);
        let (up, down) = (&self.up, &self.down);
        if up.source == Source::Broke || down.sink == Sink::Deaf {
            return Step::Over(WebSocketEnd::ClientGone, Manner::Cut);
        }
        if up.sink == Sink::Deaf || down.source == Source::Broke {
            return Step::Over(WebSocketEnd::UpstreamBroke, Manner::Cut);
        }
        match flows {
            (Flow::Blocked, _) => return Step::Wait(Wait::Backend),
            (_, Flow::Blocked) => return Step::Wait(Wait::Client),
            (Flow::Passed, Flow::Passed) => {}
        }
        if down.is_closed() && (down.source == Source::Ended || up.is_over()) {
            return Step::Next(Phase::Finishing(WebSocketEnd::Complete));
        }
        match (up.source, down.source) {
            (_, Source::Ended) => self.backend_ended(cx),
            (Source::Ended, _) => self.client_ended(cx),
            (Source::Open | Source::Broke, _) => Step::Wait(Wait::Bytes),
        }
    }

    /// The end of a client that has said goodbye waits for the answer: a
    /// backend could take it for a client that left.
    fn client_ended(&mut self, cx: &mut Context<'_>) -> Step {
        if self.up.is_closed() {
            return Step::Wait(Wait::OtherEnd);
        }
        let end = if self.up.is_lost() {
            WebSocketEnd::Complete
        } else {
            WebSocketEnd::ClientGone
        };
        self.left.get_or_insert(end);
        let mut backend = Side::Backend(&mut *self.backend);
        match self.up.end(&mut backend, cx) {
            Poll::Pending => Step::Wait(Wait::Backend),
            Poll::Ready(()) => Step::Wait(Wait::OtherEnd),
        }
    }

    /// Without a close frame: over HTTP/1 the client sees the end that the
    /// backend made, and may still speak.
    fn backend_ended(&mut self, cx: &mut Context<'_>) -> Step {
        let stream = self.client.is_stream();
        let end = if self.down.is_lost() && !stream {
            WebSocketEnd::Complete
        } else {
            WebSocketEnd::UpstreamBroke
        };
        let left = *self.left.get_or_insert(end);
        if stream || self.up.source == Source::Ended {
            let orderly = left == WebSocketEnd::Complete && !stream;
            return Step::Over(
                left,
                if orderly {
                    Manner::Finished
                } else {
                    Manner::Cut
                },
            );
        }
        let mut client = Side::Client(&mut *self.client);
        match self.down.end(&mut client, cx) {
            Poll::Pending => Step::Wait(Wait::Client),
            Poll::Ready(()) => Step::Wait(Wait::OtherEnd),
        }
    }

    fn closing(&mut self, end: WebSocketEnd, cx: &mut Context<'_>) -> Step {
        let flows = self.flow(Some(end), cx);
        let (up, down) = (&self.up, &self.down);
        let written = flows == (Flow::Passed, Flow::Passed);
        let told = written && up.is_told() && down.is_told();
        if told && up.is_answered(down) && down.is_answered(up) {
            return self.told(end);
        }
        Step::Wait(Wait::Close)
    }

    /// No more is to be waited for behind a close frame of the edge.
    fn told(&self, end: WebSocketEnd) -> Step {
        match self.down.sink {
            Sink::Told | Sink::Shut => Step::Next(Phase::Finishing(end)),
            Sink::Open | Sink::Mute | Sink::Deaf => Step::Over(end, Manner::Cut),
        }
    }

    /// The client gets its end; what it still says goes to a backend that
    /// still reads.
    fn finishing(&mut self, end: WebSocketEnd, cx: &mut Context<'_>) -> Step {
        let mut client = Side::Client(&mut *self.client);
        let mut backend = Side::Backend(&mut *self.backend);
        self.up.flow((&mut client, &mut backend), None, cx);
        let ended = self.down.end(&mut client, cx);
        let left = if self.client.is_stream() {
            self.up.source != Source::Open
        } else {
            self.up.is_over()
        };
        match ended {
            Poll::Ready(()) if left => Step::Over(end, Manner::Finished),
            Poll::Ready(()) | Poll::Pending => Step::Wait(Wait::Finish),
        }
    }

    /// What was waited for has not come in time.
    fn give_up(&self, wait: Wait) -> Step {
        match (self.phase, wait) {
            (Phase::Finishing(end), _) => Step::Over(end, Manner::Finished),
            (Phase::Closing(end), _) => self.told(end),
            (Phase::Open, Wait::Client) => Step::Over(WebSocketEnd::ClientGone, Manner::Cut),
            (Phase::Open, Wait::Backend) => Step::Over(WebSocketEnd::UpstreamBroke, Manner::Cut),
            (Phase::Open, _) if self.up.is_closed() => {
                Step::Next(Phase::Closing(WebSocketEnd::UpstreamBroke))
            }
            (Phase::Open, _) => {
                Step::Over(self.left.unwrap_or(WebSocketEnd::Complete), Manner::Cut)
            }
        }
    }
}

/// What comes next.
enum Step {
    Wait(Wait),
    Next(Phase),
    Over(WebSocketEnd, Manner),
}
