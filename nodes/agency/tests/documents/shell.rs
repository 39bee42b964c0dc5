//! As much of a shell as documents use: which simple commands a script types.

/// Words that stand before a command and are none.
const KEYWORDS: &[&str] = &["do", "then", "else", "elif", "if", "while", "until", "{", "!", "exec", "time"];
/// Words that begin or end something else than a command.
const STRUCTURE: &[&str] = &["for", "done", "fi", "}", "case", "esac"];

/// What a script types.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Simple commands, word by word, without redirections. What a shell would put in stays as it is written.
    pub(crate) commands: Vec<Vec<String>>,
    /// Functions that it defines.
    pub(crate) functions: Vec<String>,
}

#[derive(Default)]
struct Lexer {
    script: Script,
    words: Vec<String>,
    word: Option<String>,
    /// The next word names a file, or the end of a here-document.
    redirected: bool,
    ends: Vec<String>,
}

/// Reads a script.
pub(crate) fn read(text: &str) -> Script {
    let mut lexer = Lexer::default();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match c {
            '\\' if next == Some('\n') => at += 1,
            '\\' => {
                lexer.push(next.unwrap_or(' '));
                at += 1;
            }
            '\'' | '"' => at = lexer.quoted(&chars, at),
            '$' if next == Some('(') => at = lexer.substituted(&chars, at),
            '#' if lexer.word.is_none() => {
                while chars.get(at + 1).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
            }
            '(' if next == Some(')') => {
                lexer.script.functions.extend(lexer.word.take());
                at += 1;
            }
            '\n' => {
                lexer.end_command();
                at = lexer.here_documents(&chars, at);
            }
            ';' | '|' | '&' | '(' | ')' => lexer.end_command(),
            '>' | '<' => {
                // `2>&1`: the number before belongs to it.
                if lexer.word.as_ref().is_some_and(|w| w.chars().all(|c| c.is_ascii_digit())) {
                    lexer.word = None;
                }
                lexer.end_word();
                let here = c == '<' && next == Some('<');
                while matches!(chars.get(at + 1), Some('>' | '<')) {
                    at += 1;
                }
                if chars.get(at + 1) == Some(&'&') {
                    at += 2;
                } else {
                    lexer.redirected = true;
                    if here {
                        lexer.ends.push(String::new());
                    }
                }
            }
            c if c.is_whitespace() => lexer.end_word(),
            c => lexer.push(c),
        }
        at += 1;
    }
    lexer.end_command();
    lexer.script
}

impl Lexer {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    /// A quoted piece from `at` on; where its closing quote stands.
    fn quoted(&mut self, chars: &[char], at: usize) -> usize {
        let quote = chars[at];
        self.word.get_or_insert_default();
        let mut at = at + 1;
        while let Some(&c) = chars.get(at) {
            match c {
                c if c == quote => return at,
                '$' if quote == '"' && chars.get(at + 1) == Some(&'(') => at = self.substituted(chars, at),
                '\\' if quote == '"' => {
                    at += 1;
                    self.push(chars.get(at).copied().unwrap_or(' '));
                }
                c => self.push(c),
            }
            at += 1;
        }
        panic!("a quote is not closed: {}", chars.iter().collect::<String>());
    }

    /// `$(…)` from `at` on: its commands count, the word gets a placeholder; where it ends.
    fn substituted(&mut self, chars: &[char], at: usize) -> usize {
        let mut depth = 0;
        let end = (at + 1..chars.len()).find(|i| {
            depth += i32::from(chars[*i] == '(') - i32::from(chars[*i] == ')');
            depth == 0
        });
        let end = end.unwrap_or_else(|| panic!("$( is not closed: {}", chars.iter().collect::<String>()));
        let within = read(&chars[at + 2..end].iter().collect::<String>());
        self.script.commands.extend(within.commands);
        self.word.get_or_insert_default().push_str("$()");
        end
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if std::mem::take(&mut self.redirected) {
            if let Some(end) = self.ends.iter_mut().find(|end| end.is_empty()) {
                *end = word;
            }
        } else {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        let words = std::mem::take(&mut self.words);
        let assigns = |word: &&String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
        let mut rest: Vec<String> =
            words.iter().skip_while(|word| KEYWORDS.contains(&word.as_str()) || assigns(word)).cloned().collect();
        // A function's body may stand on the line of its name.
        if rest.last().is_some_and(|word| word == "}") {
            rest.pop();
        }
        if rest.first().is_some_and(|word| !STRUCTURE.contains(&word.as_str())) {
            self.script.commands.push(rest);
        }
    }

    /// Passes over the here-documents that begin after the newline at `at`; the newline that ends the last of them.
    fn here_documents(&mut self, chars: &[char], at: usize) -> usize {
        let mut at = at;
        for end in std::mem::take(&mut self.ends) {
            loop {
                let line: String = chars[at + 1..].iter().take_while(|c| **c != '\n').collect();
                at += line.chars().count() + 1;
                if line == end || at + 1 >= chars.len() {
                    break;
                }
            }
        }
        at
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
