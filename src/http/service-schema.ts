// What the service says about itself.
import { Type } from '@sinclair/typebox';
import { closed, nullable, stringEnum } from '../lib/typebox.js';
import { ISOLATION_LEVELS } from '../sandbox/sandbox.js';

const IsolationLevel = stringEnum(ISOLATION_LEVELS);

export const Alive = closed(
  { status: Type.Literal('alive') },
  { $id: 'Alive', examples: [{ status: 'alive' }] },
);

export const Ready = closed(
  { status: Type.Literal('ready'), isolation: IsolationLevel },
  { $id: 'Ready', examples: [{ status: 'ready', isolation: 'full' }] },
);

export const Isolation = closed(
  {
    level: nullable(IsolationLevel, { description: 'Reached on this host; null when tasks are refused.' }),
    minimum: stringEnum(ISOLATION_LEVELS, { description: 'ISOLATION_MIN: below it tasks are refused.' }),
    checks: Type.Array(
      closed({
        name: Type.String(),
        ok: Type.Boolean(),
        detail: Type.String({ description: 'What was seen.' }),
      }),
      { description: 'What was tried from inside a sandbox when the service started.' },
    ),
    limits: closed(
      {
        cgroup: nullable(stringEnum(['v2', 'v1'])),
        disk: stringEnum(['quota', 'image', 'watcher']),
      },
      { description: 'What limits rest on; without a cgroup on rlimits and a watcher.' },
    ),
    missing: Type.Array(closed({ what: Type.String(), fix: Type.String() }), {
      description: 'What keeps this host from more, each with its fix.',
    }),
    versions: Type.Record(Type.String(), Type.String()),
  },
  {
    $id: 'Isolation',
    examples: [
      {
        level: 'full',
        minimum: 'rootNoUserns',
        checks: [{ name: 'network', ok: true, detail: 'no interface but loopback' }],
        limits: { cgroup: 'v2', disk: 'watcher' },
        missing: [],
        versions: { bubblewrap: '0.8.0', python: '3.11.2' },
      },
    ],
  },
);
