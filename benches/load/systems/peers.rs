//! What people would use instead, each set up as its own documentation advises.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};

use super::{Served, free_addresses};
use crate::{
    guests::Guest,
    processes::{Server, Site},
    requests::{Requests, USER_HEADER},
};

/// How many users of 100 stay on the first server behind nginx.
const FIRST_PERCENT: u32 = 90;

/// Flags that any guest needs, whatever its version of wasi:http.
const WASI: [&str; 1] = ["-Scli"];

/// Flags that a 0.3 guest needs besides.
const WASI_03: [&str; 2] = ["-Sp3", "-Wcomponent-model-async"];

/// What makes a new instance cheapest by flags: slots that are reset page by page as they were written, and
/// keep what they would have to fault in again.
const TUNED: [&str; 6] = [
    "-Opooling-allocator",
    "-Opooling-pagemap-scan=y",
    "-Opooling-memory-keep-resident=33554432",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
    "-Opooling-max-unused-warm-slots=1000",
];

/// The ways in which `wasmtime serve` is measured on `guest`: a name, and its flags.
///
/// As it comes it makes an instance per request for a 0.2 guest, but lets up to 128 requests share one of a
/// 0.3 guest. So a 0.3 guest is also measured with an instance per request.
pub(super) fn serve(guest: Guest) -> &'static [(&'static str, &'static [&'static str])] {
    match guest {
        Guest::Hello02 => &[
            ("wasmtime serve", &[]),
            ("wasmtime serve, pooling tuned", &TUNED),
            ("wasmtime serve, reuse 128", &["--max-instance-reuse-count=128"]),
        ],
        Guest::Hello03 | Guest::QuickJs => &[
            ("wasmtime serve (shared)", &[]),
            ("wasmtime serve, reuse 1", &["--max-instance-reuse-count=1"]),
        ],
        Guest::Echo | Guest::JavaScript | Guest::Python => &[("wasmtime serve", &[])],
        // It serves no commands.
        Guest::Cgi | Guest::Native => &[],
    }
}

/// Starts `wasmtime serve` on the guest in `file`.
pub(super) fn start_serve(
    wasmtime: &Path,
    flags: &[&str],
    guest: Guest,
    file: &Path,
    site: Site<'_>,
) -> Result<Served> {
    let [address] = free_addresses()?;
    let server = serve_at(wasmtime, flags, guest, file, site, address)?;
    Served::ready(vec![server], address, guest.requests("/"), site.home)
}

fn serve_at(
    wasmtime: &Path,
    flags: &[&str],
    guest: Guest,
    file: &Path,
    site: Site<'_>,
    address: SocketAddr,
) -> Result<Server> {
    // Its cache is wherever a file says; without, it would compile anew in every round.
    let config = site.home.join("cache.toml");
    let cache = format!("[cache]\ndirectory = \"{}\"\n", site.home.join("cache").display());
    fs::write(&config, cache).with_context(|| format!("{} cannot be written", config.display()))?;

    let mut arguments = vec!["serve".to_owned(), format!("--addr={address}")];
    arguments.push(format!("-Ccache-config={}", config.display()));
    arguments.extend(WASI.map(str::to_owned));
    if matches!(guest, Guest::Hello03 | Guest::QuickJs) {
        arguments.extend(WASI_03.map(str::to_owned));
    }
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    arguments.push(file.display().to_string());
    Server::start(wasmtime, &arguments, site, &format!("wasmtime-{}", address.port()))
}

/// Starts nginx, which splits users by their header, in front of two `wasmtime serve`.
pub(super) fn start_nginx(
    nginx: &Path,
    wasmtime: &Path,
    guest: Guest,
    file: &Path,
    site: Site<'_>,
) -> Result<Served> {
    let [address, first, second] = free_addresses()?;
    let config = site.home.join("nginx.conf");
    fs::write(&config, nginx_config(site.home, address, first, second))
        .with_context(|| format!("{} cannot be written", config.display()))?;
    let prefix = site.home.display().to_string();
    let arguments = ["-p", &prefix, "-c", "nginx.conf", "-e", "nginx.err"].map(str::to_owned);
    let servers = vec![
        serve_at(wasmtime, &[], guest, file, site, first)?,
        serve_at(wasmtime, &[], guest, file, site, second)?,
        Server::start(nginx, &arguments, site, "nginx")?,
    ];
    Served::ready(servers, address, guest.requests("/").of_users(), site.home)
}

