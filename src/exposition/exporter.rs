//! The exporter's own metrics: its build, its configuration, the requests it answered, its process.

use std::time::SystemTime;

use hyper::StatusCode;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::families::{self, Family, unix_time};
use crate::version;
use crate::wechat::labels::labels;

/// What the names of the exporter's own metrics begin with, and no app's.
const OWN: [&str; 2] = ["wechat_logistics_exporter_", "process_"];

/// Whether these metrics are all the exporter's own, and say nothing of an app.
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
    /// The codes that count from 0: all that are answered without a web configuration.
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

/// The exporter's own metrics; they live as long as the process.
#[derive(Debug)]
pub(crate) struct ExporterMetrics {
    registry: Registry,
    http_requests: IntCounterVec,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
}

impl ExporterMetrics {
    /// Metrics of an exporter that has just loaded its configuration.
    pub(super) fn new() -> Self {
        let metrics = Self::register().expect("each metric has a valid name and is there once");
        for handler in Handler::ALL {
            for code in handler.expected() {
                metrics.expect_http_code(*handler, *code);
            }
        }
        metrics.reload_succeeded(SystemTime::now());
        metrics
    }

    fn register() -> prometheus::Result<Self> {
        let build_info = IntGaugeVec::new(
            options(&families::BUILD_INFO),
            &["version", "revision", "rustversion"],
        )?;
        build_info
            .with_label_values(&[version::VERSION, version::REVISION, version::RUSTC])
            .set(1);
        let metrics = Self {
            registry: Registry::new(),
            http_requests: IntCounterVec::new(
                options(&families::HTTP_REQUESTS),
                &["handler", "code"],
            )?,
            reload_successful: IntGauge::with_opts(options(&families::RELOAD_SUCCESSFUL))?,
            reload_timestamp: Gauge::with_opts(options(&families::RELOAD_TIMESTAMP))?,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(build_info))?;
        registry.register(Box::new(metrics.http_requests.clone()))?;
        registry.register(Box::new(metrics.reload_successful.clone()))?;
        registry.register(Box::new(metrics.reload_timestamp.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(metrics)
    }

    /// A request was answered.
    pub(crate) fn count_http_request(&self, handler: Handler, code: StatusCode) {
        self.http_requests
            .with_label_values(&[handler.as_str(), code.as_str()])
            .inc();
    }

    /// Any route may answer with this code from now on: it counts from 0.
    pub(crate) fn expect_http_code_of_all(&self, code: u16) {
        for handler in Handler::ALL {
            self.expect_http_code(*handler, code);
        }
    }

    fn expect_http_code(&self, handler: Handler, code: u16) {
        self.http_requests
            .with_label_values(&[handler.as_str(), &code.to_string()]);
    }

    /// A configuration was loaded.
    pub(crate) fn reload_succeeded(&self, at: SystemTime) {
        self.reload_timestamp.set(unix_time(at));
        self.reload_successful.set(1);
    }

    /// A configuration could not be loaded; the old one stays.
    pub(crate) fn reload_failed(&self) {
        self.reload_successful.set(0);
    }

    /// All of them as they are now, by name.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

fn options(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}
