// A server that fails as it is told: what a client does about a lost connection or an overload has to be tried at an
// exact moment, which no real server offers. It keeps the offset contract of IngestDocument and answers questions with
// constants; the real services are tested in tests/services of the project.
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const definition = protoLoader.loadSync(
  ['ilre/v1/encoder.proto', 'ilre/v1/retriever.proto', 'ilre/v1/generator.proto', 'google/rpc/error_details.proto',
    'google/rpc/status.proto'],
  { includeDirs: [fileURLToPath(new URL('../../../protos/', import.meta.url))], longs: Number, enums: String,
    defaults: true, oneofs: true },
);
const { Encoder, Retriever, Generator } = grpc.loadPackageDefinition(definition).ilre.v1;
const COMMIT_BYTES = 1000;

/** An error as the real servers send them: { reason, delay in ms, field, metadata }. */
export function refusal(code, { reason, delay, field, metadata = {} }) {
  const pack = (name, message) => ({
    type_url: `type.googleapis.com/${name}`,
    value: definition[name].serialize(message),
  });
  const details = [pack('google.rpc.ErrorInfo', { reason, domain: 'ilre.io', metadata })];
  if (delay !== undefined) {
    const retryDelay = { seconds: Math.floor(delay / 1000), nanos: (delay % 1000) * 1e6 };
    details.push(pack('google.rpc.RetryInfo', { retryDelay }));
  }
  if (field) details.push(pack('google.rpc.BadRequest', { fieldViolations: [{ field, description: 'wrong' }] }));
  const message = `told to say ${reason}`;
  const trailers = new grpc.Metadata();
  const status = definition['google.rpc.Status'].serialize({ code: grpc.status[code], message, details });
  trailers.set('grpc-status-details-bin', status);
  return { code: grpc.status[code], details: message, metadata: trailers };
}

/** What an answer says where words were counted. */
function counted(question) {
  return question.includes('common words') ? { wordCounts: { words: [{ word: 'kite', count: 3 }], total: 5 } } : {};
}

export class ScriptedServer {
  documents = new Map(); // name -> { text, ready, number }
  faults = []; // { method, error, afterBytes, afterEvents }
  calls = []; // { method, headers }
  received = []; // { offset, data }
  sentAgain = []; // of what was committed
  endless = false;
  answersCancelled = 0;
  #created = 0;
  #server = new grpc.Server();

