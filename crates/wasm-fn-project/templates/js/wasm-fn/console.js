// `console`, whose lines are in the function's log: `wasm-fn logs`.

import stderr from "wasi:cli/stderr@0.2.12";
import { encode } from "./utf8.js";

/** The most that one call of wasi:io takes, bytes. */
const LINE_BYTES_MAX = 4096;

const shown = (value) => {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};

function log(...values) {
  const line = encode(`${values.map(shown).join(" ")}\n`);
  stderr.getStderr().blockingWriteAndFlush(line.subarray(0, LINE_BYTES_MAX));
}

globalThis.console = { log, info: log, warn: log, error: log, debug: log };
