//! Tells the story: acts on stdout, progress on stderr, and what held and what did not.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use puente_catalogue::Lang;

use super::words::{Text, fill};
use crate::cli::wrap;

/// Columns of the whole output.
const COLUMNS: usize = 80;
/// The longest silence on stderr.
const SILENCE: Duration = Duration::from_secs(4);
/// How often it is looked whether it was silent for so long.
const WATCH: Duration = Duration::from_millis(500);

/// Where the story goes.
pub(super) struct Teller {
    /// Language of every word.
    pub(super) lang: Lang,
    out: Option<Box<dyn Write>>,
    acts: u32,
    failures: Vec<String>,
    progress: Progress,
}

impl Teller {
    /// Tells on `out`; nothing but progress without one.
    pub(super) fn new(lang: Lang, out: Option<Box<dyn Write>>) -> Self {
        Self { lang, out, acts: 0, failures: Vec::new(), progress: Progress::start(lang) }
    }

    /// A text in the story's language.
    pub(super) fn text(&self, text: Text, values: &[&str]) -> String {
        fill(text.get(self.lang), values)
    }

    fn line(&mut self, line: &str) {
        if let Some(out) = &mut self.out {
            // Whoever reads has seen enough: the run goes on, its folder is worth having.
            let _ = writeln!(out, "{}", line.trim_end()).and_then(|()| out.flush());
        }
    }

    fn indented(&mut self, first: &str, rest: &str, text: &str) {
        for (i, line) in wrap(text, COLUMNS - rest.chars().count()).iter().enumerate() {
            self.line(&format!("{}{line}", if i == 0 { first } else { rest }));
        }
    }

    /// The title of the whole.
    pub(super) fn title(&mut self, text: &str) {
        self.line(text);
        self.line(&"=".repeat(text.chars().count().min(COLUMNS)));
    }

    /// Begins the next act.
    pub(super) fn act(&mut self, title: Text) {
        self.acts += 1;
        let (number, title) = (format!("{}. ", self.acts), title.get(self.lang));
        self.progress.say(&format!("{number}{title}"));
        self.line("");
        self.indented(&number, &" ".repeat(number.len()), title);
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: Text, values: &[&str]) {
        let text = self.text(text, values);
        self.indented("   ", "   ", &text);
    }

    /// A line as it is, for copying.
    pub(super) fn plain(&mut self, line: &str) {
        self.line(line);
    }

    /// A row of a list: label and value.
    pub(super) fn row(&mut self, label: &str, value: &str) {
        let width = 24_usize;
        let rest = " ".repeat(width + 7);
        let length = label.chars().count();
        if length > width {
            // A long label has its own line.
            self.indented("     ", "     ", label);
            self.indented(&rest, &rest, value);
        } else {
            let pad = " ".repeat(width - length);
            self.indented(&format!("     {label}{pad}  "), &rest, value);
        }
    }

    /// Something that must hold; says whether it does. `why` is told if it does not.
    pub(super) fn expect(&mut self, holds: bool, text: Text, values: &[&str], why: &str) {
        let text = self.text(text, values);
        if holds {
            self.indented("   ok    ", "         ", &text);
            return;
        }
        let failed = if why.is_empty() { text } else { format!("{text}: {why}") };
        self.indented("   FAIL  ", "         ", &failed);
        self.failures.push(failed);
    }

    /// What is being done, on stderr.
    pub(super) fn doing(&self, text: Text, values: &[&str]) {
        self.progress.say(&self.text(text, values));
    }

    /// Everything that did not hold.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// No more progress.
    pub(super) fn end_progress(&mut self) {
        self.progress.stop();
    }
}

/// Says on stderr what is being done, and says again that it is when it takes long.
struct Progress {
    send: Option<mpsc::Sender<()>>,
    now: Arc<Mutex<(String, Instant)>>,
    thread: Option<JoinHandle<()>>,
}

/// A line of words beside the story.
pub(super) fn to_stderr(text: &str) {
    let mut err = anstream::stderr();
    // Nobody may be listening.
    let _ = writeln!(err, "{text}").and_then(|()| err.flush());
}

impl Progress {
    fn start(lang: Lang) -> Self {
        let now = Arc::new(Mutex::new((String::new(), Instant::now())));
        let (send, stopped) = mpsc::channel();
        let shared = now.clone();
        let thread = std::thread::spawn(move || {
            let mut said = Instant::now();
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(WATCH) {
                let (what, since) = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if !what.is_empty() && since.max(said).elapsed() >= SILENCE {
                    said = Instant::now();
                    let seconds = since.elapsed().as_secs().to_string();
                    to_stderr(&fill(Text::StillAt.get(lang), &[&what, &seconds]));
                }
            }
        });
        Self { send: Some(send), now, thread: Some(thread) }
    }

    fn say(&self, text: &str) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (text.to_owned(), Instant::now());
        to_stderr(&format!("- {text}"));
    }

    fn stop(&mut self) {
        self.send = None;
        if let Some(thread) = self.thread.take() {
            // It only prints; a panic there is nobody's loss.
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A standard output that strips styles where they are not wanted.
pub(super) fn stdout() -> Box<dyn Write> {
    Box::new(anstream::stdout())
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Teller(act {}, {} failures)", self.acts, self.failures.len())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_wider_than_eighty_columns() {
        for lang in [Lang::En, Lang::Es] {
            let shared = Shared::default();
            let mut teller = Teller::new(lang, Some(Box::new(shared.clone())));
            let long = "palabra larga ".repeat(20);
            let texts = [Text::Title, Text::Intro, Text::Founded, Text::Imported, Text::RefusalStory, Text::GapStory];
            for text in texts {
                teller.act(text);
                teller.say(text, &[&long, &long, &long, &long]);
                teller.expect(true, text, &[&long], "");
                teller.expect(false, text, &[&long], &long);
            }
            teller.row(&"x".repeat(10), &long);
            teller.row(&long, &long);
            assert_eq!(teller.failures().len(), texts.len());
            let text = String::from_utf8(shared.0.borrow().clone()).unwrap();
            let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > COLUMNS).collect();
            assert!(wide.is_empty(), "{wide:#?}");
            assert!(!text.contains('\u{1b}'));
        }
    }
}
