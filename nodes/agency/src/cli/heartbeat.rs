//! Long work is never silent: every few seconds a line on stderr says that it goes on.

use std::io::Write as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use puente_words::say;

use super::Context;

/// Silence lasts no longer.
const EVERY: Duration = Duration::from_secs(4);

/// Says that work goes on, until it is dropped.
pub(super) struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// From now on; `now` says what is under way, in English. Programs are told nothing.
    pub(super) fn start(context: &Context, now: impl Fn() -> String + Send + 'static) -> Self {
        if context.json {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let lang = context.lang;
        let tell = move |seconds: u64| {
            let english = format!("{}: {seconds} s so far", now());
            // Nobody may be listening any more.
            let _ = writeln!(anstream::stderr(), "{}", say(lang, &english));
        };
        // Without a thread the work is done in silence.
        let thread = std::thread::Builder::new().name("heartbeat".to_owned());
        Self { stop: Some(stop), thread: thread.spawn(move || beat(&stopped, EVERY, tell)).ok() }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It holds nothing that could be lost.
            let _ = thread.join();
        }
    }
}

/// Tells after each `every` until the other end is gone.
fn beat(stopped: &Receiver<()>, every: Duration, tell: impl Fn(u64)) {
    let mut beats = 0;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
        beats += 1;
        tell(every.as_secs() * beats);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn it_tells_until_the_work_ends() {
        let (stop, stopped) = mpsc::channel();
        let (stop, told) = (Mutex::new(Some(stop)), Mutex::new(Vec::new()));
        beat(&stopped, Duration::ZERO, |seconds| {
            told.lock().unwrap().push(seconds);
            if told.lock().unwrap().len() == 3 {
                *stop.lock().unwrap() = None;
            }
        });
        assert_eq!(*told.lock().unwrap(), [0, 0, 0]);
        assert!(EVERY < Duration::from_secs(5), "silence lasts no longer");
    }
}
