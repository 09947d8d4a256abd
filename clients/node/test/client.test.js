// What the client does about answers, refusals and broken calls, against a server that fails as it is told.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';

import { Client, IlreError } from 'ilre';

import { refusal, ScriptedServer } from './scripted-server.js';

const NAME = 'collections/default/documents/d';
const TEXT = Buffer.from(randomBytes(50_000).toString('hex')); // 100,000 bytes
const QUICK = { firstDelayMs: 10, maxDelayMs: 50 };
const NO_RETRIES = { maxAttempts: 1 };
const unavailable = () => refusal('UNAVAILABLE', { reason: 'DRAINING' });
const pieces = (size) =>
  Array.from({ length: Math.ceil(TEXT.length / size) }, (_, i) => TEXT.subarray(i * size, (i + 1) * size));

let server;
let clients;
const client = (options = {}) => {
  clients.push(new Client(server.address, { retry: QUICK, ...options }));
  return clients.at(-1);
};
const stored = (name = NAME) => server.documents.get(name);

beforeEach(async () => {
  clients = [];
  server = await new ScriptedServer().start();
});
afterEach(() => {
  for (const each of clients) each.close();
  server.close();
});

test('ingest of every kind of source', async () => {
  const folder = await mkdtemp(`${tmpdir()}/ilre-node-`);
  await writeFile(`${folder}/d.txt`, TEXT);
  const sources = {
    path: `${folder}/d.txt`,
    url: new URL(`file://${folder}/d.txt`),
    bytes: new Uint8Array(TEXT),
    array: pieces(777),
    stream: Readable.from(pieces(777)),
    generator: (async function* () {
      yield* pieces(777);
    })(),
  };
  for (const [kind, source] of Object.entries(sources)) {
    const document = await client().ingest('d', source, { chunkBytes: 10_000 });
    assert.equal(document.state, 'READY', kind);
    assert.ok(stored().text.equals(TEXT), kind);
    server.documents.clear();
  }
  await rm(folder, { recursive: true });
  await assert.rejects(client().ingest('d', 7), TypeError);
  await assert.rejects(client().ingest('d', ['text']), TypeError);
  await assert.rejects(client().ingest('d', '/nowhere/at/all'), { code: 'ENOENT' });
});

test('chunks are at most 1 MiB', async () => {
  await client().ingest('d', Buffer.alloc(3 * 1024 * 1024 + 5, 'x'));
  assert.equal(Math.max(...server.received.map(({ data }) => data.length)), 1 << 20);
  await assert.rejects(client().ingest('e', TEXT, { chunkBytes: (1 << 20) + 1 }), RangeError);
});

for (const [kind, source] of Object.entries({ bytes: () => TEXT, stream: () => Readable.from(pieces(999)) })) {
  test(`an ingest of ${kind} goes on after interruptions and sends nothing committed again`, async () => {
    server.faults = [
      { method: 'getIngestStatus', error: unavailable() },
      { method: 'ingestDocument', error: unavailable(), afterBytes: 20_000 },
      { method: 'ingestDocument', error: refusal('ABORTED', { reason: 'INGEST_TAKEN_OVER' }), afterBytes: 30_000 },
      { method: 'ingestDocument', error: refusal('RESOURCE_EXHAUSTED', { reason: 'OVERLOADED', delay: 20 }) },
      { method: 'ingestDocument', error: unavailable(), afterBytes: 10_000 },
    ];
    const steps = [];
    const document = await client().ingest('d', source(), { chunkBytes: 1000, onProgress: (step) => steps.push(step) });
    assert.deepEqual(server.faults, []);
    assert.equal(document.committedBytes, TEXT.length);
    assert.ok(stored().text.equals(TEXT));
    assert.deepEqual(server.sentAgain, []);
    assert.equal(steps.at(-1).totalBytes, kind === 'bytes' ? TEXT.length : undefined);
    assert.equal(steps.at(-1).document.state, 'READY');
  });
}

test('a later ingest goes on, compares if told to, and refuses a shorter source', async () => {
  const fail = () => (server.faults = [{ method: 'ingestDocument', error: unavailable(), afterBytes: 40_000 }]);
  fail();
  await assert.rejects(client({ retry: NO_RETRIES }).ingest('d', TEXT, { chunkBytes: 1000 }), { code: 'UNAVAILABLE' });
  const shorter = { code: 'ALREADY_EXISTS', reason: 'CONTENT_DIFFERS' };
  await assert.rejects(client().ingest('d', TEXT.subarray(0, 30_000)), shorter);
  await assert.rejects(client().ingest('d', [TEXT.subarray(0, 30_000)]), shorter);
  const other = Buffer.concat([Buffer.from('!'), TEXT.subarray(1)]);
  await assert.rejects(client().ingest('d', other, { verify: true }), shorter);
  server.received.length = 0;
  await client().ingest('d', TEXT);
  assert.equal(server.received[0].offset, 40_000);
  assert.ok(stored().text.equals(TEXT));
});

