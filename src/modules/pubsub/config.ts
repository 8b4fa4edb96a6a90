// The form of a node's configuration: how each field is written, read and checked (XEP-0060 §8.2, §16.4.4).
import type { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { type Field, type FieldType, type Form, type FormValues, formElement } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { refusal, unsupported } from './errors.ts';
import { accessModels, limits, type NodeConfig, publishModels } from './node.ts';

export const nodeConfigForm = `${ns.pubsub}#node_config`;
export const publishOptionsForm = `${ns.pubsub}#publish-options`;

interface FieldSpec<T> {
  readonly name: string;
  readonly type: FieldType;
  readonly label: string;
  readonly options?: readonly string[];
  write(value: T): string | readonly string[];
  /** Throws a StanzaError for what is no such value. */
  read(values: readonly string[]): T;
}

const mostText = 1_024;
const mostListed = 100;
const languages =
  'ar bg cs da de el en es et fi fr ga hr hu it ja ko lt lv mt nb nl pl pt ro ru sk sl sv tr uk zh'.split(' ');

function bad(name: string, wanted: string): StanzaError {
  return new StanzaError('not-acceptable', `pubsub#${name}: ${wanted} is expected`);
}

function text(name: string, label: string): FieldSpec<string> {
  return {
    name,
    type: 'text-single',
    label,
    write: value => value,
    read([value = '']) {
      if (value.length > mostText) throw bad(name, `a text of at most ${mostText} characters`);
      return value;
    },
  };
}

function flag(name: string, label: string): FieldSpec<boolean> {
  return {
    name,
    type: 'boolean',
    label,
    write: value => (value ? '1' : '0'),
    read([value = '']) {
      if (!['0', '1', 'true', 'false'].includes(value)) throw bad(name, 'a boolean');
      return value === '1' || value === 'true';
    },
  };
}

function choice<T extends string>(name: string, label: string, options: readonly T[]): FieldSpec<T> {
  return {
    name,
    type: 'list-single',
    label,
    options,
    write: value => value,
    read([value = '']) {
      if (options.includes(value as T)) return value as T;
      if (name === 'access_model') throw refusal('not-acceptable', 'unsupported-access-model');
      throw bad(name, options.join(' | '));
    },
  };
}

/** A number up to `most`, which `max` stands for. */
function count(name: string, label: string, least: number, most: number): FieldSpec<number> {
  return {
    name,
    type: 'text-single',
    label,
    write: value => (value === most ? 'max' : String(value)),
    read([value = '']) {
      if (value === 'max') return most;
      if (!/^\d{1,15}$/.test(value) || Number(value) < least) throw bad(name, `a number from ${least}, or max,`);
      return Math.min(Number(value), most);
    },
  };
}

const fields: { readonly [K in keyof NodeConfig]: FieldSpec<NodeConfig[K]> } = {
  title: text('title', 'A friendly name for the node'),
  description: text('description', 'A description of the node'),
  type: text('type', 'The kind of data, usually the namespace of the payload'),
  // Its options are those most asked for; any other tag is taken as well.
  language: { ...text('language', 'The language of the data'), type: 'list-single', options: ['', ...languages] },
  contact: {
    name: 'contact',
    type: 'jid-multi',
    label: 'Whom to ask about the node',
    write: value => value,
    read(values) {
      if (values.length > mostListed || values.some(one => !Jid.tryParse(one))) throw bad('contact', 'a list of JIDs');
      return values;
    },
  },
  accessModel: choice('access_model', 'Who may subscribe and retrieve items', accessModels),
  rosterGroups: {
    name: 'roster_groups_allowed',
    type: 'list-multi',
    label: 'The roster groups that may subscribe and retrieve items',
    write: value => value,
    read(values) {
      if (values.length > mostListed || values.some(one => one.length > mostText)) {
        throw bad('roster_groups_allowed', `at most ${mostListed} groups`);
      }
      return values;
    },
  },
  publishModel: choice('publish_model', 'Who may publish', publishModels),
  persistItems: flag('persist_items', 'Keep the items'),
  maxItems: count('max_items', 'The most items that are kept', 1, limits.items),
  whenFull: choice('publish_node_full', 'What happens to the oldest item of a full node', [
    'retract-oldest',
    'discard-oldest',
    'reject',
  ]),
  itemExpire: {
    name: 'item_expire',
    type: 'text-single',
    label: 'Seconds after which items go',
    write: value => (value === 0 ? 'max' : String(value)),
    read([value = '']) {
      if (value === 'max') return 0;
      if (!/^\d{1,9}$/.test(value)) throw bad('item_expire', 'a number of seconds, or max,');
      return Number(value);
    },
  },
  maxPayloadSize: {
    name: 'max_payload_size',
    type: 'text-single',
    label: 'The largest payload, in bytes',
    write: value => String(value),
    read([value = '']) {
      if (!/^\d{1,15}$/.test(value) || Number(value) === 0) throw bad('max_payload_size', 'a number of bytes');
      return Math.min(Number(value), limits.payload);
    },
  },
  deliverNotifications: flag('deliver_notifications', 'Deliver notices of events'),
  deliverPayloads: flag('deliver_payloads', 'Deliver payloads with the notices'),
  notificationType: choice('notification_type', 'The type of the messages that carry notices', ['normal', 'headline']),
  itemReply: choice('itemreply', 'Whom replies go to: where it is the publisher, items name them', [
    'publisher',
    'none',
  ]),
  notifyConfig: flag('notify_config', 'Tell subscribers when the configuration changes'),
  notifyDelete: flag('notify_delete', 'Tell subscribers when the node is deleted'),
  notifyRetract: flag('notify_retract', 'Tell subscribers when items are removed'),
  notifySubscriptions: flag('notify_sub', 'Tell owners of new and of lost subscribers'),
  sendLast: choice('send_last_published_item', 'When the last item is sent', [
    'never',
    'on_sub',
    'on_sub_and_presence',
  ]),
  subscribe: flag('subscribe', 'Allow subscriptions'),
};

const keys = Object.keys(fields) as (keyof NodeConfig)[];
const byName = new Map(keys.map(key => [`pubsub#${fields[key].name}`, key]));

/** Collections are not made here. */
const nodeType: Field = {
  var: 'pubsub#node_type',
  type: 'list-single',
  label: 'The kind of node',
  value: 'leaf',
  options: [{ value: 'leaf' }],
};

/** The form that an owner fills in. `groups` are the roster groups that there are to choose from. */
export function configForm(config: NodeConfig, groups: readonly string[] = []): Form {
  const all = keys.map(key => field(config, key, key === 'rosterGroups' ? groups : fields[key].options));
  return { fields: [{ var: 'FORM_TYPE', type: 'hidden', value: nodeConfigForm }, nodeType, ...all] };
}

/** What anybody who may subscribe is told of a configuration: the names of an owner's roster groups stay with owners. */
export function publicFields(config: NodeConfig): Field[] {
  const shown = keys.filter(key => key !== 'rosterGroups').map(key => field(config, key, undefined));
  return [nodeType, ...shown].map(({ var: name, type, value }) => ({ var: name, type, value }));
}

export function configFormElement(config: NodeConfig, groups: readonly string[]): Element {
  return formElement('form', configForm(config, groups));
}

/** What is chosen stands among the options (XEP-0004 §3.3). */
function field<K extends keyof NodeConfig>(config: NodeConfig, key: K, offered: readonly string[] | undefined): Field {
  const { name, type, label, write } = fields[key];
  const value = write(config[key]);
  const options = offered && [...new Set([...offered, ...(typeof value === 'string' ? [value] : value)])];
  return { var: `pubsub#${name}`, type, label, value, options: options?.map(value => ({ value })) };
}

/**
 * The configuration with what a submitted form changes; fields that it leaves out stay (XEP-0004 §3.2), unknown ones
 * are passed over. Throws a StanzaError: `not-acceptable`, `bad-request` for the form of something else, and
 * `feature-not-implemented` for a node that is no leaf (XEP-0248 §7.1).
 */
export function configured(config: NodeConfig, values: FormValues, formType = nodeConfigForm): NodeConfig {
  checkFormType(values, formType);
  const next = { ...config };
  for (const [name, value] of values) {
    const key = byName.get(name);
    if (key) set(next, key, value);
    else if (name === nodeType.var && value[0] !== 'leaf') throw unsupported('collections');
  }
  return next;
}

/**
 * The publish options as a configuration: that of the node where all of them hold, `null` where one does not. For a new
 * node they are its configuration. Throws a StanzaError for a field that is unknown (XEP-0060 §7.1.5).
 */
export function withOptions(config: NodeConfig, values: FormValues): { config: NodeConfig; met: boolean } {
  const next = configured(config, values, publishOptionsForm);
  for (const name of values.keys()) {
    if (name !== 'FORM_TYPE' && !byName.has(name) && name !== nodeType.var) {
      throw refusal('conflict', 'precondition-not-met', `${name.slice(0, 100)} is not known here`);
    }
  }
  return { config: next, met: keys.every(key => String(next[key]) === String(config[key])) };
}

/** Throws a StanzaError `bad-request` where a form names another type than that. */
export function checkFormType(values: FormValues, wanted: string): void {
  const type = values.get('FORM_TYPE')?.[0];
  if (type !== undefined && type !== wanted) throw new StanzaError('bad-request', `the form is of the type ${wanted}`);
}

function set<K extends keyof NodeConfig>(config: NodeConfig, key: K, values: readonly string[]): void {
  config[key] = fields[key].read(values);
}
