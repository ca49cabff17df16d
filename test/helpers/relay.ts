import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

interface Teardown { teardown: (fn: () => unknown) => void }

/** A bad network between a client and the proxy. */
export interface Relay {
  readonly url: string
  /** Breaks all connections; new ones get through after `restore`. */
  readonly cut: () => void
  readonly restore: () => void
}

/** @param prepare has something said on each connection to the target before its client's own words */
export async function startRelay (t: Teardown, target: string, prepare: (upstream: Socket) => Promise<void> = async () => {}): Promise<Relay> {
  const { port } = new URL(target)
  const sockets = new Set<Socket>()
  const held: Array<() => void> = []
  let holding = false
  const server = createServer((client) => {
    const pass = (): void => {
      const upstream = connect(Number(port), '127.0.0.1')
      for (const socket of [client, upstream]) {
        sockets.add(socket)
        socket.on('error', () => {}).once('close', () => {
          sockets.delete(socket)
          client.destroy()
          upstream.destroy()
        })
      }
      void prepare(upstream).then(() => client.pipe(upstream).pipe(client))
    }
    if (holding) held.push(pass)
    else pass()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    holding = true
    for (const socket of sockets) socket.destroy()
  }
  const restore = (): void => {
    holding = false
    for (const pass of held.splice(0)) pass()
  }
  t.teardown(() => {
    cut()
    restore()
    cut()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut, restore }
}
