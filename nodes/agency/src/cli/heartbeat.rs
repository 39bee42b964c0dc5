//! Long work is never silent: every few seconds a line on stderr says how far it has come; with `--json` the line is an object.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use puente_model::Lang;
use puente_words::say;
use serde_json::json;

use super::Context;
use crate::progress::{Phase, Progress};

/// Silence lasts no longer.
const EVERY: Duration = Duration::from_secs(4);

/// Says that work goes on, until it is dropped.
pub(super) struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// For work that nobody counts: a node does it.
    pub(super) fn of(context: &Context, what: &'static str, code: &'static str) -> Self {
        let progress = Arc::new(Progress::default());
        progress.begin(Phase { what, code, of: None });
        Self::start(context, &progress)
    }

    /// From now on, what `progress` counts.
    pub(super) fn start(context: &Context, progress: &Arc<Progress>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (lang, as_json, progress) = (context.lang, context.json, Arc::clone(progress));
        let tell = move |seconds: u64| {
            if let Some((phase, done)) = progress.now() {
                // Nobody may be listening any more.
                let _ = writeln!(anstream::stderr(), "{}", line(as_json, lang, &phase, done, seconds));
            }
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

fn line(as_json: bool, lang: Lang, phase: &Phase, done: u64, seconds: u64) -> String {
    let Phase { what, code, of } = phase;
    if as_json {
        let now = json!({"phase": code, "done": done, "of": of, "unit": "bytes", "seconds": seconds});
        return json!({ "progress": now }).to_string();
    }
    let mb = |bytes: u64| bytes / 1_000_000;
    let done = mb(done);
    let english = match (of.map(mb), done) {
        (Some(of), _) => format!("{what}: {done} of {of} MB, {seconds} s so far"),
        // Nothing that is counted in bytes.
        (None, 0) => format!("{what}: {seconds} s so far"),
        (None, _) => format!("{what}: {done} MB, {seconds} s so far"),
    };
    say(lang, &english).into_owned()
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

    #[test]
    fn people_and_programs_are_told_how_far_it_has_come() {
        let phase = Phase { what: "the backup is written", code: "write", of: Some(40_000_000) };
        let said = |json, lang| line(json, lang, &phase, 12_500_000, 8);
        assert_eq!(said(false, Lang::En), "the backup is written: 12 of 40 MB, 8 s so far");
        assert_eq!(said(false, Lang::Es), "se escribe el respaldo: 12 de 40 MB, 8 s hasta ahora");
        let value: serde_json::Value = serde_json::from_str(&said(true, Lang::Es)).unwrap();
        let now = json!({"phase": "write", "done": 12_500_000, "of": 40_000_000, "unit": "bytes", "seconds": 8});
        assert_eq!(value, json!({ "progress": now }));
        let unbounded = Phase { of: None, ..phase };
        assert_eq!(line(false, Lang::Es, &unbounded, 7_000_000, 4), "se escribe el respaldo: 7 MB, 4 s hasta ahora");
        assert_eq!(line(false, Lang::Es, &unbounded, 0, 4), "se escribe el respaldo: 4 s hasta ahora");
    }
}
