//! Ready parts of pages, kept as long as what they show stays the same and within a bound.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::compress::Part;
use super::format::{Coding, Format};
use super::readings::CourierNames;
use crate::app::App;
use crate::collector::{AppReading, Scrape};
use crate::snapshot::Snapshot;

/// What is kept at most. Unit: bytes. Beyond it the parts that have not been used for the longest time go; the part just
/// made stays in any case.
///
/// The page of 20,000 accounts fits in plain (26 to 33 MB, as long as their names are) and compressed (1 MB), and the
/// whole process stays below 60 MB. Where scrapers ask for it plain in two formats, each has its own made each time.
const KEPT_MAX: usize = 40 << 20;

/// What a part costs beside its bytes, and each app that it covers. Unit: bytes.
const PART_COST: usize = 256;
const APP_COST: usize = 64;

/// How often parts are dropped whose apps or snapshots are gone though nobody has asked for their successors.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What a kept part shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// Accounts; changes with a snapshot.
    Accounts,
    /// What else only a fetch or a reload changes.
    Apps,
}

/// A part, made by the first who needs it while others wait.
pub(super) type Slot = Arc<OnceLock<Part>>;

/// Ready parts by the apps that they cover: all of them for `/metrics`, one for `/probe`, some for `?appid=`.
#[derive(Debug)]
pub(super) struct Shelf {
    rows: Mutex<Rows>,
    /// Unit: bytes.
    kept_max: usize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::with_max(KEPT_MAX)
    }
}

#[derive(Debug, Default)]
struct Rows {
    /// By the apps' addresses, which stay theirs as long as the row points to them.
    by_apps: HashMap<Box<[usize]>, Row>,
    /// Counts uses, as a clock for [`Kept::used`].
    uses: u64,
    /// What all parts cost. Unit: bytes.
    cost: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Row {
    apps: Vec<ShownApp>,
    courier_names: Arc<CourierNames>,
    parts: Vec<Kept>,
}

/// Weak, so that a row keeps no old snapshot alive.
#[derive(Debug)]
struct ShownApp {
    app: Weak<App>,
    snapshot: Option<Weak<Snapshot>>,
    revision: u64,
}

#[derive(Debug)]
struct Kept {
    shows: Shows,
    form: (Format, Coding),
    slot: Slot,
    used: u64,
    /// Unit: bytes; 0 until the part is made.
    cost: usize,
}

impl Shelf {
    fn with_max(kept_max: usize) -> Self {
        Self {
            rows: Mutex::default(),
            kept_max,
        }
    }

    /// The slots of a scrape's parts in that form: filled ones where they show what the scrape found.
    pub(super) fn slots(
        &self,
        scrape: &Scrape,
        courier_names: &Arc<CourierNames>,
        form: (Format, Coding),
    ) -> [Slot; 2] {
        let key = key(scrape);
        let mut guard = self.lock();
        let rows = &mut *guard;
        rows.uses += 1;
        let row = match rows.by_apps.entry(key) {
            Entry::Occupied(row) => {
                let row = row.into_mut();
                rows.cost -= row.drop_outdated(scrape, courier_names);
                row
            }
            Entry::Vacant(place) => place.insert(Row::new(scrape, courier_names)),
        };
        [Shows::Accounts, Shows::Apps].map(|shows| row.slot(shows, form, rows.uses))
    }

    /// Counts what a part just made costs, and makes room for it.
    pub(super) fn made(&self, scrape: &Scrape, slot: &Slot) {
        let key = key(scrape);
        let mut rows = self.lock();
        rows.sweep();
        rows.count(&key, slot);
        while rows.cost > self.kept_max && rows.drop_least_used(slot) {}
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().by_apps.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        // Rows are complete after each change, so a panic elsewhere leaves nothing half done.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn count(&mut self, key: &[usize], slot: &Slot) {
        let Some(row) = self.by_apps.get_mut(key) else {
            return;
        };
        let apps = row.apps.len();
        let kept = row
            .parts
            .iter_mut()
            .find(|kept| Arc::ptr_eq(&kept.slot, slot) && kept.cost == 0);
        if let (Some(kept), Some(part)) = (kept, slot.get()) {
            kept.cost = part.len() + PART_COST + apps * APP_COST;
            self.cost += kept.cost;
        }
    }

