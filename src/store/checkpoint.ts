// A thread that moves the write-ahead log into the database and ends; writers go on meanwhile.
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

const database = new DatabaseSync(workerData as string, { timeout: 5000 });
database.exec('PRAGMA wal_checkpoint(PASSIVE)');
database.close();
