import t from 'tap';
import { MAX_PACKAGES, Survey } from '../../src/checkpoints/survey.js';

const file = (path: string) =>
  ({ type: 'file', path: Buffer.from(path), mode: 0o644, mtimeNs: 0n, sizeBytes: 0 }) as const;

t.test('hard links below a long path make no manifest that fills the memory', async (t) => {
  const survey = new Survey();
  const folder = `${'n'.repeat(200)}/`.repeat(320);
  for (let n = 0; n < 2_000; n += 1) survey.see(file(`${folder}${n}`));
  t.equal(survey.manifest, null, '120 MB of paths');
  t.equal(survey.fileCount, 2_000);
  survey.see(file('short'));
  t.equal(survey.manifest, null, 'nor does it begin anew');
});

t.test('an ordinary large tree has one', async (t) => {
  const survey = new Survey();
  for (let n = 0; n < 100_000; n += 1) survey.see(file(`node_modules/some-package/lib/module-${n}.js`));
  t.equal(survey.manifest?.size, 100_000);
});

t.test('symlinks to long targets count as well', async (t) => {
  const survey = new Survey();
  const target = Buffer.alloc(60_000, 'x');
  for (let n = 0; n < 1_000; n += 1)
    survey.see({ type: 'symlink', path: Buffer.from(`${n}`), mode: 0o777, mtimeNs: 0n, target });
  t.equal(survey.manifest, null);
});

t.test('made-up packages are named up to a bound', async (t) => {
  const survey = new Survey();
  for (let n = 0; n < MAX_PACKAGES + 100; n += 1) {
    const path = Buffer.from(`.venv/lib/python3.11/site-packages/p${n}-1.0.dist-info`);
    survey.see({ type: 'directory', path });
  }
  t.equal(survey.installedPackages.length, MAX_PACKAGES);
});
