/**
 * What the project wants to reach. A goal compares one figure of a target with the sum of that figure over `of` (or, without `of`,
 * with nothing); `most` and `least` bound the ratio or the value.
 */
const CPU = { scenario: 'echo-16', figure: 'CPU ms/1,000' }
const FLOOR = ['floor']
const peer = protocol => [`mcp-proxy-6.7.19/${protocol}`]

export const GOALS = [
  { goal: 'stream, CPU of echo calls', ...CPU, target: 'stream', of: FLOOR, most: 1.4 },
  { goal: 'stream, CPU of echo calls', ...CPU, target: 'stream', of: peer('stream'), most: 1 / 9 },
  { goal: 'modern, CPU of echo calls', ...CPU, target: 'modern', of: FLOOR, most: 1.4 },
  { goal: 'modern, CPU of echo calls', ...CPU, target: 'modern', of: peer('modern'), most: 1 / 9 },
  { goal: 'sse, CPU of echo calls', ...CPU, target: 'sse', of: FLOOR, most: 1.5 },
  { goal: 'sse, CPU of echo calls', ...CPU, target: 'sse', of: peer('sse'), most: 1 / 3 },
  { goal: 'modern on legacy, CPU of echo calls', ...CPU, target: 'modern-on-legacy', of: FLOOR, most: 1.6 },

  { goal: 'sessions opened, used and ended per second', scenario: 'churn', figure: 'sessions/s', target: 'stream', of: FLOOR, least: 0.6 },
  { goal: 'sessions opened, used and ended per second', scenario: 'churn', figure: 'sessions/s', target: 'stream', of: peer('stream'), least: 4 },

  { goal: 'stream, notifications delivered in order, %', scenario: 'notifications', figure: 'delivered %', target: 'stream', least: 100 },
  { goal: 'sse, notifications delivered in order, %', scenario: 'notifications', figure: 'delivered %', target: 'sse', least: 100 },
  { goal: 'modern, notifications delivered in order, %', scenario: 'notifications', figure: 'delivered %', target: 'modern', least: 100 },
  { goal: 'stream, notifications per second', scenario: 'notifications', figure: 'delivered/s', target: 'stream', of: FLOOR, least: 0.8 },
  { goal: 'sse, notifications per second', scenario: 'notifications', figure: 'delivered/s', target: 'sse', of: FLOOR, least: 0.8 },
  { goal: 'modern, notifications per second', scenario: 'notifications', figure: 'delivered/s', target: 'modern', of: FLOOR, least: 0.8 },

  { goal: 'stream, CPU per MB of a 10 MB result', scenario: 'result-10', figure: 'CPU ms/MB', target: 'stream', of: FLOOR, most: 1.3 },
  { goal: 'modern, CPU per MB of a 10 MB result', scenario: 'result-10', figure: 'CPU ms/MB', target: 'modern', of: FLOOR, most: 1.3 },
  { goal: 'stream, CPU per MB of a 10 MB argument', scenario: 'argument-10', figure: 'CPU ms/MB', target: 'stream', of: FLOOR, most: 1.3 },
  { goal: 'modern, CPU per MB of a 10 MB argument', scenario: 'argument-10', figure: 'CPU ms/MB', target: 'modern', of: FLOOR, most: 1.3 },

  { goal: 'isolation session, calls per second', scenario: 'echo-16', figure: 'calls/s', target: 'session', of: ['stream'], least: 0.7 },
  { goal: 'isolation session, first call of a new session', scenario: 'first-call', figure: 'first call ms', target: 'session', of: ['child'], most: 1 / 5 },

  { goal: 'heap of an idle session, KiB', scenario: 'heap', figure: 'KiB/session', target: 'stream', most: 4 },
  { goal: 'heap of an idle session with a GET stream, KiB', scenario: 'heap', figure: 'KiB/session with GET', target: 'stream', most: 9 },

  { goal: 'start to the first answer', scenario: 'start', figure: 'start ms', target: 'stream', of: peer('stream'), most: 0.6 },
  { goal: 'start to the first answer', scenario: 'start', figure: 'start ms', target: 'stream', of: ['hello', 'child'], most: 1.5 },

  { goal: 'stream, p99 at 64 connections', scenario: 'echo-64-on-16', figure: 'p99 ms', target: 'stream', of: FLOOR, most: 1.5 },
  { goal: 'modern, p99 at 64 connections', scenario: 'echo-64-on-16', figure: 'p99 ms', target: 'modern', of: FLOOR, most: 1.5 },
]