test('a READY document is compared', async () => {
  await client().ingest('d', TEXT);
  server.received.length = 0;
  await client().ingest('d', TEXT);
  assert.equal(server.received[0].offset, 0);
  for (const other of [Buffer.concat([TEXT, TEXT]), TEXT.subarray(0, -1), Buffer.from('x')]) {
    await assert.rejects(client().ingest('d', other), { code: 'ALREADY_EXISTS' });
  }
  server.received.length = 0;
  await client().ingest('d', TEXT, { verify: false });
  assert.deepEqual(server.received, []);
});

test('replace and append with interruptions', async () => {
  const faults = () =>
    (server.faults = [500, 30_000].map((afterBytes) => ({ method: 'ingestDocument', error: unavailable(), afterBytes })));
  const old = Buffer.alloc(5_000, 'x');
  await client().ingest('d', old);
  faults();
  await client().ingest('d', TEXT, { append: true, chunkBytes: 1000 });
  assert.ok(stored().text.equals(Buffer.concat([old, TEXT])));
  faults();
  await client().ingest('d', TEXT, { replace: true, chunkBytes: 1000 });
  assert.ok(stored().text.equals(TEXT));
  stored().ready = false;
  await assert.rejects(client().ingest('d', TEXT, { append: true }), { reason: 'DOCUMENT_NOT_READY' });
  await assert.rejects(client().ingest('d', TEXT, { append: true, replace: true }), TypeError);
});

test('a failing source is reported and what came before is kept', async () => {
  const broken = async function* () {
    yield TEXT.subarray(0, 10_000);
    throw new Error('the disk is gone');
  };
  await assert.rejects(client().ingest('d', broken()), /the disk is gone/);
  assert.equal(stored().ready, false);
});

