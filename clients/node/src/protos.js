// The contract, read from the protos when the client starts: those that the package carries, or the project's.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const folder = [new URL('../protos/', import.meta.url), new URL('../../../protos/', import.meta.url)]
  .map((url) => fileURLToPath(url))
  .find((path) => existsSync(`${path}ilre/v1/encoder.proto`));
if (folder === undefined) throw new Error('ilre: the package has lost its protos');

const definition = protoLoader.loadSync(
  [
    'ilre/v1/encoder.proto',
    'ilre/v1/retriever.proto',
    'ilre/v1/generator.proto',
    'google/rpc/status.proto',
    'google/rpc/error_details.proto',
  ],
  { includeDirs: [folder], longs: Number, enums: String, defaults: true, arrays: true, oneofs: true },
);

/** The services' client classes. */
export const { Encoder, Retriever, Generator } = /** @type {any} */ (grpc.loadPackageDefinition(definition)).ilre.v1;

/**
 * Reads a message of google.rpc.
 * @param {string} name for example `google.rpc.Status`
 * @param {Uint8Array} bytes
 * @returns {any}
 */
export function decode(name, bytes) {
  return /** @type {any} */ (definition[name]).deserialize(Buffer.from(bytes));
}
