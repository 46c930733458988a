//! The text formats of Prometheus: 0.0.4 and OpenMetrics 1.0.0.

use std::io::Write as _;

use prometheus::Histogram;
use prometheus::core::Metric as _;

/// The format that samples are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// The units that are declared in OpenMetrics; the names of metrics end in them.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// A writer of families, one after the other, each with any number of samples.
pub(super) struct Encoder {
    format: Format,
    /// The output that has not been taken yet.
    pub(super) out: Vec<u8>,
    name: String,
    /// The family's `# HELP` and `# TYPE`, written with its first sample: a family without samples leaves nothing.
    header: String,
}

impl Encoder {
    pub(super) fn new(format: Format, capacity: usize) -> Self {
        Self {
            format,
            out: Vec::with_capacity(capacity),
            name: String::new(),
            header: String::new(),
        }
    }

    /// Begins a family. `name` includes the `_total` of a counter; `kind` is `gauge`, `counter` or `histogram`.
    pub(super) fn begin(&mut self, name: &str, help: &str, kind: &str) {
        name.clone_into(&mut self.name);
        self.header = match self.format {
            Format::Text => format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
            Format::OpenMetrics => {
                // An `_info` family stays a gauge, as it is in text: OpenMetrics' own info type would give it another
                // name, and a dashboard would find it in one format only.
                let name = name.strip_suffix("_total").unwrap_or(name);
                let unit = UNITS.into_iter().find(|unit| name.ends_with(unit));
                let unit = unit.map(|unit| format!("# UNIT {name} {unit}\n"));
                let unit = unit.unwrap_or_default();
                format!("# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n")
            }
        };
    }

    /// Writes a sample of a counter or a gauge, if there is one.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.line("", labels, value);
        }
    }

    /// Writes all samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let metric = histogram.metric();
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count() as f64;
        for bucket in histogram.get_bucket() {
            let bound = bucket.upper_bound();
            let bound = match self.format {
                Format::Text => bound.to_string(),
                // The canonical form of OpenMetrics has a decimal point.
                Format::OpenMetrics => format!("{bound:?}"),
            };
            let labels = [labels, &[("le", &bound)]].concat();
            self.line("_bucket", &labels, bucket.cumulative_count() as f64);
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), count);
        self.line("_sum", labels, histogram.get_sample_sum());
        self.line("_count", labels, count);
    }

    /// Writes the end of a page.
    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let out = &mut self.out;
        out.extend_from_slice(self.header.as_bytes());
        self.header.clear();
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        let mut before = b'{';
        for (name, value) in labels {
            out.push(before);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            escaped(out, value);
            out.push(b'"');
            before = b',';
        }
        out.extend_from_slice(if labels.is_empty() { b" " } else { b"} " });
        number(out, value);
        out.push(b'\n');
    }
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'\\' | b'\n' | b'"'))
    {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(if rest[at] == b'\n' { b'n' } else { rest[at] });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Writes the shortest digits that read back as the same float, never an exponent.
fn number(out: &mut Vec<u8>, value: f64) {
    // Nearly every number on a page is whole, and formatting a float takes four times as long.
    let whole = value as i64;
    if (whole as f64).to_bits() == value.to_bits() {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else {
        write!(out, "{value}").expect("a Vec takes every byte");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_label_and_number_reads_as_what_it_was(label in any::<String>(), bits in any::<u64>(), whole in any::<i32>()) {
            let escaped = label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let series = format!("gauge\nx{{a=\"{escaped}\"}} ");
            for value in [f64::from_bits(bits), f64::from(whole), f64::from(whole) / 1000.0] {
                let mut encoder = Encoder::new(Format::Text, 0);
                encoder.begin("x", "Help.", "gauge");
                encoder.sample(&[("a", &label)], value);
                let text = String::from_utf8(encoder.out).unwrap();
                let number: f64 = text.split_once(&series).unwrap().1.trim_end().parse().unwrap();
                prop_assert!(number.to_bits() == value.to_bits() || value.is_nan() && number.is_nan());
            }
        }
    }
}
