import { Type } from '@sinclair/typebox';
import { closed } from '../lib/typebox.js';
import { defineTool } from './tool.js';

/** Gives the message back: the one tool that needs no sandbox, for trying a connection out. */
export const echo = defineTool({
  name: 'echo',
  addsNothing: true,
  description: 'Returns the message. Runs in the service and touches no sandbox.',
  inService: true,
  arguments: closed({ message: Type.String() }, { $id: 'EchoArguments', examples: [{ message: 'hello' }] }),
  outputs: closed({ message: Type.String() }, { $id: 'EchoOutputs' }),
  async run(_context, args) {
    return { outputs: { message: args.message } };
  },
});
