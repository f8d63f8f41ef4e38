/** Answers a request. `body` is text or bytes; it may be a promise's. */
export async function handle(request) {
  console.log(`${request.method} ${request.path}`);
  return {
    status: 200,
    headers: { "content-type": "text/plain; charset=utf-8" },
    body: `hello from {{name}}, you asked for ${request.path}\n`,
  };
}
