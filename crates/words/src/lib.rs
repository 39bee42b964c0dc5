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
//! stand under the context `clap`, those of the operating system under the context `system`.

#[cfg(feature = "clap")]
pub mod command_line;
#[cfg(feature = "clap")]
pub mod manual;
mod spanish;
mod template;
mod when;

use std::borrow::Cow;

pub use puente_model::Lang;
pub use spanish::{Entry, entries};
pub use when::{Clocks, capital_zone, tells_time};

/// A message in the reader's language; `english` is the whole message, composed.
pub fn say(lang: Lang, english: &str) -> Cow<'_, str> {
    match lang {
        Lang::En => Cow::Borrowed(english),
        Lang::Es => spanish::words().say(english).map_or(Cow::Borrowed(english), Cow::Owned),
    }
}

/// A text of the sources in the reader's language, with its placeholders if it has any.
pub fn text(lang: Lang, english: &'static str) -> &'static str {
    match lang {
        Lang::En => english,
        Lang::Es => spanish::words().text(english).unwrap_or(english),
    }
}

/// A table of texts: an enum with one variant a text. The text is looked up by what stands in the table, so that its
/// placeholders (`{0}`, `{id}`) can be filled afterwards.
///
/// ```
/// puente_words::texts! {
///     /// What a doorbell says.
///     enum Text {
///         Who: "who is there";
///     }
/// }
/// assert_eq!(Text::Who.get(puente_model::Lang::En), "who is there");
/// ```
#[macro_export]
macro_rules! texts {
    ($(#[$meta:meta])* $vis:vis enum $table:ident { $($(#[$doc:meta])* $name:ident: $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $table { $($(#[$doc])* #[doc = $text] $name),+ }

        impl $table {
            /// The text in this language.
            $vis fn get(self, lang: $crate::Lang) -> &'static str {
                $crate::text(lang, match self { $(Self::$name => $text),+ })
            }
        }
    };
}
