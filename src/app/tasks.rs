//! How many fetches are at work, until the last of them has kept its state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;

/// The fetches at work over all apps.
///
/// A fetch serves its scrapes before it keeps its state and asks for extras, so the end of the last scrape is not the
/// end of the work.
#[derive(Debug, Default)]
pub struct Tasks {
    at_work: watch::Sender<usize>,
    in_haste: AtomicBool,
}

/// One of them; it ends with the value.
#[derive(Debug)]
pub(super) struct Task {
    tasks: Arc<Tasks>,
}

impl Tasks {
    pub(super) fn begin(self: &Arc<Self>) -> Task {
        self.at_work.send_modify(|count| *count += 1);
        Task {
            tasks: Arc::clone(self),
        }
    }

    /// The process is to end: what can be left out is left out from now on.
    pub fn make_haste(&self) {
        self.in_haste.store(true, Ordering::Relaxed);
    }

    /// Whether what can be left out is to be left out.
    pub(super) fn in_haste(&self) -> bool {
        self.in_haste.load(Ordering::Relaxed)
    }

    /// Waits until none is at work, but not beyond the deadline.
    pub async fn ended_by(&self, deadline: Instant) {
        let mut at_work = self.at_work.subscribe();
        let none = at_work.wait_for(|count| *count == 0);
        // Late or done: either way there is nothing more to wait for.
        let _ = tokio::time::timeout_at(deadline, none).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.tasks.at_work.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn wait_ends_with_the_last_task_or_at_the_deadline() {
        let tasks = Arc::new(Tasks::default());
        let far = Instant::now() + Duration::from_secs(3600);
        tasks.ended_by(far).await;
        let (first, second) = (tasks.begin(), tasks.begin());
        tasks.ended_by(Instant::now()).await;
        drop(first);
        let mut wait = std::pin::pin!(tasks.ended_by(far));
        tokio::select! {
            biased;
            () = &mut wait => panic!("one is still at work"),
            () = std::future::ready(()) => {}
        }
        drop(second);
        wait.await;
    }
}
