/* UUID version 7 (RFC 9562): inserts stay local in the index. Random bytes come in blocks,
 * as one call of the generator per id would cost more than the rest. */
import { randomFillSync } from 'node:crypto'

const BYTES = 10
const pool = Buffer.alloc(BYTES * 512)
const VARIANT = '89ab'
let next = pool.length

export function uuidv7 (nowMs) {
  if (next === pool.length) {
    randomFillSync(pool)
    next = 0
  }
  const variant = VARIANT[pool[next] & 3]
  const random = pool.toString('hex', next, next + BYTES)
  next += BYTES
  const time = nowMs.toString(16).padStart(12, '0')
  return time.slice(0, 8) + '-' + time.slice(8) + '-7' + random.slice(2, 5) + '-' +
    variant + random.slice(5, 8) + '-' + random.slice(8)
}
