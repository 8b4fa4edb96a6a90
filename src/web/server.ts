// The HTTP listener: health, metrics, and what bridges add.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Endpoint } from '../hub/config.ts';
import type { HttpAnswer, HttpHandler } from '../hub/http.ts';
import { formatEndpoint } from '../hub/listener.ts';
import type { Log } from '../hub/log.ts';

const mostBody = 1024 * 1024;
const mostConnections = 1_000;

export class WebServer {
  readonly #routes = new Map<string, HttpHandler>();
  readonly #servers: Server[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Adds a handler for a method and a path, exactly as written. */
  add(method: string, path: string, handler: HttpHandler): void {
    this.#routes.set(`${method} ${path}`, handler);
  }

  /** Listens; resolves with where it really does. Rejects with an Error that names the endpoint. */
  listen(endpoint: Endpoint): Promise<Endpoint> {
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000, maxHeaderSize: 16 * 1024 }, (q, a) => {
      void this.#serve(q, a);
    });
    server.maxConnections = mostConnections;
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.on('error', error => reject(new Error(`listen.http: ${formatEndpoint(endpoint)}: ${error.message}`)));
      server.listen(endpoint.port, endpoint.host, () => {
        const { address, port } = server.address() as { address: string; port: number };
        resolve({ host: address, port });
      });
    });
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(server => {
        const closed = new Promise(resolve => server.close(resolve));
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 1_000).unref();
        return closed;
      }),
    );
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    let answer: HttpAnswer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      // The client went away in the middle of its request: there is nobody to answer, and nothing is wrong here.
      if (request.destroyed && !request.complete) return;
      this.#log.error({ err: error, path: request.url }, 'an HTTP request failed');
      answer = { status: 500, body: 'internal error\n' };
    }
    const body = answer.body ?? '';
    response.writeHead(answer.status, {
      'content-type': answer.type ?? 'text/plain; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      ...answer.headers,
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async #answer(request: IncomingMessage): Promise<HttpAnswer> {
    const path = (request.url ?? '/').split('?', 1)[0];
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
    const handler = this.#routes.get(`${method} ${path}`);
    if (!handler) {
      const methods = [...this.#routes.keys()].filter(key => key.endsWith(` ${path}`)).map(key => key.split(' ')[0]);
      if (methods.length === 0) return { status: 404, body: 'not found\n' };
      const allow = methods.flatMap(one => (one === 'GET' ? ['GET', 'HEAD'] : [one])).join(', ');
      return { status: 405, body: 'method not allowed\n', headers: { allow } };
    }
    const body = await readBody(request);
    if (body === null) return { status: 413, body: `more than ${mostBody} bytes\n`, headers: { connection: 'close' } };
    return handler({ method, path, headers: request.headers, body });
  }
}

/** The whole body, or null where it is too large. */
async function readBody(request: IncomingMessage): Promise<Uint8Array | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > mostBody) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
