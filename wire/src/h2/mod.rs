//! HTTP/2 below its codec: what can be known, or held back, by frame headers
//! alone (RFC 9113, 4.1).
//!
//! Promises: constant memory, a few instructions a frame, the same however the
//! bytes are cut. Refuses: field blocks, flow control, the rules of streams;
//! those belong to the codec above.

mod farewell;
mod frame;

pub use crate::h2::farewell::{Farewell, SHUTDOWN_ACK};
pub use crate::h2::frame::{Follower, FrameHeader, kind};
