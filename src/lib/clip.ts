/** The beginning of a text, at most `most` UTF-16 units; never half of a surrogate pair, which strict JSON parsers refuse. */
export function beginning(text: string, most: number): string {
  if (text.length <= most) return text;
  const isPairCut = (text.charCodeAt(most - 1) & 0xfc00) === 0xd800;
  return text.slice(0, isPairCut ? most - 1 : most);
}

/** The same, with an ellipsis where something is left out. */
export function clip(text: string, most: number): string {
  return text.length > most ? `${beginning(text, most)}…` : text;
}
