import { createRequire } from 'node:module';
import type { Writable } from 'node:stream';
import t from 'tap';
import { textFrames } from '../../src/events/frames.js';

/** Its types do not know it. */
const { Receiver } = createRequire(import.meta.url)('ws') as { Receiver: new () => Writable };

/** What a client makes of it, by somebody else's reading of RFC 6455. */
async function received(frames: Buffer): Promise<string[]> {
  const texts: string[] = [];
  const receiver = new Receiver();
  receiver.on('message', (data: Buffer, isBinary: boolean) =>
    texts.push(`${isBinary ? 'binary ' : ''}${data}`),
  );
  await new Promise<void>((resolve, reject) => {
    receiver.once('error', reject);
    receiver.end(frames, () => resolve());
  });
  return texts;
}

const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];

t.test('texts of any length come out as they went in', async (t) => {
  const texts = lengths.map((length) => 'x'.repeat(length));
  t.same(await received(textFrames(texts)), texts);
  t.equal(textFrames([]).length, 0);
});

t.test('so do those in which a character is more than a byte, among others', async (t) => {
  for (const character of ['é', '\u00ff', '猫', '🐈', '\u0000', '\u2028']) {
    const texts = [
      ...lengths.map((length) => character.repeat(length)),
      'plain',
      `${'x'.repeat(124)}${character}`,
    ];
    t.same(await received(textFrames(texts)), texts, character);
  }
});
