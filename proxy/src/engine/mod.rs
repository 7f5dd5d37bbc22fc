//! Bytes in, bytes out: connections, exchanges, tunnels, pools.
//!
//! Promises: one exchange loop for every version; bounded buffers that are
//! held only while bytes are in them; deadlines for everything that can wait.
//! Refuses: decisions. Those are the pipeline's, on `policies` and `waf`.

pub mod buffers;
pub mod connection;
pub mod deadlines;
pub mod downstream;
pub mod exchange;
pub mod forward;
pub mod io;
mod last_word;
pub mod line;
pub mod pace;
pub mod relay;
pub mod scratch;
pub mod tunnel;
pub mod upstream;
