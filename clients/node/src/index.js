// Ask questions of very long documents that an ILRe server has read once.
export { AnswerStream } from './answer.js';
export { Client } from './client.js';
export { IlreError } from './errors.js';
