//! Answers that are interesting on the wire: events, many bytes, trailers, any
//! status. Promises exactly what the query asked for, within stated bounds,
//! and produces it as it is read: nothing is built up in memory.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRAILER},
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio_util::sync::CancellationToken;

use crate::{
    body::{Answer, BoxError, empty, json, refusal},
    region::Region,
};

/// Most events of `/v3/sse`.
const EVENTS_MAX: u64 = 100_000;
/// Longest pause between two, in milliseconds.
const PAUSE_MAX_MS: u64 = 60_000;
/// Longest body of `/v3/bytes` (1 GiB).
const BYTES_MAX: u64 = 1 << 30;
/// Bytes written at a time.
const CHUNK: usize = 16 * 1024;
/// What `/v3/bytes` repeats.
static PATTERN: [u8; CHUNK] = pattern();

const fn pattern() -> [u8; CHUNK] {
    let mut bytes = [b'a'; CHUNK];
    let mut at = 0;
    #[expect(
        clippy::indexing_slicing,
        reason = "iterators are not const; bounded by CHUNK"
    )]
    while at < CHUNK {
        bytes[at] = b"abcdefghijklmnopqrstuvwxyz012345"[at % 32];
        at += 1;
    }
    bytes
}

/// A number in a query, or `default` when it is absent.
pub(crate) fn number(uri: &Uri, name: &str, default: u64) -> Result<u64, Box<Answer>> {
    let value = uri.query().unwrap_or_default().split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    });
    let bad = |_| {
        Box::new(refusal(
            StatusCode::BAD_REQUEST,
            &format!("{name}: not a number"),
        ))
    };
    value.map_or(Ok(default), |value| value.parse().map_err(bad))
}

fn too_large() -> Answer {
    refusal(StatusCode::BAD_REQUEST, "larger than this server gives")
}

/// `n` events (default 5, at most 100,000), `ms` apart (default 50, at most
/// 60,000). The first comes at once; the stream ends early when `closing`.
pub(crate) fn events(
    uri: &Uri,
    region: &Region,
    closing: CancellationToken,
) -> Result<Answer, Box<Answer>> {
    let n = number(uri, "n", 5)?;
    let ms = number(uri, "ms", 50)?;
    if n > EVENTS_MAX || ms > PAUSE_MAX_MS {
        return Err(Box::new(too_large()));
    }
    let region = region.clone();
    let frames = stream::unfold(0, move |at| {
        let (region, closing) = (region.clone(), closing.clone());
        async move {
            if at == n {
                return None;
            }
            if at > 0 {
                tokio::select! {
                    () = closing.cancelled() => return None,
                    () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                }
            }
            let event = format!(
                "id: {at}\nevent: tick\ndata: {{\"n\":{at},\"of\":{n},\"region\":\"{region}\"}}\n\n"
            );
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from(event))), at + 1))
        }
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(answer)
}

/// `n` bytes (default 1,024, at most 1 GiB) with their `Content-Length`.
pub(crate) fn bytes(uri: &Uri) -> Result<Answer, Box<Answer>> {
    let n = number(uri, "n", 1024)?;
    if n > BYTES_MAX {
        return Err(Box::new(too_large()));
    }
    let frames = stream::unfold(n, |left| async move {
        let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = Bytes::from_static(PATTERN.get(..size).unwrap_or_default());
        (left > 0).then(|| (Ok::<_, BoxError>(Frame::data(chunk)), left - size as u64))
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(n));
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(answer)
}

/// A body in two chunks and a trailer `x-checksum`. Over HTTP/1.1 the trailer
/// is sent only to requests that say `TE: trailers`.
pub(crate) fn trailers() -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", HeaderValue::from_static("13-bytes"));
    let frames: VecDeque<Result<Frame<Bytes>, BoxError>> = [
        Ok(Frame::data(Bytes::from_static(b"hello, "))),
        Ok(Frame::data(Bytes::from_static(b"world\n"))),
        Ok(Frame::trailers(fields)),
    ]
    .into();
    let mut answer = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    answer
        .headers_mut()
        .insert(TRAILER, HeaderValue::from_static("x-checksum"));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// An answer with the status that the path names, 200 to 599.
pub(crate) fn status(text: &str) -> Answer {
    match text
        .parse::<u16>()
        .ok()
        .filter(|code| (200..=599).contains(code))
    {
        Some(code) => match StatusCode::from_u16(code) {
            Ok(status @ (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)) => empty(status),
            Ok(StatusCode::RESET_CONTENT) => empty(StatusCode::RESET_CONTENT),
            Ok(status) => json(status, &serde_json::json!({ "status": code })),
            Err(_) => empty(StatusCode::BAD_REQUEST),
        },
        None => refusal(StatusCode::BAD_REQUEST, "status: expected 200 to 599"),
    }
}
