// One sandbox: a workspace, the limits around it, and an agent that comes when there is work and goes when there is none.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Undo } from '../lib/undo.js';
import type { Agent, HelperChannel } from './agent.js';
import { type AgentKind, launchAgent, PROCESSES_OF_OURS } from './agent-launch.js';
import { HelperFiles } from './files.js';
import { continueAll, stopAll } from './freeze.js';
import type { Launched } from './launch.js';
import { LimitWatch } from './limit-watch.js';
import type { WorkspaceDisk } from './limits/disk.js';
import type { LimitGroup } from './limits/limits.js';
import { membersOf } from './members.js';
import { launchInGroup, type OneShotProgram } from './oneshot.js';
import { didNotStart, ProgramExec } from './program-exec.js';
import { processLimits, programRequest } from './program-request.js';
import type {
  EgressPolicy,
  Exec,
  ExecEnd,
  ExecRequest,
  OutputSink,
  Sandbox,
  SandboxSpec,
  SandboxUsage,
} from './sandbox.js';
import { SandboxEgress } from './sandbox-egress.js';
import type { SandboxHost } from './sandbox-host.js';
import type { TreeEntry } from './tree.js';
import { packTree } from './tree-pack.js';
import { readTree } from './tree-reader.js';
import { removeTree, writeTree } from './tree-writer.js';
import type { Workspace } from './workspace.js';
import { WorkspaceMeter } from './workspace-meter.js';

/** Something that runs: an agent or a one-shot helper. */
interface Running {
  readonly pid: number;
  readonly ended: Promise<unknown>;
  kill(why: string): void;
}

export class BubblewrapSandbox implements Sandbox {
  readonly files = new HelperFiles(
    () => this.#connectHelper(),
    (path) => this.#watch.refuseWriting(path),
  );
  readonly #watch: LimitWatch;
  readonly #egress: SandboxEgress;
  #group: Promise<LimitGroup> | undefined;
  #proxy: Promise<{ close(): Promise<void> }> | undefined;
  #agent: Promise<Agent> | undefined;
  /** Settles when the way to the proxy is open, so that a program which starts after a change finds it. */
  #bridged: Promise<unknown> = Promise.resolve();
  readonly #agents = new Set<Agent>();
  /** Those of them whose programs use the network as the sandbox's policy says. */
  readonly #networked = new Set<Agent>();
  readonly #triedAgain = new WeakSet<ProgramExec>();
  readonly #helpers = new Set<Launched>();
  readonly #starting = new Set<Promise<unknown>>();
  #frozen: { readonly agents: readonly Agent[]; readonly stopped: readonly number[] } | undefined;
  /** Nothing starts any more, also when closing failed and has to be tried again. */
  #isClosed = false;
  #ending: Promise<void> | undefined;
  #removing: Promise<void> | undefined;
  /** Of sockets and groups that belong to one program or helper. */
  #lastNumber = 0;

