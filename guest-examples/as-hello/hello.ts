//! A function in AssemblyScript: a WASI preview-1 command that answers by CGI rules (RFC 3875). The
//! request is in `process.env`; headers, a blank line and the body go to `process.stdout`.

const method = process.env.get("REQUEST_METHOD");
const target = process.env.get("REQUEST_URI");
const protocol = process.env.get("SERVER_PROTOCOL");
// HTTP/1.0 may leave it out.
const host = process.env.has("HTTP_HOST") ? process.env.get("HTTP_HOST") : "nobody";
const port = process.env.get("SERVER_PORT");
process.stdout.write("Content-Type: text/plain\n\n");
process.stdout.write("hello from AssemblyScript\n");
process.stdout.write(`${method} ${target} ${protocol}, to ${host} at port ${port}\n`);
