//! Where everything lies, who is there, and how a question is put and its traces are read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use puente_catalogue::Catalogue;
use puente_evidence::tree::TRAINING_PATH;
use puente_wire::PairKind;
use serde_json::{Value, json};

use super::cast::{Agency, Cast};
use super::copies::{Copy, Placed};
use super::process::{NodeProcess, Program, Ran};
use super::records::{Holdings, Source};
use super::teller::Teller;
use super::text_of;
use crate::cli::Failure;
use crate::config::NodeDir;
use crate::control::ControlClient;
use crate::control_api::{Answer, Command, Concluded};

/// How long both logs may take to hold an exchange after its asker has its answer.
const SETTLING: Duration = Duration::from_secs(10);

/// A question, as its flags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) asker: &'static Agency,
    pub(super) holder: &'static Agency,
    pub(super) kind: &'q str,
    pub(super) step: &'q str,
    pub(super) purpose: &'q str,
    pub(super) basis: &'q str,
    pub(super) officer: &'q str,
    pub(super) params: &'q [(&'q str, &'q str)],
    /// Further flags.
    pub(super) more: &'q [&'q str],
}

impl Question<'_> {
    pub(super) fn args(&self, dir: &str) -> Vec<String> {
        let case = format!("{}/2026/4711", self.asker.case_prefix);
        let to = self.holder.uri();
        let mut args =
            vec!["--dir", dir, "query", self.kind, "--to", &to, "--step", self.step, "--purpose", self.purpose];
        args.extend(["--basis", self.basis, "--officer", self.officer, "--case", &case, "--due", "30s"]);
        let params: Vec<String> = self.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for param in &params {
            args.extend(["--param", param]);
        }
        args.extend(self.more);
        args.into_iter().map(str::to_owned).collect()
    }
}

/// What came of a question.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) ran: Ran,
}

impl Asked {
    pub(super) fn conclusion(&self) -> &str {
        text_of(&self.ran.value, &["conclusion"])
    }

    pub(super) fn outcome(&self) -> &str {
        text_of(&self.ran.value, &["outcome"])
    }

    pub(super) fn exchange(&self) -> &str {
        text_of(&self.ran.value, &["exchange"])
    }

    pub(super) fn text(&self, path: &[&str]) -> &str {
        text_of(&self.ran.value, path)
    }

    /// Names and values of the disclosed fields.
    pub(super) fn fields(&self) -> Vec<(&str, &str)> {
        let fields = self.ran.value.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        fields
            .iter()
            .filter_map(|f| {
                let path = text_of(f, &["path"]);
                let path = path.strip_prefix(TRAINING_PATH).unwrap_or(path);
                Some((path.split('/').nth(2)?, text_of(f, &["value"])))
            })
            .collect()
    }

    /// In a word, for the list of exchanges.
    pub(super) fn word(&self) -> String {
        match self.conclusion() {
            "answered" => self.outcome().to_owned(),
            "refused" => format!("refused({})", self.text(&["reason"])),
            "" => match text_of(&self.ran.value, &["error", "code"]) {
                "" => "nothing".to_owned(),
                code => format!("not-sent({code})"),
            },
            other => other.to_owned(),
        }
    }

    /// Why an expectation may not have held, for messages. Holds no content.
    pub(super) fn why(&self) -> String {
        let error = text_of(&self.ran.value, &["error", "message"]);
        let error = error.lines().next().unwrap_or_default();
        format!("{} {error} (exit code {})", self.word(), self.ran.code)
    }
}

/// One line of the list of exchanges.
#[derive(Debug, Clone)]
struct Exchange {
    kind: String,
    from: String,
    to: String,
    outcome: String,
    fields: Vec<String>,
}

/// Everything that the acts share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) root: PathBuf,
    pub(super) cast: Cast,
    pub(super) program: Program,
    pub(super) teller: Teller,
    pub(super) catalogue: Catalogue,
    pub(super) source: Source,
    pub(super) records: usize,
    /// Whether everything is brought in and asked in training, and marked so in the logs.
    pub(super) training: bool,
    /// Hash of common part 1.
    pub(super) pin: String,
    pub(super) nodes: BTreeMap<&'static str, NodeProcess>,
    pub(super) vkeys: BTreeMap<&'static str, String>,
    pub(super) holdings: BTreeMap<&'static str, Holdings>,
    exchanges: Vec<Exchange>,
    /// The exchange whose core data were released, for the operator who will deny it.
    pub(super) released: String,
}

