//! Components that wit-component composes of random modules: of a program, of one with an adapter, and
//! of dynamic libraries.

use rand::{RngExt as _, rngs::StdRng};
use wit_component::{ComponentEncoder, Linker, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{
    interface::{Export, Kind, Offer, Role, Signature, Value},
    program,
    shape::{Made, calls},
};

const WIT: &str = "
    package t:t;
    interface host {
      mark: func(a: u32, b: u64);
      text: func(bytes: list<u8>) -> u32;
      fetch: func(n: u32) -> list<u8>;
      fail: func(n: u32);
    }
    world program {
      import host;
      export run: func(a: u32, b: u64) -> u64;
      export take: func(bytes: list<u8>) -> u32;
      export give: func() -> list<u8>;
    }
    world adapter { import host; }
";

const HOST: [(&str, Signature); 4] = [
    ("mark", Signature::Mark),
    ("text", Signature::Text),
    ("fetch", Signature::Fetch),
    ("fail", Signature::Sink),
];

/// What the world of a program has for exports.
const EXPORTS: [(&str, Signature); 4] = [
    ("run", Signature::Wide),
    ("take", Signature::Text),
    ("give", Signature::Give),
    ("cabi_post_give", Signature::Sink),
];

/// The slots of a library's own in the table of all, and bytes in their memory.
const LIBRARY_SLOTS: u32 = 6;
const LIBRARY_BYTES: u32 = 400;

fn offer(module: &'static str, field: &str, kind: Kind) -> Offer {
    Offer { module, field: field.to_owned(), kind, source: String::new() }
}

fn host() -> Vec<Offer> {
    HOST.into_iter().map(|(name, signature)| offer("t:t/host", name, Kind::Func(signature))).collect()
}

fn function(name: &str, signature: Signature) -> Export {
    Export { name: name.to_owned(), kind: Kind::Func(signature) }
}

fn role(random: &mut StdRng, name: &str, exports: Vec<Export>) -> Role {
    Role {
        name: name.to_owned(),
        annotations: String::new(),
        exports,
        has_start: false,
        has_segments: true,
        is_bold: random.random_ratio(1, 20),
        risk: if random.random_ratio(1, 3) { 12 } else { 60 },
    }
}

/// A module as the tool gets it, with what it says of its `world`, and its text.
fn module(random: &mut StdRng, role: &Role, offers: &[Offer], world: &str) -> (Vec<u8>, String) {
    let (text, _) = program::write(random, role, offers);
    let text = format!("({text}");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut resolve = Resolve::new();
    let package = resolve.push_str("t.wit", WIT).expect("it is WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("it is there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("it fits");
    (module, text)
}

/// A program, and an adapter between it and what it imports if it `is_adapted`.
pub(super) fn program(random: &mut StdRng, is_adapted: bool) -> Made {
    let mut exports: Vec<_> =
        EXPORTS.into_iter().map(|(name, signature)| function(name, signature)).collect();
    exports.push(function("cabi_realloc", Signature::Realloc));
    exports.push(Export { name: "memory".to_owned(), kind: Kind::Memory { pages: 1, pages_max: 3 } });
    exports.push(Export { name: "table".to_owned(), kind: Kind::Table { slots: 8 } });
    let old = [("first", Signature::Unary), ("second", Signature::Wide), ("third", Signature::Bare)];
    let mut offers = host();
    let mut main = role(random, "main", exports);
    if is_adapted {
        offers.extend(old.map(|(name, signature)| offer("old", name, Kind::Func(signature))));
    }
    main.has_start = random.random_ratio(1, 20);
    let (bytes, mut text) = module(random, &main, &offers, "program");
    let mut encoder = ComponentEncoder::default().module(&bytes).expect("it is a module");
    if is_adapted {
        let mut exports: Vec<_> =
            old.into_iter().map(|(name, signature)| function(name, signature)).collect();
        exports.push(function("cabi_import_realloc", Signature::Realloc));
        let mut offers = host();
        offers.push(offer("env", "memory", Kind::Memory { pages: 0, pages_max: 4 }));
        offers.push(offer("__main_module__", "cabi_realloc", Kind::Func(Signature::Realloc)));
        offers.push(offer("__main_module__", "take", Kind::Func(Signature::Text)));
        let mut adapter = role(random, "adapter", exports);
        // The tool takes adapters apart to leave out what is not used.
        (adapter.has_segments, adapter.is_bold) = (false, false);
        let (bytes, more) = module(random, &adapter, &offers, "adapter");
        text += &more;
        encoder = encoder.adapter("old", &bytes).expect("it is an adapter");
    }
    let component = encoder.validate(false).encode().unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let shape = if is_adapted { "encoded with adapter" } else { "encoded" };
    Made { shape, component, calls: calls(random), smiths: 0, text }
}

/// Dynamic libraries, one of which is the program.
pub(super) fn libraries(random: &mut StdRng) -> Made {
    let count = random.random_range(2..5_usize);
    let exports_of = |at: usize| {
        let mut exports = vec![
            function("__wasm_call_ctors", Signature::Bare),
            function("__wasm_apply_data_relocs", Signature::Bare),
        ];
        if at == 0 {
            exports.extend(EXPORTS.map(|(name, signature)| function(name, signature)));
            exports.push(function("cabi_realloc", Signature::Realloc));
        }
        exports
    };
    let mut shared: Vec<Vec<Export>> = Vec::new();
    for at in 0..count {
        let signature =
            |random: &mut StdRng| Signature::SHARED[random.random_range(0..Signature::SHARED.len())];
        let mut exports = vec![
            function(&format!("l{at}a"), signature(random)),
            function(&format!("l{at}b"), signature(random)),
        ];
        let kind = Kind::Global { ty: Value::I32, mutable: false };
        exports.push(Export { name: format!("l{at}g"), kind });
        shared.push(exports);
    }
    let (mut linker, mut text) = (Linker::default().stack_size(8192).validate(false), String::new());
    for at in 0..count {
        let base = Kind::Global { ty: Value::I32, mutable: false };
        let address = Kind::Global { ty: Value::I32, mutable: true };
        let mut offers = host();
        // Only the first library allocates for the host.
        offers.retain(|offer| at == 0 || offer.kind != Kind::Func(Signature::Fetch));
        offers.push(offer("env", "memory", Kind::Memory { pages: 0, pages_max: 0 }));
        offers.push(offer("env", "__indirect_function_table", Kind::Table { slots: LIBRARY_SLOTS }));
        offers.push(offer("env", "__stack_pointer", address));
        offers.push(offer("env", "__memory_base", base));
        for export in shared.iter().enumerate().filter(|(from, _)| *from != at).flat_map(|(_, it)| it) {
            match export.kind {
                Kind::Func(signature) => {
                    offers.push(offer("env", &export.name, export.kind));
                    if signature == Signature::Unary {
                        offers.push(offer("GOT.func", &export.name, address));
                    }
                }
                _ => offers.push(offer("GOT.mem", &export.name, address)),
            }
        }
        let mut exports = exports_of(at);
        exports.extend(shared[at].iter().cloned());
        let mut library = role(random, &format!("l{at}"), exports);
        library.annotations =
            format!("(@dylink.0 (mem-info (memory {LIBRARY_BYTES} 4) (table {LIBRARY_SLOTS} 0)))\n");
        let world = if at == 0 { "program" } else { "adapter" };
        let (bytes, more) = module(random, &library, &offers, world);
        text += &more;
        linker = linker.library(&format!("l{at}.so"), &bytes, false).expect("it is a library");
    }
    // The tool does not find every constant that a library exports.
    let Ok(component) = linker.encode() else { return program(random, false) };
    Made { shape: "dynamic libraries", component, calls: calls(random), smiths: 0, text }
}
