// IngestDocument over the wire: one call a try, a writer and a reader side by side.
import { fromServiceError, IlreError } from './errors.js';
import { progressFrom } from './types.js';

/**
 * Sends what `upload` says until the document is finished.
 * @param {import('@grpc/grpc-js').ClientDuplexStream<any, any>} call
 * @param {import('./upload.js').Upload} upload
 * @param {import('./source.js').Source} source
 * @param {import('./retry.js').Attempts} attempts
 * @param {((progress: any) => unknown) | undefined} onProgress
 * @param {string} requestId
 * @returns {Promise<any>} the finished document
 */
export async function sendDocument(call, upload, source, attempts, onProgress, requestId) {
  let failure; // what the call ended with: an iteration that begins after the event does not see it
  call.on('error', (error) => (failure = error));
  const changed = new Changes(call);
  const writer = writeAll(call, upload, source, changed);
  let document;
  try {
    for await (const message of call) {
      if (upload.acknowledge(message)) attempts.progressed();
      changed.notify();
      const progress = progressFrom(message, upload.totalBytes);
      document = progress.document ?? document;
      await onProgress?.(progress);
    }
  } catch (error) {
    throw writer.failure ?? fromServiceError(error, requestId);
  } finally {
    changed.stop();
    call.cancel();
  }
  if (writer.failure) throw writer.failure;
  if (failure) throw fromServiceError(failure, requestId);
  if (document) return document;
  throw new IlreError('UNAVAILABLE', 'the server ended the call before the document was finished', { requestId });
}

/**
 * Starts writing. A failure of the source ends the messages: the server commits what it has, and `failure` says why.
 * @param {import('@grpc/grpc-js').ClientDuplexStream<any, any>} call
 * @param {import('./upload.js').Upload} upload
 * @param {import('./source.js').Source} source
 * @param {Changes} changed
 */
function writeAll(call, upload, source, changed) {
  const writer = { failure: /** @type {unknown} */ (undefined) };
  const run = async () => {
    let finished = false;
    while (!finished) {
      while (upload.mustWait && !changed.stopped) await changed.next();
      if (changed.stopped) return;
      const data = await source.readAt(...upload.nextRead());
      if (changed.stopped) return;
      const message = upload.message(data);
      finished = message.finishWrite;
      if (!call.write(message)) while (call.writableNeedDrain && !changed.stopped) await changed.next();
    }
  };
  run()
    .catch((error) => (writer.failure = error))
    .finally(() => changed.stopped || call.end());
  return writer;
}

/** Wakes the writer: answers came, the stream takes more, or the call is over. */
class Changes {
  stopped = false;
  #wake = () => {};
  #changed = Promise.resolve();

  /** @param {import('@grpc/grpc-js').ClientDuplexStream<any, any>} call */
  constructor(call) {
    this.#renew();
    call.on('drain', () => this.notify());
    for (const end of ['error', 'close', 'end']) call.on(end, () => this.stop());
  }

  #renew() {
    this.#changed = new Promise((resolve) => (this.#wake = () => resolve(undefined)));
  }

  next() {
    return this.#changed;
  }

  notify() {
    this.#wake();
    this.#renew();
  }

  stop() {
    this.stopped = true;
    this.#wake();
  }
}
