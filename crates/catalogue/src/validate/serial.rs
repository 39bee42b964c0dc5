use super::{Verdict, text::fold};
use crate::problem::Problem;

const SERIAL_CHARS_MAX: usize = 24;

/// Words that say there is nothing to read, in the fold of [`fold`].
const OBLITERATED: &[&str] = &[
    "OBLITERATED",
    "OBLIT",
    "REMOVED",
    "DEFACED",
    "ILLEGIBLE",
    "BORRADA",
    "BORRADO",
    "LIMADA",
    "LIMADO",
    "ILEGIBLE",
    "DEVASTADA",
    "DEVASTADO",
];
const NONE: &[&str] = &["NONE", "NONUMBER", "NOSERIAL", "SN", "SINNUMERO", "SINMATRICULA", "NINGUNO", "NINGUNA"];

/// The serial number of a firearm: upper case without spaces, '-', '/', '.';
/// zeros stay. One '?' stands for one unreadable character.
pub(super) fn firearm_serial(text: &str) -> Verdict {
    let word = fold(text);
    if OBLITERATED.contains(&word.as_str()) {
        return Verdict::State { state: "obliterated", normalised: String::new() };
    }
    if NONE.contains(&word.as_str()) {
        return Verdict::State { state: "none", normalised: String::new() };
    }
    let mut serial = String::with_capacity(text.len());
    let (mut unreadable, mut count) = (0, 0);
    for c in text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '/' | '.')) {
        match c {
            '?' => {
                unreadable += 1;
                serial.push('?');
            }
            'A'..='Z' | '0'..='9' | 'А'..='Я' => serial.push(c),
            'a'..='z' => serial.push(c.to_ascii_uppercase()),
            // Arms of the former Eastern bloc are numbered in Cyrillic.
            'а'..='я' => serial.extend(c.to_uppercase()),
            _ => return Verdict::reject(Problem::BadCharacter),
        }
        count += 1;
    }
    match (count, unreadable) {
        (0, _) => Verdict::reject(Problem::Missing),
        (n, _) if n > SERIAL_CHARS_MAX => Verdict::reject(Problem::BadLength),
        (n, u) if u == n => Verdict::State { state: "obliterated", normalised: String::new() },
        (_, 0) => Verdict::valid(serial),
        _ => Verdict::State { state: "partial", normalised: serial },
    }
}
