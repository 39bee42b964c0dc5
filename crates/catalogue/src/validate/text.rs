use puente_model::AgencyId;

use super::{Verdict, squeeze};
use crate::problem::Problem;

const TEXT_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 256;
const REFERENCE_BYTES_MAX: usize = 64;
const NARRATIVE_BYTES_MAX: usize = puente_model::limits::FIELD_BYTES_MAX;

/// Characters that can change how text is read or shown without being seen.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether `text` holds a control or invisible character; a line feed counts unless `lines`.
pub(crate) fn has_forbidden_character(text: &str, lines: bool) -> bool {
    // Most values are printable ASCII: decide those without decoding characters.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return false;
    }
    text.chars().any(|c| (c.is_control() && !(lines && c == '\n')) || is_invisible(c))
}

fn one_line(value: &str, max: usize, upper: bool) -> Verdict {
    if value.len() > max.saturating_mul(4) {
        return Verdict::reject(Problem::TooLong);
    }
    let mut line = String::with_capacity(value.len());
    for word in value.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if upper {
        line = line.to_uppercase();
    }
    if has_forbidden_character(&line, false) {
        return Verdict::reject(Problem::ControlCharacter);
    }
    match line.len() {
        0 => Verdict::reject(Problem::Missing),
        n if n > max => Verdict::reject(Problem::TooLong),
        _ => Verdict::valid(line),
    }
}

pub(super) fn text(value: &str) -> Verdict {
    one_line(value, TEXT_BYTES_MAX, false)
}

pub(super) fn name(value: &str) -> Verdict {
    one_line(value, NAME_BYTES_MAX, true)
}

pub(super) fn reference(value: &str) -> Verdict {
    one_line(value, REFERENCE_BYTES_MAX, true)
}

pub(super) fn narrative(value: &str) -> Verdict {
    if value.len() > NARRATIVE_BYTES_MAX {
        return Verdict::reject(Problem::TooLong);
    }
    let text = value.replace("\r\n", "\n").replace('\t', " ");
    let text = text.trim();
    if has_forbidden_character(text, true) {
        return Verdict::reject(Problem::ControlCharacter);
    }
    if text.is_empty() { Verdict::reject(Problem::Missing) } else { Verdict::valid(text.to_owned()) }
}

pub(super) fn agency(value: &str) -> Verdict {
    let value = value.trim();
    if value.contains('/') {
        let lower = value.to_ascii_lowercase();
        return match lower.parse::<AgencyId>() {
            Ok(id) => Verdict::valid(id.as_str().to_owned()),
            Err(_) => Verdict::reject(Problem::BadForm),
        };
    }
    ori(value)
}

/// Two letters and seven letters or digits, one digit at least.
pub(super) fn ori(value: &str) -> Verdict {
    let ori = squeeze(value, &['-']);
    let form = ori.len() == 9
        && ori.bytes().take(2).all(|b| b.is_ascii_uppercase())
        && ori.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && ori.bytes().any(|b| b.is_ascii_digit());
    if form { Verdict::valid(ori) } else { Verdict::reject(Problem::BadForm) }
}

pub(super) fn sha256(value: &str) -> Verdict {
    let hex = value.trim().to_ascii_lowercase();
    if hex.len() != 64 {
        return Verdict::reject(Problem::BadLength);
    }
    if hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        Verdict::valid(hex)
    } else {
        Verdict::reject(Problem::BadCharacter)
    }
}

/// Letters and digits only, upper case, Latin accents removed, Cyrillic letters
/// that look Latin turned Latin: what two spellings of one thing share.
pub(crate) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_uppercase) {
        match c {
            'A'..='Z' | '0'..='9' => out.push(c),
            'À'..='Å' | 'Ā' | 'Ă' | 'Ą' | 'А' => out.push('A'),
            'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' | 'С' => out.push('C'),
            'È'..='Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' | 'Е' => out.push('E'),
            'Ì'..='Ï' | 'Ī' | 'İ' => out.push('I'),
            'Ñ' | 'Ń' | 'Ň' => out.push('N'),
            'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ő' | 'О' => out.push('O'),
            'Ù'..='Ü' | 'Ū' | 'Ů' | 'Ű' => out.push('U'),
            'Ý' | 'Ÿ' => out.push('Y'),
            'Š' | 'Ś' => out.push('S'),
            'Ž' | 'Ź' | 'Ż' => out.push('Z'),
            'В' => out.push('B'),
            'К' => out.push('K'),
            'М' => out.push('M'),
            'Н' => out.push('H'),
            'Р' => out.push('P'),
            'Т' => out.push('T'),
            'Х' => out.push('X'),
            c if c.is_alphanumeric() => out.push(c),
            _ => {}
        }
    }
    out
}
