import { readFileSync, readdirSync } from 'node:fs'

const TICK = 10 // ms: USER_HZ is 100 on every Linux that matters

/** CPU milliseconds that a program has used by itself: its process, and its workers where it has some; not its children. */
export function cpuOf (pid) {
  return [pid, ...workersOf(pid)].reduce((sum, process) => sum + cpuOfProcess(process), 0)
}

function cpuOfProcess (pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK
}

/** Resident bytes of a program, with its workers. */
export function residentOf (pid) {
  return [pid, ...workersOf(pid)].reduce((sum, process) => sum + residentOfProcess(process), 0)
}

function residentOfProcess (pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

export function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

export function percentile (values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** CPU milliseconds of all processes that descend from one, as far as they live. */
export function cpuOfChildren (pid) {
  let sum = 0
  for (const child of childrenOf(pid)) {
    try {
      sum += (isWorker(child) ? 0 : cpuOfProcess(child)) + cpuOfChildren(child)
    } catch {
      // it has ended meanwhile
    }
  }
  return sum
}

function workersOf (pid) {
  return childrenOf(pid).filter(isWorker)
}

function isWorker (pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/workers/main.js')
  } catch {
    return false // it has ended meanwhile
  }
}

function childrenOf (pid) {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      return readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(child => child !== '')
    } catch {
      return [] // a thread that has ended meanwhile
    }
  })
}
