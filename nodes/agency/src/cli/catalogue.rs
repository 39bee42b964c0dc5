//! `puente catalogue`: what can be recorded and asked, read from the descriptors; needs no node.

mod show;
#[cfg(test)]
mod tests;

use clap::{Subcommand, ValueEnum};
use puente_catalogue::{Catalogue, Finding, Labels, QueryKindSpec, RecordType, SampleOf};
use puente_model::{AgencyId, Lang};
use puente_words::text;
use serde_json::{Value, json};

use super::output::{Failure, Report};
use super::{Context, load_failure};
use crate::config::NodeConfig;
use crate::load;

/// Examples that one command makes.
const SAMPLES_MAX: i64 = 100_000;
/// The agency of examples where there is no node's own.
const SOMEBODY: &str = "mx/example";

/// `puente catalogue`.
#[derive(Debug, Subcommand)]
pub enum CatalogueCommand {
    /// Every record type and every kind of question.
    List,
    /// Fields, labels, keys and sensitivity of one.
    Show {
        /// A record type or a kind of question, for example Vehicle or vehicle.status.
        #[arg(value_name = "TYPE")]
        name: String,
    },
    /// Its JSON Schema (draft 2020-12).
    Schema {
        /// A record type or a kind of question.
        #[arg(value_name = "TYPE")]
        name: String,
    },
    /// A valid example, invented; 'puente import' takes it, and so does 'puente query' that of a question.
    Sample(SampleArgs),
}

/// `puente catalogue sample`.
#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    /// A record type or a kind of question.
    #[arg(value_name = "TYPE")]
    name: String,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// How many, each about another thing.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=SAMPLES_MAX))]
    count: u32,
    /// Number of the first: the same numbers give the same examples.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=899_999))]
    first: u32,
    /// The agency that they name; the node's own where --dir is a node's folder.
    #[arg(long, value_name = "AGENCY")]
    agency: Option<AgencyId>,
}

/// How examples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A table with a line of headings.
    Csv,
    /// The line of headings alone: a form to fill in.
    Template,
}

/// What a name means.
#[derive(Clone, Copy)]
enum Named<'a> {
    Type(&'a RecordType),
    /// A kind, and the type that answers it.
    Kind(&'a QueryKindSpec, &'a RecordType),
}

pub(super) fn run(context: &Context, command: &CatalogueCommand) -> Result<Report, Failure> {
    let (catalogue, own) = catalogue(context)?;
    match command {
        CatalogueCommand::List => Ok(list(context.lang, &catalogue)),
        CatalogueCommand::Show { name } => Ok(match find(&catalogue, name)? {
            Named::Type(record_type) => show::record_type(context.lang, &catalogue, record_type),
            Named::Kind(kind, record_type) => show::kind(context.lang, kind, record_type),
        }),
        CatalogueCommand::Schema { name } => {
            let schema = schema(&catalogue, name)?;
            let shown = serde_json::to_string_pretty(&schema).unwrap_or_default();
            Ok(Report::new(schema, shown))
        }
        CatalogueCommand::Sample(args) => {
            let somebody = || SOMEBODY.parse().map_err(|_| Failure::unavailable("internal", "no agency is named"));
            let agency = match args.agency.clone().or(own) {
                Some(agency) => agency,
                None => somebody()?,
            };
            sample(context, find(&catalogue, &args.name)?, args, &agency)
        }
    }
}

/// The catalogue of the node's folder, with its agency; the one that comes with Puente anywhere else.
fn catalogue(context: &Context) -> Result<(Catalogue, Option<AgencyId>), Failure> {
    let config = match context.dir.config().exists() {
        true => Some(NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?),
        false => None,
    };
    let extra = config.as_ref().and_then(|c| c.catalogue_extra.as_ref()).map(|folder| context.dir.path().join(folder));
    let catalogue = load::catalogue(extra.as_deref()).map_err(load_failure)?;
    Ok((catalogue, config.map(|config| config.node.agency())))
}

