//! HTTP/1.1 and HTTP/1.0 on both sides (RFC 9112).

mod controls;
mod decode;
mod encode;
mod extension;
mod request;
mod response;
mod scan;
mod trailers;
mod write;

pub use crate::h1::decode::{BodyDecoder, Step};
pub use crate::h1::encode::BodyEncoder;
pub use crate::h1::request::RequestParser;
pub use crate::h1::response::ResponseParser;
pub use crate::h1::trailers::Trailers;
pub use crate::h1::write::{Connection, RequestPlan, ResponsePlan, write_request, write_response};
