//! Facts about features that are off.

use wasmparser::Validator;

use super::*;

fn engine(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    // The compiling threads are the node's compiler's to start.
    change(config.parallel_compilation(false));
    Engine::new(&config).unwrap()
}

#[test]
fn what_is_asked_is_refused_for_its_feature_alone() {
    for (name, module) in MODULES {
        let module = [HEADER, module].concat();
        let mut all = Validator::new_with_features(wasmparser::WasmFeatures::all());
        all.validate_all(&module).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut without = wasmparser::WasmFeatures::all();
        without.remove(wasmparser::WasmFeatures::from_bits_retain(ABSENT.bits()));
        assert!(Validator::new_with_features(without).validate_all(&module).is_err(), "{name}");
    }
}

#[test]
fn an_engine_takes_none_once_they_are_off() {
    assert_eq!(found(&engine(switch_off)), None);
}

#[test]
fn a_feature_that_is_on_is_found() {
    let engine = engine(|config| {
        switch_off(config);
        config.wasm_custom_page_sizes(true);
    });
    assert_eq!(found(&engine), Some("custom page sizes"));
}
