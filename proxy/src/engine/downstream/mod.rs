//! Toward the clients.

pub mod flood;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod hold;
pub mod side;
