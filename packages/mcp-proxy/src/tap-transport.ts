/** What messages of the SDKs and of this project have in common. */
export interface TappedMessage {
  readonly id?: string | number | null | undefined
  readonly method?: string | undefined
}

/** What happens on a tapped transport. `options` and `extra` are what the call was given beside the message. */
export type TransportEvent =
  | { readonly type: 'send', readonly message: TappedMessage, readonly options?: unknown }
  | { readonly type: 'onmessage', readonly message: TappedMessage, readonly extra?: unknown }
  // a listener may take its argument apart before it looks at the type
  | { readonly type: 'onerror', readonly error: unknown, readonly message?: never }
  | { readonly type: 'start' | 'close' | 'onclose', readonly message?: never }

/** Hears of an event before it happens. What goes wrong in it changes nothing. */
export type TransportListener = (event: TransportEvent) => void | Promise<void>

type Method = (...args: unknown[]) => unknown

/**
 * Lets a function hear all that a transport sends and receives: one of the MCP SDK, v1 or v2, or of this project. The
 * transport behaves as before: same results, same errors, same order. Tap it before it is connected.
 *
 * @returns the same transport
 */
export function tapTransport<T extends object> (transport: T, listener: TransportListener): T {
  const emit = (event: TransportEvent): void => {
    try {
      const done = listener(event)
      if (done instanceof Promise) done.catch(() => {})
    } catch {}
  }
  tapMethod(transport, 'start', () => emit({ type: 'start' }))
  tapMethod(transport, 'send', ([message, options]) => {
    if (isMessage(message)) emit(options === undefined ? { type: 'send', message } : { type: 'send', message, options })
  })
  tapMethod(transport, 'close', () => emit({ type: 'close' }))
  tapHandler(transport, 'onmessage', ([message, extra]) => {
    if (isMessage(message)) emit(extra === undefined ? { type: 'onmessage', message } : { type: 'onmessage', message, extra })
  })
  tapHandler(transport, 'onclose', () => emit({ type: 'onclose' }))
  tapHandler(transport, 'onerror', ([error]) => emit({ type: 'onerror', error }))
  return transport
}

/** Something that the transport does. */
function tapMethod (transport: object, name: string, heard: (args: unknown[]) => void): void {
  const method: unknown = Reflect.get(transport, name)
  if (!isMethod(method)) return
  Object.defineProperty(transport, name, {
    configurable: true,
    writable: true,
    value: function (this: unknown, ...args: unknown[]): unknown {
      heard(args)
      return Reflect.apply(method, this, args)
    },
  })
}

/**
 * Something that is done with the transport: whoever connects it sets a handler, now or later. The transport calls what it
 * finds there, so what is found has to be the handler with an ear; and one who connects puts the former handler into
 * his own, which then would be heard twice.
 */
function tapHandler (transport: object, name: string, heard: (args: unknown[]) => void): void {
  const property = findProperty(transport, name)
  const tapped = new WeakSet<Method>()
  /** The first arguments of the calls that are going on. */
  const running: unknown[] = []
  const tap = (handler: unknown): unknown => {
    if (!isMethod(handler) || tapped.has(handler)) return handler
    const withEar = function (this: unknown, ...args: unknown[]): unknown {
      if (running.includes(args[0])) return Reflect.apply(handler, this, args)
      running.push(args[0])
      try {
        heard(args)
        return Reflect.apply(handler, this, args)
      } finally {
        running.pop()
      }
    }
    tapped.add(withEar)
    return withEar
  }

  // a transport may keep its handlers itself
  const { get, set } = property ?? {}
  let current = tap(get === undefined ? property?.value : Reflect.apply(get, transport, []))
  if (set !== undefined) Reflect.apply(set, transport, [current])
  Object.defineProperty(transport, name, {
    configurable: true,
    enumerable: property?.enumerable ?? true,
    get: () => get === undefined ? current : Reflect.apply(get, transport, []),
    set: (handler: unknown) => {
      current = tap(handler)
      if (set !== undefined) Reflect.apply(set, transport, [current])
    },
  })
}

function findProperty (object: object, name: string): PropertyDescriptor | undefined {
  for (let owner: object | null = object; owner !== null; owner = Reflect.getPrototypeOf(owner)) {
    const property = Reflect.getOwnPropertyDescriptor(owner, name)
    if (property !== undefined) return property
  }
  return undefined
}

function isMessage (value: unknown): value is TappedMessage {
  return typeof value === 'object' && value !== null
}

function isMethod (value: unknown): value is Method {
  return typeof value === 'function'
}