fn nginx_config(home: &Path, address: SocketAddr, first: SocketAddr, second: SocketAddr) -> String {
    let header = USER_HEADER.replace('-', "_");
    let home = home.display();
    // Connections to the servers behind are kept, or each request would pay for one.
    format!(
        "daemon off;\nworker_processes 1;\npid {home}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           access_log off;\n\
           keepalive_requests 100000000;\n\
           client_body_temp_path {home}/body;\n\
           proxy_temp_path {home}/proxy;\n\
           fastcgi_temp_path {home}/fastcgi;\n\
           uwsgi_temp_path {home}/uwsgi;\n\
           scgi_temp_path {home}/scgi;\n\
           upstream first {{ server {first}; keepalive 64; keepalive_requests 100000000; }}\n\
           upstream second {{ server {second}; keepalive 64; keepalive_requests 100000000; }}\n\
           split_clients \"$http_{header}\" $version {{ {FIRST_PERCENT}% first; * second; }}\n\
           server {{\n\
             listen {address};\n\
             location / {{\n\
               proxy_pass http://$version;\n\
               proxy_http_version 1.1;\n\
               proxy_set_header Connection \"\";\n\
             }}\n\
           }}\n\
         }}\n"
    )
}

/// Starts workerd with a script that answers hello.
pub(super) fn start_workerd(workerd: &Path, site: Site<'_>) -> Result<Served> {
    let [address] = free_addresses()?;
    let requests = Guest::Native.requests("/");
    let script = format!(
        "export default {{\n  async fetch() {{\n    return new Response({:?}, {{ headers: {{ \
         \"content-type\": \"text/plain\" }} }});\n  }},\n}};\n",
        requests.answer,
    );
    let config = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\n\
         const config :Workerd.Config = (\n\
           services = [(name = \"main\", worker = .hello)],\n\
           sockets = [(name = \"http\", address = \"{address}\", http = (), service = \"main\")],\n\
         );\n\
         const hello :Workerd.Worker = (\n\
           modules = [(name = \"hello.js\", esModule = embed \"hello.js\")],\n\
           compatibilityDate = \"2026-01-01\",\n\
         );\n"
    );
    let arguments = [written(site.home, "hello.js", &script)?, written(site.home, "config.capnp", &config)?];
    let arguments = ["serve".to_owned(), arguments[1].clone()];
    start_one(workerd, &arguments, site, "workerd", address, requests)
}

/// Starts node with a program that answers hello.
pub(super) fn start_node(node: &Path, site: Site<'_>) -> Result<Served> {
    let [address] = free_addresses()?;
    let requests = Guest::Native.requests("/");
    let program = format!(
        "const http = require(\"node:http\");\n\
         http.createServer((request, response) => {{\n\
           response.writeHead(200, {{ \"content-type\": \"text/plain\", \"content-length\": {} }});\n\
           response.end({:?});\n\
         }}).listen({}, \"{}\");\n",
        requests.answer.len(),
        requests.answer,
        address.port(),
        address.ip(),
    );
    let arguments = [written(site.home, "hello.cjs", &program)?];
    start_one(node, &arguments, site, "node", address, requests)
}

fn start_one(
    program: &Path,
    arguments: &[String],
    site: Site<'_>,
    name: &str,
    address: SocketAddr,
    requests: Requests,
) -> Result<Served> {
    let server = Server::start(program, arguments, site, name)?;
    Served::ready(vec![server], address, requests, site.home)
}

/// The path of a new file in `home`.
fn written(home: &Path, name: &str, text: &str) -> Result<String> {
    let path = home.join(name);
    fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path.display().to_string())
}