  constructor(
    private readonly host: SandboxHost,
    private spec: SandboxSpec,
    private readonly workspace: Workspace,
    readonly disk: WorkspaceDisk,
  ) {
    this.#watch = new LimitWatch({
      limits: spec.limits,
      hasCgroup: host.limiter.kind !== null,
      disk,
      path: workspace.path,
      meter: new WorkspaceMeter((program) => this.#startHelper(program), spec.limits.maxInodes),
      failed: (err) => host.log.warn({ sandbox: spec.id, err }, 'limits could not be looked after'),
    });
    this.#egress = new SandboxEgress(host, spec, workspace.uid);
  }

  get id(): string {
    return this.spec.id;
  }

  get uid(): number | null {
    return this.workspace.uid;
  }

  /** Makes one that stood ready the caller's, before anything has run in it. */
  assign(spec: SandboxSpec): this {
    this.spec = spec;
    this.#egress.tellTo(spec.onEgress);
    this.setEgress(spec.egress);
    return this;
  }

  async warm(): Promise<void> {
    await (await this.#currentAgent()).ready;
  }

  exec(request: ExecRequest, sink: OutputSink): Exec {
    const egress = request.egress ?? this.#egress.policy;
    const exec = new ProgramExec(
      programRequest(request, {
        env: this.spec.env,
        egress,
        python: this.host.python.path,
        limits: processLimits(this.spec.limits, {
          hasCgroup: this.host.limiter.kind !== null,
          processesOfOurs: PROCESSES_OF_OURS,
          mayWrite: !this.#watch.isOver,
        }),
      }),
      request.memoryBytes,
      request,
      sink,
    );
    if (request.program.kind === 'pip' || request.egress !== undefined || !this.host.nested) {
      return this.#watched(exec, this.#runAlone(exec, request));
    }
    this.#runInOwnAgent(exec);
    return this.#watched(exec, exec.ended);
  }

  setEgress(policy: EgressPolicy): void {
    const wasOpen = this.#egress.isOpen;
    this.#egress.setPolicy(policy);
    const { isOpen } = this.#egress;
    if (wasOpen === isOpen) return;
    const told = [...this.#networked].map((agent) =>
      isOpen ? this.#bridge(agent) : agent.bridge(false).catch(() => {}),
    );
    if (isOpen) this.#bridged = Promise.all(told);
  }

  async usage(): Promise<SandboxUsage> {
    const [ofProcesses, ofDisk] = await Promise.all([(await this.#group)?.usage(), this.#watch.diskUse()]);
    return { ...ofProcesses, ...ofDisk };
  }

  async freeze(): Promise<'frozen' | 'stopped' | 'idle'> {
    await Promise.allSettled([...this.#starting]);
    if (this.#frozen) throw new Error('the sandbox is frozen already');
    const agents = [...this.#agents];
    if (agents.length === 0) return 'idle';
    for (const agent of agents) agent.clock.pause();
    try {
      const group = await this.#ownGroup();
      const isFrozen = await group.freeze();
      this.#frozen = { agents, stopped: isFrozen ? [] : await stopAll(() => membersOf(group, agents)) };
      return isFrozen ? 'frozen' : 'stopped';
    } catch (error) {
      for (const agent of agents) agent.clock.resume();
      throw error;
    }
  }

  async thaw(): Promise<void> {
    const frozen = this.#frozen;
    if (!frozen) return;
    await (await this.#ownGroup()).thaw();
    if (this.#frozen !== frozen) return;
    this.#frozen = undefined;
    continueAll(frozen.stopped);
    for (const agent of frozen.agents) agent.clock.resume();
  }

  readTree(signal: AbortSignal): AsyncIterable<TreeEntry> {
    return readTree((program) => this.#startHelper(program), signal);
  }

  packTree(signal: AbortSignal): AsyncIterable<Buffer> {
    return packTree((program) => this.#startHelper(program), signal);
  }

  writeTree(entries: AsyncIterable<TreeEntry>, signal: AbortSignal): Promise<void> {
    return writeTree((program) => this.#startHelper(program), entries, signal);
  }

  close(): Promise<void> {
    return this.#end().then(() => this.disk.detach());
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove().catch((error: unknown) => {
      this.#removing = undefined;
      throw error;
    });
    return this.#removing;
  }

  #watched(exec: ProgramExec, ended: Promise<ExecEnd>): Exec {
    return {
      ended: this.#watch.watch(exec, ended),
      writeStdin: (chunk, close) => exec.writeStdin(chunk, close),
      end: (graceMs) => exec.end(graceMs),
    };
  }

  #runInOwnAgent(exec: ProgramExec): void {
    Promise.all([this.#currentAgent(), this.#bridged]).then(
      ([agent]) => agent.run(exec),
      (error: unknown) => exec.settle(didNotStart(error)),
    );
  }

  /** It came when the agent was dying already: the next one takes it, but nobody tries for ever. */
  #runAgain(exec: ProgramExec, why: string): void {
    if (this.#isClosed || this.#triedAgain.has(exec)) {
      void exec.sandboxDied(why);
      return;
    }
    this.#triedAgain.add(exec);
    this.#runInOwnAgent(exec);
  }

  /** The session's own agent: the one that lives, or a new one. */
  async #currentAgent(): Promise<Agent> {
    const known = this.#agent;
    const agent = await known?.catch(() => undefined);
    if (agent && !agent.isGone) return agent;
    // Of those who find it gone, the first starts another.
    if (this.#agent === known) this.#agent = this.#startOwnAgent();
    return this.#agent!;
  }

  async #startOwnAgent(): Promise<Agent> {
    const socket = this.#socketPath('');
    if (!this.#isClosed) this.#proxy ??= this.#egress.open(socket);
    await this.#proxy;
    const agent = await this.#startAgent({
      lasting: true,
      programs: this.host.nested,
      egressSocket: socket,
      notBegun: (exec, why) => this.#runAgain(exec, why),
    });
    await this.#network(agent);
    return agent;
  }

  #startAgent(kind: Omit<AgentKind, 'diskBytes' | 'maxOpenFiles'>): Promise<Agent> {
    const { diskBytes, maxOpenFiles } = this.spec.limits;
    return this.#start(this.#agents, async () => {
      const group = await this.#ownGroup();
      return this.host.starts.inTurn(async () => {
        this.#requireOpen();
        return launchAgent(this.host, this.workspace, group, { ...kind, diskBytes, maxOpenFiles });
      });
    });
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new Error('the sandbox is closed');
  }

  /** Keeps account of what runs, so that closing misses nothing. */
  #start<T extends Running>(running: Set<T>, launch: () => Promise<T>): Promise<T> {
    const starting = (async () => {
      this.#requireOpen();
      const one = await launch();
      running.add(one);
      void one.ended.then(() => running.delete(one));
      if (this.#isClosed) one.kill('the sandbox is closed');
      return one;
    })();
    this.#starting.add(starting);
    const done = () => this.#starting.delete(starting);
    starting.then(done, done);
    return starting;
  }

  /** Lets the agent's programs out as far as the policy says, and follows its changes. */
  async #network(agent: Agent): Promise<void> {
    this.#networked.add(agent);
    void agent.ended.then(() => this.#networked.delete(agent));
    if (this.#egress.isOpen) await this.#bridge(agent);
  }

  async #bridge(agent: Agent): Promise<void> {
    await agent.bridge(true).catch((error: unknown) => {
      this.host.log.warn({ sandbox: this.id, err: error }, 'no way to the egress proxy');
    });
  }

  /** Runs one program in a sandbox that has only this program, and a proxy of its own. */
  async #runAlone(exec: ProgramExec, request: ExecRequest): Promise<ExecEnd> {
    const undo = new Undo();
    let refused = (): readonly string[] => [];
    try {
      if (request.program.kind === 'pip') await this.host.pipReady();
      this.#lastNumber += 1;
      const egressSocket = this.#socketPath(`-${this.#lastNumber}`);
      const grant = request.egress;
      if (grant) {
        const proxy = await this.#egress.openFor(egressSocket, grant);
        undo.push('egress proxy', () => proxy.close());
        refused = proxy.refused;
      } else {
        const proxy = await this.#egress.open(egressSocket);
        undo.push('egress proxy', () => proxy.close());
      }
      if (!exec.isSettled) {
        const agent = await this.#startAgent({ lasting: false, programs: true, egressSocket });
        undo.push('agent', () => {
          agent.kill('its program ended');
          return agent.ended;
        });
        await (grant ? this.#bridge(agent) : this.#network(agent));
        agent.run(exec);
      }
      await exec.ended;
    } catch (error) {
      exec.settle(didNotStart(error));
    }
    await undo.run().catch((error: unknown) => {
      this.host.log.warn({ sandbox: this.id, err: error }, 'sandbox of one program not undone');
    });
    const end = await exec.ended;
    return refused().length > 0 ? { ...end, egressRefused: refused() } : end;
  }

  async #connectHelper(): Promise<HelperChannel> {
    return (await this.#currentAgent()).connectHelper();
  }

  #ownGroup(): Promise<LimitGroup> {
    this.#group ??= this.#makeGroup(this.id);
    return this.#group;
  }

  #makeGroup(id: string): Promise<LimitGroup> {
    const { limits } = this.spec;
    return this.host.limiter.create(id, {
      ...limits,
      maxProcesses: limits.maxProcesses + PROCESSES_OF_OURS,
    });
  }

  #socketPath(suffix: string): string {
    return join(this.host.directories.sockets, `${this.id}${suffix}.sock`);
  }

  /** Leaves nothing but the workspace. One that failed may be tried again. */
  #end(): Promise<void> {
    this.#isClosed = true;
    this.#ending ??= this.#endAll().catch((error: unknown) => {
      this.#ending = undefined;
      throw error;
    });
    return this.#ending;
  }

  async #endAll(): Promise<void> {
    await this.#watch.close();
    while (this.#starting.size + this.#agents.size + this.#helpers.size > 0) {
      const running = [...this.#agents, ...this.#helpers];
      // A frozen process does not take its end.
      if (running.length > 0) await this.thaw();
      for (const one of running) one.kill('the sandbox was closed');
      await Promise.allSettled([...this.#starting, ...running.map(({ ended }) => ended)]);
    }
    const group = await this.#group?.catch(() => undefined);
    await group?.kill();
    await group?.remove();
    this.#group = undefined;
    await (await this.#proxy?.catch(() => undefined))?.close();
    this.#egress.flush();
    await rm(this.#socketPath(''), { force: true });
  }

  async #remove(): Promise<void> {
    await this.#end();
    if (this.workspace.exists() && !(await this.disk.discard())) {
      await removeTree((program) => this.#launchHelper(program), new AbortController().signal);
    }
    this.workspace.removeEmpty();
    this.host.removed(this);
  }

  #startHelper(program: OneShotProgram): Promise<Launched> {
    return this.#start(this.#helpers, () => this.#launchHelper(program));
  }

  /** A helper gets limits of its own, since those of the programs may be frozen, or used up. */
  async #launchHelper(program: OneShotProgram): Promise<Launched> {
    this.#lastNumber += 1;
    const group = await this.#makeGroup(`${this.id}-helper${this.#lastNumber}`);
    return launchInGroup(this.host, this.workspace, program, group);
  }
}
