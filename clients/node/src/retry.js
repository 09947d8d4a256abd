// When a failed call is worth another try, and after how long.
import { IlreError } from './errors.js';

/** Defaults; see RetryPolicy in types/index.d.ts. */
export const RETRY = { maxAttempts: 8, firstDelayMs: 100, maxDelayMs: 5000, maxServerDelayMs: 120_000 };

/** @param {unknown} error */
function isRetryable(error) {
  if (!(error instanceof IlreError)) return false;
  switch (error.code) {
    case 'UNAVAILABLE':
      return true;
    case 'RESOURCE_EXHAUSTED': // a full quota comes without a delay: waiting is no help
      return error.retryDelayMs !== undefined;
    case 'ABORTED':
      return error.reason !== 'ETAG_MISMATCH';
    default: // the next try of an ingest asks where to go on
      return error.reason === 'OFFSET_GAP';
  }
}

/** The tries of one call. */
export class Attempts {
  #policy;
  #deadline;
  #signal;
  #failed = 0;

  /**
   * @param {typeof RETRY} policy
   * @param {number | undefined} timeoutMs for all tries together; undefined: no limit
   * @param {AbortSignal | undefined} signal
   */
  constructor(policy, timeoutMs, signal) {
    this.#policy = policy;
    this.#deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
    this.#signal = signal;
  }

  /** Of the next try: a time in milliseconds since 1970, or undefined. */
  get deadline() {
    return this.#deadline;
  }

  get signal() {
    return this.#signal;
  }

  get isFirst() {
    return this.#failed === 0;
  }

  progressed() {
    this.#failed = 0;
  }

  /**
   * Waits until the next try. Throws `error` if there shall be none.
   * @param {any} error
   */
  async waitAfter(error) {
    this.#signal?.throwIfAborted();
    if (!isRetryable(error) || this.#failed + 1 >= this.#policy.maxAttempts) throw error;
    this.#failed += 1;
    const doubled = this.#policy.firstDelayMs * 2 ** (this.#failed - 1);
    let delay = Math.min(this.#policy.maxDelayMs, doubled) * (0.8 + 0.4 * Math.random());
    if (error.retryDelayMs !== undefined) {
      if (error.retryDelayMs > this.#policy.maxServerDelayMs) throw error;
      delay = Math.max(delay, error.retryDelayMs);
    }
    if (this.#deadline !== undefined && Date.now() + delay >= this.#deadline) throw error;
    await pause(Math.ceil(delay), this.#signal);
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal | undefined} signal
 */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve(undefined);
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
