//! The command line in the reader's language: help, and what clap says of mistakes.

use std::ffi::OsString;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches};
use puente_model::Lang;

use crate::{say, text};

/// Decorations of help that clap does not let translate.
const DECORATIONS: [&str; 4] = ["[default: ", "[possible values: ", "[aliases: ", "Possible values:"];

/// What a POSIX system calls the language of messages, the strongest first.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// The language to speak, known before anything else of a command line: what its `--lang` says, else what the locale
/// says; `variable` reads the environment.
pub fn chosen(args: &[OsString], variable: impl Fn(&str) -> Option<String>) -> Lang {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    // Only the strongest counts, whether Puente speaks it or not.
    let locale = || Lang::of_locale(&LOCALE.iter().find_map(set)?);
    asked_for(args).or_else(locale).unwrap_or_default()
}

fn asked_for(args: &[OsString]) -> Option<Lang> {
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    let mut found = None;
    while let Some(arg) = args.next() {
        found = match arg {
            "--" => break,
            "--lang" => args.next(),
            _ => arg.strip_prefix("--lang=").or(found),
        };
    }
    found?.parse().ok()
}

/// Parses a command line whose help speaks the language.
///
/// # Errors
/// What clap says of it, help and version included; [`rendered`] translates the rest.
pub fn parse<C, I, T>(args: I, lang: Lang) -> Result<C, clap::Error>
where
    C: CommandFactory + FromArgMatches,
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut command = C::command();
    if lang != Lang::En {
        command = translated(command, lang);
    }
    let matches = command.try_get_matches_from_mut(args)?;
    C::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

pub(crate) fn translated(command: clap::Command, lang: Lang) -> clap::Command {
    let versions = command.is_propagate_version_set();
    translated_below(command, lang, versions)
}

/// The same for a command whose parents hand their version on, if they do.
fn translated_below(command: clap::Command, lang: Lang, versions: bool) -> clap::Command {
    let said = |styled: &clap::builder::StyledStr| say(lang, &styled.to_string()).into_owned();
    let about = command.get_about().map(said);
    let long_about = command.get_long_about().map(said);
    let after = command.get_after_help().map(said);
    let heading = format!(
        "{{before-help}}{{about-with-newline}}\n{} {{usage}}\n\n{{all-args}}{{after-help}}",
        text(lang, "Usage:")
    );
    let flag = |name, short, action, help| {
        let flag = Arg::new(name).short(short).long(name).action(action).help(say(lang, help).into_owned());
        flag.help_heading(text(lang, "Options"))
    };
    // Clap gives the flag to commands that have a version only, and so must we.
    let versioned = command.get_version().is_some() || versions;
    let mut command = command
        .mut_args(|arg| {
            let heading = if arg.is_positional() { "Arguments" } else { "Options" };
            let help = arg.get_help().map(said);
            let long = arg.get_long_help().map(said);
            let arg = arg.help_heading(text(lang, heading));
            let arg = if let Some(help) = help { arg.help(help) } else { arg };
            told_values(if let Some(long) = long { arg.long_help(long) } else { arg }, lang)
        })
        .help_template(heading)
        .subcommand_help_heading(text(lang, "Commands"))
        .disable_help_flag(true)
        .arg(flag("help", 'h', ArgAction::Help, "Print help"))
        .disable_version_flag(true)
        .disable_help_subcommand(true);
    if versioned {
        command = command.arg(flag("version", 'V', ArgAction::Version, "Print version"));
    }
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(long) = long_about {
        command = command.long_about(long);
    }
    if let Some(after) = after {
        command = command.after_help(after);
    }
    command.mut_subcommands(|sub| translated_below(sub, lang, versions))
}

/// What an argument's values mean, which clap does not let translate, as part of its help.
fn told_values(arg: Arg, lang: Lang) -> Arg {
    let values = arg.get_possible_values();
    let shown: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if arg.is_hide_possible_values_set() || !shown.iter().any(|value| value.get_help().is_some()) {
        return arg;
    }
    let names: Vec<&str> = shown.iter().map(|value| value.get_name()).collect();
    let widest = names.iter().map(|name| name.len()).max().unwrap_or_default() + 1;
    let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut long = arg.get_long_help().map_or_else(|| short.clone(), ToString::to_string);
    long += &format!("\n\n{}", text(lang, "Possible values:"));
    for value in &shown {
        let means = value.get_help().map(|help| say(lang, &help.to_string()).into_owned()).unwrap_or_default();
        long += &format!("\n- {:widest$} {means}", format!("{}:", value.get_name()));
    }
    let short = format!("{short} {}{}]", text(lang, "[possible values: "), names.join(", "));
    arg.help(short).long_help(long).hide_possible_values(true)
}

/// What clap rendered, with its own decorations translated.
pub fn rendered(english: &str, lang: Lang) -> String {
    DECORATIONS.iter().fold(english.to_owned(), |said, words| said.replace(words, text(lang, words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_the_language() {
        let asked = |line: &str| asked_for(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked("puente --lang es query"), Some(Lang::Es));
        assert_eq!(asked("puente query --lang=es"), Some(Lang::Es));
        assert_eq!(asked("puente query --lang"), None);
        assert_eq!(asked("puente --lang fr"), None);
        assert_eq!(asked("puente query -- --lang es"), None);
        assert_eq!(asked("puente"), None);
    }

    #[test]
    fn what_values_mean_is_told_in_the_help() {
        let value = |name: &'static str| clap::builder::PossibleValue::new(name);
        let values = [value("log").help("Print help"), value("signing-key"), value("none").hide(true)];
        let arg = || Arg::new("what").long("what").help("Print version").value_parser(values.clone());
        let command = || clap::Command::new("puente").arg(arg());
        let (long, short) = (
            translated(command(), Lang::Es).render_long_help().to_string(),
            translated(command(), Lang::Es).render_help().to_string(),
        );
        let print = text(Lang::Es, "Print help");
        assert!(long.contains(&format!("- log:         {print}\n")) && long.contains("- signing-key:\n"), "{long}");
        assert!(short.contains("log, signing-key]") && !long.contains("none"), "{short}\n{long}");
        // What is refused is refused still, and says what there is.
        let error = translated(command(), Lang::Es).try_get_matches_from(["puente", "--what", "no"]).unwrap_err();
        assert!(error.to_string().contains("log, signing-key"), "{error}");
    }

    #[test]
    fn without_a_word_the_locale_counts() {
        let args = ["puente".into()];
        let locale = |set: &'static [(&str, &str)]| {
            chosen(&args, |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(locale(&[]), Lang::En);
        assert_eq!(locale(&[("LANG", "es_MX.UTF-8")]), Lang::Es);
        assert_eq!(locale(&[("LC_ALL", "C"), ("LANG", "es_MX.UTF-8")]), Lang::En);
        assert_eq!(locale(&[("LC_ALL", ""), ("LANG", "es_MX.UTF-8")]), Lang::Es);
        assert_eq!(chosen(&["puente".into(), "--lang=en".into()], |_| Some("es".to_owned())), Lang::En);
    }

    #[test]
    fn a_command_knows_its_version_in_every_language_or_in_none() {
        let program = || clap::Command::new("puente").version("1.2.3").subcommand(clap::Command::new("log"));
        let asked = |program: clap::Command| {
            let mut program = translated(program, Lang::Es);
            program.try_get_matches_from_mut(["puente", "log", "--version"]).unwrap_err().kind()
        };
        assert_eq!(asked(program()), clap::error::ErrorKind::UnknownArgument);
        assert_eq!(asked(program().propagate_version(true)), clap::error::ErrorKind::DisplayVersion);
    }
}
