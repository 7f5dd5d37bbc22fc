//! What the crate promises, seen from outside.

mod oracle;
mod promises;
mod strictness;
mod vectors;
