//! Every domain-separation label of the protocol, in one place.

use puente_model::{Label, Mode};

/// Commitment of a QUERY: salt, payload.
pub const QUERY: Label = Label("puente/v1/query");
/// Commitment of an ANSWER that discloses: tree commitment, H(sealed body), H(content key).
pub const ANSWER: Label = Label("puente/v1/answer");
/// Commitment of an ANSWER or REFUSAL that discloses nothing: salt, payload.
pub const PLAIN: Label = Label("puente/v1/plain");
/// Commitment of a RELEASE: receipt hash, sealed key hash.
pub const RELEASE: Label = Label("puente/v1/release");
/// Commitment of a VOID: voided number (u64be), leaf hash.
pub const VOID: Label = Label("puente/v1/void");
/// Commitment of a PERIOD: root.
pub const PERIOD: Label = Label("puente/v1/period");
/// Commitment of a veiled entry: salt, header.
pub const VEIL: Label = Label("puente/v1/veil");
/// Commitment of an event's details: salt, detail.
pub const DETAIL: Label = Label("puente/v1/detail");
/// Tree commitment: number of leaves (u32be), root.
pub const TREE: Label = Label("puente/v1/tree");
/// One leaf of an answer tree: salt, path, value.
pub const LEAF: Label = Label("puente/v1/leaf");
/// H(content key).
pub const CONTENT_KEY: Label = Label("puente/v1/content-key");
/// H(sealed body).
pub const BODY: Label = Label("puente/v1/body");
/// H(sealed content key), as HPKE made it.
pub const SEALED_KEY: Label = Label("puente/v1/sealed-key");
/// H(a receipt), as its tlog-proof text.
pub const RECEIPT: Label = Label("puente/v1/receipt");
/// Commitment of a seed.
pub const SEED: Label = Label("puente/v1/seed");
/// HKDF info of an escrow share.
pub const SHARE: Label = Label("puente/v1/share");
/// H(an escrow share).
pub const SHARE_HASH: Label = Label("puente/v1/share-hash");
/// Escrow hash: seeds entry, H(share 1), H(share 2), blob.
pub const ESCROW: Label = Label("puente/v1/escrow");
/// HKDF info of a header key.
pub const HEADER_KEY: Label = Label("puente/v1/header-key");
/// As [`QUERY`], in training.
pub const TRAINING_QUERY: Label = Label("puente/v1/training/query");
/// As [`ANSWER`], in training.
pub const TRAINING_ANSWER: Label = Label("puente/v1/training/answer");
/// As [`PLAIN`], in training.
pub const TRAINING_PLAIN: Label = Label("puente/v1/training/plain");
/// As [`BODY`], in training.
pub const TRAINING_BODY: Label = Label("puente/v1/training/body");
/// HPKE info of a sealed content key, in training: the ANSWER's leaf hash.
pub const TRAINING_SEALED_KEY: Label = Label("puente/v1/training/sealed-key");
/// MLS exporter label of the exchange's HPKE PSK (DESIGN §5); used once groups exist.
pub const PSK: Label = Label("puente/v1/psk");

/// The label of a QUERY's commitment.
pub const fn query(mode: Mode) -> Label {
    match mode {
        Mode::Open => QUERY,
        Mode::Training => TRAINING_QUERY,
    }
}

/// The label of the commitment of an ANSWER that discloses.
pub const fn answer(mode: Mode) -> Label {
    match mode {
        Mode::Open => ANSWER,
        Mode::Training => TRAINING_ANSWER,
    }
}

/// The label of the commitment of an ANSWER or REFUSAL that discloses nothing.
pub const fn plain(mode: Mode) -> Label {
    match mode {
        Mode::Open => PLAIN,
        Mode::Training => TRAINING_PLAIN,
    }
}

/// The label of a sealed body.
pub const fn body(mode: Mode) -> Label {
    match mode {
        Mode::Open => BODY,
        Mode::Training => TRAINING_BODY,
    }
}
