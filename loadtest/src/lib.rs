//! An open-loop load generator.
//!
//! Promises: requests start at a fixed rate whatever the server does; latency
//! counts from the moment a request should have started, so a server that
//! stalls cannot hide the requests it kept waiting; requests that could not be
//! sent or answered in time are errors, never left out.
//!
//! Refuses: to load anything but loopback unless told so, to trust a
//! certificate nobody vouched for, and to grow: open requests are bounded by
//! connections times streams, results by histograms of fixed size.

pub mod args;
mod connect;
mod lane;
pub mod plan;
mod quic;
mod record;
pub mod report;
mod run;
mod schedule;

pub use run::{RunError, run};
