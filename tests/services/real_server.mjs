// The JavaScript client against a real server: real_server.mjs ADDRESS FILE. Prints what it found as JSON.
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';

import { Client } from '../../clients/node/src/index.js';

const [address, file] = process.argv.slice(2);
const question = 'Which harbour has the better lamp?';
const client = new Client(address);
const steps = [];
const document = await client.ingest('javascript', createReadStream(file), {
  chunkBytes: 3000,
  onProgress: (step) => steps.push(step.committedBytes),
});
assert.equal(document.state, 'READY');
assert.equal(steps.at(-1), document.committedBytes);
assert.equal((await client.ingest('javascript', file)).etag, document.etag, 'the same again is a no-op');
await assert.rejects(client.ingest('javascript', Buffer.from('other')), { code: 'ALREADY_EXISTS' });

const types = [];
let answer = '';
for await (const event of client.ask(question, 'javascript', { maxTokens: 12 })) {
  types.push(event.type);
  if (event.type === 'text') answer += event.text;
}
assert.equal(types[0], 'recall');
assert.equal(types.at(-1), 'finish');
const recalled = await client.retrieve(question, 'javascript');
assert.equal((await client.scoreDocument('javascript', question, { partCount: 7 })).length, 7);
assert.ok((await client.readText('javascript', { byteCount: 50 })).text.length > 10);
const later = new Date(Date.now() + 86_400_000);
assert.deepEqual((await client.setExpiry('javascript', later)).expireTime, later);
const names = [];
for await (const each of client.listDocuments('default', { pageSize: 1 })) names.push(each.name);
assert.ok(names.includes('collections/default/documents/javascript'));
await client.deleteDocument('javascript');
const error = await client.getDocument('javascript').catch(({ code, reason }) => ({ code, reason }));
client.close();
console.log(JSON.stringify({ answer, spans: recalled.spans.map(({ text }) => text), error }));
