//! What does it cost the admin API to know a caller and to check their rights, and does it grow with the
//! number of tokens?
//!
//! Budget: 20 µs of CPU a call, with 10,000 tokens as with one. Measured is the way from the text of a token
//! to the verdict on a stage: parsing, the keyed hash, the lookup, a scope of eight patterns, the table.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wasm_fn_access::{
    AccessRole, Permission, Rights, Roles, Scope, Target, Token, TokenKey, TokenSecret, Tokens,
};
use wasm_fn_core::{FunctionName, StageName};

fn secret(number: usize) -> TokenSecret {
    let mut random = [7; 32];
    random[..8].copy_from_slice(&(number as u64).to_le_bytes());
    TokenSecret::new(random)
}

fn tokens(count: usize, key: &TokenKey) -> Tokens {
    let patterns = ["a-*", "b-*", "c-*", "d-*", "e-*", "f-*", "g-*", "shop-*"];
    let functions = patterns.map(|text| text.parse().expect("a valid pattern"));
    let scope = Scope::new(functions, [StageName::live()]).expect("few enough");
    let rights = Rights { roles: Roles::of(&[AccessRole::Releaser]), scope };
    let mut tokens = Tokens::default();
    for number in 0..count {
        let token = Token {
            hash: key.hash(&secret(number)),
            rights: rights.clone(),
            created_ms: 0,
            created_by: "admin".to_owned(),
            expires_ms: Some(u64::MAX),
        };
        tokens.insert(format!("t{number}").parse().expect("a valid name"), token);
    }
    tokens
}

fn authorize(criterion: &mut Criterion) {
    let key = TokenKey::new([1; 32]);
    let function: FunctionName = "shop-cart".parse().expect("a valid name");
    let live = StageName::live();
    let mut group = criterion.benchmark_group("authorize");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for count in [1, 1000, 10_000] {
        let tokens = tokens(count, &key);
        let shown = secret(count / 2).reveal();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let secret: TokenSecret = black_box(&shown).parse().expect("it was just made");
                let (_, token) = tokens.find(&secret, &key, 5).expect("it is among them");
                token.rights.check(Permission::MoveTraffic, Target::Stage(&function, &live))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, authorize);
criterion_main!(benches);
