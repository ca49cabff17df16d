import { readFileSync } from 'node:fs'

const TICK = 10 // ms: USER_HZ is 100 on every Linux that matters

/** CPU milliseconds that processes have used by themselves, without their children. */
export function cpuOf (pids) {
  return pids.reduce((sum, pid) => sum + cpuOfOne(pid), 0)
}

function cpuOfOne (pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK
}

/** Resident bytes of processes. */
export function residentOf (pids) {
  return pids.reduce((sum, pid) => sum + residentOfOne(pid), 0)
}

function residentOfOne (pid) {
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
