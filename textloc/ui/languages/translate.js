((language, catalog) => {
  // Says the page in another language. Texts are looked up as they appear in the page, in English:
  // whole ("Run"), or with gaps ("{} steps"), whose words stay unless the translation says {0:t}.
  // A translation may be one a plural form of its first number. A text that begins small is found with
  // a capital too. What people wrote or OCR read is left.
  if (window.textloc?.language) return;
  const LEFT = "code, pre, textarea, script, style, [translate=no], .tl-letters, .tl-prompts, .tl-own";
  const WHOLE = ".tl-about p";  // looked up with their markup
  const GAP = "((?:(?! · |[.?!] [A-Z])[^])+?)";  // within one sentence, and one fact
  const NAMES = ["aria-label", "aria-valuetext", "title", "alt", "placeholder"];
  const plural = new Intl.PluralRules(language);
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const whole = new Map(), gaps = [], sources = new Map();
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const added = (text, said) => {
    if (!text.includes("{}")) { if (!whole.has(text)) whole.set(text, said); return; }
    const parts = text.split("{}");
    gaps.push({
      shape: new RegExp(`^${parts.map(escaped).join(GAP)}$`), said, weight: parts.join("").length,
    });
  };
  for (const [text, said] of Object.entries(catalog)) added(text, said);
  for (const [text, said] of Object.entries(catalog)) {
    if (capital(text) !== text) added(capital(text), typeof said === "string" ? capital(said) : said);
  }
  gaps.sort((a, b) => b.weight - a.weight);

  const numbers = (text) => text.replace(/^([\d,–\- ]+) and (\d[\d–]*)$/, `$1${catalog[" and "]}$2`);
  const filled = (said, found) => {
    found = found.map(numbers);
    if (typeof said !== "string") {
      const number = Number(found.find((part) => /^[\d.,]+$/.test(part)));
      said = said[plural.select(number)] ?? said.other;
    }
    return said.replace(/\{(\d)(:t)?\}/g, (_, n, also) => (also ? translated(found[n]) : found[n]));
  };
  const LAYERS = /(?:, | and )(?=layer \d)/;  // layer 9 0.48, layer 10 0.35 and layer 8 0.15
  const looked = (text) => {
    if (whole.has(text)) return whole.get(text);
    if (/^layer \d/.test(text) && LAYERS.test(text)) return text.split(LAYERS).map(translated).join(", ");
    for (const { shape, said } of gaps) {
      const found = shape.exec(text);
      if (found) return filled(said, found.slice(1));
    }
    for (const [cut, between] of [[/(?<=[.?!]) (?=[A-Z])/, " "], [" · ", " · "], ["; ", "; "]]) {
      const parts = text.split(cut);
      if (parts.length > 1) return parts.map(translated).join(between);
    }
    return text;
  };
  const known = new Map();
  const translated = (text) => {
    const core = text.trim().replace(/\s+/g, " ");
    if (!/[A-Za-z]/.test(core) || sources.has(core)) return text;
    if (!known.has(core)) {
      if (known.size > 5000) known.clear();
      const said = looked(core);
      known.set(core, said);
      if (said !== core) sources.set(said, core);
    }
    const said = known.get(core);
    return said === core ? text : text.match(/^\s*/)[0] + said + text.match(/\s*$/)[0];
  };

  const left = (element) => !element || element.closest(LEFT);
  const named = (element) => {
    for (const name of NAMES) {
      const text = element.getAttribute(name);
      if (!text || left(element)) continue;
      const said = translated(text);
      if (said !== text) element.setAttribute(name, said);
    }
  };
  const told = (node) => {
    if (left(node.parentElement)) return;
    const said = translated(node.data);
    if (said !== node.data) node.data = said;
  };
  // Gradio's dropdowns show their choice in a field: what is seen there is translated, and read back
  // as Gradio wrote it.
  const field = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  const LISTS = "input[role=combobox], input[role=listbox]";
  const chosen = (input) => input.matches(LISTS);
  Object.defineProperty(HTMLInputElement.prototype, "value", {
    ...field,
    get() {
      const seen = field.get.call(this);
      return chosen(this) ? (sources.get(seen) ?? seen) : seen;
    },
    set(text) {
      field.set.call(this, chosen(this) ? translated(String(text)) : text);
    },
  });

  const walked = (root) => {
    if (root.nodeType === Node.TEXT_NODE) { told(root); return; }
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    named(root);
    for (const input of root.querySelectorAll(LISTS)) input.value = input.value;
    for (const element of root.querySelectorAll(WHOLE)) {
      const said = whole.get(element.innerHTML.trim().replace(/\s+/g, " "));
      if (said) element.innerHTML = said;
    }
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.nodeType === Node.TEXT_NODE) told(node);
      else named(node);
    }
  };
  window.textloc = {
    ...window.textloc,
    language,
    source: (text) => sources.get(text.trim()) ?? text.trim(),
  };
  document.documentElement.lang = language;
  walked(document.documentElement);
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "characterData") told(target);
      else if (type === "attributes") {
        named(target);
        const root = document.documentElement;  // Gradio sets its own
        if (target === root && root.lang !== language) root.lang = language;
      }
      else addedNodes.forEach(walked);
    }
  }).observe(document.documentElement, {
    subtree: true, childList: true, characterData: true, attributes: true,
    attributeFilter: [...NAMES, "lang"],
  });
})
