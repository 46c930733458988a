//! The exporter's own metrics: its build, its configuration, the requests it answered, its process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
use crate::collector::Collector;
use crate::replicas;
use crate::version;

/// How long a reading of `/proc` serves: it costs several system calls more than the whole rest of a page.
const PROCESS_INTERVAL: Duration = Duration::from_secs(1);

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

    /// The codes that a series exists for from the start; others get theirs with their first answer.
    const fn expected(self) -> &'static [u16] {
        match self {
            Self::Metrics => &[200, 500, 503],
            Self::Probe => &[200, 400, 500, 503],
            Self::Sd | Self::Status | Self::Healthy | Self::Ready => &[200],
            Self::Reload => &[200, 405, 500],
            Self::Other => &[404],
        }
    }
}

/// The values of the `code` label; whatever else is answered counts as `other`.
const CODES: [(u16, &str); 16] = [
    (200, "200"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (413, "413"),
    (414, "414"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (503, "503"),
    (505, "505"),
];
const OTHER_CODE: &str = "other";

/// The exporter's own counters; they live as long as the process.
#[derive(Debug, Default)]
pub struct ExporterCounters {
    http_requests: [[AtomicU64; CODES.len() + 1]; Handler::ALL.len()],
    reload_succeeded: AtomicBool,
    /// Unit: milliseconds since 1970; 0: never.
    reload_success_time: AtomicU64,
}

// The orderings are relaxed: each number stands for itself.
impl ExporterCounters {
    /// A request was answered.
    pub fn count_http_request(&self, handler: Handler, code: u16) {
        let index = CODES
            .iter()
            .position(|(known, _)| *known == code)
            .unwrap_or(CODES.len());
        self.http_requests[handler as usize][index].fetch_add(1, Ordering::Relaxed);
    }

    /// A configuration was loaded: at the start too.
    pub fn reload_succeeded(&self, at: SystemTime) {
        let time = crate::moment::unix_millis(at);
        self.reload_success_time.store(time, Ordering::Relaxed);
        self.reload_succeeded.store(true, Ordering::Relaxed);
    }

    /// A configuration could not be loaded; the old one stays.
    pub fn reload_failed(&self) {
        self.reload_succeeded.store(false, Ordering::Relaxed);
    }
}

/// Writes all of them but the process's.
pub(super) fn write(counters: &ExporterCounters, collector: &Collector, series: &mut Series<'_>) {
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
        if time > 0 {
            series.add(&[], time as f64 / 1000.0);
        }
    });
    series.family(&family::HTTP_REQUESTS, |series| {
        for handler in Handler::ALL {
            let codes = CODES.iter().map(|(code, label)| (Some(*code), *label));
            let codes = codes.chain([(None, OTHER_CODE)]);
            for (count, (code, label)) in counters.http_requests[handler as usize].iter().zip(codes)
            {
                let count = count.load(Ordering::Relaxed);
                let expected = code.is_some_and(|code| handler.expected().contains(&code));
                if count > 0 || expected {
                    let labels = [("handler", handler.as_str()), ("code", label)];
                    series.add(&labels, count as f64);
                }
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
    pub(super) fn forms(&self) -> Arc<ProcessForms> {
        let now = Instant::now();
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
    pub(super) fn write(&self, series: &mut Series<'_>) {
        self.forms().write(series);
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
