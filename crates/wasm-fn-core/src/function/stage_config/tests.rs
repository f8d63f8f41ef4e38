//! What a stage lays over a configuration.

use super::*;
use crate::ConfigError;

fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn variables_of_the_stage_win_and_the_others_stay() {
    let routes: Vec<Route> = vec!["/a".parse().unwrap()];
    let config = FunctionConfig {
        env: env(&[("API", "live"), ("LOG", "info")]),
        routes: routes.clone(),
        ..FunctionConfig::default()
    };
    let stage = StageConfig { env: env(&[("API", "staging"), ("DEBUG", "1")]), routes: Vec::new() };
    let merged = stage.over(&config);
    assert_eq!(merged.env, env(&[("API", "staging"), ("DEBUG", "1"), ("LOG", "info")]));
    assert_eq!(merged.routes, routes);
    assert_eq!(FunctionConfig { env: config.env.clone(), ..merged }, config, "nothing else differs");
    assert_eq!(StageConfig::default().over(&config), config);

    let stage = StageConfig { routes: vec!["staging.example.com/*".parse().unwrap()], ..stage };
    assert_eq!(stage.over(&config).routes, stage.routes);
}

#[test]
fn bounds_hold_for_both_together() {
    let numbered = |from: u32| (from..from + 200).map(|at| (format!("V{at}"), String::new())).collect();
    let config = FunctionConfig { env: numbered(0), ..FunctionConfig::default() };
    let check = |env| StageConfig { env, routes: Vec::new() }.over(&config).check();
    assert_eq!(check(numbered(0)), Ok(()), "the same names count once");
    let ConfigError { key, found, .. } = check(numbered(200)).unwrap_err();
    assert_eq!((key, found.as_str()), ("env", "400 entries"));
}

#[test]
fn a_variable_cannot_hide_a_secret() {
    let secrets = ["API_KEY".parse().unwrap()].into();
    let mut config = FunctionConfig { secrets, secrets_env: true, ..FunctionConfig::default() };
    let stage = StageConfig { env: env(&[("API_KEY", "x")]), routes: Vec::new() };
    let ConfigError { key, found, .. } = stage.over(&config).check().unwrap_err();
    assert_eq!((key, found.as_str()), ("secrets_env", "\"API_KEY\" in both `env` and `secrets`"));
    config.secrets_env = false;
    assert_eq!(stage.over(&config).check(), Ok(()), "the secret is no variable");
}
