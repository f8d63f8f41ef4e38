// What `wasm-fn dev` serves: the function's code is laid into `code` of the finished component, and evaluated
// with the first request. So a change needs no new component.

import { answer } from "./http.js";
import { decode } from "./utf8.js";
import { CODE_BYTES_MAX, mark } from "./code.js";

// Nothing but zeros would not be in the file.
const code = new Uint8Array(CODE_BYTES_MAX + 1).fill(32);
mark(code);
let handle;

export const handler = {
  handle(request) {
    handle ??= new Function(`${decode(code.subarray(0, code.indexOf(0)))}\nreturn wasmFn.handle;`)();
    return answer(handle, request);
  },
};
