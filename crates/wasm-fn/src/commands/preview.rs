//! `wasm-fn preview`: the address of each version.

use http::Method;
use wasm_fn_api as api;

use super::{DONE, address::DataAddress, connect};
use crate::{
    args,
    fault::Fault,
    output::{Output, preview::Shown},
};

pub(super) async fn run(args: args::Preview, output: Output) -> Result<u8, Fault> {
    let args::Preview { function, stage, version, rotate_key, connection } = args;
    let client = connect(&connection)?;
    if rotate_key {
        let rotated = client.call::<(), api::PreviewKeyRotated>(Method::POST, "/v1/preview-key", None).await;
        let rotated = rotated.map_err(|error| error.fault("the preview key was not rotated"))?;
        output.talk("every preview token issued so far is invalid");
        if function.is_none() && output.is_json() {
            output.data(&rotated, |_| String::new())?;
        }
    }
    let Some(function) = function else { return Ok(DONE) };
    let failed = || format!("the addresses of `{function}` cannot be shown");
    let node: api::NodeView = client.get("/v1/node").await.map_err(|error| error.fault(failed()))?;
    let query =
        api::PreviewQuery { stage: stage.to_string(), version: version.map(|version| version.to_string()) };
    let path = format!("/v1/functions/{function}/preview");
    let preview = client.query::<_, api::PreviewView>(Method::GET, &path, &query).await;
    let preview = preview.map_err(|error| error.fault(failed()))?;
    if preview.access == "off" {
        let cause = format!("`{function}` is configured with preview = \"off\", expected token or open");
        return Err(Fault::new("preview-off", failed(), cause)
            .help("deploy a version with preview = \"token\"; the setting of the stable version applies"));
    }
    let data = DataAddress::of(&node, client.address());
    let shown = Shown::new(preview, data.scheme, &data.authority);
    output.data(&shown, Shown::table)?;
    for version in &shown.versions {
        if let Some(why) = &version.no_host {
            output.talk(&format!("{} has no host name: {why}", version.version));
        }
    }
    Ok(DONE)
}
