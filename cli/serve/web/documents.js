// The page's documents: listed, chosen, deleted, and read from files: Documents.
'use strict';

const Documents = (() => {
  const {make, visible} = Ilre;
  const {COLLECTION, ServerError, headers, call, getJson, pathOf, shortName, show, askForToken} = Server;
  const $ = (id) => document.getElementById(id);
  const PAGE_SIZE = 100;
  const POLL_MS = 400;

  const documents = new Map(); // name -> ilre.v1.Document, in order of name
  const chosen = new Set();
  let nextPage = '';

  async function refresh() {
    try {
      documents.clear();
      nextPage = '';
      await loadPage();
      for (const name of [...chosen]) if (!isReady(name)) chosen.delete(name);
      if (chosen.size === 0 && documents.size === 1)
        for (const name of documents.keys()) if (isReady(name)) chosen.add(name);
      show($('documents-error'), null);
    } catch (error) {
      show($('documents-error'), error);
    }
    drawDocuments();
  }

  async function loadPage() {
    const page = await getJson(
      `/v1/collections/-/documents?page_size=${PAGE_SIZE}&page_token=${encodeURIComponent(nextPage)}`,
    );
    for (const entry of page.documents || []) documents.set(entry.name, entry);
    nextPage = page.nextPageToken || '';
  }
  $('more-documents').addEventListener('click', async () => {
    try {
      await loadPage();
    } catch (error) {
      show($('documents-error'), error);
    }
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
    const check = make('input', {
      type: 'checkbox',
      disabled: !ready,
      onchange: () => {
        if (check.checked) chosen.add(entry.name);
        else chosen.delete(entry.name);
        drawAsked();
      },
    });
    check.checked = ready && chosen.has(entry.name);
    const note = ready
      ? Ilre.plural(entry.tokenCount, 'token')
      : entry.state === 'FAILED'
        ? `Cannot be asked: ${entry.failure || 'damaged'}`
        : `Unfinished: ${Ilre.plural(entry.committedBytes, 'byte')} are kept. Drop the file again to go on.`;
    return make(
      'li',
      null,
      make(
        'label',
        {class: 'document', 'data-name': entry.name},
        make(
          'div',
          {class: 'document-head'},
          check,
          make('span', {class: 'document-name'}, make('bdi', null, shortName(entry.name))),
          deleteButton(entry),
        ),
        make('div', {class: `document-note ${entry.state === 'FAILED' ? 'failed' : ''}`}, visible(note)),
      ),
    );
  }

  // Deletes at the second press.
  function deleteButton(entry) {
    const button = make(
      'button',
      {class: 'button plain', type: 'button', 'aria-label': `Delete ${shortName(entry.name)}`, title: 'Delete'},
      '\u00d7',
    );
    button.addEventListener('click', async (event) => {
      event.preventDefault();
      if (!button.classList.contains('sure')) {
        button.classList.add('sure');
        button.textContent = 'Delete?';
        setTimeout(() => {
          button.classList.remove('sure');
          button.textContent = '\u00d7';
        }, 5000);
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
    $('asked').textContent =
      names.length === 0
        ? documents.size > 0
          ? 'Choose one or more documents.'
          : 'Add a document first.'
        : names.length === 1
          ? `of ${shortName(names[0])}`
          : `of ${names.length} documents`;
    $('ask-button').disabled = names.length === 0;
  }

  // --- Uploads

  // 'My File.txt' -> 'my-file'
  function documentId(fileName) {
    const id = fileName
      .replace(/\.[^.]{1,8}$/, '')
      .normalize('NFKD')
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .slice(0, 63)
      .replace(/^-+|-+$/g, '');
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
      this.stop = make(
        'button',
        {
          class: 'button plain',
          type: 'button',
          'aria-label': `Stop reading ${file.name}`,
          title: 'Stop',
          onclick: () => this.cancel(),
        },
        '\u00d7',
      );
      this.element = make(
        'li',
        {class: 'upload'},
        make(
          'div',
          {class: 'upload-head'},
          make('span', {class: 'upload-name'}, make('bdi', null, ...visible(shortName(this.name)))),
          this.stop,
        ),
        this.bar,
        this.note,
      );
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
        const request = (this.request = new XMLHttpRequest());
        request.open('POST', `${pathOf(this.name)}:ingest${parameters}`);
        for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
        request.setRequestHeader('Content-Type', 'application/octet-stream');
        request.onload = () => {
          let body = null;
          try {
            body = JSON.parse(request.responseText);
          } catch {
            /* not ours: the status says enough */
          }
          if (request.status === 200 && body) return resolve(body);
          if (request.status === 401) askForToken();
          reject(new ServerError(request.status, body));
        };
        request.onerror = () =>
          reject(new Error('The connection broke off. What was read is kept: drop the file again to go on.'));
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
          if (this.sending && error.status === 404) this.draw(0, 0); // nothing is safe yet
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }

    draw(bytes, tokens) {
      const seconds = (performance.now() - this.started) / 1000;
      this.firstTokens ??= tokens;
      const rate = (tokens - this.firstTokens) / seconds;
      this.bar.value = this.file.size > 0 ? Math.min(1, bytes / this.file.size) : 0;
      this.note.textContent =
        tokens === 0
          ? 'Reading'
          : `${(100 * this.bar.value).toFixed(0)} %, ${Ilre.plural(tokens, 'token')}${rate > 0 ? `, ${Ilre.count(rate)} a second` : ''}`;
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
      const again = replace
        ? make(
            'button',
            {
              class: 'button',
              type: 'button',
              onclick: () => {
                box.remove();
                again.remove();
                this.bar.hidden = this.note.hidden = false;
                this.stop.onclick = null;
                lastUpload = lastUpload.then(() => this.run('?replace=true'));
              },
            },
            'Replace it',
          )
        : null;
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
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) $('drop-veil').hidden = true;
  });
  addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop-veil').hidden = true;
    addFiles([...event.dataTransfer.files]);
  });

  Server.whenToken(refresh);
  drawAsked();
  refresh();

  return {all: documents, chosen};
})();
