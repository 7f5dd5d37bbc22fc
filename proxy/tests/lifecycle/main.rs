//! The life of a process as its operator sees it: drained, reloaded, asked,
//! replaced.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod descriptors;
mod drain;
mod edge;
mod load;
mod tls;
mod upgrade;
