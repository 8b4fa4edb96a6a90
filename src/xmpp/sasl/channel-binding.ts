// What binds an authentication to the TLS connection under it (RFC 5929, RFC 9266).
import { createHash, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/**
 * Channel binding data of an established connection, by type, the preferred type first: `tls-exporter` where TLS is
 * 1.3 (before it the exporter is not unique without more), and `tls-server-end-point`. `serverCertificate` is the DER
 * of the certificate we showed; as a client it is read from the socket.
 */
export function channelBindings(socket: TLSSocket, serverCertificate?: Uint8Array): Map<string, Uint8Array> {
  const bindings = new Map<string, Uint8Array>();
  if (socket.getProtocol() === 'TLSv1.3') {
    bindings.set('tls-exporter', socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)));
  }
  const certificate = serverCertificate ?? socket.getPeerCertificate()?.raw;
  const endPoint = certificate && knownEndPoint(certificate);
  if (endPoint) bindings.set('tls-server-end-point', endPoint);
  return bindings;
}

const endPoints = new WeakMap<Uint8Array, Uint8Array | null>();

/** Our own certificates are hashed once, not at each login: reading one takes memory that is given back late. */
function knownEndPoint(der: Uint8Array): Uint8Array | null {
  let endPoint = endPoints.get(der);
  if (endPoint === undefined) endPoints.set(der, (endPoint = serverEndPoint(der)));
  return endPoint;
}

/** The hash of a certificate by the hash of its signature, MD5 and SHA-1 as SHA-256 (RFC 5929 §4.1); null where that has none. */
export function serverEndPoint(der: Uint8Array): Uint8Array | null {
  const { signatureAlgorithm } = new X509Certificate(der);
  const match = /(?:sha-?|md)(1|5|224|256|384|512)/i.exec(signatureAlgorithm ?? '');
  if (!match) return null;
  const size = match[1] === '1' || match[1] === '5' ? '256' : match[1];
  return createHash(`sha${size}`).update(der).digest();
}
