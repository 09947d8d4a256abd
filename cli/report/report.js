// Draws the report of `ilre ask --report` from the data in the page.
'use strict';

(() => {
  const {make} = Ilre;
  const data = JSON.parse(document.getElementById('data').textContent);
  const root = document.getElementById('report');
  const manyDocuments = data.documentCount > 1;
  const range = Ilre.scoreRange(data.documents.flatMap((document) => document.scores));
  const lengthOf = new Map(data.documents.map((document) => [document.name, document.tokenCount]));
  const maps = new Map();

  data.recalled.forEach((span, i) => {
    span.id = `passage-${i + 1}`;
  });

  function figures() {
    const inPrompt = data.recalled
      .filter((span) => span.inPrompt)
      .reduce((sum, span) => sum + span.tokenEnd - span.tokenBegin, 0);
    const answered = data.finishReason !== '';
    const read = answered ? inPrompt : data.recalledTokens;
    const [total, totalUnit] = Ilre.duration(data.timings.totalMs);
    const [first, firstUnit] = Ilre.duration(data.timings.firstTokenMs);
    const share = data.documentTokens > 0 ? read / data.documentTokens : 0;
    const of = manyDocuments ? `of ${Ilre.plural(data.documentCount, 'document')}` : 'of the document';
    return Ilre.keyFigures(
      [
        {
          value: Ilre.percent(share),
          share,
          label: `${of} ${answered ? 'was read to answer' : 'was recalled'}: ${Ilre.count(read)} of ${Ilre.plural(data.documentTokens, 'token')}`,
        },
        answered ? {value: first, unit: firstUnit, label: 'to the first word'} : null,
        {
          value: total,
          unit: totalUnit,
          label: answered ? `in all, ${Ilre.plural(data.answerTokens, 'token')} written` : 'in all',
        },
      ].filter(Boolean),
    );
  }

  function heatMaps() {
    const section = make(
      'section',
      {'aria-labelledby': 'map-title'},
      make(
        'div',
        {class: 'section-head'},
        make('h2', {id: 'map-title'}, manyDocuments ? 'Where it looked' : 'Where it is in the document'),
      ),
    );
    for (const document of data.documents) {
      const parts = document.scores.map((score, i, all) => ({
        begin: (i / all.length) * document.tokenCount,
        end: ((i + 1) / all.length) * document.tokenCount,
        score,
      }));
      const marks = data.recalled
        .filter((span) => span.document === document.name)
        .map((span) => ({
          id: span.id,
          begin: span.tokenBegin,
          end: span.tokenEnd,
          score: span.score,
          inPrompt: span.inPrompt,
          label: `${span.inPrompt ? 'In the prompt' : 'Recalled, not in the prompt'}, at ${Ilre.place(span.tokenBegin / document.tokenCount)}, score ${span.score.toFixed(2)}`,
        }));
      const map = new Ilre.HeatMap({
        name: document.name,
        note: Ilre.plural(document.tokenCount, 'token'),
        length: document.tokenCount,
        parts,
        marks,
        range,
        compact: manyDocuments,
        onMark: Ilre.showPassage,
      });
      maps.set(document.name, map);
      section.append(map.element);
    }
    section.append(Ilre.legend());
    const hiddenDocuments = data.documentCount - data.documents.length;
    if (hiddenDocuments > 0) {
      section.append(
        make(
          'p',
          {class: 'muted small'},
          `${Ilre.plural(hiddenDocuments, 'more document')} scored lower and ${hiddenDocuments === 1 ? 'is' : 'are'} not drawn.`,
        ),
      );
    }
    return section;
  }

  function card(span, missed) {
    const map = maps.get(span.document);
    const length = lengthOf.get(span.document);
    return Ilre.passageCard(span, {
      id: span.id,
      share: length ? span.tokenBegin / length : 0,
      range,
      missed,
      showDocument: manyDocuments,
      onPlace:
        map &&
        (() => {
          if (span.id) map.select(span.id);
          const around = Math.max(2048, map.length / 64);
          map.show(span.tokenBegin - around, span.tokenEnd + around);
          map.stage.focus({preventScroll: true});
          map.element.scrollIntoView({block: 'nearest'});
        }),
    });
  }

  function passages() {
    const list = make('ol', {class: 'passages'});
    const choices = {};
    const sortBy = (order) => {
      const spans = [...data.recalled];
      if (order === 'score') spans.sort((a, b) => b.inPrompt - a.inPrompt || b.score - a.score);
      list.replaceChildren(...spans.map((span) => card(span, false)));
      for (const [name, button] of Object.entries(choices)) button.setAttribute('aria-pressed', String(name === order));
    };
    choices.score = make('button', {class: 'button', type: 'button', onclick: () => sortBy('score')}, 'Best first');
    choices.place = make('button', {class: 'button', type: 'button', onclick: () => sortBy('place')}, 'In order');
    sortBy('score');
    return make(
      'section',
      {'aria-labelledby': 'passages-title'},
      make(
        'div',
        {class: 'section-head'},
        make('h2', {id: 'passages-title'}, `${Ilre.plural(data.recalled.length, 'passage')} recalled`),
        make(
          'div',
          {class: 'choices', role: 'group', 'aria-label': 'Order of the passages'},
          choices.score,
          choices.place,
        ),
      ),
      list,
    );
  }

  function nearMisses() {
    if (data.nearMisses.length === 0) return null;
    return make(
      'section',
      null,
      make(
        'details',
        null,
        make('summary', null, `Near misses: the next best ${Ilre.plural(data.nearMisses.length, 'passage')}`),
        make(
          'ol',
          {class: 'passages'},
          data.nearMisses.map((span) => card(span, true)),
        ),
      ),
    );
  }

  function times() {
    return make(
      'section',
      {'aria-labelledby': 'times-title'},
      make(
        'div',
        {class: 'section-head'},
        make('h2', {id: 'times-title'}, 'Where the time went'),
        make('span', {class: 'muted small'}, `${Ilre.durationText(data.timings.totalMs)} in all`),
      ),
      Ilre.timesCard(data.timings),
    );
  }

  const reasons = {
    END_TOKEN: 'The model ended the answer by itself.',
    STOP_STRING: 'A stop string ended the answer.',
    MAX_TOKENS: 'The answer was cut at its greatest length.',
    CONTEXT_FULL: 'The model\u2019s context is full.',
  };
  root.append(
    ...[
      figures(),
      heatMaps(),
      passages(),
      nearMisses(),
      times(),
      make(
        'footer',
        {class: 'foot'},
        data.finishReason
          ? make(
              'p',
              null,
              `The prompt has ${Ilre.plural(data.promptTokens, 'token')}. ${reasons[data.finishReason] || ''}`,
            )
          : null,
        make('p', null, 'Made by ilre ask --report. This file loads nothing and sends nothing.'),
      ),
    ].filter(Boolean),
  );
})();
