//! The thin layer: sockets, tasks, files and pingora. Decisions live in the
//! pure crates; this one translates, calls and translates back.

pub mod admin;
pub mod cli;
pub mod edge;
pub mod engine;
pub mod overrides;
pub mod pipeline;
pub mod reload;
pub mod server;
pub mod settings;
pub mod telemetry;
