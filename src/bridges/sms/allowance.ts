// How many messages a user, and all together, may send in an hour.

const hour = 3_600_000;

export class Allowance {
  readonly #perUser: number;
  readonly #total: number;
  #from = 0;
  #all = 0;
  #users = new Map<string, number>();

  /** -1: no limit. */
  constructor(perUser: number, total: number) {
    this.#perUser = perUser;
    this.#total = total;
  }

  /** Takes one message of a user's hour; says in words why not, or ''. */
  take(user: string, now = Date.now()): string {
    if (now - this.#from >= hour || now < this.#from) {
      this.#from = now;
      this.#all = 0;
      this.#users = new Map();
    }
    const minutes = Math.ceil((this.#from + hour - now) / 60_000);
    if (this.#total >= 0 && this.#all >= this.#total) {
      return `no more than ${this.#total} messages an hour go out from here; try again in ${minutes} min`;
    }
    const own = this.#users.get(user) ?? 0;
    if (this.#perUser >= 0 && own >= this.#perUser) {
      return `you have sent ${own} messages this hour, no more are permitted; try again in ${minutes} min`;
    }
    if (this.#perUser >= 0) this.#users.set(user, own + 1);
    this.#all++;
    return '';
  }
}
