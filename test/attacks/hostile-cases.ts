// The hostile cases as whoever runs the tests, at the level that this host reaches. `test/long/hostile-cases.ts` has
// the other combinations.
import t from 'tap';
import { testHostileCases } from '../helpers/hostile-cases.js';

await testHostileCases(t);
