// The tour. props.value: {html, pictures} or null, empty where no result shows it; props.more: one
// more question. The address says the step (?learn=3) and nothing else remembers it.
const opener = element.querySelector(".tl-learn");
const dialog = element.querySelector(".tl-tour");
const body = dialog.querySelector(".tl-steps");
const dots = dialog.querySelector(".tl-dots");
const live = dialog.querySelector(":scope > [role=status]");
const full = dialog.querySelector("[data-full]");
const TOLD = 5; // steps before the quiz
let at = 0; // the step that is shown, 0 while closed
let from = null; // where the focus goes back to
const sections = () => [...body.children];

// ---- the address
const asked = () => new URLSearchParams(location.search).get("learn");
const view = (address) => {
  const url = new URL(address, location.href);
  url.searchParams.delete("learn");
  return url.origin + url.pathname + url.search;
};
const nameOf = (step) => (step > TOLD ? "quiz" : String(step));
const stepOf = (name) => {
  if (name === "quiz") return TOLD + 1;
  return Math.min(Math.max(Number.parseInt(name, 10) || 1, 1), TOLD + 1);
};
let said = asked(); // what the address says of the tour
let seen = view(location.href); // the rest of it
// Whoever changes the address meanwhile keeps the step in it.
for (const how of ["pushState", "replaceState"]) {
  const plain = history[how].bind(history);
  history[how] = (state, unused, address) => {
    let url = new URL(address ?? location.href, location.href);
    seen = view(url.href);
    if (said !== null) url.searchParams.set("learn", said);
    else if (url.searchParams.has("learn")) url = new URL(seen + url.hash);
    plain(state, unused, url.href);
  };
}
window.addEventListener(
  "popstate",
  (event) => {
    if (view(location.href) !== seen) return; // another result: the page opens it
    event.stopImmediatePropagation();
    said = asked();
    if (said === null) close(false);
    else open(stepOf(said), false);
  },
  true,
);

// ---- showing
const fill = (parent, { html, pictures }) => {
  const made = document.createElement("template");
  made.innerHTML = html;
  for (const image of made.content.querySelectorAll("[data-picture]")) {
    const [address, pixels] = pictures[image.dataset.picture] ?? [];
    if (address) image.src = address;
    image.classList.toggle("tl-pixels", Boolean(pixels));
  }
  parent.append(made.content);
};
const speak = (section) => {
  const place = at > TOLD ? "Quiz" : `Step ${at} of ${TOLD}`;
  live.textContent = `${place}: ${section.querySelector("h2").textContent}. ${section.querySelector("p").textContent}`;
};
// A button that leads to the result of the tour, where that is what the page shows.
const offer = () => {
  const link = document.querySelector("#share input")?.value ?? "";
  for (const button of body.querySelectorAll("[data-result]"))
    button.hidden = !link.includes(button.dataset.result);
};
document.addEventListener("textloc-link", offer);
const show = () => {
  const all = sections();
  all.forEach((section, number) => (section.hidden = number !== at - 1));
  [...dots.children].forEach(({ firstChild }, number) => {
    if (Math.min(at, TOLD + 1) === number + 1) firstChild.setAttribute("aria-current", "step");
    else firstChild.removeAttribute("aria-current");
  });
  dialog.querySelector("[data-move='-1']").disabled = at === 1;
  const next = dialog.querySelector("[data-move='1']");
  next.textContent = at === all.length ? "Close" : at === TOLD ? "Quiz →" : at > TOLD ? "More →" : "Next →";
  offer();
  body.scrollTop = 0;
  speak(all[at - 1]);
};
const address = (name) => {
  said = name;
  history.pushState(history.state, "", seen + location.hash);
};
const resized = () => window.dispatchEvent(new Event("resize")); // figures take their new width
const open = (step, push = true) => {
  const all = sections();
  if (!all.length) return;
  const begins = !at;
  const name = nameOf(step);
  at = Math.min(step, all.length);
  if (begins) {
    from = document.activeElement === document.body ? opener : document.activeElement;
    dialog.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    resized();
  }
  show();
  const focus = document.activeElement;
  if (begins || !focus || focus === document.body || focus.closest("[hidden], :disabled"))
    all[at - 1].querySelector("h2").focus({ preventScroll: true });
  if (push && said !== name) address(name);
};
const close = (push = true) => {
  if (!at) return;
  at = 0;
  if (document.fullscreenElement === dialog) document.exitFullscreen();
  const inside = dialog.contains(document.activeElement) || document.activeElement === document.body;
  dialog.hidden = true;
  opener.setAttribute("aria-expanded", "false");
  resized();
  if (inside) (from?.isConnected ? from : opener).focus();
  if (push) address(null);
};
const move = (by) => (at + by > sections().length ? close() : at + by >= 1 && open(at + by));

