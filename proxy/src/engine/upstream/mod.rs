//! Toward the regional backends.

pub mod connect;
pub mod h1;
pub mod pool;
