import type { Socket } from 'node:net'

/** What a socket is for the system. Node has no public way to it. */
export interface NativeHandle {
  readonly readStop: () => void
  /** Harmless when called twice. */
  readonly close: () => void
}

/** @returns `undefined` for a socket that is closed, or has been sent to another process */
export function nativeHandle (socket: Socket): NativeHandle | undefined {
  const handle: unknown = '_handle' in socket ? socket._handle : undefined
  return isHandle(handle) ? handle : undefined
}

function isHandle (handle: unknown): handle is NativeHandle {
  return typeof handle === 'object' && handle !== null && 'readStop' in handle && typeof handle.readStop === 'function' && 'close' in handle && typeof handle.close === 'function'
}
