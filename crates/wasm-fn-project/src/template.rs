//! The templates that are part of the program, by language.

/// Files, as their paths in a project and in the folder of templates.
macro_rules! files {
    ($($path:literal = $file:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../templates/", $file)))),*]
    };
}

/// A file of a template: its path in the project, and its text with `{{name}}` for the function's name.
pub(crate) type File = (&'static str, &'static str);

/// A language that has a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust: a wasi:http 0.2 handler.
    Rust,
    /// JavaScript on QuickJS: a wasi:http 0.3 handler.
    JavaScript,
    /// The same in TypeScript.
    TypeScript,
    /// Python: a wasi:http 0.2 handler.
    Python,
    /// Go: a command that answers by CGI rules.
    Go,
    /// C: a command that answers by CGI rules.
    C,
}

/// A template that is part of the program.
#[derive(Debug)]
pub struct Template {
    /// Its name, as `--lang` and `--template` take it.
    pub name: &'static str,
    /// Its language.
    pub language: Language,
    /// The language's name for people.
    pub title: &'static str,
    /// What it needs to be built, for people.
    pub tools: &'static str,
    /// The file to begin with.
    pub main: &'static str,
    files: &'static [File],
    shared: &'static [File],
}

/// No template has the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {}{}", names(), .nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default())]
pub struct UnknownTemplate {
    /// What was asked for.
    pub found: String,
    /// The name that is most like it, if one is.
    pub nearest: Option<&'static str>,
}

/// Files of all projects.
const EVERYWHERE: &[File] = files!["README.md" = "README.md", "checks.toml" = "checks.toml"];

/// What is between a handler in JavaScript and wasi:http.
const JAVASCRIPT: &[File] = files![
    "package.json" = "js/package.json",
    "wasm-fn.toml" = "js/wasm-fn.toml",
    ".gitignore" = "js/gitignore",
    "wasm-fn/build.mjs" = "js/wasm-fn/build.mjs",
    "wasm-fn/code.js" = "js/wasm-fn/code.js",
    "wasm-fn/console.js" = "js/wasm-fn/console.js",
    "wasm-fn/development.js" = "js/wasm-fn/development.js",
    "wasm-fn/function.d.ts" = "js/wasm-fn/function.d.ts",
    "wasm-fn/http.js" = "js/wasm-fn/http.js",
    "wasm-fn/production.js" = "js/wasm-fn/production.js",
    "wasm-fn/utf8.js" = "js/wasm-fn/utf8.js",
    "wasm-fn/wit/world.wit" = "js/wasm-fn/wit/world.wit",
    "wasm-fn/wit/deps/cli.wit" = "js/wasm-fn/wit/deps/cli.wit",
    "wasm-fn/wit/deps/clocks.wit" = "js/wasm-fn/wit/deps/clocks.wit",
    "wasm-fn/wit/deps/http.wit" = "js/wasm-fn/wit/deps/http.wit",
    "wasm-fn/wit/deps/io.wit" = "js/wasm-fn/wit/deps/io.wit",
    "wasm-fn/wit/deps/random.wit" = "js/wasm-fn/wit/deps/random.wit",
];

