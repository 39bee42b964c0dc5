//! The committed vectors of the wire: `tests/vectors/wire/<codec>/<name>.txt`.
//!
//! The table below makes every file; `PUENTE_BLESS=1` rewrites them. What is checked is what the files hold, so that
//! a second implementation can use them alone.
#![allow(clippy::disallowed_methods, reason = "tests read and, when asked, write the committed vectors")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use puente_model::{Digest, limits};

use super::dump::Descriptors;
use super::raw::{self, Raw, set};
use super::{Codec, name, samples};
use crate::SAID_BYTES_MAX;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wire")
}

/// A vector: its codec, its name, what is expected, its bytes.
type Vector = (Codec, String, String, Vec<u8>);

fn sample(codec: Codec, name: &str) -> Vec<u8> {
    samples::all().into_iter().find(|(c, n, _)| *c == codec && n == name).unwrap().2
}

struct Table(Vec<Vector>);

impl Table {
    /// A sample, changed in the message at `path`.
    fn bad(
        &mut self,
        codec: Codec,
        from: &str,
        path: &[u32],
        name: &str,
        expect: &str,
        mut change: impl FnMut(&mut Vec<Raw>),
    ) {
        let bytes = raw::edit(&sample(codec, from), path, &mut change);
        self.0.push((codec, name.to_owned(), format!("reject {expect}"), bytes));
    }

    fn bytes(&mut self, codec: Codec, name: &str, expect: &str, bytes: &[u8]) {
        self.0.push((codec, name.to_owned(), format!("reject {expect}"), bytes.to_vec()));
    }
}

fn at(fields: &mut [Raw], number: u32) -> &mut Raw {
    fields.iter_mut().find(|f| f.number == number).unwrap()
}

fn shorten(field: &mut Raw) {
    field.value.truncate(field.value.len() - 1);
}

fn remove(fields: &mut Vec<Raw>, number: u32) {
    fields.retain(|f| f.number != number);
}

/// Numbers of `Pair`'s fields.
mod f {
    pub(super) const KIND: u32 = 1;
    pub(super) const STAGE: u32 = 2;
    pub(super) const EXCHANGE: u32 = 3;
    pub(super) const FROM: u32 = 4;
    pub(super) const TO: u32 = 5;
    pub(super) const LOG: u32 = 6;
    pub(super) const SEQ: u32 = 7;
    pub(super) const QUERY_KIND: u32 = 9;
    pub(super) const STEP: u32 = 10;
    pub(super) const PURPOSE: u32 = 11;
    pub(super) const BASIS: u32 = 12;
    pub(super) const HANDLING: u32 = 13;
    pub(super) const CHARTER: u32 = 14;
    pub(super) const POLICY: u32 = 15;
    pub(super) const GROUP: u32 = 16;
    pub(super) const MODE: u32 = 18;
    pub(super) const OUTCOME: u32 = 19;
    pub(super) const REASON: u32 = 20;
    pub(super) const FIELD_CLASS: u32 = 21;
    pub(super) const COUNT_BAND: u32 = 22;
    pub(super) const COMMITMENT: u32 = 23;
    pub(super) const ESCROW: u32 = 24;
    pub(super) const QUOTED: u32 = 25;
    pub(super) const RECEIPT: u32 = 26;
    pub(super) const SEALED_KEY: u32 = 27;
    pub(super) const PERIOD: u32 = 29;
    pub(super) const VOIDED: u32 = 30;
}