    /// Drops parts of apps and snapshots that are gone.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now < swept + SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.by_apps.retain(|_, row| {
            let lives = row.apps.iter().all(ShownApp::lives);
            if !lives {
                self.cost -= row.cost();
            }
            lives
        });
    }

    /// False: there is none but `except`.
    fn drop_least_used(&mut self, except: &Slot) -> bool {
        let least = self
            .by_apps
            .iter()
            .flat_map(|(key, row)| row.parts.iter().map(move |kept| (key, kept)))
            .filter(|(_, kept)| kept.cost > 0 && !Arc::ptr_eq(&kept.slot, except))
            .min_by_key(|(_, kept)| kept.used)
            .map(|(key, kept)| (key.clone(), Arc::clone(&kept.slot)));
        let Some((key, slot)) = least else {
            return false;
        };
        if let Some(row) = self.by_apps.get_mut(&key) {
            self.cost -= row.drop_parts(|kept| Arc::ptr_eq(&kept.slot, &slot));
            if row.parts.is_empty() {
                self.by_apps.remove(&key);
            }
        }
        true
    }
}

impl Row {
    fn new(scrape: &Scrape, courier_names: &Arc<CourierNames>) -> Self {
        Self {
            apps: scrape.readings.iter().map(ShownApp::new).collect(),
            courier_names: Arc::clone(courier_names),
            parts: Vec::new(),
        }
    }

    /// Drops what shows something other than the scrape found, before its successors are made: of a large page two
    /// never exist at one time, unless one is just being sent. Returns what it cost.
    fn drop_outdated(&mut self, scrape: &Scrape, courier_names: &Arc<CourierNames>) -> usize {
        let mut changed = !Arc::ptr_eq(&self.courier_names, courier_names);
        let mut revised = false;
        for (shown, reading) in self.apps.iter().zip(&scrape.readings) {
            changed |= !shown.is_snapshot_of(reading);
            revised |= shown.revision != reading.app.revision();
        }
        if !changed && !revised {
            return 0;
        }
        let parts = std::mem::take(&mut self.parts);
        *self = Self {
            parts,
            ..Self::new(scrape, courier_names)
        };
        self.drop_parts(|kept| changed || kept.shows == Shows::Apps)
    }

    fn slot(&mut self, shows: Shows, form: (Format, Coding), used: u64) -> Slot {
        let kept = self
            .parts
            .iter_mut()
            .find(|kept| kept.shows == shows && kept.form == form);
        if let Some(kept) = kept {
            kept.used = used;
            return Arc::clone(&kept.slot);
        }
        let slot = Slot::default();
        self.parts.push(Kept {
            shows,
            form,
            slot: Arc::clone(&slot),
            used,
            cost: 0,
        });
        slot
    }

    fn drop_parts(&mut self, goes: impl Fn(&Kept) -> bool) -> usize {
        let cost = |row: &Self| row.parts.iter().map(|kept| kept.cost).sum::<usize>();
        let before = cost(self);
        self.parts.retain(|kept| !goes(kept));
        before - cost(self)
    }

    fn cost(&self) -> usize {
        self.parts.iter().map(|kept| kept.cost).sum()
    }
}

impl ShownApp {
    fn new(reading: &AppReading) -> Self {
        Self {
            app: Arc::downgrade(&reading.app),
            snapshot: reading.snapshot.as_ref().map(Arc::downgrade),
            // Read before the numbers it stands for, so that one that changes meanwhile makes the part outdated.
            revision: reading.app.revision(),
        }
    }

    fn is_snapshot_of(&self, reading: &AppReading) -> bool {
        match (&self.snapshot, &reading.snapshot) {
            (None, None) => true,
            (Some(shown), Some(found)) => shown.as_ptr() == Arc::as_ptr(found),
            _ => false,
        }
    }

    fn lives(&self) -> bool {
        self.app.strong_count() > 0
            && self
                .snapshot
                .as_ref()
                .is_none_or(|snapshot| snapshot.strong_count() > 0)
    }
}

