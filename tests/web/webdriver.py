"""Chromium through the W3C WebDriver protocol (https://www.w3.org/TR/webdriver2/), as much of it as these tests use."""

import base64
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

START_SECONDS = 120  # of a browser on a machine that has other things to do
WAIT_SECONDS = 120  # for a condition
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's own name for references


def is_available() -> bool:
    return bool(shutil.which("chromedriver") and shutil.which("chromium"))


class WebDriverError(Exception):
    pass


class Browser:
    """One headless Chromium with a profile of its own; removed by close()."""

    def __init__(self, width: int = 1100, height: int = 900):
        self.folder = tempfile.mkdtemp(prefix="ilre-chromium-")
        self.log = open(pathlib.Path(self.folder) / "chromedriver.log", "wb")
        self.session = self.driver = None
        try:
            self._start(width, height)
        except BaseException:
            self.close()
            raise

    def _start(self, width: int, height: int):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL
        )
        self.base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if self._call("GET", "/status", timeout=10)["ready"]:
                    break
            except (OSError, WebDriverError):
                if self.driver.poll() is not None:
                    raise WebDriverError("chromedriver ended") from None
            if time.monotonic() > deadline:
                raise WebDriverError("chromedriver does not answer")
            time.sleep(0.1)
        options = {
            "binary": shutil.which("chromium"),
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--force-device-scale-factor=1", "--no-first-run", "--disable-background-networking", "--force-prefers-reduced-motion",
                     f"--user-data-dir={self.folder}/profile", f"--window-size={width},{height}"],
        }  # fmt: skip
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}}, timeout=START_SECONDS)
        self.session = answer["sessionId"]

    def close(self):
        if self.session:
            try:
                self._call("DELETE", f"/session/{self.session}", timeout=30)
            except (OSError, WebDriverError):
                pass
        if self.driver:
            self.driver.terminate()
            try:
                self.driver.wait(30)
            except subprocess.TimeoutExpired:
                self.driver.kill()
                self.driver.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, method: str, path: str, body=None, timeout: float = 120):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise WebDriverError(f"{value['error']}: {value['message']}") from None

    def _session(self, method: str, path: str, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url: str):
        self._session("POST", "/url", {"url": url})

    def run(self, script: str, *arguments):
        """Runs a function's body in the page. -> what it returns."""
        return self._session("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments, seconds: float = WAIT_SECONDS):
        """Waits until the script returns something true, and returns that."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            if time.monotonic() > deadline:
                page = self.run("return document.body.innerText")
                raise AssertionError(f"never became true: {script} {arguments}; the page says:\n{page[:3000]}")
            time.sleep(0.1)

    def find(self, selector: str) -> str:
        """-> a reference to the first element that the CSS selector finds."""
        return self._session("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector: str):
        self._session("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str):
        """Types into the element; into an <input type=file>, the path of the file to choose."""
        self._session("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def count(self, selector: str) -> int:
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def devtools(self, command: str, **parameters):
        return self._session("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def color_scheme(self, scheme: str):
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def size(self, width: int, height: int):
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def screenshot(self, path: pathlib.Path):
        path.write_bytes(base64.b64decode(self._session("GET", "/screenshot")))

    def complaints(self) -> list[str]:
        """What the browser logged since the last call: errors of scripts, refusals of the security policy, failed loads."""
        return [
            f"{entry['level']}: {entry['message']}" for entry in self._session("POST", "/se/log", {"type": "browser"})
        ]


# Whether the page could make markup out of text: "TypeError" where its security policy forbids it.
MAKES_MARKUP = "try { document.body.innerHTML = '<i>'; return 'it can' } catch (error) { return error.name }"

# Every visible text's contrast with what is behind it (https://www.w3.org/TR/WCAG22/#contrast-minimum): those too weak.
WEAK_CONTRAST = r"""
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const parse = (color) => { const v = color.match(/[\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
const over = (top, below) => below.map((v, i) => top[3] * top[i] + (1 - top[3]) * v);
function background(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
}
const weak = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, style = getComputedStyle(element);
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest(':disabled,script,style,noscript,[hidden]')) continue;
  const behind = background(element), front = over(parse(style.color), behind);
  const [a, b] = [luminance(front), luminance(behind)].sort((x, y) => y - x);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < (large ? 3 : 4.5)) weak.push(`${contrast.toFixed(2)} ${element.tagName}.${element.className}: ${walker.currentNode.data.trim().slice(0, 40)}`);
}
return weak;
"""
