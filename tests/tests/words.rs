//! Every message of the sources exists in Spanish.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, ExprLit, ExprMethodCall, FieldValue, Lit, LitStr, Local, Macro, Member, Pat};

/// Rooms whose messages reach people.
const ROOMS: &[&str] = &["crates", "nodes", "audit"];
/// Constructors of what a command says: the message is the second argument.
const FAILURES: &[&str] = &["usage", "findings", "unreachable", "unavailable"];
/// Methods that add words to it, or to what an auditor reads.
const ADDS: &[&str] = &["hint", "note", "say", "fail", "gap"];
/// Functions that make what an auditor reads: messages among their arguments.
const FAULTS: &[&str] = &["fault", "blame", "finding", "invalid", "w"];
/// Tables of texts. A literal after an equals sign is a code, or a comment.
const TABLES: &[&str] = &["texts", "words", "classes", "problems"];
/// Names of functions, variables and fields that hold a message.
const HOLDERS: &[&str] = &["mend", "hint", "advice", "waits"];
/// Names of variables that hold a message.
const LOCALS: &[&str] = &["message", "words", "english"];
/// Constants that hold a message.
const HELPS: &[&str] = &["EXITS", "LOG", "MEND_LOG", "SIGN"];
/// Files whose texts are not said in the reader's language, and why.
const UNSAID: &[(&str, &str)] = &[
    ("audit/src/cli/metrics.rs", "Prometheus' own help texts"),
    ("audit/src/cli/scrape.rs", "answers over HTTP, for Prometheus"),
    ("crates/words/src/", "the catalogue itself"),
    ("crates/policy/src/explain.rs", "explanations travel, in both languages"),
    ("crates/policy/src/set.rs", "explanations travel, in both languages"),
    ("crates/policy/src/verdict.rs", "explanations travel, in both languages"),
    ("nodes/agency/src/demo/acts.rs", "what officers of the demo write"),
    ("nodes/agency/src/demo/cast.rs", "names, in both languages"),
    ("nodes/agency/src/demo/cities/cast.rs", "names, in both languages"),
    ("nodes/agency/src/demo/cities/mod.rs", "where alerts apply, and what did not hold"),
    ("nodes/agency/src/demo/lessons/sheet.rs", "commands as they are typed; what is said beside them is a table"),
    ("nodes/agency/src/demo/records.rs", "values of records"),
    ("nodes/agency/src/demo/tables.rs", "values of records"),
    ("nodes/agency/src/net/pki.rs", "certificates for tests"),
    ("nodes/agency/src/ops/meter.rs", "metrics are described in English, as Prometheus has it"),
    ("nodes/agency/src/auditors/visit.rs", "answers over HTTP; puente-audit says what a status means"),
    ("nodes/witness/src/http.rs", "answers over HTTP, for the programs of logs"),
    ("nodes/witness/src/desk.rs", "answers over HTTP, for the programs of logs"),
];
/// How what a database, a cipher or a file format reads begins.
const LANGUAGES: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "SET",
    "BEGIN",
    "PRAGMA",
    "EXPLAIN",
    "ORDER",
    "GET",
    "-----BEGIN",
    "{schema_made}",
    "Seq Scan",
    "Index Cond",
    "entity ",
    "// ",
    "# ",
    "for policy `",
    "Puente root of",
    "witness {",
    "quorum {",
    "group {",
    "held {",
    "next {",
    "kill {",
    "puente {",
    "puente support bundle",
];
/// Macros that log, or that only tests hear.
const UNHEARD: &[&str] = &["error", "warn", "info", "debug", "trace", "event", "assert", "assert_eq", "debug_assert"];
/// Methods whose argument is looked for, not said.
const LOOKS: &[&str] = &[
    "contains",
    "strip_prefix",
    "strip_suffix",
    "starts_with",
    "ends_with",
    "split",
    "split_once",
    "trim_end_matches",
    "derive",
];

/// Messages by where they were found.
#[derive(Default)]
struct Found {
    file: String,
    messages: BTreeSet<(String, String)>,
    /// Within something that holds nothing but messages.
    all: bool,
}

