// What a server's refusals become: one error class, whose `code` is the canonical code's name.
import grpc from '@grpc/grpc-js';

import { decode } from './protos.js';

/** A call that failed. The fields are described in types/index.d.ts. */
export class IlreError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {Partial<IlreError>} [details]
   */
  constructor(code, message, details = {}) {
    super(message);
    this.name = 'IlreError';
    this.code = code;
    this.reason = '';
    /** @type {Record<string, string>} */
    this.metadata = {};
    /** @type {{ field: string, description: string }[]} */
    this.fieldViolations = [];
    this.resource = '';
    /** @type {number | undefined} */
    this.retryDelayMs = undefined;
    this.requestId = '';
    Object.assign(this, details);
  }

  toString() {
    const notes = [this.reason, this.requestId && `request ${this.requestId}`].filter(Boolean).join(', ');
    return `${this.code}: ${this.message}${notes && ` (${notes})`}`;
  }
}

/**
 * The error for what grpc reported; anything else is given back as it is.
 * @param {any} error
 * @param {string} requestId that was sent
 * @returns {Error}
 */
export function fromServiceError(error, requestId) {
  if (typeof error?.code !== 'number' || !(error.metadata instanceof grpc.Metadata)) return error;
  const details = { requestId };
  try {
    const [status] = error.metadata.get('grpc-status-details-bin');
    if (status) for (const detail of decode('google.rpc.Status', status).details) readDetail(detail, details);
  } catch {
    // What a stranger in between made of it is no reason to hide the error itself.
  }
  return new IlreError(grpc.status[error.code] ?? 'UNKNOWN', error.details || error.message, details);
}

/**
 * @param {any} detail a google.protobuf.Any
 * @param {any} found
 */
function readDetail(detail, found) {
  const type = (detail.typeUrl ?? detail.type_url).split('/').pop();
  const known = ['ErrorInfo', 'BadRequest', 'RetryInfo', 'ResourceInfo'].some((name) => type === `google.rpc.${name}`);
  if (!known) return;
  const message = decode(type, detail.value);
  if (type === 'google.rpc.ErrorInfo') {
    found.reason = message.reason;
    found.metadata = { ...message.metadata };
  } else if (type === 'google.rpc.BadRequest') {
    found.fieldViolations = message.fieldViolations.map(({ field, description }) => ({ field, description }));
  } else if (type === 'google.rpc.RetryInfo') {
    found.retryDelayMs = Number(message.retryDelay?.seconds ?? 0) * 1000 + (message.retryDelay?.nanos ?? 0) / 1e6;
  } else {
    found.resource = message.resourceName;
  }
}
