//! A limit on everything that a member, a relay or a caller can hand in, with its unit.

/// Members of one group.
pub const MEMBERS_MAX: usize = 1_000;
/// Members that one commit may add; a larger group is built by several commits.
pub const ADDS_PER_COMMIT_MAX: usize = 200;
/// Certificates in a leaf's chain, its own included, the root not.
pub const CHAIN_CERTIFICATES_MAX: usize = 4;
/// A leaf's chain, in bytes: every member holds every chain.
pub const CHAIN_BYTES_MAX: usize = 8 * 1024;
/// One key package, in bytes.
pub const KEY_PACKAGE_BYTES_MAX: usize = 12 * 1024;
/// One commit, in bytes.
pub const COMMIT_BYTES_MAX: usize = 4 << 20;
/// One Welcome, in bytes: it holds the whole tree.
pub const WELCOME_BYTES_MAX: usize = 12 << 20;
/// What a member that lost its state rejoins with, in bytes: it holds the whole tree.
pub const GROUP_INFO_BYTES_MAX: usize = 12 << 20;
/// The content of one message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// What a message says in the clear, in bytes.
pub const AAD_BYTES_MAX: usize = 1_024;
/// One message as it travels, in bytes.
pub const SEALED_BYTES_MAX: usize = MESSAGE_BYTES_MAX + AAD_BYTES_MAX + 4 * 1024;
/// A message's content is padded to a multiple of this, in bytes.
pub const PADDING_BYTES: usize = 256;
/// A group's policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 4 * 1024;
/// The name of a pre-shared key, in bytes.
pub const PSK_NAME_BYTES_MAX: usize = 64;
/// Pre-shared keys that one commit may take in.
pub const PSKS_PER_COMMIT_MAX: usize = 8;
/// Past epochs whose messages still open. Every message rewrites what is kept of them.
pub const PAST_EPOCHS_MAX: usize = 1;
/// Messages of one sender that may arrive later than a newer one, and still open.
pub const OUT_OF_ORDER_MAX: u32 = 64;
/// Messages of one sender that may be missing before one that opens.
pub const SKIPPED_MAX: u32 = 2_000;
/// Messages of coming epochs that are held back, per group.
pub const EARLY_MESSAGES_MAX: usize = 64;
/// The same, in bytes.
pub const EARLY_BYTES_MAX: usize = 1 << 20;
/// How many epochs ahead a message that is held back may be.
pub const EARLY_EPOCHS_MAX: u64 = 8;
/// Key packages for one use that a node keeps ready, per ciphersuite.
pub const STOCK: usize = 16;
/// So many left: time to make more.
pub const STOCK_LOW: usize = 8;
/// Life of a key package, in milliseconds (84 days).
pub const KEY_PACKAGE_MILLIS: u64 = 84 * 86_400_000;
/// So much of its life a key package must still have when it is used, in milliseconds (42 days): a member that was away
/// for that long can still process the commit that used it.
pub const KEY_PACKAGE_MARGIN_MILLIS: u64 = 42 * 86_400_000;
/// How far clocks may disagree, in milliseconds.
pub const CLOCK_SKEW_MILLIS_MAX: u64 = puente_model::limits::CLOCK_SKEW_MILLIS_MAX;
