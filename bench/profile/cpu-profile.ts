// What V8's sampling profiler says, summed up: by part of the service, and as a flame graph.

/** As the inspector's `Profiler.stop` gives it. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Microseconds. */
  readonly timeDeltas: readonly number[];
}

export interface Frame {
  readonly name: string;
  readonly part: string;
  us: number;
  readonly children: Map<string, Frame>;
}

/** The call tree without what waited, with all that one function costs under one caller in one frame. */
export function callTree({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const root: Frame = { name: 'all', part: '', us: 0, children: new Map() };
  samples.forEach((sample, index) => {
    const path = [];
    for (let id: number | undefined = sample; id !== undefined; id = parents.get(id))
      path.push(byId.get(id)!);
    // The last is the root of V8.
    const frames = path.reverse().slice(1);
    if (frames.at(-1)?.callFrame.functionName === '(idle)') return;
    const us = timeDeltas[index]!;
    root.us += us;
    let at = root;
    for (const { callFrame } of frames) {
      const name = callFrame.functionName || '(anonymous)';
      const part = partOf(callFrame, at.part);
      const known = at.children.get(`${name} ${callFrame.url}`);
      const next = known ?? { name, part, us: 0, children: new Map<string, Frame>() };
      if (!known) at.children.set(`${name} ${callFrame.url}`, next);
      next.us += us;
      at = next;
    }
  });
  return root;
}

/** A folder of the sources, a package, or a part of Node; what has no place of its own belongs to who called it. */
function partOf({ url, functionName }: { url: string; functionName: string }, caller: string): string {
  if (functionName.startsWith('('))
    return functionName === '(garbage collector)' ? 'garbage collection' : 'V8';
  const ours = /\/build\/src\/([\w-]+)/.exec(url)?.[1];
  if (ours) return `src/${ours}`;
  const theirs = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (theirs) return theirs;
  if (/^node:(_http|internal\/http|_http_)/.test(url)) return 'node: http';
  if (/^node:(net|internal\/stream|_stream|stream|internal\/streams)/.test(url))
    return 'node: sockets and streams';
  return caller || 'node: event loop';
}

/** Microseconds each part has used itself, most first. */
export function byPart(root: Frame): [part: string, us: number][] {
  const parts = new Map<string, number>();
  const visit = (frame: Frame) => {
    let own = frame.us;
    for (const child of frame.children.values()) {
      own -= child.us;
      visit(child);
    }
    if (frame.part) parts.set(frame.part, (parts.get(frame.part) ?? 0) + own);
  };
  visit(root);
  return [...parts].toSorted((a, b) => b[1] - a[1]);
}

const WIDTH = 1200;
const ROW = 16;

/** Width is time, callers stand below; frames of less than a thousandth are left out. */
export function flameGraph(root: Frame, title: string): string {
  const boxes: string[] = [];
  let deepest = 0;
  const draw = (frame: Frame, x: number, depth: number) => {
    const width = (frame.us / root.us) * WIDTH;
    if (width < WIDTH / 1000) return;
    deepest = Math.max(deepest, depth);
    const label = `${frame.name}${frame.part ? ` (${frame.part})` : ''}`;
    const share = `${((100 * frame.us) / root.us).toFixed(1)} %`;
    const room = Math.floor(width / 6.2);
    const text =
      room < 4
        ? ''
        : `<text x="${(x + 2).toFixed(1)}" y="@${depth}+11@">${escaped(label.slice(0, room))}</text>`;
    boxes.push(
      `<g><title>${escaped(label)}: ${share}</title><rect x="${x.toFixed(1)}" y="@${depth}@" width="${(width - 0.4).toFixed(1)}" height="${ROW - 1}" fill="${colour(frame.part)}"/>${text}</g>`,
    );
    let at = x;
    const largestFirst = [...frame.children.values()].toSorted((a, b) => b.us - a.us);
    for (const child of largestFirst) {
      draw(child, at, depth + 1);
      at += (child.us / root.us) * WIDTH;
    }
  };
  draw(root, 0, 0);
  const height = (deepest + 1) * ROW + 28;
  const placed = boxes
    .join('\n')
    .replace(/@(\d+)(?:\+(\d+))?@/g, (_, depth, more = 0) =>
      String(height - (Number(depth) + 1) * ROW + Number(more)),
    );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="monospace" font-size="10">
<title>${escaped(title)}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="4" y="16" font-size="13" font-family="sans-serif">${escaped(title)}</text>
${placed}
</svg>
`;
}

function colour(part: string): string {
  if (part.startsWith('src/')) return '#f4a742';
  if (part.startsWith('node:') || part === '') return '#b9cfe8';
  return part === 'garbage collection' || part === 'V8' ? '#d0d0d0' : '#a8d8a0';
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
