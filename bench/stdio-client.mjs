import { createInterface } from 'node:readline'

/** A client of a child itself, with nothing between: what its start and its first call cost. */
export class StdioClient {
  #program
  #open = new Map()
  #nextId = 1

  constructor ({ program }) {
    this.#program = program
    createInterface({ input: program.stdout }).on('line', (line) => {
      const { id, result } = JSON.parse(line)
      this.#open.get(id)?.(result)
      this.#open.delete(id)
    })
  }

  async open () {
    await this.#ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } })
    this.#program.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
  }

  #ask (method, params) {
    return new Promise((resolve) => {
      const id = this.#nextId++
      this.#open.set(id, resolve)
      this.#program.stdin.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }) + '\n')
    })
  }

  async call (name, args) {
    return (await this.#ask('tools/call', { name, arguments: args })).content[0].text
  }

  close () {}
}
