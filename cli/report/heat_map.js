// The heat map that both pages draw documents with: Ilre.HeatMap.
'use strict';

(() => {
  const {make, plural, place, heatOf} = Ilre;

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
        make(
          'button',
          {class: 'button', type: 'button', 'aria-label': `${label}, ${name}`, title: label, onclick: action},
          text,
        );
      this.zoomOut = tool('Zoom out', '\u2212', () => this.zoom(1 / 2));
      this.zoomIn = tool('Zoom in', '+', () => this.zoom(2));
      this.whole = tool('Whole document', 'All', () => this.show(0, this.length));
      this.skyline = make('canvas', {class: 'map-skyline', 'aria-hidden': 'true'});
      this.markRow = make('div', {class: 'map-marks'});
      this.axis = make('div', {class: 'map-axis', 'aria-hidden': 'true'}, make('span'), make('span'), make('span'));
      this.tip = make('div', {class: 'map-tip', hidden: true});
      this.band = make('canvas', {class: 'map-band', 'aria-hidden': 'true'});
      this.stage = make(
        'div',
        {
          class: 'map-stage',
          tabindex: '0',
          role: 'group',
          'aria-label':
            `Scores over ${name}: ${plural(marks.length, 'recalled passage')}. ` +
            'Plus and minus zoom, arrow keys move, N and P go to the next and the previous passage, Enter opens it.',
        },
        this.skyline,
        this.markRow,
        this.axis,
        this.tip,
      );
      this.buttons = marks.map((mark) =>
        make('button', {
          type: 'button',
          tabindex: '-1',
          class: `mark${mark.inPrompt ? '' : ' left-out'}`,
          'data-id': mark.id,
          'aria-label': mark.label,
          title: mark.label,
          onclick: () => this.pick(mark.id),
        }),
      );
      this.markRow.append(...this.buttons);
      this.element = make(
        'div',
        {class: `card map${compact ? ' compact' : ''}`},
        make(
          'div',
          {class: 'map-head'},
          make(
            'div',
            {class: 'map-name', title: name},
            make('bdi', null, name),
            make('span', {class: 'muted small'}, note),
          ),
          make('div', {class: 'map-tools'}, this.zoomOut, this.zoomIn, this.whole),
        ),
        this.stage,
        this.band,
      );
      this.listen();
      new ResizeObserver(() => this.draw()).observe(this.element);
      matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    }

    listen() {
      this.stage.addEventListener('keydown', (event) => this.key(event));
      this.stage.addEventListener(
        'wheel',
        (event) => {
          if (!event.ctrlKey && !event.metaKey) return; // or the page could not be scrolled
          event.preventDefault();
          this.zoom(Math.exp(-event.deltaY / 200), this.at(event));
        },
        {passive: false},
      );
      this.stage.addEventListener('dblclick', (event) => this.zoom(4, this.at(event)));
      this.stage.addEventListener('pointermove', (event) => this.hover(event));
      this.stage.addEventListener('pointerleave', () => {
        this.tip.hidden = true;
      });
      this.drag(
        this.skyline,
        (start, now, view) => {
          const moved = (start - now) * (view[1] - view[0]);
          this.show(view[0] + moved, view[1] + moved);
        },
        (position) => this.onPlace && this.onPlace(position),
      );
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
        const start = share(event),
          view = [...this.view];
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
        '+': () => this.zoom(2),
        '=': () => this.zoom(2),
        '-': () => this.zoom(1 / 2),
        0: () => this.show(0, this.length),
        ArrowLeft: () => this.show(this.view[0] - step, this.view[1] - step),
        ArrowRight: () => this.show(this.view[0] + step, this.view[1] + step),
        Home: () => this.show(0, this.view[1] - this.view[0]),
        End: () => this.show(this.length - (this.view[1] - this.view[0]), this.length),
        n: () => this.step(1),
        p: () => this.step(-1),
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
      const next =
        now < 0
          ? direction > 0
            ? 0
            : this.marks.length - 1
          : (now + direction + this.marks.length) % this.marks.length;
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
      let low = 0,
        high = this.parts.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.parts[middle].end > position) high = middle;
        else low = middle + 1;
      }
      return low;
    }

    // The best score in [begin, end), and the kind of mark there: 2 in the prompt, 1 left out, 0 none.
    look(begin, end) {
      let score = this.range.low,
        mark = 0;
      for (let i = this.partAt(begin); i < this.parts.length && this.parts[i].begin < end; ++i) {
        score = Math.max(score, this.parts[i].score);
      }
      for (const m of this.marks) if (m.begin < end && m.end > begin) mark = Math.max(mark, m.inPrompt ? 2 : 1);
      return {heat: heatOf(score, this.range), mark};
    }

    hover(event) {
      if (event.target !== this.skyline || this.stage.classList.contains('dragging')) {
        this.tip.hidden = true;
        return;
      }
      const position = this.at(event),
        part = this.parts[this.partAt(position)];
      if (!part) return;
      this.tip.textContent = `${place(position / this.length)}  \u00b7  score ${part.score.toFixed(2)}`;
      this.tip.hidden = false;
      const box = this.stage.getBoundingClientRect(),
        x = event.clientX - box.left;
      this.tip.style.left = `${Math.max(0, Math.min(box.width - this.tip.offsetWidth, x - this.tip.offsetWidth / 2))}px`;
    }

    draw() {
      const style = getComputedStyle(this.element);
      const numbers = (name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number);
      const low = numbers('--heat-low'),
        high = numbers('--heat-high');
      const heat = (t) => `rgb(${low.map((v, i) => Math.round(v + (high[i] - v) * t)).join(' ')})`;
      const colours = {
        heat,
        marks: [null, style.getPropertyValue('--left-out'), style.getPropertyValue('--recalled')],
        ink: style.getPropertyValue('--ink'),
      };
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
      const ratio = window.devicePixelRatio || 1,
        width = canvas.clientWidth,
        height = canvas.clientHeight;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const context = canvas.getContext('2d');
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      return {context, width, height};
    }

    drawSkyline({heat, marks}) {
      const {context, width, height} = HeatMap.prepare(this.skyline);
      const [begin, end] = this.view,
        scale = width / (end - begin);
      const visibleParts = this.partAt(end - 1e-9) - this.partAt(begin) + 1;
      const columns = Math.max(1, Math.min(Math.floor(width / 2), visibleParts));
      const step = width / columns,
        gap = step >= 4 ? 1 : 0;
      for (let i = 0; i < columns; ++i) {
        const {heat: t, mark} = this.look(begin + (i * step) / scale, begin + ((i + 1) * step) / scale);
        const tall = Math.max(3, t * (height - 6));
        context.fillStyle = mark ? marks[mark] : heat(t);
        context.fillRect(i * step, height - tall, Math.max(0.75, step - gap), tall);
      }
    }

    drawBand({heat, marks, ink}) {
      const {context, width, height} = HeatMap.prepare(this.band);
      const top = 5,
        tall = height - 10;
      for (let x = 0; x < width; ++x) {
        const {heat: t, mark} = this.look((x / width) * this.length, ((x + 1) / width) * this.length);
        context.fillStyle = mark ? marks[mark] : heat(t);
        context.fillRect(x, mark ? 2 : top, 1, mark ? height - 4 : tall);
      }
      const [begin, end] = this.view.map((position) => (position / this.length) * width);
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
        this.buttons[i].style.left = `${(100 * (middle - begin)) / (end - begin)}%`;
      });
      const labels = [begin, (begin + end) / 2, end];
      [...this.axis.children].forEach((label, i) => {
        label.textContent = place(labels[i] / this.length);
      });
    }
  }

  Ilre.HeatMap = HeatMap;
})();
