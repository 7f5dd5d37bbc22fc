//! A client's connection over HTTP/1.1 or 1.0.

use std::task::{Context, Poll, ready};

use meridian_wire::h1::{RequestParser, ResponsePlan, Trailers, write_response};
use meridian_wire::{BodyFraming, HeadLimits, Malformed, RequestHead, ResponseHead};

use crate::engine::io::Io;
use crate::engine::line::{Body, BodyError, Line};
use crate::telemetry::ConnectionGuard;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What waiting for a head ended with.
#[derive(Debug)]
pub enum NextHead {
    /// A whole head, parsed.
    Head,
    /// The client closed between two messages.
    Closed,
    /// The client closed, or the stream broke, within a head.
    Gone,
    /// The head is refused; the connection ends after the answer.
    Malformed(Malformed),
}

/// One connection, one message at a time.
pub struct Connection {
    /// The stream, its buffers and framings.
    pub line: Line,
    /// Counts it among the open ones.
    pub open: ConnectionGuard,
    parser: RequestParser,
    /// The client waits for `100 Continue` before it sends a body.
    continue_due: bool,
}

impl Connection {
    /// A connection on which nothing was read yet.
    pub fn new(io: Io, open: ConnectionGuard) -> Self {
        Self {
            line: Line::new(io),
            open,
            parser: RequestParser::new(),
            continue_due: false,
        }
    }

    /// True when a part of a head has arrived.
    pub fn head_begun(&self) -> bool {
        !self.line.inbox.is_empty()
    }

    /// Reads one head. Between two messages no buffer is held.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        head: &mut RequestHead,
    ) -> Poll<NextHead> {
        loop {
            if !self.line.inbox.is_empty() {
                match self.parser.parse(self.line.inbox.unread(), limits, head) {
                    Ok(Some(used)) => {
                        self.line.inbox.consume(used);
                        self.line.inbox.release();
                        self.line.expect_body(head.framing());
                        self.continue_due = head.expects_continue();
                        return Poll::Ready(NextHead::Head);
                    }
                    Ok(None) => {
                        if self.line.inbox.is_full() && !self.line.inbox.grow(limits.head_bytes * 2)
                        {
                            return Poll::Ready(NextHead::Malformed(Malformed::HeadTooLarge));
                        }
                    }
                    Err(error) => return Poll::Ready(NextHead::Malformed(error)),
                }
            }
            match ready!(self.line.poll_fill(cx)) {
                Ok(0) | Err(_) if self.line.inbox.is_empty() => {
                    return Poll::Ready(NextHead::Closed);
                }
                Ok(0) | Err(_) => return Poll::Ready(NextHead::Gone),
                Ok(_) => {}
            }
        }
    }

    /// Reads the request's body. Asks for it with `100 Continue` first, when
    /// the client waits for that.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, BodyError>> {
        if self.continue_due {
            self.continue_due = false;
            if !self.line.body_done() && self.line.inbox.is_empty() {
                self.line.outbox.space().extend_from_slice(CONTINUE);
            }
        }
        if !self.line.outbox.is_empty() {
            let _ = self.line.poll_flush(cx).map_err(|_| BodyError::Gone)?;
        }
        self.line.poll_body(cx)
    }

    /// Notices a client that leaves while nothing is expected from it. Bytes
    /// of a next request stay in the inbox, one buffer at most.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.line.ended {
                return Poll::Ready(());
            }
            if self.line.inbox.is_full() {
                // What waits in the socket hides its end: ask for errors.
                return if self.line.io.is_broken() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            }
            match ready!(self.line.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// Appends a head to what is sent.
    pub fn respond(&mut self, head: &ResponseHead, plan: &ResponsePlan<'_>) {
        self.continue_due = false;
        write_response(head, plan, self.line.outbox.space());
        self.line.begin_body(plan.framing);
    }

    /// Appends the end of the answer.
    pub fn finish(&mut self, trailers: Option<&Trailers>) -> Result<(), Malformed> {
        self.line.finish(trailers)
    }

    /// How an answer to this version is framed when its length is unknown.
    pub fn stream_framing(head: &RequestHead) -> BodyFraming {
        match head.version() {
            meridian_wire::Version::Http10 => BodyFraming::UntilClose,
            meridian_wire::Version::Http11
            | meridian_wire::Version::Http2
            | meridian_wire::Version::Http3 => BodyFraming::Chunked,
        }
    }
}
