//! A database file: how it is opened, and what is left of it while it cannot be.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use redb::{
    Database, DatabaseError, Durability, ReadableTable as _, TableDefinition, WriteTransaction,
    backends::FileBackend,
};

use crate::{StoreError, embedded::unusable};

/// The page cache of one file.
const CACHE_BYTES: usize = 32 << 20;

/// Numbers of a database, by name.
pub(in crate::embedded) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// Where a database is, and what is in it.
#[derive(Clone, Debug)]
pub(in crate::embedded) struct DatabaseFile {
    /// The file.
    pub(in crate::embedded) path: PathBuf,
    /// The newest format that this program knows, and the format of a new file.
    pub(in crate::embedded) format: u64,
    /// Creates the tables.
    pub(in crate::embedded) prepare: fn(&WriteTransaction) -> Result<(), redb::Error>,
}

impl DatabaseFile {
    /// Opens the file. Creates it, for this user only, with its folder, if it does not exist. Blocks.
    ///
    /// # Errors
    /// Another process has it open, it cannot be opened, or it has a newer format.
    pub(in crate::embedded) fn open(&self) -> Result<Database, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| unusable(folder, error))?;
        // What clients and services sent is for nobody else.
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path).map_err(|error| unusable(&self.path, error))?;
        let opened = FileBackend::new(file)
            .and_then(|backend| Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend));
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(folder.to_owned()),
            DatabaseError::Storage(redb::StorageError::Io(error)) => unusable(&self.path, error),
            error => failed(&self.path, &error.into()),
        })?;
        let found = self.prepared(&database).map_err(|error| failed(&self.path, &error))?;
        if found > self.format {
            return Err(StoreError::Newer { path: self.path.clone(), found, known: self.format });
        }
        Ok(database)
    }

    /// What `error` is about this file.
    pub(in crate::embedded) fn failed(&self, error: &redb::Error) -> StoreError {
        failed(&self.path, error)
    }

    /// Creates the tables of a new file. Returns the format of the file.
    fn prepared(&self, database: &Database) -> Result<u64, redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get("format")?.map(|found| found.value());
            if let Some(found) = found {
                return Ok(found);
            }
            meta.insert("format", self.format)?;
        }
        (self.prepare)(&transaction)?;
        transaction.commit()?;
        Ok(self.format)
    }
}

/// The database of a file, as long as there is one.
pub(super) enum Held {
    /// It is open.
    Open(Database),
    /// It was handed over to another process.
    Released,
    /// It could not be opened again.
    Failed(StoreError),
}

impl Held {
    /// The database in the file at `path`.
    pub(super) fn database(&self, path: &Path) -> Result<&Database, StoreError> {
        match self {
            Self::Open(database) => Ok(database),
            Self::Released => Err(StoreError::Released(path.parent().unwrap_or(path).to_owned())),
            Self::Failed(error) => Err(error.again(path)),
        }
    }
}

/// What `error` is about the file at `path`.
pub(in crate::embedded) fn failed(path: &Path, error: &redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => StoreError::of_io(path, error),
        error => StoreError::Database { path: path.to_owned(), reason: error.to_string() },
    }
}