impl Stage {
    pub(super) fn new(root: PathBuf, cast: Cast, seed: u64, records: usize, teller: Teller) -> Result<Self, Failure> {
        let catalogue = Catalogue::builtin().map_err(|e| Failure::unavailable("catalogue", e.to_string()))?;
        let program = Program::current()?;
        for folder in ["auditors", "copies", "data", "governance", "nodes", "words", "tampered"] {
            let path = root.join(folder);
            crate::files::make_private_dir(&path).map_err(|e| Failure::file(&path, &e))?;
        }
        let mut nodes = BTreeMap::new();
        for agency in cast.agencies {
            let (dir, words) =
                (root.join("nodes").join(agency.folder()), root.join("words").join(format!("{}.txt", agency.folder())));
            nodes.insert(agency.id, NodeProcess::new(&program, dir, words));
        }
        Ok(Self {
            root,
            cast,
            program,
            teller,
            catalogue,
            source: Source::new(seed),
            records,
            training: false,
            pin: String::new(),
            nodes,
            vkeys: BTreeMap::new(),
            holdings: BTreeMap::new(),
            exchanges: Vec::new(),
            released: String::new(),
        })
    }

    /// A path below the folder, as an argument.
    pub(super) fn at(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }

    pub(super) fn node_dir(&self, agency: &Agency) -> String {
        self.at(&format!("nodes/{}", agency.folder()))
    }

    pub(super) fn node(&mut self, agency: &Agency) -> Result<&mut NodeProcess, Failure> {
        self.nodes
            .get_mut(agency.id)
            .ok_or_else(|| Failure::unavailable("demo", format!("there is no node of {}", agency.id)))
    }

    pub(super) fn name(&self, agency: &Agency) -> String {
        let name = if self.teller.lang == puente_catalogue::Lang::Es { agency.name_es } else { agency.name_en };
        format!("{name} ({})", agency.id)
    }

    /// Puts a question with `puente query`.
    pub(super) fn ask(&mut self, question: &Question<'_>) -> Result<Asked, Failure> {
        let mut args = question.args(&self.node_dir(question.asker));
        let lang = if self.teller.lang == puente_catalogue::Lang::Es { "es" } else { "en" };
        args.splice(0..0, ["--lang".to_owned(), lang.to_owned()]);
        if self.training {
            args.push("--training".to_owned());
        }
        let asked = Asked { ran: self.program.begin(&args)?.wait()? };
        self.note(question, &asked);
        Ok(asked)
    }

    /// Adds a line to the list of exchanges.
    pub(super) fn note(&mut self, question: &Question<'_>, asked: &Asked) {
        self.exchanges.push(Exchange {
            kind: question.kind.to_owned(),
            from: question.asker.uri(),
            to: question.holder.uri(),
            outcome: asked.word(),
            fields: asked.fields().iter().map(|(name, _)| (*name).to_owned()).collect(),
        });
    }

    /// Copies a running node's log as its own auditor would get it, and reads the copy.
    pub(super) fn copy(&self, agency: &Agency) -> Result<Copy, Failure> {
        let to = self.at(&format!("copies/live/{}", agency.folder()));
        self.program.json(&["--dir", &self.node_dir(agency), "log", "export", &to])?;
        Copy::read(to.as_ref())
    }

