// Where the code is in the component of development.js.

/** The most bytes that it may have; `build.mjs` makes a whole component of more. */
export const CODE_BYTES_MAX = 512 * 1024;

/** Writes into `bytes` by what the place is found. No copy of it is anywhere else in the interpreter's memory. */
export function mark(bytes) {
  for (let at = 0; at < 64; at += 1) bytes[at] = (at * 37 + 11) & 255;
  return bytes;
}
