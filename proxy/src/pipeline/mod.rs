//! From a parsed head to a decision, and from a decision to what is sent.
//!
//! Promises: one order of stages for every protocol; each stage translates,
//! calls a pure function and translates back. Refuses: sockets and waiting
//! (`engine` has them).

pub mod admit;
pub mod audit;
pub mod events;
pub mod extra;
pub mod forwarded;
pub mod identify;
pub mod ids;
pub mod mcp;
pub mod record;
pub mod refuse;
pub mod respond;
pub mod session;
