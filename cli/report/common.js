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
    if (value >= 59950)
      return [`${Math.floor(value / 60000)}:${String(Math.round(value / 1000) % 60).padStart(2, '0')}`, 'min'];
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
    const badge = {missed: 'not recalled', 'in-prompt': 'in the prompt', 'left-out': 'recalled, not in the prompt'}[
      kind
    ];
    const score = Number(span.score) || 0;
    const fill = make('i');
    fill.style.width = `${(100 * heatOf(score, options.range)).toFixed(1)}%`;
    const where = `${options.showDocument ? `${span.document}, ` : ''}at ${place(options.share)}`;
    return make(
      'li',
      {class: `card passage ${kind}`, id: options.id, tabindex: '-1'},
      make(
        'div',
        {class: 'passage-head'},
        make('span', {class: `badge ${kind}`}, badge),
        make(
          'span',
          {class: 'meter', title: 'Score'},
          make('i', {'aria-hidden': 'true'}, fill),
          make('span', null, make('span', {class: 'visually-hidden'}, 'score '), score.toFixed(2)),
        ),
        make('span', null, plural(span.tokenEnd - span.tokenBegin, 'token')),
        options.onPlace
          ? make(
              'button',
              {class: 'where', type: 'button', onclick: options.onPlace, title: 'Show on the heat map'},
              where,
            )
          : make('span', null, where),
      ),
      make(
        'p',
        {class: 'passage-text', dir: 'auto'},
        span.before ? make('span', {class: 'context'}, visible(span.before)) : null,
        make('mark', null, visible(span.text || '')),
        span.after ? make('span', {class: 'context'}, visible(span.after)) : null,
      ),
    );
  }

  // figures: [{value, unit, label, share}]
  function keyFigures(figures) {
    return make(
      'div',
      {class: 'card figures'},
      figures.map((figure) => {
        let bar = null;
        if (figure.share !== undefined) {
          const fill = make('i');
          fill.style.width = `${Math.min(100, 100 * figure.share)}%`;
          bar = make('div', {class: 'share', 'aria-hidden': 'true'}, fill);
        }
        return make(
          'div',
          {class: 'figure'},
          make('b', null, figure.value, figure.unit ? make('span', {class: 'unit'}, ` ${figure.unit}`) : null),
          make('span', {class: 'label'}, figure.label),
          bar,
        );
      }),
    );
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
    const bar = make(
      'div',
      {class: 'times-bar', 'aria-hidden': 'true'},
      stages.map(([name, value, style]) => {
        const part = make('i', {class: style, title: `${name}: ${durationText(value)}`});
        part.style.flexGrow = String(value);
        return part;
      }),
    );
    const row = (name, value, style) =>
      make('div', {class: style}, make('dt', null, name), make('dd', null, durationText(value)));
    return make(
      'div',
      {class: 'card times'},
      bar,
      make(
        'dl',
        {class: 'times-list'},
        stages.map(([name, value, style]) => row(name, value, style)),
        ms('loadMs') > 0 ? row('Loading the model, before', ms('loadMs'), 'aside') : null,
      ),
    );
  }

  function legend() {
    const item = (symbol, text) => make('span', {}, symbol, text);
    return make(
      'p',
      {class: 'legend'},
      item(make('i', {class: 'ramp', 'aria-hidden': 'true'}), 'score: low to high'),
      item(make('i', {class: 'mark', 'aria-hidden': 'true'}), 'in the prompt'),
      item(make('i', {class: 'mark left-out', 'aria-hidden': 'true'}), 'recalled, scored too low for the prompt'),
    );
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

  return {
    make,
    visible,
    count,
    plural,
    percent,
    place,
    duration,
    durationText,
    scoreRange,
    heatOf,
    passageCard,
    keyFigures,
    timesCard,
    legend,
    showPassage,
  };
})();
