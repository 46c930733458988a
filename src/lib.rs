//! Lib.

pub mod config;
pub mod limit;
pub mod moment;
pub mod snapshot;
pub mod wechat;
