// What a client is told of a program that could not be started: what the kernel said, and what to do.

/** The message with its next step. `said` names the value, e.g. `./run.sh: Permission denied`. */
export function spawnMessage(code: string, said: string): string {
  const step = nextStep(code, said);
  return step === '' ? said : `${said.replace(/\.$/, '')}. ${step}`;
}

function nextStep(code: string, said: string): string {
  if (said.startsWith('the working directory')) {
    return 'Give a cwd that is a directory below /workspace; fs.mkdir makes one.';
  }
  if (said.endsWith('the interpreter it names does not exist')) {
    return 'Look at its first line: the program after #! must exist here, and the line must end with LF, not CR LF.';
  }
  switch (code) {
    case 'ENOENT':
      return 'Look whether its name is right and it is installed; a program of the workspace is given by its path, e.g. ./run.sh.';
    case 'EACCES':
      return 'It must be a file with the right to execute: chmod +x sets it, or start it with its interpreter, e.g. sh run.sh.';
    case 'ENOEXEC':
      return 'It is no program for this machine, and no script: a script begins with a line such as #!/bin/sh.';
    case 'E2BIG':
      return 'One argument or variable may have 131071 bytes, all of them together about 2 MiB: give large data as stdin or in a file.';
    case 'EAGAIN':
      return 'The session is at its limit of processes: end some that run, or give it a larger maxProcesses.';
    case 'ENOMEM':
      return 'The session is at its limit of memory: end what runs, or give it a larger memoryMb.';
    default:
      return '';
  }
}
