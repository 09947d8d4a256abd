/** Ask questions of very long documents that an ILRe server has read once. Byte and token offsets count from 0; ends
 * are exclusive. */

export type DocumentState = 'UNSPECIFIED' | 'INGESTING' | 'READY' | 'FAILED';
export type FinishReason = 'UNSPECIFIED' | 'END_TOKEN' | 'STOP_STRING' | 'MAX_TOKENS' | 'CONTEXT_FULL';

/** A text that is read once and then asked any number of questions. */
export interface Document {
  /** `collections/{collection}/documents/{document}` */
  name: string;
  /** UNSPECIFIED also stands for a state that this client is too old to know. */
  state: DocumentState;
  /** Bytes that survive a crash; the size of a READY document. */
  committedBytes: number;
  tokenCount: number;
  createTime?: Date;
  updateTime?: Date;
  /** When it is deleted by itself; undefined: never. */
  expireTime?: Date;
  etag: string;
  /** Of a FAILED document: why. */
  failure: string;
  modelFingerprint: string;
  tokenizerFingerprint: string;
  profileFingerprint: string;
}

/** Consecutive tokens of one document that were recalled for a question. */
export interface Span {
  document: string;
  tokenBegin: number;
  tokenEnd: number;
  byteBegin: number;
  byteEnd: number;
  score: number;
  /** False: recalled, but scored too low to stand in the prompt. */
  inPrompt: boolean;
  text: string;
  tokenIds: number[];
}

/** Milliseconds; 0 where a stage did not run. */
export interface Timings {
  queueMs: number;
  queryMs: number;
  scoreMs: number;
  rerankMs: number;
  prefillMs: number;
  firstTokenMs: number;
  totalMs: number;
  secondLookMs: number;
}

export interface IngestProgress {
  committedBytes: number;
  tokenCount: number;
  /** By the running call; 0 where the content was stored already. */
  computedTokens: number;
  /** Of the source, where it is known. */
  totalBytes?: number;
  document?: Document;
}

/** The most frequent words of all documents, most frequent first: they were counted, nothing was searched for. */
export interface WordCounts {
  /** How often a word, or another with the same first six characters, stands in all documents together. */
  words: { word: string; count: number }[];
  /** Of all words that count. */
  total: number;
}

export interface Retrieval {
  spans: Span[];
  documentTokens: number;
  documentCount: number;
  recalledTokens: number;
  timings: Timings;
  /** How often the documents were searched. */
  lookCount: number;
  /** Where words were counted. */
  wordCounts?: WordCounts;
}

export type AnswerEvent =
  | {
      type: 'recall';
      spans: Span[];
      documentTokens: number;
      recalledTokens: number;
      promptTokens: number;
      lookCount: number;
      wordCounts?: WordCounts;
    }
  | { type: 'text'; text: string }
  | { type: 'finish'; reason: FinishReason; answerTokens: number; timings: Timings };

export interface Answer {
  text: string;
  spans: Span[];
  documentTokens: number;
  recalledTokens: number;
  promptTokens: number;
  answerTokens: number;
  finishReason: FinishReason;
  timings: Timings;
  lookCount: number;
  /** Where words were counted. */
  wordCounts?: WordCounts;
}

/** A part of a document and how strongly it answers a question. */
export interface ScoredPart {
  byteBegin: number;
  byteEnd: number;
  score: number;
}

export interface TextPiece {
  text: string;
  byteBegin: number;
  documentBytes: number;
}

/** A path, bytes, or pieces of bytes (a Readable of node:stream is one). */
export type Readable = string | URL | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Paths of PEM files. With `certificate` and `key` the client shows who it is (mutual TLS). */
export interface Tls {
  /** Default: the authorities that Node trusts. */
  ca?: string;
  certificate?: string;
  key?: string;
  /** In the server's certificate, where it is not the address's. */
  serverName?: string;
}

/** How often and how patiently a call is tried. An ingest starts to count anew whenever something was committed. */
export interface RetryPolicy {
  /** 8 */
  maxAttempts?: number;
  /** 100; doubles with each try, give or take a fifth */
  firstDelayMs?: number;
  /** 5000 */
  maxDelayMs?: number;
  /** 120,000: a server that asks for more patience than this is not waited for */
  maxServerDelayMs?: number;
}

export interface ClientOptions {
  /** Addresses of the three services, where they are not all at the client's. */
  encoder?: string;
  retriever?: string;
  generator?: string;
  /** Of the tenant, without `Bearer`; a function is asked before each call. Give it only with `tls`. */
  token?: string | (() => string);
  tls?: Tls;
  retry?: RetryPolicy;
  /** That a call may take with all its tries; default 300,000. An ingest has no limit of its own. */
  timeoutMs?: number;
  /** Goes along with every call, for example a traceparent. */
  metadata?: Record<string, string>;
}

