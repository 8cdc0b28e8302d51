//! Points in time and durations: [`std::time`], which never blocks.

pub use std::time::*;
