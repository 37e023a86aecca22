// Every tool there is. Adding one is a line here (docs/adding-a-tool.md).
import type { TObject, TSchema } from '@sinclair/typebox';
import { Type } from '@sinclair/typebox';
import { closed, discriminated, ref } from '../lib/typebox.js';
import { submissionProperties } from '../tasks/schema.js';
import { echo } from './echo.js';
import { fsList } from './fs-list.js';
import { fsMkdir } from './fs-mkdir.js';
import { fsMove } from './fs-move.js';
import { fsRead } from './fs-read.js';
import { fsRemove } from './fs-remove.js';
import { fsStat } from './fs-stat.js';
import { fsWrite } from './fs-write.js';
import { pkgInstall } from './pkg-install.js';
import { runCommand } from './run-command.js';
import { runPython } from './run-python.js';
import type { Tool } from './tool.js';

const ALL = [
  echo,
  fsRead,
  fsWrite,
  fsList,
  fsStat,
  fsMkdir,
  fsMove,
  fsRemove,
  runPython,
  runCommand,
  pkgInstall,
] as unknown as readonly Tool[];

export type ToolRegistry = ReadonlyMap<string, Tool>;

/** Tools by name, in the order in which they are shown. */
export function toolRegistry(tools: readonly Tool[] = ALL): ToolRegistry {
  return new Map(tools.map((tool) => [tool.name, tool]));
}

/** `run.python` → `RunPython`: the stem of a tool's component names. */
function stem(name: string): string {
  return name.replace(/(?:^|\.)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The body of a submission: one closed object for each tool, told apart by `tool`. */
export function submissionSchemas(registry: ToolRegistry): { union: TSchema; all: TSchema[] } {
  const variants: TObject[] = [...registry.values()].map((tool) =>
    closed(
      { tool: Type.Literal(tool.name), arguments: ref(tool.arguments), ...submissionProperties },
      {
        $id: `${stem(tool.name)}Task`,
        description: tool.description,
        examples: tool.arguments.examples?.map((example: unknown) => ({
          tool: tool.name,
          arguments: example,
        })),
      },
    ),
  );
  const union = discriminated('tool', variants, {
    $id: 'TaskSubmission',
    examples: [{ tool: 'run.python', arguments: { code: 'print(2 + 2)' } }],
  });
  const described = [...registry.values()].flatMap((tool) => [tool.arguments, tool.outputs]);
  return { union, all: [...described, ...variants, union] };
}

export const ToolDescription = closed(
  {
    name: Type.String(),
    description: Type.String(),
    arguments: Type.Record(Type.String(), Type.Unknown(), {
      description: 'JSON Schema (2020-12) of `arguments`.',
    }),
    outputs: Type.Record(Type.String(), Type.Unknown(), {
      description: 'JSON Schema (2020-12) of `outputs`.',
    }),
  },
  { $id: 'Tool' },
);
