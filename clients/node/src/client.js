// The client. Its types and the meaning of every option stand in types/index.d.ts.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

import grpc from '@grpc/grpc-js';

import { AnswerStream } from './answer.js';
import { fromServiceError, IlreError } from './errors.js';
import { sendDocument } from './ingest.js';
import { collectionName, documentName, documentNames } from './names.js';
import { Encoder, Generator, Retriever } from './protos.js';
import { Attempts, RETRY } from './retry.js';
import { openSource } from './source.js';
import { documentFrom, progressFrom, retrievalFrom, timestampOf } from './types.js';
import { Upload } from './upload.js';

const STATUS_MS = 30_000; // for the question how far the server is, where the ingest itself may take any time
const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': 256 << 20, // spans of a million recalled tokens come with their text
  // Finds out that a server is gone although nothing was closed, also where a call has no deadline.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  // A name with several addresses (a headless Kubernetes service) is used with all of them.
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
};

export class Client {
  #token;
  #metadata;
  #retry;
  #timeoutMs;
  #services;

  /**
   * @param {string} [address]
   * @param {import('../types/index.d.ts').ClientOptions} [options]
   */
  constructor(address = '127.0.0.1:50051', options = {}) {
    const { encoder, retriever, generator, token, tls, retry = {}, timeoutMs = 300_000, metadata = {} } = options;
    this.#token = token;
    this.#metadata = metadata;
    this.#retry = { ...RETRY, ...retry };
    this.#timeoutMs = timeoutMs;
    const credentials = credentialsOf(tls);
    const channel = { ...CHANNEL_OPTIONS, ...(tls?.serverName && { 'grpc.ssl_target_name_override': tls.serverName }) };
    this.#services = {
      encoder: new Encoder(encoder ?? address, credentials, channel),
      retriever: new Retriever(retriever ?? address, credentials, channel),
      generator: new Generator(generator ?? address, credentials, channel),
    };
  }

  close() {
    for (const service of Object.values(this.#services)) service.close();
  }

  // Documents.

  /**
   * @param {string} name
   * @param {import('../types/index.d.ts').Readable} source
   * @param {import('../types/index.d.ts').IngestOptions} [options]
   */
  async ingest(name, source, options = {}) {
    const opened = await openSource(source);
    try {
      const upload = new Upload(documentName(name), opened, options);
      const attempts = new Attempts(this.#retry, options.timeoutMs, options.signal);
      for (;;) {
        try {
          return await this.#tryIngest(documentName(name), upload, opened, attempts, options);
        } catch (error) {
          await attempts.waitAfter(error);
        }
      }
    } finally {
      await opened.close();
    }
  }

  /**
   * @param {string} name
   * @param {Upload} upload
   * @param {import('./source.js').Source} source
   * @param {Attempts} attempts
   * @param {import('../types/index.d.ts').IngestOptions} options
   */
  async #tryIngest(name, upload, source, attempts, { onProgress, requestId: wanted }) {
    const done = upload.startTry(await this.#status(name, attempts, wanted));
    if (done) return done;
    const { metadata, requestId } = this.#headers(wanted);
    const call = this.#services.encoder.ingestDocument(metadata, { deadline: attempts.deadline });
    return this.#until(attempts.signal, call, () =>
      sendDocument(call, upload, source, attempts, onProgress, requestId),
    );
  }

  /**
   * How far the server is; undefined if it has no such document.
   * @param {string} name
   * @param {Attempts} attempts
   * @param {string | undefined} requestId
   */
  async #status(name, attempts, requestId) {
    const deadline = Math.min(attempts.deadline ?? Infinity, Date.now() + STATUS_MS);
    try {
      return await this.#once('encoder', 'getIngestStatus', { name }, deadline, attempts.signal, requestId);
    } catch (error) {
      if (!(error instanceof IlreError)) throw error;
      if (error.code === 'NOT_FOUND') return undefined;
      if (error.code !== 'DEADLINE_EXCEEDED' || deadline === attempts.deadline) throw error;
      throw new IlreError('UNAVAILABLE', `no answer within ${STATUS_MS} ms`, { requestId: error.requestId });
    }
  }

  /**
   * @param {string} name
   * @param {import('../types/index.d.ts').CallOptions} [options]
   */
  async getIngestStatus(name, options) {
    return progressFrom(await this.#call('encoder', 'getIngestStatus', { name: documentName(name) }, options));
  }

  /**
   * @param {string} name
   * @param {import('../types/index.d.ts').CallOptions & { expireTime?: Date }} [options]
   */
  async createDocument(name, { expireTime, ...options } = {}) {
    const [parent, documentId] = documentName(name).split('/documents/');
    const request = { parent, documentId, document: { expireTime: timestampOf(expireTime) } };
    const attempts = this.#attempts(options, { ...this.#retry, maxAttempts: 1 });
    return documentFrom(await this.#try('encoder', 'createDocument', request, attempts, options.requestId));
  }

  /**
   * @param {string} name
   * @param {import('../types/index.d.ts').CallOptions} [options]
   */
  async getDocument(name, options) {
    return documentFrom(await this.#call('encoder', 'getDocument', { name: documentName(name) }, options));
  }

  /**
   * @param {string} [collection]
   * @param {import('../types/index.d.ts').CallOptions & { pageSize?: number }} [options]
   */
  async *listDocuments(collection = '-', options = {}) {
    let pageToken = '';
    do {
      const page = await this.listPage(collection, { ...options, pageToken });
      yield* page.documents;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /**
   * @param {string} [collection]
   * @param {import('../types/index.d.ts').CallOptions & { pageSize?: number, pageToken?: string }} [options]
   */
  async listPage(collection = '-', { pageSize = 0, pageToken = '', ...options } = {}) {
    const request = { parent: collectionName(collection), pageSize, pageToken };
    const page = await this.#call('encoder', 'listDocuments', request, options);
    return { documents: page.documents.map(documentFrom), nextPageToken: page.nextPageToken };
  }

  /**
   * @param {string} name
   * @param {Date | undefined} expireTime
   * @param {import('../types/index.d.ts').CallOptions & { etag?: string }} [options]
   */
  async setExpiry(name, expireTime, { etag = '', ...options } = {}) {
    const document = { name: documentName(name), etag, expireTime: timestampOf(expireTime) };
    const request = { document, updateMask: { paths: ['expire_time'] } };
    return documentFrom(await this.#call('encoder', 'updateDocument', request, options));
  }

  /**
   * @param {string} name
   * @param {import('../types/index.d.ts').CallOptions & { etag?: string, allowMissing?: boolean }} [options]
   */
  async deleteDocument(name, { etag = '', allowMissing = false, ...options } = {}) {
    const request = { name: documentName(name), etag, allowMissing };
    const attempts = this.#attempts(options);
    try {
      await this.#try('encoder', 'deleteDocument', request, attempts, options.requestId);
    } catch (error) {
      // A second try that finds nothing was preceded by one that deleted it.
      if (attempts.isFirst || !(error instanceof IlreError && error.code === 'NOT_FOUND')) throw error;
    }
  }

  // Questions.

  /**
   * @param {string} question
   * @param {string | Iterable<string>} [documents]
   * @param {import('../types/index.d.ts').AskOptions} [options]
   */
  ask(question, documents = [], { timeoutMs, requestId: wanted, signal, ...options } = {}) {
    const request = { ...options, names: documentNames(documents), question };
    const attempts = this.#attempts({ timeoutMs, signal });
    const { metadata, requestId } = this.#headers(wanted);
    const start = () => {
      const call = this.#services.generator.generate(request, metadata, { deadline: attempts.deadline });
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      call.on('close', () => signal?.removeEventListener('abort', cancel));
      return call;
    };
    signal?.throwIfAborted();
    return new AnswerStream(start, attempts, requestId);
  }

  /**
   * @param {string} question
   * @param {string | Iterable<string>} documents
   * @param {import('../types/index.d.ts').CallOptions &
   *   { budget?: number, includeTokenIds?: boolean, singleLook?: boolean }} [options]
   */
  async retrieve(question, documents, { budget = 0, includeTokenIds = false, singleLook = false, ...options } = {}) {
    const request = { names: documentNames(documents), question, budget, includeTokenIds, singleLook };
    return retrievalFrom(await this.#call('retriever', 'retrieve', request, options));
  }

  /**
   * @param {string} name
   * @param {string} question
   * @param {import('../types/index.d.ts').CallOptions & { partCount?: number }} [options]
   */
  async scoreDocument(name, question, { partCount = 0, ...options } = {}) {
    const request = { name: documentName(name), question, partCount };
    return (await this.#call('retriever', 'scoreDocument', request, options)).parts;
  }

  /**
   * @param {string} name
   * @param {import('../types/index.d.ts').CallOptions & { byteBegin?: number, byteCount?: number }} [options]
   */
  async readText(name, { byteBegin = 0, byteCount = 0, ...options } = {}) {
    const request = { name: documentName(name), byteBegin, byteCount };
    return this.#call('retriever', 'readText', request, options);
  }

  // Calls.

  /** @param {string | undefined} wanted */
  #headers(wanted) {
    const requestId = wanted ?? randomUUID().replaceAll('-', '');
    const metadata = new grpc.Metadata();
    for (const [key, value] of Object.entries(this.#metadata)) metadata.set(key, value);
    metadata.set('x-request-id', requestId);
    const token = typeof this.#token === 'function' ? this.#token() : this.#token;
    if (token) metadata.set('authorization', `Bearer ${token}`);
    return { metadata, requestId };
  }

  /** @param {import('../types/index.d.ts').CallOptions} options */
  #attempts({ timeoutMs = this.#timeoutMs, signal } = {}, policy = this.#retry) {
    return new Attempts(policy, timeoutMs, signal);
  }

  /**
   * @param {'encoder' | 'retriever'} service
   * @param {string} method
   * @param {object} request
   * @param {import('../types/index.d.ts').CallOptions} [options]
   */
  #call(service, method, request, options = {}) {
    return this.#try(service, method, request, this.#attempts(options), options.requestId);
  }

  /**
   * @param {'encoder' | 'retriever'} service
   * @param {string} method
   * @param {object} request
   * @param {Attempts} attempts
   * @param {string | undefined} requestId
   */
  async #try(service, method, request, attempts, requestId) {
    for (;;) {
      try {
        return await this.#once(service, method, request, attempts.deadline, attempts.signal, requestId);
      } catch (error) {
        await attempts.waitAfter(error);
      }
    }
  }

  /**
   * @param {'encoder' | 'retriever'} service
   * @param {string} method
   * @param {object} request
   * @param {number | undefined} deadline
   * @param {AbortSignal | undefined} signal
   * @param {string | undefined} wanted
   */
  async #once(service, method, request, deadline, signal, wanted) {
    const { metadata, requestId } = this.#headers(wanted);
    let call;
    const answer = new Promise((resolve, reject) => {
      const done = (error, response) => (error ? reject(fromServiceError(error, requestId)) : resolve(response));
      call = this.#services[service][method](request, metadata, { deadline }, done);
    });
    return this.#until(signal, call, () => answer);
  }

  /**
   * Runs `work` on a call; the signal cancels both.
   * @template T
   * @param {AbortSignal | undefined} signal
   * @param {{ cancel(): void }} call
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #until(signal, call, work) {
    const cancel = () => call.cancel();
    if (signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await work();
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }
}

/** @param {import('../types/index.d.ts').Tls | undefined} tls */
function credentialsOf(tls) {
  if (!tls) return grpc.credentials.createInsecure();
  const read = (path) => (path === undefined ? null : readFileSync(path));
  return grpc.credentials.createSsl(read(tls.ca), read(tls.key), read(tls.certificate));
}
