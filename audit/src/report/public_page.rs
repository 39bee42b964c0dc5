//! The public's page.

use maud::{Markup, html};
use puente_charter::Charter;
use puente_model::Lang;

use super::page::{as_of, banner, frame, table};
use super::public::{Cell, Public, Row};
use super::words::{Text, fill};

/// The summary's page in one language.
pub fn public_page(summary: &Public, charter: &Charter, lang: Lang) -> String {
    let text = |text: Text| text.get(lang);
    let cell = |cell: &Cell| match cell {
        Cell::Shown(count) => html! { (count) },
        Cell::Withheld => html! { span class="withheld" { (text(Text::Withheld)) } },
    };
    let shown = |columns: &[&str], rows: &[Row]| -> Markup {
        let mut heads = vec![text(Text::Direction)];
        heads.extend(columns);
        heads.push(text(Text::Total));
        let row = |row: &Row| {
            let (from, to) = &row.direction;
            let mut cells = vec![html! { (from.to_uppercase()) " → " (to.to_uppercase()) }];
            cells.extend(row.cells.iter().chain([&row.total]).map(cell));
            cells
        };
        table(&heads, heads.len() - 1, &rows.iter().map(row).collect::<Vec<_>>())
    };
    let kinds: Vec<&str> = summary.kinds.iter().map(String::as_str).collect();
    let ends = [Text::Found, Text::NotFound, Text::Refused, Text::NoAnswer].map(text);
    let title = format!("{}: {}", text(Text::PublicTitle), summary.federation);
    let other = if lang == Lang::En { "public-es.html" } else { "public-en.html" };
    let body = html! {
        header {
            h1 { (title) }
            p { (as_of(lang, charter, summary.as_of)) }
            (banner(lang, summary.verdict))
            p { (fill(lang, Text::PublicRead, &[&summary.nodes.to_string()])) " " (text(Text::PublicNote)) }
        }
        section { h2 { (text(Text::PublicAsked)) } (shown(&kinds, &summary.asked)) }
        section { h2 { (text(Text::PublicEnded)) } (shown(&ends, &summary.ended)) }
    };
    frame(lang, &title, other, &body)
}
