//! The log on standard error, and the handling of panics.
//!
//! The log is written on a thread of its own, so that a stalled reader of standard error costs lines and nothing else.
//! Only events of our own crate are logged, at any level: the HTTP libraries log whole URLs at `trace`, and the access
//! token travels in the query string.

mod logfmt;
mod throttle;

pub(crate) use logfmt::is_unseen;
pub(crate) use throttle::admits;

use std::io::{self, Write};
use std::panic::PanicHookInfo;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::config::{LogConfig, LogFormat};
use logfmt::Logfmt;

/// The number of lines that may wait for a stalled reader; about a MiB. Later lines are lost.
const MAX_WAITING_LINES: usize = 4096;

/// The prefix of the targets of all events of our own crate.
const OWN_TARGETS: &str = "wechat_logistics_exporter";

/// The log of the process. When dropped, it writes the lines that wait, for a second at most; later lines are lost.
pub struct Log {
    writer: NonBlocking,
    _flush_at_end: WorkerGuard,
}

impl Log {
    /// Starts to log events to standard error, and panics to the log.
    ///
    /// # Panics
    /// Panics if the process already has a log.
    #[must_use = "it ends when it is dropped"]
    pub fn start(config: LogConfig) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_WAITING_LINES)
            .thread_name("log")
            .finish(io::stderr());
        let subscriber = subscriber(config.level, config.format, writer.clone());
        tracing::subscriber::set_global_default(subscriber).expect("the process has one log");
        std::panic::set_hook(Box::new(log_panic));
        Self {
            writer,
            _flush_at_end: guard,
        }
    }

    /// Writes a sentence that is not an event.
    pub fn say(&mut self, sentence: &str) {
        let line = format!("wechat-logistics-exporter: {sentence}\n");
        // If standard error is closed, the exit code has to be enough.
        let _ = self.writer.write_all(line.as_bytes());
    }
}

fn subscriber<W>(
    level: Level,
    format: LogFormat,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let ours = Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target(OWN_TARGETS, level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // A line that can't be written is lost. Reporting that on standard error would panic if that is what is closed.
        .log_internal_errors(false);
    let layer = match format {
        LogFormat::Logfmt => layer.event_format(Logfmt).boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    Box::new(Registry::default().with(layer.with_filter(ours)))
}

/// Logs where a panic began. Its message is logged only if it is a literal in the source, because a formatted one can
/// contain anything that was in memory.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let literal = panic.payload().downcast_ref::<&'static str>();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        message = "a bug in the exporter; please report it",
        at = location,
        panic = literal
    );
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

    fn logged(level: Level, format: LogFormat, events: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = subscriber(level, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_events_of_our_own_are_logged_even_at_trace() {
        let log = logged(Level::TRACE, LogFormat::Logfmt, || {
            tracing::trace!(target: "reqwest::connect", "https://x/?access_token=canary");
            tracing::error!(target: "hyper", "canary");
            tracing::trace!("ours");
        });
        assert!(log.ends_with("level=trace msg=ours\n"), "{log}");
        assert_eq!(log.lines().count(), 1);
    }

    #[test]
    fn panic_is_logged_without_what_it_quotes() {
        let log = logged(Level::ERROR, LogFormat::Logfmt, || {
            std::panic::set_hook(Box::new(log_panic));
            let secret = String::from("canary");
            let caught = std::panic::catch_unwind(|| panic!("{secret} was in memory"));
            drop(std::panic::take_hook());
            assert!(caught.is_err());
        });
        assert!(log.contains("at=src/logging/mod.rs:"), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }

    #[test]
    fn line_breaks_in_values_begin_no_new_line() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let log = logged(Level::INFO, format, || {
                tracing::info!(error = "one\nlevel=error two\u{1b}[31m", "said");
                tracing::info!(error = %"one\nlevel=error two\u{1b}[31m", "said");
            });
            assert_eq!(log.lines().count(), 2, "{log}");
            assert!(!log.contains('\u{1b}'), "{log}");
        }
    }

    #[test]
    fn fields_follow_the_text_in_their_order() {
        let log = logged(Level::INFO, LogFormat::Logfmt, || {
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
        let log = logged(Level::INFO, LogFormat::Json, || {
            tracing::info!(appid = "wx1", "said");
        });
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["appid"], "wx1");
        assert_eq!(line["message"], "said");
        assert_eq!(line["level"], "INFO");
    }
}
