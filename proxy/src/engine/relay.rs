//! The loop that moves one request up and one answer down.
//!
//! Promises: both directions flow at once, each with one bounded buffer and
//! back-pressure; whatever is there is gathered into one write; a message
//! that breaks off is never passed on as whole. Refuses: deciding anything —
//! it reports, the pipeline decides.

use std::task::{Context, Poll};

use meridian_policies::{RejectReason, Tick, TlsFault};
use meridian_wire::events::Follower;
use meridian_wire::{HeadLimits, RequestHead, ResponseHead};

use super::deadlines::{Deadline, GRAIN};
use super::downstream::side::Downstream;
use super::line::{Body, BodyError};
use super::pace::{Late, Pace, Wait};
use super::upstream::h1::{HeadError, Upstream};
use crate::edge::{Clock, Lifecycle};
use crate::pipeline::refuse::Refusal;
use crate::telemetry::{CloseReason, End, ExpiredDeadline as Which};

/// What ended the wait for an answer's head, or the answer itself.
#[derive(Debug)]
pub enum Broken {
    /// The client left.
    ClientGone,
    /// The client's body is not HTTP.
    ClientMalformed(meridian_wire::Malformed),
    /// The request's body is over the route's bound.
    TooLarge,
    /// The backend closed before the first byte of an answer.
    Closed,
    /// The backend does not accept the edge's certificate.
    Untrusted(TlsFault),
    /// The backend broke its answer off.
    Upstream,
    /// The backend's answer is not HTTP.
    UpstreamMalformed(meridian_wire::Malformed),
    /// The backend switched protocols though nobody asked for that.
    UnaskedUpgrade,
    /// The backend's switch to WebSocket does not answer this request.
    WrongAccept,
    /// The backend answers with 2xx, but it has not switched: to a client
    /// whose stream can only become a WebSocket that would say that it has.
    NotSwitched,
    /// A deadline passed.
    Late(Late),
    /// The drain's bound has passed.
    Drained,
}

/// How far the request has gone up.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Upload {
    /// More of the body is to come.
    Open,
    /// The whole request is in the outbox or beyond.
    Gathered,
    /// The whole request was written.
    Sent,
    /// The backend takes no more; an answer may still come.
    Refused,
}

/// Whether an exchange has waited before. The first wait is looked into after
/// [`GRAIN`]: an answer that comes sooner costs no look at the client.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Waited {
    /// It is new.
    Never,
    /// It has.
    Before,
}

/// Counters and deadlines of one exchange.
pub struct Meter<'a> {
    /// Wakes the exchange when it is late.
    pub deadline: &'a mut Deadline,
    /// Says when that is.
    pub pace: Pace,
    /// The process's clock.
    pub clock: &'a Clock,
    /// The process's phases.
    pub lifecycle: &'a Lifecycle,
    /// When it was read last.
    pub now: Tick,
    /// The exchange has waited since.
    pub waited: Waited,
    /// Bytes of the request's body so far.
    pub bytes_in: u64,
    /// Bytes of the answer's body so far.
    pub bytes_out: u64,
    /// Bound of the request's body.
    pub body_limit: u64,
}

impl Broken {
    /// What the client is told, when no answer has begun; nothing when it has
    /// left.
    pub fn refusal(&self) -> Option<Refusal> {
        let (reason, detail) = match self {
            Self::ClientGone => return None,
            Self::ClientMalformed(error) => return Some(Refusal::malformed(*error)),
            Self::TooLarge => (
                RejectReason::BodyTooLarge,
                "the body is over the route's bound",
            ),
            Self::Closed | Self::Upstream => (
                RejectReason::UpstreamBroken,
                "the backend closed before its answer was whole",
            ),
            Self::Untrusted(fault) => return Some(Refusal::tls(*fault)),
            Self::UpstreamMalformed(error) => {
                let refusal = Refusal::new(RejectReason::UpstreamBroken, error.text());
                return Some(refusal.by(error.name()));
            }
            Self::UnaskedUpgrade => (
                RejectReason::UpstreamBroken,
                "the backend switched protocols unasked",
            ),
            Self::WrongAccept => (
                RejectReason::UpstreamBroken,
                "the backend's Sec-WebSocket-Accept does not fit the key",
            ),
            Self::NotSwitched => (
                RejectReason::UpstreamBroken,
                "the backend does not speak WebSocket here",
            ),
            Self::Late(Late::BodyRate) => {
                (RejectReason::RequestTimeout, "the body came too slowly")
            }
            Self::Late(Late::FirstByte) => (
                RejectReason::UpstreamTimeout,
                "the backend did not begin its answer in time",
            ),
            Self::Late(Late::UpstreamWrite) => (
                RejectReason::UpstreamTimeout,
                "the backend stopped reading the request",
            ),
            Self::Late(Late::ClientWrite | Late::Idle | Late::Total) => {
                (RejectReason::UpstreamTimeout, "the exchange took too long")
            }
            Self::Drained => (RejectReason::Draining, "the edge is going away"),
        };
        Some(Refusal::new(reason, detail))
    }

