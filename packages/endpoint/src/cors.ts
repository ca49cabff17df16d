import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import type { OriginPolicy } from './origins.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What @fastify/cors applies to a route over its own options; it reads this and does not declare it. */
    cors?: Partial<CorsRules> | false
  }
}

/** CORS of MCP routes, over the app's own policy where there is one. */
export interface CorsRules {
  methods: string[]
  /** `null` admits what the browser asks for: names of `Mcp-Param-…` are the tools' (2026-07-28), and who may ask is a matter of the origin. */
  allowedHeaders: null
  exposedHeaders: string[]
}

export function corsRules (methods: readonly string[]): CorsRules {
  return { methods: [...methods], allowedHeaders: null, exposedHeaders: ['Mcp-Session-Id', 'WWW-Authenticate', 'Retry-After'] }
}

/** Whether the app answers CORS by itself. */
export function hasCors (fastify: FastifyInstance): boolean {
  return fastify.hasRequestDecorator('corsPreflightEnabled')
}

/** Adds CORS to the routes of a scope, and to no other route of the app. */
export async function addCors (scope: FastifyInstance, allowsOrigin: OriginPolicy): Promise<void> {
  // @fastify/cors declares OPTIONS for every path, which would answer for the rest of the app, and which two endpoints
  // cannot both declare. The scope has OPTIONS routes of its own, so the plugin's is left out.
  const { options } = scope
  scope.options = () => scope
  try {
    await scope.register(cors, {
      // a function, so that an origin that is refused gets no header at all
      origin: (origin, callback) => callback(null, origin === undefined || allowsOrigin(origin)),
      maxAge: 600,
    })
  } finally {
    scope.options = options
  }
}
