//! Blocking work, kept off the threads that serve scrapes.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task;

/// Runs file reads one at a time, so that a hanging file system ties up one thread, not one more with each scrape.
#[derive(Debug, Default)]
pub(crate) struct BlockingReads(Arc<Mutex<()>>);

impl BlockingReads {
    /// Runs `read` once the reads before it have returned; one that hangs may never do so. If the caller stops waiting,
    /// the read goes on.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let turn = Arc::clone(&self.0).lock_owned().await;
        run(move || {
            // Held until the read ends, even if the caller no longer waits for it.
            let _turn = turn;
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
    use std::sync::mpsc;
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
}
