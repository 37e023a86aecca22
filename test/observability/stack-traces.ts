import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

/** Run in a process of its own: how traces look is a setting of the whole process. */
function run(body: string): string {
  const built = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
  const code = `
    const { traceSources } = await import(${built('observability/stack-traces.js')});
    traceSources();
    const { loadConfig } = await import(${built('config.js')});
    ${body}`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
}

const root = fileURLToPath(new URL('../../../', import.meta.url));

t.test('a trace names the TypeScript lines of our code, and leaves the rest as it is', async (t) => {
  const trace = run('try { loadConfig({ PORT: "x" }) } catch (error) { console.log(error.stack) }');
  t.match(trace, /^ConfigError: PORT=x/);
  t.match(trace, /at loadConfig \(.*\/src\/config\.ts:\d+:\d+\)/);
  t.ok(trace.includes(`(${root}src/config.ts:`));
  t.notMatch(trace, /build\/src/);
  t.match(trace, /at .*\[eval1\]:\d+:\d+/);
});

t.test('an error that cannot be named has a trace all the same', async (t) => {
  const trace = run(
    'const odd = new Error("x"); odd.toString = () => { throw new Error("no") }; console.log(odd.stack)',
  );
  t.match(trace, /^Error\n {4}at /);
});
