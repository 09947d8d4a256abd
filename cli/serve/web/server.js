// How the page speaks to its server: Server.
'use strict';

const Server = (() => {
  const {visible} = Ilre;
  const $ = (id) => document.getElementById(id);
  const COLLECTION = 'default';
  const TOKEN = 'ilre-token';

  class ServerError extends Error {
    constructor(status, body) {
      super((body && body.message) || `The server answered with status ${status}.`);
      this.status = status;
      const info = ((body && body.details) || []).find((detail) =>
        String(detail['@type']).endsWith('google.rpc.ErrorInfo'),
      );
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
      response = await fetch(path, {
        method,
        signal,
        cache: 'no-store',
        headers: {...headers(), ...(body ? {'Content-Type': 'application/json'} : {})},
        body: body ? JSON.stringify(body) : undefined,
      });
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

  let onToken = () => {}; // called when there is a new one

  function askForToken() {
    $('token-form').hidden = false;
    $('token').focus();
  }
  $('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, $('token').value.trim());
    $('token').value = '';
    $('token-form').hidden = true;
    onToken();
  });

  return {
    COLLECTION,
    ServerError,
    headers,
    call,
    getJson,
    postJson,
    pathOf,
    shortName,
    show,
    askForToken,
    whenToken: (action) => {
      onToken = action;
    },
  };
})();
