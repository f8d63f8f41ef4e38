// UTF-8: QuickJS has no TextEncoder and no TextDecoder.

/** The bytes of `text`. */
export function encode(text) {
  const escaped = unescape(encodeURIComponent(text));
  return Uint8Array.from(escaped, (character) => character.charCodeAt(0));
}

/** The text of `bytes`; where they are not UTF-8, each is a character. */
export function decode(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  try {
    return decodeURIComponent(escape(text));
  } catch {
    return text;
  }
}