fn encoding(t: &mut Table) {
    use Codec::Entry;
    const PAIR: &[u32] = &[2];
    let not = "NotCanonical";
    t.bad(Entry, "query", &[], "unknown-field", not, |m| m.push(Raw::number(9, 1)));
    t.bad(Entry, "query", PAIR, "unknown-field-in-the-pair", not, |m| m.push(Raw::bytes(31, b"x")));
    t.bad(Entry, "query", PAIR, "explicit-default-number", not, |m| set(m, Raw::number(17, 0)));
    t.bad(Entry, "query", PAIR, "explicit-default-text", not, |m| set(m, Raw::bytes(f::GROUP, b"")));
    t.bad(Entry, "query", PAIR, "varint-one-byte-too-long", not, |m| {
        at(m, f::SEQ).value = raw::long_varint(17);
    });
    t.bad(Entry, "query", PAIR, "tag-one-byte-too-long", not, |m| {
        at(m, f::SEQ).tag = Some(raw::long_varint(7 << 3));
    });
    t.bad(Entry, "query", PAIR, "length-one-byte-too-long", not, |m| {
        at(m, f::POLICY).length = Some(raw::long_varint(32));
    });
    t.bad(Entry, "query", PAIR, "fields-out-of-order", not, |m| m.swap(0, 1));
    t.bad(Entry, "query", PAIR, "field-twice-alike", not, |m| m.insert(0, m[0].clone()));
    t.bad(Entry, "query", PAIR, "field-twice-differing", not, |m| m.insert(0, Raw::number(f::KIND, 2)));
    t.bad(Entry, "query", PAIR, "number-beyond-32-bits", not, |m| {
        at(m, f::LOG).value = raw::varint(1 << 32 | 1);
    });
    t.bad(Entry, "query", &[], "body-twice", not, |m| m.push(m[1].clone()));
    t.bad(Entry, "veiled", &[], "two-bodies", not, |m| {
        m.insert(1, raw::parse(&sample(Codec::Entry, "query")).unwrap()[1].clone());
    });
    let query = sample(Entry, "query");
    t.bytes(Entry, "trailing-zero-byte", "Undecodable", &[query.as_slice(), &[0]].concat());
    t.bytes(Entry, "cut-short", "Undecodable", &query[..query.len() - 1]);
    t.bytes(Entry, "no-bytes", "Version", b"");
    t.bytes(Entry, "not-protobuf", "Undecodable", &[0xff; 40]);
    t.bytes(Entry, "unknown-group-after-it", not, &[query.as_slice(), &[0x4b, 0x4c]].concat());
    t.bytes(Entry, "group-without-end", "Undecodable", &[query.as_slice(), &[0x4b]].concat());
    t.bytes(Entry, "field-number-zero", "Undecodable", &[query.as_slice(), &[0x02, 0]].concat());
    t.bad(Entry, "query", PAIR, "varint-of-eleven-bytes", "Undecodable", |m| {
        at(m, f::SEQ).value = [vec![0xff; 10], vec![1]].concat();
    });
    t.bad(Entry, "query", PAIR, "text-not-utf-8", "Undecodable", |m| at(m, f::QUERY_KIND).value = vec![0xc3, 0x28]);
    t.bad(Entry, "query", PAIR, "number-as-byte-string", "Undecodable", |m| {
        *at(m, f::SEQ) = Raw::bytes(f::SEQ, &[17]);
    });
    t.bytes(Entry, "over-65535-bytes", "TooLarge", &[query.as_slice(), &vec![0; limits::ENTRY_BYTES_MAX]].concat());
}

