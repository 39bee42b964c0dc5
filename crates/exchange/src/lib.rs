//! The conversation: from question to recorded, sealed, released answer.
