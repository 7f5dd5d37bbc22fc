//! HTTP messages: sans-I/O codecs and one set of message rules.
//!
//! Promises: bytes in, heads and body steps out; no clock, no socket, no
//! allocation per message in steady state; the same rules for h1, h2 and h3
//! requests and for the answers of upstreams; what is written comes from what
//! was parsed, never from the bytes as received.
//!
//! Refuses: everything that two readers could understand differently. Nothing
//! is repaired; each refusal is one [`Malformed`] variant, all of them are
//! listed in `docs/http-strictness.md`.

mod added;
mod authority;
mod builder;
mod bytes;
mod cookies;
pub mod events;
mod fields;
pub mod h1;
pub mod h2;
pub mod h3;
mod known;
mod limits;
mod line;
mod malformed;
mod method;
mod names;
pub mod path;
pub mod proxy_protocol;
mod request;
mod response;
mod rules;
mod section;
mod version;
pub mod websocket;

pub use crate::added::{Added, NOTHING_ADDED};
pub use crate::builder::{EndStream, RequestBuilder, ResponseBuilder};
pub use crate::fields::Field;
pub use crate::known::{Known, KnownSet};
pub use crate::limits::HeadLimits;
pub use crate::malformed::Malformed;
pub use crate::method::Method;
pub use crate::path::PathNotes;
pub use crate::request::RequestHead;
pub use crate::response::ResponseHead;
pub use crate::rules::{BodyFraming, Upgrade};
pub use crate::section::section_fits;
pub use crate::version::Version;
