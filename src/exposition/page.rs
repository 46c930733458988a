//! A page, written while it is sent: nothing of it is kept, and little of it is in memory at one time.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame};
use prometheus::proto::{MetricFamily, MetricType};

use super::encoder::{Encoder, Kind};
use super::exporter::ExporterMetrics;
use super::families::{self, CourierNames};
use super::negotiate::Form;
use crate::collector::{Collector, Scrape};

/// What is written at a time, before others get their turn, and what is sent at a time. Unit: bytes.
const CHUNK: usize = 64 << 10;

/// The longest line that no buffer has to grow for. Unit: bytes.
const LINE: usize = 4 << 10;

/// What a page covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The scrape's apps and the exporter's own metrics: `/metrics`.
    Everything,
    /// The scrape's apps alone: `/probe` and `collect`.
    AppsOnly,
}

/// Makes pages.
#[derive(Debug)]
pub struct Exposition {
    collector: Arc<Collector>,
    exporter: ExporterMetrics,
}

impl Exposition {
    /// Pages of that collector's scrapes.
    #[must_use]
    pub fn new(collector: Arc<Collector>) -> Self {
        Self {
            collector,
            exporter: ExporterMetrics::new(),
        }
    }

    /// The exporter's own metrics.
    pub(crate) fn exporter(&self) -> &ExporterMetrics {
        &self.exporter
    }

    /// The page of one scrape. `names`: only these metrics (`?name[]=`), each by the name that its `# HELP` line in text
    /// has: a counter's with `_total`, a histogram's without `_bucket`; all where empty.
    pub fn page(&self, scrape: Scrape, scope: Scope, names: Vec<String>, form: Form) -> Page {
        let own = match scope {
            Scope::Everything => self.exporter.gather(),
            Scope::AppsOnly => Vec::new(),
        };
        Page {
            collector: Arc::clone(&self.collector),
            courier_names: self.collector.couriers().names(),
            scrape,
            scope,
            own,
            names,
            family: 0,
            app: 0,
            account: 0,
            is_complete: false,
            encoder: Encoder::new(form.format, CHUNK + LINE),
            gzip: form
                .gzip
                .then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            has_worked: false,
        }
    }
}

/// The page of one scrape, as a body that is written while it is sent. It is of one moment: it holds the snapshots.
#[derive(Debug)]
pub struct Page {
    collector: Arc<Collector>,
    courier_names: Arc<CourierNames>,
    scrape: Scrape,
    scope: Scope,
    /// What the exporter's registry had.
    own: Vec<MetricFamily>,
    names: Vec<String>,
    /// What is to be written next: its index in [`families::ALL`], and those of its app and account.
    family: usize,
    app: usize,
    account: usize,
    is_complete: bool,
    encoder: Encoder,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Since others had their turn.
    has_worked: bool,
}

impl Page {
    #[cfg(test)]
    pub(super) fn is_gzip(&self) -> bool {
        self.gzip.is_some()
    }

    /// Writes the whole page.
    ///
    /// # Errors
    /// When it can't be written there.
    pub fn write_to(mut self, to: &mut impl io::Write) -> io::Result<()> {
        while !self.is_complete {
            to.write_all(&self.next_chunk()?)?;
        }
        to.flush()
    }

    /// The next bytes of a page that is not complete; none where the compressor holds them back.
    fn next_chunk(&mut self) -> io::Result<Bytes> {
        while !self.is_complete && self.encoder.out.len() < CHUNK {
            self.write_on();
        }
        let Some(gzip) = &mut self.gzip else {
            let capacity = if self.is_complete { 0 } else { CHUNK + LINE };
            let chunk = std::mem::replace(&mut self.encoder.out, Vec::with_capacity(capacity));
            return Ok(chunk.into());
        };
        gzip.write_all(&self.encoder.out)?;
        self.encoder.out.clear();
        if self.is_complete {
            gzip.try_finish()?;
        } else if gzip.get_ref().len() < CHUNK {
            return Ok(Bytes::new());
        }
        Ok(std::mem::take(gzip.get_mut()).into())
    }

