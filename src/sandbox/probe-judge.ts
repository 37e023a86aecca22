// What the probe saw from inside, held against what was promised. Pure; each check is one sentence of the promise.
import { type IsolationCheck, NAMESPACES, type Namespace } from './sandbox.js';

/** What `python/probe.py` says; an attempt is null when it worked, else the name of the error. */
export interface ProbeFacts {
  readonly python: string;
  readonly uid: number;
  readonly gid: number;
  readonly capabilities: Readonly<Record<string, string>>;
  readonly noNewPrivileges: boolean;
  readonly seccomp: boolean;
  /** Empty where there is no /proc to tell. */
  readonly namespaces: Readonly<Record<string, string>>;
  readonly processes: number;
  readonly interfaces: readonly string[];
  readonly environment: readonly string[];
  readonly visible: readonly string[];
  readonly written: Readonly<Record<string, string | null>>;
  readonly settings: Readonly<Record<string, string | null>>;
  readonly newUserNamespace: string | null;
  readonly workspace: string | null;
  readonly temporary: string | null;
}

/** What the kernel says of pid 1 inside, from outside. */
export interface OutsideFacts {
  readonly uid: number | null;
  readonly namespaces: Readonly<Record<string, string>>;
}

/** Of its own has a sandbox all of them, or all but the user namespace. */
export const namespacesOf = ({ userNamespace }: { readonly userNamespace: boolean }): Namespace[] =>
  NAMESPACES.filter((name) => name !== 'user' || userNamespace);

/** Set by bubblewrap, by OCI runtimes (to what /etc/passwd inside says) and by Python itself. */
const OWN_ENVIRONMENT = new Set(['PWD', 'HOME', 'LC_CTYPE']);
/** The probe and at most its parents; anything more is a process of somebody else. */
const MOST_PROCESSES = 4;

/** `own` are the namespaces that this service is in. */
export function judge(
  inside: ProbeFacts,
  outside: OutsideFacts,
  own: Readonly<Record<string, string>>,
  way: { readonly userNamespace: boolean },
): IsolationCheck[] {
  const promised = namespacesOf(way);
  const shared = promised.filter((name) => {
    const links = [inside.namespaces[name], outside.namespaces[name]].filter((link) => link !== undefined);
    return links.length === 0 || links.includes(own[name]!);
  });
  const held = Object.entries(inside.capabilities).filter(([, bits]) => !/^0+$/.test(bits));
  const written = worked(inside.written);
  const settings = worked(inside.settings);
  const interfaces = inside.interfaces.filter((name) => name !== 'lo');
  const environment = inside.environment.filter((name) => !OWN_ENVIRONMENT.has(name));
  return [
    check('namespaces', shared, `${promised.join(', ')} are its own`, 'shared with the host'),
    {
      name: 'uid',
      ok: outside.uid !== null && outside.uid !== 0 && inside.uid !== 0 && inside.gid !== 0,
      detail: `uid ${inside.uid} inside, ${outside.uid ?? 'unknown'} on the host`,
    },
    check(
      'capabilities',
      held.map(([name, bits]) => `${name} ${bits}`),
      'none, and none to be had',
      'held',
    ),
    {
      name: 'noNewPrivileges',
      ok: inside.noNewPrivileges,
      detail: inside.noNewPrivileges ? 'set-uid programs give nothing' : 'not set',
    },
    {
      name: 'seccomp',
      ok: inside.seccomp,
      detail: inside.seccomp ? 'the filter is in force' : 'no filter is in force',
    },
    {
      name: 'processes',
      ok: inside.processes <= MOST_PROCESSES,
      detail: `${inside.processes} visible in /proc`,
    },
    check('hostFiles', inside.visible, 'nothing private exists inside', 'visible'),
    check('readOnly', written, 'only the workspace and temporary directories can be written', 'writable'),
    check('kernelSettings', settings, 'cannot be opened for writing', 'can be opened for writing'),
    check('network', interfaces, 'only its own loopback', 'other interfaces'),
    check('environment', environment, 'nothing of the service', 'set inside'),
    {
      name: 'userNamespaces',
      ok: inside.newUserNamespace !== null,
      detail:
        inside.newUserNamespace === null ? 'another one could be made inside' : 'no further one can be made',
    },
    {
      name: 'workspace',
      ok: inside.workspace === null && inside.temporary === null,
      detail: `workspace: ${inside.workspace ?? 'writable'}, /tmp: ${inside.temporary ?? 'writable'}`,
    },
  ];
}

const worked = (attempts: Readonly<Record<string, string | null>>) =>
  Object.entries(attempts)
    .filter(([, error]) => error === null)
    .map(([path]) => path);

const check = (name: string, offenders: readonly string[], good: string, bad: string): IsolationCheck => ({
  name,
  ok: offenders.length === 0,
  detail: offenders.length === 0 ? good : `${bad}: ${offenders.join(', ')}`,
});
