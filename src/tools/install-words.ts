// Why an installation failed, in words for whoever asked for it: what the proxy decided about pip's connections, and why,
// then what pip said. pip itself sees only that a proxy refused, whatever the reason was.
import { type EgressRefusal, NAME_UNKNOWN, NOT_LISTED } from '../sandbox/egress-refusal.js';

/** `indexHost` is the `host:port` of PIP_INDEX_URL. */
export function installFailure(refused: readonly EgressRefusal[], reason: string, indexHost: string): string {
  if (refused.length === 0) return `pip could not install: ${reason}`;
  const reasons = [...new Set(refused.map((each) => each.reason))];
  const decided = reasons.map((each) => {
    const hosts = refused.filter((refusal) => refusal.reason === each).map(({ host }) => host);
    return explain(hosts, each, indexHost);
  });
  return `${decided.join('. ')}. pip said: ${reason}`;
}

function explain(hosts: readonly string[], reason: string, indexHost: string): string {
  const named = hosts.join(', ');
  if (reason === NOT_LISTED) {
    return `pip was sent to ${named}, where packages may not come from; if that is right, the operator adds it to PIP_FILE_HOSTS`;
  }
  const setting = hosts.includes(indexHost) ? 'PIP_INDEX_URL' : 'PIP_FILE_HOSTS';
  if (reason === NAME_UNKNOWN) {
    return `the service could not look up ${named}; the operator checks its name service (DNS) and ${setting}, and then the installation can be tried again`;
  }
  return `pip's connection to ${named} was refused: ${reason}; the operator checks ${setting}`;
}
