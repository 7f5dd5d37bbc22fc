//! The audit log: what a record says, how records are chained, how a chain is
//! verified and what a report makes of it.
//!
//! Promises: one record is one line of canonical JSON (keys in order, no
//! white space, whole numbers only); each line names the hash of the one
//! before it, so that a line that was changed, taken out, put in or moved is
//! found; a verifier and a report read the same lines. Personal data is kept
//! to what is needed: a client's network (/24, /48) instead of its address,
//! and no text of the client.
//!
//! Refuses: to say that nothing was cut off at the end; whoever holds the
//! head (`seq` and `hash`, in `/readyz` and the metrics) can tell.

mod canonical;
mod chain;
mod html;
mod moment;
mod record;
mod report;
mod verify;

pub use chain::{Chain, GENESIS, Head, LINE_BYTES_MAX};
pub use moment::{civil, parse_moment, rfc3339};
pub use record::{
    Checked, Context, Kind, Lost, Opened, OpenedWhy, Operation, Refused, Transferred,
    client_network,
};
pub use report::{Period, Report};
pub use verify::{Fault, Verified, Verifier};

#[cfg(test)]
mod tests;