fn entries(t: &mut Table) {
    use Codec::Entry;
    const PAIR: &[u32] = &[2];
    t.bad(Entry, "query", &[], "version-0", "Version", |m| remove(m, 1));
    // A version says what its own bodies need, and no more.
    t.bad(Entry, "query", &[], "version-2-of-a-pair", "NotCanonical", |m| set(m, Raw::number(1, 2)));
    t.bad(Entry, "query", &[], "version-3", "Version", |m| set(m, Raw::number(1, 3)));
    t.bad(Entry, "query", &[], "no-body", "Field entry", |m| remove(m, 2));
    t.bad(Entry, "query", PAIR, "kind-missing", "Field kind", |m| remove(m, f::KIND));
    t.bad(Entry, "query", PAIR, "kind-unknown", "Field kind", |m| set(m, Raw::number(f::KIND, 7)));
    t.bad(Entry, "query", PAIR, "stage-of-another-kind", "NotCanonical", |m| set(m, Raw::number(f::STAGE, 4)));
    t.bad(Entry, "query", PAIR, "exchange-id-missing", "Field exchange_id", |m| remove(m, f::EXCHANGE));
    t.bad(Entry, "query", PAIR, "exchange-id-of-15-bytes", "Field exchange_id", |m| {
        set(m, Raw::bytes(f::EXCHANGE, &[1; 15]));
    });
    t.bad(Entry, "query", PAIR, "from-missing", "Field name", |m| remove(m, f::FROM));
    t.bad(Entry, "query", PAIR, "from-with-capitals", "Field name", |m| {
        set(m, Raw::bytes(f::FROM, b"puente://MX/fge-bc/n1"));
    });
    t.bad(Entry, "query", PAIR, "to-is-from", "Field to", |m| {
        set(m, Raw::bytes(f::TO, samples::ASKER.as_bytes()));
    });
    t.bad(Entry, "query", PAIR, "domestic-in-the-clear", "Field domestic pair entry in the clear", |m| {
        set(m, Raw::bytes(f::TO, b"puente://mx/cnb/n1"));
    });
    t.bad(Entry, "query", PAIR, "log-0", "Field log", |m| remove(m, f::LOG));
    t.bad(Entry, "query", PAIR, "seq-0", "Field seq", |m| remove(m, f::SEQ));
    t.bad(Entry, "query", PAIR, "seq-largest", "Field seq", |m| set(m, Raw::number(f::SEQ, u64::MAX)));
    t.bad(Entry, "query", PAIR, "query-kind-of-one-word", "Field query kind", |m| {
        set(m, Raw::bytes(f::QUERY_KIND, b"vehicle"));
    });
    t.bad(Entry, "query", PAIR, "step-0", "Field step", |m| remove(m, f::STEP));
    t.bad(Entry, "query", PAIR, "step-4", "Field step", |m| set(m, Raw::number(f::STEP, 4)));
    t.bad(Entry, "query", PAIR, "purpose-unknown", "Field purpose", |m| set(m, Raw::number(f::PURPOSE, 99)));
    t.bad(Entry, "query", PAIR, "legal-basis-missing", "Field legal basis id", |m| remove(m, f::BASIS));
    t.bad(Entry, "query", PAIR, "handling-unknown", "Field handling", |m| set(m, Raw::number(f::HANDLING, 5)));
    t.bad(Entry, "query", PAIR, "charter-missing", "Field charter", |m| remove(m, f::CHARTER));
    t.bad(Entry, "query", &[2, f::CHARTER], "annexes-out-of-order", "NotCanonical", |m| m.swap(1, 2));
    t.bad(Entry, "query", &[2, f::CHARTER], "annex-twice", "NotCanonical", |m| m.insert(1, m[1].clone()));
    t.bad(Entry, "query", &[2, f::CHARTER], "annex-of-no-nation", "Field name", |m| {
        m[1].value = emit_annex("mex", 4);
    });
    t.bad(Entry, "query", &[2, f::CHARTER], "annexes-beyond-all-nations", "TooMany charter annexes", |m| {
        m.extend(std::iter::repeat_n(Raw::bytes(2, b""), limits::NATIONS_MAX));
    });
    t.bad(Entry, "query", PAIR, "policy-hash-of-31-bytes", "Field policy_hash", |m| {
        set(m, Raw::bytes(f::POLICY, &[1; 31]));
    });
    t.bad(Entry, "query", PAIR, "group-of-129-bytes", "Field group", |m| {
        set(m, Raw::bytes(f::GROUP, &[b'g'; 129]));
    });
    t.bad(Entry, "query", PAIR, "mode-unknown", "Field mode", |m| set(m, Raw::number(f::MODE, 3)));
    t.bad(Entry, "query", PAIR, "commitment-missing", "Field commitment", |m| remove(m, f::COMMITMENT));
    t.bad(Entry, "query", PAIR, "escrow-hash-missing", "Field escrow_hash", |m| remove(m, f::ESCROW));
    t.bad(Entry, "query", PAIR, "query-with-an-outcome", "NotCanonical", |m| set(m, Raw::number(f::OUTCOME, 1)));
    t.bad(Entry, "query", PAIR, "query-that-quotes", "NotCanonical", |m| set(m, Raw::bytes(f::QUOTED, &[1; 32])));
    t.bad(Entry, "answer-no-hit", PAIR, "answer-without-outcome", "Field outcome", |m| remove(m, f::OUTCOME));
    t.bad(Entry, "answer-no-hit", PAIR, "answer-without-field-class", "Field field_class", |m| {
        remove(m, f::FIELD_CLASS);
    });
    t.bad(Entry, "answer-no-hit", PAIR, "answer-without-count-band", "Field count_band", |m| {
        remove(m, f::COUNT_BAND);
    });
    t.bad(Entry, "answer-no-hit", PAIR, "answer-that-quotes-nothing", "Field quoted", |m| remove(m, f::QUOTED));
    t.bad(Entry, "answer-no-hit", PAIR, "answer-with-a-reason", "NotCanonical", |m| {
        set(m, Raw::number(f::REASON, 1));
    });
    t.bad(Entry, "refusal", PAIR, "refusal-without-reason", "Field reason", |m| remove(m, f::REASON));
    t.bad(Entry, "release", PAIR, "release-without-receipt-hash", "Field receipt_hash", |m| remove(m, f::RECEIPT));
    t.bad(Entry, "release", PAIR, "release-without-sealed-key-hash", "Field sealed_key_hash", |m| {
        remove(m, f::SEALED_KEY);
    });
    t.bad(Entry, "release", PAIR, "release-with-escrow", "NotCanonical", |m| {
        set(m, Raw::bytes(f::ESCROW, &[1; 32]));
    });
    t.bad(Entry, "void", PAIR, "void-of-no-number", "Field voided_seq", |m| remove(m, f::VOIDED));
    t.bad(Entry, "void", PAIR, "void-with-terms", "NotCanonical", |m| set(m, Raw::number(f::PURPOSE, 1)));
    periods(t);
    t.bad(Entry, "veiled", &[3], "veiled-stage-unknown", "Field stage", |m| set(m, Raw::number(1, 5)));
    t.bad(Entry, "veiled", &[3], "veiled-commitment-short", "Field commitment", |m| shorten(at(m, 3)));
    t.bad(Entry, "seeds-escrow", &[4], "seeds-use-unknown", "Field use", |m| set(m, Raw::number(1, 3)));
    t.bad(Entry, "seeds-escrow", &[4], "one-escrow-seed", "Field seeds", |m| m.truncate(m.len() - 1));
    t.bad(Entry, "seeds-headers", &[4], "no-header-seed", "Field seeds", |m| m.truncate(m.len() - 1));
    t.bad(Entry, "seeds-headers", &[4], "header-seeds-for-65-auditors", "TooMany seeds", |m| {
        m.extend(std::iter::repeat_n(m[2].clone(), 64));
    });
    t.bad(Entry, "seeds-escrow", &[4, 3], "sealed-seed-short", "Field sealed seed", |m| shorten(at(m, 6)));
    t.bad(Entry, "seeds-escrow", &[4, 3], "auditor-name-of-129-bytes", "Field auditor", |m| {
        set(m, Raw::bytes(2, &[b'a'; 129]));
    });
}

