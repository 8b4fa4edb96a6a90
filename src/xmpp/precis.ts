// Preparation of internationalised strings.
export function usernameCaseMapped(_text: string): string { throw new Error('not an identifier'); }
export function opaqueString(_text: string): string { throw new Error('not an identifier'); }
export function saslPrep(_text: string): string { throw new Error('not an identifier'); }
export function isIdentifierLabel(_label: string): boolean { return false; }