export interface CallOptions {
  timeoutMs?: number;
  /** 1-64 of [A-Za-z0-9._-]; default: a random one. */
  requestId?: string;
  /** Aborting it stops the server's work; what was thrown is the signal's reason or an IlreError CANCELLED. */
  signal?: AbortSignal;
}

export interface IngestOptions extends CallOptions {
  /** Another content is replaced. */
  replace?: boolean;
  /** The source is added to a READY document. */
  append?: boolean;
  expireTime?: Date;
  /** True also compares what an interrupted ingest left; false compares nothing (sizes only). Default: a READY document
   * is compared. */
  verify?: boolean;
  /** Called, and awaited, when something was committed. */
  onProgress?: (progress: IngestProgress) => unknown;
  /** At most 1 MiB, which is the default. */
  chunkBytes?: number;
}

export interface AskOptions extends CallOptions {
  /** Tokens to recall at the most; 0: as the profile says. */
  budget?: number;
  instruction?: string;
  answerPrefix?: string;
  /** 0: 128 */
  maxTokens?: number;
  stop?: string[];
  /** What the question leads to is not looked for. */
  singleLook?: boolean;
  sampling?: {
    temperature?: number;
    topP?: number;
    topK?: number;
    seed?: number;
    repetitionPenalty?: number;
  };
}

/** A call that failed. */
export class IlreError extends Error {
  constructor(code: string, message: string, details?: Partial<IlreError>);
  /** Canonical code, for example NOT_FOUND. */
  code: string;
  /** Stable, says exactly what, for example DOCUMENT_NOT_FOUND; empty if the server sent none. */
  reason: string;
  /** The figures that the message also says. */
  metadata: Record<string, string>;
  fieldViolations: { field: string; description: string }[];
  /** Name of the document that it is about; may be empty. */
  resource: string;
  /** After which the server wants to be asked again; undefined: not said. */
  retryDelayMs?: number;
  /** To be found in the server's log. */
  requestId: string;
}

/** To be iterated once; result() after that, or instead. Leaving the iteration early stops the server's work. */
export class AnswerStream implements AsyncIterable<AnswerEvent> {
  readonly requestId: string;
  [Symbol.asyncIterator](): AsyncGenerator<AnswerEvent, void, void>;
  /** Only the pieces of text. */
  texts(): AsyncGenerator<string, void, void>;
  /** The whole answer; reads what is left of it. */
  result(): Promise<Answer>;
  /** Stops the server's work. */
  cancel(): void;
}

/** The three services at `address` (default 127.0.0.1:50051), or each at its own. Methods throw IlreError. Names of
 * documents: `d` (in the collection `default`), `c/d`, or the whole resource name. */
export class Client {
  constructor(address?: string, options?: ClientOptions);
  close(): void;

  /** Reads a document; resolves when it is READY. Goes on where an earlier ingest of that name was interrupted, and by
   * itself after an interruption that is worth another try; what was committed is not sent again. */
  ingest(name: string, source: Readable, options?: IngestOptions): Promise<Document>;
  getIngestStatus(name: string, options?: CallOptions): Promise<IngestProgress>;
  /** An empty document; ingest() makes its own. */
  createDocument(name: string, options?: CallOptions & { expireTime?: Date }): Promise<Document>;
  getDocument(name: string, options?: CallOptions): Promise<Document>;
  /** All documents of a collection (`-`, the default: of all), by name; pages are fetched as they are needed. */
  listDocuments(
    collection?: string,
    options?: CallOptions & { pageSize?: number },
  ): AsyncGenerator<Document, void, void>;
  listPage(
    collection?: string,
    options?: CallOptions & { pageSize?: number; pageToken?: string },
  ): Promise<{ documents: Document[]; nextPageToken: string }>;
  /** When the document is deleted by itself; undefined: never. With an etag, only if it is still that. */
  setExpiry(name: string, expireTime: Date | undefined, options?: CallOptions & { etag?: string }): Promise<Document>;
  deleteDocument(name: string, options?: CallOptions & { etag?: string; allowMissing?: boolean }): Promise<void>;

  /** Answers from documents (`c/-`: all of collection c), streamed. A failure before the first event is tried again. */
  ask(question: string, documents?: string | Iterable<string>, options?: AskOptions): AnswerStream;
  retrieve(
    question: string,
    documents: string | Iterable<string>,
    options?: CallOptions & { budget?: number; includeTokenIds?: boolean; singleLook?: boolean },
  ): Promise<Retrieval>;
  scoreDocument(name: string, question: string, options?: CallOptions & { partCount?: number }): Promise<ScoredPart[]>;
  readText(name: string, options?: CallOptions & { byteBegin?: number; byteCount?: number }): Promise<TextPiece>;
}