fn groups(t: &mut Table) {
    use Codec::Entry;
    const BODY: &[u32] = &[5];
    let of_ledger = |number| raw::emit(&[Raw::number(1, number), Raw::number(2, 7)]);
    t.bad(Entry, "group-epoch", &[], "version-1-of-a-group", "NotCanonical", |m| set(m, Raw::number(1, 1)));
    t.bad(Entry, "group-epoch", &[], "version-3-of-a-group", "Version", |m| set(m, Raw::number(1, 3)));
    t.bad(Entry, "group-epoch", BODY, "group-without-name", "Field name", |m| remove(m, 2));
    t.bad(Entry, "group-epoch", BODY, "group-name-with-capitals", "Field name", |m| {
        set(m, Raw::bytes(2, b"frontera/Otay"));
    });
    t.bad(Entry, "group-epoch", BODY, "group-name-with-an-empty-part", "Field name", |m| {
        set(m, Raw::bytes(2, b"frontera//otay"));
    });
    t.bad(Entry, "group-epoch", BODY, "group-name-of-201-bytes", "Field name", |m| {
        set(m, Raw::bytes(2, &[b'g'; 201]));
    });
    t.bad(Entry, "group-epoch", BODY, "group-that-says-nothing", "Field what", |m| remove(m, 4));
    t.bad(Entry, "group-epoch", BODY, "group-that-says-two-things", "NotCanonical", |m| {
        m.push(Raw::bytes(5, &raw::emit(&[Raw::number(1, 6), Raw::number(2, 1)])));
    });
    t.bad(Entry, "group-epoch", &[5, 4], "epoch-0", "Field epoch", |m| remove(m, 1));
    t.bad(Entry, "group-epoch", &[5, 4], "epoch-without-commit", "Field commit", |m| remove(m, 2));
    t.bad(Entry, "group-epoch", &[5, 4], "epoch-hash-of-31-bytes", "Field hash", |m| shorten(at(m, 3)));
    t.bad(Entry, "group-epoch", &[5, 4], "epoch-ordered-by-ledger-0", "Field ledger", |m| {
        set(m, Raw::bytes(4, &raw::emit(&[Raw::number(2, 7)])));
    });
    t.bad(Entry, "group-held", &[5, 3], "held-nowhere", "Field place", |m| remove(m, 1));
    t.bad(Entry, "group-held", &[5, 3], "held-in-ledger-1000000", "Field ledger", |m| {
        set(m, Raw::bytes(1, &of_ledger(1_000_000)));
    });
    t.bad(Entry, "group-held", &[5, 3], "held-without-statement", "Field statement", |m| remove(m, 2));
    t.bad(Entry, "group-left", &[5, 5], "left-for-no-reason", "Field why", |m| remove(m, 2));
    t.bad(Entry, "group-left", &[5, 5], "left-for-an-unknown-reason", "Field why", |m| set(m, Raw::number(2, 3)));
}

