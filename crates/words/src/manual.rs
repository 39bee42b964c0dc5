//! Manual pages (roff), made from the definition of a command line.

use std::io;
use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;
use puente_model::Lang;

use crate::command_line::translated;
use crate::text;

/// The pages of a program and of every command of it that is shown, in both languages, each with its place below a
/// folder of manuals: `man1/puente-log-show.1`, `es/man1/puente-log-show.1`.
///
/// # Errors
/// A page cannot be written.
pub fn pages(command: &Command) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut out = Vec::new();
    for (lang, folder) in [(Lang::En, "man1"), (Lang::Es, "es/man1")] {
        let mut whole = match lang {
            Lang::En => command.clone().disable_help_subcommand(true),
            Lang::Es => translated(command.clone(), lang),
        };
        whole.build();
        add(&whole, lang, folder, &mut out)?;
    }
    Ok(out)
}

fn add(command: &Command, lang: Lang, folder: &str, out: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add(sub, lang, folder, out)?;
    }
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    let lines = page.lines().map(|line| match line.strip_prefix(".SH ") {
        Some(heading) => format!(".SH \"{}\"\n", said(heading.trim_matches('"'), lang)),
        None => format!("{line}\n"),
    });
    // Without the preamble, a page in UTF-8 is read as Latin-1 by some.
    let page: String = std::iter::once("'\\\" -*- coding: UTF-8 -*-\n".to_owned()).chain(lines).collect();
    out.push((PathBuf::from(folder).join(man.get_filename()), page.into_bytes()));
    Ok(())
}

/// A heading, which is written in English whatever the language of the page. What stands after the options is what exit
/// codes mean.
fn said(heading: &str, lang: Lang) -> String {
    let known = match heading {
        "NAME" => text(lang, "NAME"),
        "SYNOPSIS" => text(lang, "SYNOPSIS"),
        "DESCRIPTION" => text(lang, "DESCRIPTION"),
        "SUBCOMMANDS" => text(lang, "COMMANDS"),
        "EXTRA" => text(lang, "EXIT STATUS"),
        "VERSION" => text(lang, "VERSION"),
        other => return other.to_uppercase(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn every_command_has_a_page_in_both_languages() {
        let hidden = Command::new("secret").hide(true);
        let show = Command::new("show").about("Print help").arg(Arg::new("from").long("from").help("Print version"));
        let command = Command::new("puente").version("1.2.3").about("Print help").after_help("0 done");
        let command = command.subcommand(Command::new("log").subcommand(show)).subcommand(hidden);
        let pages = pages(&command).unwrap();
        let places: Vec<_> = pages.iter().map(|(path, _)| path.display().to_string()).collect();
        let expected =
            |folder: &str| ["puente-log-show", "puente-log", "puente"].map(|name| format!("{folder}/{name}.1"));
        assert_eq!(places, [expected("man1"), expected("es/man1")].concat());
        let page = |at: usize| String::from_utf8(pages[at].1.clone()).unwrap();
        assert!(page(0).contains("Print version") && page(0).contains(".SH \"NAME\""), "{}", page(0));
        assert!(page(2).contains(".SH \"EXIT STATUS\"") && page(2).contains("0 done"), "{}", page(2));
        assert!(page(3).contains("Mostrar la versión") && page(3).contains(".SH \"NOMBRE\""), "{}", page(3));
        assert!(!page(3).contains("Print") && !page(5).contains("EXIT STATUS"), "{}{}", page(3), page(5));
    }
}
