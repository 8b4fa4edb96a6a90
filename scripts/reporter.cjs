// The mocha reporter of every runner here: the spec listing, then one last line `N passed, N failed`.
const { reporters, Runner } = require('mocha');

module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      const line = `${passes} passed, ${failures} failed${pending ? `, ${pending} skipped` : ''}`;
      process.on('exit', () => process.stdout.write(`\n${line}\n`));
    });
  }
};
