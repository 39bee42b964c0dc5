//! Finds rules that are too long or too deep for Cedar's recursive parser, validator and evaluator.

/// One rule, in bytes without comments and blanks.
const RULE_BYTES_MAX: usize = 16 * 1024;
/// Brackets of every kind that may stand open at once.
const NESTING_MAX: usize = 32;
/// Operators, in characters, in one rule: they nest in the syntax tree even where no bracket shows it.
const OPERATORS_MAX: usize = 512;
/// What one `if` counts for among the operators.
const IF_WEIGHT: usize = 8;

/// The first place where a limit is passed, and which limit.
pub(crate) fn scan(text: &str) -> Result<(), (usize, String)> {
    let (mut depth, mut bytes, mut operators) = (0_usize, 0_usize, 0_usize);
    let mut chars = text.char_indices().peekable();
    let mut word = String::new();
    while let Some((at, c)) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            if word.len() < 3 {
                word.push(c);
            }
            bytes += c.len_utf8();
        } else {
            if word == "if" {
                operators += IF_WEIGHT;
            }
            word.clear();
            match c {
                '"' => {
                    while let Some((_, c)) = chars.next() {
                        bytes += c.len_utf8();
                        match c {
                            '\\' => _ = chars.next(),
                            '"' => break,
                            _ => {}
                        }
                    }
                }
                '/' if chars.peek().is_some_and(|(_, c)| *c == '/') => {
                    chars.by_ref().find(|(_, c)| *c == '\n');
                }
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                ';' => (bytes, operators) = (0, 0),
                ',' | ':' | '@' => bytes += 1,
                c if c.is_ascii_punctuation() => operators += 1,
                _ => {}
            }
            if c == '[' {
                operators += 1;
            }
        }
        if depth > NESTING_MAX {
            return Err((at, format!("brackets nest deeper than {NESTING_MAX}")));
        }
        if operators > OPERATORS_MAX {
            return Err((at, format!("the rule has more than {OPERATORS_MAX} characters of operators")));
        }
        if bytes + operators > RULE_BYTES_MAX {
            return Err((at, format!("the rule is longer than {RULE_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}
