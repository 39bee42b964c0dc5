//! No document shows a command that does not exist: what stands in the blocks, in the prose and in the units is held against
//! the definitions of the command lines, and against what is there. Blocks that tests type out are so in `operations.rs`
//! and `lessons.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _};

#[path = "documents/shell.rs"]
mod shell;

/// Documents with blocks and prose.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "SECURITY.md",
    "ARCHITECTURE.md",
    "proto/README.md",
    "docs/OPERATIONS.md",
    "docs/TAMPER.md",
    "docs/BENCH.md",
    "nodes/agency/policies/README.md",
    "tests/fuzz/README.md",
    "tests/vectors/audit-log/README.md",
    "tests/vectors/evidence/README.md",
    "tests/vectors/wire/README.md",
];
/// Folders whose files name commands in quotes: samples, units, rules, scripts.
const FOLDERS: &[&str] = &["nodes/agency/samples", "nodes/agency/policies", "nodes/witness/samples", "packaging"];
/// Every message of the programs, in both languages: hints name commands, too.
const MESSAGES: &str = "crates/words/po/es.po";
/// Other programs that documents type, and why no test here does.
const OTHERS: &[(&str, &str)] = &[
    ("apt", "installs on the reader's machine; .ci/run installs the same package with packaging/deb/test"),
    ("cat", "the shell's own"),
    ("cd", "the shell's own"),
    ("cp", "copies the reader's files"),
    ("curl", "stands for the agency's own program; tests/api.rs puts the same requests"),
    ("date", "the shell's own"),
    ("echo", "the shell's own"),
    ("export-of-another-system", "stands for whatever the reader has"),
    ("grep", "the shell's own"),
    ("install", "makes a folder or file of the reader's; packaging/deb/postinst does the same"),
    ("mkdir", "the shell's own"),
    ("printf", "the shell's own"),
    ("psql", "grants in the reader's database; the tests of records make the same grants"),
    ("createdb", "the reader's database server"),
    ("createuser", "the reader's database server"),
    ("sed", "edits the reader's file"),
    ("sleep", "the shell's own"),
    ("systemctl", "the reader's service manager; .ci/run has systemd-analyze verify the units"),
    ("useradd", "makes the reader's user; packaging/deb/postinst does the same"),
    ("uuidgen", "stands for any unique key"),
    ("$EDITOR", "the reader's editor"),
];
/// Stands for a bar that is no pipe.
const CHOICE: &str = "\u{1}";
/// Options of other programs that prose names.
const OTHER_OPTIONS: &[(&str, &str)] =
    &[("--cell-ms", "puente-bench"), ("--passes", "puente-bench"), ("--release", "cargo")];
/// Commands of cargo that .ci/run does not run as they stand, and why.
const CARGO: &[(&str, &str)] = &[
    ("cargo run --release --bin puente", ".ci/run builds the same program and runs the rest of the line with it"),
    (
        "cargo run --release -p puente-bench",
        "measures for many minutes; that it compiles is part of the workspace's lints",
    ),
    (
        "cargo build --locked --profile shipped --bin puente --bin puente-audit",
        "packaging/deb/test bounds what it makes",
    ),
    ("cargo metadata", "tests/tests/architecture.rs runs it"),
    ("cargo test -p", "a part of 'cargo test --workspace'"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The definitions of the programs.
fn programs() -> [Command; 3] {
    [puente_agency::cli::Cli::command(), puente_audit::cli::definition(), puente_witness::cli::definition()]
}

/// Something that the reader puts in: `$1`, `…`, `00ff...`, `DIR`, `{id}`.
fn is_placeholder(word: &str) -> bool {
    word.contains(['$', '…', '{', '<']) || word.contains("...") || {
        let letters = |c: char| c.is_ascii_uppercase() || matches!(c, '-' | '_');
        word.chars().all(letters) && word.len() > 1
    }
}

/// The names of an option: `--to` of `--to=X`.
fn option_of(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--")?.split('=').next()?;
    (!name.is_empty()).then_some(name)
}

fn has_option(command: &Command, name: &str) -> bool {
    let long =
        |arg: &clap::Arg| arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name));
    ["help", "version"].contains(&name) || command.get_arguments().any(long)
}

