//! The exporter's client against the simulated API: both ends of the wire, written apart, must mean the same.
//!
//! - [`endpoints`]: each call is read as what was said
//! - [`faults`]: each fault is told apart as the reason that the metrics show
//! - [`cloud_function`]: what the shipped cloud function returns is read, success and failure

#![allow(clippy::unwrap_used, reason = "a test stops where it is wrong")]

mod cloud_function;
mod endpoints;
mod faults;
mod support;
