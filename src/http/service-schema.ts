// What the service says about itself.
import { Type } from '@sinclair/typebox';
import { closed, nullable, stringEnum } from '../lib/typebox.js';
import { ISOLATION_LEVELS, NAMESPACES } from '../sandbox/sandbox.js';

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
    tried: Type.Array(
      closed({
        level: IsolationLevel,
        ok: Type.Boolean(),
        detail: Type.String({ description: 'What it means, or why it does not hold here.' }),
      }),
      { description: 'Levels in the order in which they were tried, ending with the one that holds.' },
    ),
    checks: Type.Array(
      closed({
        name: Type.String(),
        ok: Type.Boolean(),
        detail: Type.String({ description: 'What was seen.' }),
      }),
      {
        description:
          'The tools that were found, and what was tried from inside a sandbox when the service started.',
      },
    ),
    enforced: nullable(
      closed({
        namespaces: Type.Array(stringEnum(NAMESPACES), {
          description: 'Linux namespaces that a sandbox does not share with the host.',
        }),
        eachProgram: Type.Array(stringEnum(NAMESPACES), {
          description: 'Namespaces that a program does not share with others of its session.',
        }),
        seccomp: Type.Boolean({ description: 'A filter of system calls is in force.' }),
        uid: stringEnum(['perSession', 'shared'], {
          description:
            'Whether each session has a uid of its own on the host, or all share that of the service.',
        }),
      }),
      { description: 'Walls of every sandbox; null when tasks are refused.' },
    ),
    limits: closed(
      {
        cgroup: nullable(stringEnum(['v2', 'v1'])),
        memory: stringEnum(['cgroup', 'rlimit']),
        cpu: nullable(stringEnum(['cgroup'])),
        processes: stringEnum(['cgroup', 'rlimit']),
        disk: stringEnum(['quota', 'image', 'watcher']),
      },
      {
        description:
          'What limits rest on. Without a cgroup memory is bounded for each process, and CPU is not.',
      },
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
        tried: [
          {
            level: 'full',
            ok: true,
            detail: 'every program gets namespaces of its own inside the sandbox of its session',
          },
        ],
        checks: [{ name: 'network', ok: true, detail: 'only its own loopback' }],
        enforced: {
          namespaces: ['user', 'pid', 'mnt', 'net', 'ipc', 'uts'],
          eachProgram: ['pid', 'mnt', 'ipc'],
          seccomp: true,
          uid: 'perSession',
        },
        limits: { cgroup: 'v2', memory: 'cgroup', cpu: 'cgroup', processes: 'cgroup', disk: 'watcher' },
        missing: [],
        versions: { bubblewrap: '0.8.0', python: '3.11.2' },
      },
    ],
  },
);
