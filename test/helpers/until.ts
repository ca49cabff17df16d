import { setImmediate } from 'node:timers/promises'

/** Waits for a condition that nothing announces. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await setImmediate()
}
