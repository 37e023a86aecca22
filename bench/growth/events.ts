// What a long past costs those who start, ask and add to it.
import { fillStore, sessionName } from '../../test/helpers/large-store.js';
import type { Bench } from '../bench.js';
import { timed } from '../pairs.js';
import { median } from '../row.js';
import { Service } from '../service.js';
import type { Curve } from './curve.js';

const SAMPLES = 50;
const EVENTS_OF_EACH = 1_000;

export const events: Curve = {
  name: 'events',
  of: 'events that are stored',
  sizes: [1e3, 1e4, 1e5, 1e6, 1e7],
  quickSizes: [1e3, 1e4],
  figures: {
    start: ['from the start to the first reply', 'ms'],
    page: ['a page of 200 events, from the middle', 'ms'],
    echo: ['echo, one client', 'ms'],
    list: ['a page of 50 sessions', 'ms'],
  },
  async measure(bench, sizes, found) {
    for (const size of sizes) found(size, await withEvents(bench, size));
  },
};

async function withEvents(bench: Bench, size: number) {
  const directory = await bench.directory();
  // Makes the tables.
  await (await Service.start(directory, {})).stop();
  fillStore(directory, { sessions: size / EVENTS_OF_EACH, tasksOfEach: 10, eventsOfEach: EVENTS_OF_EACH });
  // What was written is of 1970.
  const settings = {
    DATA_DIR: directory,
    RETENTION_SECONDS: '4000000000',
    EVENT_RETENTION_SECONDS: '4000000000',
  };
  let service!: Service;
  const start = await timed(async () => {
    service = await bench.service(settings);
    await service.call('GET', '/healthz');
  });
  const sessionId = await service.session();
  const old = sessionName(0);
  const ask = async (path: string) => {
    const took: number[] = [];
    for (let n = 0; n < SAMPLES; n += 1) took.push(await timed(() => service.call('GET', path)));
    return median(took);
  };
  const echo: number[] = [];
  for (let n = 0; n < SAMPLES; n += 1) {
    echo.push(await timed(() => service.run(sessionId, 'echo', { message: 'hello' })));
  }
  return {
    start,
    page: await ask(`/v1/sessions/${old}/events?after=${EVENTS_OF_EACH / 2}&limit=200`),
    echo: median(echo),
    list: await ask('/v1/sessions?limit=50'),
  };
}
