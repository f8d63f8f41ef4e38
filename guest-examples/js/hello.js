//! A function in JavaScript: a wasi:http 0.3 handler that answers every request with a greeting, and `…/random`
//! with a number from 0 to 1.

import types from "wasi:http/types@0.3.0";
import random from "wasi:random/random@0.3.0";

// The build runs this file once and keeps its memory, so every instance would get the same numbers from the
// seed that QuickJS drew then. These come from the host, as a u64 that is rounded to a number, so the largest
// would be 1.
Math.random = () => (random.getRandomU64() / 2 ** 64) % 1;

const { Fields, Response } = types;
const PLAIN_TEXT = bytes("text/plain");
const BODY = bytes("hello from JavaScript\n");
const NO_TRAILERS = { tag: "ok", val: null };

export const handler = {
  async handle(request) {
    const path = request.getPathWithQuery() ?? "/";
    const answer = path.endsWith("/random") ? bytes(`${Math.random()}\n`) : BODY;
    const headers = Fields.fromList([["content-type", PLAIN_TEXT]]);
    // The host reads both only after it has the response; they are written beside the return.
    const body = wit.Stream.from([answer], wit.Stream.U8);
    const trailers = wit.Future.from(NO_TRAILERS, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
    const [response, _sent] = Response.new(headers, body.readable, trailers.readable);
    return response;
  },
};

/** ASCII only: QuickJS has no TextEncoder. */
function bytes(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
