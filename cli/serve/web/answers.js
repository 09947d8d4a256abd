// Questions on the page, and their answers with where they came from.
'use strict';

(() => {
  const {make, visible} = Ilre;
  const {ServerError, call, postJson, pathOf, shortName, show} = Server;
  const $ = (id) => document.getElementById(id);
  const MAX_MAPS = 6; // documents that are drawn
  const AROUND_BYTES = 300; // of text shown before and after a passage

  let asking = null; // the answer that is being written

  $('question').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $('ask').requestSubmit();
  });
  $('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    const question = $('question').value.trim();
    if (!question || Documents.chosen.size === 0) return;
    document.querySelector('.options').open = false;
    if (asking) asking.stop();
    asking = new Answer(question, [...Documents.chosen]);
    asking.run();
    $('question').value = '';
  });
  $('stop-button').addEventListener('click', () => asking && asking.stop());

  // -> each event of a line of JSON
  async function* linesOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const {value, done} = await reader.read();
      rest += value || '';
      const lines = rest.split('\n');
      rest = lines.pop();
      for (const line of lines) if (line.trim()) yield JSON.parse(line);
      if (done) return;
    }
  }

  // Spans come with int64s as strings.
  function numbers(span) {
    for (const field of ['tokenBegin', 'tokenEnd', 'byteBegin', 'byteEnd', 'score'])
      span[field] = Number(span[field]) || 0;
    span.inPrompt = Boolean(span.inPrompt);
    return span;
  }

  class Answer {
    constructor(question, names) {
      Object.assign(this, {question, names, spans: [], maps: new Map()});
      this.abort = new AbortController();
      this.text = make('p', {class: 'answer-text writing', dir: 'auto', 'aria-live': 'polite', 'aria-busy': 'true'});
      this.figures = make('div');
      this.mapSection = make('section', {hidden: true});
      this.reader = make('div');
      this.passageSection = make('section', {hidden: true});
      this.timeSection = make('section', {hidden: true});
      this.foot = make('p', {class: 'muted small'});
    }

    async run() {
      show($('ask-error'), null);
      $('stop-button').hidden = false;
      $('result').replaceChildren(
        make('p', {class: 'asked-question', dir: 'auto'}, ...visible(this.question)),
        make('section', {class: 'answer', 'aria-label': 'Answer'}, make('h2', {class: 'eyebrow'}, 'Answer'), this.text),
        this.figures,
        this.mapSection,
        this.passageSection,
        this.timeSection,
        this.foot,
      );
      try {
        const request = {names: this.names, question: this.question};
        if ($('budget').value) request.budget = Number($('budget').value);
        if ($('max-tokens').value) request.maxTokens = Number($('max-tokens').value);
        const response = await call('POST', '/v1/documents:generate', request, this.abort.signal);
        for await (const event of linesOf(response)) this.take(event);
        if (!this.finished && !this.failed) throw new Error('The answer broke off.');
      } catch (error) {
        if (error.name === 'AbortError') this.foot.textContent = 'Stopped.';
        else show($('ask-error'), error);
        if (this.text.textContent === '') this.text.textContent = '\u2014';
      } finally {
        this.text.classList.remove('writing');
        this.text.setAttribute('aria-busy', 'false');
        if (asking === this) {
          asking = null;
          $('stop-button').hidden = true;
        }
      }
    }

    stop() {
      this.abort.abort();
    }

    take(event) {
      if (event.recall) this.recalled(event.recall);
      else if (event.text !== undefined) this.write(event.text);
      else if (event.finish) this.finish(event.finish);
      else if (event.error) {
        this.failed = true;
        show($('ask-error'), new ServerError(0, event.error));
      }
    }

    // What begins within a surrogate pair or a run of line feeds is drawn right only with what is there already.
    write(text) {
      this.answer = (this.answer || '') + text;
      this.text.replaceChildren(...visible(this.answer));
    }

    recalled(recall) {
      this.recall = recall;
      this.spans = (recall.spans || []).map(numbers);
      this.spans.forEach((span, i) => {
        span.id = `passage-${i + 1}`;
      });
      this.range = Ilre.scoreRange(this.spans.map((span) => span.score));
      this.drawFigures();
      this.drawPassages();
      this.loadMaps();
    }

    drawFigures(finish) {
      const read = this.spans
        .filter((span) => span.inPrompt)
        .reduce((sum, span) => sum + span.tokenEnd - span.tokenBegin, 0);
      const total = Number(this.recall.documentTokens) || 0,
        share = total > 0 ? read / total : 0;
      const of = this.names.length > 1 ? `of ${this.names.length} documents` : 'of the document';
      const figures = [
        {
          value: Ilre.percent(share),
          share,
          label: `${of} was read to answer: ${Ilre.count(read)} of ${Ilre.plural(total, 'token')}`,
        },
      ];
      const time = (ms, label) => {
        const [value, unit] = Ilre.duration(ms);
        figures.push({value, unit, label});
      };
      if (finish) {
        time(finish.timings?.firstTokenMs, 'to the first word');
        time(finish.timings?.totalMs, `in all, ${Ilre.plural(finish.answerTokens || 0, 'token')} written`);
      }
      this.figures.replaceChildren(Ilre.keyFigures(figures));
    }

    finish(finish) {
      this.finished = true;
      if (!this.answer) this.text.textContent = '\u2014';
      if (this.recall) this.drawFigures(finish);
      this.timeSection.replaceChildren(
        make('div', {class: 'section-head'}, make('h2', null, 'Where the time went')),
        Ilre.timesCard(finish.timings || {}),
      );
      this.timeSection.hidden = false;
      const reasons = {
        MAX_TOKENS: 'The answer was cut at its greatest length.',
        CONTEXT_FULL: 'The model\u2019s context is full.',
      };
      this.foot.textContent = reasons[finish.reason] || '';
    }

    // --- The heat maps

    async loadMaps() {
      const best = new Map();
      for (const span of this.spans)
        best.set(span.document, Math.max(best.get(span.document) ?? -Infinity, span.score));
      const names = [...this.names]
        .sort((a, b) => (best.get(b) ?? -Infinity) - (best.get(a) ?? -Infinity))
        .slice(0, MAX_MAPS);
      try {
        const scored = await Promise.all(
          names.map(async (name) => {
            const answer = await postJson(
              '/v1/documents:score',
              {name, question: this.question, partCount: names.length === 1 ? 2048 : 512},
              this.abort.signal,
            );
            return {
              name,
              parts: (answer.parts || []).map((part) => ({
                begin: Number(part.byteBegin) || 0,
                end: Number(part.byteEnd) || 0,
                score: Number(part.score) || 0,
              })),
            };
          }),
        );
        this.drawMaps(scored.filter(({parts}) => parts.length > 0));
      } catch (error) {
        if (error.name !== 'AbortError') show($('ask-error'), error);
      }
    }

    drawMaps(scored) {
      this.range = Ilre.scoreRange(scored.flatMap(({parts}) => parts.map((part) => part.score)));
      this.mapSection.replaceChildren(
        make(
          'div',
          {class: 'section-head'},
          make('h2', null, this.names.length > 1 ? 'Where it looked' : 'Where it is in the document'),
        ),
      );
      for (const {name, parts} of scored) {
        const length = parts[parts.length - 1].end;
        const marks = this.spans
          .filter((span) => span.document === name)
          .map((span) => ({
            id: span.id,
            begin: span.byteBegin,
            end: span.byteEnd,
            score: span.score,
            inPrompt: span.inPrompt,
            label: `${span.inPrompt ? 'In the prompt' : 'Recalled, not in the prompt'}, at ${Ilre.place(span.byteBegin / length)}, score ${span.score.toFixed(2)}`,
          }));
        const map = new Ilre.HeatMap({
          name: shortName(name),
          note: Ilre.plural(Documents.all.get(name)?.tokenCount, 'token'),
          length,
          parts,
          marks,
          range: this.range,
          compact: scored.length > 1,
          onMark: (id) => this.showPassage(id),
          onPlace: (position) => this.read(name, position, length),
        });
        this.maps.set(name, map);
        this.mapSection.append(map.element);
      }
      this.mapSection.append(this.reader, Ilre.legend());
      const hidden = this.names.length - scored.length;
      if (hidden > 0)
        this.mapSection.append(make('p', {class: 'muted small'}, `${Ilre.plural(hidden, 'more document')} not drawn.`));
      this.mapSection.hidden = false;
      this.drawPassages();
    }

    // --- The passages

    drawPassages() {
      const order = [...this.spans].sort((a, b) => b.inPrompt - a.inPrompt || b.score - a.score);
      const list = make(
        'ol',
        {class: 'passages'},
        order.map((span) => this.card(span)),
      );
      this.passageSection.replaceChildren(
        make('div', {class: 'section-head'}, make('h2', null, `${Ilre.plural(this.spans.length, 'passage')} recalled`)),
        list,
      );
      this.passageSection.hidden = this.spans.length === 0;
      for (const span of order.filter((s) => s.inPrompt).slice(0, 3)) this.loadContext(span);
    }

    card(span) {
      const map = this.maps.get(span.document);
      const length = map ? map.length : Number(Documents.all.get(span.document)?.committedBytes) || 0;
      const card = Ilre.passageCard(
        {...span, document: shortName(span.document)},
        {
          id: span.id,
          range: this.range,
          share: length > 0 ? span.byteBegin / length : 0,
          showDocument: this.names.length > 1,
          onPlace:
            map &&
            (() => {
              map.select(span.id);
              const around = Math.max(8192, map.length / 64);
              map.show(span.byteBegin - around, span.byteEnd + around);
              map.stage.focus({preventScroll: true});
              map.element.scrollIntoView({block: 'nearest'});
            }),
        },
      );
      if (span.before === undefined) {
        card.append(
          make(
            'button',
            {class: 'button passage-more', type: 'button', onclick: () => this.loadContext(span)},
            'Show around it',
          ),
        );
      }
      return card;
    }

    async showPassage(id) {
      const span = this.spans.find((s) => s.id === id);
      if (span) await this.loadContext(span);
      Ilre.showPassage(id);
    }

    async loadContext(span) {
      if (span.before !== undefined) return;
      try {
        Object.assign(span, await textAround(span.document, span.byteBegin, span.byteEnd, AROUND_BYTES));
      } catch (error) {
        return show($('ask-error'), error);
      }
      const card = document.getElementById(span.id);
      if (!card) return;
      const hadFocus = card.contains(document.activeElement),
        wasSelected = card.classList.contains('selected');
      const fresh = this.card(span);
      fresh.classList.toggle('selected', wasSelected);
      card.replaceWith(fresh);
      if (hadFocus) fresh.focus({preventScroll: true});
    }

    // Shows the text at any place of a document.
    async read(name, position, length) {
      const begin = Math.floor(position);
      try {
        const piece = await textAround(name, begin, begin, 600);
        this.reader.replaceChildren(
          make(
            'div',
            {class: 'card reader'},
            make(
              'div',
              {class: 'passage-head'},
              make('span', null, `${shortName(name)}, at ${Ilre.place(position / length)}`),
            ),
            make('p', {class: 'passage-text', dir: 'auto'}, ...visible(piece.before + piece.after)),
          ),
        );
      } catch (error) {
        show($('ask-error'), error);
      }
    }
  }

  // -> {before, text, after}: the bytes [begin, end) of a document and what stands around them. Bytes that are no whole
  // character become U+FFFD.
  async function textAround(name, begin, end, around) {
    const from = Math.max(0, begin - around);
    const answer = await postJson(`${pathOf(name)}:text`, {
      byteBegin: String(from),
      byteCount: Math.min(1 << 20, end + around - from + 4),
    });
    const start = Number(answer.byteBegin) || 0,
      size = Number(answer.documentBytes) || 0;
    const bytes = new TextEncoder().encode(answer.text || '');
    const decode = (a, b) => new TextDecoder().decode(bytes.subarray(Math.max(0, a - start), Math.max(0, b - start)));
    const before = decode(start, begin),
      after = decode(end, start + bytes.length);
    return {
      before: start > 0 ? `\u2026${before.replace(/^\S{0,40}\s/, '')}` : before,
      text: decode(begin, end),
      after: start + bytes.length < size ? `${after.replace(/\s\S{0,40}$/, '')}\u2026` : after,
    };
  }
})();
