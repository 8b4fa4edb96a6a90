// Rosters, subscriptions, presence and blocking against a model: whatever people do, on one hub or over a link, they see what they should.
import { Random } from '../../fuzz/random.ts';
import { Life } from './life.ts';
import { Places } from './places.ts';

describe('rosters, subscriptions and presence and a model of them', () => {
  const places = new Places();
  before(() => places.start());
  after(() => places.close());

  const first = Date.now();
  for (let seed = first; seed < first + 5; seed++) {
    it(`agree (seed ${seed})`, async () => {
      const life = new Life(new Random(seed), places, `s${seed}-`);
      try {
        await life.begin();
        for (let n = 0; n < 40; n++) await life.step();
        await life.end();
      } catch (error) {
        const tale = life.story.slice(-12).join('\n');
        throw new Error(`${(error as Error).message}\nafter:\n${tale}`, { cause: error });
      }
    }).timeout(20_000);
  }
});
