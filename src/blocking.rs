//! Blocking work, kept off the threads that serve scrapes.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tokio::task;

/// The reads of all apps' tokens and secrets at one time. tokio has 512 threads for blocking work: if the disk with the
/// secrets hangs, the other half goes on with everything else.
static SECRET_READS: Semaphore = Semaphore::const_new(256);

/// Runs file reads one at a time, so that a hanging file system ties up one thread, not one more with each scrape.
#[derive(Default)]
pub(crate) struct BlockingReads {
    turn: Arc<Mutex<()>>,
    /// Limits these reads together with others; `None` if nothing does.
    places: Option<&'static Semaphore>,
}

impl BlockingReads {
    /// Creates the reads of one app's token and secrets.
    pub(crate) fn of_secrets() -> Self {
        Self {
            turn: Arc::default(),
            places: Some(&SECRET_READS),
        }
    }

    /// Runs `read` once the reads before it have returned; one that hangs may never do so. If the caller stops waiting,
    /// the read goes on.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let place = match self.places {
            Some(places) => Some(places.acquire().await.expect("it is never closed")),
            None => None,
        };
        run(move || {
            // Held until the read ends, even if the caller no longer waits for it.
            let _held = (turn, place);
            read()
        })
        .await
    }
}

/// Runs slow work on a thread that serves no scrapes. A panic in `work` is passed on to the caller: it is a fault of
/// the exporter, not of what was read.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nothing cancels the task: the runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn reading_waits_for_one_that_hangs_even_where_nobody_waits_for_that_any_more() {
        let reads = BlockingReads::default();
        let (end, hanging) = mpsc::channel::<()>();
        let soon = Duration::from_millis(50);
        let hangs = timeout(soon, reads.run(move || hanging.recv()));
        hangs.await.unwrap_err();
        timeout(soon, reads.run(|| ())).await.unwrap_err();
        drop(end);
        reads.run(|| ()).await;
    }

    #[tokio::test]
    async fn secrets_on_a_disk_that_hangs_leave_threads_for_other_work() {
        let is_back = Arc::new(AtomicBool::new(false));
        let reads = (0..600).map(|_| {
            let is_back = Arc::clone(&is_back);
            let hang = move || {
                while !is_back.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
            };
            tokio::spawn(async { BlockingReads::of_secrets().run(hang).await })
        });
        let reads: Vec<_> = reads.collect();
        // Until all of them have asked for a thread.
        for _ in 0..600 {
            tokio::task::yield_now().await;
        }
        let other_work = timeout(Duration::from_secs(10), run(|| ())).await;
        is_back.store(true, Ordering::Relaxed);
        other_work.unwrap();
        for read in reads {
            read.await.unwrap();
        }
    }
}