  async start() {
    this.#server.addService(Encoder.service, {
      getIngestStatus: this.#unary('getIngestStatus', ({ name }) => this.#progress(name)),
      getDocument: this.#unary('getDocument', ({ name }) => this.#row(name)),
      listDocuments: this.#unary('listDocuments', (request) => this.#list(request)),
      updateDocument: this.#unary('updateDocument', ({ document }) => ({
        ...this.#row(document.name), expireTime: document.expireTime,
      })),
      deleteDocument: this.#unary('deleteDocument', ({ name }) => {
        this.#row(name);
        this.documents.delete(name);
        return {};
      }),
      ingestDocument: (call) => this.#ingest(call),
    });
    this.#server.addService(Retriever.service, {
      retrieve: this.#unary('retrieve', ({ names, question, includeTokenIds }) => ({
        ...counted(question),
        spans: [{ document: names[0], byteEnd: 30, score: 0.5, text: 'A span.', tokenIds: includeTokenIds ? [1, 2] : [] }],
        documentCount: names.length,
        timings: { queryMs: 1.5 },
      })),
      scoreDocument: this.#unary('scoreDocument', ({ partCount }) => ({
        parts: Array.from({ length: partCount || 512 }, () => ({ byteEnd: 10, score: 0.25 })),
      })),
      readText: this.#unary('readText', ({ byteBegin }) => ({ text: 'text', byteBegin, documentBytes: 99 })),
    });
    this.#server.addService(Generator.service, { generate: (call) => this.#generate(call) });
    this.port = await new Promise((resolve, reject) =>
      this.#server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    this.address = `127.0.0.1:${this.port}`;
    return this;
  }

  close() {
    this.#server.forceShutdown();
  }

  #enter(method, call) {
    this.calls.push({ method, headers: call.metadata.getMap() });
    const index = this.faults.findIndex((fault) => fault.method === method);
    return index < 0 ? undefined : this.faults.splice(index, 1)[0];
  }

  #unary(method, answer) {
    return (call, callback) => {
      const fault = this.#enter(method, call);
      try {
        const response = fault && !fault.afterDeed ? undefined : answer(call.request);
        if (fault) callback(fault.error);
        else callback(null, response);
      } catch (error) {
        callback(error);
      }
    };
  }

  #row(name) {
    const stored = this.documents.get(name);
    if (!stored) throw refusal('NOT_FOUND', { reason: 'DOCUMENT_NOT_FOUND' });
    const state = stored.ready ? 'READY' : 'INGESTING';
    return { name, state, committedBytes: stored.text.length, createTime: { seconds: stored.number } };
  }

  #progress(name) {
    const document = this.#row(name);
    return { committedBytes: document.committedBytes, document };
  }

  #list({ pageToken, pageSize }) {
    const names = [...this.documents.keys()].sort();
    const begin = Number(pageToken);
    const end = begin + (pageSize || 100);
    const documents = names.slice(begin, end).map((name) => this.#row(name));
    return { documents, nextPageToken: end < names.length ? String(end) : '' };
  }

  #create(name, text) {
    this.#created += 1;
    const stored = { text, ready: false, number: this.#created };
    this.documents.set(name, stored);
    return stored;
  }

  #ingest(call) {
    const fault = this.#enter('ingestDocument', call);
    if (fault && !fault.afterBytes) {
      call.emit('error', fault.error);
      return;
    }
    let name, options, stored, comparing, expected;
    let pending = Buffer.alloc(0);
    let read = 0;
    const take = (message) => {
      const { writeOffset, data } = message;
      if (name === undefined) {
        ({ name, options } = message);
        stored = this.documents.get(name) ?? this.#create(name, Buffer.alloc(0));
        comparing = writeOffset < stored.text.length;
      }
      this.received.push({ offset: writeOffset, data });
      if (data.length && writeOffset < stored.text.length) this.sentAgain.push(writeOffset);
      read += data.length;
      if (expected !== undefined && writeOffset !== expected) throw new Error('a gap within a call');
      expected = writeOffset + data.length;
      let known = comparing ? stored.text.subarray(writeOffset, expected) : Buffer.alloc(0);
      if (!known.equals(data.subarray(0, known.length))) {
        if (!options?.replace) throw refusal('ALREADY_EXISTS', { reason: 'CONTENT_DIFFERS' });
        stored = this.#create(name, stored.text.subarray(0, writeOffset));
        comparing = false;
        known = Buffer.alloc(0);
      }
      const more = data.subarray(known.length);
      if (more.length && stored.ready && !options?.append) {
        throw refusal('ALREADY_EXISTS', { reason: 'DOCUMENT_EXISTS' });
      }
      if (more.length) stored.ready = false;
      pending = Buffer.concat([pending, more]);
      if (pending.length >= COMMIT_BYTES || (pending.length && (message.flush || message.finishWrite))) {
        stored.text = Buffer.concat([stored.text, pending]);
        pending = Buffer.alloc(0);
        call.write({ committedBytes: stored.text.length });
      }
      if (fault && read >= fault.afterBytes) throw fault.error;
      if (!message.finishWrite) return;
      if (expected < stored.text.length) throw refusal('ALREADY_EXISTS', { reason: 'CONTENT_DIFFERS' });
      stored.ready = true;
      call.write(this.#progress(name));
    };
    let over = false;
    call.on('data', (message) => {
      if (over) return;
      try {
        take(message);
      } catch (error) {
        over = true;
        call.emit('error', error);
      }
    });
    call.on('end', () => over || call.end());
  }

  #generate(call) {
    const fault = this.#enter('generate', call);
    const { names: [name = ''], question } = call.request;
    const texts = ['The ', 'answer.'].map((text) => ({ text }));
    const recall = { spans: [{ document: name, text: 'A span.', inPrompt: true }], promptTokens: 30, ...counted(question) };
    const finish = { reason: 'MAX_TOKENS', answerTokens: 2, timings: { totalMs: 12 } };
    const events = [{ recall }, ...texts, { finish }];
    for (const event of events.slice(0, fault ? (fault.afterEvents ?? 0) : this.endless ? 2 : events.length)) {
      call.write(event);
    }
    if (fault) call.emit('error', fault.error);
    else if (this.endless) {
      const timer = setInterval(() => call.write({ text: 'more ' }), 5);
      call.on('cancelled', () => {
        clearInterval(timer);
        this.answersCancelled += 1;
      });
    } else call.end();
  }
}