fn emit_annex(nation: &str, number: u64) -> Vec<u8> {
    raw::emit(&[Raw::bytes(1, nation.as_bytes()), Raw::number(2, number)])
}

fn periods(t: &mut Table) {
    use Codec::Entry;
    const PERIOD: &[u32] = &[2, f::PERIOD];
    let from = "period-with-holes";
    t.bad(Entry, from, &[2], "period-missing", "Field period", |m| remove(m, f::PERIOD));
    t.bad(Entry, from, &[2], "period-with-an-exchange", "NotCanonical", |m| {
        set(m, Raw::bytes(f::EXCHANGE, &[1; 16]));
    });
    t.bad(Entry, from, PERIOD, "period-that-ends-before-it-begins", "Field last", |m| {
        set(m, Raw::number(1, 21));
    });
    t.bad(Entry, from, PERIOD, "period-from-0", "Field first", |m| remove(m, 1));
    t.bad(Entry, from, PERIOD, "period-count-too-high", "Field count", |m| set(m, Raw::number(3, 19)));
    t.bad(Entry, from, PERIOD, "period-count-overflows", "Field count", |m| {
        set(m, Raw::number(3, u64::MAX));
    });
    t.bad(Entry, from, PERIOD, "period-without-root", "Field root", |m| remove(m, 4));
    t.bad(Entry, from, PERIOD, "holes-out-of-order", "Field hole", |m| m.swap(4, 5));
    t.bad(Entry, from, PERIOD, "hole-twice", "Field hole", |m| m[5] = m[4].clone());
    t.bad(Entry, from, PERIOD, "hole-beyond-the-period", "Field hole", |m| {
        m[5].value = raw::edit(&m[5].value, &[], &mut |hole| set(hole, Raw::number(1, 21)));
    });
    t.bad(Entry, from, &[2, f::PERIOD, 5], "hole-for-no-reason", "Field hole", |m| set(m, Raw::number(3, 3)));
    t.bad(Entry, from, PERIOD, "holes-beyond-the-limit", "TooMany period holes", |m| {
        m.extend(std::iter::repeat_n(Raw::bytes(5, b""), limits::HOLES_PER_PERIOD_MAX));
    });
    t.bad(Entry, from, PERIOD, "peer-head-over-16384-bytes", "Field peer_head", |m| {
        set(m, Raw::bytes(6, &vec![b'x'; limits::NOTE_BYTES_MAX / 4 + 1]));
    });
}

