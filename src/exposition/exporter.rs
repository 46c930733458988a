//! The exporter's own metrics: its build, its configuration, the requests it answered, its process.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use prometheus::core::Collector as _;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

use super::compress::{Effort, Part};
use super::family;
use super::format::{Coding, Format};
use super::series::Series;
use super::sheet::Lines;
use crate::collector::Collector;
use crate::replicas;
use crate::version;

/// How long a reading of `/proc` serves: it costs several system calls more than the whole rest of a page.
const PROCESS_INTERVAL: Duration = Duration::from_secs(1);

/// What the names of the exporter's own metrics begin with, and no app's.
const OWN: [&str; 2] = ["wechat_logistics_exporter_", "process_"];

/// Whether these metrics are all the exporter's own, and say nothing of an app.
#[must_use]
pub fn are_of_no_app(names: &[String]) -> bool {
    let is_own = |name: &String| OWN.iter().any(|own| name.starts_with(own));
    !names.is_empty() && names.iter().all(is_own)
}

/// The routes as `exporter_http_requests_total` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handler {
    /// `--web.telemetry-path`
    Metrics,
    /// `/probe`
    Probe,
    /// `/sd`
    Sd,
    /// `/`
    Status,
    /// `/-/healthy`
    Healthy,
    /// `/-/ready`
    Ready,
    /// `/-/reload`
    Reload,
    /// Anything else, and requests that never reached a route.
    Other,
}

impl Handler {
    /// Every route.
    pub const ALL: [Self; 8] = [
        Self::Metrics,
        Self::Probe,
        Self::Sd,
        Self::Status,
        Self::Healthy,
        Self::Ready,
        Self::Reload,
        Self::Other,
    ];

    /// The `handler` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Probe => "probe",
            Self::Sd => "sd",
            Self::Status => "status",
            Self::Healthy => "healthy",
            Self::Ready => "ready",
            Self::Reload => "reload",
            Self::Other => "other",
        }
    }

    /// The codes that a series exists for from the start: all that are answered without a web configuration. What that
    /// brings along is told to [`ExporterCounters::expect_http_code`]; others get theirs with their first answer.
    const fn expected(self) -> &'static [u16] {
        match self {
            Self::Metrics | Self::Probe => &[200, 400, 405, 500, 503],
            Self::Sd | Self::Status => &[200, 405, 500, 503],
            Self::Healthy | Self::Ready => &[200, 405],
            Self::Reload => &[200, 403, 405, 500],
            Self::Other => &[400, 404, 431],
        }
    }
}

/// All codes that are answered, as the `code` label has them; any other would count as the last one.
const CODES: [(u16, &str); 12] = [
    (200, "200"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (503, "503"),
    (0, "other"),
];
const OTHER: usize = CODES.len() - 1;

/// [`Handler::expected`] by handler, a bit for the place of each code.
static EXPECTED: [u32; Handler::ALL.len()] = {
    let mut expected = [0; Handler::ALL.len()];
    let mut handler = 0;
    while handler < Handler::ALL.len() {
        let codes = Handler::ALL[handler].expected();
        let mut code = 0;
        while code < codes.len() {
            let place = place(codes[code]);
            assert!(place < OTHER);
            expected[handler] |= 1 << place;
            code += 1;
        }
        handler += 1;
    }
    expected
};

/// Where a code is counted.
const fn place(code: u16) -> usize {
    let mut place = 0;
    while place < OTHER && CODES[place].0 != code {
        place += 1;
    }
    place
}

/// The exporter's own counters; they live as long as the process.
#[derive(Debug, Default)]
pub struct ExporterCounters {
    http_requests: [[AtomicU64; CODES.len()]; Handler::ALL.len()],
    /// By handler, a bit for the place of each code that it has answered with or may: of 88 counters each scrape looks
    /// at those that have a line.
    answered: [AtomicU32; Handler::ALL.len()],
    reload_succeeded: AtomicBool,
    /// Unit: milliseconds since 1970; 0: never.
    reload_success_time: AtomicU64,
}

// The orderings are relaxed: each number stands for itself.
impl ExporterCounters {
    /// A request was answered.
    pub fn count_http_request(&self, handler: Handler, code: u16) {
        let place = place(code);
        let before = self.http_requests[handler as usize][place].fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.answered[handler as usize].fetch_or(1 << place, Ordering::Relaxed);
        }
    }

    /// Any route may answer with this code from now on: it counts from 0.
    pub fn expect_http_code(&self, code: u16) {
        for answered in &self.answered {
            answered.fetch_or(1 << place(code), Ordering::Relaxed);
        }
    }

    /// A configuration was loaded: at the start too.
    pub fn reload_succeeded(&self, at: SystemTime) {
        let time = crate::clock::unix_millis(at);
        self.reload_success_time.store(time, Ordering::Relaxed);
        self.reload_succeeded.store(true, Ordering::Relaxed);
    }

    /// A configuration could not be loaded; the old one stays.
    pub fn reload_failed(&self) {
        self.reload_succeeded.store(false, Ordering::Relaxed);
    }
}

