/**
 * What is measured. A scenario has `run (launch, options)`, which starts targets with `launch` and gives figures, `failed` among
 * them; `main`, the figure by which peers are compared; `references`, what else it measures; and `children (options)`,
 * how many child processes it takes where each session, call or POST has one.
 */
import { churn } from './scenarios/churn.mjs'
import { echo } from './scenarios/echo.mjs'
import { firstCall } from './scenarios/first-call.mjs'
import { heap } from './scenarios/heap.mjs'
import { idle } from './scenarios/idle.mjs'
import { large } from './scenarios/large.mjs'
import { notifications } from './scenarios/notifications.mjs'
import { slow } from './scenarios/slow.mjs'
import { start } from './scenarios/start.mjs'

export const SCENARIOS = {
  'echo-1': echo(1),
  'echo-16-on-1': echo(16, 1),
  'echo-16': echo(16),
  'echo-64-on-1': echo(64, 1),
  'echo-64-on-16': echo(64, 16),
  churn,
  notifications,
  'result-1': large(1, 'result'),
  'result-10': large(10, 'result'),
  'argument-1': large(1, 'argument'),
  'argument-10': large(10, 'argument'),
  slow,
  idle,
  heap,
  start,
  'first-call': firstCall,
}