// ---- a layer is patched, a question is answered
const only = (place, choice) => {
  for (const shot of place.querySelectorAll("[data-shown]")) shot.hidden = shot.dataset.shown !== choice;
};
const patch = (button) => {
  const place = button.closest("[data-patching]");
  const on = button.getAttribute("aria-pressed") === "true" ? null : button;
  for (const each of place.querySelectorAll("[data-choice]")) each.setAttribute("aria-pressed", String(each === on));
  const layers = on ? on.dataset.layers.split(" ") : [];
  for (const each of place.querySelectorAll("[data-layer], .tl-layer"))
    each.classList.toggle("tl-patched", layers.includes(each.dataset.layer ?? each.dataset.choice));
  only(place, on ? on.dataset.choice : "");
  live.textContent = place.querySelector("[data-shown]:not([hidden]) img").alt;
};
const guess = (button) => {
  const place = button.closest("[data-quiz]");
  const right = button.dataset.right === "1";
  button.classList.add(right ? "tl-right" : "tl-wrong");
  button.setAttribute("aria-label", `Layer ${button.dataset.guess}, ${right ? "right" : "wrong"}`);
  only(place, button.dataset.guess);
  place.querySelector(".tl-hole").hidden = true;
  const missing = Number(place.dataset.quiz) - place.querySelectorAll(".tl-right").length;
  const rest = missing ? (right ? ` ${missing} more to find.` : "") : place.dataset.done && ` ${place.dataset.done}`;
  const answer = place.querySelector(".tl-answer");
  answer.textContent = button.dataset.say + rest;
  answer.scrollIntoView({ block: "nearest" });
};

// ---- the page beside it
const page = async ({ tab, page: field }) => {
  if (document.fullscreenElement === dialog) await document.exitFullscreen();
  if (matchMedia("(max-width: 1099.9px)").matches) close(); // it would cover what there is to see
  const named = [...document.querySelectorAll("#jobs [role=tab]")];
  named.find((one) => (window.textloc?.source?.(one.textContent) ?? one.textContent.trim()) === tab)?.click();
  let tries = 100;
  const look = () => {
    const found = document.getElementById(field);
    const seen = found?.offsetParent && getComputedStyle(found).visibility === "visible";
    if (!seen) return tries-- > 0 && setTimeout(look, 100);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    found.style.scrollMarginBottom = "12px"; // at the foot: the pictures cover the head of the page
    found.scrollIntoView({ block: "end", behavior: calm ? "auto" : "smooth" });
    found.classList.add("tl-pointed");
    setTimeout(() => found.classList.remove("tl-pointed"), 2500);
    found.querySelector("textarea, input")?.focus({ preventScroll: true });
  };
  look();
};

// ---- events
opener.addEventListener("click", () => (at ? close() : open(1)));
dialog.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  const { move: by, step, choice, guess: guessed, page: field } = button.dataset;
  if (by) move(Number(by));
  else if (step) open(Number(step));
  else if (choice) patch(button);
  else if (guessed) guess(button);
  else if (field) page(button.dataset);
  else if (button === full) {
    if (document.fullscreenElement) document.exitFullscreen();
    else dialog.requestFullscreen().catch(() => (full.hidden = true));
  } else if ("close" in button.dataset) close();
});
const KEYS = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 };
document.addEventListener("keydown", (event) => {
  if (!at || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const focus = document.activeElement;
  const ours = !focus || focus === document.body || focus === opener || dialog.contains(focus);
  if (event.key === "Escape" && !document.fullscreenElement) {
    if (ours || !focus.matches("input, textarea, select, [contenteditable]")) close();
  } else if (ours && event.key in KEYS) {
    event.preventDefault();
    if (at + KEYS[event.key] <= sections().length) move(KEYS[event.key]);
  } else if (dialog.contains(focus) && (event.key === "Home" || event.key === "End")) {
    event.preventDefault();
    open(event.key === "Home" ? 1 : TOLD + 1);
  }
});
document.addEventListener("fullscreenchange", () => {
  full.setAttribute("aria-pressed", String(document.fullscreenElement === dialog));
});
full.hidden = !document.fullscreenEnabled;

// ---- what is told
let further = false;
const ready = () => {
  if (!props.value) return;
  if (!props.value.html) said = null; // no stored result shows it
  if (!sections().length && props.value.html) {
    fill(body, props.value);
    sections().slice(0, TOLD + 1).forEach((section, number) => {
      const name = number < TOLD ? String(number + 1) : "?";
      const label = `${number < TOLD ? `Step ${name}` : "Quiz"}: ${section.querySelector("h2").textContent}`;
      const item = document.createElement("li");
      item.innerHTML = `<button type="button" data-step="${number + 1}">${name}</button>`;
      item.firstChild.setAttribute("aria-label", label.replace("Quiz: Quiz", "Quiz"));
      dots.append(item);
    });
    opener.disabled = false;
    const embedded = new URLSearchParams(location.search).has("embed");
    if (said !== null && !embedded) open(stepOf(said), false);
  }
  if (props.more && !further && sections().length) {
    further = true;
    fill(body, props.more);
    if (at) show();
  }
};
watch(["value", "more"], ready);
ready();
