// Which program builds the sandboxes, by what the operator set.
import { type Builder, bubblewrapBuilder } from './builder.js';
import { ociBuilder } from './oci-launcher.js';

export interface BuilderSettings {
  readonly SANDBOX_DRIVER: 'bubblewrap' | 'oci';
  readonly OCI_RUNTIME: string;
  readonly OCI_RUNTIME_ARGS: string;
}

export const bubblewrap = (host: { readonly isRoot: boolean }): Builder =>
  bubblewrapBuilder('/usr/bin/bwrap', host);

export function builderFor(settings: BuilderSettings, host: { readonly isRoot: boolean }): Builder {
  if (settings.SANDBOX_DRIVER === 'bubblewrap') return bubblewrap(host);
  const args = settings.OCI_RUNTIME_ARGS.split(/\s+/).filter((arg) => arg !== '');
  return ociBuilder({ path: settings.OCI_RUNTIME, args }, host);
}
