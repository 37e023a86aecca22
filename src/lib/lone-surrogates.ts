// Half a surrogate pair can be written in JSON (`"\ud83d"`) and is no character: no encoding has it, so that the store and
// programs would get another text than the client sent.

import { clip } from './clip.js';

/** Only so can JSON that is valid UTF-8 spell one. */
const ESCAPED_SURROGATE = /\\u[dD][89a-fA-F]/;
const MOST_SHOWN = 200;
const LONE = /\p{Surrogate}/u;
const ALL_LONE = /\p{Surrogate}/gu;

/** One of these in a text; JSON Pointer, the text as far as it is shown, and what is wanted. */
export interface LoneSurrogate {
  readonly where: string;
  readonly given: string;
  readonly rule: string;
}

interface Place {
  readonly value: unknown;
  readonly name: string;
  readonly parent: Place | undefined;
}

/** The strings and names in a parsed JSON text that hold one, at most `most` of them. `where` begins the pointers. */
export function findLoneSurrogates(json: string, parsed: unknown, where: string, most = 20): LoneSurrogate[] {
  if (!ESCAPED_SURROGATE.test(json)) return [];
  const found: LoneSurrogate[] = [];
  const waiting: Place[] = [{ value: parsed, name: '', parent: undefined }];
  for (let place = waiting.pop(); place && found.length < most; place = waiting.pop()) {
    const { value, name } = place;
    if (LONE.test(name)) found.push(tell(place, where, name));
    else if (typeof value === 'string') {
      if (LONE.test(value)) found.push(tell(place, where, value));
    } else if (typeof value === 'object' && value !== null) {
      const members = Object.entries(value);
      // From the end, so that the first is looked at first.
      for (let i = members.length - 1; i >= 0; i -= 1) {
        waiting.push({ name: members[i]![0], value: members[i]![1], parent: place });
      }
    }
  }
  return found;
}

function tell(place: Place, where: string, text: string): LoneSurrogate {
  let pointer = '';
  for (let each = place; each.parent; each = each.parent) pointer = `/${escaped(each.name)}${pointer}`;
  const rule = 'must be well-formed Unicode: no lone surrogates';
  return { where: where + pointer || '/', given: spelled(text), rule };
}

function escaped(name: string): string {
  return spelled(name).replaceAll('~', '~0').replaceAll('/', '~1');
}

/** As it was written: a reply that held one itself could not be read by everybody. */
function spelled(text: string): string {
  return clip(text, MOST_SHOWN).replace(ALL_LONE, (half) => `\\u${half.charCodeAt(0).toString(16)}`);
}