/// Follows words down to the command that they name, and holds the names of options against it. Prose may leave out what is
/// needed, not add what does not exist.
fn named(program: &Command, words: &[String]) -> Result<(), String> {
    if let Some(at) = words.iter().position(|word| word.contains('|')) {
        let one = |word: &str| [&words[..at], &[word.to_owned()], &words[at + 1..]].concat();
        return words[at].split('|').try_for_each(|word| named(program, &one(word)));
    }
    let mut path = vec![program];
    let mut value = false;
    for word in words {
        let last = *path.last().unwrap();
        if let Some(name) = option_of(word) {
            let of = path.iter().rev().find(|command| has_option(command, name));
            let of = of.ok_or_else(|| format!("'{}' has no option '--{name}'", last.get_name()))?;
            let arg = of.get_arguments().find(|arg| arg.get_long() == Some(name));
            value = !word.contains('=') && arg.is_some_and(|arg| arg.get_action().takes_values());
        } else if std::mem::take(&mut value) || is_placeholder(word) {
        } else if let Some(next) = last.find_subcommand(word) {
            path.push(next);
        } else if last.get_positionals().next().is_none() && last.has_subcommands() {
            return Err(format!("'{}' has no command '{word}'", last.get_name()));
        }
    }
    Ok(())
}

/// Parses a whole command line as the program does.
fn parses(program: &Command, words: &[String]) -> Result<(), String> {
    named(program, words)?;
    let open = words.iter().any(|word| ["…", "...", "$@"].contains(&word.as_str()));
    let given = words.iter().filter(|word| !["…", "...", "$@"].contains(&word.as_str()));
    let line = std::iter::once(program.get_name().to_owned()).chain(given.cloned());
    let Err(error) = program.clone().try_get_matches_from(line) else { return Ok(()) };
    let put_in = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => is_placeholder(value),
        _ => false,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if open =>
        {
            Ok(())
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if put_in(ContextKind::InvalidValue) => Ok(()),
        _ => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// What a test of documents keeps count of.
#[derive(Default)]
struct Seen {
    /// Exceptions that something needed.
    used: BTreeSet<&'static str>,
    /// Command lines of ours that were parsed.
    parsed: usize,
    wrong: Vec<String>,
}

impl Seen {
    fn note(&mut self, place: &str, line: &str, result: Result<(), String>) {
        self.parsed += 1;
        if let Err(why) = result {
            self.wrong.push(format!("{place}: {line}: {why}"));
        }
    }

    /// A simple command of a block.
    fn command(&mut self, place: &str, words: &[String], functions: &BTreeSet<String>) {
        let line = words.join(" ");
        let Some(first) = words.first() else { return };
        match first.as_str() {
            "sudo" | "runuser" => {
                // As another user: what follows is the command.
                let rest = words.iter().position(|w| w == "puente" || w == "postgres").map_or(words.len(), |at| at + 1);
                let rest = rest + usize::from(words.get(rest).is_some_and(|w| w == "--"));
                return self.command(place, &words[rest..], functions);
            }
            "cargo" => return self.cargo(place, &line, words),
            _ => {}
        }
        let ours = first.rsplit('/').next().unwrap_or(first);
        if let Some(program) = programs().iter().find(|p| p.get_name() == ours) {
            self.note(place, &line, parses(program, &words[1..]));
        } else if let Some((name, _)) = OTHERS.iter().find(|(name, _)| name == first) {
            self.used.insert(name);
        } else if first.contains('/') && !first.starts_with('/') {
            let runs = fs::read(root().join(first)).is_ok_and(|script| script.starts_with(b"#!"));
            self.note(place, &line, if runs { Ok(()) } else { Err("there is no such script".to_owned()) });
        } else if !functions.contains(first) {
            self.note(place, &line, Err(format!("'{first}' is no program of ours and no exception")));
        }
    }

    /// A command of cargo: .ci/run runs it, or there is a reason why not. What follows `--` is for the program.
    fn cargo(&mut self, place: &str, line: &str, words: &[String]) {
        let end = words.iter().position(|w| w == "--").unwrap_or(words.len());
        if let Some(at) = words.iter().position(|w| w == "--bin")
            && let Some(program) =
                programs().iter().find(|p| Some(p.get_name()) == words.get(at + 1).map(String::as_str))
            && end < words.len()
        {
            self.note(place, line, parses(program, &words[end + 1..]));
        }
        let own = words[..end].join(" ");
        let plain = |text: &str| text.replace(" --locked", "");
        let runs = text(".ci/run").lines().any(|run| plain(run).trim() == plain(&own));
        let except = CARGO.iter().find(|(prefix, _)| own.starts_with(prefix));
        if let Some((prefix, _)) = except {
            self.used.insert(prefix);
        }
        let result = if runs || except.is_some() { Ok(()) } else { Err("is not in .ci/run".to_owned()) };
        self.note(place, line, result);
    }

    /// Blocks marked `console` and `sh`.
    fn blocks(&mut self, path: &str, text: &str) {
        let mut functions = BTreeSet::new();
        for (line, script) in blocks(text) {
            assert!(!script.is_empty(), "{path}: the block of line {line} types nothing: a command begins with '$ '");
            let script = shell::read(&script);
            functions.extend(script.functions);
            for words in &script.commands {
                self.command(&format!("{path}, block of line {line}"), words, &functions);
            }
        }
    }

    /// Command lines and options in the prose: in backquotes, or in quotes.
    fn prose(&mut self, path: &str, text: &str, quote: char) {
        for span in spans(text, quote) {
            // A bar between commands is a choice here, and what is left to the reader may hold one quote.
            let plain = span.replace('\'', "").replace('|', CHOICE);
            let words = shell::read(&plain).commands.into_iter().next().unwrap_or_default();
            let words: Vec<String> = words.iter().map(|word| word.replace(CHOICE, "|")).collect();
            let Some(first) = words.first() else { continue };
            let place = format!("{path}, {quote}{span}{quote}");
            if let Some(program) = programs().iter().find(|p| p.get_name() == first) {
                self.note(&place, "", named(program, &words[1..]));
            } else if first == "cargo" {
                self.cargo(&place, &span, &words);
            }
            if !first.starts_with("--") {
                continue;
            }
            for name in words.iter().filter_map(|word| option_of(word)) {
                let anywhere = programs().iter().any(|program| anywhere(program, name));
                let other = OTHER_OPTIONS.iter().find(|(option, _)| option_of(option) == Some(name));
                if let Some((option, _)) = other {
                    self.used.insert(option);
                }
                let exists = anywhere || other.is_some();
                self.note(&place, "", if exists { Ok(()) } else { Err("no command has this option".to_owned()) });
            }
        }
    }
}

/// Whether a command or one below it has this option.
fn anywhere(command: &Command, name: &str) -> bool {
    has_option(command, name) || command.get_subcommands().any(|below| anywhere(below, name))
}

/// Blocks of a document that are typed: their first lines, and what is typed.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut kind = "";
    for (at, line) in text.lines().enumerate() {
        if let Some(mark) = line.strip_prefix("```") {
            kind = if kind.is_empty() { mark.split(' ').next().unwrap_or("") } else { "" };
            if kind == "console" || kind == "sh" {
                out.push((at + 2, String::new()));
            }
            continue;
        }
        let Some((_, script)) = out.last_mut().filter(|_| kind == "console" || kind == "sh") else { continue };
        let typed = if kind == "sh" {
            Some(line)
        } else {
            line.strip_prefix("$ ").or(line.strip_prefix("> ")).or((line == ">").then_some(""))
        };
        if let Some(typed) = typed {
            script.push_str(typed);
            script.push('\n');
        }
    }
    out
}

/// What stands between two of these quotes on one line, outside blocks, and names a program or an option of ours.
fn spans(text: &str, quote: char) -> Vec<String> {
    let mut inside = false;
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            for begin in ["puente ", "puente-audit ", "puente-witness ", "cargo ", "PUENTE_", "--"] {
                let begin = format!("{quote}{begin}");
                let found = line.match_indices(&begin).filter_map(|(at, _)| {
                    let rest = &line[at + quote.len_utf8()..];
                    rest.find(quote).map(|end| rest[..end].to_owned())
                });
                out.extend(found);
            }
        }
    }
    out
}

