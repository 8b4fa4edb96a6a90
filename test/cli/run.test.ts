// The command line: help, exit codes, one line for what went wrong, JSON, and a hub that is started and asked.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { isthmus, mainFile, workplace } from '../support/command.ts';

describe('the command line', () => {
  const place = workplace({
    'isthmus.yaml': 'domains: { hub.test: {} }\nlisten: { c2s: [], s2s: [], http: ["127.0.0.1:0"] }',
    'wrong.yaml': 'domains:\n  hub.test: {}\nlitsen: {}',
    'module.yaml': 'domains: { hub.test: {} }\nmodules: { teleport: true }',
  });
  after(() => place.remove());
  const run = (...args: string[]) => isthmus(args, { cwd: place.path });

  it('helps: as a whole, with a command, and where no words were given', async () => {
    const [whole, none, one, topic] = await Promise.all([
      run('--help'),
      run(),
      run('federation', '--help'),
      run('help', 'account'),
    ]);
    assert.deepEqual([whole.code, none.code, one.code, topic.code], [0, 2, 0, 0]);
    assert.match(whole.out, /Exit codes: 0 done, 1 failed, 2 wrong usage\.\n$/);
    for (const name of ['start', 'check', 'account', 'modules'])
      assert.match(whole.out, new RegExp(`^  ${name} `, 'm'));
    assert.equal(none.out, whole.out);
    assert.match(one.out, /Usage: isthmus federation list \| show DOMAIN/);
    assert.match(topic.out, /isthmus account add romeo@hub\.test/);
  });

  it('ends with 2 for wrong words and with 1 for what failed, in one line on standard error', async () => {
    const cases: [string[], number, RegExp][] = [
      [['dance'], 2, /there is no command dance/],
      [['help', 'dance'], 2, /there is no command dance/],
      [['status', '--loud'], 2, /there is no option --loud/],
      [['status', 'now'], 2, /status takes no words/],
      [['status', '-c'], 2, /-c takes a value/],
      [['status'], 1, /no isthmus is running on .*; start it with `isthmus start`/],
      [['status', '-c', 'gone.yaml'], 1, /gone\.yaml: cannot be read: ENOENT/],
      [['start', '-c', 'wrong.yaml'], 1, /wrong\.yaml:3: litsen: there is no such key; did you mean listen\?/],
      [
        ['start', '-c', 'module.yaml'],
        1,
        /module\.yaml:2: modules\.teleport: there is no such module; known are .*vcard/,
      ],
      [['check', '-c', 'module.yaml'], 1, /modules\.teleport: there is no such module/],
    ];
    const ran = await Promise.all(cases.map(([args]) => run(...args)));
    for (const [i, [args, code, text]] of cases.entries()) {
      const { err } = ran[i];
      assert.equal(ran[i].code, code, `${args.join(' ')}: ${err}`);
      assert.match(err, text);
      assert.match(err, /^isthmus: [^\n]*\n$/, args.join(' '));
      assert.equal(ran[i].out, '');
    }
  });

  it('gives JSON where that is asked for', async () => {
    const [version, check] = await Promise.all([run('version', '--json'), run('check', '--json')]);
    assert.match(JSON.parse(version.out).version, /^\d+\.\d+\.\d+$/);
    const findings: { verdict: string; about: string }[] = JSON.parse(check.out);
    assert.ok(findings.some(({ verdict, about }) => verdict === 'ok' && about === 'data'));
    assert.equal(check.code, 0, check.err);
  });

  it('says what cannot be listened on, and ends', async () => {
    const taken: Server = createServer();
    await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const busy = workplace({
      'isthmus.yaml': `domains: { hub.test: {} }\nlisten: { c2s: ["127.0.0.1:${port}"], s2s: [] }`,
    });
    try {
      const ran = await isthmus(['start'], { cwd: busy.path });
      assert.equal(ran.code, 1);
      assert.match(ran.err, new RegExp(`^isthmus: .*127\\.0\\.0\\.1:${port}.*\\n$`));
    } finally {
      taken.close();
      busy.remove();
    }
  });

  it('starts a hub, asks it, has it read its configuration, and ends it', async () => {
    const hub = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, 'start'], {
      cwd: place.path,
    });
    let log = '';
    hub.stdout.setEncoding('utf8');
    const ended = new Promise(resolve => hub.on('exit', resolve));
    await new Promise<void>((resolve, reject) => {
      hub.stdout.on('data', text => {
        log += text;
        if (log.includes('isthmus is ready')) resolve();
      });
      hub.on('exit', () => reject(new Error(log)));
    });
    try {
      const [status, modules, sessions, reload] = await Promise.all([
        run('status', '--json'),
        run('modules'),
        run('sessions'),
        run('reload', '--json'),
      ]);
      assert.deepEqual(JSON.parse(status.out).domains, ['hub.test'], status.err);
      assert.match(modules.out, /^MODULE +ON +IMPLEMENTS\n/);
      assert.match(modules.out, /^ping +everywhere +XEP-0199$/m);
      assert.equal(sessions.out, '(none)\n');
      assert.deepEqual(JSON.parse(reload.out), { changed: [], restart: [] });
      const second = await run('start');
      assert.match(second.err, /^isthmus: .*(another isthmus is running|locked|in use).*\n$/);
    } finally {
      hub.kill('SIGTERM');
    }
    assert.equal(await ended, 0);
    assert.ok(
      log
        .split('\n')
        .filter(Boolean)
        .every(line => JSON.parse(line).level),
      'the log is JSON lines',
    );
  });

  it('takes it calmly when its reader leaves', async () => {
    const child = spawn('/bin/sh', ['-c', `"${process.execPath}" "${mainFile}" --help | true`], {
      cwd: join(place.path),
    });
    let err = '';
    child.stderr.on('data', text => {
      err += text;
    });
    await new Promise(resolve => child.on('close', resolve));
    assert.doesNotMatch(err, /EPIPE/);
  });
});
