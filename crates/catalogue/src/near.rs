//! Keys that meet exactly when two texts are at most one edit apart.
//!
//! A record publishes its text, the text with each position opened, and the
//! text without each character. A question looks up its own text without each
//! character among the whole texts (it is one character longer), itself among
//! the shortened ones (it is one shorter), and its opened forms (as long).

/// Tags keep the three kinds apart: a shortened text is no whole one.
const WHOLE: char = '=';
const OPENED: char = '~';
const SHORTENED: char = '-';
/// The opened position.
const ANY: char = '?';

fn tagged(tag: char, chars: impl Iterator<Item = char>) -> String {
    std::iter::once(tag).chain(chars).collect()
}

fn opened(chars: &[char]) -> impl Iterator<Item = String> + '_ {
    (0..chars.len())
        .map(|gap| tagged(OPENED, chars.iter().enumerate().map(move |(i, c)| if i == gap { ANY } else { *c })))
}

fn without_one(tag: char, chars: &[char]) -> impl Iterator<Item = String> + '_ {
    (0..chars.len())
        .map(move |gap| tagged(tag, chars.iter().enumerate().filter(move |(i, _)| *i != gap).map(|(_, c)| *c)))
}

/// The keys under which a record's text is published.
pub(crate) fn published(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut keys = vec![tagged(WHOLE, chars.iter().copied())];
    keys.extend(opened(&chars));
    keys.extend(without_one(SHORTENED, &chars));
    keys
}

/// The keys that a question's text looks up.
pub(crate) fn sought(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut keys: Vec<String> = opened(&chars).collect();
    keys.extend(without_one(WHOLE, &chars));
    keys.push(tagged(SHORTENED, chars.iter().copied()));
    keys
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::schema::edit_distance;

    fn meet(record: &str, question: &str) -> bool {
        let published: BTreeSet<String> = published(record).into_iter().collect();
        sought(question).iter().any(|key| published.contains(key))
    }

    #[test]
    fn one_edit_meets_and_two_do_not() {
        assert!(meet("ABC123", "ABC123"));
        assert!(meet("ABC123", "ABC124"));
        assert!(meet("ABC123", "ABC1234"));
        assert!(meet("ABC123", "AB123"));
        assert!(meet("AAB", "AB"));
        assert!(!meet("AB", "BA"), "a transposition is two edits");
        assert!(!meet("ABC123", "ABD124"));
        assert!(!meet("ABC", "A"));
        assert!(!meet("AB12", "B123"), "one out and one in are two edits");
    }

    proptest! {
        // A small alphabet, so that near texts and repeated characters are frequent.
        #[test]
        fn keys_meet_exactly_at_edit_distance_one(a in "[AB1]{1,8}", b in "[AB1]{1,8}") {
            prop_assert_eq!(meet(&a, &b), edit_distance(&a, &b) <= 1, "{} {}", a, b);
        }

        #[test]
        fn every_single_edit_meets(text in "[A-Z0-9]{1,20}", at in 0_usize..20, c in "[A-Z0-9]") {
            let at = at % text.len();
            let c = c.chars().next().unwrap();
            let mut replaced: Vec<char> = text.chars().collect();
            replaced[at] = c;
            let mut longer: Vec<char> = text.chars().collect();
            longer.insert(at, c);
            let mut shorter: Vec<char> = text.chars().collect();
            shorter.remove(at);
            for edited in [replaced, longer, shorter] {
                let edited: String = edited.into_iter().collect();
                prop_assert!(edit_distance(&text, &edited) <= 1);
                prop_assert!(meet(&text, &edited) && meet(&edited, &text), "{} {}", text, edited);
            }
        }
    }
}
