//! The log on standard error, and what happens to a panic.
//!
//! A thread of its own writes it, so that a reader of standard error who stalls costs lines and nothing else.
//! Only events of our own crate are logged, at any level: the HTTP libraries log whole URLs at `trace`, and the
//! access token travels in the query string.

mod logfmt;
mod queue;

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::config::{LogFormat, LogLevel};
use logfmt::Logfmt;
use queue::Queue;

/// How long the end of the process waits for whoever reads standard error.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Begins the target of every event of ours.
const OWN_TARGETS: &str = "wechat_logistics_exporter";

static QUEUE: Queue = Queue::new();
/// Whether a thread writes the queue.
static HAS_WRITER: AtomicBool = AtomicBool::new(false);

/// Sends the log to standard error and panics to the log. Later calls change nothing.
pub fn init(level: LogLevel, format: LogFormat) {
    let subscriber = subscriber(level, format, || Stderr);
    // A second call is a test's; the first one's log is as good.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
        let tell = move |lost| {
            // At any level of the log, and in its form.
            let log = self::subscriber(LogLevel::Error, format, io::stderr);
            tracing::subscriber::with_default(log, || tell_of_lost(lost));
        };
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || QUEUE.write_to(io::stderr(), tell));
        HAS_WRITER.store(thread.is_ok(), Ordering::Release);
    }
}

fn tell_of_lost(lines: u64) {
    tracing::error!(
        lines,
        "log lines were lost: whoever reads standard error was too slow"
    );
}

/// Writes a sentence that is no event to standard error.
pub fn say(sentence: &str) {
    // Where standard error is closed, the exit code has to do.
    let _ = Stderr.write_all(format!("wechat-logistics-exporter: {sentence}\n").as_bytes());
}

/// Waits until all is written, but not long for a reader that stalls. The process ends after it.
pub fn flush() {
    if HAS_WRITER.load(Ordering::Acquire) {
        QUEUE.drain(LAST_PATIENCE);
    }
}

/// Standard error by way of the queue; each write is a whole line.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if HAS_WRITER.load(Ordering::Acquire) {
            QUEUE.push(line);
            Ok(line.len())
        } else {
            // No thread is left to be had, or it is too early for one.
            io::stderr().write(line)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscriber<W>(
    level: LogLevel,
    format: LogFormat,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let ours = Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target(OWN_TARGETS, level);
    // A log that can't be written is lost; to report that on standard error would panic where that is the closed one.
    let report_failures = false;
    match format {
        LogFormat::Logfmt => Box::new(
            Registry::default().with(
                tracing_subscriber::fmt::layer()
                    .event_format(Logfmt)
                    .with_writer(writer)
                    .log_internal_errors(report_failures)
                    .with_filter(ours),
            ),
        ),
        LogFormat::Json => Box::new(
            Registry::default().with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_target(false)
                    .with_current_span(false)
                    .with_span_list(false)
                    .with_writer(writer)
                    .log_internal_errors(report_failures)
                    .with_filter(ours),
            ),
        ),
    }
}

/// Logs where a panic began. Its message only where it is a literal of the source: a formatted one can hold anything
/// that was in memory.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload().downcast_ref::<&'static str>();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        message = "a fault of the exporter itself; please report it",
        at = location,
        said = message
    );
    // What panics may well end the process.
    flush();
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, format: LogFormat, events: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = subscriber(level, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_events_of_our_own_are_logged_even_at_trace() {
        let log = logged(LogLevel::Trace, LogFormat::Logfmt, || {
            tracing::trace!(target: "reqwest::connect", "https://x/?access_token=canary");
            tracing::error!(target: "hyper", "canary");
            tracing::trace!("ours");
        });
        assert!(log.ends_with("level=trace msg=ours\n"), "{log}");
        assert_eq!(log.lines().count(), 1);
    }

    #[test]
    fn events_below_the_level_are_left_out() {
        let log = logged(LogLevel::Warn, LogFormat::Logfmt, || {
            tracing::info!("less");
            tracing::warn!("enough");
        });
        assert_eq!(log.lines().count(), 1, "{log}");
    }

    #[test]
    fn line_breaks_in_values_begin_no_new_line() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let log = logged(LogLevel::Info, format, || {
                tracing::info!(error = "one\nlevel=error two\u{1b}[31m", "said");
                tracing::info!(error = %"one\nlevel=error two\u{1b}[31m", "said");
            });
            assert_eq!(log.lines().count(), 2, "{log}");
            assert!(!log.contains('\u{1b}'), "{log}");
        }
    }

    #[test]
    fn fields_follow_the_text_in_their_order() {
        let log = logged(LogLevel::Info, LogFormat::Logfmt, || {
            let (refused, none) = (std::io::Error::other("can't"), None::<&str>);
            tracing::info!(apps = 2, %refused, error = ?refused, none, ok = true, "it was said");
        });
        let (time, rest) = log.strip_prefix("ts=").unwrap().split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-11-24T18:44:18.123Z".len(), "{log}");
        let error = r#""Custom { kind: Other, error: \"can't\" }""#;
        assert_eq!(
            rest,
            format!("level=info msg=\"it was said\" apps=2 refused=can't error={error} ok=true\n")
        );
    }

    #[test]
    fn json_lines_are_objects_with_our_fields_at_the_top() {
        let log = logged(LogLevel::Info, LogFormat::Json, || {
            tracing::info!(appid = "wx1", "said");
        });
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["appid"], "wx1");
        assert_eq!(line["message"], "said");
        assert_eq!(line["level"], "INFO");
    }
}
