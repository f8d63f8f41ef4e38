//! The hello in JavaScript on SpiderMonkey: a wasi:http 0.2 incoming handler.

import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.12";

const PLAIN_TEXT = new TextEncoder().encode("text/plain");
const BODY = new TextEncoder().encode("hello from JavaScript\n");

export const incomingHandler = {
  handle(_request, out) {
    const response = new OutgoingResponse(Fields.fromList([["content-type", PLAIN_TEXT]]));
    const body = response.body();
    ResponseOutparam.set(out, { tag: "ok", val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(BODY);
    // The stream is the body's child and must be gone before the body is finished.
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};
