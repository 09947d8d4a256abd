// Parts of the pages that the report of `ilre ask --report` and the page of `ilre serve` share. Text of documents,
// questions and answers enters a page as text nodes only.
'use strict';

const Ilre = (() => {
  // make('p', {class: 'x', 'aria-label': 'y', onclick: f}, 'text', node, [more]) -> Element
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
    return element;
  }

  // Control characters but tab and line feed; marks of direction; line separators; byte order marks. report_page.cc
  // has the same list.
  const CODES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

  // Text for people: what is invisible or would reorder its surroundings is shown by its code.
  function visible(text) {
    const nodes = [];
    const clean = String(text).replace(/\r\n/g, '\n');
    let end = 0;
    for (const match of clean.matchAll(CODES)) {
      if (match.index > end) nodes.push(clean.slice(end, match.index));
      const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
      nodes.push(make('span', {class: 'control', title: 'This character is not shown as it would be'}, `U+${code}`));
      end = match.index + 1;
    }
    if (end < clean.length) nodes.push(clean.slice(end));
    return nodes;
  }

  const wholeNumber = new Intl.NumberFormat('en-US', {maximumFractionDigits: 0});
  const count = (number) => wholeNumber.format(Number(number) || 0);
  const plural = (number, noun) => `${count(number)} ${noun}${Number(number) === 1 ? '' : 's'}`;

  function percent(share) {
    const value = 100 * (Number.isFinite(share) ? share : 0);
    return value > 0 && value < 0.01 ? 'under 0.01 %' : `${value >= 10 ? value.toFixed(0) : value.toPrecision(2)} %`;
  }
  const place = (share) => `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)} %`;

  // -> ['1.4', 's'], ['640', 'ms']
  function duration(ms) {
    const value = Number(ms) || 0;
    if (value >= 59950) return [`${Math.floor(value / 60000)}:${String(Math.round(value / 1000) % 60).padStart(2, '0')}`, 'min'];
    if (value >= 995) return [(value / 1000).toFixed(value >= 9950 ? 0 : 1), 's'];
    return [value >= 9.95 ? value.toFixed(0) : value.toFixed(1), 'ms'];
  }
  const durationText = (ms) => duration(ms).join(' ');

  // Which scores are the coldest and the hottest colour: most of a document is of no interest.
  function scoreRange(scores) {
    const sorted = Float64Array.from(scores).sort();
    if (sorted.length === 0) return {low: 0, high: 1};
    const low = sorted[Math.floor(sorted.length * 0.1)];
    return {low, high: Math.max(sorted[sorted.length - 1], low + 1e-6)};
  }
  const heatOf = (score, range) => Math.min(1, Math.max(0, (score - range.low) / (range.high - range.low)));

  // A passage in its place. `span` has the fields of ilre.v1.Span in JSON, and may have before and after.
  // options: {id, share (of the document's length before it), range, showDocument, missed, onPlace}
  function passageCard(span, options) {
    const kind = options.missed ? 'missed' : span.inPrompt ? 'in-prompt' : 'left-out';
    const badge = {missed: 'not recalled', 'in-prompt': 'in the prompt', 'left-out': 'recalled, not in the prompt'}[kind];
    const score = Number(span.score) || 0;
    const fill = make('i');
    fill.style.width = `${(100 * heatOf(score, options.range)).toFixed(1)}%`;
    const where = `${options.showDocument ? `${span.document}, ` : ''}at ${place(options.share)}`;
    return make('li', {class: `card passage ${kind}`, id: options.id, tabindex: '-1'},
      make('div', {class: 'passage-head'},
        make('span', {class: `badge ${kind}`}, badge),
        make('span', {class: 'meter', title: 'Score'}, make('i', {'aria-hidden': 'true'}, fill),
          make('span', null, make('span', {class: 'visually-hidden'}, 'score '), score.toFixed(2))),
        make('span', null, plural(span.tokenEnd - span.tokenBegin, 'token')),
        options.onPlace
          ? make('button', {class: 'where', type: 'button', onclick: options.onPlace, title: 'Show on the heat map'}, where)
          : make('span', null, where)),
      make('p', {class: 'passage-text', dir: 'auto'},
        span.before ? make('span', {class: 'context'}, visible(span.before)) : null,
        make('mark', null, visible(span.text || '')),
        span.after ? make('span', {class: 'context'}, visible(span.after)) : null));
  }

  // figures: [{value, unit, label, share}]
  function keyFigures(figures) {
    return make('div', {class: 'card figures'}, figures.map((figure) => {
      let bar = null;
      if (figure.share !== undefined) {
        const fill = make('i');
        fill.style.width = `${Math.min(100, 100 * figure.share)}%`;
        bar = make('div', {class: 'share', 'aria-hidden': 'true'}, fill);
      }
      return make('div', {class: 'figure'},
        make('b', null, figure.value, figure.unit ? make('span', {class: 'unit'}, ` ${figure.unit}`) : null),
        make('span', {class: 'label'}, figure.label), bar);
    }));
  }

  // Where the time went. `timings` as ilre.v1.Timings in JSON; loadMs is of programs that load the model for one question.
  function timesCard(timings) {
    const ms = (name) => Number(timings[name]) || 0;
    const known = ms('queueMs') + ms('queryMs') + ms('scoreMs') + ms('rerankMs');
    const answering = ms('firstTokenMs') > 0;
    const stages = [
      ['Waiting for a place', ms('queueMs'), 's1'],
      ['Reading the question', ms('queryMs'), 's1'],
      ['Scoring the documents', ms('scoreMs'), 's2'],
      ['Looking again', ms('rerankMs'), 's3'],
      ['Reading the prompt', answering ? Math.max(ms('prefillMs'), ms('firstTokenMs') - known) : 0, 's4'],
      ['Writing the answer', answering ? Math.max(0, ms('totalMs') - ms('firstTokenMs')) : 0, 's5'],
    ].filter(([name, value]) => value > 0);
    const bar = make('div', {class: 'times-bar', 'aria-hidden': 'true'}, stages.map(([name, value, style]) => {
      const part = make('i', {class: style, title: `${name}: ${durationText(value)}`});
      part.style.flexGrow = String(value);
      return part;
    }));
    const row = (name, value, style) =>
      make('div', {class: style}, make('dt', null, name), make('dd', null, durationText(value)));
    return make('div', {class: 'card times'}, bar, make('dl', {class: 'times-list'},
      stages.map(([name, value, style]) => row(name, value, style)),
      ms('loadMs') > 0 ? row('Loading the model, before', ms('loadMs'), 'aside') : null));
  }

  function legend() {
    const item = (symbol, text) => make('span', {}, symbol, text);
    return make('p', {class: 'legend'},
      item(make('i', {class: 'ramp', 'aria-hidden': 'true'}), 'score: low to high'),
      item(make('i', {class: 'mark', 'aria-hidden': 'true'}), 'in the prompt'),
      item(make('i', {class: 'mark left-out', 'aria-hidden': 'true'}), 'recalled, scored too low for the prompt'));
  }

  // A document as a strip of scores that can be zoomed: above, the part in view as a skyline with the recalled passages
  // marked; below, the whole document as a band with a window on it.
  class HeatMap {
    // parts: [{begin, end, score}] in order, in any unit of length; length: of the document in that unit.
    // marks: [{id, begin, end, score, inPrompt, label}]. onMark(id), onPlace(position) may be left out. compact: lower.
    constructor({name, note, length, parts, marks, range, compact, onMark, onPlace}) {
      Object.assign(this, {name, length: Math.max(1, length), parts, marks, range, onMark, onPlace});
      this.view = [0, this.length];
      this.selected = null;
      const tool = (label, text, action) =>
        make('button', {class: 'button', type: 'button', 'aria-label': `${label}, ${name}`, title: label, onclick: action}, text);
      this.zoomOut = tool('Zoom out', '\u2212', () => this.zoom(1 / 2));
      this.zoomIn = tool('Zoom in', '+', () => this.zoom(2));
      this.whole = tool('Whole document', 'All', () => this.show(0, this.length));
      this.skyline = make('canvas', {class: 'map-skyline', 'aria-hidden': 'true'});
      this.markRow = make('div', {class: 'map-marks'});
      this.axis = make('div', {class: 'map-axis', 'aria-hidden': 'true'}, make('span'), make('span'), make('span'));
      this.tip = make('div', {class: 'map-tip', hidden: true});
      this.band = make('canvas', {class: 'map-band', 'aria-hidden': 'true'});
      this.stage = make('div', {class: 'map-stage', tabindex: '0', role: 'group',
        'aria-label': `Scores over ${name}: ${plural(marks.length, 'recalled passage')}. ` +
          'Plus and minus zoom, arrow keys move, N and P go to the next and the previous passage, Enter opens it.'},
        this.skyline, this.markRow, this.axis, this.tip);
      this.buttons = marks.map((mark) => make('button', {type: 'button', tabindex: '-1',
        class: `mark${mark.inPrompt ? '' : ' left-out'}`, 'data-id': mark.id, 'aria-label': mark.label, title: mark.label,
        onclick: () => this.pick(mark.id)}));
      this.markRow.append(...this.buttons);
      this.element = make('div', {class: `card map${compact ? ' compact' : ''}`},
        make('div', {class: 'map-head'},
          make('div', {class: 'map-name', title: name}, make('bdi', null, name), make('span', {class: 'muted small'}, note)),
          make('div', {class: 'map-tools'}, this.zoomOut, this.zoomIn, this.whole)),
        this.stage, this.band);
      this.listen();
      new ResizeObserver(() => this.draw()).observe(this.element);
      matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    }

    listen() {
      this.stage.addEventListener('keydown', (event) => this.key(event));
      this.stage.addEventListener('wheel', (event) => {
        if (!event.ctrlKey && !event.metaKey) return;  // or the page could not be scrolled
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 200), this.at(event));
      }, {passive: false});
      this.stage.addEventListener('dblclick', (event) => this.zoom(4, this.at(event)));
      this.stage.addEventListener('pointermove', (event) => this.hover(event));
      this.stage.addEventListener('pointerleave', () => { this.tip.hidden = true; });
      this.drag(this.skyline, (start, now, view) => {
        const moved = (start - now) * (view[1] - view[0]);
        this.show(view[0] + moved, view[1] + moved);
      }, (position) => this.onPlace && this.onPlace(position));
      this.drag(this.band, (start, now) => {
        const half = (this.view[1] - this.view[0]) / 2;
        this.show(now * this.length - half, now * this.length + half);
      });
    }

    // Calls move(start, now, view at the start), both as shares of the width, while the pointer is down on `canvas`; or
    // click(position) when it did not move.
    drag(canvas, move, click) {
      canvas.addEventListener('pointerdown', (event) => {
        if (event.button !== 0) return;
        const box = canvas.getBoundingClientRect();
        const share = (e) => (e.clientX - box.left) / box.width;
        const start = share(event), view = [...this.view];
        let moved = false;
        canvas.setPointerCapture(event.pointerId);
        if (!click) move(start, start, view);
        const onMove = (e) => {
          if (!moved && Math.abs(e.clientX - event.clientX) < 4) return;
          moved = true;
          this.stage.classList.add('dragging');
          move(start, share(e), view);
        };
        const onEnd = (e) => {
          canvas.removeEventListener('pointermove', onMove);
          canvas.removeEventListener('pointerup', onEnd);
          canvas.removeEventListener('pointercancel', onEnd);
          this.stage.classList.remove('dragging');
          if (!moved && click && e.type === 'pointerup') click(view[0] + start * (view[1] - view[0]));
        };
        canvas.addEventListener('pointermove', onMove);
        canvas.addEventListener('pointerup', onEnd);
        canvas.addEventListener('pointercancel', onEnd);
      });
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = (this.view[1] - this.view[0]) / 8;
      const actions = {
        '+': () => this.zoom(2), '=': () => this.zoom(2), '-': () => this.zoom(1 / 2), '0': () => this.show(0, this.length),
        ArrowLeft: () => this.show(this.view[0] - step, this.view[1] - step),
        ArrowRight: () => this.show(this.view[0] + step, this.view[1] + step),
        Home: () => this.show(0, this.view[1] - this.view[0]),
        End: () => this.show(this.length - (this.view[1] - this.view[0]), this.length),
        n: () => this.step(1), p: () => this.step(-1),
        Enter: () => this.selected !== null && this.onMark && this.onMark(this.selected),
      };
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    // Where in the document an event points.
    at(event) {
      const box = this.skyline.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return this.view[0] + share * (this.view[1] - this.view[0]);
    }

    zoom(factor, around) {
      const width = this.view[1] - this.view[0];
      const mark = this.marks.find((m) => m.id === this.selected);
      const inView = mark && mark.begin >= this.view[0] && mark.begin <= this.view[1];
      const middle = around ?? (inView ? (mark.begin + mark.end) / 2 : (this.view[0] + this.view[1]) / 2);
      const left = middle - (middle - this.view[0]) / factor;
      this.show(left, left + width / factor);
    }

    // Brings [begin, end) into view, as far as the document and the closest zoom allow.
    show(begin, end) {
      const width = Math.min(this.length, Math.max(end - begin, Math.min(this.length, 256)));
      const left = Math.min(this.length - width, Math.max(0, begin));
      this.view = [left, left + width];
      this.tip.hidden = true;
      this.draw();
    }

    step(direction) {
      if (this.marks.length === 0) return;
      const now = this.marks.findIndex((mark) => mark.id === this.selected);
      const next = now < 0 ? (direction > 0 ? 0 : this.marks.length - 1) : (now + direction + this.marks.length) % this.marks.length;
      this.select(this.marks[next].id);
    }

    pick(id) {
      this.select(id);
      if (this.onMark) this.onMark(id);
    }

    select(id) {
      this.selected = id;
      const mark = this.marks.find((m) => m.id === id);
      this.buttons.forEach((button) => button.classList.toggle('selected', button.dataset.id === String(id)));
      if (!mark) return;
      const half = (this.view[1] - this.view[0]) / 2;
      if (mark.begin < this.view[0] || mark.end > this.view[1]) this.show(mark.begin - half, mark.begin + half);
    }

    // Index of the first part that ends behind `position`.
    partAt(position) {
      let low = 0, high = this.parts.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.parts[middle].end > position) high = middle; else low = middle + 1;
      }
      return low;
    }

    // The best score in [begin, end), and the kind of mark there: 2 in the prompt, 1 left out, 0 none.
    look(begin, end) {
      let score = this.range.low, mark = 0;
      for (let i = this.partAt(begin); i < this.parts.length && this.parts[i].begin < end; ++i) {
        score = Math.max(score, this.parts[i].score);
      }
      for (const m of this.marks) if (m.begin < end && m.end > begin) mark = Math.max(mark, m.inPrompt ? 2 : 1);
      return {heat: heatOf(score, this.range), mark};
    }

    hover(event) {
      if (event.target !== this.skyline || this.stage.classList.contains('dragging')) { this.tip.hidden = true; return; }
      const position = this.at(event), part = this.parts[this.partAt(position)];
      if (!part) return;
      this.tip.textContent = `${place(position / this.length)}  \u00b7  score ${part.score.toFixed(2)}`;
      this.tip.hidden = false;
      const box = this.stage.getBoundingClientRect(), x = event.clientX - box.left;
      this.tip.style.left = `${Math.max(0, Math.min(box.width - this.tip.offsetWidth, x - this.tip.offsetWidth / 2))}px`;
    }

    draw() {
      const style = getComputedStyle(this.element);
      const numbers = (name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number);
      const low = numbers('--heat-low'), high = numbers('--heat-high');
      const heat = (t) => `rgb(${low.map((v, i) => Math.round(v + (high[i] - v) * t)).join(' ')})`;
      const colours = {heat, marks: [null, style.getPropertyValue('--left-out'), style.getPropertyValue('--recalled')],
        ink: style.getPropertyValue('--ink')};
      this.drawSkyline(colours);
      this.drawBand(colours);
      this.placeMarks();
      const zoomed = this.view[1] - this.view[0] < this.length;
      this.stage.classList.toggle('zoomed', zoomed);
      this.zoomOut.disabled = this.whole.disabled = !zoomed;
      this.zoomIn.disabled = this.view[1] - this.view[0] <= Math.min(this.length, 256);
    }

    // -> {context, width, height} in CSS pixels, cleared.
    static prepare(canvas) {
      const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const context = canvas.getContext('2d');
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      return {context, width, height};
    }

    drawSkyline({heat, marks}) {
      const {context, width, height} = HeatMap.prepare(this.skyline);
      const [begin, end] = this.view, scale = width / (end - begin);
      const visibleParts = this.partAt(end - 1e-9) - this.partAt(begin) + 1;
      const columns = Math.max(1, Math.min(Math.floor(width / 2), visibleParts));
      const step = width / columns, gap = step >= 4 ? 1 : 0;
      for (let i = 0; i < columns; ++i) {
        const {heat: t, mark} = this.look(begin + i * step / scale, begin + (i + 1) * step / scale);
        const tall = Math.max(3, t * (height - 6));
        context.fillStyle = mark ? marks[mark] : heat(t);
        context.fillRect(i * step, height - tall, Math.max(0.75, step - gap), tall);
      }
    }

    drawBand({heat, marks, ink}) {
      const {context, width, height} = HeatMap.prepare(this.band);
      const top = 5, tall = height - 10;
      for (let x = 0; x < width; ++x) {
        const {heat: t, mark} = this.look(x / width * this.length, (x + 1) / width * this.length);
        context.fillStyle = mark ? marks[mark] : heat(t);
        context.fillRect(x, mark ? 2 : top, 1, mark ? height - 4 : tall);
      }
      const [begin, end] = this.view.map((position) => position / this.length * width);
      if (end - begin >= width - 0.5) return;
      context.strokeStyle = ink;
      context.lineWidth = 2;
      const wide = Math.max(4, end - begin);
      context.strokeRect(Math.min(width - wide - 1, Math.max(1, begin)), 1, wide, height - 2);
    }

    placeMarks() {
      const [begin, end] = this.view;
      this.marks.forEach((mark, i) => {
        const middle = (Math.max(mark.begin, begin) + Math.min(mark.end, end)) / 2;
        const inside = mark.begin < end && mark.end > begin;
        this.buttons[i].hidden = !inside;
        this.buttons[i].style.left = `${100 * (middle - begin) / (end - begin)}%`;
      });
      const labels = [begin, (begin + end) / 2, end];
      [...this.axis.children].forEach((label, i) => { label.textContent = place(labels[i] / this.length); });
    }
  }

  // Brings a passage into view and to the keyboard.
  function showPassage(id) {
    for (const element of document.querySelectorAll('.passage.selected')) element.classList.remove('selected');
    const card = document.getElementById(id);
    if (!card) return;
    card.classList.add('selected');
    card.scrollIntoView({block: 'nearest'});
    card.focus({preventScroll: true});
  }

  return {make, visible, count, plural, percent, place, duration, durationText, scoreRange, heatOf, passageCard, keyFigures,
    timesCard, legend, HeatMap, showPassage};
})();