fn key(scrape: &Scrape) -> Box<[usize]> {
    scrape
        .readings
        .iter()
        .map(|reading| Arc::as_ptr(&reading.app).addr())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::compress::{Compressor, Effort};
    use super::super::tests::{app, collector, scrape, snapshot};
    use super::*;
    use crate::collector::Collector;

    const PLAIN: (Format, Coding) = (Format::Text, Coding::Identity);

    fn many_apps() -> Arc<Collector> {
        let apps = (0..100).map(|number| app(&format!("wx{number}"), "shop"));
        collector(apps.collect())
    }

    /// The scrape of one app.
    fn probe(collector: &Collector, index: usize, snapshot: &Arc<Snapshot>) -> Scrape {
        let snapshots = vec![Some(Arc::clone(snapshot)); index + 1];
        let mut scrape = scrape(collector, &snapshots);
        scrape.readings = vec![scrape.readings.remove(index)];
        scrape
    }

    fn fill(shelf: &Shelf, scrape: &Scrape, names: &Arc<CourierNames>, bytes: usize) -> [Slot; 2] {
        let slots = shelf.slots(scrape, names, PLAIN);
        for slot in &slots {
            let mut new = false;
            slot.get_or_init(|| {
                new = true;
                let mut compressor = Compressor::new(Coding::Identity, Effort::Kept);
                compressor.write(vec![b'x'; bytes]);
                compressor.finish()
            });
            if new {
                shelf.made(scrape, slot);
            }
        }
        slots
    }

    fn is_ready(shelf: &Shelf, scrape: &Scrape, names: &Arc<CourierNames>) -> [bool; 2] {
        shelf
            .slots(scrape, names, PLAIN)
            .map(|slot| slot.get().is_some())
    }

    #[test]
    fn bytes_kept_stay_within_the_bound_and_the_least_used_go_first() {
        let collector = many_apps();
        let names = Arc::default();
        let found = snapshot(Vec::new());
        let shelf = Shelf::with_max(20_000);
        let probes: Vec<_> = (0..100)
            .map(|index| probe(&collector, index, &found))
            .collect();
        for probe in &probes {
            fill(&shelf, probe, &names, 1000);
            fill(&shelf, &probes[0], &names, 1000);
            assert!(shelf.lock().cost <= 20_000);
        }
        assert!(shelf.lock().by_apps.len() <= 10);
        assert_eq!(is_ready(&shelf, &probes[0], &names), [true; 2]);
        assert_eq!(is_ready(&shelf, &probes[99], &names), [true; 2]);
        assert_eq!(is_ready(&shelf, &probes[1], &names), [false; 2]);
    }

    #[test]
    fn part_larger_than_the_bound_serves_until_the_next_is_made() {
        let collector = many_apps();
        let names = Arc::default();
        let probe = probe(&collector, 0, &snapshot(Vec::new()));
        let shelf = Shelf::with_max(10);
        fill(&shelf, &probe, &names, 1000);
        assert_eq!(is_ready(&shelf, &probe, &names), [false, true]);
    }

    #[test]
    fn fetch_that_brought_no_snapshot_keeps_the_accounts_and_drops_the_rest() {
        let collector = many_apps();
        let names = Arc::default();
        let found = snapshot(Vec::new());
        let shelf = Shelf::default();
        fill(&shelf, &probe(&collector, 0, &found), &names, 10);
        assert_eq!(
            is_ready(&shelf, &probe(&collector, 0, &found), &names),
            [true; 2]
        );
        let other = probe(&collector, 0, &snapshot(Vec::new()));
        assert_eq!(is_ready(&shelf, &other, &names), [false; 2]);
        fill(&shelf, &other, &names, 10);
        assert_eq!(
            is_ready(&shelf, &other, &Arc::default()),
            [false; 2],
            "couriers have other names"
        );
    }

    #[test]
    fn parts_of_apps_and_snapshots_that_are_gone_are_swept_out() {
        let collector = many_apps();
        let names = Arc::default();
        let shelf = Shelf::default();
        let gone = snapshot(Vec::new());
        fill(&shelf, &probe(&collector, 0, &gone), &names, 10);
        drop(gone);
        shelf.lock().swept = None;
        let found = snapshot(Vec::new());
        fill(&shelf, &probe(&collector, 1, &found), &names, 10);
        assert_eq!(shelf.lock().by_apps.len(), 1);
        let cost: usize = shelf.lock().by_apps.values().map(Row::cost).sum();
        assert_eq!(shelf.lock().cost, cost);
    }
}
