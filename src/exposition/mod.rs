//! Pages: what a scrape found, in the form that the scraper asked for.
//!
//! Readings become families of series (`family` names them, `readings` fills them), series become bytes of some format
//! (`encode`), bytes become compressed parts (`compress`), and parts that show the same as before serve again (`page`,
//! `shelf`, `sheet`).

mod compress;
mod encode;
mod exporter;
pub mod family;
mod format;
mod page;
mod readings;
mod series;
mod sheet;
mod shelf;

use bytes::Bytes;
use hyper::header::HeaderValue;

pub use exporter::{ExporterCounters, Handler, are_of_no_app};
pub use format::Form;
pub use page::Exposition;

/// What a page covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The scrape's apps and the exporter's own metrics: `/metrics`.
    Everything,
    /// The scrape's apps alone: `/probe` and `collect`.
    AppsOnly,
}

/// A page, ready to send.
#[derive(Debug)]
pub struct Page {
    /// `Content-Type`.
    pub content_type: HeaderValue,
    /// `Content-Encoding`; `None`: identity.
    pub content_encoding: Option<HeaderValue>,
    /// The body's parts, in order.
    pub body: Vec<Bytes>,
}

impl Page {
    /// Unit: bytes.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        self.body.iter().map(|part| part.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests;
