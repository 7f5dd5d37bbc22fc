//! Bodies of answers. Promises that an answer counts as in flight until its
//! body ended or was dropped, and that a body that is to be cut shows its
//! first part and never a clean end.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

use crate::{link::Link, load::Guard};

/// Whatever can break a body.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
/// Body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
/// An answer.
pub(crate) type Answer = Response<Body>;

/// How long a cut waits after the last byte it shows, so that the head and
/// that byte reach the wire before the reset.
const CUT_GRACE: Duration = Duration::from_millis(20);

/// A body that is there at once.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let Ok(text) = serde_json::to_vec(value) else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut answer = Response::new(full(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An answer that says in JSON what was wrong with the request.
pub(crate) fn refusal(status: StatusCode, error: &str) -> Answer {
    json(status, &serde_json::json!({ "error": error }))
}

/// A refusal that says to come back in a second.
pub(crate) fn no_room(reason: &str) -> Answer {
    let mut answer = refusal(StatusCode::SERVICE_UNAVAILABLE, reason);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(full(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// A body with what must live as long as it.
pub(crate) struct Tracked {
    /// The body itself.
    pub(crate) body: Body,
    /// Counts the exchange out.
    pub(crate) guard: Guard,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let _ = &self.guard;
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that shows its first part and then cuts the connection.
pub(crate) struct Cut {
    body: Body,
    link: Arc<Link>,
    grace: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Cut {
    /// Cuts `link` after the first part of `body`.
    pub(crate) fn new(body: Body, link: Arc<Link>) -> Self {
        Self {
            body,
            link,
            grace: None,
        }
    }

    fn start_grace(&mut self) {
        self.grace = Some(Box::pin(tokio::time::sleep(CUT_GRACE)));
    }
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.grace.is_none() {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
            self.start_grace();
            let shown = frame.and_then(|frame| frame.into_data().ok()).map(|data| {
                let half = if self.body.is_end_stream() {
                    data.len() / 2
                } else {
                    data.len()
                };
                data.slice(..half)
            });
            if let Some(data) = shown.filter(|data| !data.is_empty()) {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        if let Some(grace) = &mut self.grace {
            std::task::ready!(grace.as_mut().poll(cx));
            self.link.cut();
        }
        Poll::Pending
    }

    /// Never a clean end.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
