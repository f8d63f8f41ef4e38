import type { Request, Response } from "../wasm-fn/function";

/** Answers a request. */
export async function handle(request: Request): Promise<Response> {
  console.log(`${request.method} ${request.path}`);
  return {
    status: 200,
    headers: { "content-type": "text/plain; charset=utf-8" },
    body: `hello from {{name}}, you asked for ${request.path}\n`,
  };
}