/// Whether a text has two words of a sentence side by side: whoever writes that means people.
fn is_sentence(text: &str) -> bool {
    if LANGUAGES.iter().any(|word| text.trim_start().starts_with(word)) {
        return false;
    }
    let mut depth = 0;
    let own: String = text
        .chars()
        .map(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 && c != '}' { c } else { '\u{0}' }
        })
        .collect();
    let word = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_alphabetic() || "',;:.".contains(c));
    let words: Vec<&str> = own.split(' ').collect();
    // A word beside a value: "{} rules".
    let beside = |two: &[&str]| {
        let value = |word: &str| word.contains('\u{0}') && word.chars().all(|c| c == '\u{0}' || "',;:.()".contains(c));
        let noun = |word: &str| word.len() > 2 && word.chars().all(char::is_lowercase);
        (value(two[0]) && noun(two[1])) || (noun(two[0]) && value(two[1]))
    };
    let lower = |two: &[&str]| two.concat().contains(char::is_lowercase);
    words.windows(2).any(|two| (word(two[0]) && word(two[1]) && lower(two)) || beside(two))
}

impl Found {
    /// A literal that stands anywhere.
    fn literal(&mut self, text: &str) {
        if is_sentence(text) && !UNSAID.iter().any(|(file, _)| self.file.starts_with(file)) {
            self.message(text);
        }
    }

    /// The literals of what a macro is given, however deep; not its attributes, which hold comments.
    fn literals(&mut self, tokens: TokenStream) {
        let (mut skip, mut unheard) = (false, false);
        for token in tokens {
            match &token {
                TokenTree::Group(group) if !skip => self.literals(group.stream()),
                TokenTree::Literal(_) => {
                    if let Ok(text) = syn::parse2::<LitStr>(token.clone().into()) {
                        self.literal(&text.value());
                    }
                }
                _ => {}
            }
            let mark = |sign: char| matches!(&token, TokenTree::Punct(punct) if punct.as_char() == sign);
            skip = mark('#') || (unheard && mark('!'));
            unheard = matches!(&token, TokenTree::Ident(name) if UNHEARD.iter().any(|unheard| name == unheard));
        }
    }

    fn message(&mut self, text: &str) {
        // Without a word of its own there is nothing to translate.
        let mut depth = 0;
        let own = text.chars().filter(|c| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0 && c.is_alphabetic()
        });
        if own.count() > 1 {
            self.messages.insert((text.to_owned(), self.file.clone()));
        }
    }

    /// The texts that an expression may be.
    fn texts(&mut self, expr: &Expr) {
        match expr {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => self.message(&text.value()),
            Expr::Macro(made) => self.format(&made.mac),
            Expr::Reference(to) => self.texts(&to.expr),
            Expr::Paren(within) => self.texts(&within.expr),
            Expr::MethodCall(call) => self.texts(&call.receiver),
            Expr::Block(block) => self.last(&block.block),
            Expr::Match(cases) => cases.arms.iter().for_each(|arm| self.texts(&arm.body)),
            Expr::If(cases) => {
                self.last(&cases.then_branch);
                if let Some((_, other)) = &cases.else_branch {
                    self.texts(other);
                }
            }
            _ => {}
        }
    }

    fn last(&mut self, block: &syn::Block) {
        if let Some(syn::Stmt::Expr(last, None)) = block.stmts.last() {
            self.texts(last);
        }
    }

    /// The literals of a table.
    fn table(&mut self, tokens: TokenStream) {
        let mut code = false;
        for token in tokens {
            match &token {
                TokenTree::Group(group) => self.table(group.stream()),
                TokenTree::Literal(_) if !code => {
                    if let Ok(text) = syn::parse2::<LitStr>(token.clone().into()) {
                        self.message(&text.value());
                    }
                }
                _ => {}
            }
            code = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '=');
        }
    }

    /// `text(lang, "…")`, `say(lang, "…")` and `w("…")` among what a macro is given.
    fn said_within(&mut self, tokens: TokenStream) {
        let mut said = false;
        for token in tokens {
            if let TokenTree::Group(group) = &token {
                if said {
                    let direct = |t: &TokenTree| matches!(t, TokenTree::Literal(_));
                    self.table(group.stream().into_iter().filter(direct).collect());
                }
                self.said_within(group.stream());
            }
            said = matches!(&token, TokenTree::Ident(name) if name == "text" || name == "say" || name == "w");
        }
    }

    fn format(&mut self, made: &Macro) {
        let named = made.path.segments.last().is_some_and(|s| s.ident == "format" || s.ident == "format_args");
        let first = made.tokens.clone().into_iter().next();
        if let (true, Some(first)) = (named, first)
            && let Ok(text) = syn::parse2::<LitStr>(first.into())
        {
            self.message(&text.value());
        }
    }
}

