// @anthropic-ai/sandbox-runtime as its users meet it, as a library: for each line on stdin a Python that prints is wrapped
// and run, and the answer is what it printed.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { SandboxManager } from '@anthropic-ai/sandbox-runtime';

await SandboxManager.initialize({
  network: { allowedDomains: [], deniedDomains: [] },
  filesystem: { denyRead: [], allowWrite: ['.'], denyWrite: [] },
});
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) {
  const command = await SandboxManager.wrapWithSandbox('/usr/bin/python3 -I -S -c "print(1)"');
  const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'inherit'] });
  console.log((await text(child.stdout)).trim());
}
await SandboxManager.reset();
