//! `wasm-fn new`: makes a project from a template.

use std::path::PathBuf;

use serde::Serialize;
use wasm_fn_project::{CreateError, Template, TemplateSource, create};

use crate::{
    args::{self, Format},
    commands::DONE,
    fault::Fault,
    output::{Output, visible},
};

/// What was made.
#[derive(Serialize)]
struct Made {
    function: String,
    folder: PathBuf,
}

pub(crate) fn run(args: &args::New) -> Result<u8, Fault> {
    let output = Output::new(Format::Table);
    let Some(name) = args.name.as_ref().filter(|_| !args.list) else {
        let line =
            |template: &Template| format!("{:<8}{}: {}", template.name, template.title, template.tools);
        let lines: Vec<_> = Template::all().iter().map(line).collect();
        output.data(&lines.join("\n"), Clone::clone)?;
        return Ok(DONE);
    };
    let source = match (&args.template, args.lang) {
        (Some(source), _) => source.clone(),
        (None, lang) => TemplateSource::Template(lang.expect("clap asks for one of them")),
    };
    let folder = args.into.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    create(&folder, &source, name.as_str()).map_err(|error| fault(&error))?;
    let made = Made { function: name.to_string(), folder };
    output.data(&made, |made| {
        format!("{} is in {}", made.function, visible(&made.folder.display().to_string()))
    })?;
    if let TemplateSource::Template(template) = source {
        output.talk(&format!("its code is in {}; you need {}", template.main, template.tools));
    }
    let shown = made.folder.display().to_string();
    output.next(&[
        (format!("cd {}", visible(&shown)), "the project"),
        ("wasm-fn dev".to_owned(), "build it, serve it, and deploy each change"),
        ("wasm-fn test".to_owned(), "send the requests of checks.toml"),
    ]);
    Ok(DONE)
}

fn fault(error: &CreateError) -> Fault {
    let (code, help) = match error {
        CreateError::NotEmpty { .. } => ("not-empty", Some("name another folder with --into".to_owned())),
        CreateError::NoGit(tool) => ("no-tool", Some(tool.install.clone())),
        CreateError::NotCloned { .. } => ("not-cloned", None),
        CreateError::NoTemplate { .. } | CreateError::TooManyFiles { .. } => ("no-template", None),
        CreateError::Io { .. } => ("unwritable", None),
    };
    let fault = Fault::new(code, "no project was made", error);
    match help {
        Some(help) => fault.help(help),
        None => fault,
    }
}
