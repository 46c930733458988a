//! A real Prometheus: Debian's package, as a child process.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{client, free_address};

/// Ended when dropped.
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
        let mut answer = Ok(Vec::new());
        for _ in 0..300 {
            answer = self.ask(query).await;
            match answer {
                Ok(result) if !result.is_empty() => return result,
                // It may be starting still, or not have scraped yet.
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("no answer to {query}: {answer:?}");
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
