// Shows TAP as a person reads it: a line for each test file, the skipped ones with their reason, and of a failure the
// way to it and what it says. `tap --reporter=tap` shows it raw; each file's is kept below `.tap/test-results`.
import { Transform } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

const POINT = /^( *)(not ok|ok) \d+(?: - (.*?))?(?: \{)?$/;
const DETAILS = /^ *---$/;
/** Members of the details that help nobody, with what is nested in them. */
const NOISE =
  /^(args|command|cwd|externalID|stdio|jobId|generated|functionName|typeName|methodName|isToplevel):/;

export default class Reporter extends Transform {
  #decoder = new StringDecoder();
  #rest = '';
  /** Names of the subtests around the line, by depth. */
  #path = [];
  /** Where the details of a failure stand, while they are shown. */
  #details;
  /** Depth of the member of the details that is left out. */
  #leftOut;
  #failed = false;

  _transform(chunk, _encoding, done) {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) this.#read(line);
    done();
  }

  _flush(done) {
    this.#read(this.#rest);
    done();
  }

  #read(line) {
    const depth = (/^ */.exec(line)[0].length / 4) | 0;
    if (this.#details !== undefined) return this.#readDetails(line);
    const subtest = /^ *# Subtest: (.*)$/.exec(line);
    if (subtest) {
      this.#path.length = depth;
      this.#path[depth] = subtest[1];
      return;
    }
    const point = POINT.exec(line);
    if (point) return this.#readPoint(depth, point[2] === 'ok', point[3] ?? '');
    if (this.#failed && DETAILS.test(line)) {
      this.#details = line.indexOf('-');
      return;
    }
    if (depth === 0 && /^(Bail out!|# (ERROR|\{|No coverage))/.test(line)) this.push(`${line}\n`);
  }

  #readPoint(depth, ok, text) {
    const { name, durationMs, skipped } = parsePoint(text);
    this.#failed = false;
    if (depth === 0) {
      this.push(`${ok ? 'ok     ' : 'NOT OK '} ${name}${durationMs ? ` (${durationMs} ms)` : ''}\n`);
    } else if (skipped !== undefined) {
      this.push(
        `  skipped: ${[...this.#path.slice(1, depth), name].join(' › ')}: ${skipped || 'no reason given'}\n`,
      );
    }
    // A subtest that failed repeats what its own points have said.
    const said = this.#path[depth] === name && depth > 0;
    this.#path.length = depth;
    if (ok || said) return;
    this.#failed = true;
    if (depth > 0) this.push(`\n  FAILED: ${[...this.#path, name].join(' › ')}\n`);
  }

  #readDetails(line) {
    const text = line.slice(this.#details);
    if (text.startsWith('...')) {
      this.#details = undefined;
      this.#leftOut = undefined;
      this.#failed = false;
      return;
    }
    const depth = /^ */.exec(text)[0].length;
    if (this.#leftOut !== undefined && depth > this.#leftOut) return;
    this.#leftOut = NOISE.test(text.slice(depth)) ? depth : undefined;
    if (this.#leftOut === undefined) this.push(`    ${text}\n`);
  }
}

function parsePoint(text) {
  const duration = / # time=([\d.]+)ms$/.exec(text);
  const skip = / # SKIP ?(.*)$/i.exec(text);
  return {
    name: text.replace(/ # (time=|SKIP).*$/i, ''),
    durationMs: duration ? Math.round(Number(duration[1])) : undefined,
    skipped: skip?.[1],
  };
}
