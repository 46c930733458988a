//! Lines on their way to standard error, which a thread of its own writes: a reader that stalls holds up nobody else.

use std::io::Write;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait take no more than that. Unit: bytes. Thousands of lines; twice of it is what a reader that stalls
/// costs.
const MAX_WAITING: usize = 1 << 20;

/// Lines in their order; what doesn't fit is counted.
#[derive(Debug)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug)]
struct Lines {
    waiting: Vec<u8>,
    lost: u64,
    /// Whether some were taken out and are not yet written.
    being_written: bool,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let lines = Lines {
            waiting: Vec::new(),
            lost: 0,
            being_written: false,
        };
        Self {
            lines: Mutex::new(lines),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a whole line.
    pub(super) fn push(&self, line: &[u8]) {
        let mut lines = self.lock();
        if lines.waiting.len() + line.len() > MAX_WAITING {
            lines.lost += 1;
        } else {
            lines.waiting.extend_from_slice(line);
        }
        drop(lines);
        self.changed.notify_all();
    }

    /// Writes every line, for ever. Lost lines are told of behind those that were waiting meanwhile.
    pub(super) fn write_to(&self, mut out: impl Write, tell_of_lost: impl Fn(u64)) -> ! {
        loop {
            let (waiting, lost) = self.take();
            // One write a line: whoever else writes there does not come in between.
            for line in waiting.split_inclusive(|byte| *byte == b'\n') {
                // A log that can't be written is lost.
                let _ = out.write_all(line);
            }
            if lost > 0 {
                tell_of_lost(lost);
            }
            self.lock().being_written = false;
            self.changed.notify_all();
        }
    }

    /// Waits for something to write.
    fn take(&self) -> (Vec<u8>, u64) {
        let nothing = |lines: &mut Lines| lines.waiting.is_empty() && lines.lost == 0;
        let lines = self.changed.wait_while(self.lock(), nothing);
        let mut lines = lines.unwrap_or_else(PoisonError::into_inner);
        lines.being_written = true;
        (mem::take(&mut lines.waiting), mem::take(&mut lines.lost))
    }

    /// Waits until all is written, but not longer than that.
    pub(super) fn drain(&self, patience: Duration) {
        let at_work =
            |lines: &mut Lines| lines.being_written || !lines.waiting.is_empty() || lines.lost > 0;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, at_work);
        // Late or done: either way there is nothing more to wait for.
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, BufReader, PipeReader, Read};
    use std::thread;

    use super::*;

    /// A queue that is written to a pipe, and the pipe's other end.
    fn piped() -> (&'static Queue, PipeReader) {
        let queue: &Queue = Box::leak(Box::new(Queue::new()));
        let (reader, writer) = io::pipe().unwrap();
        let telling = writer.try_clone().unwrap();
        let tell = move |lost| writeln!(&telling, "lost={lost}").unwrap();
        thread::spawn(move || queue.write_to(writer, tell));
        (queue, reader)
    }

    #[test]
    fn reader_that_stalls_holds_up_nobody_and_is_told_what_it_missed() {
        let (queue, reader) = piped();
        let line = |number: usize| format!("{number:0>99}\n");
        let pushed = 10 * MAX_WAITING / 100;
        for number in 0..pushed {
            queue.push(line(number).as_bytes());
        }
        queue.drain(Duration::from_millis(1));

        let mut lines = BufReader::new(reader).lines();
        let (mut written, mut lost) = (0, 0);
        while written + lost < pushed {
            let line = lines.next().unwrap().unwrap();
            match line.strip_prefix("lost=") {
                Some(number) => lost += number.parse::<usize>().unwrap(),
                None => {
                    assert_eq!(line.parse::<usize>().unwrap(), written + lost, "in order");
                    written += 1;
                }
            }
        }
        assert!(lost > 0 && written >= MAX_WAITING / 100, "{written} {lost}");
        queue.push(b"well again\n");
        assert_eq!(lines.next().unwrap().unwrap(), "well again");
    }

    #[test]
    fn all_is_written_when_the_drain_has_ended() {
        let (queue, mut reader) = piped();
        queue.push(b"one\n");
        queue.push(b"two\n");
        queue.drain(Duration::from_secs(3600));
        let mut written = [0; 8];
        reader.read_exact(&mut written).unwrap();
        assert_eq!(&written, b"one\ntwo\n");
    }

    #[test]
    fn pipe_that_is_closed_ends_neither_the_writer_nor_the_drain() {
        let (queue, reader) = piped();
        drop(reader);
        for _ in 0..2 {
            queue.push(b"to nobody\n");
            queue.drain(Duration::from_secs(3600));
        }
    }
}
