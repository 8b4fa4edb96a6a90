// A thread that moves the write-ahead log into the database when it is asked to; writers go on meanwhile.
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

const database = new DatabaseSync(workerData as string, { timeout: 5000 });

parentPort!.on('message', (wanted: 'move' | 'end') => {
  if (wanted === 'move') {
    database.exec('PRAGMA wal_checkpoint(PASSIVE)');
    parentPort!.postMessage('moved');
  } else {
    database.close();
    parentPort!.close();
  }
});
