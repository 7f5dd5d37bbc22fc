//! Pingora wiring.
