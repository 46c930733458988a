//! Families filled a series at a time, encoded as they come, and handed on in pieces.
//!
//! Nothing is built in between: a `Metric` of the `prometheus` crate costs several heap strings, ten times what encoding
//! it costs. Only what the crate itself counts (histograms, the process) arrives as one.

use std::ops::Range;

use prometheus::proto::{Metric, MetricFamily};

use super::compress::{Compressor, Effort, Part};
use super::encode::Encoder;
use super::family::Family;
use super::format::{Coding, Format};

/// Bytes that are encoded before they are handed on to be compressed, and the size of a plain part's pieces: so large that
/// the allocator maps each piece, and gives it back when the page goes. Smaller ones would stay in the heap of the thread
/// that made the page, once for each thread that ever made one. A buffer grows to 256 KiB, of which the last is for the
/// series that goes beyond.
const HAND_ON: usize = 255 << 10;

/// What a buffer begins with; most parts are small. Unit: bytes.
const FEW: usize = 8 << 10;

/// Series as the sample lines of some format.
#[derive(Debug)]
pub(super) struct Series<'n> {
    encoder: Encoder,
    compressor: Option<Compressor>,
    /// The only families that are wanted; all where empty.
    names: &'n [String],
}

impl<'n> Series<'n> {
    /// Series of a part, to be ended by [`Self::into_part`].
    pub(super) fn part(
        format: Format,
        coding: Coding,
        effort: Effort,
        names: &'n [String],
    ) -> Self {
        Self {
            encoder: Encoder::new(format, FEW),
            compressor: Some(Compressor::new(coding, effort)),
            names,
        }
    }

    /// A few series of one scrape, to be ended by [`Self::into_bytes`].
    pub(super) fn few(format: Format) -> Self {
        Self {
            encoder: Encoder::new(format, FEW),
            compressor: None,
            names: &[],
        }
    }

    /// A few series of a text format, to be ended by [`Self::into_marked`].
    pub(super) fn marking(format: Format) -> Self {
        Self {
            encoder: Encoder::marking(format, FEW),
            compressor: None,
            names: &[],
        }
    }

    /// Begins a family that [`Self::end`] ends, where all are wanted.
    pub(super) fn begin(&mut self, family: &Family) {
        self.encoder.family(family.name, family.help, family.kind);
    }

    /// Ends the family.
    pub(super) fn end(&mut self) {
        self.encoder.end_family();
        self.hand_on();
    }

    /// Writes one whole family: `fill` adds its series. Where it adds none, nothing is written.
    pub(super) fn family(&mut self, family: &Family, fill: impl FnOnce(&mut Self)) {
        if self.wants(family.name) {
            self.begin(family);
            fill(self);
            self.end();
        }
    }

    /// Writes a family that the `prometheus` crate collected.
    pub(super) fn collected(&mut self, family: &MetricFamily) {
        if self.wants(family.name()) {
            self.encoder
                .family(family.name(), family.help(), family.get_field_type());
            for metric in family.get_metric() {
                self.add_metric(metric);
            }
            self.encoder.end_family();
            self.hand_on();
        }
    }

    /// Adds a gauge or a counter, as the family is.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.encoder.sample(labels, value);
        self.hand_on();
    }

    /// Adds a metric that the `prometheus` crate counted, for example a histogram.
    pub(super) fn add_metric(&mut self, metric: &Metric) {
        self.encoder.metric(metric);
        self.hand_on();
    }

    /// The part: everything written, compressed.
    pub(super) fn into_part(self) -> Part {
        let mut compressor = self
            .compressor
            .expect("a part is begun by `Series::part`, which gives it a compressor");
        compressor.write(self.encoder.into_bytes());
        compressor.finish()
    }

    /// The plain bytes of everything written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.encoder.into_bytes()
    }

    /// As [`Self::into_bytes`], with the places of the values.
    pub(super) fn into_marked(self) -> (Vec<u8>, Vec<Range<usize>>) {
        self.encoder.into_marked()
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    fn hand_on(&mut self) {
        if let Some(compressor) = &mut self.compressor
            && self.encoder.complete() >= HAND_ON
        {
            self.encoder.hand_on(|plain| compressor.write(plain));
        }
    }
}
