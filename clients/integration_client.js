#!/usr/bin/env node
/*
 * Client of the Tessera ticket API (/functions/v1/integration-tickets). Node >= 18, no
 * dependencies.
 *
 * As a library:
 *     const { IntegrationClient } = require('./integration_client.js');
 *     const client = new IntegrationClient(url, process.env.INTEGRATION_TOKEN);
 *     const ticket = await client.createTicket({ title: 'Printer on fire', priority: 'urgent' });
 *
 * As a program (INTEGRATION_TOKEN, INTEGRATION_URL): run it with --help, or with nothing for a
 * tour of every call.
 *
 * What is retried: no answer at all, 408, 429, every 5xx, 409 idempotency_in_progress. The wait is
 * Retry-After when the server sends one, else exponential backoff with jitter. A POST carries one
 * Idempotency-Key for all its attempts, so a create that was stored but whose answer was lost is
 * not stored twice. PATCH sets a value and may be repeated as it is. Redirects are refused:
 * following one would hand the token to another address.
 *
 * For servers, not for browsers: a token in a page is a token given away.
 */
'use strict';

const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

const DEFAULT_URL = 'http://127.0.0.1:8080/functions/v1/integration-tickets';
const USER_AGENT = 'tessera-client-node/1.0';
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 8000;

