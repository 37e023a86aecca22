// The wall clock may be put forward or back while we run; the steady clock goes on. How far they have moved apart since a
// time was noted tells what that time is by the wall clock of today.

export interface Clocks {
  /** Epoch milliseconds. */
  readonly wall: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly steady: () => number;
}

export const SYSTEM_CLOCKS: Clocks = { wall: () => Date.now(), steady: () => performance.now() };

/** Less is how the two clocks differ by themselves, and no change. */
const LEAST_CHANGE_MS = 1000;

/** Gives how far the wall clock has been changed since now. */
export function clockChange({ wall, steady }: Clocks): () => number {
  const offset = wall() - steady();
  return () => {
    const change = wall() - steady() - offset;
    return Math.abs(change) < LEAST_CHANGE_MS ? 0 : Math.round(change);
  };
}
