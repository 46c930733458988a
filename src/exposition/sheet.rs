//! Lines that change with each scrape, laid out once: as long as they stay the same lines, a scrape copies them and writes
//! the values that are no longer the same, in their place.
//!
//! Names and labels are most of a line, and checking them for what must be escaped most of the work. Of the values only
//! a few counters are new each time, and a number gets longer but rarely.

use std::ops::Range;
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

/// Which lines there are: of each line that can be absent whether it is there, and each text that labels depend on.
#[derive(Debug, Default)]
struct Layout(Vec<u8>);

impl Layout {
    fn line(&mut self, is_there: bool) {
        self.0.push(u8::from(is_there));
    }

    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&text.len().to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// What is left of a layout when some of it was met again.
struct Rest<'l>(&'l [u8]);

impl Rest<'_> {
    fn meets(&mut self, bytes: &[u8]) -> bool {
        let rest = self.0.strip_prefix(bytes);
        self.0 = rest.unwrap_or_default();
        rest.is_some()
    }

    fn line(&mut self, is_there: bool) -> bool {
        self.meets(&[u8::from(is_there)])
    }

    fn text(&mut self, text: &str) -> bool {
        self.meets(&text.len().to_le_bytes()) && self.meets(text.as_bytes())
    }
}

/// Lines with the values that they had when they were laid out.
#[derive(Debug)]
struct Sheet {
    layout: Layout,
    bytes: Vec<u8>,
    values: Vec<(f64, Range<usize>)>,
}

/// Writes a sheet's lines, and in the place of each value that is another one now the new one.
struct Filling<'a> {
    /// Where a value's place in the sheet is to be found in `out`.
    begin: usize,
    out: &'a mut Vec<u8>,
    values: std::slice::Iter<'a, (f64, Range<usize>)>,
    layout: Rest<'a>,
    digits: Vec<u8>,
    /// The lines are those of the sheet so far, and each value has fitted in its place.
    fits: bool,
}

impl<'a> Filling<'a> {
    fn begin(sheet: &'a Sheet, out: &'a mut Vec<u8>) -> Self {
        let begin = out.len();
        out.extend_from_slice(&sheet.bytes);
        Self {
            begin,
            out,
            values: sheet.values.iter(),
            layout: Rest(&sheet.layout.0),
            digits: Vec::new(),
            fits: true,
        }
    }

    /// Whether all lines of the sheet, and no others, have their values now; if not, `out` is what it was.
    fn end(self) -> bool {
        let fits = self.fits && self.values.len() == 0 && self.layout.0.is_empty();
        if !fits {
            self.out.truncate(self.begin);
        }
        fits
    }
}

impl Lines for Filling<'_> {
    fn family(&mut self, _: &Family, fill: impl FnOnce(&mut Self)) {
        fill(self);
    }

    fn add(&mut self, _: &[(&str, &str)], value: f64) {
        let Some((known, place)) = self.values.next() else {
            self.fits = false;
            return;
        };
        // As bits, because a NaN is a value too.
        if known.to_bits() == value.to_bits() {
            return;
        }
        self.digits.clear();
        number::float(&mut self.digits, value);
        let place = self.begin + place.start..self.begin + place.end;
        if self.digits.len() == place.len() {
            self.out[place].copy_from_slice(&self.digits);
        } else {
            self.fits = false;
        }
    }

    fn add_known(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        self.fits &= self.layout.line(value.is_some());
        if let Some(value) = value {
            self.add(labels, value);
        }
    }

    fn depends_on(&mut self, text: &str) {
        self.fits &= self.layout.text(text);
    }
}

/// Takes down the values of the very lines that it lays out: from one pass to the next a counter can leave 0 and get its
/// line.
struct LayingOut {
    series: Series<'static>,
    values: Vec<f64>,
    layout: Layout,
}

impl LayingOut {
    fn begin(format: Format) -> Self {
        Self {
            series: Series::marking(format),
            values: Vec::new(),
            layout: Layout::default(),
        }
    }

    fn end(self) -> Sheet {
        let (bytes, places) = self.series.into_marked();
        Sheet {
            layout: self.layout,
            bytes,
            values: self.values.into_iter().zip(places).collect(),
        }
    }
}