/* A certificate that does not verify will not verify the next time either. */
const CERTIFICATE_ERRORS = new Set([
  'CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/* A call that failed. `status` is the HTTP status, or 0 when no answer came. */
class IntegrationError extends Error {
  constructor(status, code, message, more = {}) {
    super(message);
    this.name = 'IntegrationError';
    const unknown = { details: null, retryable: false, retryAfterMs: null, attempts: 1 };
    Object.assign(this, unknown, { status, code }, more);
  }

  toString() {
    let text = `${this.status || 'no answer'} ${this.code}: ${this.message}`;
    if (typeof this.details === 'string') text += ` (${this.details})`;
    else if (this.details) text += ` (${JSON.stringify(this.details)})`;
    if (this.retryAfterMs !== null) {
      text += ` [retry after ${Math.ceil(this.retryAfterMs / 1000)} s]`;
    }
    return this.attempts > 1 ? `${text} [gave up after ${this.attempts} attempts]` : text;
  }
}

/* Every call of the ticket API. Each rejects with IntegrationError when it fails for good. */
class IntegrationClient {
  /*
   * timeoutMs bounds one attempt, maxAttempts the tries of a call. A server that asks for a longer
   * wait than maxWaitMs is not waited for: the call fails at once and says how long.
   */
  constructor(baseUrl, token, { timeoutMs = 15000, maxAttempts = 5, maxWaitMs = 60000 } = {}) {
    if (!/^https?:\/\//.test(baseUrl || '')) {
      throw new TypeError('baseUrl must start with http:// or https://');
    }
    if (!token) throw new TypeError('token must not be empty');
    this.baseUrl = baseUrl.replace(/\/+$/, '');
    Object.defineProperty(this, 'token', { value: token });  /* hidden from console.log */
    Object.assign(this, { timeoutMs, maxAttempts: Math.max(1, maxAttempts), maxWaitMs });
  }

  /* {status: 'ok', endpoints: [...]}; also shows that the token is accepted. */
  async health() {
    return this.#call('GET', '/');
  }

  /*
   * The new ticket, from {title, description, priority, category, metadata}. With an idempotencyKey
   * of your own, kept with your record, the same call made after a crash gives the same ticket.
   */
  async createTicket(fields, { idempotencyKey = randomUUID() } = {}) {
    return part(await this.#call('POST', '/tickets', fields, idempotencyKey), 'ticket');
  }

  /* The ticket with this id, if this token created it. */
  async getTicket(ticketId) {
    return part(await this.#call('GET', ticketPath(ticketId)), 'ticket');
  }

  /* The id of the new comment. */
  async addComment(ticketId, content, { isInternal = false, idempotencyKey = randomUUID() } = {}) {
    const path = `${ticketPath(ticketId)}/comments`;
    const body = { content, is_internal: isInternal };
    return part(await this.#call('POST', path, body, idempotencyKey), 'comment_id');
  }

  /* {id, status, updated_at}. Status: open, in_progress, waiting, resolved, closed. */
  async updateStatus(ticketId, status) {
    return part(await this.#call('PATCH', `${ticketPath(ticketId)}/status`, { status }), 'ticket');
  }

  async #call(method, path, body, key) {
    for (let attempt = 1; ; attempt++) {
      let wait;
      try {
        return await this.#sendOnce(method, path, body, key);
      } catch (err) {
        if (!(err instanceof IntegrationError)) throw err;
        err.attempts = attempt;
        wait = waitMs(attempt, err.retryAfterMs);
        if (!err.retryable || attempt >= this.maxAttempts || wait > this.maxWaitMs) throw err;
      }
      await sleep(wait);
    }
  }

  async #sendOnce(method, path, body, key) {
    const headers = {
      Authorization: `Bearer ${this.token}`, Accept: 'application/json', 'User-Agent': USER_AGENT,
    };
    const signal = AbortSignal.timeout(this.timeoutMs);
    const init = { method, headers, signal, redirect: 'manual' };
    if (body !== undefined) {
      headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    if (key !== undefined) headers['Idempotency-Key'] = key;
    let answer;
    let text;
    try {
      answer = await fetch(this.baseUrl + path, init);
      text = await answer.text();
    } catch (err) {
      throw noAnswer(err);
    }
    if (!answer.ok) throw refusal(answer, text);
    const value = parseObject(text);
    if (value === null) throw unexpected('not a JSON object; is the URL right?', answer.status);
    return value;
  }
}

/* An answer of 300 and above. The body may be a proxy's page: then the status tells the story. */
function refusal(answer, text) {
  const fields = parseObject(text) || {};
  const code = String(fields.error || `http_${answer.status}`);
  const message = String(fields.message || answer.statusText || 'no message');
  return new IntegrationError(answer.status, code, message, {
    details: fields.details ?? null,
    retryable: [408, 429].includes(answer.status) || answer.status >= 500
      || code === 'idempotency_in_progress',
    retryAfterMs: retryAfterMs(answer.headers.get('retry-after')),
  });
}

function noAnswer(err) {
  const cause = err.cause || err;
  const message = cause.message || cause.code || String(cause);
  const retryable = !CERTIFICATE_ERRORS.has(cause.code);
  return new IntegrationError(0, 'connection_failed', message, { retryable });
}

function unexpected(message, status = 200) {
  return new IntegrationError(status, 'unexpected_answer', message);
}

/* The object in the text, or null when it is anything else. */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function part(answer, name) {
  if (answer[name] === undefined) throw unexpected(`no '${name}' in the answer; is the URL right?`);
  return answer[name];
}

/* Milliseconds from a Retry-After header, seconds or an HTTP date. null: absent or unreadable. */
function retryAfterMs(text) {
  if (!text) return null;
  if (/^\d+$/.test(text.trim())) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}

/* Never shorter than asked; the jitter keeps many clients from returning together. */
function waitMs(attempt, askedMs) {
  if (askedMs !== null) return askedMs + Math.random() * 250;
  const step = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (attempt - 1));
  return step / 2 + Math.random() * (step / 2);
}

function ticketPath(ticketId) {
  if (!ticketId) throw new TypeError('ticketId must not be empty');
  return `/tickets/${encodeURIComponent(ticketId)}`;
}

/* The program: one row per command. */

/* Use every call once and print what happened. */
async function demo(client) {
  console.log('health: ', (await client.health()).status);
  const ticket = await client.createTicket({
    title: 'Order processing issue', description: 'Order #12345 is stuck in processing',
    priority: 'high', category: 'Technical Support',
    metadata: { order_id: '12345', source: 'node' },
  });
  console.log('created:', ticket.id, 'status', ticket.status, 'priority', ticket.priority);
  console.log('fetched:', (await client.getTicket(ticket.id)).title);
  console.log('comment:', await client.addComment(ticket.id, 'The customer has been contacted.'));
  console.log('updated:', (await client.updateStatus(ticket.id, 'in_progress')).status);
  const { status } = await client.getTicket(ticket.id);
  console.log('fetched: status', status);
  if (status !== 'in_progress') throw unexpected(`status is '${status}', expected 'in_progress'`);
  console.log('done: every call worked');
}

function runCreate(client, title, description, priority, category, metadata) {
  return client.createTicket({
    title, description: description || undefined, priority: priority || undefined,
    category: category || undefined, metadata: metadata ? JSON.parse(metadata) : undefined,
  }, { idempotencyKey: process.env.INTEGRATION_IDEMPOTENCY_KEY || undefined });
}

async function runComment(client, ticketId, content, kind = '') {
  if (kind !== '' && kind !== 'internal') {
    throw new TypeError('the third word of comment may only be: internal');
  }
  const idempotencyKey = process.env.INTEGRATION_IDEMPOTENCY_KEY || undefined;
  const options = { isInternal: kind === 'internal', idempotencyKey };
  return { comment_id: await client.addComment(ticketId, content, options) };
}

const USAGE = `usage: integration_client.js [COMMAND]
  demo                                                  every call once (the default)
  health
  create TITLE [DESCRIPTION [PRIORITY [CATEGORY [METADATA_JSON]]]]
  get ID
  comment ID TEXT [internal]
  status ID STATUS
environment: INTEGRATION_TOKEN (required), INTEGRATION_URL, INTEGRATION_TIMEOUT,
             INTEGRATION_MAX_ATTEMPTS, INTEGRATION_MAX_WAIT, INTEGRATION_IDEMPOTENCY_KEY`;

const COMMANDS = {
  demo: { run: demo, fewest: 0, most: 0 },
  health: { run: (client) => client.health(), fewest: 0, most: 0 },
  create: { run: runCreate, fewest: 1, most: 5 },
  get: { run: (client, id) => client.getTicket(id), fewest: 1, most: 1 },
  comment: { run: runComment, fewest: 2, most: 3 },
  status: { run: (client, id, status) => client.updateStatus(id, status), fewest: 2, most: 2 },
};

function numberFromEnv(name, fallback) {
  const value = Number(process.env[name] || fallback);
  if (!(value > 0)) throw new TypeError(`${name} must be a number above 0`);
  return value;
}

function clientFromEnv() {
  const { INTEGRATION_URL, INTEGRATION_TOKEN } = process.env;
  return new IntegrationClient(INTEGRATION_URL || DEFAULT_URL, INTEGRATION_TOKEN, {
    timeoutMs: numberFromEnv('INTEGRATION_TIMEOUT', 15) * 1000,
    maxAttempts: numberFromEnv('INTEGRATION_MAX_ATTEMPTS', 5),
    maxWaitMs: numberFromEnv('INTEGRATION_MAX_WAIT', 60) * 1000,
  });
}

/* 0 done, 1 refused, 2 wrong usage. */
async function main(words) {
  const [name = 'demo', ...args] = words;
  if (name === '-h' || name === '--help') {
    console.log(USAGE);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command || args.length < command.fewest || args.length > command.most) {
    console.error(USAGE);
    return 2;
  }
  try {
    const result = await command.run(clientFromEnv(), ...args);
    if (result !== undefined) console.log(JSON.stringify(result, null, 2));
    return 0;
  } catch (err) {
    if (err instanceof IntegrationError) {
      console.error(`failed: ${err}`);
      return 1;
    }
    console.error(`failed: ${err.message}; see --help`);
    return 2;
  }
}

module.exports = { IntegrationClient, IntegrationError };

if (require.main === module) {
  main(process.argv.slice(2)).then((code) => { process.exitCode = code; });
}