fn others(t: &mut Table) {
    use Codec::{Explanation, Frame, Header, Payload};
    t.bad(Header, "event-full", &[], "empty", "Field header", Vec::clear);
    t.bad(Header, "event-full", &[2], "event-kind-unknown", "Field kind", |m| set(m, Raw::number(1, 99)));
    t.bad(Header, "event-full", &[2], "stage-of-another-event", "NotCanonical", |m| set(m, Raw::number(2, 1)));
    t.bad(Header, "event-full", &[2], "quoted-of-31-bytes", "Field quoted", |m| shorten(at(m, 4)));
    t.bad(Header, "event-full", &[2], "exchange-id-of-15-bytes", "Field exchange_id", |m| shorten(at(m, 5)));
    t.bad(Header, "event-full", &[2], "peer-no-node", "Field name", |m| set(m, Raw::bytes(6, b"us/sdpd")));
    t.bad(Header, "event-full", &[2], "record-type-of-129-bytes", "Field record_type", |m| {
        set(m, Raw::bytes(7, &[b'v'; 129]));
    });
    t.bad(Header, "event-full", &[2], "role-unknown", "Field role", |m| set(m, Raw::number(11, 99)));
    t.bad(Header, "event-full", &[2], "reason-unknown", "Field reason", |m| set(m, Raw::number(12, 99)));
    t.bad(Header, "event-full", &[2], "charter-missing", "Field charter", |m| remove(m, 13));
    t.bad(Header, "event-smallest", &[2], "explicit-default-count", "NotCanonical", |m| set(m, Raw::number(8, 0)));
    t.bad(Header, "domestic-query", &[], "pair-and-event", "NotCanonical", |m| {
        m.insert(0, raw::parse(&sample(Header, "event-full")).unwrap()[0].clone());
    });

    t.bad(Payload, "full", &[], "officer-missing", "Field officer", |m| remove(m, 4));
    t.bad(Payload, "full", &[4], "officer-id-with-space", "Field name", |m| set(m, Raw::bytes(1, b"o 1")));
    t.bad(Payload, "full", &[4], "officer-role-missing", "Field role", |m| remove(m, 3));
    t.bad(Payload, "full", &[], "params-out-of-order", "Field params", |m| {
        m.insert(4, Raw::bytes(5, &raw::emit(&[Raw::bytes(1, b"zzz")])));
    });
    t.bad(Payload, "full", &[], "param-twice", "Field params", |m| m.insert(4, m[4].clone()));
    t.bad(Payload, "full", &[], "params-beyond-64", "TooMany params", |m| {
        let param = |n: usize| Raw::bytes(5, &raw::emit(&[Raw::bytes(1, format!("a{n:03}").as_bytes())]));
        let more: Vec<_> = (0..limits::PARAMS_PER_QUERY_MAX).map(param).collect();
        m.splice(4..4, more);
    });
    t.bad(Payload, "full", &[], "urgency-missing", "Field urgency", |m| remove(m, 6));
    t.bad(Payload, "full", &[], "reply-key-of-31-bytes", "Field reply_key", |m| shorten(at(m, 10)));
    t.bad(Payload, "full", &[], "confirms-of-31-bytes", "Field confirms", |m| shorten(at(m, 11)));
    t.bad(Payload, "full", &[], "unknown-field", "NotCanonical", |m| m.push(Raw::number(12, 1)));
    t.bad(Payload, "full", &[], "over-65536-bytes", "TooLarge", |m| {
        set(m, Raw::bytes(7, &vec![b'x'; limits::QUERY_BYTES_MAX]));
    });

    t.bad(Explanation, "full", &[], "duplicate-of-31-bytes", "Field duplicate_of", |m| shorten(at(m, 6)));
    t.bad(Explanation, "full", &[], "fields-beyond-64", "TooMany fields", |m| {
        m.splice(4..4, std::iter::repeat_n(Raw::bytes(5, b"x"), limits::PARAMS_PER_QUERY_MAX));
    });
    t.bad(Explanation, "full", &[], "explicit-default-rule", "NotCanonical", |m| set(m, Raw::bytes(2, b"")));
    t.bad(Explanation, "full", &[], "unknown-field", "NotCanonical", |m| m.push(Raw::number(15, 1)));

    t.bytes(Frame, "no-bytes", "Field body", b"");
    t.bytes(Frame, "not-protobuf", "Undecodable", &[0xff; 40]);
    t.bytes(Frame, "body-of-a-later-version", "Field body", &raw::emit(&[Raw::bytes(99, b"new")]));
    t.bad(Frame, "ready", &[], "cut-short", "Undecodable", |m| shorten(&mut m[0]));
    t.bad(Frame, "ready", &[1, 3], "annexes-beyond-all-nations", "TooMany charter annexes", |m| {
        m.extend(std::iter::repeat_n(Raw::bytes(2, b""), limits::NATIONS_MAX));
    });
    t.bad(Frame, "have", &[10], "missing-beyond-1000", "TooMany missing numbers", |m| {
        m.extend(std::iter::repeat_n(Raw::number(4, 5), limits::HOLES_PER_PERIOD_MAX));
    });
    t.bad(Frame, "fault", &[13], "text-not-utf-8", "Undecodable", |m| set(m, Raw::bytes(2, &[0xc3, 0x28])));
    // Frames tolerate what is new, in any order.
    for (name, change) in [
        ("unknown-field-is-ignored", (|m: &mut Vec<Raw>| m.push(Raw::number(900, 1))) as fn(&mut Vec<Raw>)),
        ("fields-in-any-order", |m: &mut Vec<Raw>| m.reverse()),
    ] {
        let bytes = raw::edit(&sample(Frame, "ready"), &[1], &mut { change });
        t.0.push((Frame, name.to_owned(), "accept".to_owned(), bytes));
    }
}

