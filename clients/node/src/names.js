// Names of documents: `d` in the collection `default`, `c/d`, or the whole resource name.

/**
 * The resource name. A part may be `-` where the server takes it; the server refuses what is no name.
 * @param {string} name
 */
export function documentName(name) {
  if (name.startsWith('collections/')) return name;
  const slash = name.indexOf('/');
  const [collection, document] = slash < 0 ? ['default', name] : [name.slice(0, slash), name.slice(slash + 1)];
  return `collections/${collection}/documents/${document}`;
}

/** @param {string} collection `-` stands for all */
export function collectionName(collection) {
  return collection.startsWith('collections/') ? collection : `collections/${collection}`;
}

/** @param {string | Iterable<string>} names */
export function documentNames(names) {
  return (typeof names === 'string' ? [names] : [...names]).map(documentName);
}
