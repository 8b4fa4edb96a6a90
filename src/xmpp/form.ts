// Data forms (XEP-0004): made for others to fill in, and read when they come back.
import { type Element, el } from './element.ts';
import { ns } from './namespaces.ts';

export type FieldType =
  | 'boolean'
  | 'fixed'
  | 'hidden'
  | 'jid-multi'
  | 'jid-single'
  | 'list-multi'
  | 'list-single'
  | 'text-multi'
  | 'text-private'
  | 'text-single';

export interface Field {
  var?: string;
  type?: FieldType;
  label?: string;
  value?: string | readonly string[];
  required?: boolean;
  /** What a list offers: values with the words for them. */
  options?: readonly { value: string; label?: string }[];
}

export interface Form {
  title?: string;
  instructions?: string;
  fields: readonly Field[];
  /** A result with rows: their columns are `fields` (XEP-0004 §3.4). */
  rows?: readonly Readonly<Record<string, string>>[];
  /** What stands beside the fields, in namespaces of its own. */
  payload?: readonly Element[];
}

/** What somebody filled in: for each field its values, in order. */
export type FormValues = ReadonlyMap<string, readonly string[]>;

/** The form as an element of type `form`, `submit` or `result`. */
export function formElement(type: 'form' | 'submit' | 'result', form: Form): Element {
  const { title, instructions, fields, rows, payload = [] } = form;
  return el(
    'x',
    ns.data,
    { type },
    title ? el('title', ns.data, {}, title) : null,
    instructions ? el('instructions', ns.data, {}, instructions) : null,
    ...(rows
      ? [
          el('reported', ns.data, {}, ...fields.map(fieldElement)),
          ...rows.map(row =>
            el('item', ns.data, {}, ...Object.entries(row).map(([name, value]) => fieldElement({ var: name, value }))),
          ),
        ]
      : fields.map(fieldElement)),
    ...payload,
  );
}

function fieldElement({ var: name, type, label, value, required, options }: Field): Element {
  const values = value === undefined ? [] : typeof value === 'string' ? [value] : value;
  return el(
    'field',
    ns.data,
    { var: name, type, label },
    required ? el('required', ns.data) : null,
    ...values.map(text => el('value', ns.data, {}, text)),
    ...(options ?? []).map(option =>
      el('option', ns.data, { label: option.label }, el('value', ns.data, {}, option.value)),
    ),
  );
}

/** What a submitted form holds; null where the element is no form of type `submit`. */
export function readForm(x: Element | null): FormValues | null {
  if (x?.name !== 'x' || x.ns !== ns.data || x.attrs.type !== 'submit') return null;
  return formValues(x);
}

/** The values of a form of any type. */
export function formValues(x: Element): FormValues {
  const values = new Map<string, string[]>();
  for (const field of x.all('field')) {
    if (field.attrs.var)
      values.set(
        field.attrs.var,
        field.all('value').map(value => value.text),
      );
  }
  return values;
}

/** The lines of a `text-multi` field as one text. */
export function linesOf(values: FormValues, name: string): string {
  return (values.get(name) ?? []).join('\n').trim();
}

/** The first value of a field, or ''. */
export function textOf(values: FormValues, name: string): string {
  return values.get(name)?.[0] ?? '';
}

/** A boolean field (XEP-0004 §3.3): `1` or `true`. Undefined where it is absent. */
export function flagOf(values: FormValues, name: string): boolean | undefined {
  const value = values.get(name)?.[0];
  return value === undefined ? undefined : value === '1' || value === 'true';
}
