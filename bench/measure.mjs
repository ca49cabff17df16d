import { readFileSync, readdirSync } from 'node:fs'

const TICK = 10 // ms: USER_HZ is 100 on every Linux that matters

/** CPU milliseconds that a process has used by itself, without its children. */
export function cpuOf (pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK
}

/** Resident bytes of a process. */
export function residentOf (pid) {
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
      sum += cpuOf(child) + cpuOfChildren(child)
    } catch {
      // it has ended meanwhile
    }
  }
  return sum
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
