//! What the kernel knows of a process, and how hard these tests try.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::*;

/// Unit: KiB.
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that ever was.
    pub peak: u64,
}

pub fn memory(process: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a live process");
    let of = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .map(|number| number.trim().parse().expect("a number of KiB"))
            .expect("a line of /proc/PID/status")
    };
    Memory {
        resident: of("VmRSS"),
        peak: of("VmHWM"),
    }
}

/// Open file descriptors.
pub fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd"))
        .expect("a live process")
        .count()
}

/// Waits until the process has no more descriptors than that.
pub async fn descriptors_fall_to(process: u32, bound: usize) {
    let began = Instant::now();
    while descriptors(process) > bound {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{} descriptors are still open",
            descriptors(process)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often something is done.
pub fn rounds(usual: usize) -> usize {
    usual * number("RELIABILITY_ROUNDS").unwrap_or(1)
}

/// How many connections are held at one time: as many as this process may have, but not more than asked for.
pub fn connections() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("limits of this process");
    let descriptors: usize = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(1024);
    // Other tests run in this process at the same time.
    number("RELIABILITY_CONNECTIONS")
        .unwrap_or(2000)
        .min(descriptors / 2)
}

fn number(variable: &str) -> Option<usize> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Scrapes until told to stop, as a Prometheus with a timeout of ten seconds would, on a new connection each time.
pub struct Scraping {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<usize>,
}

impl Scraping {
    pub fn of(exporter: &Exporter) -> Self {
        Self::with(client(), exporter.url("/metrics"))
    }

    pub fn with(client: reqwest::Client, url: String) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut scrapes = 0;
            while stopped.try_recv().is_err() {
                let request = client.get(&url).header("Connection", "close");
                let answer = request.timeout(Duration::from_secs(10)).send().await;
                let answer = answer.unwrap_or_else(|error| panic!("scrape {scrapes}: {error:?}"));
                assert_eq!(answer.status().as_u16(), 200, "scrape {scrapes}");
                answer.bytes().await.expect("the whole page");
                scrapes += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            scrapes
        });
        Self { stop, task }
    }

    /// Every scrape so far was answered in time with 200.
    pub async fn all_were_answered(self) -> usize {
        let _ = self.stop.send(());
        let scrapes = self.task.await.expect("every scrape is answered in time");
        assert!(scrapes > 0);
        scrapes
    }
}
