//! A page, written while it is sent: it is not kept, and only a small part of it is in memory at a time.

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame};
use prometheus::proto::{MetricFamily, MetricType};

use super::encoder::Encoder;
use super::exporter::ExporterMetrics;
use super::families::{self, Family, Samples};
use super::negotiate::Form;
use crate::app::Deliveries;
use crate::collector::{AppReading, Collector};

/// How much is written before other tasks run, and how much is sent at a time. Unit: bytes.
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

/// The pages of one collector's scrapes.
pub struct Exposition {
    pub(super) collector: Arc<Collector>,
    /// The exporter's own metrics.
    pub(crate) exporter: ExporterMetrics,
}

impl Exposition {
    /// Returns the exposition of a collector's scrapes.
    pub fn new(collector: Arc<Collector>) -> Self {
        Self {
            collector,
            exporter: ExporterMetrics::new(),
        }
    }

    /// Returns the page of one scrape. `names` selects metrics (`?name[]=`), each by the name in its `# HELP` line in
    /// text: a counter's with `_total`, a histogram's without `_bucket`; all if empty.
    pub fn page(
        &self,
        readings: Vec<AppReading>,
        scope: Scope,
        names: &[String],
        form: Form,
    ) -> Page {
        let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        let families = families::ALL.iter();
        let families: Vec<_> = families.filter(|family| is_wanted(family.name)).collect();
        let mut end = Encoder::new(form.format, 0);
        if scope == Scope::Everything {
            self.write_own(&families, is_wanted, &mut end);
        }
        end.end();
        Page {
            deliveries: self.collector.shared.couriers.deliveries.load_full(),
            readings,
            families,
            family: 0,
            app: 0,
            account: 0,
            end: end.out,
            is_complete: false,
            encoder: Encoder::new(form.format, CHUNK + LINE),
            gzip: form
                .gzip
                .then(|| GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    /// Writes the exporter's own metrics.
    fn write_own(&self, families: &[&Family], is_wanted: impl Fn(&str) -> bool, out: &mut Encoder) {
        for family in families {
            if let Samples::Own(write) = family.samples {
                out.begin(family.name, family.help, family.kind());
                write(self, out);
            }
        }
        for family in self.exporter.process.gather() {
            if is_wanted(family.name()) {
                write_gathered(&family, out);
            }
        }
    }
}

/// Writes a `process_*` family, which is one counter or gauge.
fn write_gathered(family: &MetricFamily, out: &mut Encoder) {
    let is_counter = family.get_field_type() == MetricType::COUNTER;
    let kind = if is_counter { "counter" } else { "gauge" };
    out.begin(family.name(), family.help(), kind);
    for metric in family.get_metric() {
        let value = if is_counter {
            metric.get_counter().get_value()
        } else {
            metric.get_gauge().get_value()
        };
        out.sample(&[], value);
    }
}

/// The page of one scrape, written while it is sent. It shows one moment, because it holds the snapshots.
pub struct Page {
    deliveries: Arc<Deliveries>,
    readings: Vec<AppReading>,
    families: Vec<&'static Family>,
    /// What is to be written next: the indices of the family, its app and its account.
    family: usize,
    app: usize,
    account: usize,
    /// The text after the apps.
    end: Vec<u8>,
    is_complete: bool,
    encoder: Encoder,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Page {
    /// Writes the whole page.
    ///
    /// # Errors
    /// Fails if `to` can't be written to.
    pub fn write_to(mut self, to: &mut impl io::Write) -> io::Result<()> {
        while !self.is_complete {
            to.write_all(&self.next_chunk()?)?;
        }
        to.flush()
    }

    /// Returns a body that writes the page while it is sent. An error breaks the connection: a page that ends early
    /// must not look complete.
    pub(crate) fn into_body(self) -> impl Body<Data = Bytes, Error = io::Error> + Send {
        StreamBody::new(stream::unfold(
            (self, false),
            |(mut page, mut has_worked)| async move {
                while !page.is_complete {
                    if has_worked {
                        // Lets other tasks run.
                        tokio::task::yield_now().await;
                    }
                    has_worked = true;
                    match page.next_chunk() {
                        Ok(chunk) if chunk.is_empty() => {}
                        chunk => return Some((chunk.map(Frame::data), (page, true))),
                    }
                }
                None
            },
        ))
    }

    /// Returns the next bytes of a page that is not complete; none if the compressor holds them back.
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

    /// Writes the family's samples for the next app, or for as many of its accounts as fill the chunk.
    fn write_on(&mut self) {
        let out = &mut self.encoder;
        let Some(family) = self.families.get(self.family) else {
            out.out.append(&mut self.end);
            self.is_complete = true;
            return;
        };
        let Some(app) = self.readings.get(self.app) else {
            self.family += 1;
            self.app = 0;
            return;
        };
        if (self.app, self.account) == (0, 0) {
            out.begin(family.name, family.help, family.kind());
        }
        family.write_app(app, out);
        if let Samples::AccountValue(_) | Samples::Account(_) = family.samples {
            for account in &app.accounts()[self.account..] {
                if out.out.len() >= CHUNK {
                    return;
                }
                family.write_account(app, account, &self.deliveries, out);
                self.account += 1;
            }
        }
        self.app += 1;
        self.account = 0;
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

    /// Returns a page with many accounts.
    fn large_page(accept_encoding: &'static str) -> Page {
        let accounts = (0..5_000).map(full_account).collect();
        let (exposition, scrape) = scraped(vec![(app("wx1", "shop"), list(accounts))]);
        let form = form("text/plain", accept_encoding);
        exposition.page(scrape, Scope::AppsOnly, &[], form)
    }

    #[tokio::test]
    async fn large_page_is_never_in_memory_as_a_whole() {
        for accept_encoding in ["identity", "gzip"] {
            let mut body = Box::pin(large_page(accept_encoding).into_body());
            let mut chunks = Vec::new();
            while let Some(frame) = body.frame().await {
                chunks.push(frame.unwrap().into_data().unwrap().len());
            }
            assert!(chunks.len() > 2, "{chunks:?}");
            assert!(chunks.iter().all(|chunk| *chunk < 2 * CHUNK), "{chunks:?}");
        }
    }

    /// Returns what a client reads of a page over HTTP, and whether the server's task ran to its end.
    async fn served(page: fn() -> Page) -> (Vec<u8>, bool) {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let service = service_fn(move |_: Request<_>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(Box::pin(page().into_body())))
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
            // As a fault in the code that writes the page would do.
            page.account = usize::MAX;
            page
        };
        let (half, ended_well) = served(broken).await;
        assert!(!ended_well && !half.ends_with(b"0\r\n\r\n"));
    }
}
