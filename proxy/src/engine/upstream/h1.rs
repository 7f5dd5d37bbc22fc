//! A connection to a regional backend over HTTP/1.1.

use std::task::{Context, Poll, ready};

use meridian_policies::{Tick, TlsFault};
use meridian_wire::h1::ResponseParser;
use meridian_wire::{BodyFraming, HeadLimits, Malformed, Method, ResponseHead};

use super::connect::Connected;
use crate::engine::line::Line;
use crate::server::tls::refused_afterwards;

/// Why no response head came.
#[derive(Debug)]
pub enum HeadError {
    /// Closed before the first byte of an answer.
    Closed,
    /// The endpoint does not accept the edge's certificate, and so has handled
    /// nothing.
    Untrusted(TlsFault),
    /// Broke within an answer, or could not be written to.
    Broke,
    /// The answer is no HTTP/1.1 that may be passed on.
    Malformed(Malformed),
}

/// One connection and the answer that is read from it.
pub struct Upstream {
    /// The stream.
    pub line: Line,
    parser: ResponseParser,
    /// It has carried a request before.
    pub reused: bool,
    /// When it is too old to be used again.
    pub expires: Tick,
    /// Stable tag of its endpoint: the pool's key.
    pub tag: u64,
    /// Settings of TLS that it was made with; 0: plain text.
    pub print: u64,
    /// The answer allows another request, and nothing went wrong.
    pub reusable: bool,
    /// A byte of the current answer has arrived.
    pub answered: bool,
}

impl Upstream {
    /// A fresh connection to the endpoint with this tag.
    pub fn new(connected: Connected, tag: u64) -> Box<Self> {
        Box::new(Self {
            line: Line::new(connected.io),
            parser: ResponseParser::new(),
            reused: false,
            expires: Tick(0),
            tag,
            print: connected.print,
            reusable: false,
            answered: false,
        })
    }

    /// Ready for the next request.
    pub fn begin(&mut self) {
        self.parser.reset();
        self.reusable = false;
        self.answered = false;
        self.line.outbox.clear();
    }

    /// Reads the next head, interim ones too.
    #[expect(
        clippy::too_many_arguments,
        reason = "bounds and the request it answers"
    )]
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        to: Method,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), HeadError>> {
        loop {
            if !self.line.inbox.is_empty() {
                self.answered = true;
                match self
                    .parser
                    .parse(self.line.inbox.unread(), limits, to, head)
                {
                    Ok(Some(used)) => {
                        self.line.inbox.consume(used);
                        self.parser.reset();
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {
                        if self.line.inbox.is_full() && !self.line.inbox.grow(limits.head_bytes * 2)
                        {
                            return Poll::Ready(Err(HeadError::Malformed(Malformed::HeadTooLarge)));
                        }
                    }
                    Err(error) => return Poll::Ready(Err(HeadError::Malformed(error))),
                }
            }
            match ready!(self.line.poll_fill(cx)) {
                Ok(0) | Err(_) if self.answered => return Poll::Ready(Err(HeadError::Broke)),
                Ok(0) => return Poll::Ready(Err(HeadError::Closed)),
                Err(error) => {
                    let refused = refused_afterwards(&error).filter(|_| !self.reused);
                    let why = refused.map_or(HeadError::Closed, HeadError::Untrusted);
                    return Poll::Ready(Err(why));
                }
                Ok(_) => {}
            }
        }
    }

    /// The final head is read: its body follows.
    pub fn expect_body(&mut self, head: &ResponseHead) {
        self.line.expect_body(head.framing());
        self.reusable = head.keep_alive() && head.framing() != BodyFraming::UntilClose;
    }
}

/// A backend that stopped reading would never see the end of a connection
/// behind what it has not read, with us or with the kernel: a request that is
/// given up halfway ends by a reset.
impl Drop for Upstream {
    fn drop(&mut self) {
        let halfway = !self.line.outbox.is_empty() || self.line.owes();
        if halfway {
            self.line.io.reset_at_end();
        } else {
            self.line.io.say_goodbye();
        }
    }
}
