//! The echo: what arrived, as it arrived. Promises the target, the headers in
//! their order and the body's length, digest and text. Keeps at most
//! [`TEXT_MAX`] of a body; the rest is counted and digested as it passes.

use std::{collections::BTreeMap, fmt::Write};

use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    body::{Answer, json, refusal},
    region::Region,
};

/// Bytes of a body that come back as text (64 KiB).
pub(crate) const TEXT_MAX: usize = 64 * 1024;
/// Longest body that is read to its end (1 GiB); more is answered 413.
const BODY_MAX: u64 = 1 << 30;

/// What `/v3/echo` answers.
#[derive(Serialize)]
struct Seen<'a> {
    region: &'a str,
    method: &'a str,
    /// Target as received, query included.
    path: String,
    /// `HTTP/1.1`, `HTTP/2.0`.
    version: String,
    /// By lower-case name; repeated ones joined by `, `.
    headers: BTreeMap<&'a str, String>,
    /// In order of arrival (repeated names together), names in lower case.
    header_list: Vec<(&'a str, String)>,
    /// Authority of the target: h2's `:authority`, or an absolute form's.
    authority: Option<&'a str>,
    body: BodySeen,
}

#[derive(Default, Serialize)]
struct BodySeen {
    length: u64,
    sha256: String,
    /// Absent when longer than 64 KiB or not UTF-8.
    text: Option<String>,
    trailers: Vec<(String, String)>,
}

/// Answers with what was received, once the body has ended.
pub(crate) async fn describe(request: Request<Incoming>, region: &Region) -> Answer {
    let (parts, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        Err(answer) => return *answer,
    };
    let header_list = list(&parts.headers);
    let mut headers = BTreeMap::<&str, String>::new();
    for (name, value) in &header_list {
        let joined = headers.entry(name).or_default();
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(value);
    }
    let seen = Seen {
        region: region.as_str(),
        method: parts.method.as_str(),
        path: parts
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        version: format!("{:?}", parts.version),
        headers,
        header_list,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        body,
    };
    json(StatusCode::OK, &seen)
}

/// The body back, byte for byte as it arrives, under its own content type.
pub(crate) fn stream(request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let mut answer = http::Response::new(body.map_err(Into::into).boxed_unsync());
    if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
        answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    answer
}

fn list(headers: &HeaderMap) -> Vec<(&str, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), text(value)))
        .collect()
}

async fn read(mut body: Incoming) -> Result<BodySeen, Box<Answer>> {
    let mut seen = BodySeen::default();
    let mut kept = Vec::new();
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Box::new(refusal(StatusCode::BAD_REQUEST, &format!("body: {error}")))
        })?;
        match frame.into_data() {
            Ok(data) => {
                seen.length += data.len() as u64;
                digest.update(&data);
                let room = (TEXT_MAX + 1).saturating_sub(kept.len()).min(data.len());
                kept.extend_from_slice(data.get(..room).unwrap_or_default());
            }
            Err(frame) => {
                let fields = frame.into_trailers().unwrap_or_default();
                seen.trailers = list(&fields)
                    .into_iter()
                    .map(|(n, v)| (n.to_owned(), v))
                    .collect();
            }
        }
        if seen.length > BODY_MAX {
            return Err(Box::new(refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body: at most 1 GiB",
            )));
        }
    }
    seen.sha256 = digest
        .finalize()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    seen.text = if kept.len() > TEXT_MAX {
        None
    } else {
        String::from_utf8(kept).ok()
    };
    Ok(seen)
}
