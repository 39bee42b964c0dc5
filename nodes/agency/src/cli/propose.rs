//! `puente charter propose`: the draft of a part's next version, with everything filled in that follows from the parts
//! beside it.

use std::path::{Path, PathBuf};

use clap::Args;
use puente_charter::{AnnexPart, ClaimedPart, CommonPart, GovernanceKey, Part};
use puente_model::Digest;
use puente_words::texts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use super::charter::{annex_text, common_text, read_part, text_of, write_new};
use super::output::{Failure, Report};
use crate::{files, load};

/// `puente charter propose`.
#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// The part in force (TOML); what else is in force stands beside it, as in a node's folder charter.
    part: PathBuf,
    /// Folder for the draft.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// A governance key that is lost or due, by its name: the draft has another one in its place.
    #[arg(long, value_name = "NAME", requires = "with")]
    replace_key: Option<String>,
    /// The public half that takes its place: a file with what 'puente charter keygen' printed.
    #[arg(long, value_name = "FILE", requires = "replace_key")]
    with: Option<PathBuf>,
}

texts! {
    /// What it says.
    enum Text {
        Same: "this draft still says what the version before it said";
        Edit: "edit it, then sign it: puente charter sign FILE --key KEY";
        Who: "enough keys of every nation must sign it: for yours enough of those before and enough of those after, the kept ones counting for both";
        Lost: "a key that may be in other hands signs until this is adopted everywhere: hurry, and compare with the auditors what was signed since";
    }
}

/// What `puente charter keygen` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    jurisdiction: PrintedKeys,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrintedKeys {
    governance_key: [GovernanceKey; 1],
}

pub(super) fn run(context: &Context, args: &ProposeArgs) -> Result<Report, Failure> {
    let part = read_part(&args.part)?;
    let folder = args.part.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What nobody has signed is no part that is in force.
    let mut beside = load::charter_parts(folder)?;
    beside.retain(|part| !part.signatures().is_empty());
    let previous = part.hash();
    let (name, text, filled) = match part {
        Part::Common(part) => {
            let mut part = CommonPart { number: part.number + 1, previous: Some(previous), ..part };
            let pins = pin(&mut part, &beside);
            if let (Some(old), Some(with)) = (&args.replace_key, &args.with) {
                replace(&mut part, old, with)?;
            }
            (format!("common-{}.toml", part.number), common_text(&part)?, pins)
        }
        Part::Annex(_) if args.replace_key.is_some() => {
            return Err(Failure::usage("not-common", "governance keys stand in the common part, not in an annex")
                .hint("name the common part in force: common-N.toml"));
        }
        Part::Annex(part) => {
            let common = newest_common(&part, &beside);
            let part = AnnexPart { number: part.number + 1, previous: Some(previous), common, ..part };
            let name = format!("annex-{}-{}.toml", part.jurisdiction, part.number);
            (name, annex_text(&part)?, json!({"common": common}))
        }
    };
    files::make_dir(&args.out).map_err(|error| Failure::file(&args.out, &error))?;
    let target = args.out.join(name);
    write_new(&target, &text_of(&text))?;
    let value = json!({"file": target.display().to_string(), "previous": previous.to_string(), "filled_in": filled,
        "replaced_key": args.replace_key});
    let report = Report::new(value, format!("{}\n", target.display()));
    Ok(if args.replace_key.is_some() {
        report.note(Text::Who.get(context.lang)).hint(Text::Lost.get(context.lang))
    } else {
        report.note(Text::Same.get(context.lang)).hint(Text::Edit.get(context.lang))
    })
}

/// Pins the newest annex of every nation, as far as there is one alone of its number: of two, people choose.
fn pin(part: &mut CommonPart, beside: &[ClaimedPart]) -> Value {
    for nation in &mut part.jurisdictions {
        let annexes = || {
            beside.iter().filter_map(|claimed| match claimed.part() {
                Part::Annex(annex) if annex.federation == part.federation && annex.jurisdiction == nation.code => {
                    Some((annex.number, claimed.hash()))
                }
                _ => None,
            })
        };
        let Some(newest) = annexes().map(|(number, _)| number).max().filter(|found| *found > nation.annex.number)
        else {
            continue;
        };
        let mut hashes: Vec<Digest> = annexes().filter(|(number, _)| *number == newest).map(|(_, hash)| hash).collect();
        hashes.dedup();
        if let [hash] = hashes.as_slice() {
            (nation.annex.number, nation.annex.hash) = (newest, *hash);
        }
    }
    part.jurisdictions.iter().map(|nation| (nation.code.to_string(), json!(nation.annex.number))).collect()
}

/// The common part under whose keys the annex after this one is signed.
fn newest_common(part: &AnnexPart, beside: &[ClaimedPart]) -> u32 {
    let commons = beside.iter().filter_map(|claimed| match claimed.part() {
        Part::Common(common) if common.federation == part.federation => {
            let pinned = common.jurisdiction(&part.jurisdiction)?.annex.number;
            (pinned <= part.number).then_some(common.number)
        }
        _ => None,
    });
    commons.chain([part.common]).max().unwrap_or(part.common)
}

/// Puts a key in another's place, in the same nation.
fn replace(part: &mut CommonPart, old: &str, with: &Path) -> Result<(), Failure> {
    let text = files::read_text(with).map_err(|error| Failure::file(with, &error))?;
    let Ok(Printed { jurisdiction: PrintedKeys { governance_key: [new] } }) = toml::from_str(&text) else {
        return Err(Failure::usage("key", format!("{} holds no public governance key", with.display()))
            .hint("put there what 'puente charter keygen --name NAME --out KEY' prints, and nothing else"));
    };
    let mut keys = part.jurisdictions.iter().flat_map(|nation| &nation.governance_keys);
    if let Some(known) = keys.find(|known| known.name == new.name || known.key == new.key) {
        return Err(Failure::usage("known-key", format!("'{}' has this name or this key already", known.name))
            .hint("make a fresh key under a name of its own: signatures are told apart by it"));
    }
    let mut keys = part.jurisdictions.iter_mut().flat_map(|nation| &mut nation.governance_keys);
    match keys.find(|known| known.name == old) {
        Some(place) => *place = new,
        None => {
            let names = part.jurisdictions.iter().flat_map(|nation| &nation.governance_keys);
            let names: Vec<&str> = names.map(|key| key.name.as_str()).collect();
            return Err(Failure::usage("unknown-key", format!("'{old}' is no governance key of this part"))
                .hint(format!("the part's keys are: {}", names.join(", "))));
        }
    }
    Ok(())
}
