//! The text formats of Prometheus: 0.0.4 and OpenMetrics 1.0.0.

use std::io::Write as _;

use prometheus::proto;

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Units that OpenMetrics is told of; each ends the names that have it.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// Writes families one after the other, each of any number of samples.
#[derive(Debug)]
pub(super) struct Encoder {
    format: Format,
    /// What is written and not yet taken.
    pub(super) out: Vec<u8>,
    name: String,
    /// The family's `# HELP` and `# TYPE`, written with its first sample: a family without samples leaves nothing.
    header: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(format: Format, capacity: usize) -> Self {
        Self {
            format,
            out: Vec::with_capacity(capacity),
            name: String::new(),
            header: Vec::new(),
        }
    }

    /// Begins a family. `name` is the full one, a counter's with `_total`.
    pub(super) fn begin(&mut self, name: &str, help: &str, kind: Kind) {
        name.clone_into(&mut self.name);
        self.header.clear();
        let header = &mut self.header;
        match self.format {
            Format::Text => {
                comment(header, "HELP", name, help);
                comment(header, "TYPE", name, kind.as_str());
            }
            Format::OpenMetrics => {
                // An `_info` family stays the gauge that it is in text: as OpenMetrics' own info type it would be named
                // differently, and a dashboard would find it in one format only.
                let name = match kind {
                    Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
                    Kind::Gauge | Kind::Histogram => name,
                };
                comment(header, "TYPE", name, kind.as_str());
                let last_word = name.rsplit('_').next();
                if let Some(unit) = UNITS.into_iter().find(|unit| last_word == Some(unit)) {
                    comment(header, "UNIT", name, unit);
                }
                comment(header, "HELP", name, help);
            }
        }
    }

    /// Writes a sample of a counter or a gauge.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    /// Writes all samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &proto::Histogram) {
        let format = self.format;
        let count = histogram.get_sample_count() as f64;
        let mut bucket = |bound: &str, count: f64| {
            let labels = [labels, &[("le", bound)]].concat();
            self.line("_bucket", &labels, count);
        };
        for of in histogram.get_bucket() {
            let bound = of.upper_bound();
            let bound = match format {
                Format::Text => bound.to_string(),
                // Its canonical form has a point.
                Format::OpenMetrics => format!("{bound:?}"),
            };
            bucket(&bound, of.cumulative_count() as f64);
        }
        bucket("+Inf", count);
        self.line("_sum", labels, histogram.get_sample_sum());
        self.line("_count", labels, count);
    }

    /// Writes what ends a page.
    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let out = &mut self.out;
        out.append(&mut self.header);
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

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// `text` is one of our own, and needs no escapes.
fn comment(out: &mut Vec<u8>, keyword: &str, name: &str, text: &str) {
    for part in ["# ", keyword, " ", name, " ", text, "\n"] {
        out.extend_from_slice(part.as_bytes());
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

/// The shortest digits that read as the same float, never an exponent.
fn number(out: &mut Vec<u8>, value: f64) {
    // Nearly every number of a page is whole, and a float takes four times as long.
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

    fn written(format: Format, write: impl FnOnce(&mut Encoder)) -> String {
        let mut encoder = Encoder::new(format, 0);
        write(&mut encoder);
        encoder.end();
        String::from_utf8(encoder.out).unwrap()
    }

    /// One family of each type, and one without samples.
    fn families(encoder: &mut Encoder) {
        encoder.begin("calls_total", "Calls.", Kind::Counter);
        encoder.sample(&[("api", "list"), ("reason", "rate")], 3.0);
        encoder.sample(&[], -0.5);
        encoder.begin("absent", "Nothing.", Kind::Gauge);
        encoder.begin("fetch_seconds", "Time.", Kind::Histogram);
        let options = prometheus::HistogramOpts::new("x", "x").buckets(vec![0.25, 1.0]);
        let histogram = prometheus::Histogram::with_opts(options).unwrap();
        histogram.observe(0.5);
        let metric = prometheus::core::Metric::metric(&histogram);
        encoder.histogram(&[("appid", "wx1")], metric.get_histogram());
    }

    #[test]
    fn families_are_written_as_each_format_asks() {
        assert_eq!(
            written(Format::Text, families),
            "# HELP calls_total Calls.\n\
            # TYPE calls_total counter\n\
            calls_total{api=\"list\",reason=\"rate\"} 3\n\
            calls_total -0.5\n\
            # HELP fetch_seconds Time.\n\
            # TYPE fetch_seconds histogram\n\
            fetch_seconds_bucket{appid=\"wx1\",le=\"0.25\"} 0\n\
            fetch_seconds_bucket{appid=\"wx1\",le=\"1\"} 1\n\
            fetch_seconds_bucket{appid=\"wx1\",le=\"+Inf\"} 1\n\
            fetch_seconds_sum{appid=\"wx1\"} 0.5\n\
            fetch_seconds_count{appid=\"wx1\"} 1\n"
        );
        assert_eq!(
            written(Format::OpenMetrics, families),
            "# TYPE calls counter\n\
            # HELP calls Calls.\n\
            calls_total{api=\"list\",reason=\"rate\"} 3\n\
            calls_total -0.5\n\
            # TYPE fetch_seconds histogram\n\
            # UNIT fetch_seconds seconds\n\
            # HELP fetch_seconds Time.\n\
            fetch_seconds_bucket{appid=\"wx1\",le=\"0.25\"} 0\n\
            fetch_seconds_bucket{appid=\"wx1\",le=\"1.0\"} 1\n\
            fetch_seconds_bucket{appid=\"wx1\",le=\"+Inf\"} 1\n\
            fetch_seconds_sum{appid=\"wx1\"} 0.5\n\
            fetch_seconds_count{appid=\"wx1\"} 1\n\
            # EOF\n"
        );
    }

    proptest! {
        #[test]
        fn any_label_and_number_reads_as_what_it_was(label in any::<String>(), bits in any::<u64>(), whole in any::<i32>()) {
            for value in [f64::from_bits(bits), f64::from(whole), f64::from(whole) / 1000.0] {
                let text = written(Format::Text, |encoder| {
                    encoder.begin("x", "Help.", Kind::Gauge);
                    encoder.sample(&[("a", &label)], value);
                });
                let line = text.split_once("gauge\n").unwrap().1;
                let (series, number) = line.rsplit_once(' ').unwrap();
                let escaped = series.strip_prefix("x{a=\"").unwrap().strip_suffix("\"}").unwrap();
                let mut characters = escaped.chars();
                let mut read = String::new();
                while let Some(character) = characters.next() {
                    read.push(match character {
                        '\\' => match characters.next().unwrap() {
                            'n' => '\n',
                            other => other,
                        },
                        '"' | '\n' => panic!("{escaped} is not escaped"),
                        other => other,
                    });
                }
                prop_assert_eq!(&read, &label);
                let number: f64 = number.trim_end().parse().unwrap();
                prop_assert!(number.to_bits() == value.to_bits() || value.is_nan() && number.is_nan());
            }
        }
    }
}
