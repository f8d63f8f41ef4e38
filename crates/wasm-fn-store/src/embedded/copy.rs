//! Copies a database while it is in use.

use std::path::Path;

use redb::{Key, ReadTransaction, ReadableTable as _, TableDefinition, Value, WriteTransaction};

use super::{ACCESS, BY_FUNCTION, FUNCTIONS, Inner, JOURNAL, META, TOKEN_USES, TRAPS};
use crate::StoreError;

impl Inner {
    /// Copies everything that the database holds now into a new database in `folder`. Calls `begun` as soon
    /// as later commits have no influence on the copy.
    ///
    /// The pages of a file that is being written do not fit each other, so the rows are copied, and not the
    /// file.
    pub(super) fn copy(&self, folder: &Path, begun: impl FnOnce()) -> Result<(), StoreError> {
        let from = self.read()?;
        begun();
        let copy = Self::open(folder)?;
        let to = copy.write()?;
        copy_all(&from, &to).map_err(|error| copy.failed(error))?;
        to.commit().map_err(|error| copy.failed(error))
    }
}

fn copy_all(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), redb::Error> {
    copy_table(from, to, META)?;
    copy_table(from, to, FUNCTIONS)?;
    copy_table(from, to, JOURNAL)?;
    copy_table(from, to, BY_FUNCTION)?;
    copy_table(from, to, ACCESS)?;
    copy_table(from, to, TOKEN_USES)?;
    copy_table(from, to, TRAPS)
}

/// Copies the rows of `table`.
pub(super) fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<(), redb::Error> {
    let (rows, mut copy) = (from.open_table(table)?, to.open_table(table)?);
    for row in rows.iter()? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}
