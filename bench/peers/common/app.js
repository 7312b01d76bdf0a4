/* The HTTP side both peers share: routes of the ticket API, bearer token, hourly limit,
 * validation by fastify schemas, the document's replies and error form.
 *
 * A store does the rest, in four calls:
 *   findToken(hash, hourStartMs)   { id, teamId, active, expiresAtMs, rateLimit, used } or null;
 *                                  `used` counts from hourStartMs on, null = not asked for
 *   createTicket(ticket, token, nowMs, usage)   ticket row and usage row, one durable transaction
 *   getTicket(id, tokenId)         the ticket's fields or null
 *   saveUsage(rows)                usage rows of requests that wrote nothing
 * Each may be synchronous or return a promise. Left out on purpose: comments, status, /v1.
 */
import { hash } from 'node:crypto'
import { TokenCache } from './tokens.js'
import { UsageBuffer, redactedPayload } from './usage.js'
import { uuidv7 } from './uuid.js'

const BASE = '/functions/v1/integration-tickets'
const PRIORITIES = ['low', 'medium', 'high', 'urgent']
const MESSAGES = {
  missing_token: [401, 'Missing authorization token'],
  invalid_token: [401, 'Invalid or disabled token'],
  rate_limit_exceeded: [429, 'Rate limit exceeded'],
  missing_required_field: [400, 'Missing required field'],
  invalid_field: [400, 'Invalid field'],
  invalid_request: [400, 'Invalid request'],
  not_found: [404, 'Ticket not found'],
  internal_error: [500, 'Internal error']
}

const createBody = {
  type: 'object',
  required: ['title'],
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 500 },
    description: { type: 'string' },
    priority: { type: 'string', enum: PRIORITIES, default: 'medium' },
    category: { type: 'string' },
    metadata: { type: 'object' }
  }
}
const idParams = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }
const ticketReply = {
  type: 'object',
  properties: {
    ticket: {
      type: 'object',
      properties: {
        id: { type: 'string' },
        title: { type: 'string' },
        description: { type: 'string', nullable: true },
        status: { type: 'string' },
        priority: { type: 'string' },
        category: { type: 'string', nullable: true },
        metadata: { type: 'object', additionalProperties: true },
        created_at: { type: 'string' },
        updated_at: { type: 'string' }
      }
    }
  }
}

export function apiError (code, details) {
  const error = new Error(MESSAGES[code][1])
  error.statusCode = MESSAGES[code][0]
  error.apiCode = code
  error.details = details
  return error
}

function errorReply (error) {
  if (error.apiCode) {
    const body = { error: error.apiCode, message: error.message }
    return [error.statusCode, error.details ? { ...body, details: error.details } : body]
  }
  if (error.validation) {
    const missing = error.validation[0].keyword === 'required'
    const code = missing ? 'missing_required_field' : 'invalid_field'
    return [400, { error: code, message: MESSAGES[code][1], details: error.message }]
  }
  if (error.statusCode >= 400 && error.statusCode < 500) {
    return [error.statusCode, { error: 'invalid_request', message: error.message }]
  }
  return [500, { error: 'internal_error', message: MESSAGES.internal_error[1] }]
}

/* `fastify` is the factory of the peer's own package; returns an app ready to listen. */
export function buildApp (fastify, store) {
  const app = fastify({
    logger: false,
    bodyLimit: 1024 * 1024,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } }
  })
  const tokens = new TokenCache(store)
  const usage = new UsageBuffer(store)

  app.decorateRequest('token', null)
  app.decorateRequest('startedAt', 0)

  app.addHook('onRequest', (request, reply, done) => {
    request.startedAt = performance.now()
    const header = request.headers.authorization
    if (header === undefined || !header.startsWith('Bearer ')) {
      return done(apiError('missing_token'))
    }
    const digest = hash('sha256', header.slice(7), 'hex')
    const admit = (token) => {
      if (token === null) return done(apiError('invalid_token'))
      request.token = token
      return done(token.take(Date.now()) ? undefined : apiError('rate_limit_exceeded'))
    }
    const token = tokens.fresh(digest)
    if (token !== undefined) return admit(token)
    tokens.load(digest).then(admit, done)
  })

  function usageRow (request, status, error) {
    return {
      tokenId: request.token === null ? null : request.token.id,
      endpoint: request.routeOptions.url ?? '*',
      method: request.method,
      status,
      tookMs: performance.now() - request.startedAt,
      ip: request.ip,
      userAgent: request.headers['user-agent'] ?? null,
      error,
      payload: request.method === 'GET' ? null : redactedPayload(request.body),
      atMs: Date.now()
    }
  }

  app.setErrorHandler((error, request, reply) => {
    const [status, body] = errorReply(error)
    usage.add(usageRow(request, status, body.error))
    return reply.code(status).send(body)
  })

  app.post(BASE + '/tickets', {
    schema: { body: createBody, response: { 201: ticketReply } }
  }, async (request, reply) => {
    const body = request.body
    const now = Date.now()
    const ticket = {
      id: uuidv7(now),
      title: body.title,
      description: body.description ?? null,
      status: 'open',
      priority: body.priority,
      category: body.category ?? null,
      metadata: body.metadata ?? {},
      created_at: new Date(now).toISOString()
    }
    await store.createTicket(ticket, request.token, now, usageRow(request, 201, null))
    reply.code(201)
    return { ticket }
  })

  app.get(BASE + '/tickets/:id', {
    schema: { params: idParams, response: { 200: ticketReply } }
  }, async (request) => {
    const ticket = await store.getTicket(request.params.id, request.token.id)
    if (ticket === null) throw apiError('not_found')
    usage.add(usageRow(request, 200, null))
    return { ticket }
  })

  app.addHook('onClose', () => usage.close())
  return app
}

/* Listen on 127.0.0.1:`port`, stop cleanly on SIGTERM and SIGINT. */
export async function run (app, port, closeStore) {
  const stop = async () => {
    await app.close()
    await closeStore()
    process.exit(0)
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  await app.listen({ host: '127.0.0.1', port })
}