/// The templates, in the order in which they are listed.
static TEMPLATES: [Template; 6] = [
    Template {
        name: "rust",
        language: Language::Rust,
        title: "Rust",
        tools: "Rust with its target for WebAssembly: `rustup target add wasm32-wasip2`",
        main: "src/lib.rs",
        files: files![
            "Cargo.toml" = "rust/Cargo.toml.in",
            "src/lib.rs" = "rust/src/lib.rs.in",
            "wasm-fn.toml" = "rust/wasm-fn.toml",
            ".gitignore" = "rust/gitignore",
        ],
        shared: &[],
    },
    Template {
        name: "js",
        language: Language::JavaScript,
        title: "JavaScript",
        tools: "Node.js 20 or later with npm",
        main: "src/index.js",
        files: files!["src/index.js" = "js/src/index.js"],
        shared: JAVASCRIPT,
    },
    Template {
        name: "ts",
        language: Language::TypeScript,
        title: "TypeScript",
        tools: "Node.js 20 or later with npm",
        main: "src/index.ts",
        files: files!["src/index.ts" = "ts/src/index.ts"],
        shared: JAVASCRIPT,
    },
    Template {
        name: "python",
        language: Language::Python,
        title: "Python",
        tools: "Python 3.10 or later with venv",
        main: "src/app.py",
        files: files![
            "src/app.py" = "python/src/app.py",
            "requirements.txt" = "python/requirements.txt",
            "build.sh" = "python/build.sh",
            "wasm-fn.toml" = "python/wasm-fn.toml",
            ".gitignore" = "python/gitignore",
            "wit/world.wit" = "python/wit/world.wit",
            "wit/deps/clocks.wit" = "python/wit/deps/clocks.wit",
            "wit/deps/http.wit" = "python/wit/deps/http.wit",
            "wit/deps/io.wit" = "python/wit/deps/io.wit",
        ],
        shared: &[],
    },
    Template {
        name: "go",
        language: Language::Go,
        title: "Go",
        tools: "Go 1.21 or later",
        main: "main.go",
        files: files![
            "main.go" = "go/main.go",
            "go.mod" = "go/go.mod.in",
            "wasm-fn.toml" = "go/wasm-fn.toml",
            ".gitignore" = "go/gitignore",
        ],
        shared: &[],
    },
    Template {
        name: "c",
        language: Language::C,
        title: "C",
        tools: "Zig, or Clang with a WASI library: `python3 -m pip install ziglang`, or the WASI SDK in \
                WASI_SDK_PATH, or Debian's packages clang, lld, wasi-libc and libclang-rt-dev-wasm32",
        main: "src/main.c",
        files: files![
            "src/main.c" = "c/src/main.c",
            "build.sh" = "c/build.sh",
            "wasm-fn.toml" = "c/wasm-fn.toml",
            ".gitignore" = "c/gitignore",
        ],
        shared: &[],
    },
];

/// Other words for languages.
const ALIASES: [(&str, &str); 6] = [
    ("rs", "rust"),
    ("javascript", "js"),
    ("typescript", "ts"),
    ("py", "python"),
    ("python3", "python"),
    ("golang", "go"),
];

/// From this likeness on (Jaro, 0 to 1), a name is proposed.
const LIKENESS_MIN: f64 = 0.75;

impl Template {
    /// All templates.
    pub fn all() -> &'static [Self] {
        &TEMPLATES
    }

    /// The template `name`, or that of the language with this name.
    ///
    /// # Errors
    /// There is none; the nearest name is in the error.
    pub fn find(name: &str) -> Result<&'static Self, UnknownTemplate> {
        let lower = name.to_ascii_lowercase();
        let known = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(&*lower, |(_, name)| *name);
        let found = TEMPLATES.iter().find(|template| template.name == known);
        found.ok_or_else(|| UnknownTemplate { found: name.to_owned(), nearest: nearest(&lower) })
    }

    /// Its files, with `name` filled in.
    pub(crate) fn files(&self, name: &str) -> Vec<(&'static str, String)> {
        let values = [
            ("{{language}}", self.title),
            ("{{tools}}", self.tools),
            ("{{source}}", self.main),
            ("{{name}}", name),
        ];
        let fill = |text: &str| {
            let mut text = text.to_owned();
            for (word, value) in values {
                text = text.replace(word, value);
            }
            text
        };
        let files = EVERYWHERE.iter().chain(self.shared).chain(self.files);
        files.map(|(path, text)| (*path, fill(text))).collect()
    }
}

/// `rust, js, ts, python, go or c`.
fn names() -> String {
    let names: Vec<_> = TEMPLATES.iter().map(|template| template.name).collect();
    let (last, first) = names.split_last().expect("there are templates");
    format!("{} or {last}", first.join(", "))
}

/// The name that `asked` is most like.
fn nearest(asked: &str) -> Option<&'static str> {
    let names = TEMPLATES.iter().map(|template| (template.name, template.name));
    let like = |(word, name): (&str, &'static str)| (strsim::jaro(asked, word), name);
    let best = names.chain(ALIASES).map(like).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > LIKENESS_MIN).then_some(best.1)
}

#[cfg(test)]
mod tests;
