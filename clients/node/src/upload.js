// One document on its way to the server, without its transport: what to send next, and what an answer means.
//
// The rule: what the server has committed is not sent again, by this call or by a later one for the same document. The
// one exception is a comparison, where the server has to see the bytes: a document that was READY before, or `verify`.
import { IlreError } from './errors.js';
import { documentFrom, timestampOf } from './types.js';

export const MAX_CHUNK_BYTES = 1 << 20;
const WINDOW_BYTES = 16 << 20; // sent and not committed; more is not read from the source

export class Upload {
  #name;
  #source;
  #chunkBytes;
  #options;
  #verify;
  #started = false;
  #wasReady = false; // before this call touched it
  #found = ''; // create time of what was there before
  #base = 0; // where in the document the source begins
  #committed = 0; // as far as is known; offsets of the document
  #next = 0; // first byte not sent by this try
  #finishSent = false;
  #firstMessage = true;

  /**
   * @param {string} name
   * @param {import('./source.js').Source} source
   * @param {import('../types/index.d.ts').IngestOptions} options
   */
  constructor(name, source, { replace = false, append = false, expireTime, verify, chunkBytes = MAX_CHUNK_BYTES }) {
    if (replace && append) throw new TypeError('replace or append, not both');
    if (!(chunkBytes >= 1 && chunkBytes <= MAX_CHUNK_BYTES)) {
      throw new RangeError(`chunkBytes is 1 to ${MAX_CHUNK_BYTES}`);
    }
    this.#name = name;
    this.#source = source;
    this.#chunkBytes = chunkBytes;
    this.#options = { replace, append, expireTime: timestampOf(expireTime) };
    this.#verify = verify;
  }

  get totalBytes() {
    return this.#source.size === undefined ? undefined : this.#base + this.#source.size;
  }

  /** Too much is under way: read answers before sending more. */
  get mustWait() {
    return this.#next - this.#committed >= WINDOW_BYTES;
  }

  /**
   * Before each try, with what GetIngestStatus said (undefined: no such document).
   * @param {any} status
   * @returns {import('../types/index.d.ts').Document | undefined} the document if it is done
   */
  startTry(status) {
    if (!this.#started) this.#start(status);
    this.#committed = status?.committedBytes ?? 0;
    const { replace, append } = this.#options;
    const replacing = replace && status && createTime(status) === this.#found;
    let offset = this.#committed;
    if (!status || replacing) {
      offset = 0;
    } else if (status.document.state !== 'READY') {
      if (this.#verify && !this.#started) offset = 0;
    } else if (this.#isFinished()) {
      return documentFrom(status.document);
    } else if (this.#wasReady && this.#verify !== false && !append) {
      offset = 0;
    }
    if (this.#source.size !== undefined && offset - this.#base > this.#source.size) this.#refuseShorter(offset);
    this.#started = true;
    this.#next = offset;
    this.#source.release(Math.max(0, offset - this.#base));
    this.#finishSent = false;
    this.#firstMessage = true;
    return undefined;
  }

  /** @param {any} status */
  #start(status) {
    if (!status) return;
    this.#found = createTime(status);
    this.#wasReady = status.document.state === 'READY';
    if (!this.#options.append) return;
    if (!this.#wasReady) {
      const message = 'the document is not finished: ingest all of it, the old text and the new, without append';
      throw new IlreError('FAILED_PRECONDITION', message, { reason: 'DOCUMENT_NOT_READY', resource: this.#name });
    }
    this.#base = status.committedBytes;
  }

  /** Of a READY document: whether it is what this call made of it, so that nothing is to be sent. */
  #isFinished() {
    if (this.#wasReady && !this.#options.append) {
      return this.#verify === false && this.#committed === this.totalBytes;
    }
    return this.#finishSent && this.#committed === this.#base + this.#source.end();
  }

  /** @param {number} stored */
  #refuseShorter(stored) {
    const message = `the document has other content: ${stored} bytes are stored, and the source ends before them`;
    throw new IlreError('ALREADY_EXISTS', message, { reason: 'CONTENT_DIFFERS', resource: this.#name });
  }

  /** What is to be read of the source for the next message: [offset, count]. */
  nextRead() {
    return /** @type {[number, number]} */ ([this.#next - this.#base, this.#chunkBytes]);
  }

  /**
   * The next message, for what the source gave; the last one if it gave nothing.
   * @param {Uint8Array} data
   */
  message(data) {
    const last = data.length === 0;
    if (last && this.#base + this.#source.end() < this.#next) this.#refuseShorter(this.#next);
    const first = this.#firstMessage ? { name: this.#name, options: this.#options } : {};
    const message = { ...first, writeOffset: this.#next, data, finishWrite: last, flush: false };
    this.#firstMessage = false;
    this.#next += data.length;
    this.#finishSent = last;
    message.flush = !last && this.mustWait;
    return message;
  }

  /**
   * An answer came.
   * @param {any} progress
   * @returns {boolean} whether more is committed than before
   */
  acknowledge({ committedBytes }) {
    const advanced = committedBytes > this.#committed;
    this.#committed = Math.max(this.#committed, committedBytes);
    this.#source.release(Math.max(0, Math.min(this.#committed, this.#next) - this.#base));
    return advanced;
  }
}

/** @param {any} status */
function createTime({ document }) {
  return document.createTime ? `${document.createTime.seconds}.${document.createTime.nanos}` : '';
}
