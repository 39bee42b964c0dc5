//! What programs say to people, in their language.
//!
//! Everything is written in English where it is meant; `po/es.po` holds it in Spanish, in the PO format that
//! translators' tools read (GNU gettext). A `msgid` is the text as it stands in the source, placeholders of Rust's
//! format strings included:
//!
//! ```text
//! msgid "{path}: {error}; is it a charter part?"
//! msgstr "{path}: {error}; ¿es una parte de la carta?"
//! ```
//!
//! A program composes its message in English and translates it once, where it is printed: [`say`] finds the `msgid`
//! that the text was made from, and puts its values, themselves translated where they are messages (a cause within
//! an error), into the `msgstr`. So crates that know nothing of languages need not learn of them. What holds no
//! values, like a heading, is a [`text()`].
//!
//! What has no translation stays English: a message is never lost. A test of the workspace finds every message of
//! the sources and fails if one is missing here, or if one here is in no source any more. Words that clap says
//! stand under the context `clap`.

mod spanish;
mod template;

use std::borrow::Cow;

use puente_model::Lang;

pub use spanish::{Entry, entries};

/// A message in the reader's language; `english` is the whole message, composed.
pub fn say(lang: Lang, english: &str) -> Cow<'_, str> {
    match lang {
        Lang::En => Cow::Borrowed(english),
        Lang::Es => spanish::words().say(english).map_or(Cow::Borrowed(english), Cow::Owned),
    }
}

/// A text without values in the reader's language.
pub fn text(lang: Lang, english: &'static str) -> &'static str {
    match lang {
        Lang::En => english,
        Lang::Es => spanish::words().text(english).unwrap_or(english),
    }
}