/// Writes all of them but the process's.
pub(super) fn write(counters: &ExporterCounters, collector: &Collector, series: &mut impl Lines) {
    series.family(&family::BUILD_INFO, |series| {
        let labels = [
            ("version", version::VERSION),
            ("revision", version::REVISION),
            ("rustversion", version::RUSTC),
        ];
        series.add(&labels, 1.0);
    });
    series.family(&family::RELOAD_SUCCESSFUL, |series| {
        let succeeded = counters.reload_succeeded.load(Ordering::Relaxed);
        series.add(&[], f64::from(u8::from(succeeded)));
    });
    series.family(&family::RELOAD_TIMESTAMP, |series| {
        let time = counters.reload_success_time.load(Ordering::Relaxed);
        series.add_known(&[], (time > 0).then_some(time as f64 / 1000.0));
    });
    series.family(&family::HTTP_REQUESTS, |series| {
        for handler in Handler::ALL {
            let counts = &counters.http_requests[handler as usize];
            let expected = EXPECTED[handler as usize];
            let mut places = expected | counters.answered[handler as usize].load(Ordering::Relaxed);
            while places != 0 {
                let place = places.trailing_zeros() as usize;
                places &= places - 1;
                let (_, code) = CODES[place];
                if expected & 1 << place == 0 {
                    // Its line is what makes this page another one than before.
                    series.depends_on(handler.as_str());
                    series.depends_on(code);
                }
                let labels = [("handler", handler.as_str()), ("code", code)];
                series.add(&labels, counts[place].load(Ordering::Relaxed) as f64);
            }
        }
    });
    series.family(&family::STATE_WRITE_FAILURES, |series| {
        series.add(&[], collector.store().write_failures() as f64);
    });
    series.family(&family::SHARED_STATE_FAILURES, |series| {
        if let Some(replicas) = collector.replicas() {
            for reason in replicas::Failure::ALL {
                let failures = replicas.failures(*reason);
                series.add(&[("reason", reason.as_str())], failures as f64);
            }
        }
    });
}

/// `process_*`, read again when a reading is a second old. On systems other than Linux there are none.
#[derive(Debug)]
pub(super) struct Process {
    #[cfg(target_os = "linux")]
    collector: ProcessCollector,
    read: Mutex<Option<(Instant, Arc<ProcessForms>)>>,
}

/// One reading of the process, in the forms that have been asked for.
#[derive(Debug)]
pub(super) struct ProcessForms {
    families: Vec<MetricFamily>,
    parts: [[OnceLock<Part>; Coding::ALL.len()]; Format::ALL.len()],
}

impl Default for Process {
    fn default() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            collector: ProcessCollector::for_self(),
            read: Mutex::new(None),
        }
    }
}

impl Process {
    /// A reading no older than a second.
    pub(super) fn forms(&self, now: Instant) -> Arc<ProcessForms> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, forms)) = &*read
            && now.saturating_duration_since(*at) < PROCESS_INTERVAL
        {
            return Arc::clone(forms);
        }
        let forms = Arc::new(ProcessForms {
            families: self.collect(),
            parts: Default::default(),
        });
        *read = Some((now, Arc::clone(&forms)));
        forms
    }

    #[cfg(target_os = "linux")]
    fn collect(&self) -> Vec<MetricFamily> {
        self.collector.collect()
    }

    #[cfg(not(target_os = "linux"))]
    fn collect(&self) -> Vec<MetricFamily> {
        Vec::new()
    }

    /// Writes it as series of a page that is not kept.
    pub(super) fn write(&self, now: Instant, series: &mut Series<'_>) {
        self.forms(now).write(series);
    }
}

impl ProcessForms {
    /// The reading in that form.
    pub(super) fn part(&self, format: Format, coding: Coding) -> &Part {
        self.parts[format as usize][coding as usize].get_or_init(|| {
            let mut series = Series::part(format, coding, Effort::Once, &[]);
            self.write(&mut series);
            series.into_part()
        })
    }

    fn write(&self, series: &mut Series<'_>) {
        for family in &self.families {
            series.collected(family);
        }
    }
}

/// Unit: seconds since 1970, 0 before.
pub(super) fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
