//! The functions of zlib under the name of zlib-ng.
//!
//! Promises: what is named here exists with the same signature. Refuses to be
//! more than a name: no code of its own.

pub use libz_sys::*;
