//! How large an answer's head is as HTTP/2 and HTTP/3 count it, for clients
//! that say how much they take (RFC 9113, 6.5.2; RFC 9114, 4.2.2).

use crate::h1::{Connection, ResponsePlan};
use crate::known::{Known, KnownSet};
use crate::response::ResponseHead;
use crate::rules::BodyFraming;

/// `content-length` and twenty digits.
const LENGTH_MAX: u64 = 14 + 20;
/// What a field costs beside its name and value.
const PER_FIELD: u64 = 32;
/// `:status` and three digits.
const STATUS: u64 = 7 + 3 + PER_FIELD;

/// Whether a client that takes `most` bytes takes this answer's head. Nearly
/// always told without looking at a field.
pub fn section_fits(head: &ResponseHead, plan: &ResponsePlan<'_>, most: u64) -> bool {
    let text = (head.fields.raw.len() + plan.append.text_len()) as u64;
    let fields = (head.fields.entries.len() + plan.append.len() + 2) as u64;
    text + fields * PER_FIELD + LENGTH_MAX + STATUS <= most || section_size(head, plan) <= most
}

/// Bytes of the field section that an answer becomes: names and values before
/// compression, and 32 for each field.
fn section_size(head: &ResponseHead, plan: &ResponsePlan<'_>) -> u64 {
    const OWN: KnownSet = KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]);
    let skip = plan.drop.union(OWN);
    let passed: u64 = head
        .fields()
        .filter(|field| !field.hop && !skip.contains(field.known))
        .map(|field| size(field.name.len(), field.value.len()))
        .sum();
    let added: u64 = plan
        .append
        .iter()
        .map(|(name, value)| size(name.len(), value.len()))
        .sum();
    let name = Known::ContentLength.as_str().len();
    let length = match (plan.framing, plan.connection) {
        (BodyFraming::Length(length), _) => size(
            name,
            length.checked_ilog10().map_or(1, |log| log as usize + 1),
        ),
        (BodyFraming::None, Connection::KeepAlive | Connection::Close) => head
            .first(Known::ContentLength)
            .map_or(0, |value| size(name, value.len())),
        (BodyFraming::None, Connection::Upgrade)
        | (BodyFraming::Chunked | BodyFraming::UntilClose, _) => 0,
    };
    STATUS + passed + added + length
}

const fn size(name: usize, value: usize) -> u64 {
    name as u64 + value as u64 + PER_FIELD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::added::Added;
    use crate::version::Version;

    #[test]
    fn an_answers_size_is_that_of_what_is_sent() {
        let mut head = ResponseHead::new();
        head.begin(200);
        head.push("x-a", b"12345");
        head.push("alt-svc", b"dropped");
        head.push("content-length", b"7");
        let mut append = Added::default();
        append.push("x-request-id", b"abc");
        let plan = |framing| ResponsePlan {
            to: Version::Http2,
            drop: KnownSet::of(&[Known::AltSvc]),
            append: &append,
            framing,
            connection: Connection::KeepAlive,
        };
        let fields = (7 + 3 + 32) + (3 + 5 + 32) + (12 + 3 + 32);
        for (framing, length) in [
            (BodyFraming::Chunked, 0),
            (BodyFraming::Length(0), 14 + 1 + 32),
            (BodyFraming::Length(1_000), 14 + 4 + 32),
            (BodyFraming::None, 14 + 1 + 32),
        ] {
            let size = section_size(&head, &plan(framing));
            assert_eq!(size, fields + length, "{framing:?}");
            let plan = plan(framing);
            assert!(section_fits(&head, &plan, size), "{framing:?}");
            assert!(!section_fits(&head, &plan, size - 1), "{framing:?}");
        }
    }
}
