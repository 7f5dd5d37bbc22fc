//! Decisions for hypothetical requests, and receipts for people.
//!
//! OWNER OF THIS FOLDER: replaces everything.