fn find<'a>(catalogue: &'a Catalogue, name: &str) -> Result<Named<'a>, Failure> {
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    if let Some(record_type) = catalogue.record_types().iter().find(|t| same(t.name())) {
        return Ok(Named::Type(record_type));
    }
    let kind = catalogue.query_kinds().iter().find(|k| same(k.kind().as_str()));
    let found = kind.and_then(|kind| Some(Named::Kind(kind, catalogue.record_type(kind.record_type())?)));
    found.ok_or_else(|| {
        let shown: String = name.escape_debug().take(80).collect();
        let types = catalogue.record_types().iter().map(RecordType::name);
        let valid: Vec<&str> = types.chain(catalogue.query_kinds().iter().map(|k| k.kind().as_str())).collect();
        Failure::usage("unknown-type", format!("the catalogue has no record type and no kind of question '{shown}'"))
            .hint("'puente catalogue list' names them all")
            .details(json!({ "valid": valid }))
    })
}

/// The JSON Schema of a record type or of a kind's parameters.
pub(crate) fn schema(catalogue: &Catalogue, name: &str) -> Result<Value, Failure> {
    Ok(match find(catalogue, name)? {
        Named::Type(record_type) => record_type.json_schema(),
        Named::Kind(kind, _) => kind.json_schema(),
    })
}

/// Labels in both languages.
fn both(labels: &Labels) -> Value {
    json!({"en": labels.en, "es": labels.es})
}

pub(crate) fn list(lang: Lang, catalogue: &Catalogue) -> Report {
    let (of_types, of_kinds) = (text(lang, "record types"), text(lang, "kinds of questions"));
    let mut out = format!("{of_types}\n");
    let mut types = Vec::new();
    for t in catalogue.record_types() {
        out.push_str(&format!("  {:<22} {}\n", t.name(), t.labels().get(lang)));
        let kinds = catalogue.query_kinds().iter().filter(|k| k.record_type() == t.name());
        let kinds: Vec<&str> = kinds.map(|k| k.kind().as_str()).collect();
        types.push(json!({"type": t.name(), "label": both(t.labels()), "fields": t.fields().len(), "kinds": kinds}));
    }
    out.push_str(&format!("{of_kinds}\n"));
    let mut kinds = Vec::new();
    for k in catalogue.query_kinds() {
        out.push_str(&format!("  {:<22} {:<4} {}\n", k.kind().as_str(), k.number(), k.labels().get(lang)));
        let steps: Vec<u32> = k.steps().iter().map(|s| s.step.code()).collect();
        kinds.push(json!({
            "kind": k.kind().as_str(),
            "number": k.number(),
            "label": both(k.labels()),
            "type": k.record_type(),
            "steps": steps,
        }));
    }
    Report::new(json!({"digest": catalogue.digest().to_string(), "types": types, "kinds": kinds}), out)
}

fn unfit(findings: &[Finding]) -> Failure {
    let found: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.column, f.code())).collect();
    Failure::findings("sample", "no example fits this type's own rules")
        .hint("mend the rules of its .proto file")
        .details(json!(found))
}

fn sample(context: &Context, named: Named<'_>, args: &SampleArgs, agency: &AgencyId) -> Result<Report, Failure> {
    let columns: Vec<&str> = match named {
        Named::Type(record_type) => record_type.columns(),
        Named::Kind(kind, _) => kind.params().iter().map(|f| f.name.as_str()).collect(),
    };
    let mut csv = csv::Writer::from_writer(Vec::new());
    let broken = |error: csv::Error| Failure::unavailable("io", error.to_string());
    csv.write_record(&columns).map_err(broken)?;
    let (mut objects, mut lines) = (Vec::new(), String::new());
    let count = if args.format == Format::Template { 0 } else { args.count };
    for number in args.first..args.first + count {
        let of = SampleOf { number, agency, now: context.now };
        let (row, object) = match named {
            Named::Type(record_type) => {
                record_type.sample(&of).map_err(|findings| unfit(&findings))?;
                let row = record_type.sample_row(&of);
                let object = record_type.json_of(&row);
                (row, object)
            }
            Named::Kind(kind, record_type) => {
                kind.sample(record_type, &of).map_err(|findings| unfit(&findings))?;
                let row = kind.sample_params(record_type, &of);
                let object = kind.json_of(&row);
                (row, object)
            }
        };
        let cells = columns.iter().map(|column| row.get(*column).map_or("", String::as_str));
        csv.write_record(cells).map_err(broken)?;
        lines.push_str(&format!("{object}\n"));
        objects.push(object);
    }
    let table = csv.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let shown = if args.format == Format::Jsonl { lines } else { table };
    Ok(Report::new(json!({"columns": columns, "samples": objects}), shown))
}
