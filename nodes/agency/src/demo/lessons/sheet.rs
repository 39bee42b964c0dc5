//! What a learner reads: the scene, the commands as they are typed, and how to answer. One file in each language.

use std::fmt::Write as _;
use std::path::Path;

use puente_catalogue::Lang;

use super::super::words::fill;
use super::folder::{CHARTER, COPIES, KEY};
use super::forgeries::everybody;
use super::words::Text;
use super::{LESSONS, Lesson};
use crate::cli::{Failure, wrap};
use crate::files;
use crate::training::BANNER;

/// Columns of a text.
pub(super) const COLUMNS: usize = 100;

/// Name of the file in this language.
pub(super) const fn name(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "LESSON.md",
        Lang::Es => "LECCION.md",
    }
}

/// Writes both.
pub(super) fn write(lesson: &Lesson, pin: &str, dir: &Path) -> Result<(), Failure> {
    for lang in [Lang::En, Lang::Es] {
        let path = dir.join(name(lang));
        files::create(&path, text(lesson, pin, lang).as_bytes(), false).map_err(|e| Failure::file(&path, &e))?;
    }
    Ok(())
}

fn text(lesson: &Lesson, pin: &str, lang: Lang) -> String {
    let mut out = Sheet { lang, text: String::new() };
    let number = LESSONS.iter().position(|one| one.name == lesson.name).unwrap_or(0) + 1;
    out.line(&format!("**{BANNER}**\n"));
    out.line(&format!("# {number}. {}\n", lesson.title.get(lang)));
    let other = match lang {
        Lang::En => format!(" {}", fill(Text::Other.get(lang), &[name(Lang::Es)])),
        Lang::Es => String::new(),
    };
    out.paragraph(&format!("{}{other}", Text::Invented.get(lang)));
    out.say(lesson.scene);
    out.heading(Text::HeadHere);
    for (what, says) in [(COPIES, Text::HereCopies), (CHARTER, Text::HereCharter), (KEY, Text::HereKey)] {
        out.item(&format!("`{what}`: {}", says.get(lang)));
    }
    out.line("");
    out.heading(Text::HeadDo);
    out.say(Text::DoInit);
    out.typed(&[format!("puente-audit init --charter {CHARTER} --pin {pin}")]);
    out.say(Text::DoLang);
    out.say(Text::DoAudit);
    let copies: Vec<String> = everybody().map(|agency| format!("{COPIES}/{}", agency.folder())).collect();
    let mut audits: Vec<String> = Vec::new();
    if lesson.one_by_one {
        audits.extend(copies.iter().map(|copy| format!("puente-audit verify --key {KEY} {copy}")));
    }
    audits.push(format!("puente-audit reconcile --key {KEY} {}", copies.join(" ")));
    out.typed(&audits);
    if lesson.evidence {
        out.say(Text::DoEvidence);
        out.typed(&["for file in puente-auditor/evidence/*; do puente-audit check $file; done".to_owned()]);
    }
    out.say(Text::DoShow);
    out.typed(&copies.iter().map(|copy| format!("puente-audit show {copy} --from 0 --limit 50")).collect::<Vec<_>>());
    out.heading(Text::HeadLook);
    out.say(lesson.look);
    out.heading(Text::HeadAnswer);
    out.say(Text::DoAnswer);
    out.typed(&["puente lessons check . --found CLASS --by AGENCY --entry N".to_owned()]);
    out.say(Text::DoNobody);
    out.typed(&["sound", "could-not-tell"].map(|found| format!("puente lessons check . --found {found}")));
    out.say(Text::DoGiveUp);
    out.typed(&["puente lessons check . --give-up".to_owned()]);
    out.line(&format!("**{BANNER}**"));
    out.text
}

struct Sheet {
    lang: Lang,
    text: String,
}

impl Sheet {
    fn line(&mut self, line: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn heading(&mut self, text: Text) {
        self.line(&format!("## {}\n", text.get(self.lang)));
    }

    fn say(&mut self, text: Text) {
        self.paragraph(text.get(self.lang));
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrap(text, COLUMNS) {
            self.line(&line);
        }
        self.line("");
    }

    fn item(&mut self, text: &str) {
        for (at, line) in wrap(text, COLUMNS - 2).iter().enumerate() {
            self.line(&format!("{} {line}", if at == 0 { '-' } else { ' ' }));
        }
    }

    fn typed(&mut self, commands: &[String]) {
        self.line("```console");
        for command in commands {
            self.line(&format!("$ {command}"));
        }
        self.line("```\n");
    }
}
