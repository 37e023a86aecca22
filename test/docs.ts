// The documents say what is so: their links lead somewhere, and their example is code that compiles.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { ourFiles, readOurs, root } from './helpers/sources.js';

const documents = ourFiles().filter((file) => file.endsWith('.md'));

t.test('links between documents lead to files that exist', async (t) => {
  for (const document of documents) {
    const links = [...readOurs(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(
      ([, link]) => link ?? '',
    );
    const broken = links.filter((link) => !existsSync(join(root, dirname(document), link)));
    t.same(broken, [], document);
  }
});

t.test('every decision is listed in the architecture', async (t) => {
  const listed = readOurs('docs/architecture.md');
  const decisions = ourFiles('docs/decisions');
  t.not(decisions.length, 0);
  for (const file of decisions) t.match(listed, file.replace('docs/', ''));
});

t.test('the code map names every folder of src', async (t) => {
  const map = readOurs('docs/architecture.md');
  const folders = new Set(ourFiles('src').map((file) => file.split('/')[1] ?? ''));
  for (const folder of folders) t.match(map, folder.endsWith('.ts') ? `\`${folder}\`` : `\`${folder}/\``);
});

t.test('the example of adding a tool compiles', async (t) => {
  const guide = readOurs('docs/adding-a-tool.md');
  const blocks = [...guide.matchAll(/^## The (?:file|test): `([^`]+)`\n\n```ts\n([\s\S]*?)```/gm)];
  const example = new Map(blocks.map(([, path, code]) => [join(root, path ?? ''), code ?? '']));
  t.equal(example.size, 2, 'the file and its test');
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.readFile = (path) => example.get(path) ?? readFile(path);
  host.fileExists = (path) => example.has(path) || fileExists(path);
  const program = ts.createProgram(
    [...example.keys()],
    { ...options, noEmit: true, incremental: false },
    host,
  );
  const complaints = [...example.keys()].flatMap((path) => {
    const source = program.getSourceFile(path);
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  });
  t.same(complaints, []);
});
