//! A page made of parts, each encoded and compressed no more often than what it shows changes.
//!
//! | part | changes with | a scrape pays |
//! |---|---|---|
//! | accounts | a snapshot | nothing: ready bytes, compressed too |
//! | apps | a fetch, a reload | nothing |
//! | process | the clock, once a second | nothing |
//! | scrapes and the exporter's own counters | each scrape | writing their values into lines that are laid out |
//!
//! A part's bytes in one format and coding are made when first asked for, and dropped with what they show. What is kept
//! is bounded, whoever asks for what ([`Shelf`]). A page of some families only (`?name[]=`) is made for its scrape alone.

use std::sync::Arc;

use hyper::HeaderMap;

use super::compress::{Effort, Joined, Part};
use super::exporter::{self, Process};
use super::format::{Coding, Form, Format, LastAsked};
use super::readings::{self, CourierNames};
use super::series::Series;
use super::sheet::{self, Lines, Sheets, Write as _};
use super::shelf::{Shelf, Slot};
use super::{ExporterCounters, Page, Scope};
use crate::collector::{AppReading, Collector, Scrape};

/// What ends an OpenMetrics page.
const OPENMETRICS_END: &[u8] = b"# EOF\n";

/// Accounts whose series take about a millisecond to encode and compress.
const MANY_ACCOUNTS: usize = 200;
/// What an app's own series cost, in accounts.
const APP: usize = 10;
/// Apps whose counters, which change with each scrape, take about a millisecond to write and compress.
const MANY_APPS: usize = 100;

/// For small ready parts, what joins them, and what changes with each scrape. Unit: bytes.
const ROOM: usize = 12 << 10;

/// Makes pages and keeps the parts of them that can serve again.
#[derive(Debug)]
pub struct Exposition {
    collector: Arc<Collector>,
    exporter: ExporterCounters,
    process: Process,
    shelf: Shelf,
    sheets: Sheets,
    last_asked: LastAsked,
}

impl Exposition {
    /// Pages of that collector's scrapes.
    #[must_use]
    pub fn new(collector: Arc<Collector>) -> Self {
        Self {
            collector,
            exporter: ExporterCounters::default(),
            process: Process::default(),
            shelf: Shelf::default(),
            sheets: Sheets::default(),
            last_asked: LastAsked::default(),
        }
    }

    /// The exporter's own counters.
    #[must_use]
    pub fn exporter(&self) -> &ExporterCounters {
        &self.exporter
    }

    /// The form that a scrape with these headers asks for: [`Form::negotiate`], which remembers the last answer.
    #[must_use]
    pub fn form(&self, headers: &HeaderMap) -> Form {
        self.last_asked.negotiate(headers)
    }

    /// Whether [`Self::page`] has so much to encode and compress that others would miss the thread it is called on.
    #[must_use]
    pub fn takes_long(&self, scrape: &Scrape, names: &[String], form: Form) -> bool {
        let accounts = |reading: &AppReading| {
            let snapshot = reading.snapshot.as_ref();
            snapshot.map_or(0, |snapshot| snapshot.accounts().len())
        };
        let cost: usize = scrape
            .readings
            .iter()
            .map(|reading| APP + accounts(reading))
            .sum();
        if cost < MANY_ACCOUNTS {
            return false;
        }
        // A page of some families leaves nothing on the shelf, so it must not make room there.
        if !names.is_empty() || scrape.readings.len() >= MANY_APPS {
            return true;
        }
        let courier_names = self.collector.couriers().names();
        let form = (form.format(), form.coding());
        let slots = self.shelf.slots(scrape, &courier_names, form);
        slots.iter().any(|slot| slot.get().is_none())
    }

