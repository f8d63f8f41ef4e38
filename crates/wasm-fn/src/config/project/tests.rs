//! Which function and which file `deploy` chooses.

use std::path::{Path, PathBuf};

use wasm_fn_core::StageName;

use super::{ConfigFile, Deployment, ModuleSource, name_of};

fn source(text: &str) -> ModuleSource {
    ModuleSource::parse(Path::new(text)).unwrap()
}

#[test]
fn a_file_name_becomes_a_function_name() {
    let name = |path: &str| name_of(&source(path)).map(|name| name.to_string()).map_err(|_| ());
    assert_eq!(name("target/wasm32-wasip2/release/hello.wasm"), Ok("hello".to_owned()));
    assert_eq!(name("Hello World.component.wasm"), Ok("hello-world-component".to_owned()));
    assert_eq!(name("_hello_.wasm"), Ok("hello".to_owned()));
    assert_eq!(name("größe.wasm"), Ok("gr--e".to_owned()));
    assert_eq!(name(&format!("{}.wasm", "a".repeat(200))), Ok("a".repeat(63)));
    assert_eq!(name("oci://ghcr.io/acme/hello.world:v1"), Ok("hello-world".to_owned()));
    assert_eq!(name("---.wasm"), Err(()));
    assert_eq!(name("/"), Err(()));
}

/// The function, the file, and whether the name was derived; or the error.
fn chosen(
    component: Option<&str>,
    function: Option<&str>,
    text: &str,
) -> Result<(String, String, bool), String> {
    let file = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap();
    let function = function.map(|function| function.parse().unwrap());
    Deployment::choose(component.map(source).as_ref(), function.as_ref(), &StageName::live(), file, None)
        .map(|chosen| (chosen.function.to_string(), chosen.component.to_string(), chosen.name_derived))
        .map_err(|(cause, _)| cause)
}

const TWO: &str = "[function.a]\ncomponent = \"x.wasm\"\n[function.b]\ncomponent = \"y.wasm\"\n";

#[test]
fn the_function_is_the_one_that_is_named() {
    assert_eq!(chosen(Some("x.wasm"), Some("b"), TWO), Ok(("b".to_owned(), "x.wasm".to_owned(), false)));
    assert_eq!(chosen(None, Some("b"), TWO), Ok(("b".to_owned(), "y.wasm".to_owned(), false)));
    assert_eq!(chosen(Some("z.wasm"), Some("c"), ""), Ok(("c".to_owned(), "z.wasm".to_owned(), false)));
}

#[test]
fn else_it_is_the_only_one_with_the_component() {
    assert_eq!(chosen(Some("y.wasm"), None, TWO), Ok(("b".to_owned(), "y.wasm".to_owned(), false)));
    let one = "[function.a]\ncomponent = \"x.wasm\"\n";
    assert_eq!(chosen(None, None, one), Ok(("a".to_owned(), "x.wasm".to_owned(), false)));
}

#[test]
fn an_artifact_of_a_registry_is_a_component_as_a_file_is() {
    const OCI: &str =
        "[function.a]\ncomponent = \"oci://ghcr.io/acme/a:v1\"\n[function.b]\ncomponent = \"y\"\n";
    let a = |derived| Ok(("a".to_owned(), "oci://ghcr.io/acme/a:v1".to_owned(), derived));
    assert_eq!(chosen(None, Some("a"), OCI), a(false));
    assert_eq!(chosen(Some("oci://ghcr.io/acme/a:v1"), None, OCI), a(false));
    assert_eq!(chosen(Some("oci://ghcr.io/acme/a:v1"), None, ""), a(true));
    // Its path is not relative to the file's folder.
    let file = ConfigFile::parse(Path::new("folder/wasm-fn.toml"), OCI).unwrap();
    let components: Vec<_> = file.functions.values().flat_map(|found| &found.component).collect();
    assert_eq!(components, [&source("oci://ghcr.io/acme/a:v1"), &source("folder/y")]);
}

#[test]
fn a_component_that_is_meant_as_a_reference_has_to_be_one() {
    let text = "[function.a]\ncomponent = \"oci://ghcr.io\"\n";
    let error = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap_err().to_string();
    assert!(error.contains("function.a.component"), "{error}");
    assert!(error.contains("\"oci://ghcr.io\" names no repository, expected oci://REGISTRY"), "{error}");
}

#[test]
fn else_it_is_called_like_the_file() {
    assert_eq!(chosen(Some("z.wasm"), None, TWO), Ok(("z".to_owned(), "z.wasm".to_owned(), true)));
}

#[test]
fn a_derived_name_has_its_configuration() {
    let file = ConfigFile::parse(Path::new("wasm-fn.toml"), "[function.z]\nqueue = 3\n").unwrap();
    let path = Path::new("wasm-fn.toml");
    let chosen =
        Deployment::choose(Some(&source("z.wasm")), None, &StageName::live(), file, Some(path)).unwrap();
    assert_eq!((chosen.config.queue, chosen.not_in), (Some(3), None));
}

#[test]
fn a_function_that_the_file_does_not_have_is_noticed() {
    let not_in = |function: Option<&str>, path: Option<&str>| {
        let file = ConfigFile::parse(Path::new("wasm-fn.toml"), TWO).unwrap();
        let function = function.map(|function| function.parse().unwrap());
        let path = path.map(Path::new);
        let chosen =
            Deployment::choose(Some(&source("z.wasm")), function.as_ref(), &StageName::live(), file, path);
        chosen.unwrap().not_in
    };
    let path = Some(PathBuf::from("wasm-fn.toml"));
    assert_eq!(not_in(Some("hello"), Some("wasm-fn.toml")), path);
    assert_eq!(not_in(None, Some("wasm-fn.toml")), path);
    assert_eq!(not_in(Some("a"), Some("wasm-fn.toml")), None);
    assert_eq!(not_in(Some("hello"), None), None);
}

#[test]
fn what_is_ambiguous_is_refused() {
    let twice = "[function.a]\ncomponent = \"x.wasm\"\n[function.b]\ncomponent = \"x.wasm\"\n";
    let several = "wasm-fn.toml has several functions with this file: a, b";
    assert_eq!(chosen(Some("x.wasm"), None, twice), Err(several.to_owned()));
    assert_eq!(
        chosen(None, None, twice),
        Err("no FILE is given, and wasm-fn.toml has several functions with a `component`: a, b".to_owned())
    );
    assert_eq!(
        chosen(None, None, ""),
        Err("no FILE is given, and wasm-fn.toml has no function with a `component`".to_owned())
    );
    assert_eq!(
        chosen(None, Some("c"), TWO),
        Err("no FILE is given, and wasm-fn.toml has no `component` for c".to_owned())
    );
}
