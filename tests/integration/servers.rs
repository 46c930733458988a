//! Real servers as child processes (Debian's packages), and certificates for them.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::support::{client, free_address, until};

/// A Prometheus; ended when dropped.
pub struct Prometheus {
    child: Child,
    url: String,
    _scratch: tempfile::TempDir,
}

impl Prometheus {
    /// One with that configuration. `more`: flags.
    pub fn start(config: &str, more: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let port = free_address().port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed (Debian package prometheus)");
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            _scratch: scratch,
        }
    }

    /// The result of a query now, of a Prometheus that has answered before.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.ask(query).await;
        answer.unwrap_or_else(|error| panic!("no answer to {query}: {error}"))
    }

    /// The result of a query as soon as it has one.
    pub async fn answer(&self, query: &str) -> Vec<Value> {
        for _ in 0..600 {
            match self.ask(query).await {
                Ok(result) if !result.is_empty() => return result,
                // It may be starting still, or not have scraped yet.
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("no answer to {query}: {:?}", self.ask(query).await);
    }

    /// Every sample of `up` so far: the time of the scrape and whether it succeeded.
    pub async fn scrapes(&self) -> Vec<(f64, bool)> {
        let result = self.query("up[10m]").await;
        let samples = result[0]["values"].as_array().expect("samples");
        samples
            .iter()
            .map(|sample| (sample[0].as_f64().unwrap(), sample[1] == "1"))
            .collect()
    }

    /// Waits for so many more scrapes.
    pub async fn scrapes_again(&self, times: usize) {
        let before = self.scrapes().await.len();
        until("it scrapes again", async || {
            self.scrapes().await.len() >= before + times
        })
        .await;
    }

    /// The result, or what came instead of one.
    async fn ask(&self, query: &str) -> Result<Vec<Value>, String> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .finish();
        let request = client().get(format!("{}/api/v1/query?{query}", self.url));
        let response = request.send().await.map_err(|error| error.to_string())?;
        let text = response.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        match answer["data"]["result"].as_array() {
            Some(result) if answer["status"] == "success" => Ok(result.clone()),
            _ => Err(text),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often it scrapes, and how long a scrape may take: on a machine with much else to do, seconds.
pub const INTERVAL: Duration = Duration::from_secs(3);

/// Scrapes that address again and again. `more`: lines of the job.
pub fn scraping(address: &str, more: &str) -> String {
    let interval = INTERVAL.as_secs();
    format!(
        "scrape_configs:\n- job_name: wechat\n  scrape_interval: {interval}s\n  scrape_timeout: {interval}s\n{more}  static_configs:\n  - targets: ['{address}']\n"
    )
}

/// A Redis server; ended when dropped.
pub struct Redis {
    child: Child,
    pub port: u16,
    _scratch: tempfile::TempDir,
}

impl Redis {
    /// One that listens on a free port, with these flags.
    pub fn start(flags: impl Fn(u16) -> Vec<String>) -> Self {
        // Somebody else can take a free port before Redis does; then another one is tried.
        for _ in 0..5 {
            let port = free_address().port();
            let scratch = tempfile::tempdir().unwrap();
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
                .arg(scratch.path())
                .args(flags(port))
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed (Debian package redis-server)");
            let mut redis = Self {
                child,
                port,
                _scratch: scratch,
            };
            if redis.answers() {
                return redis;
            }
        }
        panic!("redis-server did not start on any of 5 free ports");
    }

    /// One without a password and without TLS.
    pub fn plain() -> Self {
        Self::start(|port| vec!["--port".to_owned(), port.to_string()])
    }

    /// Waits until it answers; `false`: it has ended.
    fn answers(&mut self) -> bool {
        for _ in 0..600 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not answer");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate authority, and what it has issued, in files.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Its own certificate is `ca.pem`.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
        };
        authority.write("ca.pem", &certificate.pem());
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The new file takes the old one's place in one step.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// Issues `NAME.pem` and `NAME.key` for that host.
    pub fn issue(&self, name: &str, host: &str) -> Issued {
        self.issue_with(name, host, |_| {})
    }

    pub fn issue_with(
        &self,
        name: &str,
        host: &str,
        change: impl Fn(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(&format!("{name}.pem"), &certificate.pem());
        Issued {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}
