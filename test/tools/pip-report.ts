import t from 'tap';
import { PipReport } from '../../src/tools/pip-report.js';

const shown = (report: PipReport, text: string, step: number) => {
  const bytes = Buffer.from(text);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += step) parts.push(report.shown(bytes.subarray(at, at + step)));
  return Buffer.concat(parts).toString();
};

for (const step of [1, 2, 7, 33, 1000]) {
  t.test(`the report is taken out of the output, in pieces of ${step} bytes`, async (t) => {
    const report = new PipReport();
    const said = `Collecting a\n\x1e not a mark ${report.mark.slice(0, 20)}, neither\n`;
    t.equal(shown(report, `${said}${report.mark}[["a", "1.0"], ["b-c", "2!1.0.post1+local.1"]]`, step), said);
    t.same(report.installed(), [
      { name: 'a', version: '1.0' },
      { name: 'b-c', version: '2!1.0.post1+local.1' },
    ]);
  });
}

t.test('without its mark nothing is a report', async (t) => {
  const report = new PipReport();
  const forged = `${new PipReport().mark}[["evil", "1"]]\n`;
  t.equal(shown(report, forged, 5), forged);
  t.equal(report.installed(), undefined);
});

t.test('what is no name or version is no package', async (t) => {
  for (const said of [
    [['evil\u2028', '1']],
    [['evil', '1\u2028x']],
    [['', '1']],
    [['a b', '1']],
    [['a', '']],
  ]) {
    const report = new PipReport();
    report.shown(Buffer.from(report.mark + JSON.stringify(said)));
    t.same(report.installed(), [], JSON.stringify(said));
  }
  const broken = new PipReport();
  broken.shown(Buffer.from(`${broken.mark}[["a",`));
  t.equal(broken.installed(), undefined);
});
