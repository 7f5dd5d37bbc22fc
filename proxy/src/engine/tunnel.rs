//! After an upgrade: bytes both ways, unread.
//!
//! Promises: every byte in order and as it was, each direction with one
//! bounded buffer and back-pressure; the end of one side is passed on to the
//! other, and the tunnel ends when both have ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use meridian_policies::Tick;
use tokio::io::AsyncWrite as _;

use super::deadlines::Deadline;
use super::line::Line;
use crate::edge::Edge;

/// A tunnel whose one side has ended waits so long for the other.
const HALF_OPEN: Duration = Duration::from_secs(10);

/// How a tunnel ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Tunnelled {
    /// Both sides have ended.
    Complete,
    /// The client broke off, or did not take what was sent.
    ClientGone,
    /// The backend broke off, or did not take what was sent.
    UpstreamBroke,
    /// Cut by the drain.
    Drained,
}

/// Two lines and what passed between them.
pub struct Tunnel<'a> {
    edge: &'a Arc<Edge>,
    client: &'a mut Line,
    backend: &'a mut Line,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes to the client.
    pub down: u64,
    client_closed: bool,
    backend_closed: bool,
    progress: Tick,
    moved: u64,
}

/// How one direction stands.
enum Flow {
    /// Waits for bytes.
    Dry,
    /// Waits for room.
    Blocked,
    /// The source has ended and all of it was passed on.
    Ended,
    /// The source broke.
    SourceBroke,
    /// The sink broke.
    SinkBroke,
}

impl<'a> Tunnel<'a> {
    /// The heads have passed; what is in the lines' buffers goes first.
    pub fn new(edge: &'a Arc<Edge>, client: &'a mut Line, backend: &'a mut Line) -> Self {
        Self {
            edge,
            client,
            backend,
            up: 0,
            down: 0,
            client_closed: false,
            backend_closed: false,
            progress: edge.clock.tick(),
            moved: 0,
        }
    }

    /// Moves bytes until both sides have ended.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: &mut Deadline) -> Poll<Tunnelled> {
        let up = flow(
            self.client,
            self.backend,
            (&mut self.up, &mut self.backend_closed),
            cx,
        );
        let down = flow(
            self.backend,
            self.client,
            (&mut self.down, &mut self.client_closed),
            cx,
        );
        match (&up, &down) {
            (Flow::SourceBroke, _) | (_, Flow::SinkBroke) => {
                return Poll::Ready(Tunnelled::ClientGone);
            }
            (Flow::SinkBroke, _) | (_, Flow::SourceBroke) => {
                return Poll::Ready(Tunnelled::UpstreamBroke);
            }
            (Flow::Ended, Flow::Ended) => return Poll::Ready(Tunnelled::Complete),
            (Flow::Dry | Flow::Blocked | Flow::Ended, Flow::Dry | Flow::Blocked | Flow::Ended) => {}
        }
        self.late(cx, deadline, (&up, &down))
    }

    fn late(
        &mut self,
        cx: &Context<'_>,
        deadline: &mut Deadline,
        (up, down): (&Flow, &Flow),
    ) -> Poll<Tunnelled> {
        let now = self.edge.clock.tick();
        if self.moved != self.up + self.down {
            self.moved = self.up + self.down;
            self.progress = now;
        }
        let stall = self.edge.settings.timeouts.idle;
        let (due, ended) = match (up, down) {
            (Flow::Ended, _) | (_, Flow::Ended) => {
                (Some(self.progress + HALF_OPEN), Tunnelled::Complete)
            }
            (Flow::Blocked, _) => (Some(self.progress + stall), Tunnelled::UpstreamBroke),
            (_, Flow::Blocked) => (Some(self.progress + stall), Tunnelled::ClientGone),
            (_, _) => (None, Tunnelled::Complete),
        };
        if self.edge.lifecycle.cutting() {
            return Poll::Ready(Tunnelled::Drained);
        }
        let expired = deadline.expired(cx);
        if expired && due.is_some_and(|due| now >= due) {
            return Poll::Ready(ended);
        }
        match due {
            None => deadline.disarm(),
            Some(due) => deadline.arm(due),
        }
        Poll::Pending
    }
}

/// Moves bytes from one line to the other as far as it goes.
fn flow(
    from: &mut Line,
    to: &mut Line,
    (count, closed): (&mut u64, &mut bool),
    cx: &mut Context<'_>,
) -> Flow {
    loop {
        let unread = from.inbox.unread();
        if !unread.is_empty() && !to.outbox.is_full() {
            *count += unread.len() as u64;
            let taken = unread.len();
            to.outbox.space().extend_from_slice(unread);
            from.inbox.consume(taken);
        }
        match to.poll_flush(cx) {
            Poll::Ready(Ok(())) => to.outbox.clear(),
            Poll::Ready(Err(_)) => return Flow::SinkBroke,
            Poll::Pending => return Flow::Blocked,
        }
        if !from.inbox.is_empty() {
            continue;
        }
        if from.ended {
            if !*closed {
                match Pin::new(&mut to.io).poll_shutdown(cx) {
                    Poll::Ready(_) => *closed = true,
                    Poll::Pending => return Flow::Blocked,
                }
            }
            return Flow::Ended;
        }
        match from.poll_fill(cx) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => return Flow::SourceBroke,
            Poll::Pending => return Flow::Dry,
        }
    }
}
