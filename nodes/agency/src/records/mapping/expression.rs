//! SQL expressions of a mapping: what the operator may write between two parentheses, and nothing that leaves them.
//!
//! The file is the operator's own, and the database user has SELECT at most; this keeps a slip of the pen, or a copied line, from
//! becoming another statement than the one that was meant.

/// The longest expression, in bytes.
pub(super) const EXPRESSION_BYTES_MAX: usize = 1_000;

/// Words that would read another table.
const REFUSED_WORDS: [&str; 6] = ["select", "table", "values", "with", "union", "returning"];

/// Says what is wrong with an expression.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() || text.len() > EXPRESSION_BYTES_MAX {
        return Err("an expression has 1 to 1000 bytes");
    }
    let mut depth = 0_u32;
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            word.extend(c.to_lowercase());
            continue;
        }
        end_word(&mut word)?;
        match c {
            // A doubled quote is two texts side by side: the same to us.
            '\'' | '"' => chars.by_ref().find(|inner| *inner == c).map(drop).ok_or("a quote does not end")?,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a parenthesis closes what was not opened")?,
            '-' if chars.peek() == Some(&'-') => return Err("comments have no place in it"),
            '/' if chars.peek() == Some(&'*') => return Err("comments have no place in it"),
            ':' if chars.peek() == Some(&':') => drop(chars.next()),
            ';' => return Err("it is more than one expression"),
            '\\' | '$' | '?' | '@' | ':' | '`' | '[' | ']' | '{' | '}' | '#' => {
                return Err("backslashes, parameters, brackets and dollar quotes have no place in it");
            }
            c if c.is_control() && c != '\n' && c != '\t' => return Err("it holds control characters"),
            _ => {}
        }
    }
    end_word(&mut word)?;
    if depth == 0 { Ok(()) } else { Err("a parenthesis does not close") }
}

fn end_word(word: &mut String) -> Result<(), &'static str> {
    let refused = REFUSED_WORDS.contains(&word.as_str());
    word.clear();
    if refused { Err("it reads no other table: no SELECT, TABLE, VALUES, WITH, UNION, RETURNING") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_index_is_accepted() {
        for good in [
            "upper(num_serie)",
            "regexp_replace(upper(placas), '[^A-Z0-9]', '', 'g')",
            "translate(placas, 'OQIBSZ', '001852') || chr(31) || estado",
            "(folio)::text",
            "\"Número; raro\" || ''''",
            "coalesce(a, 'it''s')",
            "a - b",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(&"a".repeat(EXPRESSION_BYTES_MAX)), Ok(()));
    }

    #[test]
    fn nothing_leaves_its_parentheses() {
        for bad in [
            "",
            "  ",
            "a) OR (1=1",
            "a) OR 1=1 --",
            "a; DROP TABLE robados",
            "a /* ",
            "(SELECT password FROM secrets LIMIT 1)",
            "a = (TaBlE secrets)",
            "a) UNION (select 1",
            "E'\\' OR 1=1 --'",
            "$$x$$",
            "$1",
            "?1",
            ":name",
            "@name",
            "a'",
            "\"a",
            "(a",
            "a\0",
            "a # b",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&"a".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
    }
}
