//! Pages: what a scrape found, in the form that the scraper asked for.
//!
//! - `families`: the table of metrics
//! - `exporter`: the exporter's own metrics
//! - `encoder`: samples as text
//! - `page`: the body, written while it is sent
//! - `negotiate`: what the scraper asked for

mod encoder;
mod exporter;
pub mod families;
mod negotiate;
mod page;

pub use exporter::Handler;
pub(crate) use exporter::are_of_no_app;
pub use negotiate::Form;
pub use page::{Exposition, Page, Scope};

#[cfg(test)]
mod tests;
