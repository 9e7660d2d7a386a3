// The cards of the gallery. props.value: {cards, jobs, models, words} or null; `cards` is HTML that
// the server has escaped, everything else is set as text.
const find = (selector) => element.querySelector(selector);
const form = find("form");
const list = find(".tl-gallery");
const dialog = find("dialog");
const PAGE = 60; // cards that are shown at once
const NAMES = ["q", "job", "model", "word"];
const TABS = {
  "textloc.localize": "open_localize",
  "textloc.edit": "open_edit",
  "textloc.lora": "open_lora",
};
let shown = PAGE;
let chosen = [];
let pair = ""; // the comparison that is open, as the address says it
let asked = null; // the card that is to be deleted

const items = () => [...list.children];
const item = (ref) => items().find((one) => one.dataset.ref === ref);
const folded = (text) => text.trim().toLowerCase();
const receipt = (ref) => {
  try {
    return localStorage.getItem(`textloc-own-${ref}`) ?? "";
  } catch {
    return "";
  }
};

// The address says what one looks at; `address.js` asks this field when the tab is opened again.
const place = (step = "replaceState") => {
  const said = new URLSearchParams({ tab: "gallery" });
  for (const name of NAMES) if (form.elements[name].value) said.set(name, form.elements[name].value);
  if (pair) said.set("compare", pair);
  const link = `${location.origin}${location.pathname}?${said}`;
  find("#gallery-place input").value = link;
  const here = new URLSearchParams(location.search);
  if (here.get("tab") === "gallery" && !here.has("embed")) history[step](history.state, "", link);
};

const filter = () => {
  const [q, job, model, word] = NAMES.map((name) => folded(form.elements[name].value));
  const parts = q.split(/\s+/);
  let count = 0;
  for (const { dataset, ...one } of items().map((node) => ({ dataset: node.dataset, node }))) {
    const fits =
      parts.every((part) => dataset.text.includes(part)) &&
      (!job || dataset.job === job) &&
      (!model || folded(dataset.model) === model) &&
      (!word || dataset.words.includes(word));
    one.node.hidden = !fits || count >= shown;
    count += fits;
  }
  const all = items().length;
  const told = count === all ? `${all} results` : `${count} of ${all} results`;
  find("[data-count]").textContent = all ? told : "No result is stored here yet.";
  find("[data-more]").hidden = count <= shown;
};

const choose = () => {
  chosen = chosen.filter(item);
  const kind = chosen.length ? item(chosen[0]).dataset.kind : "";
  for (const one of items()) {
    const box = one.querySelector("[data-choose]");
    box.checked = chosen.includes(one.dataset.ref);
    box.disabled = !box.checked && (chosen.length === 2 || (kind !== "" && one.dataset.kind !== kind));
  }
  find(".tl-chosen-two").hidden = !chosen.length;
  find("[data-compare]").disabled = chosen.length !== 2;
  const names = chosen.map((ref) => item(ref).dataset.title);
  find("[data-chosen]").textContent = names.length === 1 ? `${names[0]}. Choose one more of this job.` : names.join(" | ");
};

const options = (name, pairs) => {
  const field = form.elements[name];
  const before = field.value;
  field.replaceChildren(new Option("All", ""), ...pairs.map(([value, text]) => new Option(text, value)));
  field.value = before;
  if (field.selectedIndex < 0) field.value = "";
};

const compare = (step) => {
  pair = chosen.join(",");
  place(step);
  const old = document.querySelector("#gallery-beside h2");
  if (old) old.dataset.old = "";
  trigger("compare", { first: chosen[0], second: chosen[1] });
  look(100);
};

// Goes to the comparison as soon as it is there.
const look = (times) => {
  const said = document.querySelector("#gallery-beside h2:not([data-old]), #gallery-notice [role=alert]");
  if (!said && times) return setTimeout(look, 100, times - 1);
  said?.scrollIntoView({ block: "center" });
  said?.focus({ preventScroll: true });
  if (said?.matches("h2")) said.closest(".tl-card")?.scrollIntoView({ block: "start" });
};

// The comparison was closed.
document.addEventListener("click", ({ target }) => {
  if (!target.closest("#gallery-beside [data-pick=close]")) return;
  pair = "";
  place();
});

const draw = () => {
  if (!props.value) return;
  list.innerHTML = props.value.cards;
  options("job", props.value.jobs);
  options("model", props.value.models.map((model) => [model, model]));
  find("datalist").replaceChildren(...props.value.words.map((word) => new Option(word)));
  for (const one of items()) {
    const mine = one.dataset.ref.startsWith("imported-") || receipt(one.dataset.ref);
    one.querySelector("[data-delete]").hidden = !mine;
  }
  if (!draw.before) {
    draw.before = true;
    const here = new URLSearchParams(location.search);
    if (here.get("tab") === "gallery") {
      for (const name of NAMES) form.elements[name].value = here.get(name) ?? "";
      for (const name of ["job", "model"]) {
        if (form.elements[name].selectedIndex < 0) form.elements[name].value = "";
      }
      const both = (here.get("compare") ?? "").split(",");
      if (both.length === 2) {
        chosen = both.filter(item);
        pair = both.join(",");
        trigger("compare", { first: both[0], second: both[1] });
      }
    }
  }
  filter();
  choose();
  place();
};

form.addEventListener("input", () => {
  shown = PAGE;
  filter();
  place();
});
form.addEventListener("reset", () => setTimeout(() => (filter(), place())));
form.addEventListener("submit", (event) => event.preventDefault());
element.addEventListener("change", ({ target }) => {
  if (!target.matches("[data-choose]")) return;
  const { ref } = target.closest("li").dataset;
  chosen = target.checked ? [...chosen, ref].slice(-2) : chosen.filter((one) => one !== ref);
  choose();
});
element.addEventListener("click", (event) => {
  const hit = (name) => event.target.closest(`[data-${name}]`);
  const card = event.target.closest("li.tl-item");
  if (hit("delete")) {
    asked = card;
    const own = card.dataset.ref.startsWith("imported-");
    find("[data-what]").textContent = card.dataset.title;
    find("[data-lost]").textContent = own
      ? "It goes from this page; your file stays."
      : "Its pictures go and links to it stop working. This cannot be undone.";
    dialog.showModal();
  } else if (hit("keep")) {
    dialog.close();
  } else if (hit("sure")) {
    dialog.close();
    const { ref } = asked.dataset;
    trigger("delete", { ref, receipt: receipt(ref) });
    try {
      localStorage.removeItem(`textloc-own-${ref}`);
    } catch {
      // nothing was kept
    }
    form.elements.q.focus();
  } else if (hit("more")) {
    shown += PAGE;
    filter();
  } else if (hit("none")) {
    chosen = [];
    choose();
  } else if (hit("compare")) {
    compare("pushState");
  } else if (card && !event.target.closest("label")) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    trigger(TABS[card.dataset.tab], { ref: card.dataset.ref });
  }
});
watch("value", draw);
draw();
