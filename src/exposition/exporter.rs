//! The exporter's own metrics: its build, its configuration, the requests it answered, its process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use hyper::StatusCode;
use parking_lot::Mutex;
use prometheus::Registry;

use crate::labels::labels;

/// The name prefixes of the exporter's own metrics, which no app's metrics have.
const OWN: [&str; 2] = ["wechat_logistics_exporter_", "process_"];

/// Reports whether all of these metrics are the exporter's own, so that none of them concerns an app.
pub(crate) fn are_of_no_app(names: &[String]) -> bool {
    let is_own = |name: &String| OWN.iter().any(|own| name.starts_with(own));
    !names.is_empty() && names.iter().all(is_own)
}

labels! {
    /// The routes: the `handler` label of `exporter_http_requests_total`.
    Handler {
        /// `--web.telemetry-path`
        Metrics = "metrics",
        /// `/probe`
        Probe = "probe",
        /// `/sd`
        Sd = "sd",
        /// `/`
        Status = "status",
        /// `/-/healthy`
        Healthy = "healthy",
        /// `/-/ready`
        Ready = "ready",
        /// `/-/reload`
        Reload = "reload",
        /// Anything else, and requests that never reached a route.
        Other = "other",
    }
}

impl Handler {
    /// Returns the codes that count from 0: all that the route answers with if there is no web configuration.
    const fn expected(self) -> &'static [u16] {
        match self {
            Self::Metrics | Self::Probe => &[200, 204, 400, 405, 503],
            Self::Sd => &[200, 204, 405, 503],
            Self::Status => &[200, 204, 308, 400, 405, 503],
            Self::Healthy | Self::Ready => &[200, 204, 405],
            Self::Reload => &[200, 204, 403, 405, 500],
            Self::Other => &[204, 400, 404, 431],
        }
    }
}

/// The exporter's own metrics; they live as long as the process.
pub(crate) struct ExporterMetrics {
    /// `process_*`
    pub(super) process: Registry,
    /// Requests by code and handler, as they are on the page.
    pub(super) http_requests: Mutex<BTreeMap<(u16, &'static str), u64>>,
    /// Whether the last attempt to load the configuration succeeded.
    pub(super) reload_successful: AtomicBool,
    /// When the configuration was last loaded successfully.
    pub(super) last_reload: Mutex<SystemTime>,
}

impl ExporterMetrics {
    /// Returns the metrics of an exporter that has just loaded its configuration.
    pub(super) fn new() -> Self {
        let process = Registry::new();
        #[cfg(target_os = "linux")]
        process
            .register(Box::new(
                prometheus::process_collector::ProcessCollector::for_self(),
            ))
            .expect("it is the only one");
        let expected = Handler::ALL.iter().flat_map(|handler| {
            let codes = handler.expected().iter();
            codes.map(|code| ((*code, handler.as_str()), 0))
        });
        Self {
            process,
            http_requests: Mutex::new(expected.collect()),
            reload_successful: AtomicBool::new(true),
            last_reload: Mutex::new(SystemTime::now()),
        }
    }

    /// Counts an answered request.
    pub(crate) fn count_http_request(&self, handler: Handler, code: StatusCode) {
        let series = (code.as_u16(), handler.as_str());
        *self.http_requests.lock().entry(series).or_default() += 1;
    }

    /// Makes this code count from 0 for every route, because any route may answer with it from now on.
    pub(crate) fn expect_http_code_of_all(&self, code: StatusCode) {
        let mut requests = self.http_requests.lock();
        for handler in Handler::ALL {
            requests
                .entry((code.as_u16(), handler.as_str()))
                .or_default();
        }
    }

    /// Records an attempt to load the configuration; if it failed, the old one stays.
    pub(crate) fn reloaded(&self, is_successful: bool) {
        self.reload_successful
            .store(is_successful, Ordering::Relaxed);
        if is_successful {
            *self.last_reload.lock() = SystemTime::now();
        }
    }
}
