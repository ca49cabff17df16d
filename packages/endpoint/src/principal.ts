import type { FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who the client is, as an authentication hook has found out; `null` where nobody asked. */
    mcpPrincipal: string | null
  }
}

/** Tells who sent a request; sessions belong to the principal that opened them. */
export type PrincipalOf = (request: FastifyRequest) => string | undefined

export const principalOfRequest: PrincipalOf = request => request.mcpPrincipal ?? undefined
