//! Takes what another database is ahead.

use redb::{ReadTransaction, ReadableTable as _, WriteTransaction};

use super::{ACCESS, BY_FUNCTION, FUNCTIONS, Inner, JOURNAL, META, copy::copy_table};
use crate::StoreError;

impl Inner {
    /// Takes documents and records of `ahead`, which has to go on from what this database has, in one
    /// transaction. What was observed stays as it is.
    pub(super) fn advance_to(&self, ahead: &Self) -> Result<(), StoreError> {
        let (from, to) = (ahead.read()?, self.write()?);
        advance(&from, &to).map_err(|error| self.failed(error))?;
        to.commit().map_err(|error| self.failed(error))
    }
}

fn advance(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), redb::Error> {
    let at = to.open_table(META)?.get("revision")?.map_or(0, |revision| revision.value());
    let (records, mut journal) = (from.open_table(JOURNAL)?, to.open_table(JOURNAL)?);
    for row in records.range(at + 1..)? {
        let (revision, text) = row?;
        journal.insert(revision.value(), text.value())?;
    }
    let (rows, mut index) = (from.open_table(BY_FUNCTION)?, to.open_table(BY_FUNCTION)?);
    for row in rows.iter()? {
        let (key, _) = row?;
        let (function, revision) = key.value();
        if revision > at {
            index.insert((function, revision), ())?;
        }
    }
    // A document is never removed, only replaced.
    copy_table(from, to, FUNCTIONS)?;
    copy_table(from, to, ACCESS)?;
    copy_table(from, to, META)
}
