/** True when the promise resolves within the time; false after it, or when the signal says that nobody waits any more. */
export async function settledWithin(
  promise: Promise<unknown>,
  timeMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  if (timeMs <= 0 || signal?.aborted) return false;
  return new Promise((resolve, reject) => {
    const giveUp = () => finish(false);
    const timer = setTimeout(giveUp, timeMs);
    signal?.addEventListener('abort', giveUp, { once: true });
    const finish = (settled: boolean) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
      resolve(settled);
    };
    promise.then(() => finish(true), reject);
  });
}
