// An SMSC that only counts, in a process of its own: reads PDUs by hand so that it is not what is measured.
import { type AddressInfo, createServer } from 'node:net';

const submit = 0x00000004;
let submits = 0;
let first = 0;
let last = 0;

/** A response with a message id where one belongs. */
function answer(command: number, sequence: number): Buffer {
  const id = command === submit ? `${submits}\0` : command === 0x15 || command === 6 ? '' : 'bench\0';
  const bytes = Buffer.alloc(16 + id.length);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE((command | 0x80000000) >>> 0, 4);
  bytes.writeUInt32BE(sequence, 12);
  bytes.write(id, 16, 'latin1');
  return bytes;
}

const server = createServer(socket => {
  let pending: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', chunk => {
    pending = pending.length > 0 ? Buffer.concat([pending, chunk]) : chunk;
    const answers: Buffer[] = [];
    while (pending.length >= 16 && pending.length >= pending.readUInt32BE(0)) {
      const command = pending.readUInt32BE(4);
      if (command === submit) {
        submits++;
        last = performance.now();
        if (submits === 1) {
          first = last;
          process.send?.({ first: true });
        }
      }
      if (command < 0x80000000) answers.push(answer(command, pending.readUInt32BE(12)));
      pending = pending.subarray(pending.readUInt32BE(0));
    }
    if (answers.length > 0) socket.write(Buffer.concat(answers));
  });
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));

process.on('message', (message: 'count' | 'reset') => {
  if (message === 'reset') submits = first = last = 0;
  else process.send?.({ submits, seconds: (last - first) / 1000 });
});
process.on('disconnect', () => process.exit());
