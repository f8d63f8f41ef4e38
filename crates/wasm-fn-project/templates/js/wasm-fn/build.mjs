// Builds dist/function.wasm. The first build installs the packages of package.json.
//
// In `wasm-fn dev` (WASM_FN_DEV), the interpreter is componentized once, and each change is only laid into it.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const at = (...parts) => join(root, ...parts);
const own = (name) => at("wasm-fn", name);
const entry = ["src/index.ts", "src/index.js"].map((path) => at(path)).find(existsSync);
const component = at("dist/function.wasm");

if (!entry) fail("src/index.js: No such file");
install();
const esbuild = await import("esbuild");
const { CODE_BYTES_MAX, mark } = await import("./code.js");
mkdirSync(at("dist"), { recursive: true });
const code = process.env.WASM_FN_DEV ? await development() : null;
if (code === null || code.length > CODE_BYTES_MAX) {
  await bundle(own("production.js"), at("dist/bundle.js"));
  componentize(at("dist/bundle.js"), component);
} else {
  lay(code);
}

/** Installs the packages, unless they are those of package.json already. */
function install() {
  const installed = at("node_modules/.package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(at("package.json")).mtimeMs) return;
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"]);
}

/** The function's code and what it imports, as one script that sets `wasmFn`. */
async function development() {
  const options = { bundle: true, write: false, format: "iife", globalName: "wasmFn", logLevel: "info" };
  const built = await esbuild.build({ ...options, entryPoints: [entry], target: "es2022" }).catch(() => process.exit(1));
  return Buffer.from(built.outputFiles[0].contents);
}

/** The module at `from` with what it imports, in one file. */
async function bundle(from, to) {
  const options = { bundle: true, format: "esm", target: "es2022", external: ["wasi:*"], logLevel: "info" };
  const alias = { "#function": entry };
  await esbuild.build({ ...options, alias, entryPoints: [from], outfile: to }).catch(() => process.exit(1));
}

function componentize(from, to) {
  const command = at("node_modules/.bin/componentize-qjs");
  run(command, ["--wit", own("wit"), "--world", "function", "--js", from, "--output", `${to}.new`]);
  renameSync(`${to}.new`, to);
}

/** Lays `code` into the component of development.js, which is made if what it is made of has changed. */
function lay(code) {
  const parts = readdirSync(own(".")).filter((name) => statSync(own(name)).isFile()).map(own);
  const hash = createHash("sha256");
  for (const part of [...parts, own("wit/world.wit"), at("package.json")]) hash.update(readFileSync(part));
  const host = at(`dist/development-${hash.digest("hex").slice(0, 16)}.wasm`);
  if (!existsSync(host)) {
    const bundled = at("dist/development.js");
    const options = { bundle: true, format: "esm", target: "es2022", external: ["wasi:*"], logLevel: "info" };
    esbuild.buildSync({ ...options, entryPoints: [own("development.js")], outfile: bundled });
    componentize(bundled, host);
  }
  const bytes = readFileSync(host);
  const sought = mark(Buffer.alloc(64));
  const place = bytes.indexOf(sought);
  if (place < 0 || bytes.indexOf(sought, place + 1) >= 0) fail(`${host}: found no one place for the code`);
  code.copy(bytes, place);
  // It ends with a zero, which no source has.
  bytes[place + code.length] = 0;
  writeFileSync(`${component}.new`, bytes);
  renameSync(`${component}.new`, component);
}

function run(program, args) {
  try {
    execFileSync(program, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  } catch (error) {
    if (error.code === "ENOENT") fail(`${program}: not found`, 127);
    process.exit(error.status || 1);
  }
}

function fail(why, status = 1) {
  process.stderr.write(`${why}\n`);
  process.exit(status);
}