    /// Writes what the family says of the next app, or of as many of its accounts as fill the chunk.
    fn write_on(&mut self) {
        let Some(family) = families::ALL.get(self.family) else {
            self.write_own();
            self.encoder.end();
            self.is_complete = true;
            return;
        };
        let reading = self.scrape.readings.get(self.app);
        let Some(reading) = reading.filter(|_| is_wanted(&self.names, family.name)) else {
            self.family += 1;
            self.app = 0;
            return;
        };
        let out = &mut self.encoder;
        if (self.app, self.account) == (0, 0) {
            out.begin(family.name, family.help, family.kind);
        }
        family.write_app(reading, self.scrape.now, out);
        if family.is_of_accounts() {
            for account in &reading.accounts()[self.account..] {
                if out.out.len() >= CHUNK {
                    return;
                }
                family.write_account(reading, account, &self.courier_names, out);
                self.account += 1;
            }
        }
        self.app += 1;
        self.account = 0;
    }

    /// Writes the exporter's own metrics.
    fn write_own(&mut self) {
        if self.scope == Scope::AppsOnly {
            return;
        }
        let out = &mut self.encoder;
        for family in families::ALL {
            if is_wanted(&self.names, family.name) {
                out.begin(family.name, family.help, family.kind);
                family.write_exporter(&self.collector, out);
            }
        }
        for family in &self.own {
            if is_wanted(&self.names, family.name()) {
                write_gathered(family, out);
            }
        }
    }
}

/// As `?name[]=` asks.
fn is_wanted(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|wanted| wanted == name)
}

/// Writes a family of the registry: each is of counters or gauges.
fn write_gathered(family: &MetricFamily, out: &mut Encoder) {
    let is_counter = family.get_field_type() == MetricType::COUNTER;
    let kind = if is_counter {
        Kind::Counter
    } else {
        Kind::Gauge
    };
    out.begin(family.name(), family.help(), kind);
    for metric in family.get_metric() {
        let labels = metric.get_label().iter();
        let labels: Vec<_> = labels.map(|pair| (pair.name(), pair.value())).collect();
        let value = if is_counter {
            metric.get_counter().get_value()
        } else {
            metric.get_gauge().get_value()
        };
        out.sample(&labels, value);
    }
}

impl Body for Page {
    type Data = Bytes;
    /// Breaks the connection: a page that ends early must not look whole.
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let page = self.get_mut();
        if page.is_complete {
            return Poll::Ready(None);
        }
        if !std::mem::take(&mut page.has_worked) {
            let chunk = page.next_chunk()?;
            if !chunk.is_empty() {
                page.has_worked = true;
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        // Others get their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::tests::{app, form, full_account, list, scraped};
    use super::*;

    /// The page of many accounts.
    fn large_page(accept_encoding: &'static str) -> Page {
        let accounts = (0..5_000).map(full_account).collect();
        let (exposition, scrape) = scraped(vec![(app("wx1", "shop"), list(accounts))]);
        let form = form("text/plain", accept_encoding);
        exposition.page(scrape, Scope::AppsOnly, Vec::new(), form)
    }

    #[tokio::test]
    async fn large_page_is_never_in_memory_as_a_whole() {
        for accept_encoding in ["identity", "gzip"] {
            let mut page = large_page(accept_encoding);
            let mut chunks = Vec::new();
            while let Some(frame) = page.frame().await {
                chunks.push(frame.unwrap().into_data().unwrap().len());
            }
            assert!(chunks.len() > 2, "{chunks:?}");
            assert!(chunks.iter().all(|chunk| *chunk < 2 * CHUNK), "{chunks:?}");
        }
    }

    /// What a client reads of a page over HTTP, and whether the server's task went on to its end.
    async fn served(page: fn() -> Page) -> (Vec<u8>, bool) {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let service = service_fn(move |_: Request<_>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(page()))
        });
        let server = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let server = tokio::spawn(server);
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        (answer, server.await.is_ok())
    }

    #[tokio::test]
    async fn page_that_breaks_midway_never_looks_whole() {
        let (whole, ended_well) = served(|| large_page("identity")).await;
        assert!(ended_well && whole.ends_with(b"\r\n0\r\n\r\n"));
        let broken = || {
            let mut page = large_page("identity");
            let chunk = page.next_chunk().unwrap();
            assert!(!chunk.is_empty());
            // As a fault in what writes it would.
            page.account = usize::MAX;
            page
        };
        let (half, ended_well) = served(broken).await;
        assert!(!ended_well && !half.ends_with(b"0\r\n\r\n"));
    }
}