    /// Waits until both logs hold the same entries of an exchange, byte for byte, among them those of `kinds`. Says
    /// whether they do and which they are.
    pub(super) fn both_hold(
        &self,
        one: &Agency,
        other: &Agency,
        exchange: &str,
        kinds: &[PairKind],
    ) -> Result<(bool, String), Failure> {
        let until = Instant::now() + SETTLING;
        loop {
            let of = |copy: Copy| -> Vec<Placed> {
                copy.pairs()
                    .into_iter()
                    .filter(|p| p.pair.exchange().is_some_and(|x| x.to_string() == exchange))
                    .collect()
            };
            let (here, there) = (of(self.copy(one)?), of(self.copy(other)?));
            let leaves = |placed: &[Placed]| {
                let mut leaves: Vec<_> = placed.iter().map(|p| p.leaf).collect();
                leaves.sort_unstable();
                leaves
            };
            let found: Vec<PairKind> = here.iter().map(|p| p.pair.kind()).collect();
            let once = kinds.iter().all(|kind| found.iter().filter(|k| *k == kind).count() == 1);
            let holds = once && leaves(&here) == leaves(&there);
            if holds || Instant::now() > until {
                return Ok((holds, placed_words(one, &here) + "; " + &placed_words(other, &there)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Expects that both logs hold the exchange.
    pub(super) fn expect_both(
        &mut self,
        one: &Agency,
        other: &Agency,
        exchange: &str,
        kinds: &[PairKind],
        text: super::words::Text,
    ) -> Result<(), Failure> {
        let (holds, words) = self.both_hold(one, other, exchange, kinds)?;
        self.teller.expect(holds, text, &[&words], "");
        Ok(())
    }

    /// Pair entries of these two agencies in a fresh copy of the first one's log.
    pub(super) fn pairs_between(&self, one: &Agency, other: &Agency) -> Result<Vec<Placed>, Failure> {
        let (a, b) = (one.uri(), other.uri());
        let between = |p: &Placed| {
            let (from, to) = (p.pair.from.as_str(), p.pair.to.as_str());
            (from == a && to == b) || (from == b && to == a)
        };
        Ok(self.copy(one)?.pairs().into_iter().filter(between).collect())
    }

    /// Says a command to a running node over its control socket.
    pub(super) fn control(&self, agency: &Agency, command: Command) -> Result<Concluded, Failure> {
        let dir = NodeDir::new(self.node_dir(agency));
        let failed = |what: String| Failure::unavailable("demo", format!("the node of {}: {what}", agency.id));
        let mut node = ControlClient::connect(&dir.control()).map_err(|e| failed(e.to_string()))?;
        node.set_timeout(Some(Duration::from_secs(30))).map_err(|e| failed(e.to_string()))?;
        match node.call(command).map_err(|e| failed(e.to_string()))? {
            Answer::Concluded(concluded) => Ok(*concluded),
            Answer::Error { message, .. } => Err(failed(message)),
            _ => Err(failed("an unexpected answer".to_owned())),
        }
    }

    /// Ends every node, all at once.
    pub(super) fn stop(&mut self) {
        self.teller.doing(super::words::Text::Stopping, &[]);
        let nodes = self.nodes.values_mut();
        std::thread::scope(|scope| {
            for node in nodes {
                scope.spawn(|| node.stop());
            }
        });
        self.teller.end_progress();
    }

    pub(super) fn nodes_json(&self) -> Value {
        let node = |agency: &Agency| {
            let nation = agency.nation();
            let copy = Copy::read(self.at(&format!("copies/{nation}/{}", agency.folder())).as_ref());
            json!({
                "id": agency.uri(),
                "nation": nation,
                "log_dir": self.at(&format!("copies/{nation}/{}", agency.folder())),
                "origin": format!("{}/n1/log1", agency.id),
                "vkey": self.vkeys.get(agency.id),
                "entries": copy.map(|c| c.entries.len()).unwrap_or(0),
            })
        };
        Value::Array(self.cast.agencies.iter().map(node).collect())
    }

    pub(super) fn exchanges_json(&self) -> Value {
        let exchange = |e: &Exchange| json!({"kind": e.kind, "from": e.from, "to": e.to, "outcome": e.outcome, "released_fields": e.fields});
        Value::Array(self.exchanges.iter().map(exchange).collect())
    }
}

/// `mx/fge-bc 12 QUERY, 14 ANSWER`.
fn placed_words(agency: &Agency, placed: &[Placed]) -> String {
    let words: Vec<String> = placed.iter().map(|p| format!("{} {}", p.index, p.pair.kind().as_str_name())).collect();
    format!("{} {}", agency.id, words.join(", "))
}
