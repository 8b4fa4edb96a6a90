// `isthmus check`: what is wrong with the configuration and its surroundings, and what to do about it.
import type { Command, Finding } from './command.ts';

export const check: Command = {
  name: 'check',
  summary: 'check configuration, certificates, DNS and reachability',
  usage: '[--domain PARTNER]',
  options: ['domain'],
  help: `Exits with 1 where anything fails; warnings do not count.
  isthmus check -c isthmus.yaml
  isthmus check --domain partner.test    makes a link with a partner, sends nothing, and tells the story`,
  async run(context) {
    const findings: Finding[] = [];
    for await (const finding of context.parts.check(context.config(), context.options.get('domain'))) {
      findings.push(finding);
      if (!context.json) context.say(`${finding.verdict.toUpperCase().padEnd(4)}  ${finding.about}: ${finding.text}`);
    }
    if (context.json) context.print(findings);
    return findings.some(({ verdict }) => verdict === 'fail') ? 1 : 0;
  },
};
