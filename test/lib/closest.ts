import t from 'tap';
import { closest } from '../../src/lib/closest.js';

t.test('a slip of the finger finds the word that was meant', async (t) => {
  const known = ['memoryMb', 'cpuPercent', 'diskMb'];
  t.equal(closest('memoryMB', known), 'memoryMb');
  t.equal(closest('memory_mb', known), 'memoryMb');
  t.equal(closest('cpuPercnt', known), 'cpuPercent');
});

t.test('another word finds nothing', async (t) => {
  t.equal(closest('colour', ['memoryMb']), undefined);
  t.equal(closest('ab', ['xy']), undefined);
  t.equal(closest('x'.repeat(100), ['x'.repeat(100)]), undefined);
});
