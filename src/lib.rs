//! Lib.

pub mod config;
pub mod wechat;
