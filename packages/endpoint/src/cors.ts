import cors from '@fastify/cors'
import type { FastifyInstance, onRequestHookHandler } from 'fastify'
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
  const { addHook, options } = scope
  scope.options = () => scope
  scope.addHook = skipSameOrigin(scope, addHook)
  try {
    await scope.register(cors, {
      // a function, so that an origin that is refused gets no header at all
      origin: (origin, callback) => callback(null, origin === undefined || allowsOrigin(origin)),
      maxAge: 600,
    })
  } finally {
    scope.options = options
    scope.addHook = addHook
  }
}

/** Requests of programs and of pages of the same origin name none: what CORS says is not for them, and costs time. */
function skipSameOrigin (scope: FastifyInstance, addHook: FastifyInstance['addHook']): FastifyInstance['addHook'] {
  const original = addHook as unknown as AddHook
  const add: AddHook = (name, hook) => original.call(scope, name, name !== 'onRequest'
    ? hook
    : (request, reply, done) => {
        if (request.headers.origin === undefined && request.method !== 'OPTIONS') done()
        else void hook.call(scope, request, reply, done)
      })
  return add as unknown as FastifyInstance['addHook']
}

type AddHook = (name: string, hook: onRequestHookHandler) => FastifyInstance
