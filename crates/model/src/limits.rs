//! A limit on everything that a peer, a file or a person can send, with its unit.

/// One protobuf frame on a stream, in bytes, without its length prefix.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// The payload of one query (parameters, statement, officer), in bytes.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;
/// One log entry, in bytes: what a C2SP entry bundle can hold.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Entries in one group commit.
pub const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bidirectional streams that one peer may hold open on a connection.
pub const STREAMS_PER_PEER_MAX: u32 = 256;
/// Queries that one peer may have recorded per minute.
pub const QUERIES_PER_PEER_PER_MINUTE_MAX: u32 = 1_200_000;
/// Queries that one officer may send per minute.
pub const QUERIES_PER_OFFICER_PER_MINUTE_MAX: u32 = 600;
/// Records in one answer.
pub const RECORDS_PER_ANSWER_MAX: usize = 100;
/// Fields (leaves, before padding) in one answer tree.
pub const ANSWER_LEAVES_MAX: usize = 4_096;
/// The plaintext of one answer body, in bytes.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// How far in the future a peer's time may lie, in milliseconds.
pub const CLOCK_SKEW_MILLIS_MAX: u64 = 30_000;
/// The longest deadline a query may carry, in milliseconds (7 days).
pub const DEADLINE_MILLIS_MAX: u64 = 7 * 24 * 3_600_000;
/// Answers that an asker may leave unreceipted past their deadlines before it is answered nothing new.
pub const UNRECEIPTED_ANSWERS_MAX: usize = 64;
/// One charter part (common part or annex), in bytes of TOML.
pub const CHARTER_BYTES_MAX: usize = 1 << 20;
/// Signatures on a note.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// One signed note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Hashes in one inclusion or consistency proof.
pub const PROOF_HASHES_MAX: usize = 63;
/// Lifetime of an escrow seed, in milliseconds (one hour).
pub const ESCROW_SEED_MILLIS: u64 = 3_600_000;
/// One escrowed opening (payload, salts, keys), in bytes.
pub const ESCROW_OPENING_BYTES_MAX: usize = 128 * 1024 - 4;
/// One line of an imported file, in bytes.
pub const IMPORT_LINE_BYTES_MAX: usize = 1 << 20;
/// One field of a record, in bytes of UTF-8.
pub const FIELD_BYTES_MAX: usize = 4_096;
/// Proof of past numbers: holes that one PERIOD may name.
pub const HOLES_PER_PERIOD_MAX: usize = 1_000;
/// Parameters of one query; fields that one explanation names as missing.
pub const PARAMS_PER_QUERY_MAX: usize = 64;
/// Characters of a statement of facts.
pub const FACTS_CHARS_MAX: usize = 10_000;
/// Questions of one peer that may wait for a person's decision at once.
pub const PARKED_PER_PEER_MAX: usize = 256;
/// Characters of a text that says why a question is refused, or how to appeal.
pub const WORDS_CHARS_MAX: usize = 500;
/// Nations of one federation: as many as there are two-letter codes.
pub const NATIONS_MAX: usize = 26 * 26;
/// Signatures on one charter part.
pub const PART_SIGNATURES_MAX: usize = 256;
/// Charter parts that a peer's vector may lie ahead of this node's: a node further behind is given them by hand.
pub const PARTS_AHEAD_MAX: usize = 64;
/// Characters of an alert's area, and of a headline.
pub const HEADLINE_CHARS_MAX: usize = 200;
/// Characters of what an alert says is to be done.
pub const ACTION_CHARS_MAX: usize = 2_000;
/// How long an alert may stand, in milliseconds (30 days).
pub const ALERT_MILLIS_MAX: u64 = 30 * 24 * 3_600_000;
/// Members that one post asks: larger groups are asked in several.
pub const ASKS_PER_POST_MAX: usize = 24;
