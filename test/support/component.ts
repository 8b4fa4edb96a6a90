// An external component for tests: connects over a real socket and speaks XEP-0114.
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createConnection } from 'node:net';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Stream } from '../../src/xmpp/stream.ts';

export class Component {
  readonly domain: string;
  readonly inbox: Element[] = [];
  readonly #events = new EventEmitter();
  #stream!: Stream;

  constructor(domain: string) {
    this.domain = domain;
  }

  async open(port: number, secret: string): Promise<this> {
    this.#stream = new Stream(
      createConnection({ host: '127.0.0.1', port }),
      { contentNs: ns.component, limits: { stanzaSize: 1024 * 1024 }, rate: 0 },
      {
        opened: header => {
          const hash = createHash('sha1').update(`${header.attrs.id}${secret}`).digest('hex');
          this.#stream.sendText(`<handshake>${hash}</handshake>`);
        },
        stanza: stanza => {
          this.inbox.push(stanza.element);
          this.#events.emit('change');
        },
        closed: () => this.#events.emit('change'),
      },
    );
    this.#stream.open({ to: this.domain });
    await this.receives(e => e.name === 'handshake');
    return this;
  }

  sends(xml: string): void {
    this.#stream.sendText(xml);
  }

  async asks(type: 'get' | 'set', payload: string, to: string): Promise<Element> {
    const id = `c-${Math.random().toString(36).slice(2)}`;
    this.sends(`<iq type='${type}' id='${id}' from='${this.domain}' to='${to}'>${payload}</iq>`);
    return this.receives(e => e.attrs.id === id);
  }

  /** Resolves with the first element for which `test` holds, taking it out of the inbox. */
  async receives(test: (element: Element) => boolean): Promise<Element> {
    const deadline = AbortSignal.timeout(5_000);
    for (;;) {
      const at = this.inbox.findIndex(test);
      if (at >= 0) return this.inbox.splice(at, 1)[0];
      await once(this.#events, 'change', { signal: deadline });
    }
  }

  close(): void {
    this.#stream.destroy('the test is over');
  }
}
