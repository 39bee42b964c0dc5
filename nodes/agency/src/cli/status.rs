//! `puente node status`: one screen, the root cause first.

use puente_words::{Clocks, Lang, say, text, texts};
use serde_json::Value;

use super::clocks::spelled;
use super::output::table;
use super::words;

texts! {
    /// Labels of the screen.
    enum Text {
        Healthy: "healthy";
        Node: "node";
        Listening: "listening on";
        Running: "running for";
        Charter: "charter";
        Certified: "certified to";
        Policies: "policy set";
        Log: "log";
        Suspended: "suspended";
        Blocked: "blocked";
        Unreachable: "unreachable";
        NotConnected: "not connected";
        Connected: "connected";
        ConnectedTcp: "connected over TCP";
        None: "none";
    }
}

/// The node's own word, for people.
pub(super) fn screen(status: &Value, problems: &[Value], lang: Lang, clocks: &Clocks) -> String {
    let mut out = String::new();
    if problems.is_empty() {
        out.push_str(&format!("{}\n\n", Text::Healthy.get(lang)));
    } else {
        let (message, fix) = match lang {
            Lang::En => ("message", "fix"),
            Lang::Es => ("message_es", "fix_es"),
        };
        let words = |p: &Value| format!("{}\n→ {}", line(&p[message], lang), line(&p[fix], lang));
        let rows: Vec<_> = problems.iter().map(|p| (line(&p["code"], lang), words(p))).collect();
        let english = format!("{} problem(s); mend them in this order", problems.len());
        out.push_str(&format!("{}\n{}\n", say(lang, &english), table(&spelled(rows, clocks))));
    }
    out.push_str(&table(&spelled(rows(status, lang), clocks)));
    out.push_str(&auditors(status, lang));
    if let Some(api) = status["api"].as_object() {
        let keys = api["keys"].as_u64().unwrap_or(0);
        let english = format!("{keys} keys in force");
        out.push_str(&format!("\nAPI {}: {}\n", line(&api["listen"], lang), say(lang, &english)));
    }
    let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let english = format!("{} peer(s)", peers.len());
    out.push_str(&format!("\n{}\n", say(lang, &english)));
    for peer in peers {
        out.push_str(&format!("  {}  {}\n", line(&peer["peer"], lang), connection(peer, lang)));
    }
    out
}

fn rows(status: &Value, lang: Lang) -> Vec<(String, String)> {
    let show = |value: &Value| line(value, lang);
    let (charter, log) = (&status["charter"], &status["log"]);
    let days = charter["days_left"].as_u64().map_or_else(String::new, |days| {
        let english = format!("{days} days left");
        format!(", {}", say(lang, &english))
    });
    let (size, published) = (show(&log["size"]), show(&log["published"]));
    let english = format!("{size} entries, {published} published");
    let rows = [
        (Text::Node, show(&status["node"])),
        (Text::Listening, show(&status["listen"])),
        (Text::Running, words::duration(status["uptime_seconds"].as_u64().unwrap_or(0))),
        (
            Text::Charter,
            format!(
                "{} {}: {}{days}",
                show(&charter["federation"]),
                show(&charter["vector"]),
                show(&charter["status"])
            ),
        ),
        (Text::Certified, show(&status["certificate_ends"])),
        (Text::Policies, show(&status["policy"])),
        (Text::Log, say(lang, &english).into_owned()),
    ];
    let mut rows: Vec<_> = rows.into_iter().map(|(label, value)| (label.get(lang).to_owned(), value)).collect();
    if let Some(cosigned) = status["cosignatures"]["cosigned"].as_u64() {
        let pending = status["cosignatures"]["pending_seconds"].as_u64();
        let waits = pending.filter(|_| log["size"].as_u64() > Some(cosigned));
        let english = match waits {
            Some(seconds) => format!("{cosigned} entries; the next wait for {}", words::duration(seconds)),
            None => format!("{cosigned} entries"),
        };
        rows.push((text(lang, "cosigned").to_owned(), say(lang, &english).into_owned()));
    }
    if let Some(last) = status["retention"]["last"].as_str() {
        let erased = status["retention"]["erased_in_all"].as_u64().unwrap_or(0);
        let english = format!("{last}, {erased} records in all");
        rows.push((text(lang, "last erased").to_owned(), say(lang, &english).into_owned()));
    }
    rows
}

/// Who reads the log at the auditors' door.
fn auditors(status: &Value, lang: Lang) -> String {
    let Some(door) = status["audit"].as_object() else { return String::new() };
    let auditors = door["auditors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = format!("\n{} {}: {}\n", text(lang, "auditors at"), line(&door["listen"], lang), auditors.len());
    for auditor in auditors {
        let number = |key: &str| auditor[key].as_u64().unwrap_or(0);
        let (answers, bytes) = (number("answers"), number("bytes"));
        let english = format!("{answers} answers, {bytes} bytes");
        out.push_str(&format!("  {}  {}\n", line(&auditor["auditor"], lang), say(lang, &english)));
    }
    out
}

fn connection(peer: &Value, lang: Lang) -> String {
    let why = |label: Text, why: &str| format!("{}: {why}", label.get(lang));
    match (peer["suspended"].as_bool(), peer["connections"].as_u64(), peer["unreachable"].as_str()) {
        (Some(true), ..) => Text::Suspended.get(lang).to_owned(),
        _ if peer["blocked"].is_string() => why(Text::Blocked, &line(&peer["blocked"], lang)),
        (_, Some(0) | None, Some(class)) => why(Text::Unreachable, class),
        (_, Some(0) | None, None) => Text::NotConnected.get(lang).to_owned(),
        (_, Some(_), _) => {
            let over = if peer["over"] == "tcp" { Text::ConnectedTcp } else { Text::Connected }.get(lang);
            peer["rtt_millis"].as_f64().map_or(over.to_owned(), |rtt| format!("{over}, {rtt:.1} ms"))
        }
    }
}

fn line(value: &Value, lang: Lang) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => Text::None.get(lang).to_owned(),
        Value::Array(items) if items.is_empty() => Text::None.get(lang).to_owned(),
        Value::Array(items) => items.iter().map(|item| line(item, lang)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_screen_in_both_languages() {
        let status = json!({
            "node": "puente://mx/fge-bc/n1", "listen": "127.0.0.1:1", "uptime_seconds": 65,
            "charter": {"federation": "frontera", "vector": "1.mx1.us1", "status": "in-force", "days_left": 3},
            "log": {"size": 7, "published": 6},
            "peers": [
                {"peer": "puente://us/a/n1", "connections": 1, "over": "tcp", "rtt_millis": 1.25},
                {"peer": "puente://us/b/n1", "connections": 0},
                {"peer": "puente://us/c/n1", "blocked": "closed"},
            ],
        });
        let problems =
            [json!({"code": "disk", "message": "full", "fix": "mend", "message_es": "lleno", "fix_es": "x"})];
        let english = screen(&status, &problems, Lang::En, &Clocks::default());
        for words in
            ["1 problem(s)", "7 entries, 6 published", "3 days left", "connected over TCP, 1.2 ms", "3 peer(s)"]
        {
            assert!(english.contains(words), "{words} in:\n{english}");
        }
        let spanish = screen(&status, &problems, Lang::Es, &Clocks::default());
        assert!(spanish.contains("lleno") && spanish.contains("frontera"), "{spanish}");
        for words in ["problem(s)", "entries", "days left", "connected", "listening", "none", "peer(s)", "blocked"] {
            assert!(!spanish.contains(words), "{words} in:\n{spanish}");
        }
    }
}
