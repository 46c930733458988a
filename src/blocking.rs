//! What hangs or takes long, on threads that serve no scrapes.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task;

/// A thread's worth of file reading: one at a time, so that a file system that hangs takes one thread and not one more
/// with each scrape. Whoever stops waiting leaves the reading running.
#[derive(Debug, Default)]
pub(crate) struct BlockingReads(Arc<Mutex<()>>);

/// The reading before it has not come back.
#[derive(Debug, thiserror::Error)]
#[error("an earlier reading of it still hangs")]
pub(crate) struct Hanging;

impl BlockingReads {
    /// Runs `read`, unless another reading has not come back.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hanging> {
        let turn = Arc::clone(&self.0).try_lock_owned().map_err(|_| Hanging)?;
        Ok(run_in_turn(turn, read).await)
    }

    /// Runs `read` once the readings before it have come back.
    pub(crate) async fn wait_and_run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        run_in_turn(Arc::clone(&self.0).lock_owned().await, read).await
    }
}

async fn run_in_turn<T: Send + 'static>(
    turn: OwnedMutexGuard<()>,
    read: impl FnOnce() -> T + Send + 'static,
) -> T {
    run(move || {
        // Ends with the reading, even if nobody waits for that any more.
        let _turn = turn;
        read()
    })
    .await
}

/// Does what takes long where the time keeps nobody waiting. A panic there goes on here: it is a fault of the
/// exporter's, not of what was read.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody cancels it: the runtime is ending, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn reading_that_hangs_is_not_joined_by_another_one() {
        let reads = BlockingReads::default();
        let (end, hanging) = mpsc::channel::<()>();
        let hangs = {
            let reads = BlockingReads(Arc::clone(&reads.0));
            tokio::spawn(async move { reads.run(move || hanging.recv()).await })
        };
        while reads.0.try_lock().is_ok() {
            task::yield_now().await;
        }
        assert!(matches!(reads.run(|| ()).await, Err(Hanging)));
        drop(end);
        hangs.await.unwrap().unwrap().unwrap_err();
        assert!(reads.run(|| ()).await.is_ok());
    }
}
