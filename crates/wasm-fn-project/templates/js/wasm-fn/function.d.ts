/** A request, as `handle` gets it. */
export interface Request {
  /** `GET`, `POST`, … */
  method: string;
  /** Path and query. */
  path: string;
  /** The headers by name, in lower case; several of one name are joined by `, `. */
  headers: Record<string, string>;
  /** The whole body as bytes. */
  bytes(): Promise<Uint8Array>;
  /** The whole body, which is UTF-8. */
  text(): Promise<string>;
  /** The whole body, which is JSON. */
  json(): Promise<unknown>;
}

/** What `handle` answers. */
export interface Response {
  /** 200 if absent. */
  status?: number;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}
