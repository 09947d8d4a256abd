#!/usr/bin/env node
// Reads a text file into an ILRe server, asks a question, and prints the answer as it comes.
//
// Usage: ask-document.js FILE QUESTION [--server 127.0.0.1:50051] [--name handbook] [--max-tokens 128]
import { basename } from 'node:path';
import { parseArgs } from 'node:util';

import { Client, IlreError } from 'ilre';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: 'string', default: '127.0.0.1:50051' },
    name: { type: 'string' },
    'max-tokens': { type: 'string', default: '128' },
  },
});
const [file, question] = positionals;
if (question === undefined) {
  console.error('usage: ask-document.js FILE QUESTION [--server ADDRESS] [--name NAME] [--max-tokens N]');
  process.exit(2);
}
const stem = basename(file).replace(/\.[^.]*$/, '').toLowerCase().replace(/[^a-z0-9]+/g, '-');
const name = values.name ?? (stem.replace(/^-+|-+$/g, '').slice(0, 63).replace(/-+$/, '') || 'document');

const client = new Client(values.server);
try {
  const onProgress = ({ committedBytes, totalBytes }) =>
    process.stderr.write(`\r${committedBytes.toLocaleString()} of ${totalBytes.toLocaleString()} bytes`);
  const document = await client.ingest(name, file, { onProgress });
  console.error(`\r${document.name}: ${document.tokenCount.toLocaleString()} tokens`);
  for await (const event of client.ask(question, name, { maxTokens: Number(values['max-tokens']) })) {
    if (event.type === 'recall') {
      for (const { inPrompt, score, text } of event.spans) {
        console.error(`${inPrompt ? '*' : ' '} [${score.toFixed(2)}] ${text.replace(/\s+/g, ' ')}`);
      }
    } else if (event.type === 'text') {
      process.stdout.write(event.text);
    } else {
      console.error(`\n${event.answerTokens} tokens in ${event.timings.totalMs.toFixed(0)} ms`);
    }
  }
} catch (error) {
  if (!(error instanceof IlreError)) throw error;
  console.error(`\n${error}`);
  process.exitCode = 1;
} finally {
  client.close();
}