/// Code that is compiled for tests alone.
fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("test")
            || (a.path().is_ident("cfg") && a.meta.require_list().is_ok_and(|l| l.tokens.to_string().contains("test")))
    })
}

/// What an item derives.
fn derives(attributes: &[Attribute]) -> String {
    let derives = attributes.iter().filter(|a| a.path().is_ident("derive"));
    derives.filter_map(|a| a.meta.require_list().ok()).map(|l| l.tokens.to_string()).collect()
}

/// A definition of the command line: its comments are its help.
fn is_command_line(attributes: &[Attribute]) -> bool {
    let names = derives(attributes);
    ["Parser", "Subcommand", "Args", "ValueEnum"].iter().any(|name| names.contains(name))
}

impl Found {
    /// Help, as clap makes it of a comment: the first paragraph, without its last full stop; and all of it, where
    /// there are more.
    fn help(&mut self, attributes: &[Attribute]) {
        let line = |a: &Attribute| match a.path().is_ident("doc").then(|| a.meta.require_name_value().ok()).flatten() {
            Some(syn::MetaNameValue { value: Expr::Lit(ExprLit { lit: Lit::Str(text), .. }), .. }) => {
                Some(text.value())
            }
            _ => None,
        };
        let lines: Vec<String> = attributes.iter().filter_map(line).map(|line| line.trim().to_owned()).collect();
        let paragraphs: Vec<String> = lines.split(String::is_empty).map(|lines| lines.join(" ")).collect();
        let Some(first) = paragraphs.first() else { return };
        self.message(first.strip_suffix('.').unwrap_or(first));
        if paragraphs.len() > 1 {
            self.message(&paragraphs.join("\n\n"));
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("error")
            && let Ok(list) = attribute.meta.require_list()
            && let Some(first) = list.tokens.clone().into_iter().next()
            && let Ok(text) = syn::parse2::<LitStr>(first.into())
        {
            self.message(&text.value());
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(path) = call.func.as_ref() {
            let mut names = path.path.segments.iter().rev().map(|s| s.ident.to_string());
            let (last, before) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            let failure = before == "Failure" && FAILURES.contains(&last.as_str());
            // Both languages in one place: `words(now, "…", "…")`, for explanations that travel.
            if last == "words" && call.args.len() == 3 {
                return;
            }
            // `say(lang, "…")` and `text(lang, "…")`.
            let said = (last == "say" || last == "text") && call.args.len() == 2;
            if FAULTS.iter().any(|name| last == *name)
                || (before == "Finding" && last == "new")
                || (before == "Reloaded" && last == "failed")
            {
                call.args.iter().for_each(|arg| self.texts(arg));
            }
            if let (true, Some(text)) = (failure || said, call.args.get(1)) {
                self.texts(text);
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let (true, Some(text)) = (ADDS.iter().any(|name| call.method == name), call.args.first()) {
            self.texts(text);
        }
        if FAULTS.iter().any(|name| call.method == name) {
            call.args.iter().for_each(|arg| self.texts(arg));
        }
        if LOOKS.iter().any(|name| call.method == name) {
            return self.visit_expr(&call.receiver);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_field_value(&mut self, field: &'ast FieldValue) {
        // Explanations travel, in both languages.
        if let Member::Named(name) = &field.member
            && (name.to_string().ends_with("_en") || name.to_string().ends_with("_es"))
        {
            return;
        }
        if let Member::Named(name) = &field.member
            && (name == "message" || HOLDERS.iter().any(|holder| name == holder))
        {
            self.texts(&field.expr);
        }
        visit::visit_field_value(self, field);
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let (Pat::Ident(name), Some(init)) = (&local.pat, &local.init)
            && LOCALS.iter().chain(HOLDERS).any(|holder| name.ident == holder)
        {
            self.texts(&init.expr);
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        // Texts are compared, not said.
        if !self.all {
            visit::visit_expr_binary(self, binary);
        }
    }

    fn visit_expr_lit(&mut self, literal: &'ast ExprLit) {
        match &literal.lit {
            Lit::Str(text) if self.all => self.message(&text.value()),
            Lit::Str(text) => self.literal(&text.value()),
            _ => {}
        }
    }

    fn visit_macro(&mut self, made: &'ast Macro) {
        if TABLES.iter().any(|name| made.path.segments.last().is_some_and(|s| s.ident == name)) {
            self.table(made.tokens.clone());
        } else {
            self.said_within(made.tokens.clone());
        }
        if self.all {
            self.format(made);
        }
        if !UNHEARD.iter().any(|name| made.path.segments.last().is_some_and(|s| s.ident == name)) {
            self.literals(made.tokens.clone());
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !for_tests(&function.attrs) {
            let before = std::mem::replace(&mut self.all, HOLDERS.iter().any(|name| function.sig.ident == name));
            visit::visit_item_fn(self, function);
            self.all = before;
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if for_tests(&function.attrs) {
            return;
        }
        let before = std::mem::replace(&mut self.all, HOLDERS.iter().any(|name| function.sig.ident == name));
        visit::visit_impl_item_fn(self, function);
        self.all = before;
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // Programmers read `Debug`.
        let of_debug = |(_, path, _): &(_, syn::Path, _)| path.segments.last().is_some_and(|s| s.ident == "Debug");
        if !item.trait_.as_ref().is_some_and(of_debug) && !for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if is_command_line(&item.attrs) {
            if derives(&item.attrs).contains("Parser") {
                self.help(&item.attrs);
            }
            item.fields.iter().for_each(|field| self.help(&field.attrs));
        }
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if is_command_line(&item.attrs) {
            for variant in &item.variants {
                self.help(&variant.attrs);
                variant.fields.iter().for_each(|field| self.help(&field.attrs));
            }
        }
        visit::visit_item_enum(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        // Shared pieces of help.
        if HELPS.iter().any(|name| item.ident == name) {
            self.texts(&item.expr);
        }
        visit::visit_item_const(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }
}

fn read(dir: &Path, found: &mut Found) {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let tests = ["target", "tests", "tests.rs", "test.rs", "testing.rs", "benches"].contains(&name.as_str());
        if tests || name.ends_with("_test.rs") {
            continue;
        }
        if path.is_dir() {
            read(&path, found);
        } else if name.ends_with(".rs") {
            found.file = path.display().to_string().split("../").last().unwrap_or_default().to_owned();
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            if !for_tests(&file.attrs) {
                found.visit_file(&file);
            }
        }
    }
}

fn messages() -> BTreeSet<(String, String)> {
    let mut found = Found::default();
    for room in ROOMS {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room), &mut found);
    }
    found.messages
}

/// Messages as a piece of the catalogue.
fn po<'a>(messages: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut po = String::new();
    for (text, file) in messages {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        po.push_str(&format!("#: {file}\nmsgid \"{text}\"\nmsgstr \"\"\n\n"));
    }
    po
}

#[test]
fn every_message_of_the_sources_is_translated() {
    let entries = puente_words::entries().unwrap();
    let known: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    let found = messages();
    assert!(found.len() > 300, "only {} messages were found: is the search broken?", found.len());
    let missing: Vec<_> = found.iter().filter(|(text, _)| !known.contains(text.as_str())).collect();
    let po = po(missing.iter().map(|(text, file)| (text.as_str(), file.as_str())));
    assert!(missing.is_empty(), "add {} messages to crates/words/po/es.po:\n\n{po}", missing.len());
}

#[test]
fn every_translation_is_of_a_message() {
    let found = messages();
    let found: BTreeSet<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
    let ours = puente_words::entries().unwrap().into_iter().filter(|entry| !entry.foreign);
    let stale: Vec<String> = ours.map(|entry| entry.id).filter(|id| !found.contains(id.as_str())).collect();
    assert!(stale.is_empty(), "nobody says any more, remove from crates/words/po/es.po: {stale:#?}");
}
