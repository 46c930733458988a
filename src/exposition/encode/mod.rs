//! Writes metrics in the formats that scrapers read, from the `prometheus` crate's model of them.
//!
//! The crate's own text encoder takes whole families only, each label a string on the heap, and knows no OpenMetrics;
//! its protobuf one brings a second model. This one takes a sample at a time. Text comes out as the crate writes it,
//! byte by byte, but for one fault: a histogram's explicit infinite bound is `+Inf` here, `inf` there.

pub(super) mod number;
mod protobuf;
mod text;

use std::ops::Range;

use prometheus::proto::{Metric, MetricType};

use super::format::Format;

/// Writes families one after the other, each of any number of samples.
#[derive(Debug)]
pub(super) struct Encoder {
    format: Format,
    out: Vec<u8>,
    /// What the family's plain samples are called; in OpenMetrics a counter's name with `_total`.
    name: String,
    kind: MetricType,
    /// Where the family's header begins in `out`.
    start: usize,
    /// No sample of the family has been written yet.
    bare: bool,
    /// Where in `out` the values of plain samples stand, if that is wanted.
    places: Option<Vec<Range<usize>>>,
}

impl Encoder {
    /// An encoder for that format, with room for so many bytes.
    pub(super) fn new(format: Format, capacity: usize) -> Self {
        Self {
            format,
            out: Vec::with_capacity(capacity),
            name: String::new(),
            kind: MetricType::GAUGE,
            start: 0,
            bare: true,
            places: None,
        }
    }

    /// An encoder for a text format that remembers where it wrote the values of plain samples.
    pub(super) fn marking(format: Format, capacity: usize) -> Self {
        Self {
            places: Some(Vec::new()),
            ..Self::new(format, capacity)
        }
    }

    /// Begins a family. `name` is the full one, a counter's with `_total`.
    pub(super) fn family(&mut self, name: &str, help: &str, kind: MetricType) {
        self.name.clear();
        self.name.push_str(name);
        self.kind = kind;
        self.start = self.out.len();
        self.bare = true;
        match self.format {
            Format::Text => text::header(&mut self.out, name, help, kind),
            Format::OpenMetrics => {
                text::openmetrics_header(&mut self.out, name, help, kind);
                if kind == MetricType::COUNTER && !name.ends_with(text::TOTAL) {
                    self.name.push_str(text::TOTAL);
                }
            }
            Format::Protobuf => protobuf::header(&mut self.out, name, help, kind),
        }
    }

