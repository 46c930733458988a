//! The exporter's properties, for the fuzz targets.

#[path = "../../tests/properties/mod.rs"]
pub mod properties;
