// What a checkpoint looks like to a client.
import { type Static, Type } from '@sinclair/typebox';
import { closed, NO_NUL, nullable, stringEnum, Timestamp } from '../lib/typebox.js';
import { CreateSession, SessionId } from '../sessions/schema.js';
import { MAX_PACKAGES } from './survey.js';

export const CheckpointId = Type.String({
  pattern: '^ckp_[0-9a-z]{26}$',
  description: 'The checkpoint’s id, given by the service.',
  examples: ['ckp_06g4k2m8s5t7v9x1z3b5d7f9h1'],
});

const CheckpointName = Type.String({
  minLength: 1,
  maxLength: 256,
  pattern: NO_NUL,
  description: 'A label of the client; need not be unique.',
});

export const CONSISTENCIES = ['frozen', 'stopped', 'idle'] as const;

export const Checkpoint = closed(
  {
    checkpointId: CheckpointId,
    sessionId: SessionId,
    name: nullable(CheckpointName),
    kind: stringEnum(['full'], { description: '`full`: holds the whole workspace by itself.' }),
    createdAt: Timestamp(),
    sizeBytes: Type.Integer({ minimum: 0, description: 'Size of the archive.' }),
    uncompressedBytes: Type.Integer({
      minimum: 0,
      description: 'Sizes of its files together; a sparse file counts in full.',
    }),
    fileCount: Type.Integer({
      minimum: 0,
      description: 'Files and symlinks in it. A file with several hard links counts, and is kept, as often.',
    }),
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Of the archive.' }),
    installedPackages: Type.Array(closed({ name: Type.String(), version: Type.String() }), {
      maxItems: MAX_PACKAGES,
      description: `Packages in the session’s virtual environment, by name; at most ${MAX_PACKAGES}.`,
    }),
    changes: nullable(
      closed({
        created: Type.Integer({ minimum: 0 }),
        modified: Type.Integer({ minimum: 0 }),
        deleted: Type.Integer({ minimum: 0 }),
      }),
      {
        description:
          'Files and symlinks since the session’s last checkpoint, or the one it was started from; null when there is none.',
      },
    ),
    consistency: stringEnum(CONSISTENCIES, {
      description:
        'How the workspace was held still. `frozen`: the kernel froze all processes at once; `stopped`: they were stopped one by one; `idle`: there were none.',
    }),
    skipped: Type.Record(Type.String(), Type.Integer({ minimum: 1 }), {
      description:
        'What is not in it, by kind: `fifo`, `socket`, `device`; `unreadable` and `vanished` when it could not be read.',
      examples: [{ socket: 1 }],
    }),
    changedWhileReading: Type.Array(Type.String(), {
      maxItems: 100,
      description:
        'Files that changed while they were read, despite all; each has the size it had first, cut or filled with zeros.',
    }),
  },
  {
    $id: 'Checkpoint',
    description: 'A copy of a workspace: contents, modes, times, symlinks, a working virtual environment.',
  },
);
export type Checkpoint = Static<typeof Checkpoint>;

export const CreateCheckpoint = closed(
  { name: Type.Optional(CheckpointName) },
  { $id: 'CreateCheckpoint', examples: [{ name: 'before the refactoring' }] },
);
export type CreateCheckpoint = Static<typeof CreateCheckpoint>;

const { checkpointId: _, language: __, ...settings } = CreateSession.properties;

export const RestoreCheckpoint = closed(
  {
    mode: Type.Optional(
      stringEnum(['new'], { default: 'new', description: '`new`: a new session with this workspace.' }),
    ),
    ...settings,
  },
  {
    $id: 'RestoreCheckpoint',
    description:
      'What is left out is as it was in the session the checkpoint was taken of: `env`, `metadata`, `limits`, `network` and the rest; only its `sessionId` is new.',
    examples: [{ mode: 'new', sessionId: 'second-try' }],
  },
);
export type RestoreCheckpoint = Static<typeof RestoreCheckpoint>;
