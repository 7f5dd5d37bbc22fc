//! One direction of a tunnel: bytes from a source to a sink.

use std::task::{Context, Poll, ready};

use meridian_wire::websocket::{CloseCode, Follower, Position, Sender, write_close};

use super::side::Side;
use crate::engine::line::Body;
use crate::pipeline::ids;
use crate::telemetry::WebSocketEnd;

/// Longest close frame of the edge: head, mask, code and reason.
const CLOSE_FRAME: usize = 32;

/// What still comes from the source.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// Perhaps more.
    Open,
    /// Its end has come.
    Ended,
    /// It broke off.
    Broke,
}

/// What still goes to the sink.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Sink {
    /// All that comes.
    Open,
    /// Nothing after a close frame.
    Told,
    /// Nothing: a close frame of the edge would not be understood.
    Mute,
    /// Nothing after its end.
    Shut,
    /// Nothing: it takes no more.
    Deaf,
}

/// How far it went.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Flow {
    /// All that came was passed on.
    Passed,
    /// The sink takes nothing for now.
    Blocked,
}

/// Where one direction stands.
pub(super) struct Direction {
    sender: Sender,
    follower: Follower,
    /// Bytes that were passed on.
    pub(super) bytes: u64,
    pub(super) source: Source,
    pub(super) sink: Sink,
}

impl Direction {
    /// Nothing has passed yet.
    pub(super) fn new(sender: Sender) -> Self {
        Self {
            sender,
            follower: Follower::new(sender),
            bytes: 0,
            source: Source::Open,
            sink: Sink::Open,
        }
    }

    /// The source has said all that it will.
    pub(super) fn is_over(&self) -> bool {
        self.source != Source::Open || self.is_closed()
    }

    /// The source's close frame has passed.
    pub(super) fn is_closed(&self) -> bool {
        self.follower.position() == Position::Closed
    }

    /// What passes is not framed as a WebSocket is.
    pub(super) fn is_lost(&self) -> bool {
        self.follower.position() == Position::Lost
    }

    /// The sink was told the last, as far as it can be.
    pub(super) fn is_told(&self) -> bool {
        match self.sink {
            Sink::Open => false,
            Sink::Told | Sink::Mute | Sink::Shut | Sink::Deaf => true,
        }
    }

    /// Nothing is to be heard from who is only waited for: all is said, or it
    /// could not be asked to close.
    pub(super) fn is_answered(&self, back: &Self) -> bool {
        self.is_over() || matches!(back.sink, Sink::Mute | Sink::Deaf)
    }

    /// Passes the end on.
    pub(super) fn end(&mut self, to: &mut Side<'_, '_>, cx: &mut Context<'_>) -> Poll<()> {
        if self.sink != Sink::Shut {
            // Where that fails, reads tell the rest.
            let _ = ready!(to.poll_end(cx));
            self.sink = Sink::Shut;
        }
        Poll::Ready(())
    }

    /// Passes on what is there, as far as the sink takes it. With `closing`,
    /// the current frame is the last one, and a close frame follows it; what
    /// the source says after that is read for its own close frame alone.
    pub(super) fn flow(
        &mut self,
        (from, to): (&mut Side<'_, '_>, &mut Side<'_, '_>),
        closing: Option<WebSocketEnd>,
        cx: &mut Context<'_>,
    ) -> Flow {
        loop {
            let full = self.gather((&mut *from, &mut *to), closing, cx);
            if matches!(self.sink, Sink::Deaf | Sink::Shut) {
                return Flow::Passed;
            }
            match to.poll_flush(cx) {
                Poll::Pending => return Flow::Blocked,
                Poll::Ready(Err(_)) => {
                    self.sink = Sink::Deaf;
                    return Flow::Passed;
                }
                Poll::Ready(Ok(())) if full => {}
                Poll::Ready(Ok(())) => return Flow::Passed,
            }
        }
    }

    /// Reads until nothing is there; true when the sink is full before that.
    fn gather(
        &mut self,
        (from, to): (&mut Side<'_, '_>, &mut Side<'_, '_>),
        closing: Option<WebSocketEnd>,
        cx: &mut Context<'_>,
    ) -> bool {
        loop {
            self.tell(to, closing);
            if self.source != Source::Open {
                return false;
            }
            if self.sink == Sink::Open && to.is_full() {
                return true;
            }
            match from.poll_read(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(Body::Data)) => self.pass(from, to, closing),
                Poll::Ready(Ok(Body::End)) => self.source = Source::Ended,
                Poll::Ready(Err(_)) => self.source = Source::Broke,
            }
        }
    }

    fn pass(
        &mut self,
        from: &mut Side<'_, '_>,
        to: &mut Side<'_, '_>,
        closing: Option<WebSocketEnd>,
    ) {
        let data = from.data();
        let mut count = data.len();
        if self.sink == Sink::Open {
            if closing.is_some() {
                count = self.follower.step(data);
            } else {
                self.follower.follow(data);
            }
            to.send(data.get(..count).unwrap_or_default());
            self.bytes += count as u64;
        } else {
            self.follower.follow(data);
        }
        from.consume(count);
    }

    /// The last word to the sink, once a frame has ended.
    fn tell(&mut self, to: &mut Side<'_, '_>, closing: Option<WebSocketEnd>) {
        let (Sink::Open, Some(end)) = (self.sink, closing) else {
            return;
        };
        self.sink = match self.follower.position() {
            Position::Within => return,
            Position::Closed => Sink::Told,
            Position::Lost => Sink::Mute,
            Position::Boundary => {
                let mask = match self.sender {
                    Sender::Client => ids::draw().to_be_bytes().first_chunk().copied(),
                    Sender::Server => None,
                };
                let mut frame = Vec::with_capacity(CLOSE_FRAME);
                write_close(CloseCode::GoingAway, end.as_str(), mask, &mut frame);
                to.send(&frame);
                Sink::Told
            }
        };
    }
}
