/** True when the promise resolves within the time; false after it, or when a signal says that nobody waits any more.
 *  Signals may live as long as the service: nothing of a wait stays with them, as it would with AbortSignal.any. */
export async function settledWithin(
  promise: Promise<unknown>,
  timeMs: number,
  ...signals: readonly AbortSignal[]
): Promise<boolean> {
  if (timeMs <= 0 || signals.some(({ aborted }) => aborted)) return false;
  return new Promise((resolve, reject) => {
    const giveUp = () => finish(false);
    const timer = setTimeout(giveUp, timeMs);
    for (const signal of signals) signal.addEventListener('abort', giveUp);
    const finish = (settled: boolean) => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', giveUp);
      resolve(settled);
    };
    promise.then(() => finish(true), reject);
  });
}
