//! Placeholder.
pub mod archive;
pub mod digest;