impl Lines for LayingOut {
    fn family(&mut self, family: &Family, fill: impl FnOnce(&mut Self)) {
        self.series.begin(family);
        fill(self);
        self.series.end();
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.series.add(labels, value);
        self.values.push(value);
    }

    fn add_known(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        self.layout.line(value.is_some());
        if let Some(value) = value {
            self.add(labels, value);
        }
    }

    fn depends_on(&mut self, text: &str) {
        self.layout.text(text);
    }
}

/// The sheets last used, one for each text format. Whoever asks for other apps makes another.
#[derive(Debug, Default)]
pub(super) struct Sheets([Mutex<Option<Arc<Sheet>>>; 2]);

/// What [`Sheets::write`] is given to write: the same lines into whatever takes them.
pub(super) trait Write {
    fn write(&self, lines: &mut impl Lines);
}

/// Writes lines that are not worth a sheet.
pub(super) fn plainly(format: Format, what: &impl Write, out: &mut Vec<u8>) {
    let mut series = Series::few(format);
    what.write(&mut series);
    out.extend_from_slice(&series.into_bytes());
}

impl Sheets {
    /// Writes the lines. Protobuf is made each time: there a line's length stands before it.
    pub(super) fn write(&self, format: Format, what: &impl Write, out: &mut Vec<u8>) {
        let kept = match format {
            Format::Text => &self.0[0],
            Format::OpenMetrics => &self.0[1],
            Format::Protobuf => return plainly(format, what, out),
        };
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sheet = lock().clone();
        if let Some(sheet) = sheet {
            let mut filling = Filling::begin(&sheet, out);
            what.write(&mut filling);
            if filling.end() {
                return;
            }
        }
        let mut laying_out = LayingOut::begin(format);
        what.write(&mut laying_out);
        let sheet = laying_out.end();
        out.extend_from_slice(&sheet.bytes);
        *lock() = Some(Arc::new(sheet));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::family;
    use super::*;

    /// Lines of two families: each a text that it depends on, and a value or none.
    #[derive(Clone, Debug)]
    struct Made(Vec<(String, Option<f64>)>, Vec<f64>);

    impl Write for Made {
        fn write(&self, lines: &mut impl Lines) {
            lines.family(&family::UP, |lines| {
                for (text, value) in &self.0 {
                    lines.depends_on(text);
                    lines.add_known(&[("appid", text)], *value);
                }
            });
            lines.family(&family::SCRAPES, |lines| {
                for value in &self.1 {
                    lines.add(&[("source", "snapshot")], *value);
                }
            });
        }
    }

    /// Values of all lengths, most of them the same from one time to the next, so that sheets are met again.
    fn made() -> impl Strategy<Value = Made> {
        let value = prop_oneof![
            4 => Just(1.0),
            2 => Just(7.0),
            1 => any::<f64>(),
            1 => Just(f64::NAN),
            1 => Just(-0.0),
            1 => Just(1_795_492_800.25),
        ];
        let text = prop_oneof![4 => Just("wx1".to_owned()), 1 => "[a1\"]{0,3}"];
        (
            prop::collection::vec((text, prop::option::weighted(0.9, value.clone())), 0..3),
            prop::collection::vec(value, 0..4),
        )
            .prop_map(|(known, always)| Made(known, always))
    }

    proptest! {
        #[test]
        fn lines_met_again_are_those_that_would_be_made_anew(
            sequence in prop::collection::vec(made(), 1..12),
            before in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let sheets = Sheets::default();
            for made in sequence {
                for format in Format::ALL {
                    let (mut out, mut expected) = (before.clone(), before.clone());
                    sheets.write(format, &made, &mut out);
                    plainly(format, &made, &mut expected);
                    prop_assert!(out == expected, "{:?}: {}", format, String::from_utf8_lossy(&out));
                }
            }
        }
    }

    #[test]
    fn sheet_serves_as_long_as_every_value_fits_in_its_place() {
        let sheets = Sheets::default();
        let write = |value| {
            let mut out = Vec::new();
            sheets.write(Format::Text, &Made(Vec::new(), vec![value]), &mut out);
            assert!(out.ends_with(format!("}} {value}\n").as_bytes()));
            Arc::as_ptr(sheets.0[0].lock().unwrap().as_ref().unwrap())
        };
        let first = write(1.0);
        assert_eq!(write(9.0), first);
        assert_eq!(write(1.0), first);
        assert_ne!(write(10.0), first);
    }
}
