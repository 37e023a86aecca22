import { setMaxListeners } from 'node:events';

/** A controller whose signal lives as long as the service. Any number may listen to it, each for a while: Node would warn
 *  of a leak from the eleventh on. */
export function lastingController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