    /// How the exchange ended.
    pub fn end(&self) -> End {
        match self {
            Self::ClientGone => End::ClientGone,
            Self::ClientMalformed(_) | Self::TooLarge => End::ClientBroke,
            Self::Closed
            | Self::Upstream
            | Self::Untrusted(_)
            | Self::UpstreamMalformed(_)
            | Self::UnaskedUpgrade
            | Self::WrongAccept
            | Self::NotSwitched => End::UpstreamBroke,
            Self::Drained => End::Drained,
            Self::Late(late) => End::TimedOut(match late {
                Late::BodyRate => Which::Body,
                Late::UpstreamWrite | Late::FirstByte => Which::FirstByte,
                Late::ClientWrite => Which::Write,
                Late::Idle => Which::Idle,
                Late::Total => Which::Total,
            }),
        }
    }

    /// Why the connection ends.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::ClientGone => CloseReason::ClientGone,
            Self::ClientMalformed(_) | Self::TooLarge => CloseReason::Malformed,
            Self::Closed
            | Self::Upstream
            | Self::Untrusted(_)
            | Self::UpstreamMalformed(_)
            | Self::UnaskedUpgrade
            | Self::WrongAccept
            | Self::NotSwitched
            | Self::Late(Late::UpstreamWrite | Late::FirstByte | Late::Idle) => {
                CloseReason::UpstreamBroke
            }
            Self::Late(Late::BodyRate) => CloseReason::BodyTimeout,
            Self::Late(Late::ClientWrite) => CloseReason::WriteTimeout,
            Self::Late(Late::Total) => CloseReason::TotalTimeout,
            Self::Drained => CloseReason::Drained,
        }
    }
}

impl Meter<'_> {
    /// Counts bytes of the request's body.
    pub fn count_in(&mut self, count: usize) -> Result<(), Broken> {
        self.bytes_in += count as u64;
        if self.bytes_in > self.body_limit {
            Err(Broken::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Looks whether the exchange is late.
    pub fn check(&mut self, cx: &Context<'_>) -> Result<(), Broken> {
        if self.lifecycle.cutting() {
            return Err(Broken::Drained);
        }
        if self.deadline.expired(cx) {
            self.now = self.clock.tick();
            if let Some(late) = self.pace.late(self.now) {
                return Err(Broken::Late(late));
            }
        }
        Ok(())
    }

    /// The exchange waits: arms its deadline.
    pub fn waits(&mut self, wait: Wait) {
        // The first wait comes right after the clock was read.
        let first = self.waited == Waited::Never;
        if !first {
            self.now = self.clock.tick();
        }
        self.waited = Waited::Before;
        let now = self.now;
        let moved = self.bytes_in + self.bytes_out;
        match self.pace.waits(wait, moved, self.bytes_in, now) {
            Some(due) => self.deadline.arm(due),
            None => self.deadline.disarm(),
        }
        // A client that breaks off while its bytes are not taken is seen only
        // by looking.
        if first || wait == Wait::UpstreamWrite {
            self.deadline.arm_sooner(now + GRAIN);
        }
    }
}

/// One request up, one answer down.
pub struct Relay<'a, 'd, 'm> {
    /// The client.
    pub down: &'a mut Downstream<'d>,
    /// The backend.
    pub up: &'a mut Upstream,
    /// How far the request has gone.
    pub upload: Upload,
    /// True while the outbox still holds the request from its first byte.
    pub replayable: Replayable,
    /// Counters and deadlines.
    pub meter: &'a mut Meter<'m>,
    /// Follows the events of the answer, if it may need a last word.
    pub events: Option<Box<Follower>>,
    finished: bool,
}

/// Whether the request can be written again to another connection.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Replayable {
    /// The upstream's outbox holds all of it.
    Whole,
    /// Part of it is gone.
    Lost,
}

impl<'a, 'd, 'm> Relay<'a, 'd, 'm> {
    /// The head (and perhaps the body) of the request is in the outbox.
    pub fn new(
        down: &'a mut Downstream<'d>,
        up: &'a mut Upstream,
        upload: Upload,
        meter: &'a mut Meter<'m>,
    ) -> Self {
        Self {
            down,
            up,
            upload,
            replayable: Replayable::Whole,
            meter,
            events: None,
            finished: false,
        }
    }

