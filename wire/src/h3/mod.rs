//! HTTP/3 on the side of a server (RFC 9114, RFC 9204, RFC 9220), without I/O.
//!
//! Promises: bytes of streams in, heads and body steps out, the same however
//! they are cut; the rules of messages are those of every other version;
//! bounded memory and linear time whatever length a frame declares; a message
//! that was cut short is never whole.
//!
//! Refuses: the dynamic table of QPACK, in both directions; server push;
//! frames where they do not belong; more control frames than the requests
//! justify.

mod code;
mod control;
mod decode;
mod encode;
mod huffman;
mod instructions;
mod prefix;
mod request;
mod response;
mod settings;
mod table;
mod varint;

pub use crate::h3::code::{Code, Fault};
pub use crate::h3::control::{Control, Uni, UniStream, write_control_opening, write_goaway};
pub use crate::h3::decode::Scratch;
pub use crate::h3::request::{RequestReader, Step};
pub use crate::h3::response::{BodyEncoder, write_interim, write_response};
pub use crate::h3::settings::PeerSettings;

/// Frame types (RFC 9114 7.2).
mod frame {
    pub(super) const DATA: u64 = 0x00;
    pub(super) const HEADERS: u64 = 0x01;
    pub(super) const CANCEL_PUSH: u64 = 0x03;
    pub(super) const SETTINGS: u64 = 0x04;
    pub(super) const PUSH_PROMISE: u64 = 0x05;
    pub(super) const GOAWAY: u64 = 0x07;
    pub(super) const MAX_PUSH_ID: u64 = 0x0d;

    /// Types of HTTP/2 that must not come (RFC 9114 7.2.8).
    pub(super) const fn is_reserved(kind: u64) -> bool {
        matches!(kind, 0x02 | 0x06 | 0x08 | 0x09)
    }
}

#[cfg(test)]
mod testing;
