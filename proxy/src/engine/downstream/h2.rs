//! A client's streams over HTTP/2, on the `h2` crate.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, StatusCode};
use meridian_wire::h1::{ResponsePlan, Trailers};
use meridian_wire::{
    BodyFraming, EndStream, HeadLimits, Known, Malformed, RequestBuilder, RequestHead,
    ResponseHead, Version,
};

use crate::engine::buffers::BUFFER;
use crate::engine::line::{Body, BodyError};

/// How much of the answer is still to be said.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Ending {
    /// More data may come.
    Open,
    /// What is in `out` is the last.
    Finished,
    /// `END_STREAM` is handed to the crate.
    Sent,
}

/// One stream: a request and its answer.
pub struct Stream {
    body: RecvStream,
    chunk: Bytes,
    body_done: bool,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    head: Option<http::Response<()>>,
    out: BytesMut,
    trailers: Option<http::HeaderMap>,
    left: Option<u64>,
    ending: Ending,
    /// Largest head of an answer that the client takes, if it said so.
    pub head_max: Option<u32>,
}

impl Stream {
    /// A stream as the crate hands it out.
    pub fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        let body_done = body.is_end_stream();
        Self {
            body,
            chunk: Bytes::new(),
            body_done,
            respond,
            send: None,
            head: None,
            out: BytesMut::new(),
            trailers: None,
            left: None,
            ending: Ending::Open,
            head_max: None,
        }
    }

    /// True when the request was read to its end.
    pub fn body_done(&self) -> bool {
        self.body_done
    }

    /// Reads until data of the body is there or it has ended.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, BodyError>> {
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(Body::Data));
            }
            if self.body_done {
                return Poll::Ready(Ok(Body::End));
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(_)) => return Poll::Ready(Err(BodyError::Gone)),
                None => {
                    // Request trailers end at the edge: HTTP/1.1 backends get
                    // a length or chunks, and nothing in them is trusted.
                    ready!(self.body.poll_trailers(cx)).map_err(|_| BodyError::Gone)?;
                    self.body_done = true;
                }
            }
        }
    }

    /// Data found by the last [`Stream::poll_body`].
    pub fn data(&self) -> &[u8] {
        &self.chunk
    }

    /// The first `count` bytes of the data were used: the client may send as
    /// many again.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.chunk.len());
        self.chunk.advance(count);
        let _ = self.body.flow_control().release_capacity(count);
    }

    /// Notices a reset while nothing is written.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| ())
    }

    /// Sends an interim head (1xx).
    pub fn inform(&mut self, head: &ResponseHead) {
        if let Ok(response) = response(head, &PLAIN) {
            let _ = self.respond.send_informational(response);
        }
    }

    /// Appends the head to what is sent.
    pub fn respond(&mut self, head: &ResponseHead, plan: &ResponsePlan<'_>) {
        self.left = match plan.framing {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose => None,
        };
        self.head = Some(response(head, plan).unwrap_or_else(|()| {
            let mut failed = http::Response::new(());
            *failed.status_mut() = StatusCode::BAD_GATEWAY;
            failed
        }));
    }

    /// Appends data.
    pub fn send(&mut self, data: &[u8]) -> Result<(), Malformed> {
        if let Some(left) = &mut self.left {
            let count = u64::try_from(data.len()).unwrap_or(u64::MAX);
            *left = left.checked_sub(count).ok_or(Malformed::BodyTooLong)?;
        }
        self.out.extend_from_slice(data);
        Ok(())
    }

    /// Appends the end of the answer.
    pub fn finish(&mut self, trailers: Option<&Trailers>) -> Result<(), Malformed> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(Malformed::Truncated);
        }
        self.trailers = trailers.and_then(trailer_map);
        self.ending = Ending::Finished;
        Ok(())
    }

    /// True when the writer should wait before it appends more.
    pub fn is_full(&self) -> bool {
        self.out.len() >= BUFFER
    }

    /// Hands to the crate what the client's windows allow.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if let Some(head) = self.head.take() {
            let bare =
                self.ending == Ending::Finished && self.out.is_empty() && self.trailers.is_none();
            self.send = Some(self.respond.send_response(head, bare)?);
            if bare {
                self.ending = Ending::Sent;
            }
        }
        let Some(send) = &mut self.send else {
            return Poll::Ready(Ok(()));
        };
        while !self.out.is_empty() {
            send.reserve_capacity(self.out.len());
            let mut room = send.capacity();
            if room == 0 {
                room = match ready!(send.poll_capacity(cx)) {
                    Some(room) => room?,
                    None => return Poll::Ready(Err(Reason::CANCEL.into())),
                };
            }
            let count = room.min(self.out.len());
            if count == 0 {
                continue;
            }
            let last = self.ending == Ending::Finished
                && count == self.out.len()
                && self.trailers.is_none();
            send.send_data(self.out.split_to(count).freeze(), last)?;
            if last {
                self.ending = Ending::Sent;
            }
        }
        if self.ending == Ending::Finished {
            match self.trailers.take() {
                Some(trailers) => send.send_trailers(trailers)?,
                None => send.send_data(Bytes::new(), true)?,
            }
            self.ending = Ending::Sent;
        }
        Poll::Ready(Ok(()))
    }

    /// From here on bytes without a length, both ways.
    pub fn upgrade(&mut self) {
        self.left = None;
    }

    /// Ends what is sent, once all of it is with the crate.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        match self.ending {
            Ending::Open => self.ending = Ending::Finished,
            Ending::Finished | Ending::Sent => {}
        }
        self.poll_flush(cx)
    }

    /// Gives back what is left of the last buffer.
    pub fn release(&mut self) {
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// The answer can't be completed: the client must not take it for whole.
    pub fn abort(&mut self) {
        match &mut self.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

const PLAIN: ResponsePlan<'static> = ResponsePlan {
    to: Version::Http2,
    drop: meridian_wire::KnownSet::EMPTY,
    append: &meridian_wire::NOTHING_ADDED,
    framing: BodyFraming::None,
    connection: meridian_wire::h1::Connection::KeepAlive,
};

/// Converts once, dropping what belongs to a hop. A stream that becomes a
/// WebSocket is told so by 200 (RFC 8441, section 5).
fn response(head: &ResponseHead, plan: &ResponsePlan<'_>) -> Result<http::Response<()>, ()> {
    let mut response = http::Response::new(());
    let status = match plan.connection {
        meridian_wire::h1::Connection::Upgrade => 200,
        meridian_wire::h1::Connection::KeepAlive | meridian_wire::h1::Connection::Close => {
            head.status()
        }
    };
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| ())?;
    let map = response.headers_mut();
    for field in head.fields() {
        let framing = matches!(field.known, Known::ContentLength | Known::TransferEncoding);
        if field.hop || framing || plan.drop.contains(field.known) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| ())?;
        map.append(name, HeaderValue::from_bytes(field.value).map_err(|_| ())?);
    }
    for (name, value) in plan.append.iter() {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).map_err(|_| ())?,
        );
    }
    match plan.framing {
        BodyFraming::Length(length) => {
            map.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // HEAD and 304 keep the length that the backend stated; 204 has none
        // (RFC 9110, 8.6).
        BodyFraming::None => {
            let stated = head
                .first(Known::ContentLength)
                .filter(|_| head.status() != 204);
            if let Some(value) = stated {
                let value = HeaderValue::from_bytes(value).map_err(|_| ())?;
                map.insert(http::header::CONTENT_LENGTH, value);
            }
        }
        BodyFraming::Chunked | BodyFraming::UntilClose => {}
    }
    Ok(response)
}

fn trailer_map(trailers: &Trailers) -> Option<http::HeaderMap> {
    let mut map = http::HeaderMap::new();
    for field in trailers.forwarded() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    (!map.is_empty()).then_some(map)
}

/// Converts a request once, through the rules that every version passes.
pub fn request(
    parts: &http::request::Parts,
    end: EndStream,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(), Malformed> {
    let mut builder = RequestBuilder::new(head, Version::Http2, *limits);
    builder.method(parts.method.as_str())?;
    if let Some(scheme) = parts.uri.scheme_str() {
        builder.scheme(scheme)?;
    }
    if let Some(authority) = parts.uri.authority() {
        builder.authority(authority.as_str())?;
    }
    if let Some(path) = parts.uri.path_and_query() {
        builder.path(path.as_str())?;
    }
    if let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() {
        builder.protocol(protocol.as_str())?;
    }
    for (name, value) in &parts.headers {
        builder.field(name.as_str().as_bytes(), value.as_bytes())?;
    }
    builder.finish(end)
}
