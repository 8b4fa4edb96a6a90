// What a part of the hub that answers HTTP requests is given and gives back.

/** The body is whole and bounded. */
export interface HttpRequest {
  method: string;
  path: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Uint8Array;
}

export interface HttpAnswer {
  status: number;
  /** The content type, `text/plain` where none is given. */
  type?: string;
  body?: string;
  headers?: Record<string, string>;
}

export type HttpHandler = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