    /// The page of one scrape. `names`: only these metrics (`?name[]=`), each by the name that its `# HELP` line in text
    /// has: a counter's with `_total`, a histogram's without `_bucket`; all where empty.
    ///
    /// The first page of a new snapshot is encoded and compressed here: some 100 ms of one core for 20,000 accounts (see
    /// [`Self::takes_long`]).
    #[must_use]
    pub fn page(&self, scrape: &Scrape, scope: Scope, names: &[String], form: Form) -> Page {
        let (format, coding) = (form.format(), form.coding());
        let courier_names = self.collector.couriers().names();
        let body = if names.is_empty() {
            self.join_ready_parts(scrape, scope, &courier_names, format, coding)
        } else {
            let mut series = Series::part(format, coding, Effort::Once, names);
            readings::accounts(scrape, &courier_names, &mut series);
            readings::apps(scrape, &mut series);
            if scope == Scope::Everything {
                self.process.write(scrape.now.monotonic, &mut series);
            }
            let exposition = self;
            let changing = Changing {
                exposition,
                scrape,
                scope,
            };
            changing.write(&mut series);
            let mut body = Joined::new(coding, ROOM);
            body.add(&series.into_part());
            body
        };
        Page {
            content_type: form.content_type(),
            content_encoding: form.content_encoding(),
            body: end(body, format),
        }
    }

    fn join_ready_parts(
        &self,
        scrape: &Scrape,
        scope: Scope,
        courier_names: &Arc<CourierNames>,
        format: Format,
        coding: Coding,
    ) -> Joined {
        let [accounts, apps] = self.shelf.slots(scrape, courier_names, (format, coding));
        let changing = Changing {
            exposition: self,
            scrape,
            scope,
        };

        let mut body = Joined::new(coding, ROOM);
        let make = |write: &dyn Fn(&mut Series<'_>)| {
            let mut series = Series::part(format, coding, Effort::Kept, &[]);
            write(&mut series);
            series.into_part()
        };
        body.add(self.made(scrape, &accounts, || {
            make(&|series| readings::accounts(scrape, courier_names, series))
        }));
        body.add(self.made(scrape, &apps, || {
            make(&|series| readings::apps(scrape, series))
        }));
        if scope == Scope::Everything {
            let process = self.process.forms(scrape.now.monotonic);
            body.add(process.part(format, coding));
        }
        body.add_written(|out| match scope {
            Scope::Everything => self.sheets.write(format, &changing, out),
            // Each app is asked for in turn, and has but few lines.
            Scope::AppsOnly => sheet::plainly(format, &changing, out),
        });
        body
    }

    /// The part in a slot, made if nobody has made it.
    fn made<'s>(&self, scrape: &Scrape, slot: &'s Slot, make: impl FnOnce() -> Part) -> &'s Part {
        let mut is_new = false;
        let part = slot.get_or_init(|| {
            is_new = true;
            make()
        });
        if is_new {
            self.shelf.made(scrape, slot);
        }
        part
    }
}

/// What changes with each scrape.
struct Changing<'a> {
    exposition: &'a Exposition,
    scrape: &'a Scrape,
    scope: Scope,
}

impl sheet::Write for Changing<'_> {
    fn write(&self, lines: &mut impl Lines) {
        readings::scrapes(self.scrape, lines);
        if self.scope == Scope::Everything {
            let exposition = self.exposition;
            exporter::write(&exposition.exporter, &exposition.collector, lines);
        }
    }
}

fn end(mut body: Joined, format: Format) -> Vec<bytes::Bytes> {
    if format == Format::OpenMetrics {
        body.add_written(|out| out.extend_from_slice(OPENMETRICS_END));
    }
    body.finish()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{app, collector, scrape, snapshot};
    use super::*;
    use crate::wechat::Account;

    #[test]
    fn page_of_some_families_takes_no_room_on_the_shelf() {
        let account = |number: usize| Account {
            biz_id: number.to_string().into(),
            ..Account::default()
        };
        let many = snapshot((0..MANY_ACCOUNTS).map(account).collect());
        let collector = collector(vec![app("wx1", "shop")]);
        let exposition = Exposition::new(Arc::clone(&collector));
        let names = ["wechat_logistics_up".to_owned()];
        let scrape = scrape(&collector, &[Some(many)]);
        assert!(exposition.takes_long(&scrape, &names, Form::TEXT));
        let _ = exposition.page(&scrape, Scope::Everything, &names, Form::TEXT);
        assert!(exposition.shelf.is_empty());
        let _ = exposition.page(&scrape, Scope::Everything, &[], Form::TEXT);
        assert!(!exposition.shelf.is_empty());
    }
}
