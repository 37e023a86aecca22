// The grammar of requirement specifiers (PEP 508 without URLs): what pkg.install hands to pip can name a package,
// a version and a condition, and can never be an option, a path, a file or an address.

const NAME = '[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?';
const EXTRAS = `\\s*\\[\\s*(?:${NAME}\\s*(?:,\\s*${NAME}\\s*)*)?\\]`;
const CLAUSE = '(?:===|~=|==|!=|<=|>=|<|>)\\s*[A-Za-z0-9][A-Za-z0-9.*+!_-]*';
const CLAUSES = `${CLAUSE}(?:\\s*,\\s*${CLAUSE})*`;
const VERSIONS = `\\s*(?:\\(\\s*${CLAUSES}\\s*\\)|${CLAUSES})`;
const VARIABLE =
  '(?:python_version|python_full_version|os_name|sys_platform|platform_release|platform_system|platform_version|platform_machine|platform_python_implementation|implementation_name|implementation_version|extra)';
const VALUE = `(?:${VARIABLE}|'[A-Za-z0-9 ._+*!-]{0,64}'|"[A-Za-z0-9 ._+*!-]{0,64}")`;
const COMPARE = '(?:===|~=|==|!=|<=|>=|<|>|not\\s+in\\b|in\\b)';
const TERM = `[(\\s]*${VALUE}\\s*${COMPARE}\\s*${VALUE}[)\\s]*`;
const MARKER = `\\s*;\\s*${TERM}(?:\\b(?:and|or)\\b${TERM}){0,16}`;
const REQUIREMENT = new RegExp(`^${NAME}(?:${EXTRAS})?(?:${VERSIONS})?(?:${MARKER})?\\s*$`);

export const MAX_REQUIREMENTS = 256;
const MAX_LENGTH = 512;

/** Splits newline-separated text as a requirements file would be read: blank lines and comments are nothing. */
export function splitRequirements(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '');
}

/** True for a specifier such as `requests`, `flask==2.3.0` or `uvicorn[standard]>=0.20; python_version < "3.12"`. */
export function isRequirement(text: string): boolean {
  return text.length <= MAX_LENGTH && REQUIREMENT.test(text);
}
