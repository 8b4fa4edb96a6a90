// What either side says of one device of somebody: the value in the middle of the translation of presence (RFC 8048 §5).

export type Show = '' | 'away' | 'chat' | 'dnd' | 'xa';

/** An XMPP resource, a PIDF tuple. */
export interface Device {
  /** The resource; never ''. */
  name: string;
  /** Whether the name is one by which the device can be reached: a resource, a GRUU's `gr`; else it only tells it apart. */
  reachable: boolean;
  /** Available, `<basic>open</basic>`. */
  open: boolean;
  show: Show;
  /** The words of the user, each with a language tag or ''. */
  status: [lang: string, text: string][];
  /** RPID's word for what its user does, where the presence says so; else the show's own stands for it. */
  activity?: string;
  /** From -128 to 127, as in XMPP. */
  priority: number;
  /** Since when nobody has touched it, in ms; null where somebody has, or where it is not known. */
  idleSince: number | null;
}

export const shows: readonly Show[] = ['', 'chat', 'away', 'xa', 'dnd'];

/** What RPID calls being busy in some way (RFC 4480 §3.2), and how far from the screen that is. */
const activities: Readonly<Record<string, Show>> = {
  appointment: 'dnd',
  away: 'away',
  breakfast: 'away',
  busy: 'dnd',
  dinner: 'away',
  holiday: 'xa',
  'in-transit': 'away',
  lunch: 'away',
  meal: 'away',
  meeting: 'dnd',
  'on-the-phone': 'dnd',
  performance: 'dnd',
  'permanent-absence': 'xa',
  presentation: 'dnd',
  shopping: 'away',
  sleeping: 'xa',
  spectator: 'away',
  steering: 'away',
  travel: 'away',
  tv: 'away',
  vacation: 'xa',
  worship: 'dnd',
};

/** `away` and `busy` say no more than the show does; the others are words of their own. */
const wordless = new Set(['away', 'busy']);
const severity: readonly Show[] = ['dnd', 'xa', 'away', 'chat', ''];

/** The show that stands for some RPID activities, and words for the most telling of them. */
export function showOfActivities(names: readonly string[]): { show: Show; words: string } {
  let show: Show = '';
  let words = '';
  for (const name of names) {
    const implied = Object.hasOwn(activities, name) ? activities[name] : undefined;
    if (implied === undefined) continue;
    if (severity.indexOf(implied) < severity.indexOf(show)) show = implied;
    if (words === '' && !wordless.has(name)) words = name[0].toUpperCase() + name.slice(1).replaceAll('-', ' ');
  }
  return { show, words };
}

/** The activity that stands for a show, or '': `chat` and plain availability are none. */
export function activityOf(show: Show): string {
  return show === 'dnd' ? 'busy' : show === 'away' || show === 'xa' ? 'away' : '';
}

/** The device that speaks for the person: an open one before others, then by priority, then the most available. */
export function foremost(devices: readonly Device[]): Device | undefined {
  return [...devices].sort(
    (a, b) =>
      Number(b.open) - Number(a.open) || b.priority - a.priority || severity.indexOf(b.show) - severity.indexOf(a.show),
  )[0];
}
