// Messages as plain values: times are Dates, absent fields undefined. Described in types/index.d.ts.

/** @param {any} timestamp a google.protobuf.Timestamp */
function dateOf(timestamp) {
  return timestamp ? new Date(Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6) : undefined;
}

/** @param {Date | undefined} date */
export function timestampOf(date) {
  if (date === undefined) return undefined;
  const milliseconds = date.getTime();
  if (Number.isNaN(milliseconds)) throw new RangeError('not a date');
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanos: Math.round((milliseconds - seconds * 1000) * 1e6) };
}

/** @param {any} message */
export function documentFrom(message) {
  return {
    ...message,
    state: message.state === 'STATE_UNSPECIFIED' || typeof message.state === 'number' ? 'UNSPECIFIED' : message.state,
    createTime: dateOf(message.createTime),
    updateTime: dateOf(message.updateTime),
    expireTime: dateOf(message.expireTime),
  };
}

/**
 * @param {any} message
 * @param {number} [totalBytes]
 */
export function progressFrom(message, totalBytes) {
  return { ...message, totalBytes, document: message.document ? documentFrom(message.document) : undefined };
}

/** @param {any} message a RetrieveResponse or RetrieveSummary */
export function retrievalFrom(message) {
  return { ...message, wordCounts: message.wordCounts ?? undefined };
}

/** @param {any} message a GenerateResponse; undefined for an event that this client is too old to know */
export function eventFrom(message) {
  if (message.event === 'recall') return { type: 'recall', ...retrievalFrom(message.recall) };
  if (message.event === 'text') return { type: 'text', text: message.text };
  if (message.event !== 'finish') return undefined;
  const { reason } = message.finish;
  const known = reason !== 'REASON_UNSPECIFIED' && typeof reason !== 'number';
  return { type: 'finish', ...message.finish, reason: known ? reason : 'UNSPECIFIED' };
}

/** @param {any[]} events all of one answer */
export function answerFrom(events) {
  const recall = events.find((event) => event.type === 'recall');
  const finish = events.find((event) => event.type === 'finish');
  return {
    text: events.map((event) => (event.type === 'text' ? event.text : '')).join(''),
    spans: recall?.spans ?? [],
    documentTokens: recall?.documentTokens ?? 0,
    recalledTokens: recall?.recalledTokens ?? 0,
    promptTokens: recall?.promptTokens ?? 0,
    answerTokens: finish?.answerTokens ?? 0,
    finishReason: finish?.reason ?? 'UNSPECIFIED',
    timings: finish?.timings,
    lookCount: recall?.lookCount ?? 0,
    wordCounts: recall?.wordCounts,
  };
}