/// Every file below a folder of the project.
fn files(below: &str) -> Vec<String> {
    let mut out = Vec::new();
    for entry in fs::read_dir(root().join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            out.extend(files(&path));
        } else {
            out.push(path);
        }
    }
    out
}

#[test]
fn every_command_of_the_documents_exists_and_every_exception_is_needed() {
    let mut seen = Seen::default();
    for path in DOCUMENTS {
        let text = text(path);
        seen.blocks(path, &text);
        seen.prose(path, &text, '`');
    }
    // What was found by hand: documents that nobody listed.
    for path in ["docs", "proto", "nodes/agency", "tests"].iter().flat_map(|folder| files(folder)) {
        assert!(!path.ends_with(".md") || DOCUMENTS.contains(&path.as_str()), "{path} is not among the documents");
    }
    assert!(seen.parsed > 200, "{}: are the blocks marked otherwise?", seen.parsed);
    assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    let listed = OTHERS.iter().chain(OTHER_OPTIONS).chain(CARGO).map(|(name, _)| *name);
    let idle: Vec<&str> = listed.filter(|name| !seen.used.contains(name)).collect();
    assert!(idle.is_empty(), "exceptions that nothing needs: {idle:?}");
}

#[test]
fn every_command_in_samples_units_and_messages_exists() {
    let mut seen = Seen::default();
    for path in FOLDERS.iter().flat_map(|folder| files(folder)) {
        let text = text(&path);
        seen.prose(&path, &text, '\'');
        seen.prose(&path, &text, '`');
        for line in text.lines() {
            let words = |line: &str| shell::read(line).commands.into_iter().next().unwrap_or_default();
            let line = line.trim_start_matches(['#', ' ']);
            let started = line.strip_prefix("ExecStart=");
            let bare = line.starts_with("puente-audit ").then_some(line);
            if let Some(line) = started.or(bare) {
                seen.command(&path, &words(line), &BTreeSet::new());
            }
        }
    }
    container(&mut seen, &text("packaging/Containerfile"));
    let before = seen.parsed;
    assert!(before >= 10, "{before}");
    seen.prose(MESSAGES, &text(MESSAGES), '\'');
    assert!(seen.parsed > before + 100, "{}", seen.parsed - before);
    assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
}

