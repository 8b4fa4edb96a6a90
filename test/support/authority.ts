// A certificate authority for tests and the demo, made at run time: real certificates, with whatever names and faults are asked for.
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto as never);

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const day = 86_400_000;

export interface Issued {
  /** PEM: the certificate and, where an intermediate issued it, that one's. */
  certificate: string;
  /** PEM, PKCS #8. */
  key: string;
}

export interface Wanted {
  names?: string[];
  srvNames?: string[];
  xmppAddrs?: string[];
  usages?: ('serverAuth' | 'clientAuth' | 'codeSigning')[];
  notBefore?: Date;
  notAfter?: Date;
}

export interface Authority {
  /** PEM of the authority's own certificate. */
  readonly certificate: string;
  issue(wanted: Wanted): Promise<Issued>;
  /** An authority under this one. */
  intermediate(name: string): Promise<Authority>;
}

const usageIds = { serverAuth: '1.3.6.1.5.5.7.3.1', clientAuth: '1.3.6.1.5.5.7.3.2', codeSigning: '1.3.6.1.5.5.7.3.3' };

export async function createAuthority(name = 'Test Authority'): Promise<Authority> {
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - 10 * day),
    notAfter: new Date(Date.now() + 3650 * day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  return authority(certificate, keys, '');
}

/** A certificate signed by its own key. */
export async function selfSigned(wanted: Wanted): Promise<Issued> {
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: 'CN=self-signed',
    ...dates(wanted),
    signingAlgorithm: algorithm,
    keys,
    extensions: extensions(wanted),
  });
  return { certificate: pem(certificate), key: await keyPem(keys) };
}

function authority(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair, chain: string): Authority {
  const sign = async (
    subject: string,
    publicKey: webcrypto.CryptoKey,
    more: Partial<x509.X509CertificateCreateParams>,
  ) =>
    x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: certificate.subject,
      publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      ...more,
    });
  return {
    certificate: pem(certificate),
    async issue(wanted) {
      const own = await generate();
      const issued = await sign('CN=test', own.publicKey, { ...dates(wanted), extensions: extensions(wanted) });
      return { certificate: pem(issued) + chain, key: await keyPem(own) };
    },
    async intermediate(name) {
      const own = await generate();
      const issued = await sign(`CN=${name}`, own.publicKey, {
        ...dates({}),
        extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
      });
      return authority(issued, own, pem(issued) + chain);
    },
  };
}

function dates(wanted: Wanted): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: wanted.notBefore ?? new Date(Date.now() - 5 * day),
    notAfter: wanted.notAfter ?? new Date(Date.now() + 90 * day),
  };
}

function extensions(wanted: Wanted): x509.Extension[] {
  const names = [
    ...(wanted.names ?? []).map(name => tlv(0x82, Buffer.from(name))),
    ...(wanted.srvNames ?? []).map(name => otherName([0x2b, 6, 1, 5, 5, 7, 8, 7], tlv(0x16, Buffer.from(name)))),
    ...(wanted.xmppAddrs ?? []).map(name => otherName([0x2b, 6, 1, 5, 5, 7, 8, 5], tlv(0x0c, Buffer.from(name)))),
  ];
  const made: x509.Extension[] = [new x509.Extension('2.5.29.17', false, tlv(0x30, Buffer.concat(names)))];
  if (wanted.usages) made.push(new x509.ExtendedKeyUsageExtension(wanted.usages.map(usage => usageIds[usage])));
  return made;
}

function otherName(oid: number[], value: Buffer): Buffer {
  return tlv(0xa0, Buffer.concat([tlv(0x06, Buffer.from(oid)), tlv(0xa0, value)]));
}

/** One DER element. */
function tlv(tag: number, value: Buffer): Buffer {
  const { length } = value;
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), value]);
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

function serial(): string {
  return `01${randomBytes(15).toString('hex')}`;
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

async function keyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${bytes.replace(/.{64}/g, '$&\n').trimEnd()}\n-----END PRIVATE KEY-----\n`;
}
