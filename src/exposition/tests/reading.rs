//! Readers of the three formats, strict where a scraper is.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

/// One series: its name and its labels in order.
type Series = (String, Vec<(String, String)>);

/// What a page says: the bits of each value by its series.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Samples(pub(super) BTreeMap<Series, u64>);

impl Samples {
    fn add(&mut self, name: &str, labels: Vec<(String, String)>, value: f64) {
        let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len(), "a label twice in {labels:?}");
        let series = (name.to_owned(), labels);
        let twice = self.0.insert(series.clone(), value.to_bits());
        assert_eq!(twice, None, "a series twice: {series:?}");
    }

    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.0
            .get(&(name.to_owned(), labels))
            .copied()
            .map(f64::from_bits)
    }

    pub(super) fn of<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s Series> {
        let name = name.to_owned();
        self.0.keys().filter(move |(of, _)| *of == name)
    }
}

/// Reads a line's name and labels; what is left is the value.
fn series(line: &str) -> (&str, Vec<(String, String)>, &str) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (name, after) = rest.split_once("=\"").unwrap();
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next().unwrap().1 {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        other => panic!("\\{other} is no escape"),
                    }),
                    (_, character) => value.push(character),
                }
            };
            labels.push((name.to_owned(), value));
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    (name, labels, rest.strip_prefix(' ').unwrap())
}

/// The name without what the type adds, if the type may add it.
fn family<'n>(name: &'n str, kind: &str) -> &'n str {
    let suffixes: &[&str] = match kind {
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[],
    };
    suffixes
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}

/// Reads text 0.0.4: `# HELP` and `# TYPE` of each family once and before its samples, samples of one family together.
pub(super) fn text(page: &str) -> Samples {
    assert!(page.is_empty() || page.ends_with('\n'));
    let mut samples = Samples::default();
    let mut families = BTreeSet::new();
    let mut current: Option<(&str, &str)> = None;
    let mut help = None;
    // Not `lines()`: a carriage return belongs to a label's value.
    for line in page.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest.split_once(' ').unwrap().0);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(help.take(), Some(name), "HELP stands before TYPE");
            assert!(families.insert(name), "{name} is there twice");
            current = Some((name, kind));
        } else {
            let (name, labels, value) = series(line);
            let (of, kind) = current.unwrap();
            assert_eq!(family(name, kind), of);
            samples.add(name, labels, value.parse().unwrap());
        }
    }
    samples
}

/// Reads OpenMetrics 1.0.0 as its specification's parsers do.
pub(super) fn openmetrics(page: &str) -> Samples {
    let page = page.strip_suffix("# EOF\n").expect("the end is marked");
    let mut samples = Samples::default();
    let mut families = BTreeSet::new();
    let mut current: Option<(&str, &str)> = None;
    for line in page.split_terminator('\n') {
        let metadata = line.strip_prefix("# ").map(|rest| {
            let mut words = rest.splitn(3, ' ');
            [(); 3].map(|()| words.next().unwrap_or_default())
        });
        match metadata {
            Some(["TYPE", name, kind]) => {
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{kind}");
                assert!(!name.ends_with("_total"), "{name}");
                assert!(families.insert(name), "{name} is there twice");
                current = Some((name, kind));
            }
            Some(["UNIT", name, unit]) => {
                assert_eq!(current.unwrap().0, name);
                assert!(name.ends_with(&format!("_{unit}")), "{name} {unit}");
            }
            Some(["HELP", name, help]) => {
                assert_eq!(current.unwrap().0, name);
                assert!(!help.replace("\\\"", "").contains('"'), "{help}");
            }
            Some(other) => panic!("{other:?}"),
            None => {
                let (name, labels, value) = series(line);
                let (of, kind) = current.unwrap();
                let base = match kind {
                    "counter" => name.strip_suffix("_total").expect("a counter's sample"),
                    kind => family(name, kind),
                };
                assert_eq!(base, of);
                let value: f64 = value.parse().unwrap();
                assert!(kind == "gauge" || !value.is_nan());
                samples.add(name, labels.into_iter().map(usual_bound).collect(), value);
            }
        }
    }
    samples
}

/// A bound as text names it; its canonical form is checked on the way.
fn usual_bound((name, value): (String, String)) -> (String, String) {
    if name != "le" || value == "+Inf" {
        return (name, value);
    }
    assert!(value.contains(['.', 'e']), "{value} is not canonical");
    let bound: f64 = value.parse().unwrap();
    (name, bound.to_string())
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Value>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Value>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Value>,
    #[prost(int64, optional, tag = "6")]
    timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

/// Reads delimited protobuf.
pub(super) fn protobuf(mut page: &[u8]) -> Samples {
    let mut samples = Samples::default();
    let mut families = BTreeSet::new();
    while !page.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut page).unwrap();
        let name = family.name.unwrap();
        assert!(families.insert(name.clone()), "{name} is there twice");
        assert!(
            family.help.is_some() && !family.metrics.is_empty(),
            "{name}"
        );
        for metric in family.metrics {
            let labels: Vec<_> = metric
                .labels
                .into_iter()
                .map(|label| (label.name.unwrap(), label.value.unwrap()))
                .collect();
            assert_eq!(
                (metric.summary, metric.untyped, metric.timestamp_ms),
                (None, None, None)
            );
            match (
                family.kind.unwrap(),
                metric.counter,
                metric.gauge,
                metric.histogram,
            ) {
                (0, Some(value), None, None) | (1, None, Some(value), None) => {
                    samples.add(&name, labels, value.value.unwrap());
                }
                (4, None, None, Some(histogram)) => {
                    let count = histogram.sample_count.unwrap() as f64;
                    let mut bucket = |bound: String, count: f64| {
                        let mut labels = labels.clone();
                        labels.push(("le".to_owned(), bound));
                        samples.add(&format!("{name}_bucket"), labels, count);
                    };
                    for of in histogram.buckets {
                        let bound = of.upper_bound.unwrap().to_string();
                        bucket(bound, of.cumulative_count.unwrap() as f64);
                    }
                    bucket("+Inf".to_owned(), count);
                    let sum = histogram.sample_sum.unwrap();
                    samples.add(&format!("{name}_sum"), labels.clone(), sum);
                    samples.add(&format!("{name}_count"), labels, count);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    samples
}