    /// Writes one sample of a counter, a gauge or an untyped family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.value(labels.iter().copied(), value, 0);
    }

    /// Writes a metric as the `prometheus` crate collects it: of the family's type, with all its samples.
    pub(super) fn metric(&mut self, metric: &Metric) {
        let labels = metric
            .get_label()
            .iter()
            .map(|pair| (pair.name(), pair.value()));
        let timestamp = metric.timestamp_ms();
        match self.kind {
            MetricType::COUNTER => self.value(labels, metric.get_counter().get_value(), timestamp),
            MetricType::GAUGE => self.value(labels, metric.get_gauge().get_value(), timestamp),
            // The crate's untyped metric has no value that can be read; it never makes one.
            MetricType::UNTYPED => self.value(labels, 0.0, timestamp),
            MetricType::HISTOGRAM | MetricType::SUMMARY => {
                self.bare = false;
                match self.format {
                    Format::Protobuf => protobuf::distribution(&mut self.out, self.kind, metric),
                    Format::Text | Format::OpenMetrics => text::distribution(
                        &mut self.out,
                        self.format,
                        &self.name,
                        self.kind,
                        metric,
                    ),
                }
            }
        }
    }

    /// Ends the family. One without samples leaves nothing.
    pub(super) fn end_family(&mut self) {
        if self.bare {
            self.out.truncate(self.start);
        } else if self.format == Format::Protobuf {
            protobuf::put_length_first(&mut self.out, self.start);
        }
        self.bare = true;
    }

    /// What is complete and may be handed on. Unit: bytes.
    ///
    /// A protobuf family's length stands before it, so that nothing of it is complete before its end.
    pub(super) fn complete(&self) -> usize {
        let open = self.format == Format::Protobuf && !self.bare;
        if open { 0 } else { self.out.len() }
    }

    /// Hands what was written on and goes on in the buffer that comes back. To be called after a sample or a family.
    pub(super) fn hand_on(&mut self, to: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.out = to(std::mem::take(&mut self.out));
        self.out.clear();
    }

    /// Everything written and not yet handed on.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// As [`Self::into_bytes`], with the places of the values.
    pub(super) fn into_marked(self) -> (Vec<u8>, Vec<Range<usize>>) {
        (self.out, self.places.unwrap_or_default())
    }

    fn value<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        value: f64,
        timestamp_ms: i64,
    ) {
        self.bare = false;
        match self.format {
            Format::Text | Format::OpenMetrics => {
                text::name_and_labels(&mut self.out, &self.name, "", labels, None);
                let begin = self.out.len();
                number::float(&mut self.out, value);
                if let Some(places) = &mut self.places {
                    places.push(begin..self.out.len());
                }
                text::time_and_end(&mut self.out, self.format, timestamp_ms);
            }
            Format::Protobuf => {
                protobuf::value(&mut self.out, self.kind, labels, value, timestamp_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use prometheus::proto::{
        Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, Quantile, Summary,
    };
    use proptest::prelude::*;

    use super::*;

    /// A number of any size and sign, or none, or one that counts something.
    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            any::<i32>().prop_map(f64::from),
            Just(0.0),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::NAN),
        ]
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[\"\\\\\n,={} a圆]{0,12}",
            "[a-z_]{1,10}",
            Just("\\\"\n".repeat(5000)),
        ]
    }

    fn labels() -> impl Strategy<Value = Vec<LabelPair>> {
        prop::collection::vec((text(), text()), 0..4).prop_map(|labels| {
            let pair = |(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name);
                pair.set_value(value);
                pair
            };
            labels.into_iter().map(pair).collect()
        })
    }

    fn metric(kind: MetricType) -> impl Strategy<Value = Metric> {
        // An infinite bound is the one place where the crate is not followed.
        let bound = number().prop_filter("a finite bound", |bound| *bound != f64::INFINITY);
        (
            labels(),
            number(),
            any::<u64>(),
            prop::collection::vec((bound, any::<u64>(), number()), 0..4),
            prop_oneof![Just(0), any::<i64>()],
        )
            .prop_map(move |(labels, value, count, pieces, timestamp)| {
                let mut metric = Metric::from_label(labels);
                metric.set_timestamp_ms(timestamp);
                match kind {
                    MetricType::COUNTER => {
                        let mut counter = Counter::default();
                        counter.set_value(value);
                        metric.set_counter(counter);
                    }
                    MetricType::HISTOGRAM => {
                        let mut histogram = Histogram::default();
                        histogram.set_sample_sum(value);
                        histogram.set_sample_count(count);
                        let bucket = |(bound, count, _)| {
                            let mut bucket = Bucket::default();
                            bucket.set_upper_bound(bound);
                            bucket.set_cumulative_count(count);
                            bucket
                        };
                        histogram.set_bucket(pieces.into_iter().map(bucket).collect());
                        metric.set_histogram(histogram);
                    }
                    MetricType::SUMMARY => {
                        let mut summary = Summary::default();
                        summary.set_sample_sum(value);
                        summary.set_sample_count(count);
                        let quantile = |(quantile, _, value)| {
                            let mut of = Quantile::default();
                            of.set_quantile(quantile);
                            of.set_value(value);
                            of
                        };
                        summary.set_quantile(pieces.into_iter().map(quantile).collect());
                        metric.set_summary(summary);
                    }
                    MetricType::GAUGE | MetricType::UNTYPED => {
                        let mut gauge = Gauge::default();
                        gauge.set_value(value);
                        metric.set_gauge(gauge);
                    }
                }
                metric
            })
    }

    fn families() -> impl Strategy<Value = Vec<MetricFamily>> {
        let kind = prop_oneof![
            Just(MetricType::COUNTER),
            Just(MetricType::GAUGE),
            Just(MetricType::HISTOGRAM),
            Just(MetricType::SUMMARY),
        ];
        let family = kind.prop_flat_map(|kind| {
            let name = text().prop_filter("a name", |name| !name.is_empty());
            (name, text(), prop::collection::vec(metric(kind), 1..4)).prop_map(
                move |(name, help, metrics)| {
                    let mut family = MetricFamily::default();
                    family.set_name(name);
                    family.set_help(help);
                    family.set_field_type(kind);
                    family.set_metric(metrics);
                    family
                },
            )
        });
        prop::collection::vec(family, 0..4)
    }

    fn encoded(format: Format, families: &[MetricFamily]) -> Vec<u8> {
        let mut encoder = Encoder::new(format, 0);
        for family in families {
            encoder.family(family.name(), family.help(), family.get_field_type());
            for metric in family.get_metric() {
                encoder.metric(metric);
            }
            encoder.end_family();
        }
        encoder.into_bytes()
    }

    fn one(name: &str, kind: MetricType, metric: Metric) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help("say \"what\"\nand \\ why".to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        family
    }

    fn string(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn infinite_bound_is_named_as_prometheus_names_it_where_the_crate_writes_inf() {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(f64::INFINITY);
        bucket.set_cumulative_count(3);
        let mut histogram = Histogram::default();
        histogram.set_bucket(vec![bucket]);
        histogram.set_sample_count(3);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let families = [one("h", MetricType::HISTOGRAM, metric)];
        let theirs = TextEncoder::new().encode_to_string(&families).unwrap();
        assert!(theirs.contains("le=\"inf\""), "the crate has been mended");
        assert_eq!(
            string(encoded(Format::Text, &families)),
            theirs.replace("le=\"inf\"", "le=\"+Inf\"")
        );
    }

    #[test]
    fn openmetrics_counter_is_named_without_total_and_its_sample_with_it() {
        for name in ["calls_total", "calls"] {
            let mut counter = Counter::default();
            counter.set_value(2.0);
            let mut metric = Metric::default();
            metric.set_counter(counter);
            metric.set_timestamp_ms(1500);
            assert_eq!(
                string(encoded(
                    Format::OpenMetrics,
                    &[one(name, MetricType::COUNTER, metric)]
                )),
                "# TYPE calls counter\n# HELP calls say \\\"what\\\"\\nand \\\\ why\ncalls_total 2 1.5\n"
            );
        }
    }

    #[test]
    fn openmetrics_unit_stands_where_the_name_ends_in_it() {
        for (name, kind, unit) in [
            ("a_seconds", MetricType::GAUGE, Some("seconds")),
            ("a_seconds_total", MetricType::COUNTER, Some("seconds")),
            ("a_bytes", MetricType::GAUGE, Some("bytes")),
            ("microseconds", MetricType::GAUGE, None),
            ("seconds", MetricType::GAUGE, None),
            ("a_seconds_left", MetricType::GAUGE, None),
        ] {
            let page = string(encoded(
                Format::OpenMetrics,
                &[one(name, kind, Metric::default())],
            ));
            let found = page
                .lines()
                .find_map(|line| line.strip_prefix("# UNIT "))
                .and_then(|line| line.split(' ').nth(1));
            assert_eq!(found, unit, "{name}");
        }
    }

    #[test]
    fn family_without_samples_leaves_nothing() {
        for format in Format::ALL {
            let mut encoder = Encoder::new(format, 0);
            encoder.family("a", "help", MetricType::GAUGE);
            encoder.end_family();
            encoder.family("b_total", "", MetricType::COUNTER);
            encoder.sample(&[], 1.0);
            encoder.end_family();
            encoder.family("c", "help", MetricType::GAUGE);
            encoder.end_family();
            let mut alone = Encoder::new(format, 0);
            alone.family("b_total", "", MetricType::COUNTER);
            alone.sample(&[], 1.0);
            alone.end_family();
            assert_eq!(encoder.into_bytes(), alone.into_bytes());
        }
    }

    #[test]
    fn bytes_handed_on_in_pieces_are_those_of_one_piece() {
        for format in Format::ALL {
            let mut whole = Encoder::new(format, 0);
            let mut pieces = Encoder::new(format, 0);
            let mut handed_on = Vec::new();
            for name in ["a", "b_total"] {
                for encoder in [&mut whole, &mut pieces] {
                    encoder.family(name, "help", MetricType::COUNTER);
                }
                for value in [1.0, 2.0, 3.0] {
                    whole.sample(&[("l", "v")], value);
                    pieces.sample(&[("l", "v")], value);
                    if pieces.complete() > 0 {
                        pieces.hand_on(|mut piece| {
                            handed_on.append(&mut piece);
                            piece
                        });
                    }
                }
                whole.end_family();
                pieces.end_family();
            }
            handed_on.append(&mut pieces.into_bytes());
            assert_eq!(handed_on, whole.into_bytes(), "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn text_is_what_the_prometheus_crate_writes(families in families()) {
            let expected = TextEncoder::new().encode_to_string(&families).unwrap();
            prop_assert_eq!(string(encoded(Format::Text, &families)), expected);
        }

        #[test]
        fn plain_samples_are_written_as_metrics_of_the_crate_are(
            labels in prop::collection::vec((text(), text()), 0..4),
            value in number(),
        ) {
            let pairs: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            let mut metric = Metric::from_label(labels.iter().map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.clone());
                pair
            }).collect());
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
            for format in Format::ALL {
                let mut encoder = Encoder::new(format, 0);
                encoder.family("g", "help", MetricType::GAUGE);
                encoder.sample(&pairs, value);
                encoder.end_family();
                let mut metrics = Encoder::new(format, 0);
                metrics.family("g", "help", MetricType::GAUGE);
                metrics.metric(&metric);
                metrics.end_family();
                prop_assert_eq!(encoder.into_bytes(), metrics.into_bytes());
            }
        }
    }
}
