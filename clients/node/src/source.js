// Where a document's bytes come from: memory, a file, or a stream that can be read once.
import { open } from 'node:fs/promises';

import { IlreError } from './errors.js';

/**
 * Bytes by offset. `readAt` gives 1 to `count` bytes, none at the end; what was released is not asked for again. One
 * reader at a time, but for a try that failed while it still read: its bytes are kept.
 * @typedef {object} Source
 * @property {number | undefined} size undefined: not known
 * @property {(offset: number, count: number) => Promise<Uint8Array>} readAt
 * @property {(offset: number) => void} release everything before `offset` is safe elsewhere
 * @property {() => number} end the size, after readAt said that this is the end
 * @property {() => Promise<void>} close
 */

/**
 * @param {import('../types/index.d.ts').Readable} source
 * @returns {Promise<Source>}
 */
export async function openSource(source) {
  if (typeof source === 'string' || source instanceof URL) return FileSource.open(source);
  if (source instanceof Uint8Array) return new MemorySource(source);
  if (Symbol.asyncIterator in Object(source)) return new StreamSource(source[Symbol.asyncIterator]());
  if (Symbol.iterator in Object(source)) return new StreamSource(source[Symbol.iterator]());
  throw new TypeError('a document is a path, a Uint8Array, or a (possibly asynchronous) iterable of Uint8Array');
}

/** @implements {Source} */
class MemorySource {
  #data;

  /** @param {Uint8Array} data */
  constructor(data) {
    this.#data = data;
    this.size = data.length;
  }

  /**
   * @param {number} offset
   * @param {number} count
   */
  async readAt(offset, count) {
    return this.#data.subarray(offset, offset + count);
  }

  release() {}

  end() {
    return this.size;
  }

  async close() {}
}

/** @implements {Source} */
class FileSource {
  #file;

  /**
   * @param {import('node:fs/promises').FileHandle} file
   * @param {number} size
   */
  constructor(file, size) {
    this.#file = file;
    this.size = size;
  }

  /** @param {string | URL} path */
  static async open(path) {
    const file = await open(path, 'r');
    const status = await file.stat();
    if (status.isFile()) return new FileSource(file, status.size);
    return new StreamSource(file.createReadStream()[Symbol.asyncIterator]());
  }

  /**
   * @param {number} offset
   * @param {number} count
   */
  async readAt(offset, count) {
    const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(count, this.size - offset)));
    if (buffer.length === 0) return buffer;
    const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) throw new Error('the file has become shorter while it was read');
    return buffer.subarray(0, bytesRead);
  }

  release() {}

  end() {
    return this.size;
  }

  async close() {
    await this.#file.close();
  }
}

/** @implements {Source} */
class StreamSource {
  size = undefined;
  #pieces;
  /** @type {Uint8Array[]} */
  #kept = []; // what was read and not released
  #begin = 0; // offset of the first that is kept
  #end = 0;
  #released = 0;
  /** @type {Promise<void> | undefined} */
  #reading;
  #ended = false;

  /** @param {Iterator<Uint8Array> | AsyncIterator<Uint8Array>} pieces */
  constructor(pieces) {
    this.#pieces = pieces;
  }

  /**
   * @param {number} offset
   * @param {number} count
   */
  async readAt(offset, count) {
    while (this.end() <= offset && !this.#ended) {
      this.#reading ??= this.#readPiece().finally(() => (this.#reading = undefined));
      await this.#reading;
    }
    if (offset < this.#begin) {
      const message = `byte ${offset} is wanted again, which was committed: the source cannot be read twice`;
      throw new IlreError('DATA_LOSS', message);
    }
    const parts = [];
    for (let i = 0, begin = this.#begin; i < this.#kept.length && count > 0; begin += this.#kept[i].length, i += 1) {
      const skip = Math.max(0, offset - begin);
      if (skip >= this.#kept[i].length) continue;
      const part = this.#kept[i].subarray(skip, skip + count);
      parts.push(part);
      count -= part.length;
    }
    return Buffer.concat(parts);
  }

  async #readPiece() {
    const { value, done } = await this.#pieces.next();
    if (done) {
      this.#ended = true;
      return;
    }
    if (!(value instanceof Uint8Array)) throw new TypeError('the pieces of a document are Uint8Arrays (or Buffers)');
    this.#kept.push(value);
    this.#end += value.length;
    this.release(this.#released);
  }

  /** @param {number} offset */
  release(offset) {
    this.#released = Math.max(this.#released, offset);
    while (this.#kept.length > 0 && this.#begin + this.#kept[0].length <= this.#released) {
      this.#begin += this.#kept.shift().length;
    }
  }

  end() {
    return this.#end;
  }

  async close() {
    // Not awaited: an iterator that still waits for its next piece answers only then.
    Promise.resolve(this.#pieces.return?.()).catch(() => {});
  }
}
