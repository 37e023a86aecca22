// What the rest stands on: the store and the walls. To open them is work for other threads and processes, most of it waiting,
// so it begins before the rest of the program is loaded.
import type { Config } from './config.js';
import type { Logger } from './observability/logger.js';
import { builderFor } from './sandbox/builders.js';
import { BubblewrapDriver } from './sandbox/driver.js';
import { resolveLimits, sandboxLimits } from './sessions/defaults.js';
import { SqliteStore } from './store/sqlite.js';

export class Foundations {
  readonly store: SqliteStore;
  readonly driver: BubblewrapDriver;
  /** `host:port` of every address of the service, which no sandbox may reach. */
  ownAddresses: () => readonly string[] = () => [];
  #starting: Promise<void> | undefined;
  #isClosing = false;

  constructor(config: Config, log: Logger) {
    this.store = new SqliteStore({
      directory: config.DATA_DIR,
      onWorkerLost: (err) => log.error({ err }, 'a thread of the store died'),
    });
    this.driver = new BubblewrapDriver({
      dataDir: config.DATA_DIR,
      log,
      minimum: config.ISOLATION_MIN,
      maximum: config.ISOLATION_MAX,
      builder: (host) => builderFor(config, host),
      uids: { first: config.SANDBOX_UID_FIRST, count: config.SANDBOX_UID_COUNT },
      agentIdleMs: config.AGENT_IDLE_SECONDS * 1000,
      startWithinMs: config.SANDBOX_START_TIMEOUT_SECONDS * 1000,
      spares: { most: config.SPARE_SANDBOXES, limits: sandboxLimits(resolveLimits({}, config), config) },
      diskLimit: config.DISK_LIMIT,
      etc: config.SANDBOX_ETC,
      ownAddresses: () => this.ownAddresses(),
      egressLimits: {
        connections: config.EGRESS_MAX_CONNECTIONS,
        bytes: config.EGRESS_MAX_BYTES,
        idleMs: config.EGRESS_IDLE_SECONDS * 1000,
      },
    });
  }

  /** Opens the store, and then, since its lock says that nobody else works on this data, finds the isolation level. */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /** A start that is under way is left after its present step. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#starting?.catch(() => {});
    await this.driver.close();
    await this.store.close();
  }

  async #start(): Promise<void> {
    await this.store.start();
    if (!this.#isClosing) await this.driver.start();
  }
}
