//! The auditor's page: one file, no script, nothing from outside.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use puente_charter::Charter;
use puente_model::{Lang, Millis};
use puente_words::{Clocks, capital_zone};

use super::charts::{self, LINES_MAX, Line};
use super::words::{Text, fill};
use super::{FlowShown, LogShown, Report, Unchecked, WAIT_BINS, Wait};
use crate::class::Severity;
use crate::figures::Growth;
use crate::finding::{Conclusion, Finding};

const STYLE: &str = include_str!("style.css");
/// Nodes with a row of their own in the matrix; the others are one.
const MATRIX_MAX: usize = 20;
/// Rows of one table that are shown; report.json holds all.
const ROWS_MAX: usize = 500;
/// Digits of a hash that are shown.
const HASH_SHOWN: usize = 16;
/// Steps of time in the table of growth.
const STEPS_SHOWN: usize = 60;

/// A page around `body`; `other` is the file with the same in the other language.
pub(super) fn frame(lang: Lang, title: &str, other: &str, body: &Markup) -> String {
    let (code, elsewhere) = match lang {
        Lang::En => ("en", "es"),
        Lang::Es => ("es", "en"),
    };
    let page = html! {
        (DOCTYPE)
        html lang=(code) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                nav { a href=(other) lang=(elsewhere) hreflang=(elsewhere) { (Text::OtherLanguage.get(lang)) } }
                main { (body) }
            }
        }
    };
    page.into_string()
}

/// The verdict's banner: a sign, a word and a sentence.
pub(super) fn banner(lang: Lang, verdict: Conclusion) -> Markup {
    let (class, sign, text) = match verdict {
        Conclusion::Sound => ("sound", "✓", Text::Sound),
        Conclusion::Unsound => ("unsound", "✗", Text::Unsound),
        Conclusion::CouldNotTell => ("missing", "?", Text::CouldNotTell),
    };
    html! { p class={ "verdict " (class) } { span aria-hidden="true" { (sign) } " " (text.get(lang)) } }
}

/// The instant, in the clocks of every nation of the charter.
pub(super) fn as_of(lang: Lang, charter: &Charter, at: u64) -> String {
    let nations: Vec<String> = charter.jurisdictions().map(ToString::to_string).collect();
    let clocks = Clocks::of(nations.iter().filter_map(|nation| capital_zone(nation)), jiff::tz::db());
    fill(lang, Text::AsOf, &[&clocks.instant(Millis(at))])
}

/// The page in one language.
pub fn page(report: &Report, charter: &Charter, lang: Lang) -> String {
    let page = Page { report, lang };
    let other = if lang == Lang::En { "es.html" } else { "en.html" };
    let title = format!("{}: {}", page.text(Text::Title), report.federation);
    let body = html! {
        header {
            h1 { (title) }
            p { (as_of(lang, charter, report.as_of)) }
            (banner(lang, report.verdict))
            p { (page.read()) }
        }
        (page.findings())
        (page.unchecked())
        (page.logs())
        (page.exchanges())
        (page.refusals())
        (page.waits())
        (page.overdue())
        (page.heads())
        (page.charter())
        footer { p { (page.fill(Text::How, &[env!("CARGO_PKG_VERSION")])) } }
    };
    frame(lang, &title, other, &body)
}

struct Page<'r> {
    report: &'r Report,
    lang: Lang,
}

/// A table with its heads; `numbers` is how many of the last columns are numbers.
pub(super) fn table(heads: &[&str], numbers: usize, rows: &[Vec<Markup>]) -> Markup {
    let first = heads.len() - numbers;
    let class = |at: usize| if at < first { "" } else { "n" };
    html! {
        div class="wide" tabindex="0" {
            table {
                thead { tr { @for (at, head) in heads.iter().enumerate() { th scope="col" class=(class(at)) { (head) } } } }
                tbody {
                    @for row in rows.iter().take(ROWS_MAX) {
                        tr { @for (at, cell) in row.iter().enumerate() { td class=(class(at)) { (cell) } } }
                    }
                }
            }
        }
        @if rows.len() > ROWS_MAX { p { "… " (rows.len() - ROWS_MAX) " (report.json)" } }
    }
}

/// The beginning of a hash; report.json holds all of it.
fn hash(hash: &str) -> Markup {
    html! { @if let Some(begin) = hash.get(..HASH_SHOWN) { code title=(hash) { (begin) "…" } } @else { (hash) } }
}

