// Between wasi:http 0.3 and the function's `handle`.

import types from "wasi:http/types@0.3.0";
import random from "wasi:random/random@0.3.0";
import "./console.js";
import { decode, encode } from "./utf8.js";

const { Fields, Request, Response } = types;
const NO_TRAILERS = { tag: "ok", val: null };
const READ = { tag: "ok", val: undefined };
const PIECE_BYTES = 64 * 1024;

// The build runs this file once and keeps its memory, so every instance would get the same numbers from the
// seed that QuickJS drew then. These come from the host.
Math.random = () => Number(BigInt(random.getRandomU64()) >> 11n) / 2 ** 53;

/** The method as text: wasi:http has a variant. */
function methodOf(request) {
  const method = request.getMethod();
  return method.tag === "other" ? method.val : method.tag.toUpperCase();
}

function headersOf(request) {
  const headers = {};
  for (const [name, value] of request.getHeaders().copyAll()) {
    const text = decode(value);
    const key = name.toLowerCase();
    headers[key] = key in headers ? `${headers[key]}, ${text}` : text;
  }
  return headers;
}

async function bytesOf(request) {
  const done = wit.Future.from(READ, wit.Future.RESULT_VOID_ERROR_CODE);
  const [stream] = Request.consumeBody(request, done.readable);
  const pieces = [];
  for (;;) {
    const piece = await stream.read(PIECE_BYTES);
    if (!piece || piece.length === 0) break;
    pieces.push(piece);
  }
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

export async function answer(handle, incoming) {
  const bytes = () => bytesOf(incoming);
  const text = async () => decode(await bytes());
  const answered = await handle({
    method: methodOf(incoming),
    path: incoming.getPathWithQuery() ?? "/",
    headers: headersOf(incoming),
    bytes,
    text,
    json: async () => JSON.parse(await text()),
  });
  const { status = 200, headers = {}, body = "" } = answered;
  const fields = Fields.fromList(Object.entries(headers).map(([name, value]) => [name, encode(String(value))]));
  // The host reads both only after it has the response; they are written beside the return.
  const content = wit.Stream.from([typeof body === "string" ? encode(body) : body], wit.Stream.U8);
  const trailers = wit.Future.from(NO_TRAILERS, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
  const [response] = Response.new(fields, content.readable, trailers.readable);
  response.setStatusCode(status);
  return response;
}