    /// Sends the request and reads the next head, interim ones too.
    #[expect(
        clippy::too_many_arguments,
        reason = "bounds, the request and the answer's head"
    )]
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        request: &RequestHead,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), Broken>> {
        self.meter.check(cx)?;
        let wait = self.poll_upload(cx)?;
        match self.up.poll_head(cx, limits, request.method(), head) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(HeadError::Closed)) => return Poll::Ready(Err(Broken::Closed)),
            Poll::Ready(Err(HeadError::Untrusted(fault))) => {
                return Poll::Ready(Err(Broken::Untrusted(fault)));
            }
            Poll::Ready(Err(HeadError::Broke)) => return Poll::Ready(Err(Broken::Upstream)),
            Poll::Ready(Err(HeadError::Malformed(error))) => {
                return Poll::Ready(Err(Broken::UpstreamMalformed(error)));
            }
            Poll::Pending => {}
        }
        // What the client is told before the answer: 100 Continue, interim heads.
        if self
            .down
            .poll_flush(cx)
            .ready_and(|flushed| flushed.is_err())
            || (wait != Some(Wait::Client) && self.looks() && self.down.poll_gone(cx).is_ready())
        {
            return Poll::Ready(Err(Broken::ClientGone));
        }
        self.meter.waits(wait.unwrap_or(Wait::FirstByte));
        Poll::Pending
    }

    /// Passes the answer's body on, and what is left of the request's.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.meter.check(cx)?;
        let upload = self.poll_upload(cx)?;
        let wait = loop {
            let mut dry = false;
            while !self.finished && !self.down.is_full() {
                match self.up.line.poll_body(cx) {
                    Poll::Pending => {
                        dry = true;
                        break;
                    }
                    Poll::Ready(found) => self.pass_down(&found)?,
                }
            }
            match self.down.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::ClientGone)),
                Poll::Pending => break Wait::ClientWrite,
                Poll::Ready(Ok(())) if self.finished => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if dry => break Wait::Answer,
                Poll::Ready(Ok(())) => {}
            }
        };
        if upload != Some(Wait::Client) && self.looks() && self.down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::ClientGone));
        }
        self.meter.waits(wait);
        Poll::Pending
    }

    /// Whether it is worth asking if the client is still there.
    fn looks(&self) -> bool {
        self.meter.waited == Waited::Before
    }

    fn pass_down(&mut self, found: &Result<Body, BodyError>) -> Result<(), Broken> {
        match found {
            Ok(Body::Data) => {
                let data = self.up.line.data();
                let count = data.len();
                self.down.send(data).map_err(Broken::UpstreamMalformed)?;
                if let Some(events) = &mut self.events {
                    events.follow(data);
                }
                self.up.line.consume(count);
                self.meter.bytes_out += count as u64;
            }
            Ok(Body::End) => {
                self.down
                    .finish(self.up.line.trailers())
                    .map_err(Broken::UpstreamMalformed)?;
                self.finished = true;
            }
            Err(BodyError::Gone) => return Err(Broken::Upstream),
            Err(BodyError::Malformed(error)) => return Err(Broken::UpstreamMalformed(*error)),
        }
        Ok(())
    }

    /// Moves the request up as far as it goes; what it waits for, if it does.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<Option<Wait>, Broken> {
        loop {
            let mut dry = false;
            while self.upload == Upload::Open && !self.up.line.outbox.is_full() {
                match self.down.poll_body(cx) {
                    Poll::Pending => {
                        dry = true;
                        break;
                    }
                    Poll::Ready(found) => self.pass_up(&found)?,
                }
            }
            match self.upload {
                Upload::Sent | Upload::Refused => return Ok(None),
                Upload::Open | Upload::Gathered => {}
            }
            match self.up.line.poll_flush(cx) {
                Poll::Pending => return Ok(Some(Wait::UpstreamWrite)),
                Poll::Ready(Err(_)) => {
                    // It may have answered before it stopped reading.
                    if self.upload == Upload::Open {
                        self.replayable = Replayable::Lost;
                    }
                    self.upload = Upload::Refused;
                    self.up.reusable = false;
                    return Ok(None);
                }
                Poll::Ready(Ok(())) if self.upload == Upload::Gathered => {
                    self.upload = Upload::Sent;
                    return Ok(None);
                }
                Poll::Ready(Ok(())) => {
                    self.up.line.outbox.clear();
                    self.replayable = Replayable::Lost;
                    if dry {
                        return Ok(Some(Wait::Client));
                    }
                }
            }
        }
    }

    fn pass_up(&mut self, found: &Result<Body, BodyError>) -> Result<(), Broken> {
        match found {
            Ok(Body::Data) => {
                let data = self.down.data();
                let count = data.len();
                self.meter.count_in(count)?;
                self.up.line.send(data).map_err(Broken::ClientMalformed)?;
                self.down.consume(count);
            }
            Ok(Body::End) => {
                self.up.line.finish(None).map_err(Broken::ClientMalformed)?;
                self.upload = Upload::Gathered;
            }
            Err(BodyError::Gone) => return Err(Broken::ClientGone),
            Err(BodyError::Malformed(error)) => return Err(Broken::ClientMalformed(*error)),
        }
        Ok(())
    }
}

trait ReadyAnd<T> {
    fn ready_and(self, test: impl FnOnce(T) -> bool) -> bool;
}

impl<T> ReadyAnd<T> for Poll<T> {
    fn ready_and(self, test: impl FnOnce(T) -> bool) -> bool {
        match self {
            Poll::Ready(value) => test(value),
            Poll::Pending => false,
        }
    }
}
