/** `make`, done once for each input object however many ask; the result goes with the input. */
export function sharedBy<I extends object, O>(make: (input: I) => O): (input: I) => O {
  const made = new WeakMap<I, { readonly output: O }>();
  return (input) => {
    let entry = made.get(input);
    if (!entry) {
      entry = { output: make(input) };
      made.set(input, entry);
    }
    return entry.output;
  };
}
