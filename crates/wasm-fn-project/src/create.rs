//! Makes a project in a new folder: from a template of the program, a directory, or a git repository.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{MissingTool, Template, tool};

/// Most files that a template may have, so that a wrong directory is noticed.
const FILES_MAX: usize = 10_000;

/// What a project is made from.
#[derive(Clone, Debug)]
pub enum TemplateSource {
    /// A template of the program.
    Template(&'static Template),
    /// A directory. `{{name}}` in its text files is filled in.
    Directory(PathBuf),
    /// A git repository, which is cloned without its history.
    Git(String),
}

/// Why a project was not made. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The folder has something in it.
    #[error("{} is not empty: found {first}, expected no file or an empty folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// A file in it.
        first: String,
    },
    /// A folder or file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The directory is no template.
    #[error("{}: found no wasm-fn.toml, expected a template", path.display())]
    NoTemplate {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has more files than a template has.
    #[error("{}: found more than {FILES_MAX} files, expected a template", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// Git is not there.
    #[error(transparent)]
    NoGit(#[from] MissingTool),
    /// The repository was not cloned.
    #[error("{url} was not cloned: {reason}")]
    NotCloned {
        /// Its address.
        url: String,
        /// What git said.
        reason: String,
    },
}

impl TemplateSource {
    /// What `--template` means: the name of a template, the URL of a git repository, or a directory.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Self, crate::UnknownTemplate> {
        let is_url = text.contains("://") || (text.starts_with("git@") && text.contains(':'));
        if is_url || (text.ends_with(".git") && !Path::new(text).is_dir()) {
            return Ok(Self::Git(text.to_owned()));
        }
        if text.contains(['/', '\\']) || text == "." || text == ".." {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        match Template::find(text) {
            Ok(template) => Ok(Self::Template(template)),
            Err(_) if Path::new(text).is_dir() => Ok(Self::Directory(PathBuf::from(text))),
            Err(error) => Err(error),
        }
    }
}

/// Makes the project of the function `name` in `folder`, which is made as well. Blocks.
///
/// # Errors
/// The folder is not empty, or something cannot be read or written. Nothing is left behind.
pub fn create(folder: &Path, source: &TemplateSource, name: &str) -> Result<(), CreateError> {
    let existed = empty(folder)?;
    let files: Vec<Read> = match source {
        TemplateSource::Template(template) => {
            let files = template.files(name).into_iter();
            files.map(|(path, text)| (PathBuf::from(path), text.into_bytes(), false)).collect()
        }
        TemplateSource::Directory(path) => read(path, name)?,
        TemplateSource::Git(url) => {
            let clone = clone(url)?;
            read(clone.path(), name)?
        }
    };
    let written = write(folder, &files);
    if written.is_err() {
        // What was written is ours alone: the folder was empty.
        let _ = fs::remove_dir_all(folder);
        if existed {
            let _ = fs::create_dir(folder);
        }
    }
    written
}

/// Whether `folder` exists. It must be empty then.
fn empty(folder: &Path) -> Result<bool, CreateError> {
    let failed = |error| CreateError::Io { path: folder.to_owned(), error };
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    match entries.next() {
        None => Ok(true),
        Some(entry) => {
            let first = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            Err(CreateError::NotEmpty { folder: folder.to_owned(), first })
        }
    }
}

/// A file: its path in the project, its contents, and whether it may be run.
type Read = (PathBuf, Vec<u8>, bool);

/// The files of the template in the directory `root`, with `name` filled in.
fn read(root: &Path, name: &str) -> Result<Vec<Read>, CreateError> {
    let failed = |path: &Path, error| CreateError::Io { path: path.to_owned(), error };
    fs::read_dir(root).map_err(|error| failed(root, error))?;
    if !root.join("wasm-fn.toml").is_file() {
        return Err(CreateError::NoTemplate { path: root.to_owned() });
    }
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(|error| failed(&path, error))? {
            let entry = entry.map_err(|error| failed(&path, error))?;
            let (from, to) = (entry.path(), folder.join(entry.file_name()));
            let kind = entry.file_type().map_err(|error| failed(&from, error))?;
            // A link may lead out of the template.
            if kind.is_dir() && entry.file_name() != ".git" {
                folders.push(to);
            } else if kind.is_file() {
                if files.len() == FILES_MAX {
                    return Err(CreateError::TooManyFiles { path: root.to_owned() });
                }
                let bytes = fs::read(&from).map_err(|error| failed(&from, error))?;
                let bytes = match String::from_utf8(bytes) {
                    Ok(text) => text.replace("{{name}}", name).into_bytes(),
                    Err(error) => error.into_bytes(),
                };
                files.push((to, bytes, may_run(&from)));
            }
        }
    }
    Ok(files)
}

fn write(folder: &Path, files: &[Read]) -> Result<(), CreateError> {
    let failed = |path: &Path, error| CreateError::Io { path: path.to_owned(), error };
    for (path, bytes, runs) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
        if *runs {
            let_run(&path).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn may_run(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o100 != 0)
}

#[cfg(unix)]
fn let_run(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2)))
}

/// Clones the repository at `url` without its history.
fn clone(url: &str) -> Result<tempfile::TempDir, CreateError> {
    let folder =
        tempfile::tempdir().map_err(|error| CreateError::Io { path: std::env::temp_dir(), error })?;
    let mut git = Command::new("git");
    // After `--`, nothing is an option. Git must not ask: nobody would see it.
    git.args(["clone", "--quiet", "--depth", "1", "--", url]).arg(folder.path());
    git.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    let done = match git.output() {
        Ok(done) => done,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(tool::missing("git").into()),
        Err(error) => return Err(CreateError::NotCloned { url: url.to_owned(), reason: error.to_string() }),
    };
    if done.status.success() {
        return Ok(folder);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let reason = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("git failed").to_owned();
    Err(CreateError::NotCloned { url: url.to_owned(), reason })
}

#[cfg(test)]
mod tests;
