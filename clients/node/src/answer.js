// The events of an answer as they come.
import { fromServiceError } from './errors.js';
import { answerFrom, eventFrom } from './types.js';

/** To be iterated once; result() after that, or instead. Leaving the iteration early stops the server's work. */
export class AnswerStream {
  #start;
  #attempts;
  #call;
  /** @type {any[]} */
  #events = [];
  #iterator;
  /** @type {unknown} */
  #failure;

  /**
   * @param {() => import('@grpc/grpc-js').ClientReadableStream<any>} start
   * @param {import('./retry.js').Attempts} attempts
   * @param {string} requestId
   */
  constructor(start, attempts, requestId) {
    this.#start = start;
    this.#attempts = attempts;
    this.requestId = requestId;
    this.#call = this.#begin();
    this.#iterator = this.#run();
  }

  #begin() {
    const call = this.#start();
    this.#failure = undefined;
    call.on('error', (error) => (this.#failure = error)); // an iteration that begins after the event does not see it
    return call;
  }

  async *#run() {
    for (;;) {
      const call = this.#call;
      try {
        for await (const message of call) {
          const event = eventFrom(message);
          if (event === undefined) continue;
          this.#events.push(event);
          yield event;
        }
        if (this.#failure) throw this.#failure;
        return;
      } catch (raw) {
        const error = fromServiceError(raw, this.requestId);
        if (this.#events.length > 0) throw error; // a part of it was seen: starting anew would tell it twice
        await this.#attempts.waitAfter(error);
        this.#call = this.#begin();
      } finally {
        call.cancel();
      }
    }
  }

  [Symbol.asyncIterator]() {
    return this.#iterator;
  }

  /** Only the pieces of text. */
  async *texts() {
    for await (const event of this) if (event.type === 'text') yield event.text;
  }

  /** The whole answer; reads what is left of it. */
  async result() {
    for (let step = await this.#iterator.next(); !step.done; step = await this.#iterator.next());
    return answerFrom(this.#events);
  }

  /** Stops the server's work. */
  cancel() {
    this.#call.cancel();
  }
}
