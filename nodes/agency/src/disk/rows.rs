//! The rows of the evidence store: small values beside their key, large ones in a table of their own.
//!
//! A tree ordered by key is dear where keys come in no order: each change dirties a page, which is written twice.
//! Therefore the tree of keys is kept small, and what is large is appended to a table in the order of its arrival, which
//! fills one page after the other.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

/// `value` of `kv` is the sealed value itself, or the id of its row in `large`.
pub(crate) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS large (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

/// Sealed values of more bytes than this are kept in `large`.
const SMALL_BYTES_MAX: usize = 256;

/// Where a value is kept.
enum Place {
    BesideKey,
    Large(i64),
}

/// The statements of one transaction.
pub(crate) struct Rows<'c> {
    insert: CachedStatement<'c>,
    find: CachedStatement<'c>,
    update: CachedStatement<'c>,
    delete: CachedStatement<'c>,
    insert_large: CachedStatement<'c>,
    update_large: CachedStatement<'c>,
    delete_large: CachedStatement<'c>,
    /// The next id in `large`.
    next: i64,
}

impl<'c> Rows<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let next = connection
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM large")?
            .query_row([], |row| row.get::<_, i64>(0))?;
        Ok(Self {
            insert: connection.prepare_cached("INSERT INTO kv (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?,
            find: connection.prepare_cached("SELECT value FROM kv WHERE key = ?1")?,
            update: connection.prepare_cached("UPDATE kv SET value = ?2 WHERE key = ?1")?,
            delete: connection.prepare_cached("DELETE FROM kv WHERE key = ?1")?,
            insert_large: connection.prepare_cached("INSERT INTO large (id, value) VALUES (?1, ?2)")?,
            update_large: connection.prepare_cached("UPDATE large SET value = ?2 WHERE id = ?1")?,
            delete_large: connection.prepare_cached("DELETE FROM large WHERE id = ?1")?,
            next,
        })
    }

    /// Keeps a sealed value under a key, new (as most are) or known.
    pub(crate) fn put(&mut self, key: &[u8], sealed: &[u8]) -> rusqlite::Result<()> {
        if sealed.len() <= SMALL_BYTES_MAX {
            if self.insert.execute(params![key, sealed])? == 0 {
                if let Some(Place::Large(id)) = self.find(key)? {
                    self.delete_large.execute([id])?;
                }
                self.update.execute(params![key, sealed])?;
            }
            return Ok(());
        }
        if self.insert.execute(params![key, self.next])? == 0 {
            if let Some(Place::Large(id)) = self.find(key)? {
                return self.update_large.execute(params![id, sealed]).map(drop);
            }
            self.update.execute(params![key, self.next])?;
        }
        self.insert_large.execute(params![self.next, sealed])?;
        self.next += 1;
        Ok(())
    }

    /// Erases a key and its value, if the store has it.
    pub(crate) fn remove(&mut self, key: &[u8]) -> rusqlite::Result<()> {
        let Some(place) = self.find(key)? else { return Ok(()) };
        if let Place::Large(id) = place {
            self.delete_large.execute([id])?;
        }
        self.delete.execute([key]).map(drop)
    }

    fn find(&mut self, key: &[u8]) -> rusqlite::Result<Option<Place>> {
        let place = self.find.query_row([key], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(id) => Place::Large(id),
                _ => Place::BesideKey,
            })
        });
        place.optional()
    }
}