/// A node's URI or a log's name, without what all of them begin with.
fn short(node: &str) -> &str {
    node.strip_prefix("puente://").unwrap_or(node)
}

impl Page<'_> {
    fn text(&self, text: Text) -> &'static str {
        text.get(self.lang)
    }

    fn fill(&self, text: Text, values: &[&str]) -> String {
        fill(self.lang, text, values)
    }

    fn table(&self, heads: &[Text], numbers: usize, rows: &[Vec<Markup>]) -> Markup {
        let heads: Vec<&str> = heads.iter().map(|head| self.text(*head)).collect();
        table(&heads, numbers, rows)
    }

    fn figure(&self, title: &str, svg: Option<String>, beside: &Markup) -> Markup {
        html! {
            figure {
                figcaption { (title) }
                @if let Some(svg) = svg { div class="chart" role="img" aria-label=(title) { (PreEscaped(svg)) } }
                (beside)
            }
        }
    }

    fn read(&self) -> String {
        let logs: Vec<&LogShown> = self.report.node_logs().collect();
        let nodes: std::collections::BTreeSet<&str> = logs.iter().map(|log| &*log.report.node).collect();
        let entries: u64 = logs.iter().map(|log| log.report.entries).sum();
        let numbers = [logs.len() as u64, nodes.len() as u64, entries, self.report.pairs].map(|n| n.to_string());
        self.fill(Text::Read, &numbers.each_ref().map(|n| &**n))
    }

    fn findings(&self) -> Markup {
        let row = |finding: &Finding| {
            let severity = match finding.severity {
                Severity::Unsound => Text::Fault,
                Severity::CouldNotTell => Text::Missing,
                Severity::Notice => Text::Notice,
            };
            vec![
                html! { (self.text(severity)) },
                html! { (finding.sentence(self.lang)) " " small { (finding.detail) } br; code { (finding.class) " " (finding.id) } (self.handling(&finding.id)) },
                html! { (short(finding.attributed_to.as_str())) },
                html! { @if let Some(file) = &finding.evidence { a href={ "evidence/" (file) } { (file) } } @else { "–" } },
            ]
        };
        let rows: Vec<Vec<Markup>> = self.report.findings.iter().map(row).collect();
        let evidence = self.report.findings.iter().any(|finding| finding.evidence.is_some());
        html! {
            section id="findings" {
                h2 { (self.text(Text::Findings)) }
                @if rows.is_empty() { p { (self.text(Text::NoFindings)) } }
                @else { (self.table(&[Text::Severity, Text::Finding, Text::Who, Text::Evidence], 0, &rows)) }
                @if self.report.findings_not_listed > 0 {
                    p { (self.fill(Text::NotListed, &[&self.report.findings_not_listed.to_string()])) }
                }
                @if evidence { p { (self.text(Text::CheckEvidence)) } }
            }
        }
    }

    fn handling(&self, id: &str) -> Markup {
        let Some(of) = self.report.handling.get(id) else { return html! {} };
        html! {
            @if let Some(to) = &of.assigned_to { br; (self.fill(Text::AssignedTo, &[to])) }
            @for reply in &of.replies { blockquote { (reply.text) footer { (reply.from) ", " (reply.at) } } }
        }
    }

    fn unchecked(&self) -> Markup {
        let words = |of: &Unchecked| match of {
            Unchecked::LogNotGiven { log } => self.fill(Text::LogNotGiven, &[log]),
            Unchecked::OneSided { log, partners } => {
                let partners: Vec<&str> = partners.iter().map(|node| short(node)).collect();
                self.fill(Text::OneSided, &[log, &partners.join(", ")])
            }
            Unchecked::HeadersUnopened { log, count } => self.fill(Text::HeadersUnopened, &[log, &count.to_string()]),
            Unchecked::NothingRemembered { log } => self.fill(Text::NothingRemembered, &[log]),
            Unchecked::NoWitnesses => self.text(Text::NoWitnesses).to_owned(),
            Unchecked::OutsideTheLogs => self.text(Text::OutsideTheLogs).to_owned(),
            Unchecked::Contents => self.text(Text::Contents).to_owned(),
        };
        html! {
            section {
                h2 { (self.text(Text::NotChecked)) }
                ul { @for one in &self.report.unchecked { li { (words(one)) } } }
            }
        }
    }

    fn logs(&self) -> Markup {
        let row = |log: &LogShown| {
            let of = &log.report;
            let name = if of.origin.is_empty() { &of.dir } else { &of.origin };
            vec![
                html! {
                    (name)
                    @if let Some(at) = of.closed_at { " (" (self.fill(Text::ClosedAt, &[&at.to_string()])) ")" }
                },
                html! { (of.verdict.in_words(self.lang)) },
                html! { (hash(&of.root)) },
                html! { (of.entries) },
                html! { @if let Some(size) = of.cosigned { (size) } @else { "–" } },
            ]
        };
        let rows = |nodes: bool| -> Vec<Vec<Markup>> {
            self.report.logs.iter().filter(|log| log.report.node.is_empty() != nodes).map(row).collect()
        };
        let (logs, ledgers) = (rows(true), rows(false));
        let heads = [Text::Log, Text::Verdict, Text::Root, Text::Entries, Text::Cosigned];
        html! {
            section {
                h2 { (self.text(Text::Logs)) }
                (self.table(&heads, 2, &logs))
                @if !ledgers.is_empty() {
                    details {
                        summary { (self.fill(Text::Ledgers, &[&ledgers.len().to_string()])) }
                        (self.table(&heads, 2, &ledgers))
                    }
                }
                (self.growth())
            }
        }
    }

    fn growth(&self) -> Markup {
        let logs: Vec<&LogShown> = self.report.node_logs().filter(|log| !log.steps.entries.is_empty()).collect();
        let step = logs.iter().map(|log| log.steps.step).max().unwrap_or(1);
        let mut all = Growth { step, ..Growth::default() };
        for (minute, count) in logs.iter().flat_map(|log| &log.steps.entries) {
            *all.entries.entry(minute - minute % step).or_default() += count;
        }
        let mut lines: Vec<Line> = logs
            .iter()
            .map(|log| Line { name: log.report.origin.clone(), points: charts::cumulated(&log.steps) })
            .collect();
        if lines.len() > LINES_MAX {
            lines = vec![Line { name: self.text(Text::GrowthAll).to_owned(), points: charts::cumulated(&all) }];
        }
        for longer in [60, 1_440] {
            if all.entries.len() > STEPS_SHOWN {
                all.lengthen(longer);
            }
        }
        let row = |(minute, count): (&u64, &u64)| {
            vec![html! { (puente_model::Minute(*minute).to_string()) }, html! { (count) }]
        };
        let rows: Vec<Vec<Markup>> = all.entries.iter().map(row).collect();
        let beside = html! {
            details { summary { (self.text(Text::GrowthTable)) } (self.table(&[Text::Time, Text::Entries], 1, &rows)) }
        };
        self.figure(self.text(Text::Growth), charts::over_time(&lines, self.text(Text::Entries)), &beside)
    }

    fn exchanges(&self) -> Markup {
        let sum = |counts: &std::collections::BTreeMap<String, u64>| -> String {
            let all: u64 = counts.values().sum();
            match counts.len() {
                0 => "0".to_owned(),
                _ => {
                    let parts: Vec<String> = counts.iter().map(|(code, count)| format!("{code} {count}")).collect();
                    format!("{all} ({})", parts.join(", "))
                }
            }
        };
        let row = |flow: &FlowShown| {
            vec![
                html! { (short(&flow.asker)) },
                html! { (short(&flow.holder)) },
                html! { (flow.kind) },
                html! { (flow.purpose) },
                html! { (sum(&flow.answers)) },
                html! { (sum(&flow.refusals)) },
                html! { (flow.asked) },
                html! { (flow.released) },
                html! { (flow.voided) },
                html! { (flow.open) },
            ]
        };
        let rows: Vec<Vec<Markup>> = self.report.flows.iter().map(row).collect();
        let heads = [
            Text::Asker,
            Text::Holder,
            Text::Kind,
            Text::Purpose,
            Text::Answered,
            Text::Refused,
            Text::Asked,
            Text::Released,
            Text::Voided,
            Text::Open,
        ];
        let trained = &self.report.training;
        html! {
            section {
                h2 { (self.text(Text::Exchanges)) }
                @if rows.is_empty() { p { (self.text(Text::NoExchanges)) } }
                @else {
                    (self.matrix())
                    h3 { (self.text(Text::ByPurpose)) }
                    (self.table(&heads, 4, &rows))
                }
                @if trained.queries + trained.answers + trained.refusals > 0 {
                    p { (self.fill(Text::Training, &[&trained.queries.to_string(), &(trained.answers + trained.refusals).to_string()])) }
                }
            }
        }
    }

    /// Questions from each node to each, the busiest ones by name.
    fn matrix(&self) -> Markup {
        let mut volume = std::collections::BTreeMap::<&str, u64>::new();
        for flow in &self.report.flows {
            *volume.entry(&flow.asker).or_default() += flow.asked;
            *volume.entry(&flow.holder).or_default() += flow.asked;
        }
        let mut busiest: Vec<&str> = volume.keys().copied().collect();
        busiest.sort_by_key(|node| std::cmp::Reverse(volume.get(node)));
        let others = busiest.len() > MATRIX_MAX;
        busiest.truncate(MATRIX_MAX);
        busiest.sort_unstable();
        let place = |node: &str| busiest.binary_search(&node).unwrap_or(busiest.len());
        let size = busiest.len() + usize::from(others);
        let mut cells = vec![vec![0_u64; size]; size];
        for flow in &self.report.flows {
            if let Some(cell) = cells.get_mut(place(&flow.asker)).and_then(|row| row.get_mut(place(&flow.holder))) {
                *cell += flow.asked;
            }
        }
        let most = cells.iter().flatten().copied().max().unwrap_or_default().max(1);
        // Five steps of shade; the number is in the cell.
        let shade = |count: u64| if count == 0 { 0 } else { 1 + (count * 4 - 1) / most };
        let name = |at: usize| busiest.get(at).map_or(self.text(Text::Others), |node| short(node));
        let title = self.text(Text::Matrix);
        html! {
            figure {
                figcaption { (title) }
                div class="wide" tabindex="0" {
                    table class="matrix" {
                        thead {
                            tr { td {} @for at in 0..size { th scope="col" class="n" { (name(at)) } } th scope="col" class="n" { (self.text(Text::Total)) } }
                        }
                        tbody {
                            @for (at, row) in cells.iter().enumerate() {
                                tr {
                                    th scope="row" { (name(at)) }
                                    @for count in row { td class={ "n s" (shade(*count)) } { @if *count == 0 { "·" } @else { (count) } } }
                                    td class="n" { (row.iter().sum::<u64>()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn refusals(&self) -> Markup {
        let mut bars: Vec<(String, u64)> = self.report.refusals.iter().map(|(code, n)| (code.clone(), *n)).collect();
        bars.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let rows: Vec<Vec<Markup>> =
            bars.iter().map(|(code, count)| vec![html! { (code) }, html! { (count) }]).collect();
        let beside = self.table(&[Text::Reason, Text::Count], 1, &rows);
        html! {
            section {
                h2 { (self.text(Text::Refusals)) }
                @if bars.is_empty() { p { (self.text(Text::NoRefusals)) } }
                @else { (self.figure(self.text(Text::Refusals), charts::lying(&bars), &beside)) }
            }
        }
    }

    fn waits(&self) -> Markup {
        let mut bins = [0; WAIT_BINS.len() + 1];
        for wait in &self.report.waits {
            bins.iter_mut().zip(wait.bins).for_each(|(all, more)| *all += more);
        }
        let span = |minutes: u64| match minutes {
            0..60 => format!("{minutes} min"),
            60..1_440 => format!("{} h", minutes / 60),
            _ => format!("{} d", minutes / 1_440),
        };
        let name = |at: usize| match WAIT_BINS.get(at) {
            Some(0) => "0".to_owned(),
            Some(most) => format!("≤ {}", span(*most)),
            None => format!("> {}", span(WAIT_BINS.last().copied().unwrap_or_default())),
        };
        let bars: Vec<(String, u64)> = bins.into_iter().enumerate().map(|(at, count)| (name(at), count)).collect();
        let row = |wait: &Wait| {
            let mut row = vec![html! { (short(&wait.asker)) }, html! { (short(&wait.holder)) }];
            let numbers = [wait.ended, wait.open, wait.median, wait.p90, wait.longest];
            row.extend(numbers.map(|number| html! { (number) }));
            row
        };
        let rows: Vec<Vec<Markup>> = self.report.waits.iter().map(row).collect();
        let heads = [Text::Asker, Text::Holder, Text::Count, Text::Open, Text::Median, Text::P90, Text::Longest];
        html! {
            section {
                h2 { (self.text(Text::Waits)) }
                @if rows.is_empty() { p { (self.text(Text::NoExchanges)) } }
                @else {
                    p { (self.text(Text::WaitsNote)) }
                    (self.figure(
                        self.text(Text::Waits),
                        charts::standing(&bars, self.text(Text::Count)),
                        &self.table(&heads, 5, &rows),
                    ))
                }
            }
        }
    }

    fn overdue(&self) -> Markup {
        let row = |late: &super::OverdueShown| {
            vec![
                html! { (late.due) },
                html! { (short(&late.asker)) },
                html! { (short(&late.holder)) },
                html! { (late.log) },
                html! { (late.index) },
            ]
        };
        let rows: Vec<Vec<Markup>> = self.report.overdue.iter().map(row).collect();
        html! {
            section {
                h2 { (self.text(Text::Overdue)) }
                @if rows.is_empty() { p { (self.text(Text::NoOverdue)) } }
                @else { (self.table(&[Text::Due, Text::Asker, Text::Holder, Text::Log, Text::Place], 1, &rows)) }
                @if self.report.overdue_all > rows.len() as u64 {
                    p { (self.fill(Text::MoreOverdue, &[&self.report.overdue_all.to_string()])) }
                }
            }
        }
    }

    fn heads(&self) -> Markup {
        let seen: Vec<&LogShown> = self.report.node_logs().filter(|log| !log.seen.is_empty()).collect();
        let lines: Vec<Line> = seen
            .iter()
            .map(|log| Line {
                name: log.report.origin.clone(),
                points: log.seen.iter().map(|(minute, size)| (minute.0, *size)).collect(),
            })
            .collect();
        let rows: Vec<Vec<Markup>> = seen
            .iter()
            .flat_map(|log| log.heads.iter().map(|(minute, size)| (&log.report.origin, minute, size)))
            .map(|(log, minute, size)| vec![html! { (log) }, html! { (minute) }, html! { (size) }])
            .collect();
        let beside = html! {
            details {
                summary { (self.text(Text::HeadsTable)) }
                (self.table(&[Text::Log, Text::Time, Text::Entries], 1, &rows))
            }
        };
        let by: Vec<Vec<Markup>> = self
            .report
            .cosigners()
            .filter(|(log, _)| !log.report.node.is_empty())
            .map(|(log, by)| {
                let at = by.at.map(|at| at.to_string().replace(".000Z", "Z")).unwrap_or_default();
                vec![html! { (log.report.origin) }, html! { (by.witness) }, html! { (at) }, html! { (by.entries) }]
            })
            .collect();
        let chart = if lines.len() > LINES_MAX { None } else { charts::over_time(&lines, self.text(Text::Entries)) };
        html! {
            section {
                h2 { (self.text(Text::Heads)) }
                @if rows.is_empty() { p { (self.text(Text::NoHeads)) } }
                @else {
                    p { (self.text(Text::HeadsNote)) }
                    (self.figure(self.text(Text::HeadsTable), chart, &beside))
                }
                @if by.is_empty() { p { (self.text(Text::NoCosigners)) } }
                @else { (self.table(&[Text::Log, Text::Witness, Text::CosignedAt, Text::Entries], 1, &by)) }
            }
        }
    }

    fn charter(&self) -> Markup {
        let row = |part: &super::PartShown| {
            let valid = part.valid_from.as_ref().zip(part.expires.as_ref()).map(|(from, to)| format!("{from} – {to}"));
            vec![
                html! { (part.part) },
                html! { (part.number) },
                html! { (valid.unwrap_or_else(|| "–".to_owned())) },
                html! { (part.signed_by.join(", ")) },
                html! { (hash(&part.hash)) },
            ]
        };
        let rows: Vec<Vec<Markup>> = self.report.parts.iter().map(row).collect();
        let row = |adopted: &super::Adopted| {
            vec![
                html! { (adopted.log) },
                html! { (adopted.vector) },
                html! { (adopted.minute) },
                html! { (adopted.index) },
            ]
        };
        let adopted: Vec<Vec<Markup>> = self.report.adopted.iter().map(row).collect();
        html! {
            section {
                h2 { (self.text(Text::Charter)) " " (self.report.charter) }
                p { (self.fill(Text::CharterNote, &[&self.report.charter_pin])) }
                (self.table(&[Text::Part, Text::Number, Text::Valid, Text::SignedBy, Text::Hash], 0, &rows))
                details {
                    summary { (self.text(Text::Adopted)) }
                    (self.table(&[Text::Log, Text::Vector, Text::Time, Text::Place], 1, &adopted))
                }
            }
        }
    }
}
