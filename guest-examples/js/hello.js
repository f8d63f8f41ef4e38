//! A function in JavaScript: a wasi:http 0.3 handler that answers every request with a greeting.

import types from "wasi:http/types@0.3.0";

const { Fields, Response } = types;
const PLAIN_TEXT = bytes("text/plain");
const BODY = bytes("hello from JavaScript\n");
const NO_TRAILERS = { tag: "ok", val: null };

export const handler = {
  async handle(_request) {
    const headers = Fields.fromList([["content-type", PLAIN_TEXT]]);
    // The host reads both only after it has the response; they are written beside the return.
    const body = wit.Stream.from([BODY], wit.Stream.U8);
    const trailers = wit.Future.from(NO_TRAILERS, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
    const [response, _sent] = Response.new(headers, body.readable, trailers.readable);
    return response;
  },
};

/** ASCII only: QuickJS has no TextEncoder. */
function bytes(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
