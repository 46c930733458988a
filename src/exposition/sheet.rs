//! Lines that change with each scrape, laid out once: as long as they stay the same lines, a scrape writes their values
//! alone.
//!
//! Names and labels are most of a line, and checking them for what must be escaped most of the work.

use std::sync::{Arc, Mutex, PoisonError};

use super::encode::number;
use super::family::Family;
use super::format::Format;
use super::series::Series;

/// What takes sample lines: [`Series`], which writes them, or something that only looks at them.
pub(super) trait Lines {
    /// One whole family: `fill` adds its lines.
    fn family(&mut self, family: &Family, fill: impl FnOnce(&mut Self));

    /// A line that is always there.
    fn add(&mut self, labels: &[(&str, &str)], value: f64);

    /// A line that is there where it has a value.
    fn add_known(&mut self, labels: &[(&str, &str)], value: Option<f64>);

    /// A label's value that can change while the app and its configuration stay, or with what is asked for.
    fn depends_on(&mut self, text: &str);
}

impl Lines for Series<'_> {
    fn family(&mut self, family: &Family, fill: impl FnOnce(&mut Self)) {
        Series::family(self, family, fill);
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        Series::add(self, labels, value);
    }

    fn add_known(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            Series::add(self, labels, value);
        }
    }

    fn depends_on(&mut self, _: &str) {}
}

/// The values, and which lines they belong to.
#[derive(Debug, Default)]
struct Tally {
    values: Vec<f64>,
    /// Of each line that can be absent whether it is there, and each text that labels depend on with its length.
    layout: Vec<u8>,
}

impl Lines for Tally {
    fn family(&mut self, _: &Family, fill: impl FnOnce(&mut Self)) {
        fill(self);
    }

    fn add(&mut self, _: &[(&str, &str)], value: f64) {
        self.values.push(value);
    }

    fn add_known(&mut self, _: &[(&str, &str)], value: Option<f64>) {
        self.layout.push(u8::from(value.is_some()));
        self.values.extend(value);
    }

    fn depends_on(&mut self, text: &str) {
        self.layout.extend_from_slice(&text.len().to_le_bytes());
        self.layout.extend_from_slice(text.as_bytes());
    }
}

/// Takes a tally of the very lines that it lays out: from one pass to the next a counter can leave 0 and get its line.
struct LayingOut {
    series: Series<'static>,
    tally: Tally,
}

impl Lines for LayingOut {
    fn family(&mut self, family: &Family, fill: impl FnOnce(&mut Self)) {
        self.series.begin(family);
        fill(self);
        self.series.end();
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.series.add(labels, value);
        self.tally.add(labels, value);
    }

    fn add_known(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        self.series.add_known(labels, value);
        self.tally.add_known(labels, value);
    }

    fn depends_on(&mut self, text: &str) {
        self.tally.depends_on(text);
    }
}

/// Lines without their values.
#[derive(Debug)]
struct Sheet {
    layout: Vec<u8>,
    blank: Vec<u8>,
    /// Where in `blank` the values belong.
    gaps: Vec<usize>,
}

impl Sheet {
    fn fill(&self, values: &[f64]) -> Vec<u8> {
        /// Most values are counts and times.
        const VALUE: usize = 12;
        let mut out = Vec::with_capacity(self.blank.len() + self.gaps.len() * VALUE);
        let mut from = 0;
        for (gap, value) in self.gaps.iter().zip(values) {
            out.extend_from_slice(&self.blank[from..*gap]);
            number::float(&mut out, *value);
            from = *gap;
        }
        out.extend_from_slice(&self.blank[from..]);
        out
    }
}

/// The sheets last used, one for each text format. Whoever asks for other apps makes another.
#[derive(Debug, Default)]
pub(super) struct Sheets([Mutex<Option<Arc<Sheet>>>; 2]);

/// What [`Sheets::write`] is given to write: the same lines into whatever takes them.
pub(super) trait Write {
    fn write(&self, lines: &mut impl Lines);
}

/// The bytes of lines that are not worth a sheet.
pub(super) fn plainly(format: Format, what: &impl Write) -> Vec<u8> {
    let mut series = Series::few(format);
    what.write(&mut series);
    series.into_bytes()
}

impl Sheets {
    /// The bytes of the lines. Protobuf is written each time: there a line's length stands before it.
    pub(super) fn write(&self, format: Format, what: &impl Write) -> Vec<u8> {
        let kept = match format {
            Format::Text => &self.0[0],
            Format::OpenMetrics => &self.0[1],
            Format::Protobuf => return plainly(format, what),
        };
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sheet = lock().clone();
        if let Some(sheet) = sheet {
            let mut tally = Tally {
                values: Vec::with_capacity(sheet.gaps.len()),
                layout: Vec::with_capacity(sheet.layout.len()),
            };
            what.write(&mut tally);
            if sheet.layout == tally.layout {
                return sheet.fill(&tally.values);
            }
        }
        let mut laying_out = LayingOut {
            series: Series::blank(format),
            tally: Tally::default(),
        };
        what.write(&mut laying_out);
        let LayingOut { series, tally } = laying_out;
        let (blank, gaps) = series.into_blank();
        let sheet = Sheet {
            layout: tally.layout,
            blank,
            gaps,
        };
        let bytes = sheet.fill(&tally.values);
        *lock() = Some(Arc::new(sheet));
        bytes
    }
}
