//! What a decision leaves behind.
//!
//! OWNER OF THIS FOLDER: replaces everything. `lib.rs` re-exports all public
//! names of this module at the crate's root.

/// One request's record.
#[derive(Debug, Default)]
pub struct Receipt;
