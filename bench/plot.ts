// Pictures of figures: one panel for each. How one grows: both axes logarithmic, so that what is flat looks flat and what is
// linear rises by one decade with each. Its course in time: from zero, so that a small change looks small.

export interface Line {
  readonly title: string;
  readonly unit: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const PANEL = { width: 360, height: 250, left: 46, right: 18, top: 44, bottom: 36 };

/** An SVG with the panels beside each other; `of` is what x counts. */
export function growthPicture(of: string, lines: readonly Line[]): string {
  return picture(
    `how it grows with ${of}`,
    lines.map((line) => panel(of, line, decades, true)),
  );
}

/** The same over time, which `of` names, without a figure at each point. */
export function coursePicture(of: string, lines: readonly Line[]): string {
  return picture(
    `over ${of}`,
    lines.map((line) => panel(of, line, fromZero, false)),
  );
}

function picture(title: string, drawn: readonly string[]): string {
  const width = PANEL.width * drawn.length;
  const panels = drawn.map((each, index) => `<g transform="translate(${index * PANEL.width} 0)">${each}</g>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${PANEL.height}" width="${width}" height="${PANEL.height}" font-family="sans-serif" font-size="11" fill="#333">
<title>${escaped(title)}</title>
<rect width="${width}" height="${PANEL.height}" fill="#fff"/>
${panels.join('\n')}
</svg>
`;
}

/** Where an axis has its lines, and how far along it a value is, from 0 to 1. */
interface Axis {
  readonly ticks: readonly number[];
  at(value: number): number;
}

function panel(
  of: string,
  { title, unit, points }: Line,
  axis: (values: readonly number[]) => Axis,
  isMarked: boolean,
): string {
  const [xAxis, yAxis] = [axis(points.map((point) => point.x)), axis(points.map((point) => point.y))];
  const along = (from: number, to: number, { at }: Axis) => {
    return (value: number) => Math.round(from + at(value) * (to - from));
  };
  const x = along(PANEL.left, PANEL.width - PANEL.right, xAxis);
  const y = along(PANEL.height - PANEL.bottom, PANEL.top, yAxis);
  const bottom = PANEL.height - PANEL.bottom;
  const grid = [
    ...xAxis.ticks.map(
      (at) =>
        `<path d="M${x(at)} ${bottom}V${PANEL.top}" stroke="#e4e4e4"/><text x="${x(at)}" y="${bottom + 14}" text-anchor="middle">${short(at)}</text>`,
    ),
    ...yAxis.ticks.map(
      (at) =>
        `<path d="M${PANEL.left} ${y(at)}H${PANEL.width - PANEL.right}" stroke="#e4e4e4"/><text x="${PANEL.left - 5}" y="${y(at) + 4}" text-anchor="end">${short(at)}</text>`,
    ),
  ];
  const path = points.map((point, n) => `${n === 0 ? 'M' : 'L'}${x(point.x)} ${y(point.y)}`).join('');
  const marks = (isMarked ? points : []).map(
    (point) =>
      `<circle cx="${x(point.x)}" cy="${y(point.y)}" r="3" fill="#1f6feb"/><text x="${x(point.x)}" y="${y(point.y) - 7}" text-anchor="middle" fill="#1f6feb">${short(point.y)}</text>`,
  );
  return [
    `<text x="${PANEL.left}" y="18" font-size="12" font-weight="bold">${escaped(title)}, ${escaped(unit)}</text>`,
    ...grid,
    `<text x="${(PANEL.left + PANEL.width) / 2}" y="${PANEL.height - 6}" text-anchor="middle">${escaped(of)}</text>`,
    `<path d="${path}" fill="none" stroke="#1f6feb" stroke-width="2"/>`,
    ...marks,
  ].join('');
}

/** The powers of ten from below the least value to above the largest, at least two. */
function decades(values: readonly number[]): Axis {
  const shown = values.filter((value) => value > 0);
  if (shown.length !== values.length || shown.length === 0)
    throw new Error('only what is above zero has a logarithm');
  const first = Math.floor(Math.log10(Math.min(...shown)));
  const last = Math.max(Math.ceil(Math.log10(Math.max(...shown))), first + 1);
  return {
    ticks: Array.from({ length: last - first + 1 }, (_, n) => 10 ** (first + n)),
    at: (value) => (Math.log10(value) - first) / (last - first),
  };
}

/** From zero to above the largest value in four to ten steps of 1, 2 or 5 times a power of ten. */
function fromZero(values: readonly number[]): Axis {
  const most = Math.max(...values);
  if (most <= 0) throw new Error('nothing is above zero');
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [power / 10, power / 5, power / 2, power].find((each) => most / each <= 10)!;
  const count = Math.ceil(most / step);
  return {
    ticks: Array.from({ length: count + 1 }, (_, n) => n * step),
    at: (value) => value / (count * step),
  };
}

function short(value: number): string {
  if (value >= 1e6) return `${round(value / 1e6)} M`;
  if (value >= 1e3) return `${round(value / 1e3)} k`;
  return String(round(value));
}

const round = (value: number) => Number(value.toPrecision(value >= 100 ? 3 : 2));

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
