// What the build runs once: the function's code is ready before the first request.

import { answer } from "./http.js";
import { handle } from "#function";

export const handler = { handle: (request) => answer(handle, request) };
