// Pages of results, as tables: what is asked, what is answered.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { parseElement } from '../../src/xmpp/payload.ts';
import { pageElement, pageOf, readPage } from '../../src/xmpp/result-set.ts';

const set = (inner: string) => parseElement(`<set xmlns='${ns.resultSet}'>${inner}</set>`);

describe('result sets', () => {
  const items = ['a', 'b', 'c', 'd', 'e'];
  for (const [asked, expected, first, last, index] of [
    ['', 'abc', 'a', 'c', 0],
    ['<max>2</max>', 'ab', 'a', 'b', 0],
    ['<max>2</max><after>b</after>', 'cd', 'c', 'd', 2],
    ['<max>2</max><after/>', 'ab', 'a', 'b', 0],
    ['<max>2</max><after>d</after>', 'e', 'e', 'e', 4],
    ['<after>e</after>', '', null, null, undefined],
    ['<max>2</max><before/>', 'de', 'd', 'e', 3],
    ['<max>2</max><before>c</before>', 'ab', 'a', 'b', 0],
    ['<max>2</max><before>d</before>', 'bc', 'b', 'c', 1],
    ['<max>2</max><before>a</before>', '', null, null, undefined],
    ['<max>2</max><index>3</index>', 'de', 'd', 'e', 3],
    ['<max>2</max><index>5</index>', '', null, null, undefined],
    ['<max>0</max>', '', null, null, undefined],
    ['<max>100</max>', 'abcd', 'a', 'd', 0],
  ] as const) {
    it(`answers ${asked || 'a request for nothing special'}`, () => {
      const page = pageOf(items, item => item, readPage(set(asked), 3, 4));
      assert.equal(page.items.join(''), expected);
      const { count, ...answer } = page.answer;
      assert.equal(count, 5);
      assert.deepEqual({ index: undefined, ...answer }, { first, last, index });
    });
  }

  for (const asked of ['<after>x</after>', '<before>x</before>']) {
    it(`finds no page for ${asked}`, () => {
      assert.throws(() => pageOf(items, item => item, readPage(set(asked), 3, 4)), /item-not-found/);
    });
  }

  for (const asked of [
    '<max>-1</max>',
    '<max>many</max>',
    '<max/>',
    '<max>99999999999999999999</max>',
    '<index>-1</index>',
    '<after>a</after><before>b</before>',
    '<after>a</after><index>1</index>',
  ]) {
    it(`refuses ${asked}`, () => assert.throws(() => readPage(set(asked), 3, 4), /bad-request/));
  }

  it('asks for the first page without a set', () => {
    assert.deepEqual(readPage(null, 3, 4), { max: 3, after: null, before: null, index: null });
  });

  it('writes what it knows of a page', () => {
    const of = (page: Parameters<typeof pageElement>[0]) => pageElement(page).toString(ns.resultSet);
    assert.equal(
      of({ first: 'a', last: 'b', index: 0, count: 7 }),
      "<set><first index='0'>a</first><last>b</last><count>7</count></set>",
    );
    assert.equal(of({ first: null, last: null, count: 0 }), '<set><count>0</count></set>');
    assert.equal(of({ first: 'a', last: 'b' }), '<set><first>a</first><last>b</last></set>');
  });
});