/// `ENTRYPOINT` with `CMD`, and what looks after its health.
fn container(seen: &mut Seen, text: &str) {
    let array = |line: &str| -> Vec<String> { serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap() };
    let line = |begin: &str| array(text.lines().find(|line| line.starts_with(begin)).unwrap());
    let whole = [line("ENTRYPOINT"), line("CMD")].concat();
    for words in [whole, line("HEALTHCHECK")] {
        assert_eq!(words[0], "/usr/bin/puente");
        seen.command("packaging/Containerfile", &words, &BTreeSet::new());
    }
}

/// The table of README.md: every command in its first column, in full or below the one that is named first.
#[test]
fn the_table_of_commands_in_the_readme_is_that_of_the_program() {
    let text = text("README.md");
    let table = text.split("| command | does |").nth(1).expect("the table of commands");
    let [puente, ..] = programs();
    let mut named_first = BTreeSet::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cell = row.split('|').nth(1).unwrap();
        let mut above: Vec<String> = Vec::new();
        for name in cell.split('`').skip(1).step_by(2) {
            let words: Vec<String> = name.split(' ').map(str::to_owned).collect();
            let full = named(&puente, &words);
            let below = named(&puente, &[above.clone(), words.clone()].concat());
            assert!(full.is_ok() || below.is_ok(), "README.md: `{name}`: {full:?}");
            if full.is_ok() {
                named_first.insert(words[0].clone());
                above = words[..words.len() - 1].to_vec();
            }
        }
    }
    let missing: Vec<&str> =
        puente.get_subcommands().map(Command::get_name).filter(|name| !named_first.contains(*name)).collect();
    assert!(missing.is_empty(), "README.md's table has no row for {missing:?}");
}

#[test]
fn a_command_that_does_not_exist_is_seen() {
    let wrong = |text: &str| {
        let mut seen = Seen::default();
        seen.blocks("here", text);
        seen.prose("here", text, '`');
        seen.wrong.len()
    };
    let block = |line: &str| format!("```console\n$ {line}\n```\n");
    for bad in [
        "puente node status --colour",
        "puente node start",
        "puente log export",
        "puente --dir X query vehicle.status --to $1 --purpos x ...",
        "for d in a b; do puente --dir $d node runs & done",
        "puente ca init --jurisdiction mx --out $(puente where)",
        "puente-audit reconcile",
        "puente-audit verify copies --loud",
        "puente-witness run --quiet",
        "puente-witness stop",
        "puente import x.csv --type Vehicle --format xml",
        "cargo test --everything",
        "cargo run --release --bin puente -- demo --speed 9",
        "packaging/deb/rebuild",
        "wget https://example.org",
    ] {
        assert_eq!(wrong(&block(bad)), 1, "{bad}");
    }
    for good in [
        "puente node status --json",
        "puente query vehicle.status --to $1 --purpose x ...",
        "puente log prove 3 --out x && puente-audit check x --entry y   # a remark -- with --dashes",
        "cat >x <<END\n> puente node start\n> END\n$ puente doctor",
        "ask() { puente --dir a query vehicle.status \"$@\"; }\n$ ask --vin 1",
        "cargo test --workspace",
    ] {
        assert_eq!(wrong(&block(good)), 0, "{good}");
    }
    for (prose, bad) in [
        ("say `puente node restart` to it", 1),
        ("say `puente node stop` to it", 0),
        ("`puente inbox list|show` and `puente inbox list|hide`", 1),
        ("with `--no-such-thing` or `--if-due`", 1),
        ("`puente query status {id} --wrong`", 1),
    ] {
        assert_eq!(wrong(prose), bad, "{prose}");
    }
}
