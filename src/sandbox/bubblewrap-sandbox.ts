// One sandbox: a workspace, the limits around it, and an agent that comes when there is work and goes when there is none.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KeptPromise } from '../lib/kept-promise.js';
import { Undo } from '../lib/undo.js';
import type { Agent, HelperChannel } from './agent.js';
import { type AgentKind, launchAgent, PROCESSES_OF_OURS } from './agent-launch.js';
import { HelperFiles } from './files.js';
import type { Launched } from './launch.js';
import { LimitWatch } from './limit-watch.js';
import type { WorkspaceDisk } from './limits/disk.js';
import type { LimitGroup } from './limits/limits.js';
import { launchInGroup, type OneShotProgram } from './oneshot.js';
import { Ongoing } from './ongoing.js';
import { newPipScratch, removePipScratch } from './pip-scratch.js';
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
import { type Refusals, SandboxEgress } from './sandbox-egress.js';
import type { SandboxHost } from './sandbox-host.js';
import type { TreeEntry } from './tree.js';
import { packTree } from './tree-pack.js';
import { readTree } from './tree-reader.js';
import { removeTree, writeTree } from './tree-writer.js';
import type { Workspace } from './workspace.js';
import { WorkspaceMeter } from './workspace-meter.js';

export class BubblewrapSandbox implements Sandbox {
  readonly files = new HelperFiles(() => this.#connectHelper(), {
    beforeEach: () => this.workspace.makeUsable(),
    beforeWriting: (path) => this.#watch.refuseWriting(path),
  });
  readonly #watch: LimitWatch;
  readonly #egress: SandboxEgress;
  readonly #group = new KeptPromise(() => this.#makeGroup(this.id));
  readonly #proxy = new KeptPromise(() => this.#egress.open(this.#socketPath('')));
  #agent: Promise<Agent> | undefined;
  /** Settles when the way to the proxy is open, so that a program which starts after a change finds it. */
  #bridged: Promise<unknown> = Promise.resolve();
  /** Those of them whose programs use the network as the sandbox's policy says. */
  readonly #networked = new Set<Agent>();
  readonly #triedAgain = new WeakSet<ProgramExec>();
  readonly #ongoing: Ongoing;
  #ending: Promise<void> | undefined;
  #removing: Promise<void> | undefined;
  #agentsStarting = 0;
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
    this.#ongoing = new Ongoing({ group: () => this.#group.get(), log: host.log });
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
    const scratch = newPipScratch();
    const exec = new ProgramExec(
      programRequest(request, {
        env: this.spec.env,
        egress,
        python: this.host.python.path,
        scratch,
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
      return this.#watched(exec, this.#runAlone(exec, request, scratch));
    }
    this.#runInOwnAgent(exec);
    return this.#watched(exec, exec.ended);
  }

  get startPosition(): number {
    return this.host.starts.position(this.id) || Math.min(1, this.#agentsStarting);
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
    const [ofProcesses, ofDisk] = await Promise.all([
      (await this.#group.known)?.usage(),
      this.#watch.diskUse(),
    ]);
    return { ...ofProcesses, ...ofDisk };
  }

  freeze(): Promise<'frozen' | 'stopped' | 'idle'> {
    return this.#ongoing.stillness.freeze();
  }

  thaw(): Promise<void> {
    return this.#ongoing.stillness.thaw();
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
    void this.#ongoing
      .begin(async () => {
        const [agent] = await Promise.all([this.#currentAgent(), this.#bridged]);
        this.workspace.makeUsable();
        if (!exec.isSettled) agent.run(exec);
      })
      .catch((error: unknown) => this.#didNotStart(exec, error));
  }

  #didNotStart(exec: ProgramExec, err: unknown): void {
    if (!this.#ongoing.isClosed)
      this.host.log.warn({ sandbox: this.id, err }, 'sandbox could not be started');
    exec.settle(didNotStart(err));
  }

  /** It came when the agent was dying already: the next one takes it, but nobody tries for ever. */
  #runAgain(exec: ProgramExec, why: string): void {
    if (this.#ongoing.isClosed || this.#triedAgain.has(exec)) {
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
    this.#ongoing.requireOpen();
    await this.#proxy.get();
    const agent = await this.#startAgent({
      lasting: true,
      programs: this.host.nested,
      egressSocket: this.#socketPath(''),
      notBegun: (exec, why) => this.#runAgain(exec, why),
    });
    await this.#network(agent);
    return agent;
  }

  async #startAgent(kind: Omit<AgentKind, 'limits' | 'signal'>): Promise<Agent> {
    this.#agentsStarting += 1;
    const isOver = () => {
      this.#agentsStarting -= 1;
    };
    try {
      const agent = await this.#launchAgent(kind);
      agent.ready.then(isOver, isOver);
      return agent;
    } catch (error) {
      isOver();
      throw error;
    }
  }

  #launchAgent(kind: Omit<AgentKind, 'limits' | 'signal'>): Promise<Agent> {
    const { limits } = this.spec;
    return this.#ongoing.start(this.#ongoing.agents, async () => {
      const group = await this.#group.get();
      const { owner = '' } = this.spec;
      const { signal } = this.#ongoing;
      return this.host.starts.inTurn({ owner, sandbox: this.id, signal }, async () => {
        this.#ongoing.requireOpen();
        return launchAgent(this.host, this.workspace, group, { ...kind, signal, limits });
      });
    });
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
  async #runAlone(exec: ProgramExec, request: ExecRequest, scratch: string): Promise<ExecEnd> {
    const undone = this.#runAndUndo(exec, request, scratch);
    const end = await exec.ended;
    // Of one that was called off nothing has run: what was being started for it goes by itself.
    return end.how.kind === 'calledOff' ? end : undone;
  }

  async #runAndUndo(exec: ProgramExec, request: ExecRequest, scratch: string): Promise<ExecEnd> {
    const undo = new Undo();
    // A pip that ends by itself has removed it.
    if (request.program.kind === 'pip')
      undo.push('scratch', async () => {
        const { signal, isClosed } = this.#ongoing;
        if ((await exec.ended).how.kind === 'exited' || isClosed) return;
        await removePipScratch(this.files, scratch, signal);
      });
    let refused: Refusals = () => [];
    try {
      await this.#ongoing.begin(async () => {
        refused = await this.#startAlone(exec, request, undo);
      });
    } catch (error) {
      this.#didNotStart(exec, error);
    }
    const end = await exec.ended;
    await undo.run().catch((error: unknown) => {
      this.host.log.warn({ sandbox: this.id, err: error }, 'sandbox of one program not undone');
    });
    return refused().length > 0 ? { ...end, egressRefused: refused() } : end;
  }

  /** Resolves when the program is its agent's, with what its proxy refused. */
  async #startAlone(exec: ProgramExec, request: ExecRequest, undo: Undo): Promise<Refusals> {
    if (request.program.kind === 'pip') await this.host.pipReady();
    this.#lastNumber += 1;
    const egressSocket = this.#socketPath(`-${this.#lastNumber}`);
    const grant = request.egress;
    const none: Refusals = () => [];
    const proxy = grant
      ? await this.#egress.openFor(egressSocket, grant)
      : { ...(await this.#egress.open(egressSocket)), refused: none };
    undo.push('egress proxy', () => proxy.close());
    if (exec.isSettled) return none;
    const agent = await this.#startAgent({ lasting: false, programs: true, egressSocket });
    undo.push('agent', () => {
      agent.kill('its program ended');
      return agent.ended;
    });
    await (grant ? this.#bridge(agent) : this.#network(agent));
    if (!exec.isSettled) agent.run(exec);
    return proxy.refused;
  }

  /** The helper of the agent that lives, once that agent can start one. */
  #connectHelper(): Promise<HelperChannel> {
    return this.#ongoing
      .begin(async () => {
        const agent = await this.#currentAgent();
        await agent.speaks;
        return agent.connectHelper();
      })
      .catch((err: unknown) => {
        if (!this.#ongoing.isClosed) this.host.log.warn({ sandbox: this.id, err }, 'no file helper');
        throw err;
      });
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
    this.#ongoing.close();
    this.#ending ??= this.#endAll().catch((error: unknown) => {
      this.#ending = undefined;
      throw error;
    });
    return this.#ending;
  }

  async #endAll(): Promise<void> {
    await this.#watch.close();
    await this.#ongoing.endAll();
    const group = await this.#group.known?.catch(() => undefined);
    await group?.kill();
    await group?.remove();
    this.#group.forget();
    await (await this.#proxy.known?.catch(() => undefined))?.close();
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
    return this.#ongoing.start(this.#ongoing.helpers, () => this.#launchHelper(program));
  }

  /** A helper gets limits of its own, since those of the programs may be frozen, or used up. */
  async #launchHelper(program: OneShotProgram): Promise<Launched> {
    this.#lastNumber += 1;
    const group = await this.#makeGroup(`${this.id}-helper${this.#lastNumber}`);
    return launchInGroup(this.host, this.workspace, program, group);
  }
}
