import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Finds a secret among the accepted ones without telling by its timing how much of it was right, or which one it was:
 * digests have one length, and every accepted one is compared.
 */
export function findSecret (given: string, accepted: readonly string[]): string | undefined {
  const digest = sha256(given)
  let found: string | undefined
  for (const candidate of accepted) {
    if (timingSafeEqual(digest, sha256(candidate))) found = candidate
  }
  return found
}

function sha256 (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
