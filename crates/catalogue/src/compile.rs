//! From `.proto` texts to a catalogue.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use puente_model::{Digest, Label, digest};

use crate::build::Build;
use crate::builtin::FILES;
use crate::query::QueryKindSpec;
use crate::record::RecordType;

/// Extra `.proto` files that a catalogue may have.
pub const PROTO_FILES_MAX: usize = 256;
/// One extra `.proto` file, in bytes.
pub const PROTO_TEXT_BYTES_MAX: usize = 256 * 1024;

const DIGEST: Label = Label("puente/v1/catalogue");

/// A `.proto` file that makes no catalogue: where, what, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}{message}; {mend}", line.map(|l| format!("{l}: ")).unwrap_or_else(|| " ".to_owned()))]
pub struct CatalogueError {
    /// Path of the file, as it was given.
    pub file: String,
    /// Line, counted from 1, where known.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
}

/// Every record type and query kind in force. Cheap to share behind an `Arc`.
#[derive(Debug, Clone)]
pub struct Catalogue {
    record_types: Vec<RecordType>,
    query_kinds: Vec<QueryKindSpec>,
    digest: Digest,
}

impl Catalogue {
    /// The record types and query kinds that come with Puente.
    pub fn builtin() -> Result<Self, CatalogueError> {
        Self::compile(&[])
    }

    /// The built-in files and these (path, text). Files import each other by
    /// path; nothing is read from disk.
    pub fn compile(extra: &[(String, String)]) -> Result<Self, CatalogueError> {
        let texts = gather(extra)?;
        let (pool, encoded) = descriptors(&texts)?;
        let files: Vec<FileDescriptor> = pool.files().filter(|f| texts.contains_key(f.name())).collect();
        let (record_types, query_kinds) = Build::new(&pool, &files)?.run().map_err(|flaw| flaw.locate(&pool))?;
        Ok(Self { record_types, query_kinds, digest: digest(DIGEST, &[&encoded]) })
    }

    /// Every record type, by name.
    pub fn record_types(&self) -> &[RecordType] {
        &self.record_types
    }

    /// The record type of a name, for example `Vehicle`.
    pub fn record_type(&self, name: &str) -> Option<&RecordType> {
        self.record_types.iter().find(|t| t.name() == name)
    }

    /// Every query kind, by name.
    pub fn query_kinds(&self) -> &[QueryKindSpec] {
        &self.query_kinds
    }

    /// The query kind of a name, for example `vehicle.status`.
    pub fn query_kind(&self, kind: &str) -> Option<&QueryKindSpec> {
        self.query_kinds.iter().find(|k| k.kind().as_str() == kind)
    }

    /// Names this catalogue: a labelled hash (`puente/v1/catalogue`) over the
    /// encoded `FileDescriptorSet` of its files, without source positions: the
    /// built-in files and then the others, in the order of their paths, each
    /// after those it imports. Comments and layout do not change it; any field,
    /// option or code does.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

type Texts = BTreeMap<String, String>;

fn gather(extra: &[(String, String)]) -> Result<Texts, CatalogueError> {
    let mut texts: Texts = FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let refuse = |file: &str, message: &str, mend: &str| {
        Err(CatalogueError { file: file.to_owned(), line: None, message: message.to_owned(), mend: mend.to_owned() })
    };
    if extra.len() > PROTO_FILES_MAX {
        return refuse("catalogue", "too many files", &format!("give at most {PROTO_FILES_MAX}"));
    }
    for (path, text) in extra {
        if text.len() > PROTO_TEXT_BYTES_MAX {
            return refuse(path, "the file is too large", &format!("keep it under {PROTO_TEXT_BYTES_MAX} bytes"));
        }
        if texts.insert(path.clone(), text.clone()).is_some() {
            return refuse(path, "another file has this path", "give each file its own path");
        }
    }
    Ok(texts)
}

/// Serves the texts from memory.
struct InMemory(Texts);

impl FileResolver for InMemory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Every file's descriptors (with source positions), and the encoded set without them.
fn descriptors(texts: &Texts) -> Result<(DescriptorPool, Vec<u8>), CatalogueError> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(InMemory(texts.clone()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    // The built-in files come first, so that a clash is the newcomer's.
    let (ours, theirs): (Vec<&String>, Vec<&String>) =
        texts.keys().partition(|path| FILES.iter().any(|(builtin, _)| builtin == path));
    for path in ours.into_iter().chain(theirs) {
        compiler.open_file(path).map_err(|e| syntax_error(path, &e))?;
    }
    Ok((compiler.descriptor_pool(), compiler.encode_file_descriptor_set()))
}

/// The compiler's own error. Its debug form begins with `file:line:column:`.
fn syntax_error(path: &str, error: &protox::Error) -> CatalogueError {
    let file = error.file().unwrap_or(path).to_owned();
    let placed = format!("{error:?}");
    let line = placed.strip_prefix(&file).and_then(|rest| rest.trim_start_matches(':').split(':').next()?.parse().ok());
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    let mend = if message.contains("for option") {
        "use only what catalogue_options.proto declares for this option, with its type"
    } else {
        "correct the file"
    };
    CatalogueError { file, line, message, mend: mend.to_owned() }
}
