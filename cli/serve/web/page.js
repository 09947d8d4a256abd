// The page of `ilre serve`: documents in, questions, answers with where they came from. Speaks to this server alone.
'use strict';

(() => {
  const {make, visible} = Ilre;
  const $ = (id) => document.getElementById(id);
  const COLLECTION = 'default';
  const PAGE_SIZE = 100;
  const POLL_MS = 400;
  const MAX_MAPS = 6;  // documents that are drawn
  const AROUND_BYTES = 300;  // of text shown before and after a passage
  const TOKEN = 'ilre-token';

  // --- The server

  class ServerError extends Error {
    constructor(status, body) {
      super((body && body.message) || `The server answered with status ${status}.`);
      this.status = status;
      const info = ((body && body.details) || []).find((detail) => String(detail['@type']).endsWith('google.rpc.ErrorInfo'));
      this.reason = info ? info.reason : '';
    }
  }

  function headers() {
    const token = sessionStorage.getItem(TOKEN);
    return token ? {Authorization: `Bearer ${token}`} : {};
  }

  async function call(method, path, body, signal) {
    let response;
    try {
      response = await fetch(path, {method, signal, cache: 'no-store', headers: {...headers(), ...(body ? {'Content-Type': 'application/json'} : {})},
        body: body ? JSON.stringify(body) : undefined});
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Error('The server cannot be reached.');
    }
    if (response.ok) return response;
    const error = new ServerError(response.status, await response.json().catch(() => null));
    if (error.status === 401) askForToken();
    throw error;
  }
  const getJson = async (path) => (await call('GET', path)).json();
  const postJson = async (path, body, signal) => (await call('POST', path, body, signal)).json();

  // 'collections/c/documents/d' -> the path of its methods, its short name
  const pathOf = (name) => `/v1/${name.split('/').map(encodeURIComponent).join('/')}`;
  function shortName(name) {
    const [, collection, , id] = name.split('/');
    return collection === COLLECTION ? id : `${collection}/${id}`;
  }

  function show(element, error) {
    element.hidden = !error;
    element.replaceChildren(...(error ? visible(error.message) : []));
  }

  function askForToken() {
    $('token-form').hidden = false;
    $('token').focus();
  }
  $('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, $('token').value.trim());
    $('token').value = '';
    $('token-form').hidden = true;
    refresh();
  });

  // --- Documents

  const documents = new Map();  // name -> ilre.v1.Document, in order of name
  const chosen = new Set();
  let nextPage = '';

  async function refresh() {
    try {
      documents.clear();
      nextPage = '';
      await loadPage();
      for (const name of [...chosen]) if (!isReady(name)) chosen.delete(name);
      if (chosen.size === 0 && documents.size === 1) for (const name of documents.keys()) if (isReady(name)) chosen.add(name);
      show($('documents-error'), null);
    } catch (error) {
      show($('documents-error'), error);
    }
    drawDocuments();
  }

  async function loadPage() {
    const page = await getJson(`/v1/collections/-/documents?page_size=${PAGE_SIZE}&page_token=${encodeURIComponent(nextPage)}`);
    for (const entry of page.documents || []) documents.set(entry.name, entry);
    nextPage = page.nextPageToken || '';
  }
  $('more-documents').addEventListener('click', async () => {
    try { await loadPage(); } catch (error) { show($('documents-error'), error); }
    drawDocuments();
  });

  const isReady = (name) => documents.get(name)?.state === 'READY';

  function drawDocuments() {
    $('documents').replaceChildren(...[...documents.values()].map(documentRow));
    $('no-documents').hidden = documents.size > 0;
    document.body.classList.toggle('empty', documents.size === 0);
    $('more-documents').hidden = nextPage === '';
    drawAsked();
  }

  function documentRow(entry) {
    const ready = entry.state === 'READY';
    const check = make('input', {type: 'checkbox', disabled: !ready, onchange: () => {
      if (check.checked) chosen.add(entry.name); else chosen.delete(entry.name);
      drawAsked();
    }});
    check.checked = ready && chosen.has(entry.name);
    const note = ready ? Ilre.plural(entry.tokenCount, 'token')
      : entry.state === 'FAILED' ? `Cannot be asked: ${entry.failure || 'damaged'}`
      : `Unfinished: ${Ilre.plural(entry.committedBytes, 'byte')} are kept. Drop the file again to go on.`;
    return make('li', null, make('label', {class: 'document', 'data-name': entry.name},
      make('div', {class: 'document-head'}, check, make('span', {class: 'document-name'}, make('bdi', null, shortName(entry.name))),
        deleteButton(entry)),
      make('div', {class: `document-note ${entry.state === 'FAILED' ? 'failed' : ''}`}, visible(note))));
  }

  // Deletes at the second press.
  function deleteButton(entry) {
    const button = make('button', {class: 'button plain', type: 'button', 'aria-label': `Delete ${shortName(entry.name)}`, title: 'Delete'}, '\u00d7');
    button.addEventListener('click', async (event) => {
      event.preventDefault();
      if (!button.classList.contains('sure')) {
        button.classList.add('sure');
        button.textContent = 'Delete?';
        setTimeout(() => { button.classList.remove('sure'); button.textContent = '\u00d7'; }, 5000);
        return;
      }
      button.disabled = true;
      try {
        await call('DELETE', `${pathOf(entry.name)}?allow_missing=true`);
        chosen.delete(entry.name);
        await refresh();
      } catch (error) {
        show($('documents-error'), error);
        button.disabled = false;
      }
    });
    return button;
  }

  function drawAsked() {
    const names = [...chosen];
    $('asked').textContent = names.length === 0 ? (documents.size > 0 ? 'Choose one or more documents.' : 'Add a document first.')
      : names.length === 1 ? `of ${shortName(names[0])}` : `of ${names.length} documents`;
    $('ask-button').disabled = names.length === 0;
  }

  // --- Uploads

  // 'My File.txt' -> 'my-file'
  function documentId(fileName) {
    const id = fileName.replace(/\.[^.]{1,8}$/, '').normalize('NFKD').toLowerCase().replace(/[^a-z0-9]+/g, '-').slice(0, 63).replace(/^-+|-+$/g, '');
    return id || 'document';
  }

  let lastUpload = Promise.resolve();

  function addFiles(files) {
    for (const file of files) {
      const upload = new Upload(file);
      lastUpload = lastUpload.then(() => upload.run());
    }
  }

  // One file on its way: sent whole, while the server is asked how much of it is safe.
  class Upload {
    constructor(file) {
      this.file = file;
      this.name = `collections/${COLLECTION}/documents/${documentId(file.name)}`;
      this.bar = make('progress', {max: '1', value: '0', 'aria-label': `Reading ${file.name}`});
      this.note = make('div', {class: 'muted small'}, 'Waiting');
      this.stop = make('button', {class: 'button plain', type: 'button', 'aria-label': `Stop reading ${file.name}`, title: 'Stop', onclick: () => this.cancel()}, '\u00d7');
      this.element = make('li', {class: 'upload'},
        make('div', {class: 'upload-head'}, make('span', {class: 'upload-name'}, make('bdi', null, ...visible(shortName(this.name)))), this.stop),
        this.bar, this.note);
      $('uploads').append(this.element);
    }

    async run(parameters = '') {
      if (this.cancelled) return;
      this.started = performance.now();
      this.firstTokens = null;
      this.sending = true;
      const polling = this.poll();
      try {
        const progress = await this.send(parameters);
        chosen.add(progress.document.name);
        this.element.remove();
      } catch (error) {
        if (this.cancelled) this.element.remove();
        else this.fail(error);
      } finally {
        this.sending = false;
        await polling;
      }
      await refresh();
    }

    send(parameters) {
      return new Promise((resolve, reject) => {
        const request = this.request = new XMLHttpRequest();
        request.open('POST', `${pathOf(this.name)}:ingest${parameters}`);
        for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
        request.setRequestHeader('Content-Type', 'application/octet-stream');
        request.onload = () => {
          let body = null;
          try { body = JSON.parse(request.responseText); } catch { /* not ours: the status says enough */ }
          if (request.status === 200 && body) return resolve(body);
          if (request.status === 401) askForToken();
          reject(new ServerError(request.status, body));
        };
        request.onerror = () => reject(new Error('The connection broke off. What was read is kept: drop the file again to go on.'));
        request.onabort = () => reject(new Error('Stopped.'));
        request.send(this.file);
      });
    }

    async poll() {
      while (this.sending) {
        try {
          const progress = await getJson(`${pathOf(this.name)}:status`);
          if (this.sending) this.draw(Number(progress.committedBytes) || 0, Number(progress.tokenCount) || 0);
        } catch (error) {
          if (this.sending && error.status === 404) this.draw(0, 0);  // nothing is safe yet
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }

    draw(bytes, tokens) {
      const seconds = (performance.now() - this.started) / 1000;
      this.firstTokens ??= tokens;
      const rate = (tokens - this.firstTokens) / seconds;
      this.bar.value = this.file.size > 0 ? Math.min(1, bytes / this.file.size) : 0;
      this.note.textContent = tokens === 0 ? 'Reading' :
        `${(100 * this.bar.value).toFixed(0)} %, ${Ilre.plural(tokens, 'token')}${rate > 0 ? `, ${Ilre.count(rate)} a second` : ''}`;
    }

    cancel() {
      this.cancelled = true;
      if (this.request) this.request.abort();
      else this.element.remove();
    }

    fail(error) {
      const replace = error.reason === 'CONTENT_DIFFERS' || error.reason === 'DOCUMENT_EXISTS';
      const message = replace ? 'There is another text of that name.' : error.message;
      this.bar.hidden = true;
      this.note.hidden = true;
      const box = make('p', {class: 'error', role: 'alert'}, ...visible(message));
      const again = replace ? make('button', {class: 'button', type: 'button', onclick: () => {
        box.remove();
        again.remove();
        this.bar.hidden = this.note.hidden = false;
        this.stop.onclick = null;
        lastUpload = lastUpload.then(() => this.run('?replace=true'));
      }}, 'Replace it') : null;
      this.element.append(...[box, again].filter(Boolean));
      this.stop.onclick = () => this.element.remove();
      this.stop.setAttribute('aria-label', 'Close');
    }
  }

  $('file').addEventListener('change', () => {
    addFiles([...$('file').files]);
    $('file').value = '';
  });
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes('Files');
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop-veil').hidden = false;
  });
  addEventListener('dragleave', (event) => { if (!event.relatedTarget) $('drop-veil').hidden = true; });
  addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop-veil').hidden = true;
    addFiles([...event.dataTransfer.files]);
  });

  // --- Questions

  let asking = null;  // the answer that is being written

  $('question').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $('ask').requestSubmit();
  });
  $('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    const question = $('question').value.trim();
    if (!question || chosen.size === 0) return;
    document.querySelector('.options').open = false;
    if (asking) asking.stop();
    asking = new Answer(question, [...chosen]);
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
    for (const field of ['tokenBegin', 'tokenEnd', 'byteBegin', 'byteEnd', 'score']) span[field] = Number(span[field]) || 0;
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
        this.figures, this.mapSection, this.passageSection, this.timeSection, this.foot);
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

    stop() { this.abort.abort(); }

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
      this.spans.forEach((span, i) => { span.id = `passage-${i + 1}`; });
      this.range = Ilre.scoreRange(this.spans.map((span) => span.score));
      this.drawFigures();
      this.drawPassages();
      this.loadMaps();
    }

    drawFigures(finish) {
      const read = this.spans.filter((span) => span.inPrompt).reduce((sum, span) => sum + span.tokenEnd - span.tokenBegin, 0);
      const total = Number(this.recall.documentTokens) || 0, share = total > 0 ? read / total : 0;
      const of = this.names.length > 1 ? `of ${this.names.length} documents` : 'of the document';
      const figures = [{value: Ilre.percent(share), share, label: `${of} was read to answer: ${Ilre.count(read)} of ${Ilre.plural(total, 'token')}`}];
      const time = (ms, label) => { const [value, unit] = Ilre.duration(ms); figures.push({value, unit, label}); };
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
        make('div', {class: 'section-head'}, make('h2', null, 'Where the time went')), Ilre.timesCard(finish.timings || {}));
      this.timeSection.hidden = false;
      const reasons = {MAX_TOKENS: 'The answer was cut at its greatest length.', CONTEXT_FULL: 'The model\u2019s context is full.'};
      this.foot.textContent = reasons[finish.reason] || '';
    }

    // --- The heat maps

    async loadMaps() {
      const best = new Map();
      for (const span of this.spans) best.set(span.document, Math.max(best.get(span.document) ?? -Infinity, span.score));
      const names = [...this.names].sort((a, b) => (best.get(b) ?? -Infinity) - (best.get(a) ?? -Infinity)).slice(0, MAX_MAPS);
      try {
        const scored = await Promise.all(names.map(async (name) => {
          const answer = await postJson('/v1/documents:score',
            {name, question: this.question, partCount: names.length === 1 ? 2048 : 512}, this.abort.signal);
          return {name, parts: (answer.parts || []).map((part) => (
            {begin: Number(part.byteBegin) || 0, end: Number(part.byteEnd) || 0, score: Number(part.score) || 0}))};
        }));
        this.drawMaps(scored.filter(({parts}) => parts.length > 0));
      } catch (error) {
        if (error.name !== 'AbortError') show($('ask-error'), error);
      }
    }

    drawMaps(scored) {
      this.range = Ilre.scoreRange(scored.flatMap(({parts}) => parts.map((part) => part.score)));
      this.mapSection.replaceChildren(make('div', {class: 'section-head'},
        make('h2', null, this.names.length > 1 ? 'Where it looked' : 'Where it is in the document')));
      for (const {name, parts} of scored) {
        const length = parts[parts.length - 1].end;
        const marks = this.spans.filter((span) => span.document === name).map((span) => ({
          id: span.id, begin: span.byteBegin, end: span.byteEnd, score: span.score, inPrompt: span.inPrompt,
          label: `${span.inPrompt ? 'In the prompt' : 'Recalled, not in the prompt'}, at ${Ilre.place(span.byteBegin / length)}, score ${span.score.toFixed(2)}`}));
        const map = new Ilre.HeatMap({name: shortName(name), note: Ilre.plural(documents.get(name)?.tokenCount, 'token'), length, parts, marks,
          range: this.range, compact: scored.length > 1, onMark: (id) => this.showPassage(id), onPlace: (position) => this.read(name, position, length)});
        this.maps.set(name, map);
        this.mapSection.append(map.element);
      }
      this.mapSection.append(this.reader, Ilre.legend());
      const hidden = this.names.length - scored.length;
      if (hidden > 0) this.mapSection.append(make('p', {class: 'muted small'}, `${Ilre.plural(hidden, 'more document')} not drawn.`));
      this.mapSection.hidden = false;
      this.drawPassages();
    }

    // --- The passages

    drawPassages() {
      const order = [...this.spans].sort((a, b) => b.inPrompt - a.inPrompt || b.score - a.score);
      const list = make('ol', {class: 'passages'}, order.map((span) => this.card(span)));
      this.passageSection.replaceChildren(
        make('div', {class: 'section-head'}, make('h2', null, `${Ilre.plural(this.spans.length, 'passage')} recalled`)), list);
      this.passageSection.hidden = this.spans.length === 0;
      for (const span of order.filter((s) => s.inPrompt).slice(0, 3)) this.loadContext(span);
    }

    card(span) {
      const map = this.maps.get(span.document);
      const length = map ? map.length : Number(documents.get(span.document)?.committedBytes) || 0;
      const card = Ilre.passageCard({...span, document: shortName(span.document)}, {id: span.id, range: this.range,
        share: length > 0 ? span.byteBegin / length : 0, showDocument: this.names.length > 1,
        onPlace: map && (() => {
          map.select(span.id);
          const around = Math.max(8192, map.length / 64);
          map.show(span.byteBegin - around, span.byteEnd + around);
          map.stage.focus({preventScroll: true});
          map.element.scrollIntoView({block: 'nearest'});
        })});
      if (span.before === undefined) {
        card.append(make('button', {class: 'button passage-more', type: 'button', onclick: () => this.loadContext(span)}, 'Show around it'));
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
      const hadFocus = card.contains(document.activeElement), wasSelected = card.classList.contains('selected');
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
        this.reader.replaceChildren(make('div', {class: 'card reader'},
          make('div', {class: 'passage-head'}, make('span', null, `${shortName(name)}, at ${Ilre.place(position / length)}`)),
          make('p', {class: 'passage-text', dir: 'auto'}, ...visible(piece.before + piece.after))));
      } catch (error) {
        show($('ask-error'), error);
      }
    }
  }

  // -> {before, text, after}: the bytes [begin, end) of a document and what stands around them. Bytes that are no whole
  // character become U+FFFD.
  async function textAround(name, begin, end, around) {
    const from = Math.max(0, begin - around);
    const answer = await postJson(`${pathOf(name)}:text`, {byteBegin: String(from), byteCount: Math.min(1 << 20, end + around - from + 4)});
    const start = Number(answer.byteBegin) || 0, size = Number(answer.documentBytes) || 0;
    const bytes = new TextEncoder().encode(answer.text || '');
    const decode = (a, b) => new TextDecoder().decode(bytes.subarray(Math.max(0, a - start), Math.max(0, b - start)));
    const before = decode(start, begin), after = decode(end, start + bytes.length);
    return {
      before: start > 0 ? `\u2026${before.replace(/^\S{0,40}\s/, '')}` : before,
      text: decode(begin, end),
      after: start + bytes.length < size ? `${after.replace(/\s\S{0,40}$/, '')}\u2026` : after,
    };
  }

  drawAsked();
  refresh();
})();
