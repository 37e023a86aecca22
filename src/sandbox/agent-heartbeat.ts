// Finds out that a busy agent has died without its end being seen. It is asked again and again; what counts against it are
// looks at which it could have answered and had not.
import type { CouldAnswer } from './attentive-clock.js';

const LOOK_EVERY_MS = 1_000;
/** Looks in a row. */
const SILENT_LOOKS = 20;
/** The same, when it only ever waited for a processor: nobody is waited for for ever. */
const STARVED_LOOKS = 10 * SILENT_LOOKS;

export interface HeartbeatOptions {
  /** Something is wanted of it, and we listen. */
  readonly isAwaited: () => boolean;
  readonly couldAnswer: CouldAnswer;
  readonly ask: () => void;
  /** `reading` says what that rests on. */
  readonly dead: (reading: string) => void;
}

export class AgentHeartbeat {
  readonly #options: HeartbeatOptions;
  readonly #timer: NodeJS.Timeout;
  #silent = 0;
  #starved = 0;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS).unref();
  }

  /** It said something. */
  heard(): void {
    this.#silent = 0;
    this.#starved = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  look(): void {
    const { isAwaited, couldAnswer, ask, dead } = this.#options;
    const could = couldAnswer();
    if (!isAwaited()) {
      this.heard();
      return;
    }
    if (could) this.#silent += 1;
    else this.#starved += 1;
    if (this.#silent >= SILENT_LOOKS || this.#starved >= STARVED_LOOKS) {
      dead(
        `silent at ${this.#silent} looks in a row, and waiting for a processor at ${this.#starved} more, ${LOOK_EVERY_MS} ms apart`,
      );
    } else if (this.#silent + this.#starved > 1) ask();
  }
}