fn said(t: &mut Table) {
    use Codec::{Alert, Said};
    t.bytes(Said, "no-bytes", "Field said", b"");
    t.bytes(Said, "not-protobuf", "Undecodable", &[0xff; 40]);
    t.bad(Said, "ask", &[], "cut-short", "Undecodable", |m| shorten(&mut m[0]));
    t.bad(Said, "alert", &[], "unknown-field", "NotCanonical", |m| m.push(Raw::number(9, 1)));
    t.bad(Said, "alert", &[], "two-bodies", "NotCanonical", |m| m.push(Raw::bytes(2, b"")));
    t.bad(Said, "ask", &[4], "asks-before-the-payload", "NotCanonical", |m| m.reverse());
    t.bad(Said, "ask", &[4], "asks-beyond-24", "TooMany asks", |m| {
        m.extend(std::iter::repeat_n(Raw::bytes(2, b""), limits::ASKS_PER_POST_MAX));
    });
    t.bad(Said, "ask", &[4], "over-131072-bytes", "TooLarge", |m| {
        set(m, Raw::bytes(1, &vec![b'x'; SAID_BYTES_MAX]));
    });

    t.bytes(Alert, "no-bytes", "Field category", b"");
    t.bad(Alert, "full", &[], "category-unknown", "Field category", |m| set(m, Raw::number(2, 99)));
    t.bad(Alert, "full", &[], "severity-missing", "Field severity", |m| remove(m, 3));
    t.bad(Alert, "full", &[], "certainty-unknown", "Field certainty", |m| set(m, Raw::number(4, 99)));
    t.bad(Alert, "full", &[], "area-missing", "Field an alert says where", |m| remove(m, 5));
    t.bad(Alert, "full", &[], "ends-as-it-begins", "Field an alert ends after what it is about was seen", |m| {
        let seen = at(m, 6).clone();
        set(m, Raw { number: 7, ..seen });
    });
    t.bad(Alert, "full", &[], "texts-missing", "Field an alert says what happened", |m| remove(m, 9));
    t.bad(Alert, "full", &[9], "language-unknown", "Field lang", |m| set(m, Raw::bytes(1, b"fr")));
    t.bad(Alert, "full", &[9], "headline-of-blanks", "Field an alert says what happened", |m| {
        set(m, Raw::bytes(2, b"  "));
    });
    t.bad(Alert, "full", &[9], "headline-with-a-control-character", "Field the headline is too long", |m| {
        set(m, Raw::bytes(2, b"a\x1b[2J"));
    });
    t.bad(Alert, "full", &[], "language-twice", "Field an alert says it once a language", |m| {
        let first = at(m, 9).clone();
        *m.last_mut().unwrap() = first;
    });
    t.bad(Alert, "full", &[], "texts-beyond-all-languages", "TooMany texts", |m| {
        let first = at(m, 9).clone();
        m.push(first);
    });
    t.bad(Alert, "smallest", &[9], "explicit-default-action", "NotCanonical", |m| m.push(Raw::bytes(3, b"")));
    t.bad(Alert, "full", &[], "unknown-field", "NotCanonical", |m| m.push(Raw::number(10, 1)));
}