test('a signal stops an ingest', async () => {
  const controller = new AbortController();
  const endless = async function* () {
    yield TEXT;
    await new Promise(() => {});
  };
  const running = client().ingest('d', endless(), { signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(running, { name: 'AbortError' });
  assert.equal(stored().ready, false);
});

test('errors say all that came', async () => {
  const error = refusal('INVALID_ARGUMENT', { reason: 'INVALID_ARGUMENT', field: 'budget', metadata: { figure: '7' } });
  server.faults = [{ method: 'retrieve', error }];
  await assert.rejects(client().retrieve('Who?', 'd', { requestId: 'mine.1' }), (caught) => {
    assert.ok(caught instanceof IlreError);
    assert.equal(caught.code, 'INVALID_ARGUMENT');
    assert.deepEqual(caught.fieldViolations, [{ field: 'budget', description: 'wrong' }]);
    assert.deepEqual(caught.metadata, { figure: '7' });
    assert.equal(caught.requestId, 'mine.1');
    assert.equal(caught.retryDelayMs, undefined);
    assert.match(String(caught), /^INVALID_ARGUMENT: told to say/);
    return true;
  });
});

test('what is tried again and what is not', async () => {
  for (const [error, tries] of [
    [unavailable(), 2],
    [refusal('ABORTED', { reason: 'DOCUMENT_CHANGED' }), 2],
    [refusal('RESOURCE_EXHAUSTED', { reason: 'OVERLOADED', delay: 10 }), 2],
    [refusal('RESOURCE_EXHAUSTED', { reason: 'QUOTA_EXCEEDED' }), 1],
    [refusal('RESOURCE_EXHAUSTED', { reason: 'OVERLOADED', delay: 3_600_000 }), 1],
    [refusal('ABORTED', { reason: 'ETAG_MISMATCH' }), 1],
    [refusal('INTERNAL', { reason: 'INPUT_OUTPUT' }), 1],
    [refusal('DATA_LOSS', { reason: 'DAMAGED' }), 1],
  ]) {
    server.calls.length = 0;
    server.faults = [{ method: 'retrieve', error }];
    await client().retrieve('Who?', 'd').catch(() => {});
    assert.equal(server.calls.length, tries, error.details);
  }
  server.calls.length = 0;
  server.faults = Array.from({ length: 10 }, () => ({ method: 'retrieve', error: unavailable() }));
  await assert.rejects(client({ retry: { ...QUICK, maxAttempts: 3 } }).retrieve('Who?', 'd'), { code: 'UNAVAILABLE' });
  assert.equal(server.calls.length, 3);
});

test("the server's delay is kept", async () => {
  server.faults = [{ method: 'retrieve', error: refusal('RESOURCE_EXHAUSTED', { reason: 'OVERLOADED', delay: 400 }) }];
  const start = performance.now();
  await client().retrieve('Who?', 'd');
  assert.ok(performance.now() - start >= 399); // never earlier; how much later is the machine's affair
});

test('a lost answer to delete is no error', async () => {
  await client().ingest('d', TEXT);
  server.faults = [{ method: 'deleteDocument', error: unavailable(), afterDeed: true }];
  await client().deleteDocument('d');
  await assert.rejects(client().deleteDocument('d'), { code: 'NOT_FOUND', reason: 'DOCUMENT_NOT_FOUND' });
});

test('token, request id and metadata go along', async () => {
  const tokens = ['one', 'two'];
  const user = client({ token: () => tokens.shift(), metadata: { traceparent: '00-abc' } });
  await user.retrieve('Who?', 'd', { requestId: 'r-1' });
  await user.ask('Who?', 'd').result();
  const [first, second] = server.calls.map(({ headers }) => headers);
  assert.deepEqual([first.authorization, second.authorization], ['Bearer one', 'Bearer two']);
  assert.deepEqual([first['x-request-id'], first.traceparent], ['r-1', '00-abc']);
  assert.match(second['x-request-id'], /^[0-9a-f]{32}$/);
});

test('documents', async () => {
  for (const name of ['a', 'b', 'c/x']) await client().ingest(name, TEXT);
  const names = [];
  for await (const document of client().listDocuments('-', { pageSize: 2 })) names.push(document.name.split('/')[3]);
  assert.deepEqual(names, ['x', 'a', 'b']);
  assert.equal((await client().getDocument('c/x')).committedBytes, TEXT.length);
  assert.equal((await client().getIngestStatus('a')).committedBytes, TEXT.length);
  const when = new Date('2040-01-02T03:04:05.678Z');
  assert.deepEqual((await client().setExpiry('a', when)).expireTime, when);
  assert.equal((await client().setExpiry('a', undefined)).expireTime, undefined);
});

test('questions', async () => {
  const recalled = await client().retrieve('Who?', ['d', 'c/-'], { includeTokenIds: true });
  assert.deepEqual([recalled.spans[0].document, recalled.documentCount], [NAME, 2]);
  assert.deepEqual(recalled.spans[0].tokenIds, [1, 2]);
  assert.equal(recalled.timings.queryMs, 1.5);
  assert.equal(recalled.wordCounts, undefined);
  assert.equal((await client().scoreDocument('d', 'Who?', { partCount: 3 })).length, 3);
  assert.deepEqual(await client().readText('d', { byteBegin: 5 }), { text: 'text', byteBegin: 5, documentBytes: 99 });
});

test('questions that count words say so', async () => {
  const wordCounts = { words: [{ word: 'kite', count: 3 }], total: 5 };
  const question = 'What are the common words?';
  assert.deepEqual((await client().retrieve(question, 'd')).wordCounts, wordCounts);
  assert.deepEqual((await client().ask(question, 'd').result()).wordCounts, wordCounts);
  assert.equal((await client().ask('Who?', 'd').result()).wordCounts, undefined);
});

test('answers are streamed', async () => {
  const types = [];
  for await (const event of client().ask('Who?', 'd')) types.push(event.type);
  assert.deepEqual(types, ['recall', 'text', 'text', 'finish']);
  const answer = await client().ask('Who?').result();
  assert.deepEqual([answer.text, answer.promptTokens, answer.timings.totalMs], ['The answer.', 30, 12]);
  assert.equal(answer.finishReason, 'MAX_TOKENS');
});

test('an answer is tried again only before its first event', async () => {
  server.faults = [{ method: 'generate', error: unavailable() }];
  assert.equal((await client().ask('Who?', 'd').result()).text, 'The answer.');
  server.faults = [{ method: 'generate', error: unavailable(), afterEvents: 2 }];
  await assert.rejects(client().ask('Who?', 'd').result(), { code: 'UNAVAILABLE' });
  server.faults = [{ method: 'generate', error: unavailable(), afterEvents: 2 }];
  const stream = client({ retry: NO_RETRIES }).ask('Who?', 'd');
  await new Promise((resolve) => setTimeout(resolve, 200)); // over before anybody reads it
  await assert.rejects(stream.result(), { code: 'UNAVAILABLE' });
});

test('leaving an answer stops the server, by a break, a signal or cancel()', async () => {
  server.endless = true;
  const stopped = async (count) => {
    while (server.answersCancelled < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  for await (const event of client().ask('Who?', 'd')) if (event.text === 'more ') break;
  await stopped(1);
  const controller = new AbortController();
  const signalled = client().ask('Who?', 'd', { signal: controller.signal });
  await assert.rejects(async () => {
    for await (const event of signalled) if (event.text === 'more ') controller.abort();
  });
  await stopped(2);
  const cancelled = client().ask('Who?', 'd');
  await cancelled[Symbol.asyncIterator]().next();
  cancelled.cancel();
  await stopped(3);
});

test('timeouts', async () => {
  server.endless = true;
  await assert.rejects(client().ask('Who?', 'd', { timeoutMs: 300 }).result(), { code: 'DEADLINE_EXCEEDED' });
  server.close();
  await assert.rejects(client({ retry: NO_RETRIES }).getDocument('d', { timeoutMs: 5000 }), { code: 'UNAVAILABLE' });
});

