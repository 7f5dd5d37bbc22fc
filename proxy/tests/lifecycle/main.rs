//! The life of a process as its operator sees it: drained, reloaded, asked.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod drain;
mod edge;