fn table() -> Vec<Vector> {
    let mut t = Table(Vec::new());
    for (codec, name, bytes) in samples::all() {
        t.0.push((codec, name, "accept".to_owned(), bytes));
    }
    encoding(&mut t);
    entries(&mut t);
    groups(&mut t);
    others(&mut t);
    said(&mut t);
    t.0
}

fn render(all: &Descriptors, (codec, name, expect, bytes): &Vector) -> String {
    let mut out = format!("name: {name}\nexpect: {expect}\n");
    if *codec == Codec::Entry && expect == "accept" {
        out.push_str(&format!("leaf: {}\n", Digest::of(&[&[0], bytes.as_slice()].concat())));
    }
    out.push_str(&format!("hex: {}\n", hex::encode(bytes)));
    if expect == "accept" && !name.contains("unknown") {
        out.push_str(&format!("\n{}\n", all.says(codec.message(), bytes).join("\n")));
    }
    out
}

#[test]
fn committed_vectors_are_the_table_and_hold() {
    let all = Descriptors::load();
    let table = table();
    let mut expected = BTreeSet::new();
    for vector in &table {
        let file = folder().join(vector.0.folder()).join(format!("{}.txt", vector.1));
        let fresh = render(&all, vector);
        if std::env::var_os("PUENTE_BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == fresh, "{}: run PUENTE_BLESS=1 cargo test -p puente-wire vectors", file.display());
        assert!(expected.insert(file), "{} twice", vector.1);
    }
    let mut found = BTreeSet::new();
    for codec in Codec::ALL {
        for entry in std::fs::read_dir(folder().join(codec.folder())).unwrap() {
            let file = entry.unwrap().path();
            judge(codec, &std::fs::read_to_string(&file).unwrap());
            found.insert(file);
        }
    }
    assert_eq!(found, expected);
    assert!(table.iter().filter(|(_, _, expect, _)| expect != "accept").count() >= 60);
}

/// Judges a vector by its file alone.
fn judge(codec: Codec, file: &str) {
    let head = file.split("\n\n").next().unwrap();
    let headers: BTreeMap<_, _> = head.lines().map(|line| line.split_once(": ").unwrap()).collect();
    let bytes = hex::decode(headers.get("hex").copied().unwrap_or_default()).unwrap();
    let judged = match codec.round_trip(&bytes) {
        Ok(again) => {
            assert_eq!(again, bytes);
            "accept".to_owned()
        }
        Err(error) => format!("reject {}", name(&error)),
    };
    assert_eq!(judged, headers["expect"], "{codec:?} {}", headers["name"]);
    if let Some(leaf) = headers.get("leaf") {
        assert_eq!(Digest::of(&[&[0], bytes.as_slice()].concat()).to_string(), *leaf);
    }
}
